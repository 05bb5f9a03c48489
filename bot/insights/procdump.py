"""A memory dump of a Windows process (captures/procdump.ps1): what ProcDump said, and what the dump's own streams say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from bot.insights import Reading, Section, choice, sections, words
from bot.insights.minidump import Fault, Minidump, parse
from bot.model import Finding, Level, Suggestion

TEXT_CHARS = 200
COMMENTED = 3  # lines of a dump's comment
LOADED = 3  # modules in evidence
SHOWN = 3  # exceptions in evidence

# ntstatus.h, and what runtimes throw; the lowest ones are no faults but signals to a debugger.
_CODES = {
    0x40000015: "gave up (fatal application exit)",
    0x80000003: "stopped at a breakpoint",
    0xC0000005: "broke with an access violation",
    0xC0000006: "broke as a page could not be read",
    0xC0000008: "broke with an invalid handle",
    0xC0000017: "ran out of memory",
    0xC000001D: "broke with an illegal instruction",
    0xC0000094: "divided by zero",
    0xC0000095: "broke with an integer overflow",
    0xC00000FD: "ran out of stack",
    0xC0000135: "lacks a library",
    0xC0000142: "broke as a library could not start",
    0xC0000374: "broke with a corrupted heap",
    0xC0000409: "ended itself (fail fast, or a stack buffer overrun)",
    0xC000041D: "broke in a callback",
    0xC0000420: "broke at an assertion",
    0xC0000602: "ended itself (fail fast)",
    0xE0434352: "threw a .NET exception",
    0xE0434F4D: "threw a .NET exception",
    0xE053534F: "ran out of stack in .NET",
    0xE06D7363: "threw a C++ exception",
}
_RAISED = {0xE0434352, 0xE0434F4D, 0xE06D7363}  # by a call to Windows, which is where the address lies
_NO_FAULTS = {0x80000003, 0x80000007}  # a breakpoint, and the waking of a debugger: whose thread was meant
_WAYS = {0: "reading", 1: "writing", 8: "running"}  # an access violation's first detail
_KINDS = {"mini": "mini", "plus": "mini with what it wrote to", "full": "full"}
_QUIET = {
    "cpu": "did not use that much CPU",
    "memory": "did not commit that much memory",
    "hang": "had no window that hangs",
    "exception": "threw no exception that nobody handles",
    "exit": "did not end",
}
# What ProcDump is refused with, whatever the language of the words behind it; and what is asked for instead.
_CURES: Mapping[str, tuple[str, Mapping[str, str | int]]] = {
    "0x80070005": ("our account needs the right to debug programs, or to be an administrator", {}),
    "0x80070006": ("our account may not clone it, clone=no does without", {"clone": "no"}),
}
_WRITTEN = re.compile(r"Dump \d+ complete: .{1,40}? written in ([0-9]{1,6}[.,][0-9]{1,3}) seconds")
_THROWN = re.compile(r"^\[[0-9:]{8}\] ?Unhandled: (.{1,200})$|^\[[0-9:]{8}\] ?Exception: (.{1,200})$", re.MULTILINE)


def procdump(reading: Reading) -> Iterator[Finding]:
    """What broke, if something did, and what was dumped; or why nothing was."""
    parts = sections(reading.text)
    yield from choice.unchosen(parts, "procdump", reading.target)
    row = choice.row_of(parts)
    who = choice.spoken(row)
    said = next((part.body for part in parts if part.name == "procdump"), "")
    for part in parts:
        match part.name:
            case "failed":
                yield _failed(part, said, row)
            case "quiet":
                quiet = _QUIET.get(part.facts.get("when", ""), "did nothing of that kind")
                waited = words.duration(words.number(part.facts.get("waited_s")))
                yield replace(
                    _finding(Level.INFO, f"{who} {quiet} within {waited}: no dump was taken", 0.2), answer=True
                )
            case "dump":
                yield from _dumped(part, reading.file, who, said, row)


def _failed(part: Section, said: str, row: Mapping[str, str]) -> Finding:
    text = part.body.partition("\n")[0] or "No dump was taken"
    cure, after = next(((cure, after) for code, (cure, after) in _CURES.items() if code in text), ("", {}))
    again: tuple[Suggestion, ...] = ()
    if after and re.fullmatch(r"[1-9][0-9]{0,9}", pid := row.get("pid", "")):
        again = (Suggestion(label=f"Dump pid {pid} without a clone", parameters={"pid": int(pid), **after}),)
    return _finding(Level.WARN, f"{text}: {cure}" if cure else text, 0.9, *_lines(said), after=again)


def _dumped(part: Section, head: bytes, who: str, said: str, row: Mapping[str, str]) -> Iterator[Finding]:
    dump = parse(head)
    if dump is None:
        text = f"What came of {who} is no minidump" if head else f"The dump of {who} did not come"
        yield _finding(Level.WARN, text, 0.9, *_lines(said))
        return
    if fault := _faulty(dump):
        yield _broken(fault, dump, who, said)
    yield _taken(part, dump, who, said, row)


def _faulty(dump: Minidump) -> Fault | None:
    return dump.fault if dump.fault and dump.fault.code not in _NO_FAULTS | {0} else None


def _broken(fault: Fault, dump: Minidump, who: str, said: str) -> Finding:
    what = _CODES.get(fault.code, "broke")
    text = f"{who} {what} (0x{fault.code:08X})"
    if fault.code not in _RAISED:
        text += f" in {_place(dump, fault.address)}"
    if fault.code == 0xC0000005 and len(fault.details) > 1:
        text += f", {_WAYS.get(fault.details[0], 'using')} address {fault.details[1]:#x}"
    thrown = [next(filter(None, found)) for found in _THROWN.findall(said)]
    if thrown and fault.code in _RAISED:
        text += f": {words.clean(thrown[-1].partition('.')[2], 100)}"
    where = f"thread {fault.thread}, {_place(dump, fault.address)}"
    evidence = (where, *dict.fromkeys(thrown[-SHOWN:]), *_comment(dump), *_loaded(dump))
    return _finding(Level.BAD, text, 0.95, *evidence)


def _place(dump: Minidump, address: int) -> str:
    """An address as debuggers write it: "orders.dll+0x1234"."""
    module = dump.at(address)
    return f"{words.clean(module.name)}+{address - module.start:#x}" if module else f"no module ({address:#x})"


def _taken(part: Section, dump: Minidump, who: str, said: str, row: Mapping[str, str]) -> Finding:
    size = words.size(words.number(part.facts.get("size_bytes")))
    kind = _KINDS.get(part.facts.get("kind", ""), "full" if dump.is_full else "mini")
    text = f"Dump of {who}: {size}, {kind}"
    if dump.threads is not None:
        text += f", {words.counted(dump.threads, 'thread')}"
    if dump.handles:
        text += f", {words.counted(dump.handles, 'handle')}"
    written = _WRITTEN.search(said)
    seconds = words.number(written[1].replace(",", ".")) if written else 0.0
    paused_s = None
    if part.facts.get("clone") == "yes":
        text += f"; a clone was written in {seconds:.1f} s" if written else "; of a clone"
    elif written:
        text, paused_s = f"{text}; it stood still for {seconds:.1f} s", seconds
    if why := _reason(dump):
        text += f"; {why}"
    if dump.pid is not None and row.get("pid", "").isdecimal() and dump.pid != int(row["pid"][:10]):
        text += f" (its own pid is {dump.pid}: a clone's)" if part.facts.get("clone") == "yes" else ""
    return replace(
        _finding(Level.INFO, text, 0.4, dump.system, *_comment(dump), *_loaded(dump), after=_after(part, row)),
        answer=True,
        paused_s=paused_s,
    )


def _reason(dump: Minidump) -> str:
    """Why ProcDump took it, in its own words, but for what the command says already."""
    lines = [line.removeprefix("***").strip() for line in _comment(dump)]
    return next(
        (
            words.clean(line, 80)
            for line in lines
            if line and not re.match(r"procdump|Manual dump", line, re.IGNORECASE)
        ),
        "",
    )


def _comment(dump: Minidump) -> Sequence[str]:
    return [line for line in dump.comment.splitlines() if line.strip()][:COMMENTED]


def _loaded(dump: Minidump) -> Iterator[str]:
    """The program, and what it loaded from elsewhere than Windows' own folder."""
    own = [one for one in dump.modules if not re.match(r"[A-Za-z]:\\windows\\", one.path, re.IGNORECASE)]
    yield from (f"{one.start:#x} {one.path}" for one in own[:LOADED])


def _after(part: Section, row: Mapping[str, str]) -> tuple[Suggestion, ...]:
    pid = row.get("pid", "")
    if part.facts.get("kind") != "mini" or not re.fullmatch(r"[1-9][0-9]{0,9}", pid):
        return ()
    return (Suggestion(label=f"Full dump of pid {pid}", parameters={"pid": int(pid), "dump": "full"}),)


def _lines(said: str) -> Sequence[str]:
    return [line for line in said.splitlines() if line.startswith("[") or "rror" in line]


def _finding(level: Level, text: str, weight: float, *evidence: str, after: tuple[Suggestion, ...] = ()) -> Finding:
    said = words.clean(text, TEXT_CHARS) or "?"
    return Finding(level=level, text=said, weight=weight, evidence=words.evidence(*evidence), next=after)

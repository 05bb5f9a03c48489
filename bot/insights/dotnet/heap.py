"""What fills the heap of a .NET process, and what became of the dump that was asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from bot.insights import Reading, Section, sections, words
from bot.insights.choice import row_of, spoken
from bot.insights.dotnet import finding, pid_of, troubles
from bot.insights.dotnet.counters import memory_of
from bot.model import Finding, Level, Suggestion

NOTABLE_SHARE = 0.05  # of the heap, or of all objects, for a type of the application to be named
FILLED_SHARE = 0.5  # of the heap by one type of the application, and
FILLED_BYTES = 200e6  # at least, is worth a warning
ROWS = 5000

_PLATFORM = re.compile(r"(?:System|Microsoft|Interop|Internal)\.|^(?:Free|\?)$")
_REPORTED = re.compile(r"^ *([\d,.']{1,20}) +([\d,.']{1,20}) +(\S.{0,400})$")


@dataclass(frozen=True, slots=True)
class Kind:
    """All objects of one type; bytes of their own."""

    name: str
    count: float
    size: float

    @property
    def is_platform(self) -> bool:
        """Whether it is .NET's own; a list of an application's things is."""
        return bool(_PLATFORM.match(self.name))

    @property
    def short(self) -> str:
        """As people write it: "Order[]", "List<Order>"."""
        outer, _, inner = self.name.partition("[[" if "[[" in self.name else "`")
        if not inner:
            return words.clean(self.name.rpartition(".")[2], 60) or "objects"
        of = [part.rpartition(".")[2] for part in re.findall(r"[A-Za-z_][\w.+]*", inner.partition("[")[2] or inner)]
        return words.clean(f"{outer.partition('`')[0].rpartition('.')[2]}<{', '.join(of[:3])}>", 60)

    @property
    def text(self) -> str:
        """How many there are: "491,000 Order"."""
        return f"{words.count(self.count)} {self.short}"


def heap(reading: Reading) -> Iterator[Finding]:
    """Name what fills the heap, and the dump with its size and pause."""
    parts = sections(reading.text)
    row = row_of(parts)
    process = spoken(row) if row else "The .NET process"
    yield from troubles(parts, process, "dotnet-heap", reading.target)
    for part in parts:
        if part.name == "undumped":
            text = f"{process}: {part.body.strip() or 'No dump'}"
            yield finding(Level.WARN, text.removesuffix("."), 0.6)
        elif part.name == "dumped":
            took = max(words.number(part.facts.get("seconds")), 0.0)
            size = words.size(words.number(part.facts.get("bytes")))
            text = f"Dump of {process} ({words.clean(part.facts.get('of', '?'), 10)}): {size}, and it stood still for at most {took:.1f} s"
            yield replace(finding(Level.INFO, text, 0.4, answer=True), paused_s=took)
    if kinds := list(_kinds(parts)):
        yield _filled(parts, kinds, process, row.get("pid", ""))


def _filled(parts: Sequence[Section], kinds: Sequence[Kind], process: str, pid: str) -> Finding:
    total = next((kind for kind in kinds if kind.name == "Total"), None)
    real = [kind for kind in kinds if kind.name != "Total"]
    size = total.size if total else sum(kind.size for kind in real)
    count = total.count if total else sum(kind.count for kind in real)
    own = next((kind for kind in real if not kind.is_platform and _is_notable(kind, size, count)), None)
    first = real[0] if real else Kind("objects", count, size)
    filling = f"{first.text} ({words.size(first.size)}, {words.percent(min(first.size / max(size, 1.0), 1.0))})"
    if own and own != first:
        filling = f"{own.text} ({words.size(own.size)}) and {filling}"
    part = next((part for part in parts if part.name == "heap"), None)
    least = "at least " if part and part.facts.get("whole") == "no" else ""
    paused = max(words.number(part.facts.get("paused_s")), 0.0) if part else 0.0
    text = f"{process} keeps {least}{words.size(size)} in {words.counted(count, 'object')}, most of all {filling}"
    if resident := memory_of(parts):
        text += f"; it has {words.size(resident)} of memory"
    filled = bool(own) and first.size >= FILLED_SHARE * size and size >= FILLED_BYTES
    evidence = [f"{kind.text}: {words.size(kind.size)}" for kind in real[:8]]
    number = pid_of(pid)
    given: dict[str, str | int] = {"pid": number or 0, "dump": "heap", "types": "no"}
    after = (Suggestion(label=f"Dump of pid {number}", parameters=given),) if number else ()
    has_dump = any(part.name == "dumped" for part in parts)
    said = finding(
        Level.WARN if filled else Level.INFO,
        text,
        0.7 if filled else 0.3,
        *evidence,
        after=() if has_dump else after,
        answer=True,
    )
    return replace(said, paused_s=paused or None)


def _is_notable(kind: Kind, size: float, count: float) -> bool:
    return kind.size >= NOTABLE_SHARE * size or kind.count >= NOTABLE_SHARE * max(count, 1.0)


def _kinds(parts: Sequence[Section]) -> Iterator[Kind]:
    """Largest first, from the runtime's own events or from `dotnet-gcdump report`."""
    for part in parts:
        if part.name == "heap":
            for row in part.rows():
                yield Kind(row.get("class", "?"), words.number(row.get("instances")), words.number(row.get("bytes")))
        elif part.name == "heap-report":
            yield from _reported(part.body)


def _reported(text: str) -> Iterator[Kind]:
    """Its rows tell the size of one object, and large objects of a type apart."""
    totals = {"bytes": 0.0, "objects": 0.0}
    kinds: dict[str, list[float]] = {}
    for line in text.split("\n")[:ROWS]:
        if found := re.match(r"^ *([\d,.']{1,20}) +GC Heap (bytes|objects)", line):
            totals[found[2]] = _plain(found[1])
        elif found := _REPORTED.match(line):
            kind = kinds.setdefault(found[3].partition("  ")[0].partition(" (Bytes >")[0].strip(), [0.0, 0.0])
            kind[0] += _plain(found[2])
            kind[1] += _plain(found[2]) * _plain(found[1])
    for name, (count, size) in sorted(kinds.items(), key=lambda each: -each[1][1]):
        yield Kind(name, count, size)
    if totals["bytes"]:
        yield Kind("Total", totals["objects"], totals["bytes"])


def _plain(number: str) -> float:
    """A number with separators of thousands, whichever they are."""
    return words.number(re.sub(r"\D", "", number)[:18])

"""Who asks what of the kernel: new processes, opens that fail, slow disks, connections that fail, system calls."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from bot.insights import Reading, choice, sections, syscalls, words
from bot.insights.leads import Count, Lead, Row, finding
from bot.insights.tracedisks import disks
from bot.insights.tracemaps import Look, look_of
from bot.model import Finding, Level

STARTED = 50.0  # processes a second
FAILED_OPENS = 200.0  # a second of one process, most of one file; whoever looks for a library fails some dozen times
FAILED_OPENS_ANY = 2000.0  # a second of one process, whatever the files
NOTED_OPENS = 20.0  # a second; fewer are nothing, unless somebody asks
GRAVE_OPENS = 1.0  # a second, for a reason that is never ordinary
SAME_FILE = 0.2  # of what fails
MOSTLY = 0.5
FAILED_CONNECTS = 1.0  # a second of one process to one peer
PATH_CHARS = 60

# What the numbers of errors mean on Linux: first what no healthy program meets.
_GRAVE = {
    5: "input/output error",
    23: "too many open files in the system",
    24: "too many open files",
    28: "no space left",
    116: "stale file handle",
    122: "quota exceeded",
}
_REASONS = {
    1: "not permitted",
    2: "no such file",
    3: "no such process",
    6: "no such device",
    13: "permission denied",
    17: "file exists",
    20: "not a directory",
    21: "is a directory",
    30: "read-only file system",
    40: "too many links",
}


def trace(reading: Reading) -> Iterator[Finding]:
    """Name who leads in each thing that was counted; warn where it is out of the ordinary."""
    parts = sections(reading.text)
    yield from choice.unchosen(parts, "trace", reading.target)
    look = look_of(parts)
    if look is None:
        return
    for name, tell in _PARTS.items():
        if look.what == name:  # alone: it is answered in the first line, however ordinary it is
            yield from (replace(each, answer=True) for each in tell(look))
        elif look.what not in _PARTS:
            yield from tell(look)
    for part in parts:
        if part.name == "unseen" and part.body.strip():
            yield _unseen(part.body, look)


def _unseen(body: str, look: Look) -> Finding:
    """Why nothing, or less, could be counted, and what mends it."""
    if look.counted:
        text = f"Not everything can be traced here: {words.clean(body, 150)}"
    else:
        text = f"The kernel cannot be traced here, its own counters are all there is: {words.clean(body, 120)}"
    return finding(Level.WARN, text, 0.1, body.split("\n"))


# --- new processes ----------------------------------------------------------------------------


def _processes(look: Look) -> Iterator[Finding]:
    forks = ((pid, comm, count) for (pid, comm), count in look.entries("@forks", 2))
    lead = look.lead(forks)
    if lead is None:
        yield from _started(look)
        return
    programs: Counter[str] = Counter()
    for (pid, program), count in look.entries("@execs", 2):
        if pid in lead.pids:
            programs[program] += int(count)
    often = f", mostly {words.clean(programs.most_common(1)[0][0], PATH_CHARS)}" if programs else ""
    rate = lead.count / look.seconds
    text = f"{lead.text} starts {look.rate(lead.count)} processes a second{often}"
    lines = [f"{count} {program}" for program, count in programs.most_common(words.EVIDENCE_LINES)]
    level = Level.WARN if rate >= STARTED else Level.INFO
    yield finding(level, text, 0.5 + rate / 2000, lines, lead, "snapshot")


def _started(look: Look) -> Iterator[Finding]:
    """Without bpftrace the kernel tells how many, and not whose."""
    row = next((row for row in look.tables.get("counters", ()) if row.get("counter") == "processes"), None)
    started = _grown(row)
    if started and not look.counted:
        level = Level.WARN if started / look.seconds >= STARTED else Level.INFO
        yield finding(level, f"{look.rate(started)} processes a second start; whose cannot be told", 0.4, ())


def _grown(row: Row | None) -> float:
    return max(words.number(row.get("after")) - words.number(row.get("before")), 0.0) if row else 0.0


# --- opens that fail --------------------------------------------------------------------------


def _opens(look: Look) -> Iterator[Finding]:
    by_error: dict[str, list[Count]] = defaultdict(list)
    for (pid, error, comm), count in look.entries("@failed", 3):
        by_error[error].append((pid, comm, count))
    told = {error: lead for error, counts in by_error.items() if (lead := look.lead(counts))}
    most = max(told, key=lambda error: told[error].count, default="")
    for error, lead in told.items():
        noted = lead.count / look.seconds >= NOTED_OPENS or look.what == "opens"
        if (error == most and noted) or int(words.number(error)) in _GRAVE:
            yield _failing(look, error, lead)


def _failing(look: Look, error: str, lead: Lead) -> Finding:
    files: Counter[str] = Counter()
    for (pid, code, path), count in look.entries("@failed_files", 3):
        if pid in lead.pids and code == error:
            files[path] += int(count)
    path, most = files.most_common(1)[0] if files else ("", 0)
    rate, same = lead.count / look.seconds, most / max(lead.count, 1.0)
    storm = rate >= FAILED_OPENS_ANY or (rate >= FAILED_OPENS and same >= SAME_FILE)
    number = int(words.number(error))
    reason = _GRAVE.get(number) or _REASONS.get(number) or f"error {number}"
    which = f", {'mostly' if same > MOSTLY else 'such as'} {words.clean(path, PATH_CHARS)}" if path else ""
    text = f"{lead.text} fails to open files {look.rate(lead.count)} times a second: {reason}{which}"
    level = Level.BAD if number in _GRAVE and rate >= GRAVE_OPENS else Level.WARN if storm else Level.INFO
    lines = [f"{count} {name}" for name, count in files.most_common(words.EVIDENCE_LINES)]
    return finding(level, text, 0.6 + rate / 20_000, lines, lead, "files")


# --- connections ------------------------------------------------------------------------------


def _tcp(look: Look) -> Iterator[Finding]:
    """Who opens connections to whom, and whose do not come about."""
    opened = _peers(look, "@connected")
    for peer, lead, lines in _most(look, _peers(look, "@refused")):
        every = lead.count + sum(count for pid, _, count in opened.get(peer, ()) if pid in lead.pids)
        text = f"{lead.text} fails to connect to {peer}: {words.count(lead.count)} of {words.counted(every, 'attempt')} in {words.duration(look.seconds)}"
        level = Level.WARN if lead.count / look.seconds >= FAILED_CONNECTS else Level.INFO
        yield finding(level, text, 0.6 + 0.3 * lead.count / every, lines, lead, "files")
    for peer, lead, lines in _most(look, opened):
        text = f"{lead.text} opens {look.rate(lead.count)} connections a second to {peer}"
        yield finding(Level.INFO, text, 0.3, lines, lead, "files")
    rows = {row.get("counter"): row for row in look.tables.get("counters", ())}
    if not look.counted and (fails := _grown(rows.get("AttemptFails"))) / look.seconds >= FAILED_CONNECTS:
        text = f"{look.rate(fails)} TCP connections a second fail; whose cannot be told"
        yield finding(Level.WARN, text, 0.4, ())


def _peers(look: Look, name: str) -> dict[str, list[Count]]:
    """Who connected how often, by peer."""
    found: dict[str, list[Count]] = defaultdict(list)
    for (pid, port, address, comm), count in look.entries(name, 4):
        host, at = words.clean(address.removeprefix("::ffff:"), 45), words.clean(port, 5)
        found[f"[{host}]:{at}" if ":" in host else f"{host}:{at}"].append((pid, comm, count))
    return found


def _most(look: Look, peers: Mapping[str, list[Count]]) -> Iterator[tuple[str, Lead, list[str]]]:
    """The peer with the process that has most to do with it; nothing where there is none."""
    leads = {peer: lead for peer, counts in peers.items() if (lead := look.lead(counts))}
    if peer := max(leads, key=lambda each: leads[each].count, default=""):
        yield peer, leads[peer], [f"{count:.0f} {comm} {pid}" for pid, comm, count in peers[peer]]


# --- system calls -----------------------------------------------------------------------------


def _syscalls(look: Look) -> Iterator[Finding]:
    calls_of = ((pid, comm, count) for (pid, comm), count in look.entries("@calls", 2) if comm != "bpftrace")
    lead = look.lead(calls_of)  # ours is not what anybody asks about
    if lead is None:
        yield from _callers(look)
        return
    calls: Counter[str] = Counter()
    for (pid, number), count in look.entries("@call", 2):
        if pid in lead.pids:
            calls[syscalls.name_of(int(words.number(number)), look.machine)] += int(count)
    often = ""
    if calls:
        name, most = calls.most_common(1)[0]
        often = f", {words.percent(min(most / lead.count, 1.0))} of them {name}"
    text = f"{lead.text} makes {look.rate(lead.count)} system calls a second{often}"
    lines = [f"{count} {name}" for name, count in calls.most_common(words.EVIDENCE_LINES)]
    yield finding(Level.INFO, text, 0.2, lines, lead, "profile")


def _callers(look: Look) -> Iterator[Finding]:
    """Without bpftrace the kernel counts just those that read and write."""
    lead = look.lead(
        (row.get("pid", "?"), "?", words.number(row.get("calls"))) for row in look.tables.get("callers", ())
    )
    if lead:
        text = f"{lead.text} reads and writes {look.rate(lead.count)} times a second; other system calls cannot be told"
        yield finding(Level.INFO, text, 0.2, (), lead, "profile")


_PARTS: Mapping[str, Callable[[Look], Iterator[Finding]]] = {
    "processes": _processes,
    "opens": _opens,
    "disk": disks,
    "tcp": _tcp,
    "syscalls": _syscalls,
}

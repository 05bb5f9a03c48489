"""What is new in a log, or comes much more often than before: the message, since when, how often, and with which cause."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bot.insights import Reading, Section, logschoice, sections, words
from bot.insights.logslines import Grade, Record, cause_of
from bot.insights.logsrates import Change, change_of
from bot.insights.logsread import Log, logs_of
from bot.insights.logsshapes import Group, groups_of, spoken
from bot.model import Finding, Level, Suggestion

TEXT_CHARS = 200  # of a finding
CAUSE_CHARS = 70
MESSAGE_CHARS = 24  # at least
COMPARED = 30  # messages, to find what they share
TOLD = 3  # findings of one log
LEAST = 5  # of a message, before it is told
LEAST_STACKS = 3  # where each comes with an exception
BRISK_A_MINUTE = 10.0  # errors that make it bad
AHEAD = 2.5  # times faster than all lines grew: more requests bring more of everything
FLOOD_SHARE = 0.3  # of all lines, for a message that does not call itself an error
FLOOD_LINES = 200
STEADY_LEAST = 20  # errors that came all the time, and
STEADY_SHARE = 0.2  # of all lines, or
STEADY_A_MINUTE = 30.0
RECENT_S = 3600.0  # what is deadly is told for as long
NEAR_S = 60.0  # that were not read before something was first seen: its beginning is not known to the second
SHORT_S = 60.0  # a rate a minute needs as long

# Said once, they are the incident.
_DEADLY = re.compile(
    r"OutOfMemory|out of memory|Too many open files|No space left on device|segmentation fault|segfault|\bpanic\b|core dumped"
    r"|StackOverflowError|Read-only file system|too many (?:connections|clients)|database disk image is malformed|corrupt",
    re.IGNORECASE,
)
# What it looks like, what to run next, and what that shows.
_NEXT = tuple(
    (re.compile(pattern, re.IGNORECASE), recipe, label)
    for pattern, recipe, label in (
        (r"OutOfMemoryError|Java heap space", "java-heap", "What fills the heap"),
        (r"HikariPool|pool .{0,40}exhausted|Connection is not available", "java-threads", "Threads of the JVM"),
        (r"Too many open files|EMFILE", "files", "Open files"),
        (r"refused|timed? ?out|unreachable|reset by peer|broken pipe|name resolution|UnknownHost|no route", "net", "Connections"),
        (r"No space left|Read-only file system|out of memory|\boom\b|killed", "host", "The host"),
    )
)  # fmt: skip
_OF_PROCESS = frozenset({"java-heap", "java-threads", "files"})  # which take a pid, and those of Java need one


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Records of one message that there is something to say about."""

    log: Log
    records: Sequence[Record]
    pid: int  # of the process that writes them, 0 where that is not known

    @property
    def share(self) -> float:
        """Of all lines that were read."""
        return len(self.records) / max(len(self.log.records), 1)


def logs(reading: Reading) -> Iterator[Finding]:
    """Name messages that are new, come more often than before, or fill a log; and why nothing could be read."""
    parts = sections(reading.text)
    found = list(logs_of(parts))
    yield from logschoice.unread(parts, reading.target, is_anything=any(log.records for log in found))
    pid, grep = int(words.number(_first(parts, "process").get("pid"))), _first(parts, "asked").get("grep", "")
    for log in found:
        if grep and log.records:
            yield _answer(log, grep)
        told = _told(log, pid, is_searched=bool(grep))
        yield from sorted(told, key=lambda each: (-each.level.value, -each.weight))[:TOLD]


def _first(parts: Sequence[Section], name: str) -> dict[str, str]:
    return next((row for part in parts if part.name == name for row in part.rows()), {})


def _told(log: Log, pid: int, *, is_searched: bool) -> Iterator[Finding]:
    changes = [(group, change_of([record.at for record in group.records], log.covered)) for group in groups_of(log.records)]  # fmt: skip
    is_calm = True
    for group, change in changes:
        finding = _changed(log, group, change, pid) if change else None
        if finding is None and not is_searched and change is None:
            finding = _steady(Seen(log=log, records=group.records, pid=pid), group.grade)
        finding = finding or _deadly(Seen(log=log, records=group.records, pid=pid), group.grade)
        if finding:
            is_calm = False
            yield finding
    for group, change in changes if is_calm else ():
        if change and group.grade is Grade.INFO and (finding := _flood(log, group, change)):
            yield finding


# --- what is worth a sentence -------------------------------------------------------------------


def _changed(log: Log, group: Group, change: Change, pid: int) -> Finding | None:
    """What is new or bursts, and does not call itself ordinary."""
    seen = Seen(log=log, records=group.records[-change.number :], pid=pid)
    least = LEAST_STACKS if any(cause_of(record) for record in seen.records) else LEAST
    is_error, is_brisk = group.grade is Grade.ERROR, change.a_minute >= BRISK_A_MINUTE
    if group.grade is Grade.INFO or change.number < least or not _is_ahead(log, change):
        return None
    if not is_error and not is_brisk:
        return None
    is_bad = is_error and is_brisk and not change.is_over and change.number >= 2 * LEAST
    is_exact = log.covered.unread_before(change.start) < NEAR_S
    when = _clock(change.start) if is_exact else f"about {_clock(change.start)[:5]}"
    when = f"from {when} to {_clock(change.end)}" if change.is_over else f"since {when}"
    if change.earlier:
        tail = f"{when} {_often(change)}, {_rate(change.earlier_a_minute)} before"
    else:
        begins = log.covered.start
        samples = "" if log.covered.is_whole(begins, change.start) else "samples of "
        tail = f"is new {when}, {_often(change)}; none in {samples}the {words.duration(change.start - begins)} before"
    weight = min(0.5 + seen.share / 2 + (0.0 if change.earlier else 0.2), 1.0)
    return _finding(Level.BAD if is_bad else Level.WARN, seen, tail, weight)


def _is_ahead(log: Log, change: Change) -> bool:
    """Whether it grew more than everything else did since then."""
    late = log.since(change.start)
    earlier_s = log.covered.up_to(change.start)
    later_s = log.covered.seconds - earlier_s
    if not change.earlier or not earlier_s or not later_s:
        return True
    others = ((late - change.number) / later_s) / max((len(log.records) - late - change.earlier) / earlier_s, 1e-6)
    return change.a_minute / max(change.earlier_a_minute, 1e-6) >= AHEAD * max(others, 1.0)


def _steady(seen: Seen, grade: Grade) -> Finding | None:
    """Errors that were there all the time, and are much of the log."""
    number, seconds = len(seen.records), seen.log.covered.seconds
    is_much = seen.share >= STEADY_SHARE or (seconds >= SHORT_S and number * 60 / seconds >= STEADY_A_MINUTE)
    if grade is not Grade.ERROR or number < STEADY_LEAST or not is_much:
        return None
    span = f" in the {words.duration(seen.log.covered.end - seen.log.covered.start)}" if seconds >= SHORT_S else ""
    tail = f"{words.counted(number, 'time')}{span}, {words.percent(seen.share)} of its lines"
    return _finding(Level.WARN, seen, tail, 0.3 + seen.share / 3)


def _deadly(seen: Seen, grade: Grade) -> Finding | None:
    """What is the incident even if it was said once."""
    last, number = seen.records[-1], len(seen.records)
    is_recent = not seen.log.has_times or seen.log.covered.end - last.at <= RECENT_S
    if grade is Grade.INFO or not is_recent or not _DEADLY.search(f"{last.text} {cause_of(last)}"):
        return None
    tail = words.counted(number, "time") if number > 1 or not seen.log.has_times else ""
    if seen.log.has_times:
        tail += f"{', last ' if tail else ''}at {_clock(last.at)}"
    return _finding(Level.WARN, seen, tail, 0.6)


def _flood(log: Log, group: Group, change: Change) -> Finding | None:
    """A message that calls itself ordinary, and is most of what is written since a moment."""
    late = log.since(change.start)
    is_access = group.records[-1].is_access
    if is_access or change.number < max(FLOOD_LINES, FLOOD_SHARE * late) or not _is_ahead(log, change):
        return None
    before = f"{_rate(change.earlier_a_minute)} before" if change.earlier else "none before"
    tail = (
        f"{_often(change)} since {_clock(change.start)}, {words.percent(change.number / late)} of its lines; {before}"
    )
    return _finding(Level.INFO, Seen(log=log, records=group.records[-change.number :], pid=0), tail, 0.3)


def _answer(log: Log, grep: str) -> Finding:
    """What was searched for: how often it stands there, from when to when, and in which message mostly."""
    number, most = len(log.records), max(groups_of(log.records), key=lambda group: len(group.records))
    text = f"{log.name}: {words.counted(number, 'message')} with '{words.clean(grep, 40)}'"
    if log.has_times:
        text += f" from {_clock(log.covered.start)} to {_clock(log.covered.end)}"
    text += f", {words.percent(len(most.records) / number)} of them '{most.spoken}'"
    lines = words.evidence(log.records[0].line, log.records[-1].line)
    return Finding(level=Level.INFO, text=words.clean(text, TEXT_CHARS), weight=0.4, evidence=lines, answer=True)


# --- sentences ----------------------------------------------------------------------------------


def _finding(level: Level, seen: Seen, tail: str, weight: float) -> Finding:
    causes = Counter(cause for record in seen.records if (cause := cause_of(record)))
    cause = words.clean(spoken([each for each, _ in causes.most_common(COMPARED)]), CAUSE_CHARS) if causes else ""
    said = spoken([record.text for record in seen.records[:: max(len(seen.records) // COMPARED, 1)]])
    room = TEXT_CHARS - len(f"{seen.log.name}: '' {tail}")
    because = f" ({cause})" if cause and cause not in said else ""
    message = words.clean(said, max(room - len(because), MESSAGE_CHARS))
    first, last = seen.records[0], seen.records[-1]
    caused = [line for line in first.stack if cause_of(first) in line][-1:] if causes else []
    lines = [first.line, *caused, *([last.line] if last is not first else [])]
    return Finding(
        level=level,
        text=words.clean(f"{seen.log.name}: '{message}'{because} {tail}", TEXT_CHARS),
        weight=weight,
        evidence=words.evidence(*lines),
        next=tuple(_next(f"{said} {cause}", seen.pid)),
    )


def _next(text: str, pid: int) -> Iterator[Suggestion]:
    for pattern, recipe, label in _NEXT:
        if pattern.search(text) and (pid or not recipe.startswith("java-")):
            yield Suggestion(
                label=label, recipe=recipe, parameters={"pid": pid} if pid and recipe in _OF_PROCESS else {}
            )


def _clock(at: float) -> str:
    """A time as the log itself has it."""
    return datetime.fromtimestamp(at, tz=UTC).strftime("%H:%M:%S")


def _often(change: Change) -> str:
    if change.seconds < SHORT_S:
        return f"{words.counted(change.number, 'time')} in {words.duration(max(change.seconds, 1.0))}"
    return _rate(change.a_minute)


def _rate(a_minute: float) -> str:
    if a_minute >= 0.95:
        return f"{words.count(a_minute)} a minute"
    return f"{words.count(a_minute * 60)} an hour" if a_minute * 60 >= 0.95 else "hardly any"

"""Lines of a log as records: when, how bad, and what was said, in whatever form the log is written."""

from __future__ import annotations

import json
import re
from calendar import timegm
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from functools import lru_cache
from typing import Any

LINE_CHARS = 400  # of a line that are looked at
JSON_CHARS = 20_000  # of a line that is read as JSON
PROBED_LINES = 300  # tell in which form a log writes its times
STACK_LINES = 200  # of one record


class Grade(IntEnum):
    """How bad a record calls itself; a complaint only sounds bad, and calls itself nothing."""

    INFO = 0
    COMPLAINT = 1
    WARNING = 2
    ERROR = 3


@dataclass(slots=True)
class Record:
    """One message. *at* is in seconds, by the clock that the log is written by; *stack* are the lines below the first."""

    at: float
    grade: Grade
    text: str
    line: str
    stack: list[str] = field(default_factory=list)
    is_access: bool = False  # of a web server, about one request


# --- times ------------------------------------------------------------------------------------

_MONTHS = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), start=1
    )
}
_CLOCK = r"(?P<h>\d?\d):(?P<mi>\d\d):(?P<s>\d\d)(?P<f>[.,]\d{1,9})?"
# As in captures/logs.sh, which finds its way through large files by them.
_FORMS = tuple(
    re.compile(form, re.ASCII)
    for form in (
        rf"(?P<y>20\d\d)[-/](?P<mo>\d\d)[-/](?P<d>\d\d)(?:T| +){_CLOCK}(?: ?(?:Z|UTC|GMT|[+-]\d\d:?\d\d)\b)?",  # ISO, log4j, MySQL
        rf"(?P<d>\d\d)[/-](?P<mo>[A-Z][a-z][a-z])[/-](?P<y>20\d\d)[: ]{_CLOCK}(?: [+-]\d{{4}})?",  # access logs, Tomcat
        rf"(?P<mo>[A-Z][a-z][a-z]) (?P<d>[ \d]\d) {_CLOCK} (?P<y>20\d\d)",  # ctime, Apache
        rf"^(?:<\d+>)?(?P<mo>[A-Z][a-z][a-z]) (?P<d>[ \d]\d) {_CLOCK}",  # syslog
        rf"^[IWEF](?P<mo>[01]\d)(?P<d>\d\d) {_CLOCK}",  # glog
        r'(?:^|(?:ts|time|stamp|Time)" ?: ?"?)(?P<e>1\d{9})(?:(?P<f>\.\d+)|(?P<ms>\d\d\d))?(?!\d)',  # seconds or milliseconds since 1970
    )
)


@lru_cache(maxsize=4096)
def _day(year: str, month: str, day: str) -> float:
    number = int(month) if month.isdigit() else _MONTHS.get(month, 0)
    try:
        return float(timegm(datetime(int(year), number, int(day), tzinfo=UTC).timetuple()))
    except ValueError:
        return -1.0


def _seconds(match: re.Match[str], now: datetime) -> float:
    """The time that a form has found, -1 where there is no such day. Without a year it is the last that has been."""
    found = match.groupdict()
    fraction = float(f"0.{found['f'][1:]}") if found.get("f") else 0.0
    if found.get("e"):
        return int(found["e"]) + fraction + (int(found["ms"]) / 1000 if found["ms"] else 0.0)
    year = found.get("y") or str(now.year)
    day = _day(year, found["mo"], found["d"])
    if not found.get("y") and day > now.replace(tzinfo=UTC).timestamp() + 86_400:
        day = _day(str(now.year - 1), found["mo"], found["d"])
    if day < 0:
        return -1.0
    return day + int(found["h"]) * 3600 + int(found["mi"]) * 60 + int(found["s"]) + fraction


def form_of(lines: Iterable[str]) -> re.Pattern[str] | None:
    """The form in which most of some lines write their time, the first in each line; None where none does."""
    votes: Counter[re.Pattern[str]] = Counter()
    for line in lines:
        found = [(match.start(), form) for form in _FORMS if (match := form.search(line, 0, LINE_CHARS))]
        if found:
            votes[min(found, key=lambda each: each[0])[1]] += 1
    return votes.most_common(1)[0][0] if votes else None


# --- how bad ----------------------------------------------------------------------------------

_NAMED = {
    **dict.fromkeys(
        ("fatal", "panic", "emerg", "emergency", "alert", "crit", "critical", "severe", "error", "err"), Grade.ERROR
    ),
    **dict.fromkeys(("warn", "warning"), Grade.WARNING),
}
_LEVELS = r"TRACE|DEBUG\d?|FINEST|FINER|FINE|CONFIG|INFO|NOTICE|LOG|STATEMENT|DETAIL|HINT|CONTEXT|WARN(?:ING)?|ERROR|ERR|SEVERE|CRIT(?:ICAL)?|ALERT|EMERG(?:ENCY)?|FATAL|PANIC"
_LEVEL = re.compile(
    rf"(?<![\w.$/-])(?P<upper>{_LEVELS})(?![\w$/=.-])|\[(?:\w+:)?(?P<low>debug|info|notice|warn|warning|error|crit|alert|emerg|Note|Warning|System)\]"
    r'|\b(?:level|lvl|severity)=(?P<fmt>"?\w+)|^(?P<glog>[IWEF])\d{4} ',
    re.ASCII,
)
_GLOG = {"I": "info", "W": "warning", "E": "error", "F": "fatal"}
LEVEL_CHARS = 160  # within which a level stands
_COMPLAINT = re.compile(
    r"\b(?:error|errors|fail|fails|failed|failure|failures|refused|timeout|timed out|exception|panic|panicked|fatal|denied|unreachable|cannot|unable"
    r"|could not|can't|reset by peer|broken pipe|no space left|too many open files|out of memory|oom|killed|segfault|deadlock|corrupt\w*|aborted)\b",
    re.IGNORECASE | re.ASCII,
)
_JSON_LEVELS = ((50, Grade.ERROR), (40, Grade.WARNING))  # numbers, as bunyan and pino write them


def _named(word: str) -> Grade:
    return _NAMED.get(word.strip('"').lower(), Grade.INFO)


def _grade(text: str, level: re.Match[str] | None = None) -> Grade:
    """What the level in a line says, else what its words sound like."""
    level = level or _LEVEL.search(text, 0, LEVEL_CHARS)
    if level is None:
        return Grade.COMPLAINT if _COMPLAINT.search(text) else Grade.INFO
    return _named(level["upper"] or level["low"] or level["fmt"] or _GLOG[level["glog"]])


# --- what was said ----------------------------------------------------------------------------

# What stands before a message: threads, ids, levels, the logger's name.
_BEFORE = re.compile(
    rf"(?:[\s|:,>-]+|\[[^\]\n]{{0,80}}\]|\((?:[\w.-]{{1,40}})\)|(?:{_LEVELS})\b:?|\d+#\d+:(?: \*\d+)?|\d+(?= ---| \[)"
    r"|(?![\w.$]*(?:Error|Exception)\b)(?:(?:[a-zA-Z_$][\w$-]*\.)+[\w$-]+(?:\[\d+\])?:?(?=\s)|[a-z][\w.$-]{0,60}:(?=\s+\S+ )))*",
    re.ASCII,
)
_PROGRAM = re.compile(
    r"\s*(?:[\w.-]+ )?(?P<program>[\w./@-]{1,60})(?:\[\d+\])?: ", re.ASCII
)  # syslog: host program[pid]:
_ACCESS = re.compile(r'"(GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS) ([^\s?"]{1,300})[^"\n]{0,3000}" ([1-5]\d\d)\b')
_MESSAGE = re.compile(r'\bmsg="((?:[^"\\]|\\.){1,400})"(?:.*?\berr(?:or)?=("(?:[^"\\]|\\.){1,200}"|\S{1,200}))?')
_NGINX = re.compile(r', client: (?:.*?upstream: ("\w+://[^/"\s]+))?.*')  # the request, and to whom it was passed on
# Lines that belong to the one before, even if they had a time in them.
_BELOW = re.compile(
    r"\s|at |Caused by: |Suppressed: |\.\.\. \d+ more|Traceback \(most|During handling of |The above exception |--- End of |\}|\)|$"
)
_POSTGRES_BELOW = ("STATEMENT", "DETAIL", "HINT", "CONTEXT")
_CAUSE = re.compile(
    r"\s*Caused by: (.{1,300})|((?:[\w$]+\.)*(?:[A-Z][\w$]*)?(?:Error|Exception|Exit|Interrupt|Timeout|Refused|Failure)(?=:|$).{0,300})"
)


def cause_of(record: Record) -> str:
    """The exception at the bottom of a record's stack, as the stack words it; "" where it has none."""
    found = ""
    for line in record.stack:
        if match := _CAUSE.match(line):
            found = match[1] or match[2]
    return found


def records(text: str, now: datetime) -> list[Record]:
    """The records of some lines of one log; a line without a time belongs to the one above it. The first may be cut."""
    lines = text.split("\n")
    form = form_of(line for line in lines[:PROBED_LINES] if line)
    made = list(_records(lines, form, now))
    for record in made:
        if record.grade < Grade.ERROR and record.stack and cause_of(record):
            record.grade = Grade.ERROR
    return made


def _records(lines: list[str], form: re.Pattern[str] | None, now: datetime) -> Iterator[Record]:
    last: Record | None = None
    known: dict[str, float] = {}  # many lines name the same second
    for whole in lines:
        line = whole[:LINE_CHARS]
        is_json = line.startswith("{")
        match = form.search(line if not is_json else whole[:JSON_CHARS]) if form and not _BELOW.match(line) else None
        if match and match[0] not in known:
            known[match[0]] = _seconds(match, now)
        record = None
        if match and (at := known[match[0]]) >= 0:
            record = (_of_json(whole, at) if is_json else None) or _of_text(line, match, at)
        elif form is None and not _BELOW.match(line):
            record = Record(0.0, _grade(line), line[_prefix(line, 0) :], line)
        if record is None:
            if last is not None and line and len(last.stack) < STACK_LINES:
                last.stack.append(line)
            continue
        last = record
        yield record


def _prefix(line: str, start: int) -> int:
    """Where the message begins, whatever stands before it."""
    match = _BEFORE.match(line, start)
    end = match.end() if match else start
    return end if end < len(line) else start


def _of_text(line: str, match: re.Match[str], at: float) -> Record | None:
    if access := _ACCESS.search(line):
        grade = Grade.ERROR if access[3][0] == "5" else Grade.INFO
        return Record(at, grade, f"{access[1]} {access[2]} answered {access[3]}", line, is_access=True)
    level = _LEVEL.search(line, 0, match.end() + LEVEL_CHARS)
    if level is None:
        program = _PROGRAM.match(line, match.end())
        text = line[_prefix(line, program.end() if program else match.end()) :]
        return Record(at, _grade(text), text, line)
    if level["upper"] in _POSTGRES_BELOW:
        return None
    if level["glog"]:
        text = line.partition("] ")[2]
    elif level["fmt"] and (message := _MESSAGE.search(line)):
        text = f"{message[1]}: {message[2]}" if message[2] else message[1]
    else:
        text = line[_prefix(line, max(level.end(), match.end())) :]
        text = _NGINX.sub(lambda context: f" {context[1][1:]}" if context[1] else "", text)
    return Record(at, _grade(line, level), text or line, line)


# --- JSON, a record a line ------------------------------------------------------------------

_MESSAGES = ("message", "msg", "event", "MESSAGE", "log", "text", "short_message")
_SEVERITIES = ("level", "severity", "lvl", "levelname", "log.level", "loglevel")
_STACKS = ("stack_trace", "stack", "exception", "exc_info", "error.stack_trace", "traceback", "error", "err")


def _of_json(line: str, at: float) -> Record | None:
    try:
        found = json.loads(line[:JSON_CHARS])
    except (ValueError, RecursionError):  # cut, or only like JSON
        return None
    if not isinstance(found, dict):
        return None
    text = next((str(found[key]) for key in _MESSAGES if isinstance(found.get(key), str)), "")
    level = next((found[key] for key in _SEVERITIES if isinstance(found.get(key), str | int)), None)
    if isinstance(level, int):
        grade = next((grade for least, grade in _JSON_LEVELS if level >= least), Grade.INFO)
    else:
        grade = _named(level) if level else _grade(text)
    record = Record(at, grade, text[:LINE_CHARS] or line[:LINE_CHARS], line[:LINE_CHARS])
    for stack in filter(None, (_stack(found.get(key)) for key in _STACKS)):
        record.stack.extend(each[:LINE_CHARS] for each in stack.split("\n")[:STACK_LINES])
    return record


def _stack(value: Any) -> str:
    if isinstance(value, dict):
        said = f"{value.get('type', 'Error')}: {value.get('message', '')}"
        value = next((value[key] for key in ("stack", "stack_trace") if isinstance(value.get(key), str)), said)
    return value if isinstance(value, str) else ""

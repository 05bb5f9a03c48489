"""The last deadlock, from the report of InnoDB's monitor."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from bot.insights import Reading, sections, words
from bot.insights.mysql.sessions import PHONE_CHARS
from bot.model import Finding, Level

RECENT_S = 600.0
LEAST_CHARS = 12  # of a statement in the sentence, whatever else stands there

_TAKEN_AT = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) .*INNODB MONITOR OUTPUT", re.MULTILINE)
_REPORT = re.compile(
    r"^LATEST DETECTED DEADLOCK\n-+\n(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d).*\n((?:(?!-{4,}\n[A-Z ]+\n-{4,}\n).*\n)*)",
    re.MULTILINE,
)
_TRANSACTION = re.compile(r"^\*\*\* \((\d+)\) TRANSACTION:$", re.MULTILINE)
# "query id 50 127.0.0.1 shop Updating", and "query id 50 localhost 127.0.0.1 shop updating" where names are looked up.
_SESSION = re.compile(
    r"thread id (\d{1,20}), [^\n]{0,200}?query id \d+ (\S+) (?:([\d.]+|[\da-f:]*:[\da-f:]+) )?(\S+).*\n"
)
_TABLE = re.compile(r"of table `([^`\n]+)`\.`([^`\n]+)`")
_ROLLED_BACK = re.compile(r"^\*\*\* WE ROLL BACK TRANSACTION \((\d+)\)", re.MULTILINE)
_MARK = re.compile(r"^(?:\*\*\*|RECORD LOCKS|TABLE LOCK|---)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the transactions that waited for each other."""

    number: str
    thread: str
    who: str
    statement: str
    table: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlock:
    """What the server remembers of it; *age_s* counts from when the report was taken."""

    age_s: float
    sides: tuple[Side, ...]
    victim: Side | None  # the one that was rolled back

    @property
    def text(self) -> str:
        """Who, on what and how it ended, in a sentence."""
        text = f"The last deadlock was {words.duration(self.age_s)} ago"
        if len(self.sides) < 2:
            return text
        tables = " and ".join(dict.fromkeys(side.table for side in self.sides if side.table))
        text = f"Deadlock {words.duration(self.age_s)} ago{' on ' + words.clean(tables) if tables else ''}: "
        ended = f"; thread {self.victim.thread} was rolled back" if self.victim else ""
        first, second = self.sides[:2]
        room = PHONE_CHARS - len(text + first.who + second.who + ended) - len(" () against  ()")
        said = [
            f"{side.who} ({words.spoken(side.statement, most=max(room // 2, LEAST_CHARS))})" for side in (first, second)
        ]
        return words.clean(f"{text}{said[0]} against {said[1]}{ended}", PHONE_CHARS)


def deadlock_of(report: str) -> Deadlock | None:
    """The last deadlock in a report of the monitor, None where there was none or no time can be read."""
    taken, found = _TAKEN_AT.search(report), _REPORT.search(report)
    if not taken or not found:
        return None
    heads = list(_TRANSACTION.finditer(found[2]))
    ends = [*(head.start() for head in heads[1:]), len(found[2])]
    sides = tuple(_side(head[1], found[2][head.end() : end]) for head, end in zip(heads, ends, strict=False))
    victim = _ROLLED_BACK.search(found[2])
    return Deadlock(
        age_s=_seconds_between(found[1], taken[1]),
        sides=sides,
        victim=next((side for side in sides if victim and side.number == victim[1]), None),
    )


def _side(number: str, text: str) -> Side:
    session, table = _SESSION.search(text), _TABLE.search(text)
    statement = _MARK.split(text[session.end() :], maxsplit=1)[0] if session else ""
    return Side(
        number=number,
        thread=session[1] if session else "?",
        who=f"{words.clean(session[4])}@{words.clean(session[2])}" if session else "somebody",
        statement=statement,
        table=f"{table[1]}.{table[2]}" if table else "",
    )


def _seconds_between(earlier: str, later: str) -> float:
    """Seconds between two times of the same clock; infinite where one is none."""
    try:
        return abs((datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds())
    except ValueError:
        return float("inf")


def report_of(text: str) -> str:
    """The monitor's report in an artifact."""
    rows = [row for section in sections(text) if section.name == "innodb" for row in words.records(section)]
    return "\n".join(row.get("Status", "") for row in rows)


def finding_of(deadlock: Deadlock | None, level: Level) -> Iterator[Finding]:
    """A finding on a deadlock that is no old news."""
    if deadlock and deadlock.age_s <= RECENT_S:
        evidence = [
            f"({side.number}) thread {side.thread} {side.who}: {words.shape(side.statement)}" for side in deadlock.sides
        ]
        yield Finding(level=level, text=deadlock.text, weight=0.3, evidence=words.evidence(*evidence))


def deadlock(reading: Reading) -> Iterator[Finding]:
    """Name both sides of the last deadlock. Whoever asks about locks wants to hear of it, though the server has solved it."""
    yield from finding_of(deadlock_of(report_of(reading.text)), Level.WARN)

"""Who has most of something that was counted by process: one process, or all of one name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bot.insights import onward, words
from bot.model import Finding, Level

LEADS = 0.5  # of what all of its name have; else they are told together
NAME_CHARS = 30
TEXT_CHARS = 200  # of a finding

Count = tuple[str, str, float]  # pid, its name when it was counted, how much
Names = Mapping[str, tuple[str, str]]  # process and user by pid, of what still ran afterwards
Row = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """The process with the most of something, or all of one name; *text* is how people call it."""

    text: str
    name: str
    count: float
    pids: frozenset[str]

    @property
    def pid(self) -> str:
        """The one process, "" where there are several."""
        return next(iter(self.pids)) if len(self.pids) == 1 else ""


def names_of(rows: Iterable[Row]) -> Names:
    """What a table with the columns pid, user and name knows."""
    return {row["pid"]: (row["name"], row["user"]) for row in rows if row.keys() >= {"pid", "name", "user"}}


def leading(counts: Iterable[Count], names: Names) -> Lead | None:
    """Who has most; None where nobody has any."""
    by_pid: dict[str, float] = defaultdict(float)
    by_name: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    called: dict[str, tuple[str, str]] = {}
    for pid, comm, count in counts:
        called[pid] = names.get(pid, (comm, ""))
        by_pid[pid] += count
        by_name[called[pid][0]][pid] += count
    pid = max(by_pid, key=lambda each: by_pid[each], default="")
    most = by_pid.get(pid, 0.0)
    if most <= 0:
        return None
    name, members = max(by_name.items(), key=lambda each: sum(each[1].values()))
    together = sum(members.values())
    if most < LEADS * together and len(members) > 1:
        text = f"{words.clean(name, NAME_CHARS) or '?'} ({words.counted(len(members), 'process', 'processes')})"
        return Lead(text=text, name=name, count=together, pids=frozenset(members))
    name, user = called[pid]
    whose = f", user {words.clean(user, 20)}" if user else ""
    text = f"{words.clean(name, NAME_CHARS) or '?'} (pid {words.clean(pid, 10)}{whose})"
    return Lead(text=text, name=name, count=most, pids=frozenset({pid}))


def finding(
    level: Level, text: str, weight: float, lines: Iterable[str] = (), lead: Lead | None = None, *recipes: str
) -> Finding:
    """A finding whose sentence fits, and where one process leads, *recipes* that explain it."""
    return Finding(
        level=level,
        text=words.clean(text, TEXT_CHARS) or "?",
        weight=min(max(weight, 0.0), 1.0),
        evidence=words.evidence(*lines),
        next=onward.explaining(lead.name, lead.pid, *recipes) if lead else (),
    )

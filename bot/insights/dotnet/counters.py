"""What a .NET runtime counts: its pool, heap, exceptions and collections, from events or from `dotnet-counters collect`."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from bot.insights import Section, words
from bot.insights.choice import row_of

ROWS = 20_000  # of a CSV
MB = 1e6

# The same counter as the runtime calls it, as the tool does, and as it is called since .NET 9.
_NAMES = {
    "queue": r"threadpool-queue-length|threadpool queue length|dotnet\.thread_pool\.queue\.length",
    "threads": r"threadpool-thread-count|threadpool thread count|dotnet\.thread_pool\.thread\.count",
    "heap_mb": r"gc-heap-size|gc heap size",
    "heap_bytes": r"dotnet\.gc\.last_collection\.heap\.size",
    "exceptions": r"exception-count|exception count|dotnet\.exceptions",
    "contended": r"monitor-lock-contention-count|monitor lock contention count|dotnet\.monitor\.lock_contentions",
    "in_gc": r"time-in-gc|(?:% )?time in gc",
    "pause": r"dotnet\.gc\.pause\.time",
}
_PATTERNS = {key: re.compile(rf"(?:{pattern})\b", re.IGNORECASE) for key, pattern in _NAMES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What was counted within *seconds*; nothing where nothing was."""

    seconds: float = 0.0
    values: dict[str, list[float]] = field(default_factory=dict)
    thrown: Sequence[tuple[float, str]] = ()  # number, type
    adjusted: Sequence[tuple[str, float]] = ()  # why the pool changed, and to how many threads
    collections: Sequence[tuple[str, str, float]] = ()  # generation, how, number
    paused_s: float = 0.0
    longest_s: float = 0.0

    def last(self, name: str) -> float:
        """The newest value, 0 where there is none."""
        return next(reversed(self.values.get(name, [])), 0.0)

    def least(self, name: str) -> float:
        """The smallest value, the first one apart: it was taken when the counting began."""
        values = self.values.get(name, [])
        return min(values[1:] or values, default=0.0)

    @property
    def heap_bytes(self) -> float:
        """How large the heap is."""
        return self.last("heap_bytes") or self.last("heap_mb") * MB

    @property
    def exceptions_per_s(self) -> float:
        """How many were thrown, by their events where they were told."""
        if self.thrown and self.seconds > 0:
            return sum(number for number, _ in self.thrown) / self.seconds
        values = self.values.get("exceptions", [])
        return sum(values) / len(values) if values else 0.0

    @property
    def stopped_share(self) -> float:
        """How much of the time everything stood still for collecting garbage."""
        if self.paused_s > 0:
            return self.paused_s / self.seconds if self.seconds > 0 else 0.0
        return (
            self.least("pause") or self.least("in_gc") / 100
        )  # by the second, and of the time since the last collection

    @property
    def starvations(self) -> int:
        """How often the pool got another thread because nothing was done for half a second."""
        return sum(reason == "starvation" for reason, _ in self.adjusted)


def counted(parts: Sequence[Section]) -> Counted:
    """All that was counted."""
    by_name = {part.name: part for part in parts}
    values: dict[str, list[float]] = {}
    for name, each in _series(by_name):
        key = next((key for key, pattern in _PATTERNS.items() if pattern.match(name)), None)
        if key:
            values.setdefault(key, []).extend(each)
    told = next((by_name[name] for name in ("collections", "counters", "counters-csv") if name in by_name), None)
    collections = by_name.get("collections")
    return Counted(
        seconds=max(words.number(told.facts.get("seconds")), 0.0) if told else 0.0,
        values=values,
        thrown=[(words.number(row.get("count")), row.get("type", "?")) for row in _rows(by_name, "exceptions")],
        adjusted=[(row.get("reason", ""), words.number(row.get("threads"))) for row in _rows(by_name, "pool")],
        collections=[
            (row.get("generation", "?"), row.get("how", ""), words.number(row.get("count")))
            for row in _rows(by_name, "collections")
        ],
        paused_s=max(words.number(collections.facts.get("paused_s")), 0.0) if collections else 0.0,
        longest_s=max(words.number(collections.facts.get("longest_s")), 0.0) if collections else 0.0,
    )


def version_of(parts: Sequence[Section]) -> str:
    """The runtime's version, "" where it is not known."""
    part = next((part for part in parts if part.name == "runtime"), None)
    found = re.search(r"^version\t([\w.+-]{1,30})$", part.body, re.MULTILINE) if part else None
    return found[1] if found else ""


def memory_of(parts: Sequence[Section]) -> float:
    """Resident bytes."""
    part = next((part for part in parts if part.name == "memory"), None)
    found = re.search(r"^VmRSS:\s*(\d{1,15}) kB", part.body, re.MULTILINE) if part else None
    return float(found[1]) * 1024 if found else words.number(row_of(parts).get("rss_kb")) * 1024


def _rows(by_name: dict[str, Section], name: str) -> list[dict[str, str]]:
    return by_name[name].rows() if name in by_name else []


def _series(by_name: dict[str, Section]) -> list[tuple[str, list[float]]]:
    found = [
        (row.get("name", ""), [words.number(value) for value in row.get("values", "").split()])
        for row in _rows(by_name, "counters")
    ]
    if "counters-csv" in by_name:  # Timestamp,Provider,Counter Name,Counter Type,Mean/Increment
        lines = by_name["counters-csv"].body.replace("\0", "").split("\n")[:ROWS]
        # One at a time there may be several of a name, with a tag each: heaps by generation, exceptions by type.
        sums: dict[str, dict[str, float]] = {}
        for stamp, _, name, _, value in _table(lines):
            at = sums.setdefault(name.partition("[")[0], {})
            at[stamp] = at.get(stamp, 0.0) + words.number(value)
        found += [(name, list(at.values())) for name, at in sums.items()]
    return found


def _table(lines: Sequence[str]) -> list[list[str]]:
    try:
        return [row for row in csv.reader(lines) if len(row) == 5]
    except csv.Error:  # a field beyond the limit: cut, or no CSV at all
        return []

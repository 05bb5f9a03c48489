"""What captures/trace.sh prints: the maps that bpftrace counted in, and the kernel's own tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bot.insights import Section, words
from bot.insights.leads import Count, Lead, Names, Row, leading, names_of

NANO = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look of *seconds*."""

    maps: Mapping[str, Mapping[str, object]]
    tables: Mapping[str, Sequence[Row]]
    names: Names
    what: str  # was asked for
    seconds: float
    machine: str
    counted: bool  # by bpftrace; else only the kernel's own counters were read

    def entries(self, name: str, width: int) -> Iterator[tuple[list[str], float]]:
        """A map's keys, in *width* parts of which the last may hold anything, and their numbers."""
        for key, value in self.maps.get(name, {}).items():
            parts = key.split(",", width - 1)
            if len(parts) == width and isinstance(value, int | float):
                yield parts, max(words.number(str(value)), 0.0)

    def number(self, name: str) -> float:
        """A map without keys."""
        value = self.maps.get(name, {}).get("")
        return words.number(str(value)) if isinstance(value, int | float) else 0.0

    def rate(self, count: float) -> str:
        """How often a second: "212", or "0.4" below ten."""
        rate = count / self.seconds
        return words.count(rate) if rate >= 9.5 else f"{rate:.1f}"

    def lead(self, counts: Iterable[Count]) -> Lead | None:
        """Who has most; None where nobody has any."""
        return leading(counts, self.names)


def look_of(parts: Sequence[Section]) -> Look | None:
    """The look that an artifact holds; None where it has none."""
    looked = next((part for part in parts if part.name == "looked"), None)
    if looked is None:
        return None
    maps = _maps(looked.body)
    tables = {part.name: part.rows() for part in parts if part.name in {"names", "disks", "counters", "callers"}}
    return Look(
        maps=maps,
        tables=tables,
        names=names_of(tables.get("names", ())),
        what=looked.facts.get("what", ""),
        seconds=_seconds(maps, tables.get("counters", ())),
        machine=looked.facts.get("machine", ""),
        counted=looked.facts.get("by") == "bpftrace",
    )


def _seconds(maps: Mapping[str, Mapping[str, object]], counters: Iterable[Row]) -> float:
    """How long it looked, never nothing."""
    began, ended = (words.number(str(maps.get(name, {}).get(""))) for name in ("@began", "@ended"))
    uptime = next((row for row in counters if row.get("counter") == "uptime_s"), {})
    seconds = (
        (ended - began) / NANO if ended else words.number(uptime.get("after")) - words.number(uptime.get("before"))
    )
    return max(seconds, 0.1)


def _maps(text: str) -> dict[str, dict[str, object]]:
    """Lines of JSON from bpftrace: {"type": "map", "data": {"@name": {"key": number}}}; a map without keys is one number."""
    found: dict[str, dict[str, object]] = {}
    for line in text.split("\n"):
        try:
            read = json.loads(line)
        except (ValueError, RecursionError):  # cut, or none of its lines
            continue
        data = read.get("data") if isinstance(read, dict) else None
        for name, values in data.items() if isinstance(data, dict) else ():
            found[name] = values if isinstance(values, dict) else {"": values}
    return found

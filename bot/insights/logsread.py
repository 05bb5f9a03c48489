"""The logs of an artifact of captures/logs.sh, each put together from its pieces."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bot.insights import Section, words
from bot.insights.logslines import Record, records
from bot.insights.logsrates import Covered, Span

NAME_CHARS = 36


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """One log with what was read of it: what was asked for, or a glance at its end where that is much, and of before."""

    name: str
    records: Sequence[Record]  # in order of time
    covered: Covered  # no spans where its lines carry no times

    def since(self, at: float) -> int:
        """How many records are from *at* or later."""
        return len(self.records) - bisect_left(self.records, at, key=lambda record: record.at)

    @property
    def has_times(self) -> bool:
        """Whether anything can be said of when."""
        return bool(self.covered.spans)


def logs_of(parts: Iterable[Section]) -> Iterator[Log]:
    """Every log that lines were read of, by its file name, or its path where several have that name."""
    paths: dict[str, str] = {}
    pieces: dict[str, list[Section]] = defaultdict(list)
    for part in parts:
        if part.name == "files":
            paths = {row.get("file", ""): row.get("log", "?") for row in part.rows()}
        elif part.name in {"before", "glance", "lines"}:
            pieces[paths.get(part.facts.get("file", ""), "?")].append(part)
    names = Counter(_base(path) for path in pieces)
    for path, found in pieces.items():
        base = _base(path)
        yield _log(words.clean(base if names[base] == 1 else path, NAME_CHARS) or "?", found)


def _base(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _log(name: str, pieces: Sequence[Section]) -> Log:
    asked = "glance" if any(piece.name == "glance" for piece in pieces) else "lines"
    found = [record for piece in pieces if piece.name == asked for record in records(piece.body, piece.at)]
    begins = min((record.at for record in found), default=float("inf"))
    spans = [Span(begins, max(record.at for record in found))] if found else []
    for piece in pieces:
        earlier = records(piece.body, piece.at) if piece.name == "before" else []
        if earlier and earlier[0].at < begins:  # samples of packed files go on into what was asked for
            adjoins = "whole" in piece.facts and begins < float("inf")
            spans.append(Span(earlier[0].at, begins if adjoins else max(record.at for record in earlier)))
            found.extend(record for record in earlier if record.at < begins)
    found.sort(key=lambda record: record.at)
    return Log(name=name, records=found, covered=Covered([span for span in spans if span.end > 0]))

"""The numbers of an artifact by name, so that two artifacts of the same step can be held against each other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from bot.insights import Section, sections, words
from bot.insights.subjects import SUBJECTS, Subject

LINES = 20_000  # of one section


@dataclass(frozen=True, slots=True)
class Figure:
    """A number of *subject*, by the name of its row."""

    subject: Subject
    names: tuple[str, ...]

    @property
    def what(self) -> str:
        """What is counted."""
        return words.clean(self.subject.what(self.names), 120)

    @property
    def thing(self) -> str:
        """What comes or goes with it; "" where that is not worth a word."""
        return words.clean(self.subject.thing(self.names), 120) if self.subject.thing else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All of an artifact. What has no number of a subject in *seen* was not there; of others nothing is known.

    Nor is it where a table was cut, of numbers up to that of its subject in *cut*.
    """

    numbers: Mapping[Figure, float] = field(default_factory=dict)
    texts: Mapping[Figure, str] = field(default_factory=dict)
    seen: frozenset[Subject] = frozenset()
    cut: Mapping[Subject, float] = field(default_factory=dict)


def figures(text: str) -> Figures:
    """Read all figures of an artifact."""
    parts: dict[str, list[Section]] = {}
    for section in sections(text):
        if not {"skipped", "error"} & section.facts.keys():
            parts.setdefault(section.name, []).append(section)
    numbers: dict[Figure, float] = {}
    texts: dict[Figure, str] = {}
    seen, cut = set(), {}
    for subject in SUBJECTS:
        looks = parts.get(subject.part, [])
        found = _counted(subject, looks) if subject.counts else _last(subject, looks)
        if found is None:
            continue
        seen.add(subject)
        if subject.rows and (smallest := _cut_at(subject, looks[-1])):
            cut[subject] = smallest
        numbers |= {Figure(subject, names): value for names, value in found.items()}
        if subject.text:
            texts |= {Figure(subject, names): value for names, value in _texts(subject, looks[-1])}
    return Figures(numbers=numbers, texts=texts, seen=frozenset(seen), cut=cut)


Values = dict[tuple[str, ...], float]


def _last(subject: Subject, looks: list[Section]) -> Values | None:
    """What the last look saw; None where there was none of this form."""
    return _values(subject, looks[-1], subject.of) if looks and _fits(subject, looks[-1]) else None


def _counted(subject: Subject, looks: list[Section]) -> Values | None:
    """How fast each grew; None where that was not looked at."""
    if not looks or not _fits(subject, looks[-1]):
        return None
    last = looks[-1]
    if subject.since:
        seconds = words.number(last.facts.get("seconds"))
        before = _values(subject, last, subject.since)
    else:
        seconds = (last.at - looks[0].at).total_seconds()
        before = _values(subject, looks[0], subject.of)
    if seconds <= 0:
        return None
    after = _values(subject, last, subject.of)
    return {names: max(value - before.get(names, value), 0.0) / seconds for names, value in after.items()}


def _values(subject: Subject, section: Section, column: str) -> Values:
    found: Values = {}
    for row in [] if subject.text else _rows(subject, section):
        if (names := _names(subject, row)) is not None:
            value = words.number(row.get(column, "").rstrip("%")) if column else 1.0
            found[names] = found.get(names, 0.0) + value
    return found


def _cut_at(subject: Subject, section: Section) -> float:
    """The smallest number of a table that is full, 0 of one that is not; infinite where it has another order."""
    found = [words.number(row.get(subject.of, "").rstrip("%")) for row in _rows(subject, section)]
    if len(found) < subject.rows:
        return 0.0
    return math.inf if subject.counts else min(found)


def _texts(subject: Subject, section: Section) -> Iterator[tuple[tuple[str, ...], str]]:
    for row in _rows(subject, section):
        if (names := _names(subject, row)) is not None:
            yield names, row.get(subject.of, "")


def _names(subject: Subject, row: Mapping[str, str]) -> tuple[str, ...] | None:
    if any(column not in row for column in subject.by):
        return None
    names = tuple(row[column].rstrip(":") for column in subject.by)
    first = next(iter(names), "")
    return None if first in subject.own or (subject.only and first not in subject.only) else names


def _columns(subject: Subject) -> set[str]:
    return {column for column in (*subject.by, subject.of, subject.since) if column and not column.isdecimal()}


def _fits(subject: Subject, section: Section) -> bool:
    """The section has the columns of the subject; others may be called alike."""
    wanted = _columns(subject)
    found = (set(_cells(line)) for line in section.body.split("\n")[:LINES])
    return not wanted or any(wanted <= cells and subject.without not in cells for cells in found)


def _rows(subject: Subject, section: Section) -> Iterator[dict[str, str]]:
    """The rows under the heading that has the subject's columns, or all lines by place where it names none."""
    wanted = _columns(subject)
    if wanted and "\t" in section.body.partition("\n")[0]:
        yield from section.rows()[:LINES]
        return
    heading: list[str] = []
    for line in section.body.split("\n")[:LINES]:
        if wanted and not heading:
            cells = line.split()
            heading = cells if wanted <= set(cells) else []
        elif line.strip() and not line.startswith("-- "):
            if heading:  # the last column may hold blanks
                yield dict(zip(heading, line.split(None, len(heading) - 1), strict=False))
            else:
                yield {str(place): cell for place, cell in enumerate(line.split())}


def _cells(line: str) -> list[str]:
    return line.split("\t") if "\t" in line else line.split()

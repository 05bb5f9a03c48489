"""Which numbers of a sampled step moved most: for any output of keys and values, or tables, that has no insight of its own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from bot.insights import Reading, sections, words
from bot.model import Finding, Level

NUMBERS = 20_000  # of one look
NAMED = 3
NAME_CHARS = 36

_NUMBER = re.compile(r"[-+]?[0-9]{1,30}(?:\.[0-9]{1,30})?%?")
_BETWEEN = re.compile(r"[\s=|]+|:(?=\s|$)")


@dataclass(frozen=True, slots=True)
class Look:
    """One look at everything: its numbers by name."""

    at: datetime
    numbers: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class _Move:
    name: str
    before: float
    after: float

    @property
    def share(self) -> float:
        return abs(self.after - self.before) / (max(abs(self.before), abs(self.after)) or 1)


def difference(reading: Reading) -> Iterator[Finding]:
    """Name the numbers that moved most between the first look and the last, each measured by itself.

    Of counters these are the ones that are the furthest above their own average. What it means is not known here.
    """
    seen = looks(reading.text)
    if len(seen) < 2:
        return
    first, last = seen[0], seen[-1]
    seconds = (last.at - first.at).total_seconds()
    both = first.numbers.keys() & last.numbers.keys()
    moves = [_Move(name, first.numbers[name], last.numbers[name]) for name in both]
    moves = [move for move in moves if move.share > 0]
    if not moves or seconds <= 0:
        return
    moves.sort(key=lambda move: (-move.share, -abs(move.after - move.before), move.name))
    said = [_spoken(move, seconds) for move in moves]
    yield Finding(
        level=Level.INFO,
        text=words.clean(f"Moved most in {words.duration(seconds)}: {', '.join(said[:NAMED])}", 200),
        weight=0.2,
        evidence=words.evidence(*said),
    )


def _spoken(move: _Move, seconds: float) -> str:
    name = words.clean(move.name, NAME_CHARS)
    rate = (move.after - move.before) / seconds
    return f"{name} {_plain(move.before)} → {_plain(move.after)} ({'+' if rate > 0 else ''}{_plain(rate)}/s)"


def _plain(value: float) -> str:
    return words.count(value) if value == round(value) or abs(value) >= 100 else f"{value:.2g}"


def looks(text: str) -> list[Look]:
    """Each look at everything: what stands under one `sample` header, or the same parts printed once more."""
    bodies: list[tuple[datetime, list[tuple[str, str]]]] = []
    times: Counter[str] = Counter()
    parts = sections(text)
    is_sampled = any(part.name == "sample" for part in parts)
    for part in parts:
        if (is_sampled and part.name == "sample") or (not is_sampled and times[part.name] == len(bodies)):
            bodies.append((part.at, []))
        number = -1 if is_sampled else times[part.name]
        times[part.name] += 1
        if bodies:
            bodies[number][1].append((part.name, part.body))
    return [Look(at, _unique([pair for name, body in each for pair in _numbers(name, body)])) for at, each in bodies]


def _unique(pairs: list[tuple[str, float]]) -> dict[str, float]:
    """Without the names that stand there twice: which is which could not be told in another look."""
    times = Counter(name for name, _ in pairs)
    return {name: value for name, value in pairs[:NUMBERS] if times[name] == 1}


def _numbers(part: str, body: str) -> Iterator[tuple[str, float]]:
    heading: list[str] = []
    for line in body.split("\n")[:NUMBERS]:
        cells = line.split("\t") if "\t" in line else [cell for cell in _BETWEEN.split(line) if cell]
        is_number = [_NUMBER.fullmatch(cell) is not None for cell in cells]
        if not any(is_number):
            heading = cells or heading
            continue
        columns = heading[len(heading) - len(cells) :] if len(heading) == len(cells) else [""] * len(cells)
        if len(heading) == len(cells) - 1:  # as of `free`: the rows' names have no heading
            columns = ["", *heading]
        key = " ".join(cells[: is_number.index(True)][:4]) or (f"{columns[0]} {cells[0]}" if columns[0] else "")
        first = is_number.index(True) or 1  # a table may begin with a number, such as a pid, that names the row
        numbered = [index for index in range(first, len(cells)) if is_number[index]]
        for place, index in enumerate(numbered, 1):
            column = columns[index] or (f"#{place}" if len(numbered) > 1 else "")
            if key or column:
                name = f"{key} {column}".strip()
                yield (name if part == "sample" else f"{part} {name}"), words.number(cells[index].rstrip("%"))

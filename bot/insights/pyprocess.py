"""Which Python process was looked at, and why there may be nothing to read of it: for all insights into Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from bot.insights import Section, words
from bot.insights.choice import TEXT_CHARS, row_of, spoken, unchosen
from bot.model import Finding, Level


def finding(level: Level, text: str, weight: float, lines: Iterable[str] = ()) -> Finding:
    """A finding whose sentence fits, and is never empty."""
    said = words.clean(text, TEXT_CHARS) or "?"
    return Finding(level=level, text=said, weight=weight, evidence=words.evidence(*lines))


def is_stopped(row: Mapping[str, str]) -> bool:
    """Whether a signal or a tracer holds it, so that nothing in it can run."""
    return row.get("state") in {"T", "t"}


def unread(parts: Sequence[Section], recipe: str, target: str) -> Iterator[Finding]:
    """Why there is nothing to read, or less than there should be."""
    bodies = {part.name: part.body.strip() for part in parts}
    yield from unchosen(parts, recipe, target)
    row = row_of(parts)
    if is_stopped(row):
        if row["state"] == "t":
            text = f"{spoken(row)} is held by a tracer, such as gdb or strace: nothing in it runs"
        else:
            text = f"{spoken(row)} is stopped (state T): nothing in it runs until kill -CONT {words.clean(row.get('pid', '?'), 10)}"
        yield finding(Level.BAD, text, 1.0, [" ".join(row.values())])
    if bodies.get("gone"):
        yield finding(Level.WARN, f"{spoken(row)} ended while it was looked at", 0.8)
    elif bodies.get("unseen"):
        yield finding(Level.WARN, f"No stacks of {spoken(row)}: {bodies['unseen']}", 0.4, bodies["unseen"].split("\n"))

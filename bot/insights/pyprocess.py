"""Which Python process was looked at, and why there may be nothing to read of it: for all insights into Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from bot.insights import Section, words
from bot.model import Finding, Level

TEXT_CHARS = 200  # of a finding
CANDIDATES = 3  # named in the sentence


def finding(level: Level, text: str, weight: float, lines: Iterable[str] = ()) -> Finding:
    """A finding whose sentence fits, and is never empty."""
    said = words.clean(text, TEXT_CHARS) or "?"
    return Finding(level=level, text=said, weight=weight, evidence=words.evidence(*lines))


def spoken(row: Mapping[str, str]) -> str:
    """The process as people call it: "orders-api (pid 812)"."""
    return f"{words.clean(row.get('app', 'python'), 30)} (pid {words.clean(row.get('pid', '?'), 10)})"


def row_of(parts: Sequence[Section]) -> dict[str, str]:
    """What is known of the process; nothing where none was chosen."""
    return next((row for part in parts if part.name == "process" for row in part.rows()), {})


def is_stopped(row: Mapping[str, str]) -> bool:
    """Whether a signal or a tracer holds it, so that nothing in it can run."""
    return row.get("state") in {"T", "t"}


def unread(parts: Sequence[Section], recipe: str, target: str) -> Iterator[Finding]:
    """Why there is nothing to read, or less than there should be."""
    bodies = {part.name: part.body.strip() for part in parts}
    if "candidates" in bodies:
        yield _choice(
            next(part for part in parts if part.name == "candidates"), bodies.get("refused", ""), recipe, target
        )
    elif "refused" in bodies:
        yield finding(Level.WARN, bodies["refused"], 0.9)
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


def _choice(part: Section, refused: str, recipe: str, target: str) -> Finding:
    rows = part.rows()
    number = int(words.number(part.facts.get("number"))) or len(rows)
    named = [f"pid={words.clean(row.get('pid', '?'), 10)} ({words.clean(row.get('app', '?'), 24)})" for row in rows]
    say = f"/capture {recipe} {words.clean(target, 30)} "
    if refused:
        text = refused + (f"; these run: {', '.join(named[:CANDIDATES])}" if rows else "")
    else:
        others = f", or {', '.join(named[1:CANDIDATES])}" if named[1:] else ""
        text = f"{number} Python processes match; name one: {say}{named[0] if named else 'pid=…'}{others}"
    lines = [f"{say}pid={row.get('pid', '?')}: {row.get('user', '?')}, {row.get('command', '?')}" for row in rows]
    return finding(Level.WARN, text, 0.9, lines)

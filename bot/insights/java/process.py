"""Which JVM a capture is of, and why there may be none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bot.insights import Section, words
from bot.model import Finding, Level

TEXT_CHARS = 200  # of a finding
NAMED = 3  # candidates in a sentence

_WITH_VALUE = {"-cp", "-classpath", "--class-path", "-p", "--module-path", "--add-modules", "--upgrade-module-path"}


def spoken(row: Mapping[str, str]) -> str:
    """A JVM as people call it: "orders-api (pid 4321)", by its unit, its jar or its main class."""
    return f"{_name(row)} (pid {words.clean(row.get('pid', '?'), 10)})"


def troubles(parts: Sequence[Section], process: str) -> Iterator[Finding]:
    """Why there is no dump, or not all of them: what the script says of it."""
    for part in parts:
        if part.name == "candidates":
            yield _candidates(part)
        elif part.name == "trouble":
            lines = part.body.strip().split("\n")
            level = Level.BAD if part.facts.get("kind") in {"stopped", "hung"} else Level.WARN
            said = process + lines[0].removeprefix("It") if lines[0].startswith("It ") else lines[0]
            text = words.clean(said.removesuffix("."), TEXT_CHARS)
            yield Finding(
                level=level, text=text or "No dump could be taken", weight=0.9, evidence=words.evidence(*lines)
            )


def _candidates(part: Section) -> Finding:
    rows = part.rows()
    named = ", ".join(f"pid={words.clean(row.get('pid', '?'), 10)} ({_name(row)})" for row in rows[:NAMED])
    more = f", and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    match = f"match app={words.clean(part.facts['app'])}" if "app" in part.facts else "run here"
    text = f"{words.counted(len(rows), 'Java process', 'Java processes')} {match}, name one: {named}{more}"
    evidence = words.evidence(*(" ".join(row.values()) for row in rows))
    return Finding(level=Level.WARN, text=words.clean(text, TEXT_CHARS), weight=0.9, evidence=evidence)


def _name(row: Mapping[str, str]) -> str:
    unit = row.get("unit", "").removesuffix(".service")
    program = _program(row.get("command", "").split())
    return words.clean(program if not unit or unit.startswith("user@") else unit) or "java"


def _program(argv: Sequence[str]) -> str:
    rest = iter(argv[1:])
    for argument in rest:
        if argument in {"-jar", "-m", "--module"}:
            return next(rest, "").rpartition("/")[2]
        if argument in _WITH_VALUE:
            next(rest, None)
        elif not argument.startswith(("-", "@")):
            return argument.rpartition("/")[2].rpartition(".")[2] or argument
    return ""

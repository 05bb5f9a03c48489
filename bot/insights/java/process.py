"""Why there is no dump of a JVM, or not all of what was asked: what the script says of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bot.insights import Section, words
from bot.insights.choice import TEXT_CHARS, unchosen
from bot.model import Finding, Level


def troubles(parts: Sequence[Section], process: str, recipe: str, target: str) -> Iterator[Finding]:
    """What stood in the way; *process* is the JVM as people call it, *recipe* what to type again where several match."""
    yield from unchosen(parts, recipe, target)
    for part in parts:
        if part.name == "trouble":
            lines = part.body.strip().split("\n")
            level = Level.BAD if part.facts.get("kind") in {"stopped", "hung"} else Level.WARN
            said = process + lines[0].removeprefix("It") if lines[0].startswith("It ") else lines[0]
            text = words.clean(said.removesuffix("."), TEXT_CHARS)
            yield Finding(
                level=level, text=text or "No dump could be taken", weight=0.9, evidence=words.evidence(*lines)
            )

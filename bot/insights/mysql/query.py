"""The answer to a question of the application's own, in the words that the operator gave it."""

from __future__ import annotations

from collections.abc import Iterator

from bot.insights import Insight, Reading, sections, words
from bot.insights.mysql.sessions import PHONE_CHARS
from bot.model import Finding, Level
from bot.recipes.queries import Query


def insight_of(query: Query) -> Insight:
    """What reads the answer to *query*."""

    def answer(reading: Reading) -> Iterator[Finding]:
        """Its line, filled in from the first row."""
        part = next((part for part in sections(reading.text) if part.name == query.name), None)
        if part is None or {"skipped", "error"} & part.facts.keys():
            return
        rows = part.rows()
        if rows:
            yield _told(query, rows)
        elif "-- 0 rows" in part.body:
            yield Finding(level=Level.INFO, text=f"{query.name} found nothing", answer=True)

    return answer


def _told(query: Query, rows: list[dict[str, str]]) -> Finding:
    row = rows[0]
    evidence = words.evidence(*(" ".join(f"{name}={value}" for name, value in each.items()) for each in rows))
    try:
        text = query.told({name: _spoken(value) for name, value in row.items()})
        above = [name for name, most in query.warn_above.items() if words.number(row[name]) > most]
    except KeyError as missing:
        columns = words.clean(", ".join(row), 80)
        text = f"The answer to {query.name} has no column {missing.args[0]}: it has {columns}; mend its line in capturebot.yml"
        return Finding(level=Level.WARN, text=words.clean(text, PHONE_CHARS), evidence=evidence, answer=True)
    level = Level.WARN if above else Level.INFO
    text = words.clean(text, PHONE_CHARS) or f"{query.name} found an empty row"
    return Finding(level=level, text=text, weight=0.9, evidence=evidence, answer=True)


def _spoken(value: str) -> str:
    return "nothing" if value == "NULL" else words.clean(value)

"""The slow log, where the server keeps it as a table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from bot.insights import Reading, sections, words
from bot.insights.mysql.sessions import PHONE_CHARS, line_of, tables_of
from bot.model import Finding, Level


def slow_log(reading: Reading) -> Iterator[Finding]:
    """Which shape of statement was slow most, by its time in all."""
    rows = tables_of(sections(reading.text))["slow_log"]
    shapes: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        shapes[words.shape(row.get("statement", ""))].append(row)
    if not shapes:
        return
    worst = max(shapes.values(), key=lambda each: sum(words.number(row.get("took_s")) for row in each))
    longest = max(worst, key=lambda row: words.number(row.get("took_s")))
    user = words.clean(longest.get("user_host", "").partition("[")[0])
    slow = words.counted(len(rows), "statement")
    text = (
        f"The slow log has {slow} of the last 10 min, most of the time in {words.spoken(longest.get('statement', ''))}: "
        f"{words.counted(len(worst), 'time')}, up to {words.duration(words.number(longest.get('took_s')))}"
        f"{f', by {user}' if user else ''}"
    )
    yield Finding(
        level=Level.INFO,
        text=words.clean(text, PHONE_CHARS),
        weight=0.3,
        evidence=words.evidence(*(line_of(row) for row in worst)),
    )

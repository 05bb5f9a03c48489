"""Which applications run on a host, and the recipe that looks into each."""

from __future__ import annotations

from collections.abc import Iterator

from bot.insights import Reading, sections, words
from bot.insights.choice import TEXT_CHARS, spoken
from bot.model import Finding, Level, Suggestion

NAMED = 3
OFFERED = 5
BUSY = 1.0  # percent of one processor, while it was looked at; what rests is not worth a button
RECIPES = {
    "Java": "java-threads",
    "Python": "python-threads",
    "Node.js": "node",
    ".NET": "dotnet",
}  # by kind of process


def applications(reading: Reading) -> Iterator[Finding]:
    """Name the busiest, which is no trouble: nobody knows yet what is."""
    found = [
        (words.number(row.get("cpu_now")), part.facts.get("kind", ""), row)
        for part in sections(reading.text)
        if part.name == "applications"
        for row in part.rows()
        if row.get("pid", "").isdecimal()
    ]
    if not found:
        return
    found.sort(key=lambda each: -each[0])
    named = [
        f"{spoken(row)}, {words.clean(kind, 10)}, {words.percent(cpu / 100)} CPU" for cpu, kind, row in found[:NAMED]
    ]
    more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
    yield Finding(
        level=Level.INFO,
        text=words.clean(f"Applications here, the busiest first: {'; '.join(named)}{more}", TEXT_CHARS),
        weight=0.1,
        evidence=words.evidence(*(" ".join(row.values()) for _, _, row in found)),
        next=tuple(
            Suggestion(
                label=words.clean(f"Threads of {row.get('app', '?')}", 44) + f" ({row['pid'][:10]})",
                recipe=RECIPES[kind],
                parameters={"pid": int(row["pid"][:10])},
            )
            for cpu, kind, row in found[:OFFERED]
            if kind in RECIPES and cpu >= BUSY
        ),
    )

"""Which process a script chose, or why it chose none: the parts that captures/choose-process.sh prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bot.insights import Section, words
from bot.model import Finding, Level, Suggestion

TEXT_CHARS = 200  # of a finding
NAMED = 3  # candidates in a sentence
OFFERED = 10  # as something to press


def row_of(parts: Sequence[Section]) -> dict[str, str]:
    """What is known of the chosen process; nothing where none was chosen."""
    return next((row for part in parts if part.name == "process" for row in part.rows()), {})


def spoken(row: Mapping[str, str]) -> str:
    """The process as people call it: "orders-api (pid 812)"."""
    return f"{words.clean(row.get('app', '?'), 30)} (pid {_pid(row)})"


def unchosen(parts: Sequence[Section], recipe: str, target: str) -> Iterator[Finding]:
    """Why no process was chosen, with those that can be: each is a suggestion to run *recipe* again."""
    refused = next((part.body.strip() for part in parts if part.name == "refused"), "")
    listed = next((part for part in parts if part.name == "candidates"), None)
    if not refused and listed is None:
        return
    rows = [row for row in listed.rows() if row.get("pid", "").isdecimal()] if listed else []
    kind = listed.facts.get("kind", "") if listed else ""
    number = int(words.number(listed.facts.get("number"))) if listed else 0
    named = [f"pid={_pid(row)} ({words.clean(row.get('app', '?'), 24)})" for row in rows[:NAMED]]
    say = f"/capture {recipe} {words.clean(target, 30)} "
    if refused:
        text = refused + (f"; these run: {', '.join(named)}" if rows else "")
    else:
        others = f", or {', '.join(named[1:])}" if named[1:] else ""
        counted = words.counted(number or len(rows), f"{kind} process".strip(), f"{kind} processes".strip())
        text = f"{counted} match; name one: {say}{named[0] if named else 'pid=…'}{others}"
    lines = [f"{say}pid={_pid(row)}: {row.get('user', '?')}, {row.get('command', '?')}" for row in rows]
    yield Finding(
        level=Level.WARN,
        text=words.clean(text, TEXT_CHARS) or "No process was chosen",
        weight=0.9,
        evidence=words.evidence(*lines),
        next=tuple(_suggestion(row) for row in rows[:OFFERED]),
    )


def _suggestion(row: Mapping[str, str]) -> Suggestion:
    label = words.clean(f"{row['pid']} {row.get('app', '?')}", 44)
    cpu = f", {row['cpu_now']} % CPU" if row.get("cpu_now", "").isdecimal() else ""
    return Suggestion(label=label + cpu[:15], parameters={"pid": int(row["pid"][:10])})


def _pid(row: Mapping[str, str]) -> str:
    return words.clean(row.get("pid", "?"), 10)

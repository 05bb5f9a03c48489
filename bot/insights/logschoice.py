"""Which logs could be read, which could not and why, and which there are to choose from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bot.insights import Section, words
from bot.model import Finding, Level, Suggestion

TEXT_CHARS = 200
LABEL_CHARS = 60
NAMED = 3  # in a sentence
REASONS = 5  # of logs that could not be read
_GIVEN = re.compile(r"[\w@.:/+-]{1,100}", re.ASCII)  # what app= takes, see captures/logs.yml


def unread(parts: Sequence[Section], target: str, *, is_anything: bool) -> Iterator[Finding]:
    """Why nothing, or less than was asked for, could be read; and what to choose from where nothing was named."""
    refused = [line for part in parts if part.name in {"refused", "unseen"} for line in part.body.split("\n") if line]
    candidates = next((part for part in parts if part.name == "candidates"), None)
    if candidates is not None:
        yield _choice(candidates, refused, target)
        return
    files = [row for part in parts if part.name == "files" for row in part.rows()]
    notes = [f"{_base(row)}: {row['note']}" for row in files if row.get("note")]
    for text in (refused + notes)[:REASONS]:
        yield _finding(Level.INFO if is_anything else Level.WARN, text, 0.3)
    if not is_anything and files and not refused and not notes:
        yield _finding(Level.INFO, _nothing(parts, files), 0.3, answer=True)


def _nothing(parts: Sequence[Section], files: Sequence[dict[str, str]]) -> str:
    asked = next((row for part in parts if part.name == "asked" for row in part.rows()), {})
    what = _base(files[0]) if len(files) == 1 else f"the {len(files)} files"
    if asked.get("grep"):
        return f"No line of {what}, of what was asked for, contains '{words.clean(asked['grep'], 60)}'"
    newest = max(row.get("mtime", "") for row in files)
    return f"No line in {what} is from that time; last written {newest.replace('T', ' ').removesuffix('Z')} UTC"


def _base(row: dict[str, str]) -> str:
    return words.clean(row.get("path", "?").rsplit("/", 1)[-1], 60) or "?"


def _finding(level: Level, text: str, weight: float, *, answer: bool = False) -> Finding:
    return Finding(level=level, text=words.clean(text, TEXT_CHARS) or "?", weight=weight, answer=answer)


def _choice(part: Section, refused: Sequence[str], target: str) -> Finding:
    """One line to type for each program that writes a log, the busiest first."""
    rows = part.rows()
    several = int(words.number(part.facts.get("matches"))) > 0
    given = [_given(row, several=several) for row in rows]
    say = f"/capture logs {words.clean(target, 30)}"
    named = ", ".join(f"{name}={value}" for name, value in given[:NAMED])
    if refused:
        text = refused[0] + (f"; these write logs: {named}" if rows else "")
    elif not rows and several:
        text = "Several programs match, and none of them has a log open; name one with pid= or a file with path="
    elif not rows:
        text = "No process has a log open here; name one with path= or unit="
    elif several:
        text = f"{len(rows)} programs match; name one: {say} {named}"
    else:
        busiest = f"{words.clean(rows[0].get('app', '?'))} {'writes most' if _is_busy(rows[0]) else 'wrote last'}, {_rate(rows[0])} to {words.clean(rows[0].get('path', '?'), 60)}"
        write = "programs write" if len(rows) > 1 else "program writes"
        text = f"{len(rows)} {write} logs here; {busiest}: {say} {named.split(', ')[0]}"
    return Finding(
        level=Level.WARN if refused or several else Level.INFO,
        text=words.clean(text, TEXT_CHARS) or "?",
        weight=0.9,
        evidence=words.evidence(*(_line(say, row, *each) for row, each in zip(rows, given, strict=True))),
        next=tuple(_suggestion(row, *each) for row, each in zip(rows, given, strict=True))[:10],
        answer=True,
    )


def _given(row: dict[str, str], *, several: bool) -> tuple[str, str | int]:
    """What names a candidate: its unit or program, or its pid where that says more."""
    app = row.get("app", "")
    if several or not _GIVEN.fullmatch(app):
        return "pid", int(words.number(row.get("pid")))
    return "app", app


def _suggestion(row: dict[str, str], name: str, value: str | int) -> Suggestion:
    who = f"{row.get('pid', '?')} {row.get('app', '?')}" if name == "pid" else row.get("app", "?")
    label = words.clean(f"{who}, {_rate(row)}", LABEL_CHARS)
    return Suggestion(label=label, parameters={name: value})


def _line(say: str, row: dict[str, str], name: str, value: str | int) -> str:
    size = words.size(words.number(row.get("bytes")))
    return f"{say} {name}={value}: {row.get('path', '?')} ({size}, {_rate(row)}), {row.get('user', '?')}, {row.get('command', '?')}"


def _is_busy(row: dict[str, str]) -> bool:
    return words.number(row.get("rate_bytes")) > 0


def _rate(row: dict[str, str]) -> str:
    if row.get("path") == "journal":
        return "in the journal"
    if _is_busy(row):
        return f"{words.size(words.number(row.get('rate_bytes')))}/s"
    return f"{words.duration(words.number(row.get('idle_s')))} ago"

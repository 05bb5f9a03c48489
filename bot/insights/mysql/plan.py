"""How the longest running statement is executed: what it reads whole, and for want of which index."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bot.insights import Reading, sections, words
from bot.insights.mysql.sessions import PHONE_CHARS, Row, line_of, tables_of, who
from bot.model import Finding, Level

SCANNED_ROWS = 1000.0  # of one table, read without an index; less is quick whatever the plan
COLUMNS_NAMED = 2
TABLES = 100  # of a plan that are looked at; servers join at most 61 (MAX_TABLES)

_AFTER = "on|where|set|using|join|inner|left|right|cross|natural|straight_join|group|order|limit|force|use|ignore|union|for|having"
_SOURCE = rf"([\w$.]+)(?:\s+(?:as\s+)?(?!(?:{_AFTER})\b)(\w+))?"
_SOURCES = re.compile(rf"\b(?:from|join|update)\s+({_SOURCE}(?:,{_SOURCE})*)")
_COMPARED = re.compile(r"(?:(\w+)\.)?([a-z_]\w*)(?: not)?(?:[=<>!]| like\b| in\b| between\b| is\b| regexp\b)")
_CLAUSES = re.compile(r"\b(?:where|on|having)\b(.*)", re.DOTALL)
_WORDS = frozenset({"and", "or", "not", "on", "where", "is", "in", "like", "between", "null", "having"})


def plan(reading: Reading) -> Iterator[Finding]:
    """The tables that the longest statement reads whole."""
    tables = tables_of(sections(reading.text))
    rows = tables["plan"][:TABLES]
    scans = [row for row in rows if row.get("type") in {"ALL", "index"} and _rows(row) >= SCANNED_ROWS]
    if not scans or not tables["longest"]:
        return
    statement = tables["longest"][0]
    shape = words.shape(statement.get("statement", ""))
    names = _sources(shape)
    scan = max(scans, key=lambda row: (bool(_columns(row, shape, alone=len(names) < 2)), _rows(row)))
    table = _called(scan, names)
    why = _why(scan, _columns(scan, shape, alone=len(names) < 2))
    others = [_called(row, names) for row in scans if row is not scan]
    each = f", and {words.clean(' and '.join(others))} again and again" if others else ""
    seconds = words.duration(words.number(statement.get("time_ms")) / 1000)
    whose = f"A statement of {who(statement, thread='id')}, at work for {seconds},"
    text = f"{whose} reads all {words.counted(_rows(scan), 'row')} of {table}{each}: {why}"
    yield Finding(
        level=Level.WARN,
        text=words.clean(text, PHONE_CHARS),
        weight=0.45,
        evidence=words.evidence(line_of(statement), *(" ".join(row.values()) for row in rows)),
    )


def _sources(shape: str) -> dict[str, str]:
    """The tables of a statement, by what it calls them."""
    found = [source for each in _SOURCES.finditer(shape) for source in re.finditer(_SOURCE, each[1])]
    return {(source[2] or source[1]).rpartition(".")[2]: source[1] for source in found}


def _rows(row: Row) -> float:
    return words.number(row.get("rows"))


def _called(row: Row, names: dict[str, str]) -> str:
    alias = row.get("table", "?")
    name = names.get(alias.lower(), alias)
    return words.clean(name if name.rpartition(".")[2] == alias.lower() else f"{name} ({alias})")


def _columns(row: Row, shape: str, *, alone: bool) -> list[str]:
    """Columns of a table that its statement compares; all of them where it reads from no other table."""
    alias = row.get("table", "").lower()
    conditions = _CLAUSES.search(shape)
    found = [
        column
        for of, column in _COMPARED.findall(conditions[1] if conditions else "")
        if column not in _WORDS and (of == alias or (alone and not of))
    ]
    return list(dict.fromkeys(found))


def _why(row: Row, columns: list[str]) -> str:
    """Why the table is read whole."""
    possible = row.get("possible_keys", "NULL")
    named = words.clean(" and ".join(columns[:COLUMNS_NAMED]))
    if possible not in {"NULL", ""}:
        on = f" for its condition on {named}" if named else ""
        return f"its index {words.clean(possible)} is not used{on}"
    if named:
        return f"no index serves its condition on {named}"
    return "it has no condition that an index could serve"

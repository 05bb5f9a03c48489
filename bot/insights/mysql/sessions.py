"""Sessions of a database server, as its tables show them and as people find them again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from bot.insights import Section, sections, words

Row = Mapping[str, str]
Tables = Mapping[str, list[dict[str, str]]]

PHONE_CHARS = 200  # of a finding's sentence


def tables_of(parts: list[Section]) -> Tables:
    """The rows of each statement that was answered, those of all samples together; a statement without any has []."""
    tables: dict[str, list[dict[str, str]]] = defaultdict(list)
    for part in parts:
        if not {"skipped", "error"} & part.facts.keys():
            tables[part.name] += words.records(part)
    return tables


def looks_of(text: str) -> list[tuple[float, Tables]]:
    """One entry a sample: when it began, in seconds of which only differences mean something, and its tables."""
    groups: list[list[Section]] = []
    for section in sections(text):
        if section.name == "sample" or not groups:
            groups.append([])
        groups[-1].append(section)
    return [(group[0].at.timestamp(), tables_of(group)) for group in groups]


def host_of(host: str) -> str:
    """A client's host without the port; "" where there is none."""
    head, colon, port = host.rpartition(":")
    host = head if colon and port.isdigit() else host
    return "" if host == "NULL" else host


def who(row: Row, prefix: str = "", *, thread: str = "thread") -> str:
    """A session as people find it again: "app@10.0.0.4 (thread 77)"; *thread* is the column of its number."""
    host = words.clean(host_of(row.get(f"{prefix}host", "")))
    at = f"@{host}" if host else ""
    return f"{words.clean(row.get(f'{prefix}user', ''))}{at} (thread {words.clean(row.get(prefix + thread, '?'))})"


def waits_for_lock(state: str) -> bool:
    """Whether a session in this state waits for a lock of the server (of a table, of metadata, not of a row)."""
    return state.startswith("Waiting for ") and state.endswith(" lock")


def line_of(row: Row) -> str:
    """A row without the data in its statements."""
    return " ".join(words.shape(value) if key.endswith("statement") else value for key, value in row.items())

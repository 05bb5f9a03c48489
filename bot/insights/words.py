"""How numbers, names and statements become words: the same in every sentence that people read.

Everything that comes from a target and goes into a sentence passes `clean` first.
"""

from __future__ import annotations

import re
import unicodedata

from bot.insights import Section

NAME_CHARS = 40  # of a user, process, host or unit name inside a sentence
STATEMENT_CHARS = 60  # of a statement inside a sentence
EVIDENCE_CHARS = 200  # of one line of evidence
EVIDENCE_LINES = 10

_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?", re.DOTALL)


def clean(text: str, most: int = NAME_CHARS) -> str:
    """One line of at most *most* characters without anything that could steer a terminal or a reader's eye.

    Escape sequences, control and format characters (direction overrides, zero-width) and lone surrogates
    go; runs of blanks become one. Markup stays: escaping it belongs to whoever renders.
    """
    text = _ESCAPE_SEQUENCE.sub(" ", text[: most * 20])
    text = "".join(" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def evidence(*lines: str) -> tuple[str, ...]:
    """Lines of an artifact as a finding carries them: few, short and clean."""
    cleaned = (clean(line, EVIDENCE_CHARS) for line in lines[:EVIDENCE_LINES])
    return tuple(line for line in cleaned if line)


# --- numbers ----------------------------------------------------------------------------------


def number(text: str | None) -> float:
    """The number that *text* holds, 0.0 where it holds none (NULL, cut, not a number, infinite)."""
    try:
        value = float(text or 0)
    except ValueError:
        return 0.0
    return value if abs(value) < 1e30 else 0.0  # false for nan too


def count(value: float) -> str:
    """3212 → "3,212"."""
    return f"{value:,.0f}"


def counted(value: float, noun: str, nouns: str = "") -> str:
    """A count with its noun: "1 connection", "3,212 connections"."""
    return f"{count(value)} {noun if round(value) == 1 else nouns or noun + 's'}"


def percent(share: float) -> str:
    """0.974 → "97 %"; what is not quite all never reads as all, and what is not nothing never as nothing."""
    if 0 < share < 0.01:
        return "under 1 %"
    return f"{99 if 0.99 <= share < 0.9999 else share * 100:.0f} %"


def duration(seconds: float) -> str:
    """Seconds as people say them: "4 s", "340 s", "12 min", "5 h", "3 days"."""
    for most, size, unit in ((600, 1, "s"), (7200, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < most:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"


def size(value_bytes: float) -> str:
    """Bytes in powers of 1000: "950 bytes", "1.8 GB", "50 GB"."""
    for unit, step in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value_bytes >= step:
            value = value_bytes / step
            return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"
    return counted(value_bytes, "byte")


# --- statements -------------------------------------------------------------------------------

_STRING = r"'(?:[^'\\]|\\.|'')*(?:'|$)|\"(?:[^\"\\]|\\.|\"\")*(?:\"|$)"
_COMMENT = r"/\*.*?(?:\*/|$)|(?:--\s|#)[^\n]*"
_LITERAL = re.compile(
    rf"({_COMMENT})|({_STRING}|\b0x[0-9a-f]+\b|\b\d+(?:\.\d+)?(?:e[+-]?\d+)?\b)", re.DOTALL | re.IGNORECASE
)
_TIGHT = re.compile(r"\s*([(),=.;*+<>!-])\s*")
_LISTS = re.compile(r"\((?:\?|\.\.\.)(?:,(?:\?|\.\.\.))*\)(?:,\((?:\?|\.\.\.)(?:,(?:\?|\.\.\.))*\))*")
_NUMBERED = re.compile(r"\b([a-z_]*[a-z])_?\d+\b", re.IGNORECASE)
_SHAPE_CHARS = 1000  # of a statement that are looked at


def shape(statement: str) -> str:
    """What a statement and its digest have in common, so that both can be counted as one.

    Lower case, comments gone, literals ``?``, lists of them one ``(?)``, quotes and blanks out of the way,
    numbered tables (``sbtest1``, ``log_2024``) as one (``sbtest#``).
    """
    text = _LITERAL.sub(lambda match: " " if match[1] else "?", statement[:_SHAPE_CHARS]).replace("`", "").lower()
    text = _TIGHT.sub(r"\1", " ".join(text.split())).replace("distinctrow", "distinct")
    return _LISTS.sub("(?)", _NUMBERED.sub(r"\1#", text)).strip(" ;")


_KEYWORDS = re.compile(
    r"\b(select|distinct|from|where|update|set|insert|into|replace|values|delete|(?:inner |left |right )?join|on|and|or|not|like|in|is|between"
    r"|order by|group by|having|limit|union|alter|create|drop|truncate|table|index|as|count|sum|max|min|for|exists"
    r"|begin|commit|rollback|show|call|analyze|optimize|lock|kill|explain|null)\b(?!\.)"
)
_SELECTED = re.compile(r"\bSELECT (?!… )(.{16,}?) FROM\b")


def spoken(*statements: str, most: int = STATEMENT_CHARS) -> str:
    """Statements of one shape as a person would write them on a board: "SELECT c FROM sbtest1–4 WHERE id=?".

    Literals never appear, so no data does; a long list of columns becomes "…".
    """
    if not statements:
        return "a statement"
    text = _KEYWORDS.sub(lambda match: f" {match[1].upper()} ", clean(shape(statements[0]), _SHAPE_CHARS))
    text = _SELECTED.sub("SELECT … FROM", " ".join(text.replace("COUNT (", "COUNT(").split()))
    for family in set(re.findall(r"([a-z_]+)#", text)):
        text = re.sub(rf"\b{family}#", f"{family}{_span(family, statements)}", text)
    return clean(text, most) or "a statement"


def _span(family: str, statements: tuple[str, ...]) -> str:
    """Which numbers of a family of tables occur: "3", or "1–4"."""
    found = {
        n for text in statements for n in re.findall(rf"\b{family}_?(\d{{1,18}})\b", text[:_SHAPE_CHARS], re.IGNORECASE)
    }
    numbers = sorted(found, key=int)
    return "#" if not numbers else numbers[0] if len(numbers) == 1 else f"{numbers[0]}–{numbers[-1]}"


# --- tables -----------------------------------------------------------------------------------


def records(section: Section) -> list[dict[str, str]]:
    """A section's rows, also where its one row was written vertically (``vertical=1``)."""
    if section.facts.get("vertical") != "1":
        return section.rows()
    row: dict[str, str] = {}
    column = ""
    for line in section.body.split("\n"):
        if line.startswith("  "):
            row[column] = row.get(column, "") + line[2:] + "\n"
        elif line and not line.startswith("-- "):
            column, _, value = line.partition(":")
            row[column] = value.strip()
    return [row] if row else []

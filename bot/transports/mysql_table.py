r"""Answers of a database as text that `bot.insights.Section.rows` reads back.

A table is tab-separated, its first line names the columns, ``\t \n \r \\`` are escaped and NULL is
``\N``. Lines of our own start with ``-- `` and sections with ``### ``; a line of data that would start
so gets a backslash in front, which reading takes off again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
_RESERVED = ("-- ", "### ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of an answer; *binary* when the server gives its bytes no character set, *whole* for whole numbers."""

    name: str
    binary: bool = False
    whole: bool = False


def text_of(value: bytes, *, binary: bool) -> str:
    """The server's text form. Binary values that do not read as text become hexadecimal, ``0x00FF``.

    Text cut inside a character, as statement digests are, keeps a replacement character there.
    """
    if not binary:
        return value.decode(errors="replace")
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return f"0x{value.hex().upper()}"
    return text if all(sign.isprintable() or sign in "\t\n\r" for sign in text) else f"0x{value.hex().upper()}"


def names_line(columns: Sequence[Column]) -> str:
    """The line that names the columns; one without a name is called by its place."""
    names = (column.name or f"column_{place}" for place, column in enumerate(columns, 1))
    return _line([name.translate(_ESCAPES) for name in names])


def row_line(columns: Sequence[Column], row: Sequence[bytes | None]) -> str:
    """One row as one line."""
    return _line(
        [
            r"\N" if value is None else text_of(value, binary=column.binary).translate(_ESCAPES)
            for column, value in zip(columns, row, strict=True)
        ]
    )


def vertical(columns: Sequence[Column], row: Sequence[bytes | None]) -> str:
    """One row as ``name: value`` lines; a value of several lines follows its name, indented by two blanks."""
    lines = []
    for column, value in zip(columns, row, strict=True):
        text = "NULL" if value is None else text_of(value, binary=column.binary).replace("\r", "")
        first, *rest = text.split("\n")
        name = column.name.translate(_ESCAPES)
        lines.append(_line([f"{name}: {first}"]) if not rest else _line([f"{name}:"]))
        if rest:
            lines += [f"  {line}\n" for line in (first, *rest)]
    return "".join(lines)


def comment(text: str) -> str:
    """A line of our own, skipped by readers of tables."""
    return f"-- {' '.join(text.split())}\n"


def _line(cells: Sequence[str]) -> str:
    line = "\t".join(cells)
    return f"\\{line}\n" if line.startswith(_RESERVED) else f"{line}\n"

"""What the SQL transport writes is what an insight reads."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bot.insights import header, sections
from bot.transports.mysql_table import Column, comment, names_line, row_line, text_of, vertical

AT = datetime(2026, 11, 22, 20, 55, 1, 123456, tzinfo=UTC)
TEXT = st.text() | st.sampled_from(
    ["-- 3 rows in 0.1 s", "### digests at=x", "\\N", "\\", "\r\n", "NULL", "\t", "a\u2028b"]
)
TABLES = st.integers(1, 5).flatmap(
    lambda width: st.lists(st.lists(TEXT | st.none(), min_size=width, max_size=width), max_size=5)
)


def columns_of(width: int) -> list[Column]:
    """So many columns, called c0, c1 and so on."""
    return [Column(name=f"c{place}") for place in range(width)]


def written(columns: list[Column], rows: list[list[str | None]]) -> str:
    """A whole section, followed by another one."""
    lines = [
        row_line(columns, [None if value is None else value.encode(errors="replace") for value in row]) for row in rows
    ]
    return (
        header("digests", AT, server="mariadb-10.11.19")
        + names_line(columns)
        + "".join(lines)
        + comment("2 rows in 0.001 s")
        + header("waits", AT, error=1227)
        + comment("ERROR 1227: no")
    )


@given(TABLES)
def test_any_text_reads_back(rows: list[list[str | None]]) -> None:
    """Tabs, newlines, backslashes, our own marks and NULL included."""
    assume(not any(row == [""] for row in rows))  # one empty string alone is an empty line, and read as none
    columns = columns_of(len(rows[0]) if rows else 1)

    first, second = sections(written(columns, rows))

    expected = [
        {
            column.name: "NULL" if value is None else value.encode(errors="replace").decode()
            for column, value in zip(columns, row, strict=True)
        }
        for row in rows
    ]
    assert (first.name, first.at, first.facts) == ("digests", AT, {"server": "mariadb-10.11.19"})
    assert first.rows() == expected
    assert (second.name, second.facts, second.rows()) == ("waits", {"error": "1227"}, [])


@given(st.lists(TEXT, min_size=1, max_size=4))
def test_a_vertical_row_never_looks_like_a_section(values: list[str]) -> None:
    """Lines of a value of several lines are indented, so they are data for every reader."""
    columns = columns_of(len(values))

    text = header("innodb", AT, vertical="1") + vertical(columns, [value.encode(errors="replace") for value in values])

    (section,) = sections(text)
    names = [line.split(":")[0] for line in section.body.split("\n") if line and not line.startswith("  ")]
    assert names == [column.name for column in columns]


def test_a_vertical_row_shows_one_line_beside_and_several_below_its_name() -> None:
    """As the format says."""
    columns = [Column(name="Type"), Column(name="Name"), Column(name="Status"), Column(name="Lag")]

    text = vertical(columns, [b"InnoDB", b"", b"\n=====\r\nTRANSACTIONS", None])

    assert text == "Type: InnoDB\nName: \nStatus:\n  \n  =====\n  TRANSACTIONS\nLag: NULL\n"


@pytest.mark.parametrize(
    ("value", "binary", "text"),
    [
        (b"caf\xc3\xa9", False, "café"),
        (b"cut inside \xc3", False, "cut inside \ufffd"),
        (b"caf\xc3\xa9", True, "café"),
        (b"\x00\xff", True, "0x00FF"),
        (b"\x07", True, "0x07"),
        (b"", True, ""),
        (b"42", True, "42"),
    ],
)
def test_bytes_that_are_no_text_become_hexadecimal(value: bytes, binary: bool, text: str) -> None:  # noqa: FBT001  # a table
    """Only in columns that the server calls binary; text keeps what can be read of it."""
    assert text_of(value, binary=binary) == text


def test_odd_column_names_stay_one_line() -> None:
    """A column without a name gets its place, one with a newline is escaped, our marks are disarmed."""
    assert names_line([Column(name=""), Column(name="a\nb")]) == "column_1\ta\\nb\n"
    assert names_line([Column(name="-- 1")]) == "\\-- 1\n"


@given(st.text())
def test_a_comment_is_one_line(text: str) -> None:
    """Whatever a server's message holds."""
    line = comment(text)

    assert line.startswith("-- ")
    assert line.count("\n") == 1

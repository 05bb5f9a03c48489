"""The parts of an artifact, written under headers and read back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bot.insights import header, sections
from tests.fakes import AT


def test_parts_come_back_with_their_facts() -> None:
    """Name, time, facts and body of each, in order; what stands before the first header is dropped."""
    text = (
        "preface\n" + header("digests", AT, rows=2, server="mariadb") + "a\tb\n1\t2\n" + header("stderr", AT) + "oh\n"
    )

    first, second = sections(text)

    assert (first.name, first.at, first.facts) == ("digests", AT, {"rows": "2", "server": "mariadb"})
    assert first.rows() == [{"a": "1", "b": "2"}]
    assert (second.name, second.body) == ("stderr", "oh\n")


def test_a_row_that_was_cut_is_no_row() -> None:
    """The last line of an artifact that was cut has too few columns, or is half a comment."""
    (part,) = sections(header("digests", AT) + "a\tb\n1\t2\n3")

    assert part.rows() == [{"a": "1", "b": "2"}]


def test_escapes_and_null_are_read_back() -> None:
    """A tab in a value does not make a column."""
    (part,) = sections(header("digests", AT) + "a\tb\nx\\ty\\n\\\\\t\\N\n-- 1 rows in 0.1 s\n")

    assert part.rows() == [{"a": "x\ty\n\\", "b": "NULL"}]


def test_a_table_of_one_empty_value_has_one_row() -> None:
    """Emptiness is an answer too."""
    (part,) = sections(header("one", AT) + "a\n\n-- 1 rows in 0.1 s\n")

    assert part.rows() == [{"a": ""}]


@given(st.text() | st.text(alphabet="#= at\n\t\\-:0123456789T+abc"))
def test_no_text_breaks_the_reading(text: str) -> None:
    """An artifact may hold anything."""
    for part in sections(text):
        part.rows()

    assert isinstance(sections(text), list)

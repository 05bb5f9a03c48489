"""Numbers that moved between two looks, in output of any form."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.insights import Reading
from bot.insights.difference import difference

AT = "2026-11-23T00:40:{:02d}.000000+00:00"


def said(*looks: str, header: str = "sample") -> list[str]:
    """The numbers that are named for looks at *looks*, two seconds apart; no more than ten."""
    text = "".join(f"### {header} at={AT.format(2 * n)}\n{look}\n" for n, look in enumerate(looks))
    return [line for finding in difference(Reading(text=text, target="web-1")) for line in finding.evidence]


@pytest.mark.parametrize(
    ("before", "after", "names"),
    [
        ("errors 3\nhits 100", "errors 9\nhits 110", ["errors 3 → 9 (+3/s)", "hits 100 → 110 (+5/s)"]),
        ("MemFree:    100 kB", "MemFree:    50 kB", ["MemFree 100 → 50 (-25/s)"]),
        ("a=1 b=2", "a=1 b=4", ["a #2 2 → 4 (+1/s)"]),
        ("busy 97.5%", "busy 12.5%", ["busy 98 → 12 (-42/s)"]),
        ("pid\tname\topen\n7\tweb\t10", "pid\tname\topen\n7\tweb\t30", ["pid 7 open 10 → 30 (+10/s)"]),
        ("      total used\nMem:  10   2", "      total used\nMem:  10   8", ["Mem used 2 → 8 (+3/s)"]),
        ("eth0: 10 5", "eth0: 10 15", ["eth0 #2 5 → 15 (+5/s)"]),
        ("same 1\nsame 2", "same 5\nsame 9", []),
        ("still 7", "still 7", []),
        ("only 1", "other 2", []),
        ("words", "and words", []),
    ],
)
def test_numbers_go_by_their_key_and_column(before: str, after: str, names: list[str]) -> None:
    """Keys and values, tables with a heading, and tables without; what cannot be told apart is left out."""
    assert said(before, after) == names


def test_the_number_that_moved_most_of_itself_comes_first() -> None:
    """A counter of bytes does not hide one of errors."""
    found = said("bytes 1000000\nerrors 2", "bytes 1500000\nerrors 3", "bytes 1900000\nerrors 40")

    assert [line.split(" ")[0] for line in found] == ["errors", "bytes"]


def test_a_part_that_is_printed_twice_is_a_look_twice() -> None:
    """Scripts may look twice by themselves."""
    assert said("errors 3", "errors 9", header="counters") == ["counters errors 3 → 9 (+3/s)"]


@pytest.mark.parametrize("looks", [(), ("errors 3",)])
def test_one_look_tells_nothing(looks: tuple[str, ...]) -> None:
    """There is nothing to compare."""
    assert said(*looks) == []


@settings(max_examples=60)
@given(st.lists(st.text(max_size=60), min_size=2, max_size=3))
def test_no_text_breaks_it(looks: list[str]) -> None:
    """Nor what looks like numbers."""
    said(*looks)
    said(*(f"a {look}\n{look}1e999\t{'9' * 30}" for look in looks))

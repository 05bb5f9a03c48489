"""What people type after `/capture`, and what is understood."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.command import Ask, Help, Link, List, Note, Report, Status, Stop, Take, parse
from bot.errors import UserError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Help()),
        ("  help ", Help()),
        ("help db", Help("db")),
        ("list", List()),
        ("status", Status()),
        ("stop k7m2pq", Stop("k7m2pq")),
        ("stop `K7M2PQ`", Stop("k7m2pq")),
        ("link PABC123", Link("PABC123")),
        ("link <https://acme.pagerduty.com/incidents/PABC123>", Link("https://acme.pagerduty.com/incidents/PABC123")),
        ("report", Report()),
        ("note it's <@U1|ana> &amp; “so”", Note("it's <@U1|ana> &amp; “so”")),
        (" note ", Note("")),
        ("notes app-1", Take("notes", ("app-1",), {})),
        ("db orders-db", Take("db", ("orders-db",), {})),
        ("db a,b c", Take("db", ("a", "b", "c"), {})),
        ("db a, b", Take("db", ("a", "b"), {})),
        ("db orders-db top=5", Take("db", ("orders-db",), {"top": "5"})),
        ('logs app-1 match="two words"', Take("logs", ("app-1",), {"match": "two words"})),
        ("logs app-1 match=“two words”", Take("logs", ("app-1",), {"match": "two words"})),
        ("logs app-1 match=a&amp;b&lt;c", Take("logs", ("app-1",), {"match": "a&b<c"})),
        ("logs app-1 match=$(reboot);x", Take("logs", ("app-1",), {"match": "$(reboot);x"})),
        ("db", Take("db", (), {})),
    ],
)
def test_words_are_understood(text: str, expected: Ask) -> None:
    """Each form of the command has one reading."""
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("stop", "needs one capture's id"),
        ("stop a b", "needs one capture's id"),
        ("link", "needs one incident"),
        ("list all", "takes no more words"),
        ("db orders-db top=5 top=6", "`top` is given twice"),
        ("db orders-db top=5 other-db", "stands after the parameters"),
        ("db 'orders-db", "never closed"),
        ("x" * 10_000, "10,000 characters"),
    ],
)
def test_what_cannot_be_understood_is_answered_with_a_cure(text: str, says: str) -> None:
    """The answer says what is wrong, and how it is written right."""
    with pytest.raises(UserError, match=says) as refusal:
        parse(text)

    assert refusal.value.cure


@given(st.text(max_size=300))
def test_no_text_breaks_the_reading(text: str) -> None:
    """Whatever is typed is understood or refused, nothing else."""
    try:
        understood: object = parse(text)
    except UserError as refusal:
        understood = refusal

    assert understood

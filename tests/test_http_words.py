"""What `http` may be asked for, and what a health answer blames, whatever it holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import re2
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.insights.health import blamed_in

RECIPE = yaml.safe_load((Path(__file__).parent.parent / "captures" / "http.yml").read_text())
PATTERN = RECIPE["parameters"]["url"]["pattern"]
BOUNDED = settings(max_examples=50, deadline=None)  # a busy machine is no finding

WORDS = st.sampled_from(
    ["status", "components", "checks", "entries", "details", "name", "error", "DOWN", "fail", "UP", "db"]
)
ANSWERS = st.recursive(
    st.one_of(WORDS, st.none(), st.booleans(), st.integers(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=4)),
    max_leaves=12,
)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://127.0.0.1:8080",
        "https://orders.example.com/actuator/health",
        "http://[::1]:9090/metrics",
        "http://orders_api:8080/search?q=a&page=2",
    ],
)
def test_a_url_of_an_endpoint_is_taken(url: str) -> None:
    """With a port, a path and a query."""
    assert re2.fullmatch(PATTERN, url)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "http://ana:secret@orders/",
        "http://orders#@evil.example/",
        "http://orders/a b",
        "http://orders/\nX-Evil: 1",
        "http://orders/$(id)",
        'http://orders/"',
        "http://orders\\@evil.example/",
        "-o/etc/passwd",
    ],
)
def test_what_is_more_than_an_endpoint_is_refused(url: str) -> None:
    """Other schemes, credentials, and what a header or a shell could be made of."""
    assert not re2.fullmatch(PATTERN, url)


def test_the_innermost_part_is_blamed_with_its_reason() -> None:
    """A composite is down because of what is in it."""
    inner = {"status": "DOWN", "details": {"error": "java.net.ConnectException: Connection refused"}}
    answer = {"status": "DOWN", "components": {"db": {"status": "DOWN", "components": {"orders": inner}}}}

    assert [part.text for part in blamed_in(json.dumps(answer))] == [
        "orders is DOWN (ConnectException: Connection refused)"
    ]


def test_an_answer_that_is_well_or_no_health_answer_blames_nobody() -> None:
    """An error that an application tells of is not its health."""
    assert blamed_in('{"status": "UP", "components": {"db": {"status": "UP"}}}') == []
    assert blamed_in('{"orders": [{"id": 1, "status": "FAILED"}]}') == []
    assert blamed_in('{"status": ') == []


@BOUNDED
@given(ANSWERS)
def test_any_answer_is_read(answer: object) -> None:
    """Whatever it holds; what is said of it is short and printable."""
    for part in blamed_in(json.dumps(answer)):
        assert part.text.isprintable()
        assert part.name

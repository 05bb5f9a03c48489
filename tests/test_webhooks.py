"""PagerDuty's calls: whose they are, and what they say."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.pagerduty.webhooks import Call, Unreadable, is_signed, read

BODY = b'{"event": {}}'
AT = "2026-11-23T01:02:03.004Z"


def signature(secret: str, body: bytes = BODY) -> str:
    """As PagerDuty's documentation computes it."""
    return "v1=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def test_the_documented_signature_is_known() -> None:
    """One that fits is enough, while a secret is being replaced: on their side or on ours."""
    assert is_signed(BODY, signature("new"), ["new"])
    assert is_signed(BODY, f"{signature('old')},{signature('new')}", ["new"])
    assert is_signed(BODY, f"v2=abc, {signature('new')}", ["older", "new"])


@pytest.mark.parametrize(
    "header",
    [
        "",
        "v1=",
        "v1",
        "v2=" + signature("new").removeprefix("v1="),
        signature("other"),
        signature("new").upper(),
        "v1=é",
    ],
)
def test_anything_else_is_not_signed(header: str) -> None:
    """Characters that no signature has make no difference."""
    assert not is_signed(BODY, header, ["new"])
    assert not is_signed(BODY + b" ", signature("new"), ["new"])


def test_nothing_is_signed_without_a_secret() -> None:
    """Also not with the empty one that a forger would try."""
    assert not is_signed(BODY, signature(""), [])


def call(what: str, data: dict[str, Any], **changes: Any) -> bytes:
    """A body as PagerDuty sends it."""
    event = {
        "id": "01DXQ", "event_type": what, "resource_type": "incident", "occurred_at": AT,
        "agent": {"id": "PUSER1", "type": "user_reference", "summary": "Ana", "html_url": None},
        "client": None, "data": data, **changes,
    }  # fmt: skip
    return json.dumps({"event": event}).encode()


INCIDENT = {
    "id": "PORDERS1042", "type": "incident", "html_url": "https://acme.pagerduty.com/incidents/PORDERS1042",
    "number": 1042, "status": "triggered", "title": "Orders are slow", "priority": None, "conference_bridge": None,
    "service": {"id": "PSVC1", "type": "service_reference", "summary": "Orders"}, "assignees": [], "urgency": "high",
}  # fmt: skip


def test_an_incident_is_read() -> None:
    """Who and what it is about."""
    assert read(call("incident.triggered", INCIDENT)) == Call(
        id="01DXQ",
        what="incident.triggered",
        at=datetime(2026, 11, 23, 1, 2, 3, 4000, tzinfo=UTC),
        incident="PORDERS1042",
        number=1042,
        title="Orders are slow",
        status="triggered",
        url="https://acme.pagerduty.com/incidents/PORDERS1042",
        service="PSVC1",
        who="Ana",
    )


def test_a_note_is_read() -> None:
    """With the incident that it belongs to."""
    note = {"incident": {"id": "PORDERS1042", "type": "incident_reference", "summary": "Orders are slow"},
            "id": "PNOTE1", "content": "It is the index.", "trimmed": False, "type": "incident_note"}  # fmt: skip

    heard = read(call("incident.annotated", note))

    assert (heard.incident, heard.note_id, heard.note, heard.who) == (
        "PORDERS1042",
        "PNOTE1",
        "It is the index.",
        "Ana",
    )


def test_what_is_about_no_incident_is_read_as_far_as_it_goes() -> None:
    """A ping, and whatever comes to be added."""
    ping = read(call("pagey.ping", {"message": "Hello from your friend Pagey!", "type": "ping"}, agent=None))
    service = read(call("service.updated", {"type": "service", "id": "PSVC1"}))

    assert (ping.what, ping.incident, service.what, service.incident) == ("pagey.ping", "", "service.updated", "")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"event": null}',
        b"\xff",
        call("x", INCIDENT, occurred_at="now"),
        call("x", {**INCIDENT, "id": 7}),
    ],
)
def test_a_body_that_is_not_as_documented_is_told_so(body: bytes) -> None:
    """By place, and never by content."""
    with pytest.raises(Unreadable, match="not as documented"):
        read(body)


@given(st.binary(max_size=200), st.text(max_size=100))
def test_anything_is_survived(body: bytes, header: str) -> None:
    """Nobody but PagerDuty can make it do anything but refuse."""
    assert not is_signed(body, header, ["secret"])
    with pytest.raises(Unreadable):
        read(body)

"""What PagerDuty calls us with: V3 webhooks, checked and read. Pure.

Facts: developer.pagerduty.com, "Webhooks V3 Overview" and "Verifying Signatures". The signature is an HMAC-SHA256 over
the raw body; while a secret is being replaced a call carries several, and one that fits is enough. It has no time in it,
so that a call that is played again is known by its id alone. Bodies are at most 55 KB, at best effort 256 KB.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import Any

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from bot.model import Call

__all__ = ["BODY_BYTES", "EVENTS", "ID_HEADER", "PING", "SIGNATURE_HEADER", "Call", "Unreadable", "is_signed", "read"]

SIGNATURE_HEADER = "X-PagerDuty-Signature"
ID_HEADER = "X-Webhook-Id"
BODY_BYTES = 256 * 1024
SIGNATURES_READ = 10  # of one call; PagerDuty sends one a secret
PING = "pagey.ping"
EVENTS = (  # what the bot is to be called about
    "incident.triggered",
    "incident.acknowledged",
    "incident.unacknowledged",
    "incident.escalated",
    "incident.reopened",
    "incident.resolved",
    "incident.annotated",
    "incident.service_updated",
)

_TITLE_CHARS = 400


class Unreadable(Exception):
    """The body is signed, and not what PagerDuty documents."""


def is_signed(body: bytes, header: str, secrets: Iterable[str]) -> bool:
    """Whether one of *secrets* made one of the signatures in *header*; takes the same time whichever does not."""
    given = [part.strip().encode("utf-8", "replace") for part in header.split(",")[:SIGNATURES_READ]]
    fits = False
    for secret in secrets:
        made = b"v1=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode()
        for one in given:
            fits |= hmac.compare_digest(made, one)
    return fits


class _Reference(BaseModel):
    id: str = Field(max_length=64)
    summary: str | None = None
    html_url: str | None = None


class _Event(BaseModel):
    id: str = Field(max_length=128)
    event_type: str = Field(max_length=128)
    occurred_at: AwareDatetime
    agent: _Reference | None = None
    data: dict[str, Any]


class _Body(BaseModel):
    event: _Event


class _Incident(_Reference):
    number: int = 0
    title: str = ""
    status: str = ""
    service: _Reference | None = None


class _Note(BaseModel):
    id: str = Field(max_length=64)
    content: str = ""
    trimmed: bool = False
    incident: _Reference


def read(body: bytes) -> Call:
    """The event that a signed call carries. Raises Unreadable."""
    try:
        event = _Body.model_validate_json(body).event
        call = Call(
            id=event.id,
            what=event.event_type,
            at=event.occurred_at,
            who=(event.agent.summary or "") if event.agent else "",
        )
        match event.data.get("type"):
            case "incident":
                return _of_incident(call, _Incident.model_validate(event.data))
            case "incident_note":
                return _of_note(call, _Note.model_validate(event.data))
    except ValidationError as error:
        where = ", ".join(".".join(map(str, one["loc"])) or "the body" for one in error.errors()[:3])
        raise Unreadable(f"a webhook of PagerDuty's is not as documented: {where}") from None
    return call


def _of_incident(call: Call, incident: _Incident) -> Call:
    return Call(
        id=call.id,
        what=call.what,
        at=call.at,
        who=call.who,
        incident=incident.id,
        number=incident.number,
        title=incident.title[:_TITLE_CHARS],
        status=incident.status,
        url=incident.html_url or "",
        service=incident.service.id if incident.service else "",
    )


def _of_note(call: Call, note: _Note) -> Call:
    return Call(
        id=call.id,
        what=call.what,
        at=call.at,
        who=call.who,
        incident=note.incident.id,
        title=(note.incident.summary or "")[:_TITLE_CHARS],
        url=note.incident.html_url or "",
        note_id=note.id,
        note=note.content,
        trimmed=note.trimmed,
    )

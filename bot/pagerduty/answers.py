"""What PagerDuty answers: the shapes that are read of it, and what each refusal means in words.

Facts: the OpenAPI description in github.com/PagerDuty/api-schema (2026-08) and
developer.pagerduty.com, "Rate Limiting" and "Errors".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
from pydantic import AwareDatetime, BaseModel, ValidationError

from bot.errors import DeliveryFailed
from bot.reporters.pagerduty import Note

WAIT_LIMIT_S = 900.0  # whatever a header asks for
TOKEN_S = 60.0  # when to come back where the token is refused: somebody may replace it
MESSAGE_CHARS = 200  # of PagerDuty's own words in ours

US_URL = "https://api.pagerduty.com"
EU_URL = "https://api.eu.pagerduty.com"

FROM_CODES = {1008, 1028, 2016}  # requester unknown, malformed header, header missing; each comes with status 400
LIMIT_CODE = 2019  # a product limit; for notes 2,000 an incident

_SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """An incident as people know it."""

    id: str
    number: int
    title: str
    status: str  # triggered, acknowledged or resolved
    html_url: str
    service: str = ""  # its id
    resolved_at: datetime | None = None


class Refused(DeliveryFailed):
    """PagerDuty did not do what it was asked for.

    *status* is 0 when no answer came. *untouched* says that the request certainly changed nothing.
    *retry_after* is 0 where a later try may help and PagerDuty does not say when.
    """

    def __init__(
        self,
        reason: str,
        *,
        status: int = 0,
        untouched: bool = False,
        retry_after: float | None = None,
        cure: str = "",
    ) -> None:
        super().__init__(reason, retry_after=retry_after, cure=cure)
        self.status = status
        self.untouched = untouched


# --- shapes -----------------------------------------------------------------------------------


class NoteShape(BaseModel):
    """A note."""

    id: str
    content: str
    created_at: AwareDatetime

    @property
    def plain(self) -> Note:
        """As the rest of the bot knows it."""
        return Note(id=self.id, content=self.content, created_at=self.created_at)


class NoteAnswer(BaseModel):
    """To a note that was written or edited."""

    note: NoteShape


class NotesAnswer(BaseModel):
    """All notes of an incident."""

    notes: list[NoteShape]


class ReferenceShape(BaseModel):
    """What something belongs to."""

    id: str


class IncidentShape(BaseModel):
    """An incident."""

    id: str
    incident_number: int
    title: str
    status: str
    html_url: str | None = None
    service: ReferenceShape | None = None
    resolved_at: AwareDatetime | None = None

    @property
    def plain(self) -> Incident:
        """As the rest of the bot knows it."""
        return Incident(
            id=self.id,
            number=self.incident_number,
            title=self.title,
            status=self.status,
            html_url=self.html_url or "",
            service=self.service.id if self.service else "",
            resolved_at=self.resolved_at,
        )


class IncidentAnswer(BaseModel):
    """One incident."""

    incident: IncidentShape


class IncidentsAnswer(BaseModel):
    """A page of incidents, of which only the presence is read."""

    incidents: list[Any]


class UserShape(BaseModel):
    """A user of the account."""

    email: str


class UsersAnswer(BaseModel):
    """A page of users."""

    users: list[UserShape]


class ErrorShape(BaseModel):
    """What went wrong, in PagerDuty's words."""

    message: str = ""
    code: int = 0
    errors: list[str] = []


class ErrorAnswer(BaseModel):
    """To a request that was refused."""

    error: ErrorShape


# --- refusals ---------------------------------------------------------------------------------


def refusal(response: httpx.Response, body: bytes, *, about: str, writes: bool, sender: str) -> Refused:
    """What an answer other than 2xx means. *about* is what was read or changed, *sender* the From address."""
    status = response.status_code
    if status in (408, 429) or status >= 500:
        limited = status == httpx.codes.TOO_MANY_REQUESTS
        why = "limits requests, and the limit is reached" if limited else "has trouble of its own"
        after = _wait_of(response.headers)
        return Refused(f"PagerDuty {why} ({status}).", status=status, untouched=limited, retry_after=after)
    error = _error_in(body)
    why, cure, wait = f"PagerDuty refused the request ({status}): {_said(error)}", "", None
    match status:
        case _ if error.code == LIMIT_CODE:
            why = f"PagerDuty allows 2,000 notes an incident, and {about} has them."
            cure = "Delete notes that nobody needs."
        case 400 if error.code in FROM_CODES:
            why = f"PagerDuty does not take {sender} as the author of a note ({_said(error)})."
            cure = "Set pagerduty.from to the e-mail address of a user of the account."
        case 401:
            why, wait = "PagerDuty does not take the token (401).", TOKEN_S
            cure = (
                "Put a valid REST API key where pagerduty.token points; if it is valid, the account is in the other "
                f"region: set pagerduty.api_url to {US_URL if '.eu.' in response.url.host else EU_URL}."
            )
        case 402:
            why = "The plan of the PagerDuty account does not include this (402)."
        case 403:
            why = f"The PagerDuty token may not {'change' if writes else 'read'} {about} (403)."
            cure = "Use a key that is not read-only, or give the app incidents.read and incidents.write."
        case 404:
            why = f"PagerDuty has no {about} (404)."
            cure = (
                "It was merged or deleted or is another account's; `/capture link` ties the channel to the right one."
            )
    return Refused(why, status=status, untouched=True, retry_after=wait, cure=cure)


def _error_in(body: bytes) -> ErrorShape:
    try:
        return ErrorAnswer.model_validate_json(body).error
    except ValidationError:  # not every refusal comes in the documented shape, or as JSON at all
        return ErrorShape()


def _said(error: ErrorShape) -> str:
    words = " ".join([error.message, *error.errors]).strip() or "no reason given"
    return words[:MESSAGE_CHARS] + (f", code {error.code}" if error.code else "")


def _wait_of(headers: httpx.Headers) -> float:
    """The least to wait in seconds. 429 comes with ratelimit-reset, or in rare cases with nothing."""
    named = (headers.get(name, "").strip() for name in ("retry-after", "ratelimit-reset"))
    waits = [float(value) for value in named if _SECONDS.fullmatch(value)]
    return min(max(waits, default=0.0), WAIT_LIMIT_S)

"""A PagerDuty account in memory: its incidents, their notes, one user, and the API's answers on them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

NOTES_PER_INCIDENT = 2_000
NOTE_BYTES = 65_535
PAGE_INCIDENTS = 25  # where no limit is asked for
PAGE_MOST_INCIDENTS = 100
OFFSET_MOST = 10_000

_STATUSES = ("triggered", "acknowledged", "resolved")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request, as far as an answer needs it."""

    method: str
    parts: Mapping[str, str]  # of the path
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    body: bytes


class Refusal(Exception):
    """An error in the documented shape."""

    def __init__(self, status: int, code: int, message: str, *errors: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "code": code, **({"errors": list(errors)} if errors else {})}}


Reply = tuple[int, Any]  # status and JSON
Answer = Callable[[Ask], Reply]


class Account:
    """The account of one user, *sender*; *api_url* is where it is served."""

    def __init__(self, sender: str) -> None:
        self.sender = sender
        self.api_url = ""
        self.hides_users = False  # the token may not read users
        self._incidents: dict[str, dict[str, Any]] = {}
        self._notes: dict[str, dict[str, dict[str, Any]]] = {}
        self._written = 0

    def add_incident(self, incident: str, number: int, title: str, service: str, status: str = "triggered") -> str:
        """Open an incident and return the address of its page."""
        now = _now()
        address = f"{self.api_url}/view/incidents/{incident}"
        self._incidents[incident] = {
            "id": incident,
            "type": "incident",
            "summary": f"[#{number}] {title}",
            "self": f"{self.api_url}/incidents/{incident}",
            "html_url": address,
            "incident_number": number,
            "title": title,
            "created_at": now,
            "updated_at": now,
            "status": status,
            "incident_key": f"key-{number}",
            "service": {"id": "PSERVIC", "type": "service_reference", "summary": service, "self": None},
            "assignments": [],
            "urgency": "high",
        }
        self._notes[incident] = {}
        return address

    def incidents(self) -> list[dict[str, Any]]:
        """All incidents, newest last."""
        return list(self._incidents.values())

    def notes(self, incident: str) -> list[dict[str, Any]]:
        """The notes of *incident*, oldest first, as the API gives them."""
        return list(self._notes[incident].values())

    def write_note(self, incident: str, content: str) -> str:
        """Write a note as a person would; returns its id."""
        self._written += 1
        note = f"PN{self._written:05}"
        user = {"id": "PXPGF42", "type": "user_reference", "summary": self.sender, "self": None, "html_url": None}
        channel = {"summary": "The PagerDuty website or APIs"}
        now = _now()
        self._notes[incident][note] = {
            "id": note,
            "user": user,
            "channel": channel,
            "content": content,
            "created_at": now,
            "updated_at": now,
        }
        return note

    def delete_note(self, incident: str, note: str) -> None:
        """Delete a note as a person would."""
        del self._notes[incident][note]

    # --- answers ------------------------------------------------------------------------------

    def routes(self) -> list[tuple[str, str, Answer]]:
        """Method, path and answer of each operation."""
        return [
            ("GET", "/incidents", self._list_incidents),
            ("GET", "/incidents/{id}", self._get_incident),
            ("GET", "/incidents/{id}/notes", self._list_notes),
            ("POST", "/incidents/{id}/notes", self._create_note),
            ("PUT", "/incidents/{id}/notes/{note}", self._edit_note),
            ("DELETE", "/incidents/{id}/notes/{note}", self._delete_note),
            ("GET", "/users", self._list_users),
        ]

    def nothing_here(self, _: Ask) -> Reply:
        """Any other path."""
        raise Refusal(404, 2100, "Not Found")

    def _list_incidents(self, ask: Ask) -> Reply:
        limit = _whole(ask, "limit", PAGE_INCIDENTS, most=PAGE_MOST_INCIDENTS)
        offset = _whole(ask, "offset", 0, most=OFFSET_MOST - limit)
        statuses = [value for name, value in ask.query if name == "statuses[]"]
        if not set(statuses) <= set(_STATUSES):
            raise Refusal(400, 2001, "Invalid Input Provided", "Invalid status")
        found = [one for one in self._incidents.values() if one["status"] in (statuses or _STATUSES)]
        page = found[offset : offset + limit]
        more = offset + limit < len(found)
        return 200, {"incidents": page, "limit": limit, "offset": offset, "total": None, "more": more}

    def _get_incident(self, ask: Ask) -> Reply:
        name = ask.parts["id"]
        for incident in self._incidents.values():
            if name in (incident["id"], str(incident["incident_number"])):
                return 200, {"incident": incident}
        raise Refusal(404, 2100, "Not Found")

    def _list_notes(self, ask: Ask) -> Reply:
        return 200, {"notes": list(self._notes_of(ask).values())}

    def _create_note(self, ask: Ask) -> Reply:
        notes = self._notes_of(ask)
        content = _content(ask.body)
        if len(notes) >= NOTES_PER_INCIDENT:
            raise Refusal(400, 2019, "Product Limit Reached", f"An incident has at most {NOTES_PER_INCIDENT} notes")
        return 200, {"note": notes[self.write_note(ask.parts["id"], content)]}

    def _edit_note(self, ask: Ask) -> Reply:
        notes = self._notes_of(ask)
        if ask.parts["note"] not in notes:
            raise Refusal(404, 2100, "Not Found")
        changed = {**notes[ask.parts["note"]], "content": _content(ask.body), "updated_at": _now()}
        notes[ask.parts["note"]] = changed
        return 200, {"note": changed}

    def _delete_note(self, ask: Ask) -> Reply:
        if self._notes_of(ask).pop(ask.parts["note"], None) is None:
            raise Refusal(404, 2100, "Not Found")
        return 204, None

    def _list_users(self, ask: Ask) -> Reply:
        if self.hides_users:
            raise Refusal(403, 2010, "Access Denied")
        limit = _whole(ask, "limit", PAGE_INCIDENTS, most=PAGE_MOST_INCIDENTS)
        offset = _whole(ask, "offset", 0, most=OFFSET_MOST - limit)
        user = {"id": "PXPGF42", "type": "user", "summary": "capturebot", "name": "capturebot", "email": self.sender}
        found = [user] if dict(ask.query).get("query", "").lower() in f"capturebot {self.sender}".lower() else []
        return 200, {"users": found[offset:], "limit": limit, "offset": offset, "total": None, "more": False}

    def _notes_of(self, ask: Ask) -> dict[str, dict[str, Any]]:
        if ask.parts["id"] not in self._notes:
            raise Refusal(404, 2100, "Not Found")
        return self._notes[ask.parts["id"]]


def _whole(ask: Ask, name: str, default: int, *, most: int) -> int:
    value = dict(ask.query).get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,6}", value) or int(value) > most:
        raise Refusal(400, 2001, "Invalid Input Provided", f"{name} must be a number of at most {most}")
    return int(value)


def _content(body: bytes) -> str:
    try:
        content = json.loads(body)["note"]["content"]
    except (ValueError, KeyError, TypeError):
        content = None
    if not isinstance(content, str) or not content.strip():
        raise Refusal(400, 2001, "Invalid Input Provided", "Content cannot be empty.")
    if len(content.encode()) > NOTE_BYTES:
        raise Refusal(400, 2001, "Invalid Input Provided", f"Content is too long (maximum is {NOTE_BYTES} characters)")
    return content


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

"""A PagerDuty account in memory: its incidents, their notes, one user, and the API's answers on them."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

from bot.playground.pagerduty_answers import Answer, Ask, Refusal, Reply, body_of, whole
from bot.playground.pagerduty_hooks import Hooks

NOTES_PER_INCIDENT = 2_000
NOTE_BYTES = 65_535
PAGE_INCIDENTS = 25  # where no limit is asked for
PAGE_MOST_INCIDENTS = 100
OFFSET_MOST = 10_000

SERVICE = "PSERVIC"
USER = {"id": "PXPGF42", "type": "user_reference", "summary": "Ana Ferreira", "self": None, "html_url": None}

_STATUSES = ("triggered", "acknowledged", "resolved")


class Account:
    """The account of one user, *sender*; *api_url* is where it is served."""

    def __init__(self, sender: str) -> None:
        self.sender = sender
        self.api_url = ""
        self.hides_users = False  # the token may not read users
        self._incidents: dict[str, dict[str, Any]] = {}
        self._notes: dict[str, dict[str, dict[str, Any]]] = {}
        self._written = 0
        self.user_token = secrets.token_hex(10)  # of an owner; the other one is an account's
        self.channels: dict[str, str] = {}  # dedicated ones in Slack, by incident
        self.hooks = Hooks()

    def add_incident(
        self,
        incident: str,
        number: int,
        title: str,
        service: str,
        status: str = "triggered",
        *,
        service_id: str = SERVICE,
    ) -> str:
        """Have an incident that nobody is called about, and return the address of its page."""
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
            "service": {"id": service_id, "type": "service_reference", "summary": service, "self": None},
            "assignments": [],
            "urgency": "high",
            **({"resolved_at": now} if status == "resolved" else {}),
        }
        self._notes[incident] = {}
        return address

    def trigger(self, incident: str, number: int, title: str, service: str, *, service_id: str = SERVICE) -> str:
        """Open an incident, call whoever subscribed to its service, and return the address of its page."""
        address = self.add_incident(incident, number, title, service, service_id=service_id)
        self._tell(incident, "triggered")
        return address

    def change(self, incident: str, what: str, *, status: str) -> None:
        """Let a person change an incident, and call about it: *what* is e.g. "acknowledged"."""
        one = self._incidents[incident]
        one |= {"status": status, "updated_at": _now()}
        if status == "resolved":
            one["resolved_at"] = one["updated_at"]
        else:
            one.pop("resolved_at", None)
        self._tell(incident, what, who=USER)

    def _tell(self, incident: str, what: str, *, who: dict[str, Any] | None = None) -> None:
        one = self._incidents[incident]
        data = {
            **{key: one[key] for key in ("id", "type", "self", "html_url", "status", "incident_key", "created_at")},
            **{key: one[key] for key in ("title", "service", "urgency")},
            "number": one["incident_number"],
            "assignees": [],
            "teams": [],
            "priority": None,
            "conference_bridge": None,
            "resolve_reason": None,
        }
        self.hooks.tell(f"incident.{what}", data, service=one["service"]["id"], who=who)

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
        user = {**USER, "summary": self.sender}
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
        data = {
            "incident": {"id": incident, "type": "incident_reference", "summary": self._incidents[incident]["title"]},
            "id": note,
            "content": content,
            "trimmed": False,
            "type": "incident_note",
        }
        self.hooks.tell("incident.annotated", data, service=self._incidents[incident]["service"]["id"], who=user)
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
            ("GET", "/integration-slack/incidents/{id}/dedicated_channel", self._get_channel),
            *self.hooks.routes(),
        ]

    def nothing_here(self, _: Ask) -> Reply:
        """Any other path."""
        raise Refusal(404, 2100, "Not Found")

    def _list_incidents(self, ask: Ask) -> Reply:
        limit = whole(ask, "limit", PAGE_INCIDENTS, most=PAGE_MOST_INCIDENTS)
        offset = whole(ask, "offset", 0, most=OFFSET_MOST - limit)
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

    def _get_channel(self, ask: Ask) -> Reply:
        if ask.headers["authorization"] != f"Token token={self.user_token}":
            raise Refusal(403, 2010, "Access Denied")
        if (channel := self.channels.get(ask.parts["id"])) is None:
            raise Refusal(404, 2100, "Not Found")
        team = "T0CAPTURE1"
        link, deep = (
            f"https://slack.com/app_redirect?channel={channel}&team={team}",
            f"slack://channel?team={team}&id={channel}",
        )
        return 200, {
            "channel": {"id": channel, "name": "dedicated", "slack_team_id": team, "link": link, "deep_link": deep}
        }

    def _list_notes(self, ask: Ask) -> Reply:
        return 200, {"notes": list(self._notes_of(ask).values())}

    def _create_note(self, ask: Ask) -> Reply:
        notes = self._notes_of(ask)
        content = _content(ask)
        if len(notes) >= NOTES_PER_INCIDENT:
            raise Refusal(400, 2019, "Product Limit Reached", f"An incident has at most {NOTES_PER_INCIDENT} notes")
        return 200, {"note": notes[self.write_note(ask.parts["id"], content)]}

    def _edit_note(self, ask: Ask) -> Reply:
        notes = self._notes_of(ask)
        if ask.parts["note"] not in notes:
            raise Refusal(404, 2100, "Not Found")
        changed = {**notes[ask.parts["note"]], "content": _content(ask), "updated_at": _now()}
        notes[ask.parts["note"]] = changed
        return 200, {"note": changed}

    def _delete_note(self, ask: Ask) -> Reply:
        if self._notes_of(ask).pop(ask.parts["note"], None) is None:
            raise Refusal(404, 2100, "Not Found")
        return 204, None

    def _list_users(self, ask: Ask) -> Reply:
        if self.hides_users:
            raise Refusal(403, 2010, "Access Denied")
        limit = whole(ask, "limit", PAGE_INCIDENTS, most=PAGE_MOST_INCIDENTS)
        offset = whole(ask, "offset", 0, most=OFFSET_MOST - limit)
        user = {"id": "PXPGF42", "type": "user", "summary": "capturebot", "name": "capturebot", "email": self.sender}
        found = [user] if dict(ask.query).get("query", "").lower() in f"capturebot {self.sender}".lower() else []
        return 200, {"users": found[offset:], "limit": limit, "offset": offset, "total": None, "more": False}

    def _notes_of(self, ask: Ask) -> dict[str, dict[str, Any]]:
        if ask.parts["id"] not in self._notes:
            raise Refusal(404, 2100, "Not Found")
        return self._notes[ask.parts["id"]]


def _content(ask: Ask) -> str:
    content = body_of(ask, "note").get("content")
    if not isinstance(content, str) or not content.strip():
        raise Refusal(400, 2001, "Invalid Input Provided", "Content cannot be empty.")
    if len(content.encode()) > NOTE_BYTES:
        raise Refusal(400, 2001, "Invalid Input Provided", f"Content is too long (maximum is {NOTE_BYTES} characters)")
    return content


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

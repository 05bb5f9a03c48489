"""What PagerDuty tells of an incident, and what is known of one by now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

RESOLVED = "resolved"
OPENING = frozenset({"incident.triggered", "incident.reopened", "incident.service_updated"})
ASKED = "incident.custom"  # support.pagerduty.com, "Custom Incident Actions": a button that an operator added


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One webhook event. *id* is the event's own; *incident* is "" for what is about none, such as a ping."""

    id: str
    what: str  # e.g. incident.triggered
    at: datetime  # when it happened there
    incident: str = ""
    number: int = 0
    title: str = ""
    status: str = ""
    url: str = ""
    service: str = ""  # its id
    who: str = ""  # who did it, as PagerDuty names them
    note_id: str = ""
    note: str = ""
    trimmed: bool = False  # the note is longer than what was sent of it

    @property
    def opens(self) -> bool:
        """From now on the service in it has a trouble that it did not have before."""
        return self.what in OPENING

    @property
    def starts(self) -> bool:
        """The service's first set is wanted: its incident was opened, or somebody pressed a button for it in PagerDuty."""
        return self.opens or self.what == ASKED


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """PagerDuty called about an incident; *delivery* is the call's id, the same when it is sent again."""

    call: Call
    delivery: str
    at: datetime  # when it came
    type: Literal["heard"] = "heard"

    @property
    def key(self) -> str:
        """What the journal finds it by, so that it is heard once, however often it is delivered."""
        return f"pagerduty {self.call.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An incident as far as PagerDuty has told: the event that happened last, in whatever order they came."""

    last: Call
    opened_at: datetime | None  # the last time that it was opened; None where that was not heard

    @property
    def is_open(self) -> bool:
        """It is not resolved."""
        return self.last.status != RESOLVED

"""What people say about an incident, on its way between Slack and PagerDuty."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from bot.model.captures import Person, Place
from bot.model.incidents import Call


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """Somebody's words in Slack, which belong into the notes of *incident* as theirs.

    *source* is what they are known by, a message or a command: said anew, they replace what stands in the notes.
    """

    source: str
    incident: str
    who: Person  # said it
    sender: Person  # wants it in the notes
    place: Place  # where it was said
    text: str
    said_at: datetime
    at: datetime
    owner: str  # the process that takes it over
    instead: str = ""  # the key of what was said before
    url: str = ""  # of the message, where there is one
    type: Literal["noted"] = "noted"

    @property
    def key(self) -> str:
        """What the journal finds it by: the same words in the place of the same others are noted once."""
        return f"{noted_key(self.source)}{hashlib.sha256(f'{self.instead} {self.text}'.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Commented:
    """Somebody's note in PagerDuty, which belongs into the channels of its incident, or into one that was linked later."""

    call: Call
    at: datetime
    owner: str  # the process that takes it over
    channel: str = ""  # the only one
    type: Literal["commented"] = "commented"

    @property
    def key(self) -> str:
        """What the journal finds it by."""
        return f"{comments_key(self.call.incident)}{self.call.id} {self.channel}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrored:
    """What *of*, the key of a Noted or a Commented, says now stands on the other side too; or never will, with the *reason*."""

    of: str
    at: datetime
    reason: str = ""
    type: Literal["mirrored"] = "mirrored"

    @property
    def key(self) -> str:
        """What the journal finds it by."""
        return mirrored_key(self.of)


def noted_key(source: str) -> str:
    """What the keys of all that was noted of *source* begin with."""
    return f"noted {source} "


def comments_key(incident: str) -> str:
    """What the keys of all notes of *incident* begin with."""
    return f"commented {incident} "


def mirrored_key(of: str) -> str:
    """Of what says that *of* is done with."""
    return f"mirrored {of}"

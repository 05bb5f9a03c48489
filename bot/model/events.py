"""What happened, as the journal keeps it; all that people see is a fold of these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from bot.model.approvals import ApprovalAsked, ApprovalMeasured, ApprovalRuled
from bot.model.audit import Given, Opened, Probed, Rejected, Sealed
from bot.model.budgets import Price
from bot.model.captures import Artifact, Capture, Person, Place, StepResult, Suggestion, Trigger
from bot.model.comparisons import Compared, Discarded, MarkedGood
from bot.model.incidents import Heard
from bot.model.rooms import Met, Settled
from bot.model.rules import Verb
from bot.model.verdicts import Source, State
from bot.model.words import Commented, Mirrored, Noted


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A trigger became a capture."""

    capture: Capture
    at: datetime
    key: str | None = None
    type: Literal["accepted"] = "accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A trigger did not become a capture, and why."""

    trigger: Trigger
    reason: str
    at: datetime
    type: Literal["refused"] = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """The rules were against something else than a capture, or against whoever asked; *reason* is what they were told."""

    verb: Verb
    who: Person
    reason: str
    at: datetime
    place: Place | None = None
    recipe: str = ""
    targets: tuple[str, ...] = ()
    type: Literal["denied"] = "denied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """The cost of *trigger* was measured, and whoever asked may agree to it; nothing runs yet.

    Where several processes match, *choices* are what to choose from, and there is nothing to agree to.
    """

    offer_id: str
    trigger: Trigger
    recipe_digest: str
    at: datetime
    cost: str = ""  # a sentence for people
    prices: Mapping[str, Price] = field(default_factory=dict)  # it in numbers, by target
    left: str = ""  # of the budgets before it, for people
    approval: bool = False  # somebody else must approve of it too
    choices: tuple[Suggestion, ...] = ()
    choices_in_all: int = 0
    type: Literal["offered"] = "offered"

    @property
    def key(self) -> str:
        """What the journal finds it by."""
        return offer_key(self.offer_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The runner took the capture up."""

    capture_id: str
    at: datetime
    type: Literal["started"] = "started"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted:
    """A step is under way on a target."""

    capture_id: str
    target: str
    step: str
    at: datetime
    type: Literal["step_started"] = "step_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished:
    """A step ended, well or badly."""

    capture_id: str
    result: StepResult
    at: datetime
    type: Literal["step_finished"] = "step_finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class StopAsked:
    """Somebody (or a shutdown) asked for the end of a capture."""

    capture_id: str
    who: Person
    at: datetime
    type: Literal["stop_asked"] = "stop_asked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A capture reached an end. *manifest* is None where it could not be kept; *reason* then says why."""

    capture_id: str
    state: State
    at: datetime
    manifest: Artifact | None = None
    reason: str = ""
    error_id: str = ""  # set when the end is a bug of ours; the log has it too
    saved: tuple[Artifact, ...] = ()  # found in the store by the sweep after an interruption
    type: Literal["finished"] = "finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What was kept elsewhere under *key* while the store refused it lies in the store now, as *artifact*."""

    capture_id: str
    key: str
    artifact: Artifact
    at: datetime
    type: Literal["moved"] = "moved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """Somebody pressed a button of this capture, which started another one."""

    capture_id: str
    by: str  # the other one's id
    what: str  # it does, as a person would type it
    key: str  # of the trigger, by which the button is known
    who: Person
    at: datetime
    type: Literal["followed"] = "followed"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteWritten:
    """The incident's note in PagerDuty now tells this capture's story up to here."""

    capture_id: str
    incident: str
    note_id: str
    at: datetime
    type: Literal["note_written"] = "note_written"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteFailed:
    """The note could not be written; it is kept and tried again while *final* is False."""

    capture_id: str
    incident: str
    reason: str
    final: bool
    at: datetime
    type: Literal["note_failed"] = "note_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A report was written that ends with this capture; with a *key* once."""

    capture_id: str
    artifact: Artifact
    at: datetime
    key: str | None = None
    who: Person | None = None  # asked for it
    type: Literal["reported"] = "reported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """A channel was tied to a PagerDuty incident."""

    channel: str
    incident: str
    who: Person
    at: datetime
    type: Literal["linked"] = "linked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """Somebody asked for what this capture takes of *targets* anyway: its story is theirs too, in their place and incident."""

    capture_id: str
    targets: tuple[str, ...]
    who: Person
    source: Source
    at: datetime
    place: Place | None = None
    incident: str | None = None
    key: str | None = None
    type: Literal["joined"] = "joined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A capture of an incident that had no channel yet is told in *place*, which was linked to the incident since."""

    capture_id: str
    place: Place
    at: datetime
    type: Literal["shown"] = "shown"


Event = (
    Accepted
    | Refused
    | Denied
    | Offered
    | ApprovalAsked
    | ApprovalMeasured
    | ApprovalRuled
    | Started
    | StepStarted
    | StepFinished
    | StopAsked
    | Finished
    | Moved
    | Followed
    | NoteWritten
    | NoteFailed
    | Reported
    | Linked
    | Joined
    | Shown
    | MarkedGood
    | Compared
    | Discarded
    | Heard
    | Met
    | Settled
    | Noted
    | Commented
    | Mirrored
    | Given
    | Opened
    | Probed
    | Rejected
    | Sealed
)


def offer_key(offer_id: str) -> str:
    """The key under which the journal has an offer."""
    return f"offer {offer_id}"


def key_of(event: Event) -> str | None:
    """What the journal lets happen once, for an event that has such a key."""
    match event:
        case Accepted(key=key) | Joined(key=key) | Reported(key=key) | Settled(key=key):
            return key
        case Noted() | Commented() | Mirrored():
            return event.key
        case ApprovalAsked() | ApprovalMeasured() | ApprovalRuled():
            return event.key
        case Offered() | Heard() | Met() | MarkedGood() | Compared():
            return event.key
        case _:
            return None


def capture_of(event: Event) -> str | None:
    """The id of the capture that *event* belongs to, or None for one that belongs to none."""
    match event:
        case Accepted(capture=capture):
            return capture.id
        case Refused() | Denied() | Offered() | Linked() | Heard() | Met() | Settled():
            return None
        case Noted() | Commented() | Mirrored() | Opened() | Probed() | Rejected() | Sealed():
            return None
        case ApprovalAsked() | ApprovalMeasured() | ApprovalRuled():
            return None
        case _:
            return event.capture_id

"""What is kept for whoever looks later at what was done here, and is part of no capture's story."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from bot.model.captures import Person, Place
from bot.model.verdicts import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """The *rows* before this one were written before rows were chained, and are chained from now on as they were found."""

    rows: int
    at: datetime
    type: Literal["sealed"] = "sealed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A process began to serve: with which *version*, and with a configuration of which SHA-256."""

    owner: str  # the process's name in the journal
    who: Person  # runs it
    version: str
    config_sha256: str
    recipes_in_all: int
    targets_in_all: int
    at: datetime
    type: Literal["opened"] = "opened"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """Something was typed or pressed that was refused before it could be a trigger; *what* is as it came."""

    who: Person
    place: Place
    what: str
    reason: str
    at: datetime
    type: Literal["rejected"] = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Somebody was given links with which files can be fetched until *until*; *keys* are the files."""

    capture_id: str
    who: Person
    place: Place
    keys: tuple[str, ...]
    until: datetime
    at: datetime
    type: Literal["given"] = "given"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """A command ran on a target outside of a capture: to learn what one would cost there, or whether it would work."""

    what: str  # it was for
    target: str
    command: str  # secrets masked
    outcome: Outcome
    exit_status: int | None
    at: datetime
    who: Person | None = None  # where it was not for somebody's offer, which says who
    type: Literal["probed"] = "probed"

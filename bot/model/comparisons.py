"""Captures held against each other: against an earlier one of a target that was well, or target against target."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from bot.model.captures import Capture, Finding, Person


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A recipe that is taken of *targets* every *every_s* seconds while nothing is wrong, to compare with later."""

    recipe: str
    targets: tuple[str, ...]
    every_s: float
    keep: int = 30  # of each target


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What differs on *target* in the output of *step*."""

    target: str
    step: str
    finding: Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedGood:
    """A capture shows its targets as they are when all is well: somebody says so, or no incident was open."""

    capture_id: str
    recipe: str
    targets: tuple[str, ...]
    asked: str  # what all captures have in common that can be compared with it; see `asked_of`
    taken_at: datetime
    who: Person
    by_schedule: bool
    at: datetime
    type: Literal["marked_good"] = "marked_good"

    @property
    def key(self) -> str:
        """What the journal finds it by."""
        return good_key(self.capture_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A capture was held against *others* (their ids), or, where there are none, its targets against each other.

    *said* is one line; *differences* are the most telling first. *gaps* are sentences on what could not be compared.
    """

    capture_id: str
    said: str
    at: datetime
    others: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    gaps: tuple[str, ...] = ()
    type: Literal["compared"] = "compared"

    @property
    def key(self) -> str:
        """What the journal finds it by."""
        return compared_key(self.capture_id, self.others)


@dataclass(frozen=True, slots=True, kw_only=True)
class Discarded:
    """What an old capture on schedule had kept was removed from the store."""

    capture_id: str
    at: datetime
    type: Literal["discarded"] = "discarded"


def good_key(capture_id: str) -> str:
    """The key under which the journal knows that a capture was marked good."""
    return f"good {capture_id}"


def compared_key(capture_id: str, others: tuple[str, ...]) -> str:
    """The key under which the journal has a comparison."""
    others_digest = hashlib.sha256(" ".join(sorted(others)).encode()).hexdigest()[:16] if others else "itself"
    return f"compared {capture_id} {others_digest}"


def asked_of(capture: Capture) -> str:
    """The recipe and its parameters, as a digest: captures that agree in it can be compared."""
    said = json.dumps([capture.recipe, sorted((name, str(value)) for name, value in capture.parameters.items())])
    return hashlib.sha256(said.encode()).hexdigest()

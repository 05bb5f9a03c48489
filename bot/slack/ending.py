"""Whether an incident is over: its buttons end with it, also where PagerDuty does not call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

import structlog

from bot.errors import DeliveryFailed, UserError
from bot.journal import Journal
from bot.model.incidents import RESOLVED

ASKED_FOR_S = 2.0  # whoever pressed waits no longer for PagerDuty
HOLDS_S = 15.0  # an answer is good for so long
KNOWN_AT_MOST = 1000

log = structlog.get_logger()


class Standing(Protocol):
    """An incident as PagerDuty answers."""

    @property
    def status(self) -> str:
        """Whether it is resolved."""

    @property
    def resolved_at(self) -> datetime | None:
        """Since when it is; None where it is not, or PagerDuty does not say."""


class Incidents(Protocol):
    """Where incidents are looked up."""

    async def incident(self, reference: str) -> Standing:
        """Find one by its id. Raises UserError where there is none; DeliveryFailed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What PagerDuty said, and when it was asked."""

    asked_at: float
    is_open: bool = True
    resolved_at: datetime | None = None


class Endings:
    """Knows of incidents what PagerDuty called about, and asks about the others; *incidents* is None where it cannot."""

    def __init__(
        self, journal: Journal, incidents: Incidents | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._journal = journal
        self._incidents = incidents
        self._clock = clock
        self._known: dict[str, _Answer] = {}

    async def is_open(self, incident: str) -> bool:
        """False where it is known to be resolved: who cannot be told keeps the button. Raises JournalError."""
        if standing := await self._journal.standing(incident):
            return standing.is_open
        return (await self._ask(incident)).is_open

    async def ended_since(self, incident: str, since: datetime) -> bool:
        """Whether it is resolved, and was not yet at that time as far as is known. Raises JournalError."""
        if standing := await self._journal.standing(incident):
            return not standing.is_open and standing.last.at > since
        known = await self._ask(incident)
        return not known.is_open and (known.resolved_at is None or known.resolved_at > since)

    async def _ask(self, incident: str) -> _Answer:
        known = self._known.get(incident, _Answer(asked_at=-HOLDS_S))
        if self._incidents is None or self._clock() < known.asked_at + HOLDS_S:
            return known
        known = replace(known, asked_at=self._clock())
        try:
            async with asyncio.timeout(ASKED_FOR_S):
                found = await self._incidents.incident(incident)
            known = replace(known, is_open=found.status != RESOLVED, resolved_at=found.resolved_at)
        except (DeliveryFailed, UserError, TimeoutError) as trouble:
            log.warning("PagerDuty does not say how an incident stands", incident=incident, reason=str(trouble))
        self._known[incident] = known
        while len(self._known) > KNOWN_AT_MOST:
            self._known.pop(next(iter(self._known)))
        return known

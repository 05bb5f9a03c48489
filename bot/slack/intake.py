"""What Slack tells is accepted first and acknowledged then, so that a crash in between loses nothing.

Slack sends an event again that was not acknowledged; whoever sent a dialog sees that it failed, and has their words still.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from bot.tasks import Tasks

ACCEPTED_WITHIN_S = 2.0  # Slack wants to be acknowledged within three; what takes longer goes on after that

log = structlog.get_logger()


class Intake:
    """Holds an acknowledgement back while what was told is being accepted."""

    def __init__(self, *, within_s: float = ACCEPTED_WITHIN_S) -> None:
        self._within_s = within_s
        self._tasks = Tasks(lambda name, error: log.error("what Slack told broke", task=name, exc_info=error))

    async def first(self, work: Coroutine[Any, Any, None]) -> None:
        """Return when *work* is done, or has taken long enough: then it goes on by itself. Raises what it raises."""
        task = self._tasks.start(work, name="intake")
        if (await asyncio.wait({task}, timeout=self._within_s))[0]:
            await task

    async def close(self, within_s: float) -> None:
        """Let what still goes on end within that time, and cancel the rest."""
        if not await self._tasks.drain(within_s):
            await self._tasks.cancel(within_s)


async def done() -> None:
    """The listener of an event that was accepted before: Bolt acknowledges it now."""

"""Hands the journal's events of one type to whoever acts on them: in order, also what came while no process ran."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from bot.errors import JournalError
from bot.journal import Journal
from bot.model import Event

POSITION = "followed"  # the topic under which a follower's position is kept
LOOK_S = 10.0  # between two looks for what other processes wrote, and before a sick journal is tried again

log = structlog.get_logger()


class Follower:
    """Calls *handle* with each event of the type *kind*, one after the other.

    An event that was being handled when the process died is handed over again after the next start, and every process
    on one journal is given all of them: *handle* does a thing twice without harm, by keys of the journal. *name* never
    changes. A follower that is new here does not go back to old events.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        name: str,
        kind: str,
        handle: Callable[[Event], Awaitable[None]],
        look_s: float = LOOK_S,
    ) -> None:
        self._journal = journal
        self.name = name
        self._kind = kind
        self._handle = handle
        self._look_s = look_s
        self._read = 0

    async def remember(self) -> None:
        """Come back to where an earlier process left off. Raises JournalError."""
        if position := await self._journal.memory(self.name, POSITION):
            self._read, _ = position
        else:
            await self._reach(self._journal.last)

    async def follow(self) -> None:
        """Hand over events for ever."""
        while True:
            try:
                await self._follow()
            except JournalError as error:
                log.warning("the journal cannot be followed", follower=self.name, reason=error.reason)
                await asyncio.sleep(self._look_s)

    async def _follow(self) -> None:
        newest = self._journal.last
        events = await self._journal.after(self._read, only=self._kind)
        for seq, event in events:
            try:
                await self._handle(event)
            except JournalError:
                raise
            except Exception:  # a bug with one event must not hold up all that follow
                log.exception("an event could not be acted on", follower=self.name, seq=seq)
            await self._reach(seq)
        if not events:
            self._read = max(self._read, newest)
            await self._journal.wait_beyond(newest, within_s=self._look_s)

    async def _reach(self, seq: int) -> None:
        self._read = seq
        await self._journal.remember(self.name, POSITION, seq, {})

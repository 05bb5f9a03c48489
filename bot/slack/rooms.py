"""When each room is seen to: at the start, when there is news of it, and again while something is to be found out.

Several processes may share a journal. Each keeps the rooms that it met, and takes over those of a dead one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime

import structlog

from bot.errors import DeliveryFailed, JournalError
from bot.journal import Journal
from bot.model import (
    Accepted,
    ApprovalAsked,
    ApprovalRuled,
    Event,
    Finished,
    Heard,
    Joined,
    Linked,
    Met,
    Moved,
    Place,
    Reported,
    Settled,
    Shown,
    approval_key,
    room_id,
)
from bot.slack.keeper import NAME, Keeper
from bot.story import story
from bot.tasks import Tasks

PAUSE_S = 2.0  # between two looks at one room, so that edits of its messages are few
LATER_S = 10.0  # between two looks for what other processes wrote, and before a sick journal is tried again
ROOMS_AT_ONCE = 8

log = structlog.get_logger()


class Rooms:
    """Lets *keeper* see to the rooms that are this process's. *is_gone* knows of an owner that its process is dead."""

    def __init__(
        self,
        journal: Journal,
        keeper: Keeper,
        *,
        now: Callable[[], datetime],
        is_gone: Callable[[str], bool] = lambda _: False,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._journal = journal
        self._keeper = keeper
        self._now = now
        self._is_gone = is_gone
        self._pause_s = pause_s
        self._tasks = Tasks(lambda name, error: log.error("a room is not kept", task=name, exc_info=error))
        self._news: dict[str, asyncio.Event] = {}  # of rooms with a worker
        self._troubles: dict[str, str] = {}
        self._places = asyncio.Semaphore(ROOMS_AT_ONCE)
        self._read = 0
        self._inherited_at = 0.0

    async def start(self) -> None:
        """Go on with every room that is ours or was a dead process's, and follow the journal. Raises JournalError."""
        self._read = self._journal.last
        for room in await self._ours():
            self._wake(room)
        await self._inherit()
        self._tasks.start(self._follow(), name="follow rooms")

    async def close(self) -> None:
        """Stop; what is undone is done after the next start."""
        await self._tasks.cancel(within_s=5.0)

    def untold(self) -> dict[str, str]:
        """Why something could not be told yet: "rooms room" → the reason."""
        return {f"{NAME} {room}": reason for room, reason in self._troubles.items()}

    async def _follow(self) -> None:
        while True:
            try:
                await self._follow_on()
            except JournalError as error:
                log.warning("the journal cannot be followed", reason=error.reason)
                await asyncio.sleep(LATER_S)

    async def _follow_on(self) -> None:
        newest = self._journal.last
        events = await self._journal.after(self._read)
        for seq, event in events:
            for room in await self._concerned(event):
                self._wake(room)
            self._read = seq
        if not events:
            await self._journal.wait_beyond(newest, within_s=LATER_S)
        if asyncio.get_running_loop().time() - self._inherited_at > LATER_S:
            await self._inherit()

    async def _inherit(self) -> None:
        """Take over the rooms of processes that have died."""
        self._inherited_at = asyncio.get_running_loop().time()
        for room, (_, holder) in (await self._journal.rooms()).items():
            if holder.owner == self._journal.owner or not holder.is_dead(self._now(), self._is_gone):
                continue
            if await self._journal.claim_room(room, holder.owner):
                self._wake(room)

    async def _concerned(self, event: Event) -> list[str]:
        """The rooms of ours that *event* is news of."""
        match event:
            case Met(place=place):
                return await self._ours(room=room_id(place.channel, place.thread_ts))
            case Settled(room=room):
                return await self._ours(room=room)
            case Linked(channel=channel):
                return await self._ours(room=channel)
            case Accepted(capture=capture):
                return await self._of(capture.id, capture.place)
            case Joined(place=place) | Shown(place=place):
                return await self._of(event.capture_id, place)
            case Finished() | Moved() | Reported():
                told = story(await self._journal.events(event.capture_id))
                return await self._of(event.capture_id, told.capture.place if told else None)
            case ApprovalRuled(approval_id=approval_id):
                asked = await self._journal.keyed(f"{approval_key(approval_id)}asked")
                place = asked.trigger.place if isinstance(asked, ApprovalAsked) else None
                return await self._ours(room=room_id(place.channel, place.thread_ts)) if place else []
            case Heard(call=call):
                return await self._ours(incident=call.incident)
            case _:
                return []

    async def _of(self, capture_id: str, place: Place | None) -> list[str]:
        """Where a capture is offered or listed."""
        rooms: list[str] = []
        for incident in await self._journal.incidents_of(capture_id):
            rooms += await self._ours(incident=incident)
        if place:
            for room in {place.channel, room_id(place.channel, place.thread_ts)}:
                rooms += await self._ours(room=room)
        return rooms

    async def _ours(self, *, room: str | None = None, incident: str | None = None) -> list[str]:
        found = await self._journal.rooms(room=room, incident=incident)
        return [key for key, (_, holder) in found.items() if holder.owner == self._journal.owner]

    def _wake(self, room: str) -> None:
        if room in self._news:
            self._news[room].set()
        else:
            self._news[room] = asyncio.Event()
            self._tasks.start(self._keep(room), name=f"room {room}")

    async def _keep(self, room: str) -> None:
        """See to a room until nothing is left to do."""
        news = self._news[room]
        while True:
            news.clear()
            again_s = await self._see_to(room)
            if again_s is None and not news.is_set():
                break
            await asyncio.sleep(self._pause_s)
            if again_s is not None:
                await self._rest(news, again_s - self._pause_s, in_trouble=room in self._troubles)
        # No await since the last look at the news: whoever comes now starts a new worker.
        del self._news[room]

    async def _rest(self, news: asyncio.Event, seconds: float, *, in_trouble: bool) -> None:
        """Wait, at most until there is news; against trouble no news helps."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0.0)):
                await (asyncio.Event() if in_trouble else news).wait()

    async def _see_to(self, room: str) -> float | None:
        """See to a room; returns when to do so again, None for when there is news."""
        try:
            async with self._places:
                again_s = await self._keeper.see_to(room)
        except DeliveryFailed as trouble:
            self._troubles[room] = f"{trouble.reason} {trouble.cure}".strip()
            log.warning("a room is not kept", room=room, reason=trouble.reason, again=trouble.retry_after)
            return trouble.retry_after
        except JournalError as error:
            self._troubles[room] = error.reason
            return LATER_S
        except Exception:  # a bug with one room must not silence the others; it is tried again when there is news
            log.exception("a room broke", room=room)
            self._troubles[room] = "capturebot could not keep this channel; that is a bug."
            return None
        self._troubles.pop(room, None)
        return again_s

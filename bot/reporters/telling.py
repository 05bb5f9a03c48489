"""Drives reporters from the journal: what changed is told, once, also after a crash or an outage.

Each reporter has a *position*: every event up to it is told. It moves only when nothing is left to
tell, so after a crash some topics are offered again; a reporter that remembers them does nothing.

Several processes may share a journal. Each tells the captures that it accepted, and takes over those
of a dead one, so that no story has two tellers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from bot.errors import DeliveryFailed, JournalError
from bot.journal import Journal
from bot.model import Accepted, Event, Linked, capture_of
from bot.reporters import Reporter
from bot.story import Story, story
from bot.tasks import Tasks

POSITION = ""  # the topic under which a reporter's position is kept
TOPICS_AT_ONCE = 8  # deliveries under way at the same time, per reporter
LOOK_S = (
    10.0  # between two looks for what other processes wrote or left behind, and before a sick journal is tried again
)

log = structlog.get_logger()


class Teller:
    """Tells the journal's stories through reporters. `start` once, `settle` and `close` at the end.

    *is_gone* knows of an owner's name that its process is dead; see `Holder.is_dead`.
    """

    def __init__(
        self,
        journal: Journal,
        reporters: Sequence[Reporter],
        *,
        is_gone: Callable[[str], bool] = lambda _: False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        look_s: float = LOOK_S,
    ) -> None:
        async def other_teller(capture_id: str) -> str | None:
            holder = await journal.holder(capture_id)
            if holder.owner == journal.owner:
                return None
            # One without an end is first given that, by whoever then is its holder.
            if holder.ended and holder.is_dead(now(), is_gone) and await journal.claim(capture_id, holder.owner):
                return None
            return holder.owner

        self._tasks = Tasks(lambda name, error: log.error("teller died", task=name, exc_info=error))
        self._voices = [_Voice(journal, reporter, self._tasks, other_teller, look_s) for reporter in reporters]

    async def start(self) -> None:
        """Begin to follow the journal; whatever is appended from now on is told."""
        for voice in self._voices:
            await voice.remember()
            self._tasks.start(voice.follow(), name=f"follow {voice.name}")

    async def settle(self, within_s: float) -> bool:
        """Wait until all is told; False when something still is not after *within_s* seconds."""
        try:
            async with asyncio.timeout(within_s):
                for voice in self._voices:
                    await voice.settled()
        except TimeoutError:
            return False
        return True

    def untold(self) -> dict[str, str]:
        """Why something could not be told yet: "reporter topic" → the reason."""
        return {f"{voice.name} {topic}": reason for voice in self._voices for topic, reason in voice.troubles.items()}

    async def close(self) -> None:
        """Stop telling; what is untold is told after the next start."""
        await self._tasks.cancel(within_s=5.0)


@dataclass(frozen=True, slots=True)
class _Again:
    """Deliver once more after *after_s* seconds; *soon* when news may come before that."""

    after_s: float
    soon: bool


class _Voice:
    """One reporter with its position and its topics.

    *other_teller* names the living process that tells a capture; None when it is ours, or is from now on.
    """

    def __init__(
        self,
        journal: Journal,
        reporter: Reporter,
        tasks: Tasks,
        other_teller: Callable[[str], Awaitable[str | None]],
        look_s: float,
    ) -> None:
        self.name = reporter.name
        self.troubles: dict[str, str] = {}
        self._journal = journal
        self._reporter = reporter
        self._tasks = tasks
        self._other_teller = other_teller
        self._look_s = look_s
        self._others: dict[str, tuple[int, str]] = {}  # process → the first event that is its to tell, and whose
        self._dirty: dict[str, asyncio.Event] = {}  # topics with a worker
        self._incidents: dict[str, bool] = {}  # topics that are an incident
        self._read = 0
        self._places = asyncio.Semaphore(TOPICS_AT_ONCE)
        self._quiet = asyncio.Condition()

    async def remember(self) -> None:
        """Come back to where an earlier process left off."""
        if position := await self._journal.memory(self.name, POSITION):
            self._read, _ = position
        else:  # a reporter that is new here does not tell old stories
            self._read = self._journal.last
            await self._journal.remember(self.name, POSITION, self._read, {})

    async def follow(self) -> None:
        """Read the journal for ever; every event makes its topic dirty."""
        while True:
            try:
                await self._follow()
            except JournalError as error:
                log.warning("the journal cannot be followed", reporter=self.name, reason=error.reason)
                await asyncio.sleep(self._look_s)

    async def settled(self) -> None:
        """Return when every event of the journal is told."""
        async with self._quiet:
            await self._quiet.wait_for(lambda: self._read >= self._journal.last and not self._dirty)

    async def _follow(self) -> None:
        for seq, event in await self._journal.after(self._read):
            await self._mark(seq, event)
            self._read = seq
        await self._rest()
        if self._read >= self._journal.last:
            await self._journal.wait_beyond(self._read, within_s=self._look_s)
            await self._inherit()

    async def _inherit(self) -> None:
        """Go back to where the stories of processes begin that have died."""
        for other, (seq, capture_id) in tuple(self._others.items()):
            if await self._other_teller(capture_id) != other:
                del self._others[other]
                self._read = min(self._read, seq - 1)

    async def _mark(self, seq: int, event: Event) -> None:
        if isinstance(event, Linked):
            for one in await self._journal.of_incident(event.incident):
                await self._mark_capture(seq, one)
        elif capture_id := capture_of(event):
            await self._mark_capture(seq, capture_id)

    async def _mark_capture(self, seq: int, capture_id: str) -> None:
        events = await self._journal.events(capture_id)
        if not events or not isinstance(events[0], Accepted):
            return
        incidents = await self._journal.incidents_of(capture_id)
        told = {self._reporter.topic(events[0].capture, incident) for incident in incidents or (None,)}
        topics = [topic for topic in told if topic is not None]
        if not topics:
            return
        if other := await self._other_teller(capture_id):
            self._others.setdefault(other, (seq, capture_id))
            return
        for topic in topics:
            self._mark_topic(topic, of_incident=topic in incidents)

    def _mark_topic(self, topic: str, *, of_incident: bool) -> None:
        self._incidents[topic] = of_incident
        if topic in self._dirty:
            self._dirty[topic].set()
        else:
            self._dirty[topic] = asyncio.Event()
            self._dirty[topic].set()
            self._tasks.start(self._tell(topic), name=f"tell {self.name} {topic}")

    async def _tell(self, topic: str) -> None:
        """Deliver a topic until all of it is told."""
        news = self._dirty[topic]
        while True:
            news.clear()
            again = await self._deliver(topic)
            if again is None and not news.is_set():
                break
            await asyncio.sleep(self._reporter.pause_s if again is None or again.soon else again.after_s)
            if again and again.soon:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(again.after_s - self._reporter.pause_s):
                        await news.wait()
        # No await since the last look at the news: whoever comes now starts a new worker.
        del self._dirty[topic], self._incidents[topic]
        await self._rest()

    async def _deliver(self, topic: str) -> _Again | None:
        try:
            async with self._places:
                told_up_to = self._read
                _, memory = await self._journal.memory(self.name, topic) or (0, {})
                delivery = await self._reporter.deliver(topic, await self._stories(topic), memory)
                if delivery.events:
                    await self._journal.append(*delivery.events)
                await self._journal.remember(self.name, topic, told_up_to, delivery.memory)
        except DeliveryFailed as failure:
            self.troubles[topic] = failure.reason
            log.warning("not told", reporter=self.name, topic=topic, reason=failure.reason, again=failure.retry_after)
            return None if failure.retry_after is None else _Again(failure.retry_after, soon=False)
        except JournalError as error:
            log.warning("not told", reporter=self.name, topic=topic, reason=error.reason)
            return _Again(self._look_s, soon=False)
        except Exception:  # a bug in one story must not silence the others; it is tried again when there is news
            log.exception("reporter broke", reporter=self.name, topic=topic)
            self.troubles[topic] = "capturebot could not word this story; that is a bug."
            return None
        self.troubles.pop(topic, None)
        return None if delivery.again_after_s is None else _Again(delivery.again_after_s, soon=True)

    async def _stories(self, topic: str) -> list[Story]:
        ids = await self._journal.of_incident(topic) if self._incidents[topic] else [topic]
        folded = [story(await self._journal.events(capture_id)) for capture_id in ids]
        return [one for one in folded if one is not None]

    async def _rest(self) -> None:
        """Keep the position when nothing is left to tell; what others have to tell stays behind it."""
        if not self._dirty:
            position = min([self._read, *(seq - 1 for seq, _ in self._others.values())])
            try:
                await self._journal.remember(self.name, POSITION, position, {})
            except JournalError as error:
                log.warning("the position is not kept", reporter=self.name, reason=error.reason)
        async with self._quiet:
            self._quiet.notify_all()

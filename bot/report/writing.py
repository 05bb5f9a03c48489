"""Writes the report of an incident or a channel into the store: when it is asked for, and when PagerDuty says resolved."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime

import structlog

from bot.errors import StoreError, UserError
from bot.journal import Journal
from bot.model import Artifact, Event, Heard, Person, Reported
from bot.redact import Mask
from bot.report import markdown
from bot.stores import Store
from bot.story import Story, story

CAPTURES_AT_MOST = 500  # the newest, in one report or index
RESOLVED = "incident.resolved"
TRIES = 4  # of writing a report that nobody waits for
AGAIN_S = 15.0  # between them
CHUNK_CHARS = 64 * 1024

log = structlog.get_logger()


async def stories_of(journal: Journal, *, channel: str | None, incident: str | None) -> list[Story]:
    """What was captured in a channel and for an incident, oldest first. Raises JournalError."""
    ids = set(await journal.recent(channel=channel, most=CAPTURES_AT_MOST)) if channel else set()
    ids |= set(await journal.of_incident(incident)) if incident else set()
    told = [story(await journal.events(one)) for one in ids]
    return sorted((one for one in told if one), key=lambda one: one.capture.at)[-CAPTURES_AT_MOST:]


class Reports:
    """Writes reports. *mask* takes known secrets out of a text: titles come from outside, and were not redacted."""

    def __init__(
        self,
        journal: Journal,
        store: Store,
        *,
        prefix: str,
        mask: Mask,
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._journal = journal
        self._store = store
        self._prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self._mask = mask
        self._now = now
        self._sleep = sleep

    async def write(
        self,
        *,
        channel: str | None = None,
        incident: str | None = None,
        key: str | None = None,
        who: Person | None = None,
    ) -> Artifact:
        """Write the report, and link it where the story of its newest capture is told; with a *key*, once. *who* asked for it.

        Raises UserError where there is nothing to report, StoreError and JournalError.
        """
        incident = incident or (await self._journal.incident_of(channel) if channel else None)
        stories = await stories_of(self._journal, channel=channel, incident=incident)
        if not stories:
            raise UserError("Nothing was captured here yet.", cure="`/capture help` says how.")
        at = self._now()
        text = self._mask(markdown(stories, title=await self._title(channel, incident), at=at), incident or "")
        name = re.sub(r"[^A-Za-z0-9_-]", "-", incident or channel or "report")
        artifact = await self._store.put(
            f"{self._prefix}{at:%Y/%m/%d}/{incident or 'adhoc'}/report-{name}.md",
            _chunks(text),
            content_type="text/markdown; charset=utf-8",
        )
        await self._journal.accept(
            Reported(capture_id=stories[-1].capture.id, artifact=artifact, key=key, who=who, at=at)
        )
        return artifact

    async def hear(self, event: Event) -> None:
        """Write the report of an incident that was resolved; again without harm. Raises JournalError."""
        if not isinstance(event, Heard) or event.call.what != RESOLVED:
            return
        key = f"report {event.call.id}"
        for tried in range(1, TRIES + 1):
            if await self._journal.keyed(key):
                return
            try:
                artifact = await self.write(incident=event.call.incident, key=key)
            except UserError:  # nothing was captured
                return
            except StoreError as error:
                log.warning("a report is not written", incident=event.call.incident, tried=tried, reason=error.reason)
                if tried < TRIES:
                    await self._sleep(AGAIN_S)
            else:
                log.info("a report", incident=event.call.incident, url=artifact.url)
                return

    async def _title(self, channel: str | None, incident: str | None) -> str:
        standing = await self._journal.standing(incident) if incident else None
        if standing:
            return f"{standing.last.title} (PagerDuty incident {incident})"
        rooms = await self._journal.rooms(room=channel) if channel else {}
        title = next((room.title or f"#{room.place.channel_name}" for room, _ in rooms.values()), "")
        return f"{title} (PagerDuty incident {incident})".strip() if incident else title or f"channel {channel}"


async def _chunks(text: str) -> AsyncIterator[bytes]:
    for start in range(0, len(text), CHUNK_CHARS):
        yield text[start : start + CHUNK_CHARS].encode()

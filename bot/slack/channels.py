"""What Slack tells of channels: which of them become rooms. A room is in the journal before Slack's event is acknowledged."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime
from typing import Any

import structlog
from slack_bolt.async_app import AsyncApp, AsyncBoltContext

from bot.announcing import TEXT_CHARS, incidents_in, is_incident_channel, service_of_text
from bot.journal import Journal
from bot.model import Met, Place, Service, Settled
from bot.slack.intake import done
from bot.slack.lookout import Lookout

log = structlog.get_logger()


class Channels:
    """Meets rooms. Without services there is nothing to offer in one, and none is met.

    *announcements* are ids of channels in which other tools announce incidents.
    """

    def __init__(
        self,
        journal: Journal,
        lookout: Lookout,
        *,
        services: Mapping[str, Service],
        announcements: Collection[str],
        now: Callable[[], datetime],
    ) -> None:
        self._journal = journal
        self._lookout = lookout
        self._services = services
        self._announcements = announcements
        self._now = now

    def listen(self, app: AsyncApp) -> None:
        """Hear of channels that open and of what is said in channels of announcements."""

        async def keep(event: dict[str, Any], context: AsyncBoltContext, next_: Callable[[], Awaitable[None]]) -> None:
            await self.hear(event, me=context.bot_user_id or "")
            await next_()

        app.event("channel_created", middleware=[keep])(done)
        app.event("channel_rename", middleware=[keep])(done)
        app.event("group_rename", middleware=[keep])(done)
        app.event("member_joined_channel", middleware=[keep])(done)
        app.event("message", middleware=[keep])(done)

    async def hear(self, event: Mapping[str, Any], *, me: str) -> None:
        """Meet the room that an event tells of, if any; *me* is the bot's own user.

        Raises JournalError and DeliveryFailed, and Slack then tells again.
        """
        match event.get("type"):
            case "message":
                await self._said(event)
            case "member_joined_channel":
                if event.get("user") == me:  # everybody else's coming is told, too
                    await self._joined(str(event["channel"]))
            case _:
                await self._named(str(event["channel"]["id"]), str(event["channel"].get("name") or ""))

    async def _joined(self, channel: str) -> None:
        if self._services and channel not in self._announcements:
            await self._named(channel, await self._lookout.name(channel))

    async def _said(self, event: Mapping[str, Any]) -> None:
        channel, ts = str(event.get("channel")), str(event.get("ts"))
        if channel not in self._announcements or not event.get("bot_id") or event.get("thread_ts", ts) != ts:
            return
        text = json.dumps([event.get(part) for part in ("text", "blocks", "attachments")], ensure_ascii=False)
        if self._services and (incidents_in([text]) or service_of_text(text, self._services)):
            place = Place(channel=channel, thread_ts=ts)
            new = await self._journal.accept(Met(place=place, at=self._now(), text=text[:TEXT_CHARS]))
            log.info("an announcement", channel=channel, ts=ts, new=new)

    async def _named(self, channel: str, name: str) -> None:
        if not self._services or channel in self._announcements:
            return
        if found := (await self._journal.rooms(room=channel)).get(channel):
            room, _ = found
            if name not in ("", room.place.channel_name):
                await self._journal.append(Settled(room=channel, at=self._now(), name=name))
        elif is_incident_channel(name, self._services.values()):
            new = await self._journal.accept(Met(place=Place(channel=channel, channel_name=name), at=self._now()))
            log.info("an incident's channel", channel=channel, name=name, new=new)

"""Goes into an incident's channel and finds out which incident it is about."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.announcing import Facts, incidents_in, is_named_after, number_in, service_of_incident
from bot.errors import DeliveryFailed, UserError
from bot.journal import Journal
from bot.model import Room, Service, Settled
from bot.reporters.slack import failure

MESSAGES_READ = 15  # the first of a channel; tools say there what it is about
RESOLVED = "resolved"
AGAIN_S = 5.0  # after an answer that never came
TOO_MANY, BROKEN = 429, 500  # statuses that pass by themselves

log = structlog.get_logger()


class Incident(Protocol):
    """An incident as PagerDuty answers."""

    @property
    def id(self) -> str:
        """Its id, e.g. PABC123."""

    @property
    def number(self) -> int:
        """Its number."""

    @property
    def title(self) -> str:
        """Its title."""

    @property
    def status(self) -> str:
        """Whether it is resolved."""

    @property
    def resolved_at(self) -> datetime | None:
        """Since when it is; None where it is not, or PagerDuty does not say."""

    @property
    def html_url(self) -> str:
        """The address of its page."""

    @property
    def service(self) -> str:
        """The id of its service."""


class Incidents(Protocol):
    """Where incidents are looked up."""

    async def incident(self, reference: str) -> Incident:
        """Find one by id, number or address. Raises UserError where there is none; DeliveryFailed."""


class Dedicated(Protocol):
    """Where it is known which incident a channel was made for."""

    async def incident_of(self, channel: str) -> Incident | None:
        """The incident, if any. Raises DeliveryFailed."""


class Lookout:
    """Looks at rooms; *incidents* is None where PagerDuty is not set up, *dedicated* where it may not be asked that."""

    def __init__(
        self,
        client: AsyncWebClient,
        journal: Journal,
        *,
        incidents: Incidents | None,
        services: Mapping[str, Service],
        now: Callable[[], datetime],
        dedicated: Dedicated | None = None,
    ) -> None:
        self._dedicated = dedicated
        self._client = client
        self._journal = journal
        self._incidents = incidents
        self._services = services
        self._now = now

    async def name(self, channel: str) -> str:
        """What a channel is called, that the bot can see; "" where it cannot be asked. Raises DeliveryFailed."""
        about = (await self._read(self._client.conversations_info, channel=channel)).get("channel", {})
        return str(about.get("name") or "")

    async def enter(self, room: Room) -> str:
        """Join the channel where that is possible, and return its name; into a private one the bot was invited.

        Raises DeliveryFailed.
        """
        try:
            answer = await self._call(self._client.conversations_join, channel=room.place.channel)
        except SlackApiError as error:
            if error.response.get("error") != "method_not_supported_for_channel_type":
                raise failure(error) from error
            return await self.name(room.place.channel)
        return str(answer["channel"].get("name") or "")

    async def look(self, room: Room) -> Settled | None:
        """What can be found out that *room* does not have; None where that is nothing. Raises DeliveryFailed."""
        if (facts := await self._facts(room)) is None:
            return None
        found = Settled(
            room=room.id,
            at=self._now(),
            incident=facts.id,
            title=facts.title,
            url=facts.url,
            service="" if room.service else service_of_incident(facts, self._services),
        )
        return None if room.settled(found) == room else found

    async def _facts(self, room: Room) -> Facts | None:
        if room.place.thread_ts:
            return await self._first(incidents_in([room.text]))
        if linked := await self._journal.incident_of(room.place.channel):
            return await self._known(linked) or Facts(id=linked, number=0, title="", url="", service="", is_open=True)
        if facts := await self._made_for(room):
            return facts
        if facts := await self._first(incidents_in(await self._words(room))):
            return facts
        if (number := number_in(room.place.channel_name)) and (facts := await self._known(number)):
            return facts if is_named_after(room.place.channel_name, facts, self._services) else None
        return None

    async def _made_for(self, room: Room) -> Facts | None:
        """The incident that PagerDuty itself made the channel for."""
        try:
            found = await self._dedicated.incident_of(room.place.channel) if self._dedicated else None
        except DeliveryFailed as refused:  # there are other ways to find it out
            log.warning("PagerDuty does not say whose channel it is", channel=room.place.channel, reason=refused.reason)
            return None
        return _facts_of(found) if found else None

    async def _first(self, references: list[str]) -> Facts | None:
        for reference in references:
            if facts := await self._known(reference):
                return facts
        return None

    async def _known(self, reference: str) -> Facts | None:
        """What PagerDuty told by itself of an incident, or answers now."""
        if standing := await self._journal.standing(reference):
            call = standing.last
            return Facts(
                id=call.incident,
                number=call.number,
                title=call.title,
                url=call.url,
                service=call.service,
                is_open=standing.is_open,
            )
        if self._incidents is None:
            return None
        try:
            return _facts_of(await self._incidents.incident(reference))
        except UserError:
            return None

    async def _words(self, room: Room) -> list[str]:
        """What stands over the channel, in its bookmarks and in its first messages, as far as the bot may read it."""
        channel = room.place.channel
        about = (await self._read(self._client.conversations_info, channel=channel)).get("channel", {})
        said = await self._read(self._client.conversations_history, channel=channel, limit=MESSAGES_READ)
        marked = await self._read(self._client.bookmarks_list, channel_id=channel)
        words = [about.get(name, {}).get("value", "") for name in ("topic", "purpose")]
        found = (marked.get("bookmarks", []), said.get("messages", []))
        return [*words, *(json.dumps(one, ensure_ascii=False) for one in found)]

    async def _read(self, method: Any, **arguments: Any) -> Any:
        """What *method* answers; nothing where Slack does not let the bot see it."""
        try:
            return await self._call(method, **arguments)
        except SlackApiError as error:
            if error.response.status_code == TOO_MANY or error.response.status_code >= BROKEN:
                raise failure(error) from error
            log.warning("a channel cannot be read", method=method.__name__, reason=error.response.get("error"))
            return {}

    async def _call(self, method: Any, **arguments: Any) -> Any:
        try:
            return await method(**arguments)
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError) as error:
            why = f"Slack did not answer ({type(error).__name__})."
            raise DeliveryFailed(why, retry_after=AGAIN_S) from error


def _facts_of(incident: Incident) -> Facts:
    return Facts(
        id=incident.id,
        number=incident.number,
        title=incident.title,
        url=incident.html_url,
        service=incident.service,
        is_open=incident.status != RESOLVED,
    )

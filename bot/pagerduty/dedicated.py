"""Which incident a Slack channel was made for, as PagerDuty's own Slack integration knows it.

Facts: github.com/PagerDuty/api-schema, reference/integration-slack-service. It answers which channel an incident has, not the
other way round, and only to the token of a user who is owner or global admin; so the newest open incidents are asked about.
"""

from __future__ import annotations

from urllib.parse import quote

import httpx
from pydantic import BaseModel

from bot.pagerduty.answers import Incident, IncidentShape, Refused
from bot.pagerduty.client import PagerDutyClient

ASKED_ABOUT = 15  # incidents; one that a channel just opened for is among the newest
_OPEN = f"/incidents?statuses%5B%5D=triggered&statuses%5B%5D=acknowledged&sort_by=created_at%3Adesc&limit={ASKED_ABOUT}"


class _Incidents(BaseModel):
    incidents: list[IncidentShape]


class _Channel(BaseModel):
    id: str


class _Answer(BaseModel):
    channel: _Channel


class DedicatedChannels:
    """Asks with a token of its own, *user*'s."""

    def __init__(self, api: PagerDutyClient, user: PagerDutyClient) -> None:
        self._api = api
        self._user = user

    async def incident_of(self, channel: str) -> Incident | None:
        """The open incident that a channel is dedicated to, if any. Raises DeliveryFailed."""
        found = await self._api.call("GET", _OPEN, _Incidents, about="incidents")
        for shape in found.incidents:
            incident = shape.plain
            if await self._channel_of(incident.id) == channel:
                return incident
        return None

    async def _channel_of(self, incident: str) -> str | None:
        path = f"/integration-slack/incidents/{quote(incident, safe='')}/dedicated_channel"
        try:
            answer = await self._user.call("GET", path, _Answer, about=f"the Slack channel of incident {incident}")
        except Refused as no:
            if no.status == httpx.codes.NOT_FOUND:
                return None
            raise
        return answer.channel.id

"""Which incident a Slack channel was made for, as PagerDuty's own Slack integration knows it.

Facts: github.com/PagerDuty/api-schema, reference/integration-slack-service. It answers which channel an incident has, not the
other way round, and only to the token of a user who is owner or global admin; so the newest open incidents are asked about.
"""

from __future__ import annotations

from urllib.parse import quote

import httpx
from pydantic import BaseModel

from bot.errors import DeliveryFailed
from bot.pagerduty.answers import Incident, IncidentShape, Refused
from bot.pagerduty.client import PagerDutyClient

ASKED_ABOUT = 15  # incidents; one that a channel just opened for is among the newest
NOT_ALLOWED = {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}
OWNERS = "make it as an owner or global admin of the account, in User Settings under My Profile"
_NEWEST = "/incidents?sort_by=created_at%3Adesc&limit=1"
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

    async def check(self) -> list[str]:
        """What `capturebot doctor` says of the user's token: lines of "ok: …" or "fault: … — cure"."""
        try:
            newest = (await self._user.call("GET", _NEWEST, _Incidents, about="incidents", once=True)).incidents
            if not newest:
                return ["ok: pagerduty.user_token is tried with the first incident (there is none yet)"]
            await self._channel_of(newest[0].id, once=True)
        except DeliveryFailed as failure:
            refused = isinstance(failure, Refused) and failure.status in NOT_ALLOWED
            cure = OWNERS if refused else failure.cure
            return [f"fault: pagerduty.user_token: {failure.reason.rstrip('.')}{f' — {cure}' if cure else ''}"]
        return ["ok: pagerduty.user_token is told which Slack channel an incident has"]

    async def _channel_of(self, incident: str, *, once: bool = False) -> str | None:
        path = f"/integration-slack/incidents/{quote(incident, safe='')}/dedicated_channel"
        try:
            about = f"the Slack channel of incident {incident}"
            answer = await self._user.call("GET", path, _Answer, about=about, once=once)
        except Refused as no:
            if no.status == httpx.codes.NOT_FOUND:
                return None
            raise
        return answer.channel.id

"""Webhook subscriptions in PagerDuty: found, made and mended through its REST API.

Facts: the OpenAPI description in github.com/PagerDuty/api-schema (2026-08) and developer.pagerduty.com, "Webhooks V3
Overview". The secret that calls are signed with is shown once, in the answer to the request that makes the subscription.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel

from bot.errors import DeliveryFailed
from bot.pagerduty.answers import Refused
from bot.pagerduty.client import PagerDutyClient
from bot.pagerduty.webhooks import EVENTS

PATH = "/webhook_subscriptions"
AT_MOST = 100  # of one service that are looked at; PagerDuty allows 10
DESCRIPTION = "capturebot: captures evidence when an incident is opened"

Answer = TypeVar("Answer", bound=BaseModel)


class _Method(BaseModel):
    url: str = ""
    secret: str | None = None
    temporarily_disabled: bool = False


class _Filter(BaseModel):
    id: str | None = None
    type: str = ""


class Subscription(BaseModel):
    """What PagerDuty calls, and about what."""

    id: str
    active: bool = True
    events: list[str]
    delivery_method: _Method
    filter: _Filter = _Filter()

    @property
    def missing(self) -> list[str]:
        """Events that the bot needs, and is not called about."""
        return [event for event in EVENTS if event not in self.events]

    @property
    def fault(self) -> str:
        """Why the bot is not called as it should be; "" where it is."""
        if not self.active:
            return "is switched off"
        if self.delivery_method.temporarily_disabled:
            return "is disabled for a day, because calls were refused"
        return f"lacks {', '.join(self.missing)}" if self.missing else ""


class _One(BaseModel):
    webhook_subscription: Subscription


class _All(BaseModel):
    webhook_subscriptions: list[Subscription]


class _Nothing(BaseModel):
    """An answer that is not read."""


class Subscriptions:
    """Those of an account. Methods raise DeliveryFailed."""

    def __init__(self, client: PagerDutyClient) -> None:
        self._client = client

    async def of(self, service: str) -> list[Subscription]:
        """The subscriptions of a service, by its id."""
        query = f"limit={AT_MOST}&filter_type=service&filter_id={quote(service, safe='')}"
        answer = await self._ask("GET", f"{PATH}?{query}", _All)
        return answer.webhook_subscriptions

    async def make(self, service: str, url: str) -> tuple[Subscription, str]:
        """Have *url* called about a service; also returns the secret. Tried once: another try could make a second one."""
        body = {
            "type": "webhook_subscription",
            "description": DESCRIPTION,
            "events": list(EVENTS),
            "filter": {"type": "service_reference", "id": service},
            "delivery_method": {"type": "http_delivery_method", "url": url},
        }
        made = (await self._ask("POST", PATH, _One, body, once=True)).webhook_subscription
        if not (secret := made.delivery_method.secret):
            raise DeliveryFailed(
                f"PagerDuty made subscription {made.id} without showing its secret.", cure="Use --renew."
            )
        return made, secret

    async def mend(self, one: Subscription) -> None:
        """Switch it on and have it called about all that is needed; what it is called about beside that stays."""
        path = f"{PATH}/{quote(one.id, safe='')}"
        if one.missing or not one.active:
            body = {"active": True, "events": sorted({*one.events, *EVENTS})}
            await self._ask("PUT", path, _One, body)
        if one.delivery_method.temporarily_disabled:
            await self._ask("POST", f"{path}/enable", _One)

    async def delete(self, one: Subscription) -> None:
        """Have it call no more, for good."""
        path = f"{PATH}/{quote(one.id, safe='')}"
        await self._ask("DELETE", path, _Nothing)

    async def ping(self, one: Subscription) -> None:
        """Have it call with a test event, soon."""
        path = f"{PATH}/{quote(one.id, safe='')}/ping"
        await self._ask("POST", path, _Nothing)

    async def _ask(
        self, method: str, path: str, shape: type[Answer], body: Mapping[str, Any] | None = None, *, once: bool = False
    ) -> Answer:
        wrapped = {"webhook_subscription": body} if body else None
        try:
            return await self._client.call(method, path, shape, about="webhook subscriptions", body=wrapped, once=once)
        except Refused as no:
            if no.status == httpx.codes.FORBIDDEN:
                no.cure = "Use a key that is not read-only, or give the app webhook_subscriptions.read and .write."
            elif no.status == httpx.codes.NOT_FOUND:
                no.cure = "Somebody deleted it meanwhile: run this again."
            raise


def calling(found: Collection[Subscription], url: str) -> list[Subscription]:
    """Those of *found* that call *url*."""
    return [one for one in found if one.delivery_method.url.rstrip("/") == url.rstrip("/")]

"""PagerDuty's webhooks as it sends them: subscriptions, signatures, retries, and what it does with refusals.

Facts: developer.pagerduty.com, "Webhooks V3 Overview", "Verifying Signatures", and the OpenAPI description. Calls go
to loopback only; another address is treated as one that does not answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from bot.playground.pagerduty_answers import Answer, Ask, Refusal, Reply, body_of, whole
from bot.tasks import Tasks

ANSWER_S = 5.0
RETRY_S = 0.2  # the first wait; the real one is longer, and both double
RETRY_MOST_S = 3600.0
RETRY_FOR_S = 48 * 3600.0
DROPS_TO_DISABLE = 3
SUBSCRIPTIONS_AT_MOST = 10  # of one service
PAGE = 25
PAGE_MOST = 100
CALLS_KEPT = 1000
CLOSE_S = 2.0

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_FILTERS = ("account_reference", "service_reference", "team_reference")


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One delivery that was tried; *status* is 0 where no answer came in time."""

    id: str  # of the delivery: the same over its tries
    what: str
    status: int
    body: bytes
    headers: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class Subscription:
    """What is sent where."""

    shown: dict[str, Any]  # as the API gives it, without the secret
    secrets: list[str]
    dropped: int = 0  # deliveries in a row

    @property
    def wants(self) -> bool:
        """Deliveries are sent now."""
        return bool(self.shown["active"]) and not self.shown["delivery_method"]["temporarily_disabled"]


@dataclass(slots=True)
class Hooks:
    """The subscriptions of one account; *retry_s* is the first wait before another try."""

    retry_s: float = RETRY_S
    tries: deque[Try] = field(default_factory=lambda: deque(maxlen=CALLS_KEPT))
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    _tails: dict[tuple[str, str], asyncio.Task[Any]] = field(default_factory=dict)
    _tasks: Tasks = field(default_factory=lambda: Tasks(_broke))
    _session: aiohttp.ClientSession | None = None

    # --- for whoever runs it ------------------------------------------------------------------

    def subscribe(self, url: str, service: str, *events: str) -> tuple[str, str]:
        """As a person would on the page; returns the subscription's id and its secret."""
        wanted = {
            "type": "webhook_subscription",
            "delivery_method": {"type": "http_delivery_method", "url": url},
            "events": list(events),
            "filter": {"type": "service_reference", "id": service},
        }
        made = self._add(wanted)
        return made.shown["id"], made.secrets[0]

    def tell(self, what: str, data: Mapping[str, Any], *, service: str, who: Mapping[str, Any] | None = None) -> None:
        """Send an event to each subscription that wants it. *service* is the id of the one it is about."""
        event = an_event(what, data, who=who)
        about = str(data.get("incident", data).get("id", ""))
        for one in self.subscriptions.values():
            wanted, of = one.shown["filter"], what in one.shown["events"]
            if of and one.wants and wanted.get("id", service) == service:
                self.send(one, event, about=about)

    def send(self, one: Subscription, event: Mapping[str, Any], *, about: str, delivery: str = "") -> None:
        """Send *event*; those about one incident arrive in order. The same *delivery* twice is a repetition."""
        key = (str(one.shown["id"]), about)
        body = json.dumps({"event": event}).encode()
        work = self._deliver(one, str(event["event_type"]), body, delivery or str(uuid.uuid4()), self._tails.get(key))
        self._tails[key] = self._tasks.start(work, name=f"webhook {about}")

    async def settle(self, within_s: float) -> None:
        """Return once everything is delivered or dropped. Raises TimeoutError."""
        if not await self._tasks.drain(within_s):
            raise TimeoutError("webhooks are still under way")

    async def close(self) -> None:
        """Send nothing more."""
        await self._tasks.cancel(CLOSE_S)
        if self._session:
            await self._session.close()

    # --- sending ------------------------------------------------------------------------------

    async def _deliver(
        self, one: Subscription, what: str, body: bytes, delivery: str, before: asyncio.Task[Any] | None
    ) -> None:
        if before:
            await asyncio.wait({before})
        signatures = [hmac.new(key.encode(), body, hashlib.sha256).hexdigest() for key in one.secrets]
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "PagerDuty-Webhook/V3.0",
            "X-PagerDuty-Signature": ",".join(f"v1={each}" for each in signatures),
            "X-Webhook-Id": delivery,
            "X-Webhook-Subscription": str(one.shown["id"]),
        }
        wait_s, waited_s = self.retry_s, 0.0
        while one.wants and waited_s < RETRY_FOR_S:
            status = await self._post(str(one.shown["delivery_method"]["url"]), body, headers)
            self.tries.append(Try(id=delivery, what=what, status=status, body=body, headers=headers))
            if status and status < HTTPStatus.MULTIPLE_CHOICES:
                one.dropped = 0
                return
            if status and status < HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.TOO_MANY_REQUESTS:
                one.dropped += 1
                one.shown["delivery_method"]["temporarily_disabled"] = one.dropped >= DROPS_TO_DISABLE
                return
            await asyncio.sleep(wait_s)
            waited_s += wait_s
            wait_s = min(2 * wait_s, RETRY_MOST_S)

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        if urlsplit(url).hostname not in _LOOPBACK:
            return 0
        self._session = self._session or aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S))
        try:
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return 0

    # --- answers ------------------------------------------------------------------------------

    def routes(self) -> list[tuple[str, str, Answer]]:
        """Method, path and answer of each operation."""
        path = "/webhook_subscriptions"
        return [
            ("GET", path, self._list),
            ("POST", path, self._create),
            ("GET", path + "/{id}", self._with(lambda one, _: (200, _wrapped(one)))),
            ("PUT", path + "/{id}", self._with(self._update)),
            ("DELETE", path + "/{id}", self._with(self._delete)),
            ("POST", path + "/{id}/enable", self._with(self._enable)),
            ("POST", path + "/{id}/ping", self._with(self._ping)),
        ]

    def _with(self, answer: Callable[[Subscription, Ask], Reply]) -> Answer:
        def look(ask: Ask) -> Reply:
            if (one := self.subscriptions.get(ask.parts["id"])) is None:
                raise Refusal(404, 2100, "Not Found")
            return answer(one, ask)

        return look

    def _list(self, ask: Ask) -> Reply:
        limit = whole(ask, "limit", PAGE, most=PAGE_MOST)
        offset = whole(ask, "offset", 0, most=10_000)
        query = dict(ask.query)
        kind = f"{query['filter_type']}_reference" if "filter_type" in query else None
        found = [
            one.shown
            for one in self.subscriptions.values()
            if kind in (None, one.shown["filter"]["type"])
            and query.get("filter_id", one.shown["filter"].get("id")) == one.shown["filter"].get("id")
        ]
        page = {"limit": limit, "offset": offset, "total": None, "more": offset + limit < len(found)}
        return 200, {"webhook_subscriptions": found[offset : offset + limit], **page}

    def _create(self, ask: Ask) -> Reply:
        wanted = body_of(ask, "webhook_subscription")
        _check(wanted)
        same = [one for one in self.subscriptions.values() if one.shown["filter"] == wanted["filter"]]
        if len(same) >= SUBSCRIPTIONS_AT_MOST:
            raise Refusal(400, 2001, "Invalid Input Provided", "Too many webhook subscriptions")
        made = self._add(wanted)
        shown = _wrapped(made)
        method = {**made.shown["delivery_method"], "secret": made.secrets[0]}
        return 200, {"webhook_subscription": {**shown["webhook_subscription"], "delivery_method": method}}

    def _add(self, wanted: Mapping[str, Any]) -> Subscription:
        name = f"PHOOK{secrets.token_hex(4).upper()}"
        method = {**wanted["delivery_method"], "id": f"PMETHOD{secrets.token_hex(4).upper()}", "secret": None}
        shown = {
            "id": name,
            "active": True,
            "description": "",
            **wanted,
            "delivery_method": {**method, "temporarily_disabled": False, "custom_headers": []},
        }
        made = Subscription(shown=shown, secrets=[secrets.token_hex(32)])
        self.subscriptions[name] = made
        return made

    def _update(self, one: Subscription, ask: Ask) -> Reply:
        changes = {key: value for key, value in body_of(ask, "webhook_subscription").items() if key != "type"}
        method = {**one.shown["delivery_method"], **changes.pop("delivery_method", {})}
        changed = {**one.shown, **changes, "delivery_method": method}
        _check(changed)
        one.shown = changed
        return 200, _wrapped(one)

    def _delete(self, one: Subscription, _: Ask) -> Reply:
        del self.subscriptions[one.shown["id"]]
        return 204, None

    def _enable(self, one: Subscription, _: Ask) -> Reply:
        one.shown["delivery_method"]["temporarily_disabled"] = False
        one.dropped = 0
        return 200, _wrapped(one)

    def _ping(self, one: Subscription, _: Ask) -> Reply:
        data = {"message": "Hello from your friend Pagey!", "type": "ping"}
        self.send(one, an_event("pagey.ping", data), about="ping")
        return 202, None


def an_event(
    what: str, data: Mapping[str, Any], *, who: Mapping[str, Any] | None = None, at: datetime | None = None
) -> dict[str, Any]:
    """An event as it stands in a call's body; it happens now, or *at* another time."""
    return {
        "id": f"01{secrets.token_hex(12).upper()}",
        "event_type": what,
        "resource_type": what.partition(".")[0],
        "occurred_at": (at or datetime.now(UTC)).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "agent": who,
        "client": None,
        "data": data,
    }


def _wrapped(one: Subscription) -> dict[str, Any]:
    return {"webhook_subscription": one.shown}


def _check(wanted: Mapping[str, Any]) -> None:
    events, method, chosen = wanted.get("events"), wanted.get("delivery_method"), wanted.get("filter")
    faults = []
    if not isinstance(events, list) or not events or not all(isinstance(one, str) and "." in one for one in events):
        faults.append("Events must be a list of event types")
    if not isinstance(method, dict) or not str(method.get("url", "")).startswith(("https://", "http://127.0.0.1")):
        faults.append("Delivery method must have an https URL")
    if not isinstance(chosen, dict) or chosen.get("type") not in _FILTERS:
        faults.append("Filter type is not known")
    elif chosen["type"] != "account_reference" and not chosen.get("id"):
        faults.append("Filter must have an id")
    if faults:
        raise Refusal(400, 2001, "Invalid Input Provided", *faults)


def _broke(name: str, error: BaseException) -> None:
    raise AssertionError(f"{name} of the stand-in broke") from error

"""A stand-in for PagerDuty's REST API, as strict as the real one as far as incidents and notes go.

It keeps incidents, notes and one user in memory, on loopback, and fails on demand. Limits, headers,
codes and bodies follow the OpenAPI description in github.com/PagerDuty/api-schema (2026-08),
developer.pagerduty.com ("Rate Limiting", "Errors") and messages quoted in public issue trackers.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from bot.playground import pagerduty_page
from bot.playground.pagerduty_account import Account
from bot.playground.pagerduty_answers import Answer, Ask, Refusal

REQUESTS_PER_MINUTE = 960
CALLS_KEPT = 10_000
FAREWELL_S = 1.0  # for open connections when the stand-in ends

_ACCEPT = "application/vnd.pagerduty+json;version=2"
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request as it came, and how it was answered; *status* is 0 where no answer went out."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    status: int
    answer: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong with one request.

    It is answered with *status* and *headers* and no body; without a status the connection breaks
    where *reset* says so, else it hangs until the stand-in ends.
    """

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    reset: bool = False
    after: bool = False  # the request takes effect before it goes wrong
    method: str = ""  # only a request of this method; any where empty


class PagerDutyStandIn(Account):
    """An account served on loopback, inside ``async with``. *clock* is in seconds and drives the request limit."""

    def __init__(
        self,
        *,
        token: str = "",
        sender: str = "oncall-bot@example.com",
        port: int = 0,
        requests_per_minute: int = REQUESTS_PER_MINUTE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(sender)
        self.token = token or secrets.token_hex(10)
        self.calls: deque[Call] = deque(maxlen=CALLS_KEPT)
        self.wrong_region = False  # every token is refused, as by the other region's host
        self.read_only = False  # the token may not write
        self.requests_per_minute = requests_per_minute
        self.most_at_once = 0  # requests seen under way together
        self._under_way = 0
        self._port = port
        self._clock = clock
        self._faults: list[Fault] = []
        self._minute_began = -math.inf
        self._requests = 0  # in this minute
        self._changed = asyncio.Condition()
        self._ending = asyncio.Event()

    async def __aenter__(self) -> Self:
        app = web.Application()
        for method, path, answer in self.routes():
            app.router.add_route(method, path, self._api(answer))
        app.router.add_get("/view/incidents/{id}", self._page)
        app.router.add_route("*", "/{rest:.*}", self._api(self.nothing_here))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=FAREWELL_S, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self.api_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ending.set()
        await self.hooks.close()
        await self._runner.cleanup()

    # --- for whoever runs it ------------------------------------------------------------------

    def fail(self, *faults: Fault) -> None:
        """Let the next requests go wrong, one fault each."""
        self._faults.extend(faults)

    async def wait_for(self, predicate: Callable[[], bool], within_s: float) -> None:
        """Return once *predicate* holds; it is asked after each request. Raises TimeoutError."""
        async with asyncio.timeout(within_s), self._changed:
            await self._changed.wait_for(predicate)

    def view(self, only: str = "") -> str:
        """The incidents with their notes as an HTML fragment, newest first; *only* the one of that id."""
        shown = [one for one in self.incidents() if only in ("", one["id"])]
        return pagerduty_page.fragment([(one, self.notes(one["id"])) for one in reversed(shown)])

    # --- one request --------------------------------------------------------------------------

    def _api(self, answer: Answer) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def serve(request: web.Request) -> web.Response:
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)
            try:
                return await self._serve(request, answer)
            finally:
                self._under_way -= 1

        return serve

    async def _serve(self, request: web.Request, answer: Answer) -> web.Response:
        ask = Ask(
            method=request.method,
            path=request.path,
            parts=request.match_info,
            query=tuple(request.query.items()),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.read(),
        )
        fault = next((fault for fault in self._faults if fault.method in ("", ask.method)), None)
        status, body, headers = self._evaluate(ask, answer) if not fault or fault.after else (0, None, {})
        if fault:
            self._faults.remove(fault)
            status, body, headers = fault.status, None, fault.headers
        call = Call(
            method=ask.method,
            path=request.path,
            query=ask.query,
            headers=ask.headers,
            body=ask.body,
            status=status,
            answer=body,
        )
        self.calls.append(call)
        async with self._changed:
            self._changed.notify_all()
        if fault and not status:
            await self._break(request, fault)
        text = None if body is None else json.dumps(body)
        return web.Response(status=status or 503, text=text, headers=headers, content_type="application/json")

    async def _break(self, request: web.Request, fault: Fault) -> None:
        if fault.reset:
            if request.transport:
                request.transport.abort()
        else:
            await self._ending.wait()

    def _evaluate(self, ask: Ask, answer: Answer) -> tuple[int, Any, Mapping[str, str]]:
        limits: dict[str, str] = {}
        try:
            self._authenticate(ask)
            self._count(limits)
            self._check_headers(ask)
            status, body = answer(ask)
        except Refusal as no:
            status, body = no.status, no.body
        return status, body, limits

    def _authenticate(self, ask: Ask) -> None:
        good = f"Bearer {self.token}" if self.token.startswith("pdus+") else f"Token token={self.token}"
        given = ask.headers.get("authorization", "").encode()
        known = (good, f"Token token={self.user_token}")
        if self.wrong_region or not any(secrets.compare_digest(given, one.encode()) for one in known):
            raise Refusal(401, 2006, "Authentication failed")

    def _count(self, limits: dict[str, str]) -> None:
        """Count the request and put the limit's headers into *limits*; they come with a refusal too."""
        now = self._clock()
        if now - self._minute_began >= 60:
            self._minute_began, self._requests = now, 0
        self._requests += 1
        limits["ratelimit-limit"] = str(self.requests_per_minute)
        limits["ratelimit-remaining"] = str(max(self.requests_per_minute - self._requests, 0))
        limits["ratelimit-reset"] = str(math.ceil(60 - (now - self._minute_began)))
        if self._requests > self.requests_per_minute:
            raise Refusal(429, 2020, "Rate Limit Exceeded")

    def _check_headers(self, ask: Ask) -> None:
        if ask.headers.get("accept") != _ACCEPT:
            raise Refusal(400, 2001, "Invalid Input Provided", f"Accept must be {_ACCEPT}")
        if ask.headers.get("content-type") != "application/json":
            raise Refusal(400, 2001, "Invalid Input Provided", "Content-Type must be application/json")
        if ask.method == "GET":
            return
        if self.read_only:
            raise Refusal(403, 2010, "Access Denied")
        if ask.method == "DELETE" or ask.path.startswith("/webhook_subscriptions"):
            return
        sender = ask.headers.get("from", "")
        if not sender:
            message = "You must specify a user's email address in the “From” header to perform this action"
            raise Refusal(400, 2016, message)
        if not _EMAIL.fullmatch(sender):
            raise Refusal(400, 1028, 'Malformed "From" header')
        if sender != self.sender:
            raise Refusal(400, 1008, "Requester User Not Found")

    async def _page(self, request: web.Request) -> web.Response:
        return web.Response(text=pagerduty_page.page(self.view(request.match_info["id"])), content_type="text/html")

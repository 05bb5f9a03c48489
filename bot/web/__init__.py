"""Health and metrics over HTTP, for the platform that runs the bot, and PagerDuty's calls. Nothing else is answered."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from bot.errors import UserError
from bot.settings import WEBHOOKS
from bot.web.limits import Connections, Rate

HEADER_BYTES = 8190
BODY_BYTES = 256 * 1024  # as much as PagerDuty sends
READ_S = 2.0  # for the whole of a body, which leaves the rest of PagerDuty's 5 s to the answer
CALLS_AT_ONCE = 16

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Take = Callable[[bytes, Mapping[str, str]], Awaitable[HTTPStatus]]
"""Takes the raw body and the headers of a webhook; returns what to answer."""


class Web:
    """`/healthz` (the process answers), `/readyz` (it can take commands), `/metrics`, and WEBHOOKS where *take* is given.

    *read_s* is how long the body of a webhook may take to come; *rate* and *connections* bound what anybody may take of
    the server (429 and a closed connection).
    """

    def __init__(
        self,
        address: str,
        *,
        ready: Callable[[], Awaitable[str]],
        registry: CollectorRegistry,
        take: Take | None = None,
        read_s: float = READ_S,
        rate: Rate | None = None,
        connections: Callable[[Callable[[], asyncio.Protocol]], Connections] = Connections,
    ) -> None:
        self._address = address
        self._take = take
        self._read_s = read_s
        self._calls = 0  # under way
        self._ready = ready
        self._registry = registry
        self._rate = rate or Rate(time.monotonic)
        self._connections = connections
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen. Raises UserError when the address cannot be had."""
        app = web.Application(client_max_size=BODY_BYTES, middlewares=[self._held_back])
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        if self._take:
            app.router.add_post(WEBHOOKS, self._webhook)
        self._runner = web.AppRunner(
            app, access_log=None, max_line_size=HEADER_BYTES, max_field_size=HEADER_BYTES, keepalive_timeout=15.0
        )
        await self._runner.setup()
        host, _, port = self._address.rpartition(":")
        make = self._connections(self._protocol)
        try:
            self._listener = await asyncio.get_running_loop().create_server(make, host.strip("[]"), int(port))
        except OSError as error:
            await self.close()
            raise UserError(
                f"Health and metrics cannot be served at {self._address} ({os.strerror(error.errno or 0)}).",
                cure="Choose another `web:` address in capturebot.yml.",
            ) from error

    @property
    def port(self) -> int:
        """The port that was bound; differs from the address where that said 0."""
        assert self._listener is not None  # noqa: S101  asked only after open
        return int(self._listener.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening."""
        if self._listener:
            self._listener.close()
        if self._runner:
            await self._runner.cleanup()

    def _protocol(self) -> asyncio.Protocol:
        assert self._runner is not None  # noqa: S101  asked only after set-up
        assert self._runner.server is not None  # noqa: S101  the same
        return self._runner.server()

    @web.middleware
    async def _held_back(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Whoever asks too often is told when to come again; PagerDuty sends again what gets a 429."""
        resource = request.match_info.route.resource
        # Each path by itself: behind a proxy all have one address, and a storm of calls must not make the bot look dead.
        if wait_s := self._rate.wait_s(f"{request.remote} {resource.canonical if resource else ''}"):
            status = HTTPStatus.TOO_MANY_REQUESTS
            return web.Response(
                status=status, text=f"{status.phrase}\n", headers={"Retry-After": str(math.ceil(wait_s))}
            )
        return await handler(request)

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        fault = await self._ready()
        return web.Response(text=f"{fault or 'ready'}\n", status=503 if fault else 200)

    async def _webhook(self, request: web.Request) -> web.Response:
        assert self._take  # noqa: S101  else there is no such route
        if self._calls >= CALLS_AT_ONCE:
            return _answer(HTTPStatus.SERVICE_UNAVAILABLE)
        self._calls += 1
        try:
            async with asyncio.timeout(self._read_s):
                body = await request.read()
        except TimeoutError:  # 408 would be taken for a refusal, and not be sent again
            return _answer(HTTPStatus.SERVICE_UNAVAILABLE)
        else:
            return _answer(await self._take(body, request.headers))
        finally:
            self._calls -= 1

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _answer(status: HTTPStatus) -> web.Response:
    return web.Response(status=status, text=f"{status.phrase}\n")

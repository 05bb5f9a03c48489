"""Health and metrics over HTTP, for the platform that runs the bot. Nothing else is answered."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from bot.errors import UserError

HEADER_BYTES = 8190
BODY_BYTES = 1024


class Web:
    """`/healthz` (the process answers), `/readyz` (it can take commands) and `/metrics`."""

    def __init__(self, address: str, *, ready: Callable[[], Awaitable[str]], registry: CollectorRegistry) -> None:
        self._address = address
        self._ready = ready
        self._registry = registry
        self._runner: web.AppRunner | None = None

    async def open(self) -> None:
        """Listen. Raises UserError when the address cannot be had."""
        app = web.Application(client_max_size=BODY_BYTES)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(
            app, access_log=None, max_line_size=HEADER_BYTES, max_field_size=HEADER_BYTES, keepalive_timeout=15.0
        )
        await self._runner.setup()
        host, _, port = self._address.rpartition(":")
        try:
            await web.TCPSite(self._runner, host.strip("[]"), int(port)).start()
        except OSError as error:
            await self.close()
            raise UserError(
                f"Health and metrics cannot be served at {self._address} ({os.strerror(error.errno or 0)}).",
                cure="Choose another `web:` address in capturebot.yml.",
            ) from error

    @property
    def port(self) -> int:
        """The port that was bound; differs from the address where that said 0."""
        assert self._runner is not None  # noqa: S101  asked only after open
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Stop listening."""
        if self._runner:
            await self._runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        fault = await self._ready()
        return web.Response(text=f"{fault or 'ready'}\n", status=503 if fault else 200)

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

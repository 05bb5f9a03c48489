"""Socket Mode: several connections, watched, so that one that dies silently costs nothing.

Slack sends each payload to any one connection and expects short overlaps (it closes them every few
hours); the SDK reconnects by itself, but can stay on a dead socket (slack_bolt issue 1529), hence
the watch from outside and the rebuild.
"""

from __future__ import annotations

import asyncio
import time

import structlog
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp

PING_S = 10.0  # between pings; the SDK gives up on a socket after four unanswered
WATCH_S = 5.0  # between looks at the connections
STALE_S = 60.0  # without a pong for this long, a connection is rebuilt
CLOSE_S = 5.0  # a close that hangs is abandoned after this

log = structlog.get_logger()


class Sockets:
    """*count* Socket Mode connections of one app."""

    def __init__(self, app: AsyncApp, app_token: str, *, count: int) -> None:
        self._app = app
        self._token = app_token
        self._count = count
        self._handlers: list[AsyncSocketModeHandler] = []
        self._alive_at: list[float] = []

    async def open(self) -> None:
        """Connect all. Raises SlackApiError when Slack refuses the app token."""
        # One direct question first: the SDK would ask for ever with a token that is refused.
        await self._app.client.apps_connections_open(app_token=self._token)
        for _ in range(self._count):
            self._handlers.append(await self._connect())
            self._alive_at.append(time.monotonic())

    async def watch(self) -> None:
        """Rebuild, for ever, connections that have shown no life for STALE_S seconds."""
        while True:
            await asyncio.sleep(WATCH_S)
            for n, handler in enumerate(self._handlers):
                if await self._alive(handler):
                    self._alive_at[n] = time.monotonic()
                elif time.monotonic() - self._alive_at[n] > STALE_S:
                    log.warning("socket is stale and is rebuilt", socket=n)
                    await _close(handler)
                    self._handlers[n] = await self._connect()
                    self._alive_at[n] = time.monotonic()

    async def connected(self) -> int:
        """How many connections are alive now."""
        return sum([await self._alive(handler) for handler in self._handlers])

    async def close(self) -> None:
        """Take nothing more in; bounded."""
        handlers, self._handlers = self._handlers, []
        for handler in handlers:
            await _close(handler)

    async def _connect(self) -> AsyncSocketModeHandler:
        handler = AsyncSocketModeHandler(self._app, self._token, ping_interval=PING_S)
        try:
            async with asyncio.timeout(STALE_S):
                await handler.connect_async()
        except TimeoutError:
            log.warning("Slack opens no socket; the next look tries again")
        return handler

    async def _alive(self, handler: AsyncSocketModeHandler) -> bool:
        client = handler.client
        pong_at = client.last_ping_pong_time
        return await client.is_connected() and (pong_at is None or time.time() - pong_at < STALE_S)


async def _close(handler: AsyncSocketModeHandler) -> None:
    try:
        async with asyncio.timeout(CLOSE_S):
            await handler.close_async()
    except TimeoutError:
        log.warning("a socket did not close in time and was left")

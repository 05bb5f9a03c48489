"""What the web server takes of anybody: so many connections, each for so long, so many requests of one client.

aiohttp bounds the size of what comes, not the time that a client takes to send a request line; and whoever can reach the
port could otherwise hold every file descriptor of the bot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

CONNECTIONS_AT_ONCE = 64
CONNECTION_S = 30.0  # its longest life, whatever it does; a client of ours needs a second
REQUESTS_AT_ONCE = 60.0  # of one client before it has to wait
REQUESTS_PER_S = 10.0
CLIENTS_KNOWN = 1000  # the one that was heard of least lately is forgotten


class Guarded(asyncio.Protocol):
    """Passes everything on to *inner*, until *life_s* are over."""

    def __init__(self, inner: asyncio.Protocol, *, life_s: float, gone: Callable[[], None]) -> None:
        self._inner = inner
        self._life_s = life_s
        self._gone = gone
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        loop = asyncio.get_running_loop()
        self._end = loop.call_later(self._life_s, cast("asyncio.Transport", transport).abort)
        self._inner.connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        if self._end:
            self._end.cancel()
        self._gone()
        self._inner.connection_lost(error)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """See asyncio.Protocol."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._inner.resume_writing()


class Refusing(asyncio.Protocol):
    """Hangs up: there is no place."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        cast("asyncio.Transport", transport).abort()


class Connections:
    """Makes the protocols of a server's connections: at most *at_once*, each for at most *life_s* seconds."""

    def __init__(
        self,
        make: Callable[[], asyncio.Protocol],
        *,
        at_once: int = CONNECTIONS_AT_ONCE,
        life_s: float = CONNECTION_S,
    ) -> None:
        self._make = make
        self._at_once = at_once
        self._life_s = life_s
        self.open = 0  # now

    def __call__(self) -> asyncio.Protocol:
        """The protocol of a new connection."""
        if self.open >= self._at_once:
            return Refusing()
        self.open += 1
        return Guarded(self._make(), life_s=self._life_s, gone=self._leave)

    def _leave(self) -> None:
        self.open -= 1


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Rate:
    """Counts requests of each client: *at_once* in a burst, *per_s* a second from then on."""

    def __init__(
        self, clock: Callable[[], float], *, at_once: float = REQUESTS_AT_ONCE, per_s: float = REQUESTS_PER_S
    ) -> None:
        self._clock = clock
        self._at_once = at_once
        self._per_s = per_s
        self._buckets: dict[str, _Bucket] = {}

    def wait_s(self, client: str) -> float:
        """0 where a request of *client* is served now, else in how many seconds one would be."""
        now = self._clock()
        bucket = self._buckets.pop(client, None) or _Bucket(left=self._at_once, at=now)
        self._buckets[client] = bucket  # the last one heard of stands last
        while len(self._buckets) > CLIENTS_KNOWN:
            self._buckets.pop(next(iter(self._buckets)))
        bucket.left = min(self._at_once, bucket.left + (now - bucket.at) * self._per_s)
        bucket.at = now
        if bucket.left < 1:
            return (1 - bucket.left) / self._per_s
        bucket.left -= 1
        return 0.0

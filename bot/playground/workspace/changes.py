"""News of what changed, for open pages and for callers that wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from bot.playground.workspace.shapes import Json

T = TypeVar("T")

_QUEUE = 500  # changes that a page may lag behind before it is told to load everything anew


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that changed. *channel* and *user* bound who may see it; None means everybody."""

    kind: str
    body: Json
    channel: str | None = None
    user: str | None = None


LAGGED = Change(kind="lagged", body={})
CLOSED = Change(kind="closed", body={})


class Changes:
    """Hands changes to every open page, and wakes whoever waits for a condition."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[Change]] = set()
        self._wake = asyncio.Event()

    def announce(self, change: Change) -> None:
        """Tell everybody. A page that lags too far behind loses its backlog and gets LAGGED instead."""
        for queue in self._queues:
            if queue.full():
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(LAGGED)
            queue.put_nowait(change)
        self.wake()

    def close(self) -> None:
        """Tell every open page that the workspace ends."""
        self.announce(CLOSED)

    def wake(self) -> None:
        """Let waiting callers look again: something changed that no page shows."""
        self._wake.set()
        self._wake = asyncio.Event()

    @contextmanager
    def subscribed(self) -> Iterator[asyncio.Queue[Change]]:
        """A bounded queue of all changes from now on."""
        queue: asyncio.Queue[Change] = asyncio.Queue(_QUEUE)
        self._queues.add(queue)
        try:
            yield queue
        finally:
            self._queues.discard(queue)

    async def until(self, look: Callable[[], T], within_s: float) -> T:
        """Return the first true value of *look*, called at once and after every change.

        Raises TimeoutError after *within_s* seconds of real time.
        """
        async with asyncio.timeout(within_s):
            while True:
                wake = self._wake
                if value := look():
                    return value
                await wake.wait()

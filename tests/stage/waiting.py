"""Waiting for something to show, within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

SEEN_S = 15.0
POLL_S = 0.05


async def until(seen: Callable[[], Awaitable[bool]]) -> None:
    """Return once *seen* says so. Raises TimeoutError after SEEN_S."""
    async with asyncio.timeout(SEEN_S):
        while True:
            if await seen():
                return
            await asyncio.sleep(POLL_S)

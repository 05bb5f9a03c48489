"""Time as the workspace sees it, so that a test can move it by hand."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Seconds since 1970, and a way to let them pass."""

    def now(self) -> float:
        """The time in seconds since 1970."""

    async def sleep(self, seconds: float) -> None:
        """Return when *seconds* have passed on this clock."""


class SystemClock:
    """The machine's own time."""

    def now(self) -> float:
        """The time in seconds since 1970."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Return when *seconds* have passed."""
        await asyncio.sleep(seconds)

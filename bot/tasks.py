"""Background tasks that are held, watched and ended: the one place that starts them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Tasks:
    """A set of running tasks. One that dies of an error is handed to *on_error*, never forgotten."""

    def __init__(self, on_error: Callable[[str, BaseException], None]) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._on_error = on_error

    def start(self, work: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Start *work* now and keep it until it ends."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def __len__(self) -> int:
        return len(self._running)

    def named(self, name: str) -> list[asyncio.Task[Any]]:
        """The running tasks of that name."""
        return [task for task in self._running if task.get_name() == name]

    async def drain(self, within_s: float) -> bool:
        """Wait until all tasks ended by themselves; False when some still run after *within_s* seconds."""
        if not self._running:
            return True
        _, pending = await asyncio.wait(self._running, timeout=within_s)
        return not pending

    async def cancel(self, within_s: float) -> None:
        """Cancel what still runs and wait *within_s* seconds for it to end."""
        for task in list(self._running):
            task.cancel()
        await self.drain(within_s)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._on_error(task.get_name(), error)

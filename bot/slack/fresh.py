"""Answers of Slack that are kept for a while, so that not every press asks anew."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from bot.tasks import Tasks

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Generic[T]):
    """An answer, which is good for *keep_s* seconds from when it was asked for."""

    value: T
    keep_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept(Generic[T]):
    since: float
    answer: asyncio.Task[Found[T]]


class Fresh(Generic[T]):
    """Looks up by name; who asks for the same at once shares one look-up, and goes away without ending it.

    *look_up* raises nothing, and answers in time. *clock* counts seconds.
    """

    def __init__(
        self, look_up: Callable[[str], Awaitable[Found[T]]], *, most: int, tasks: Tasks, clock: Callable[[], float]
    ) -> None:
        self._look_up = look_up
        self._most = most
        self._tasks = tasks
        self._clock = clock
        self._kept: dict[str, _Kept[T]] = {}

    async def get(self, name: str) -> T:
        """What *name* is, as of now or shortly before."""
        kept = self._kept.get(name)
        if kept is None or self._is_old(kept):
            self._kept.pop(name, None)  # so that it is the newest now
            kept = _Kept(since=self._clock(), answer=self._tasks.start(self._found(name), name=f"look up {name}"))
            self._kept[name] = kept
            while len(self._kept) > self._most:
                self._kept.pop(next(iter(self._kept)))
        return (await asyncio.shield(kept.answer)).value

    def _is_old(self, kept: _Kept[T]) -> bool:
        if not kept.answer.done():
            return False
        broken = kept.answer.cancelled() or kept.answer.exception() is not None
        return broken or self._clock() - kept.since >= kept.answer.result().keep_s

    async def _found(self, name: str) -> Found[T]:
        return await self._look_up(name)

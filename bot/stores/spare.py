"""A second place for what the store refuses: nothing that was captured is lost to a store that is away.

The beginning of every artifact is held back until the store has taken all of it. When the store
refuses before it has read further than that, the whole artifact goes to capturebot's own disk, says
so, and is brought home when the store takes it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from bot.errors import StoreError
from bot.model import Artifact
from bot.stores import Store
from bot.stores.keys import type_of

SPARE_BYTES = 8 * 1024 * 1024  # held back of one artifact: as much as S3 is given before it is first asked
SPARE_IN_ALL_BYTES = 64 * 1024 * 1024  # held back of all artifacts that are under way
PIECE_BYTES = 1024 * 1024
SICK_S = 30.0  # how long a store that refused is not asked again: its own tries take longer than a step may

WAITS = "The store refused it; it is kept on capturebot's own disk until the store takes it."

log = structlog.get_logger()

Told = Callable[[str, Artifact], Awaitable[None]]  # the key that it had in the spare, and what it is at home


class Spare(Store, Protocol):
    """A store that can be emptied again."""

    async def keys(self) -> tuple[str, ...]:
        """The keys of all that is kept."""

    def chunks(self, key: str) -> AsyncGenerator[bytes, None]:
        """One artifact's bytes."""

    def alone(self) -> AbstractAsyncContextManager[bool]:
        """False while another process is in this block."""


@dataclass(slots=True)
class _Room:
    """Bytes that may still be held back."""

    left_bytes: int


class SpareStore:
    """Keeps artifacts in *primary*, and in *spare* what that refuses; see `Artifact.trouble`."""

    def __init__(self, primary: Store, spare: Spare, *, held_bytes: int = SPARE_BYTES) -> None:
        self._held_bytes = held_bytes
        self._primary = primary
        self._spare = spare
        self._room = _Room(SPARE_IN_ALL_BYTES)
        self._refusal = ""  # the primary's last one
        self._refused_key = ""  # where the last round of moves broke off
        self._sick_until = 0.0  # on the loop's clock

    async def put(
        self, key: str, chunks: AsyncIterator[bytes], *, content_type: str = "text/plain; charset=utf-8"
    ) -> Artifact:
        """See `bot.stores.Store.put`. The artifact has a `trouble` where it is only in the spare."""
        async with aclosing(_Tape(chunks, self._held_bytes, self._room)) as tape:
            if self._is_sick():
                reason = f"The store refused another file just now and was not asked again: {self._refusal}"
            else:
                try:
                    async with aclosing(tape.play()) as played:
                        return await self._primary.put(key, played, content_type=content_type)
                except StoreError as refusal:
                    self._fall_sick(refusal)
                    if not tape.is_whole:
                        raise
                    reason = refusal.reason
            try:
                kept = await self._spare.put(key, tape.replay(), content_type=content_type)
            except StoreError as second:
                both = f"{reason} capturebot's own disk could not keep it either: {second.reason}"
                raise StoreError(both) from second
        return replace(kept, trouble=f"{reason} It is kept on capturebot's own disk until the store takes it.")

    async def bring_home(self, told: Told) -> None:
        """Move what is in the spare to the primary, one after the other, until that refuses.

        *told* is awaited when an artifact is at home and before the spare forgets it, so that whatever
        interrupts this, it can be done again and nobody is left with an address that leads nowhere.
        Raises StoreError when the spare itself cannot be read, and whatever *told* raises.
        """
        async with self._spare.alone() as alone:
            waiting = await self._spare.keys() if alone else ()
            # The one that was refused last comes last: one that is refused for ever does not hold up the others.
            for key in sorted(waiting, key=lambda key: (key <= self._refused_key, key)):
                try:
                    home = await self._move(key)
                except StoreError as error:
                    self._refused_key = key
                    self._fall_sick(error)
                    log.warning("the store still refuses what waits for it", key=key, reason=error.reason)
                    return
                self._sick_until = 0.0
                await told(key, home)
                await self._spare.remove(key)

    async def sweep(self, prefix: str) -> tuple[Artifact, ...]:
        """See `bot.stores.Store.sweep`; of a key that is in both, the primary's is returned."""
        waiting = {artifact.key: replace(artifact, trouble=WAITS) for artifact in await self._spare.sweep(prefix)}
        both = waiting | {artifact.key: artifact for artifact in await self._primary.sweep(prefix)}
        return tuple(both[key] for key in sorted(both))

    async def read(self, key: str) -> bytes:
        """See `bot.stores.Store.read`; the spare is asked first, as it is near."""
        try:
            return await self._spare.read(key)
        except StoreError:
            return await self._primary.read(key)

    async def link(self, artifact: Artifact, *, seconds: int) -> str:
        """See `bot.stores.Store.link`; what is only in the spare has none."""
        return "" if artifact.trouble else await self._primary.link(artifact, seconds=seconds)

    async def remove(self, key: str) -> None:
        """See `bot.stores.Store.remove`; what is only in the spare stays there until it is brought home."""
        await self._primary.remove(key)

    async def check(self) -> list[str]:
        """See `bot.stores.Store.check`, of both."""
        lines = [*await self._primary.check(), *await self._spare.check()]
        try:
            waiting = len(await self._spare.keys())
        except StoreError:
            return lines  # the spare's own check has said why
        if waiting:
            lines.append(f"warn: {waiting} refused artifacts wait there for the store; a running capturebot moves them")
        return lines

    async def close(self) -> None:
        """Close both."""
        await self._primary.close()
        await self._spare.close()

    async def _move(self, key: str) -> Artifact:
        """Put one artifact into the primary, unless an interrupted move did it already; what that left open is aborted."""
        try:
            found = await self._primary.sweep(key)
        except StoreError:
            found = ()  # credentials that may only write see nothing; a store that is away says so in a moment
        for there in found:
            async with aclosing(self._spare.chunks(key)) as chunks:
                if there.key == key and await _is_same(there, chunks):
                    return there
        async with aclosing(self._spare.chunks(key)) as chunks:
            return await self._primary.put(key, chunks, content_type=type_of(key))

    def _is_sick(self) -> bool:
        return asyncio.get_running_loop().time() < self._sick_until

    def _fall_sick(self, refusal: StoreError) -> None:
        self._refusal = refusal.reason
        self._sick_until = asyncio.get_running_loop().time() + SICK_S


class _Tape:
    """Plays *chunks*, and holds back what was played as long as there is room for it."""

    def __init__(self, chunks: AsyncIterator[bytes], most_bytes: int, room: _Room) -> None:
        self.is_whole = True  # all that was played can be replayed
        self._chunks = chunks
        self._most_bytes = most_bytes
        self._room = room
        self._held = bytearray()

    async def play(self) -> AsyncGenerator[bytes, None]:
        """Yield the chunks as they come."""
        while (chunk := await self._next()) is not None:
            self._hold(chunk)
            yield chunk

    async def replay(self) -> AsyncGenerator[bytes, None]:
        """Yield what was played, then what was not."""
        for start in range(0, len(self._held), PIECE_BYTES):
            yield bytes(self._held[start : start + PIECE_BYTES])
        self._let_go()
        while (chunk := await self._next()) is not None:
            yield chunk

    async def aclose(self) -> None:
        """Give the room back."""
        self._let_go()

    async def _next(self) -> bytes | None:
        if len(self._held) >= self._most_bytes:
            self._lose()
        try:
            return await anext(self._chunks)
        except StopAsyncIteration:
            return None
        except BaseException:
            self._lose()  # a source that was broken off cannot be told any more from one that ended
            raise

    def _hold(self, chunk: bytes) -> None:
        if self.is_whole and len(chunk) <= self._room.left_bytes:
            self._held += chunk
            self._room.left_bytes -= len(chunk)
        else:
            self._lose()

    def _lose(self) -> None:
        self.is_whole = False
        self._let_go()

    def _let_go(self) -> None:
        self._room.left_bytes += len(self._held)
        self._held = bytearray()


async def _is_same(there: Artifact, chunks: AsyncIterator[bytes]) -> bool:
    digest, size = hashlib.sha256(), 0
    async for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
    # The checksum of a very long object is not known; its size under its own key has to do.
    return size == there.size_bytes and there.sha256 in ("", digest.hexdigest())

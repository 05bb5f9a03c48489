"""Bytes on their way into a store: cut into blocks, counted and hashed as they pass."""

from __future__ import annotations

import hashlib
import io
from collections.abc import AsyncIterator

# Calls of the hash cost more than they do below this size.
HASHED_AT_ONCE_BYTES = 256 * 1024


class Intake:
    """Reads *chunks* once, and only as far as blocks are asked for."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")  # of the chunk that was cut by the last block
        self._hash = hashlib.sha256()
        self.size_bytes = 0  # of all blocks returned
        self.ended = False  # nothing comes any more

    @property
    def sha256(self) -> str:
        """Of all blocks returned, hex."""
        return self._hash.hexdigest()

    async def block(self, size_bytes: int) -> io.BytesIO:
        """Return the next *size_bytes* bytes, fewer at the end and none after it, ready to be read.

        Raises what *chunks* raises; the bytes of the block that was under way are lost then.
        """
        block = io.BytesIO()
        filled = hashed = 0
        while filled < size_bytes and await self._more():
            piece = self._rest[: size_bytes - filled]
            self._rest = self._rest[len(piece) :]
            filled += block.write(piece)
            if filled - hashed >= HASHED_AT_ONCE_BYTES or filled == size_bytes:
                self._count(block, hashed)
                hashed = filled
        self._count(block, hashed)
        block.seek(0)
        return block

    async def _more(self) -> bool:
        while not self._rest and not self.ended:
            try:
                self._rest = memoryview(await anext(self._chunks))
            except StopAsyncIteration:
                self.ended = True
        return bool(self._rest)

    def _count(self, block: io.BytesIO, start: int) -> None:
        # A view, not a slice: no byte is copied to be hashed.
        with block.getbuffer() as view, view[start:] as fresh:
            self._hash.update(fresh)
            self.size_bytes += len(fresh)


async def once(data: bytes) -> AsyncIterator[bytes]:
    """Yield *data* as a stream of one chunk."""
    yield data

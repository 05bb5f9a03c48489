"""Bytes on their way into a store: cut into blocks, counted and hashed as they pass."""

from __future__ import annotations

import hashlib
import io
from collections.abc import AsyncIterator


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
        while (room := size_bytes - block.tell()) and await self._more():
            piece, self._rest = self._rest[:room], self._rest[room:]
            block.write(piece)
            self._hash.update(piece)
            self.size_bytes += len(piece)
        block.seek(0)
        return block

    async def _more(self) -> bool:
        while not self._rest and not self.ended:
            try:
                self._rest = memoryview(await anext(self._chunks))
            except StopAsyncIteration:
                self.ended = True
        return bool(self._rest)


async def once(data: bytes) -> AsyncIterator[bytes]:
    """Yield *data* as a stream of one chunk."""
    yield data

"""Where artifacts go: one file a store, one protocol for all.

A store pulls its bytes, so a slow store slows the capture instead of filling memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from bot.model import Artifact


class Store(Protocol):
    """A place that keeps artifacts and never overwrites one."""

    async def put(
        self, key: str, chunks: AsyncIterator[bytes], *, content_type: str = "text/plain; charset=utf-8"
    ) -> Artifact:
        """Keep *chunks* under *key* and return what was kept, with the SHA-256 of the stored bytes.

        Nothing is visible under *key* until everything came; on any other exit (an error, a
        cancellation, *chunks* raising) nothing is left behind, open uploads included. A key that is
        taken is not overwritten: a free one is found by a number before the ending (``ps.2.txt``).
        Raises StoreError with a sentence for the responder.
        """

    async def sweep(self, prefix: str) -> tuple[Artifact, ...]:
        """Abort open uploads below *prefix* and return the artifacts that are whole, sorted by key.

        Checksums are read back where the store keeps them and computed where that takes no more than
        reading a few hundred megabytes, else are "". Raises StoreError.
        """

    async def read(self, key: str) -> bytes:
        """Return an object of at most 16 MiB whole (manifests, checks). Raises StoreError."""

    async def link(self, artifact: Artifact, *, seconds: int) -> str:
        """An address that gives a file to whoever has it, for *seconds*; "" where the store can make none. Raises StoreError."""

    async def remove(self, key: str) -> None:
        """Remove an object; one that is not there is no error. Raises StoreError."""

    async def check(self) -> list[str]:
        """Say what `capturebot doctor` should print: lines of "ok: …" or "fault: … — cure".

        Writes, reads back and removes one small object.
        """

    async def close(self) -> None:
        """Release connections."""

"""An agent that holds a security key's key, and signs as the hardware would: what no machine of ours has in it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KIND, APPLICATION = b"sk-ssh-ed25519@openssh.com", b"ssh:"
LIST, SIGN = 11, 13  # draft-miller-ssh-agent
LISTED, SIGNED, FAILURE = 12, 14, 5
TOUCHED = b"\x01"  # somebody was there


def packed(*fields: bytes) -> bytes:
    """Strings of the SSH protocol."""
    return b"".join(len(field).to_bytes(4) + field for field in fields)


class SecurityKey:
    """The key, and what the agent that holds it answers."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.public = packed(KIND, self._key.public_key().public_bytes_raw(), APPLICATION)
        self.touches = 0

    def answer(self, asked: bytes) -> bytes:
        """One message of the agent's."""
        if asked[0] == LIST:
            return bytes([LISTED]) + (1).to_bytes(4) + packed(self.public, b"a key on a chain")
        if asked[0] != SIGN:
            return bytes([FAILURE])
        end = 5 + int.from_bytes(asked[1:5])
        data = asked[end + 4 : end + 4 + int.from_bytes(asked[end : end + 4])]
        self.touches += 1
        signs = TOUCHED + self.touches.to_bytes(4)
        signature = self._key.sign(hashlib.sha256(APPLICATION).digest() + signs + hashlib.sha256(data).digest())
        return bytes([SIGNED]) + packed(packed(KIND, signature) + signs)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one client until it leaves."""
        try:
            while True:
                writer.write(packed(self.answer(await reader.readexactly(int.from_bytes(await reader.readexactly(4))))))
        except asyncio.IncompleteReadError:
            writer.close()


@asynccontextmanager
async def agent_of(key: SecurityKey, path: Path) -> AsyncIterator[Path]:
    """Serve the agent at *path*."""
    async with await asyncio.start_unix_server(key.serve, path):
        yield path

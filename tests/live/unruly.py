"""A MySQL server written by hand, that behaves as a test wants it to."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

FLOOD = b"x" * 65536
WHOLE = 8  # the protocol's type of whole numbers
MORE_RESULTS = 8  # the protocol's flag of an answer that another one follows
LOGIN_FLAGS = 0x1 | 0x200 | 0x8000 | 0x80000  # long passwords, protocol 4.1, its passwords, plug-ins for them
SALT = b"abcdefghijklmnopqrst"
GREETED, PROBED, TAGGED = "SELECT VERSION()", "SELECT 1; SELECT 2", "/* capturebot"
LEAVES_S = 4.0  # the time in which its last talk ends once the bot has gone


def text(value: str | bytes | None) -> bytes:
    """A value as the protocol sends it."""
    if value is None:
        return b"\xfb"
    raw = value.encode() if isinstance(value, str) else value
    size = bytes([len(raw)]) if len(raw) < 251 else b"\xfd" + struct.pack("<I", len(raw))[:3]
    return size + raw


def column(name: str, kind: int = 253) -> bytes:
    """What is said of a column."""
    return b"".join(map(text, ("def", "", "", "", name, ""))) + struct.pack("<BHIBHB2x", 12, 45, 1024, kind, 0, 0)


def ok(status: int = 2) -> bytes:
    """Done."""
    return struct.pack("<BBBHH", 0, 0, 0, status, 0)


def eof(status: int = 2) -> bytes:
    """The end of the columns, and that of the rows."""
    return struct.pack("<BHH", 0xFE, 0, status)


def error(code: int, words: str) -> bytes:
    """Not done."""
    return struct.pack("<BH", 0xFF, code) + b"#HY000" + words.encode()


def handshake(
    version: str = "10.11.19-MariaDB", flags: int = LOGIN_FLAGS, plugin: str = "mysql_native_password"
) -> bytes:
    """What a server says first."""
    return (
        b"\x0a" + version.encode() + b"\0" + struct.pack("<I", 7) + SALT[:8] + b"\0"
        + struct.pack("<HBHHB", flags & 0xFFFF, 45, 2, flags >> 16, 21) + bytes(10) + SALT[8:] + b"\0" + plugin.encode() + b"\0"
    )  # fmt: skip


class Peer:
    """The bot as the server sees it, on one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: bytearray) -> None:
        self._reader, self._writer, self._heard = reader, writer, heard
        self.number = 0  # of the next packet

    async def hear(self) -> bytes:
        """The next packet of the bot's."""
        head = await self._reader.readexactly(4)
        self.number = head[3] + 1
        said = await self._reader.readexactly(int.from_bytes(head[:3], "little"))
        self._heard += said
        return said

    async def say(self, *packets: bytes) -> None:
        """Send *packets* as they should be."""
        await self.raw(b"".join(self.head(len(packet)) + packet for packet in packets))

    def head(self, size: int) -> bytes:
        """The head of a packet that promises *size* bytes."""
        number, self.number = self.number % 256, self.number + 1
        return struct.pack("<I", size)[:3] + bytes([number])

    async def raw(self, *pieces: bytes) -> None:
        """Send bytes, whatever they are."""
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()
            await asyncio.sleep(0)  # drain does not, while there is room: the bot runs on the same loop

    async def drip(self) -> None:
        """A byte now and then, for as long as anybody listens."""
        while True:
            await self.raw(b".")
            await asyncio.sleep(0.05)

    async def flood(self) -> None:
        """Bytes without end."""
        while True:
            await self.raw(FLOOD)

    async def silence(self) -> None:
        """Nothing, until the bot goes."""
        while await self._reader.read(65536):
            pass

    async def table(self, names: Sequence[str], *rows: Sequence[str | bytes | None]) -> None:
        """An answer as it should be."""
        answer = (b"".join(map(text, row)) for row in rows)
        await self.say(bytes([len(names)]), *map(column, names), eof(), *answer, eof())


async def welcome(peer: Peer) -> None:
    """Let everybody in."""
    await peer.say(handshake())
    await peer.hear()
    await peer.say(ok())


async def polite(peer: Peer, asked: str) -> None:
    """What a session begins with, answered as MariaDB does; nothing runs on this server."""
    if asked.startswith(GREETED):
        await peer.table(("v", "c", "i", "u", "p"), ("10.11.19-MariaDB", "", "42", "cap@%", "1"))
    elif asked == PROBED:
        await peer.say(error(1064, "You have an error in your SQL syntax"))
    elif asked.startswith("SELECT"):
        await peer.table(("one",))
    else:
        await peer.say(ok())


async def one(peer: Peer, _: str) -> None:
    """One row."""
    await peer.table(("one",), ("1",))


@dataclass(frozen=True, slots=True)
class Manners:
    """How a server behaves: at the door, in what a session begins with, and in what a step asks."""

    greet: Callable[[Peer], Awaitable[None]] = welcome
    settle: Callable[[Peer, str], Awaitable[None]] = polite
    answer: Callable[[Peer, str], Awaitable[None]] = one


@dataclass(slots=True)
class Server:
    """Where it listens, and all that it heard after its greeting."""

    port: int = 0
    heard: bytearray = field(default_factory=bytearray)


@asynccontextmanager
async def serving(manners: Manners) -> AsyncIterator[Server]:
    """A server with such *manners*."""
    server = Server()
    talks: set[asyncio.Task[None] | None] = set()

    async def talk(peer: Peer) -> None:
        await manners.greet(peer)
        while (said := await peer.hear())[0] != 1:  # the goodbye
            asked = said[1:].decode()
            await (manners.answer if asked.startswith(TAGGED) else manners.settle)(peer, asked)

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(asyncio.current_task())
        with suppress(OSError, EOFError):
            await talk(Peer(reader, writer, server.heard))
        writer.close()

    listening = await asyncio.start_server(take, "127.0.0.1", 0)
    async with listening:
        server.port = listening.sockets[0].getsockname()[1]
        yield server
        await asyncio.wait({task for task in talks if task}, timeout=LEAVES_S) if talks else None

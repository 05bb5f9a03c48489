"""A way into a private machine, whose loopback is its own: bytes pass through a socket in a folder that both see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

PIECE_BYTES = 64 * 1024

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def from_outside(port: int, path: Path) -> AsyncIterator[int]:
    """Pass what comes to *port* of this side's loopback (0: any, given) on to the socket at *path*."""
    server = await asyncio.start_server(
        lambda *client: _pass(client, lambda: asyncio.open_unix_connection(path)), "127.0.0.1", port
    )
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def to_inside(path: Path, port: int) -> AsyncIterator[None]:
    """Pass what comes through the socket at *path* on to *port* of this side's loopback."""
    server = await asyncio.start_unix_server(
        lambda *client: _pass(client, lambda: asyncio.open_connection("127.0.0.1", port)), path
    )
    async with server:
        yield


async def _pass(client: Streams, reach: Callable[[], Awaitable[Streams]]) -> None:
    try:
        server = await reach()
    except OSError:  # nobody is there yet, or any more
        client[1].close()
        return
    async with asyncio.TaskGroup() as group:
        group.create_task(_pump(client[0], server[1]))
        group.create_task(_pump(server[0], client[1]))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass  # one of them went; the other is told below
    finally:
        writer.close()

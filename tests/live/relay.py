"""A path to a server that can be cut as a network is: without a word to either side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

CHUNK_BYTES = 64 * 1024

Spoil = Callable[[bytes], Awaitable[bytes]]


async def as_it_is(data: bytes) -> bytes:
    """What the server says, unchanged."""
    return data


@dataclass(slots=True)
class Path:
    """What comes in on *port* goes to the server, while the path is whole; *spoil* changes or delays what comes back."""

    server_port: int
    spoil: Spoil = as_it_is
    port: int = 0
    _whole: asyncio.Event = field(default_factory=asyncio.Event)
    _ways: set[asyncio.Event] = field(default_factory=set)

    def cut(self) -> None:
        """Nothing gets through any more, neither on what is open nor on what is opened."""
        self._whole.clear()
        for way in self._ways:
            way.clear()
        self._ways.clear()

    def mend(self) -> None:
        """New connections get through; the server still holds on to the old ones."""
        self._whole.set()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        writers = [writer]
        try:
            if not self._whole.is_set():
                await asyncio.Event().wait()
            way = asyncio.Event()
            way.set()
            self._ways.add(way)
            there, back = await asyncio.open_connection("127.0.0.1", self.server_port)
            writers.append(back)
            async with asyncio.TaskGroup() as group:
                group.create_task(_carry(reader, back, way, as_it_is))
                group.create_task(_carry(there, writer, way, self.spoil))
        finally:
            for each in writers:
                each.transport.abort()


async def _carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: asyncio.Event, spoil: Spoil) -> None:
    with suppress(OSError):
        while data := await source.read(CHUNK_BYTES):
            await way.wait()
            sink.write(await spoil(data))
            await sink.drain()
        await way.wait()  # a cut path does not carry an end either
        sink.write_eof()


@asynccontextmanager
async def path_to(port: int, *, spoil: Spoil = as_it_is) -> AsyncIterator[Path]:
    """A path to a server on this machine, whole at first."""
    path = Path(port, spoil)
    carried: set[asyncio.Task[None]] = set()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        carried.add(task)
        with suppress(asyncio.CancelledError):  # the end of the test; asyncio's own callback would complain of it
            await path.take(reader, writer)

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    path.port = server.sockets[0].getsockname()[1]
    path.mend()
    try:
        yield path
    finally:
        server.close()
        for task in carried:
            task.cancel()
        await asyncio.gather(*carried, return_exceptions=True)

"""A way to a server on this machine that can be made to misbehave: held, cut, deaf, or answering in the server's place.

It knows just enough HTTP/1.1 to tell requests apart; what it lets pass, it passes unchanged.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from bot.tasks import Tasks

PIECE_BYTES = 64 * 1024
ALWAYS = 1_000_000
STEP_S = 0.01
END_S = 5.0


@dataclass(slots=True, kw_only=True)
class Fault:
    """What happens to the next *times* requests whose first line *pattern* is found in; one kind of the three is set."""

    pattern: re.Pattern[str]
    times: int
    answer: bytes = b""
    cut_after_bytes: int | None = None
    lose_answer: bool = False


class FaultyWay:
    """The way itself. Requests that no fault matches go through."""

    def __init__(self, host: str, port: int) -> None:
        self.url = ""
        self.requests: list[str] = []  # first lines, in the order of their arrival
        self.passed_bytes = 0  # of request bodies, on to the server
        self.held = 0  # bodies that wait for `release`
        self.latency_s = 0.0  # before each request goes on
        self._server = (host, port)
        self._faults: list[Fault] = []
        self._open = asyncio.Event()
        self._open.set()

    def answer(self, pattern: str, status: int, *, code: str = "InternalError", times: int = 1) -> None:
        """Answer with *status* and S3's error *code* before the body came, and close the connection."""
        body = f"<Error><Code>{code}</Code><Message>A fault on purpose</Message></Error>".encode()
        head = f"HTTP/1.1 {status} Fault\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
        self._faults.append(Fault(pattern=re.compile(pattern), times=times, answer=head + body))

    def cut(self, pattern: str, *, after_bytes: int, times: int = 1) -> None:
        """Reset the connection when so much of the body has passed."""
        self._faults.append(Fault(pattern=re.compile(pattern), times=times, cut_after_bytes=after_bytes))

    def lose_answer(self, pattern: str, *, times: int = 1) -> None:
        """Let the server do its work, and reset the connection instead of passing its answer."""
        self._faults.append(Fault(pattern=re.compile(pattern), times=times, lose_answer=True))

    def hold(self) -> None:
        """Let no more of any body pass until `release`."""
        self._open.clear()

    def release(self) -> None:
        """Let bodies pass again."""
        self._open.set()

    def seen(self, pattern: str) -> int:
        """Return how many requests so far match."""
        return sum(bool(re.search(pattern, line)) for line in self.requests)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass requests of one connection on until either side ends it."""
        far_reader, far_writer = await asyncio.open_connection(*self._server)
        deaf = asyncio.Event()
        with suppress(ConnectionError, asyncio.IncompleteReadError, ExceptionGroup):
            try:
                async with asyncio.TaskGroup() as group:
                    answers = group.create_task(_answers(far_reader, writer, deaf), name="connection")
                    await self._requests(reader, writer, far_writer, deaf)
                    answers.cancel()
            finally:
                writer.close()
                far_writer.close()

    async def _requests(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        far: asyncio.StreamWriter,
        deaf: asyncio.Event,
    ) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            line = head.partition(b"\r\n")[0].decode()
            self.requests.append(line)
            await asyncio.sleep(self.latency_s)
            fault = self._fault(line)
            if fault and fault.answer:
                writer.write(fault.answer)
                await writer.drain()
                return
            if fault and fault.lose_answer:
                deaf.set()
            far.write(head)
            found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            left = int(found.group(1)) if found else 0
            cut_at = left - fault.cut_after_bytes if fault and fault.cut_after_bytes is not None else -1
            while left:
                piece = await reader.read(min(left, PIECE_BYTES))
                if not piece:
                    return
                await self._opened()
                left -= len(piece)
                far.write(piece)
                self.passed_bytes += len(piece)
                await far.drain()
                if left <= cut_at:
                    _reset(writer)
                    return

    async def _opened(self) -> None:
        self.held += 1
        try:
            await self._open.wait()
        finally:
            self.held -= 1

    def _fault(self, line: str) -> Fault | None:
        for fault in self._faults:
            if fault.times and fault.pattern.search(line):
                fault.times -= 1
                return fault
        return None


async def _answers(far: asyncio.StreamReader, writer: asyncio.StreamWriter, deaf: asyncio.Event) -> None:
    while piece := await far.read(PIECE_BYTES):
        if deaf.is_set() and not piece.startswith(b"HTTP/1.1 100"):
            _reset(writer)
            return
        writer.write(piece)
        await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with an RST, as a machine that died or a firewall that forgot would."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def faulty_way(url: str) -> AsyncIterator[FaultyWay]:
    """Open a way to the server at *url*; its own address is in `FaultyWay.url`."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    way = FaultyWay(parts.hostname, parts.port)
    died: list[BaseException] = []
    connections = Tasks(on_error=lambda _name, error: died.append(error))

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.start(way.serve(reader, writer), name="connection")

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=PIECE_BYTES)
    way.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield way
    finally:
        server.close()
        await connections.cancel(END_S)
    assert not died, died


@contextmanager
def refusing_url() -> Iterator[str]:
    """Give an address that refuses connections: its port is taken and nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


async def until(true: Callable[[], bool], *, within_s: float = 10.0) -> None:
    """Wait until *true* returns True; fails after *within_s* seconds."""
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110  # what is waited for is often state of another process
            await asyncio.sleep(STEP_S)

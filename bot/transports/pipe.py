"""One program's output on its way from a host to whoever reads it, and the wrapper's remarks taken out of it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Protocol

from bot.errors import StepFailed
from bot.transports import becoming, carrying, reaping, scratch, shell

STDERR_BYTES = 64 * 1024  # kept of a program's stderr, its end
BUFFER_BYTES = 1024 * 1024  # read ahead of a slow store, besides the carrier's own window
CHUNK_BYTES = 256 * 1024  # what is done with each piece on its way costs more than to put pieces together
ANSWER_BYTES = 64 * 1024  # of a short question to a host
NOTES_KEPT = 100
NOTES = scratch.REMARKS | reaping.REMARKS | {carrying.REMARK, becoming.REMARK}  # remarks that may come at any time


class Source(Protocol):
    """Where a pipe's bytes come from, as asyncssh's channels and asyncio's read transports have it."""

    def pause_reading(self) -> None:
        """Hold back what comes."""

    def resume_reading(self) -> None:
        """Go on."""


class Pipe:
    """One program's output on its way: filled by callbacks, read once by `chunks`, bounded on both sides."""

    def __init__(self, token: str, *, notes: frozenset[str] = NOTES) -> None:
        self.source: Source | None = None
        self.status: int | None = None  # None at the end: the connection went
        self.signal = ""  # that ended the outermost shell
        self.ended_at: float | None = None  # on the loop's clock, when the status came
        self.remark: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()  # how it began
        self.file_note: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        self.notes: list[list[str]] = []  # other remarks
        self.closed = asyncio.Event()
        self._token = f"{token} ".encode()
        self._notable = notes
        self._chunks: deque[bytes] = deque()
        self._buffered_bytes = 0
        self.is_paused = False  # the source holds back, until somebody reads
        self._wanted = asyncio.Event()
        self._stderr = bytearray()
        self._dropped_bytes = 0

    def feed(self, data: bytes) -> None:
        """Take a piece of stdout."""
        self._chunks.append(data)
        self._buffered_bytes += len(data)
        self._wanted.set()
        if self._buffered_bytes >= BUFFER_BYTES and not self.is_paused and self.source and not self.closed.is_set():
            self.is_paused = True
            self.source.pause_reading()

    def feed_stderr(self, data: bytes) -> None:
        """Take a piece of stderr: the wrapper's remarks are taken out, the end of the rest kept."""
        self._stderr += data
        while (start := self._stderr.find(self._token)) >= 0 and (end := self._stderr.find(b"\n", start)) >= 0:
            words = self._stderr[start:end].decode("utf-8", "replace").split()[1:]
            # What the login's start-up files complained of goes with what is said at the beginning.
            del self._stderr[0 if not self.remark.done() else start : end + 1]
            self._hear(words)
        if (surplus := len(self._stderr) - STDERR_BYTES) > 0:
            del self._stderr[:surplus]
            self._dropped_bytes += surplus

    def _hear(self, words: list[str]) -> None:
        if words[:1] == ["file"] and not self.file_note.done():
            self.file_note.set_result(words[1:])
        elif words and words[0] in self._notable:
            if len(self.notes) < NOTES_KEPT:
                self.notes.append(words)
        elif not self.remark.done():
            self.remark.set_result(words)

    def end(self, status: int | None, signal_name: str = "") -> None:
        """Keep how the program ended; output may still follow until `close`."""
        self.status, self.signal = status, signal_name
        self.ended_at = asyncio.get_running_loop().time()

    def close(self) -> None:
        """Nothing more will come, but for what the source still holds back."""
        self.closed.set()
        self._wanted.set()
        for waited in (self.remark, self.file_note):
            if not waited.done():
                waited.set_result([])

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield stdout as it comes, in pieces of about CHUNK_BYTES where much came."""
        while True:
            if self._chunks:
                yield self._next_chunk()
            elif self.is_paused and self.source:
                # This delivers at once all that was held back. asyncssh opens its whole window again with the first
                # piece of that; would the rest be paused anew, what it holds back would grow with every round.
                self.source.resume_reading()
                self.is_paused = False
            elif self.closed.is_set():
                return
            else:
                self._wanted.clear()
                await self._wanted.wait()

    def _next_chunk(self) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while self._chunks and size < CHUNK_BYTES:
            pieces.append(self._chunks.popleft())
            size += len(pieces[-1])
        self._buffered_bytes -= size
        return b"".join(pieces)

    @property
    def stderr(self) -> bytes:
        """The kept end of stderr, from the start of a line on."""
        if not self._dropped_bytes:
            return bytes(self._stderr)
        return b"-- only the end is kept\n" + bytes(self._stderr.partition(b"\n")[2] or self._stderr)

    @property
    def complaint(self) -> str:
        """The last line of stderr that says something; of stdout, as far as it is unread, where there is none."""
        for text in (bytes(self._stderr), b"".join(self._chunks)[:STDERR_BYTES]):
            if line := shell.last_line(text):
                return line
        return ""


class Host(Protocol):
    """A machine that runs sh for us."""

    @property
    def name(self) -> str:
        """The name that people know it by."""

    async def open(self, program: bytes, pipe: Pipe, *, spare: bool = False) -> Callable[[], None]:
        """Hand *program* to a new shell whose output goes to *pipe*; the answer cuts the connection to it.

        *spare* asks for a shell even where all places for steps are taken. Raises StepFailed.
        """


async def ask(host: Host, program: str, *, token: str) -> list[list[str]]:
    """Run a short program beside the steps; the words of each line that it printed behind *token*."""
    pipe = Pipe(token)
    cut = await host.open(program.encode(), pipe, spare=True)
    said = bytearray()
    try:
        async with aclosing(pipe.chunks()) as chunks:
            async for chunk in chunks:
                said += chunk
                if len(said) > ANSWER_BYTES:
                    raise StepFailed(f"{host.name} answers a short question without end.")
    finally:
        cut()
    lines = [line.split() for line in said.decode("utf-8", "replace").splitlines()]
    return [words[1:] for words in lines if words[:1] == [token]]

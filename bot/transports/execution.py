"""One step under way on a Linux host, whatever carries it there: its output, its end and the proof of that."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from bot.errors import StepFailed
from bot.insights import header
from bot.model import Outcome, Step
from bot.transports import STOP_TIMEOUT_S, shell

STDERR_BYTES = 64 * 1024  # kept of a program's stderr, its end
BUFFER_BYTES = 1024 * 1024  # read ahead of a slow store, besides the carrier's own window
CHUNK_BYTES = 256 * 1024  # what is done with each piece on its way costs more than to put pieces together
ANSWER_BYTES = 64 * 1024  # of a short question to a host
LEAVE_TIMEOUT_S = 1.0  # for a host to close what we closed
CLOCK_SLACK_S = 0.5  # between the host's clock and ours when a time limit is recognised


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a host may take."""

    start_s: float = 20.0  # from an open session to the program's first remark
    grace_s: float = 2.0  # by which the limit on the host exceeds the step's own


PATIENCE = Patience()


class Source(Protocol):
    """Where a pipe's bytes come from, as asyncssh's channels and asyncio's read transports have it."""

    def pause_reading(self) -> None:
        """Hold back what comes."""

    def resume_reading(self) -> None:
        """Go on."""


class Pipe:
    """One program's output on its way: filled by callbacks, read once by `chunks`, bounded on both sides."""

    def __init__(self, token: str) -> None:
        self.source: Source | None = None
        self.status: int | None = None  # None at the end: the connection went
        self.signal = ""  # that ended the outermost shell
        self.ended_at: float | None = None  # on the loop's clock, when the status came
        self.remark: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        self.closed = asyncio.Event()
        self._token = f"{token} ".encode()
        self._chunks: deque[bytes] = deque()
        self._buffered_bytes = 0
        self._paused = False
        self._wanted = asyncio.Event()
        self._stderr = bytearray()
        self._dropped_bytes = 0

    def feed(self, data: bytes) -> None:
        """Take a piece of stdout."""
        self._chunks.append(data)
        self._buffered_bytes += len(data)
        self._wanted.set()
        if self._buffered_bytes >= BUFFER_BYTES and not self._paused and self.source and not self.closed.is_set():
            self._paused = True
            self.source.pause_reading()

    def feed_stderr(self, data: bytes) -> None:
        """Take a piece of stderr: the wrapper's one remark is taken out, the end of the rest kept."""
        self._stderr += data
        if not self.remark.done() and (start := self._stderr.find(self._token)) >= 0:
            end = self._stderr.find(b"\n", start)
            if end >= 0:
                self.remark.set_result(self._stderr[start:end].decode("utf-8", "replace").split()[1:])
                del self._stderr[: end + 1]  # what the login's start-up files complained of goes with it
        if (surplus := len(self._stderr) - STDERR_BYTES) > 0:
            del self._stderr[:surplus]
            self._dropped_bytes += surplus

    def end(self, status: int | None, signal_name: str = "") -> None:
        """Keep how the program ended; output may still follow until `close`."""
        self.status, self.signal = status, signal_name
        self.ended_at = asyncio.get_running_loop().time()

    def close(self) -> None:
        """Nothing more will come, but for what the source still holds back."""
        self.closed.set()
        self._wanted.set()
        if not self.remark.done():
            self.remark.set_result([])

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield stdout as it comes, in pieces of about CHUNK_BYTES where much came."""
        while True:
            if self._chunks:
                yield self._next_chunk()
            elif self._paused and self.source:
                # This delivers at once all that was held back. asyncssh opens its whole window again with the first
                # piece of that; would the rest be paused anew, what it holds back would grow with every round.
                self.source.resume_reading()
                self._paused = False
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


class ShellExecution:
    """A step on a host, from its start to the proof of its end. Fulfils `bot.transports.Execution`."""

    def __init__(self, host: Host, step: Step, *, capture_id: str, patience: Patience) -> None:
        self._host = host
        self._start_s = patience.start_s
        self._plan = shell.plan_of(step)
        self._timeout_s = step.timeout_s
        self._limit_s = step.timeout_s + patience.grace_s  # on the host
        self._token = secrets.token_hex(8)
        self._mark = f"{shell.MARK}={capture_id}-{secrets.token_hex(4)}"
        self._pipe = Pipe(self._token)
        self._cut: Callable[[], None] = lambda: None
        self._group: shell.Group | None = None
        self._began = 0.0  # on the loop's clock
        self._read = False
        self._stopping = asyncio.Lock()
        self._proof = ""

    @property
    def command(self) -> str:
        """What runs, as a person may repeat it."""
        return self._plan.said

    @property
    def exit_status(self) -> int | None:
        """The program's own."""
        return self._pipe.status

    async def begin(self) -> None:
        """Start the step and wait for its first remark. Raises StepFailed; nothing is left running then."""
        program = shell.step_program(self._plan, token=self._token, mark=self._mark, limit_s=self._limit_s)
        self._cut = await self._host.open(program, self._pipe)
        self._began = _clock()
        try:
            async with asyncio.timeout(self._start_s):
                self._understand(await self._pipe.remark)
        except TimeoutError:
            proof = await self.stop()
            reason = f"{self._host.name} let us in but did not start the step within {self._start_s:g} s; {proof}."
            raise StepFailed(reason, outcome=Outcome.TIMED_OUT) from None
        except asyncio.CancelledError:
            await self.stop()
            raise
        except StepFailed:
            await self._leave()
            raise

    async def output(self) -> AsyncGenerator[bytes, None]:
        """Yield stdout, then what there is of stderr in a section of its own, then raise if it ended badly."""
        self._read = True
        last = b"\n"
        try:
            async with aclosing(self._pipe.chunks()) as chunks:
                async for chunk in chunks:
                    last = chunk
                    yield chunk
            if stderr := self._pipe.stderr:
                new_line = b"" if last.endswith(b"\n") else b"\n"
                yield new_line + header("stderr", datetime.now(UTC)).encode() + stderr
        finally:
            await self._leave()
        self._judge()

    async def stop(self) -> str:
        """End the step's process group, and whatever carries its mark, and prove it."""
        async with self._stopping:
            ended = self._pipe.status is not None
            if not self._proof and not (ended and self._pipe.closed.is_set()):
                self._proof = await self._end(ended=ended)
            if not self._read:
                await self._leave()
            return self._proof

    async def _end(self, *, ended: bool) -> str:
        """End what is left and say so; "" where it *ended* by itself and left nothing."""
        who = f"process group {self._group.id}" if self._group else "the step's process group"
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S - 1):
                program = shell.end_program(self._group, token=self._token, mark=self._mark)
                end = shell.read_end(await ask(self._host, program, token=self._token))
        except TimeoutError:
            trouble = f"{self._host.name} did not answer."
        except StepFailed as failure:
            trouble = failure.reason
        else:
            if end is not None:
                return "" if ended and not end.signal and not end.blind else end.sentence(who)
            trouble = f"{self._host.name} gave no answer."
        self._cut()
        left_s = self._limit_s + shell.KILL_AFTER_S - (_clock() - self._began)
        at = datetime.now(UTC) + timedelta(seconds=max(left_s, 0))
        return (
            f"{who}: the host's own limit ends it by {at:%H:%M:%S} UTC; that it is gone could not be proved: {trouble}"
        )

    async def _leave(self) -> None:
        """Close the way to the host, where the step's end has not closed it."""
        self._cut()
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_TIMEOUT_S):
                await self._pipe.closed.wait()

    def _understand(self, remark: list[str]) -> None:
        match remark:
            case ["group", group, session] if group.isdecimal() and session.isdecimal() and int(group) > 1:
                self._group = shell.Group(id=int(group), session=int(session))
            case ["missing", program]:
                raise StepFailed(f"{shell.missing(program, self._host.name)}.", outcome=Outcome.SKIPPED)
            case _ if self._pipe.status is None:
                raise StepFailed(f"The connection to {self._host.name} was lost at the start.", outcome=Outcome.LOST)
            case _:
                words = self._pipe.complaint or "its shell ended without a word"
                raise StepFailed(f"{self._host.name} did not start the step: {words.rstrip('.')}.")

    def _judge(self) -> None:
        """Raise what the end deserves."""
        pipe, host, name = self._pipe, self._host.name, self._plan.name
        if self._proof or self._stopping.locked():
            raise StepFailed(f"{name} was stopped on {host}.", outcome=Outcome.STOPPED)
        if pipe.status is None and not pipe.signal:
            raise StepFailed(
                f"The connection to {host} was lost while {name} ran; what had come is kept.", outcome=Outcome.LOST
            )
        took_s = (pipe.ended_at or _clock()) - self._began
        if pipe.status in shell.LIMIT_STATUSES and took_s >= self._limit_s - CLOCK_SLACK_S:
            reason = f"{name} was ended on {host} by its time limit of {self._timeout_s:g} s; what had come is kept."
            raise StepFailed(reason, outcome=Outcome.TIMED_OUT)
        if pipe.status != 0:
            raise StepFailed(shell.ending(self._plan, pipe.status, pipe.signal, host, pipe.complaint))


def _clock() -> float:
    return asyncio.get_running_loop().time()

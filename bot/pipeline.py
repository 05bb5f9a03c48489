"""One step's bytes on their way from the target to the store: bounded, redacted, counted.

A file that a step leaves follows its output, bounded and counted too; it cannot be redacted.

The store pulls. Whatever goes wrong on the target's side ends the stream early and is remembered
as an outcome; the store then keeps what came. Nothing that a store or a person sees has passed
around `RedactionStream`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from time import thread_time

from bot.errors import StepFailed
from bot.insights import FILE_BYTES, HEAD_BYTES, header
from bot.insights.words import size
from bot.model import File, Outcome, Step
from bot.redact import BLOCK_BYTES, RedactionStream
from bot.transports import Execution, FileEnd, FileHead, Piece

# The target ends a step at its limit by itself; this much later the bot stops waiting for it to.
GRACE_S = 15.0
SPARSE_S = 0.002  # BLOCK_BYTES are redacted sooner where secrets are rare, and may take thirty times as long where not
START_S = 120.0  # more than any transport takes to say that it cannot start a step


@dataclass(slots=True)
class Allowance:
    """Bytes that a capture may still store; shared by its steps."""

    left_bytes: int


class StepStream:
    """The output of one step as the store may keep it. Iterate `chunks` once, then `file_chunks`, then read the facts.

    *start* begins one sample on the target. Facts: `outcome` and `reason`, `cut`, `exit_status`, `command`,
    `stop_proof`, `remark`, and `head`, the first HEAD_BYTES of what was let through. `file` is None where none
    follows, `file_head` its first FILE_BYTES where an insight wants them; it is known once `chunks` has ended. Whoever does not iterate `file_chunks` to its end has to `close`.
    """

    def __init__(
        self,
        step: Step,
        start: Callable[[], Awaitable[Execution]],
        *,
        redaction: RedactionStream,
        allowance: Allowance,
        now: Callable[[], datetime],
    ) -> None:
        self.outcome = Outcome.OK
        self.reason = ""
        self.cut = False
        self.exit_status: int | None = None
        self.command = ""
        self.stop_proof = ""
        self.remark = ""
        self.file: FileHead | None = None
        self.file_cut = False
        self.file_head = bytearray()
        self.head = bytearray()
        self.head_is_whole = True
        self.redaction = redaction
        self._step = step
        self._start = start
        self._allowance = allowance
        self._now = now
        self._left_bytes = step.limit_bytes
        self._execution: Execution | None = None
        self._output: AsyncIterator[Piece] | None = None
        self._deadline = 0.0  # on the loop's clock
        self._starting: asyncio.Timeout | None = None
        self._stop_asked = asyncio.Event()
        self._sparse = False  # of secrets

    async def stop(self, outcome: Outcome, reason: str) -> None:
        """End the step on its target; what came until then, and what it says on dying, is kept."""
        if not self._stop_asked.is_set():
            self._end(outcome, reason)
            self._stop_asked.set()
            if self._starting is not None and not self._starting.expired():
                self._starting.reschedule(asyncio.get_running_loop().time())  # a start that is broken off cleans up
            elif self._execution is not None:
                self.stop_proof = await self._execution.stop() or self.stop_proof

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield redacted output until the step ends, a limit strikes or somebody stops it."""
        async with aclosing(self._samples()) as samples:
            async for raw in samples:
                for at in range(0, len(raw), BLOCK_BYTES):
                    if clean := await self._redacted(partial(self.redaction.feed, raw[at : at + BLOCK_BYTES])):
                        yield self._keep(clean)
        if clean := await self._redacted(self.redaction.finish):
            yield self._keep(clean)

    async def _redacted(self, redact: Callable[[], bytes]) -> bytes:
        """Call *redact* here once its last result came quickly, as it does where secrets are rare; else in a thread."""
        clean, took_s = _timed(redact) if self._sparse else await asyncio.to_thread(_timed, redact)
        if clean:
            self._sparse = took_s < SPARSE_S
        return clean

    async def _samples(self) -> AsyncGenerator[bytes, None]:
        sampling = self._step.sampling
        times = sampling.times if sampling else 1
        begun = asyncio.get_running_loop().time()
        for n in range(times):
            head = b""
            if sampling:
                await self._sleep_until(begun + n * sampling.every_s)
                head = header("sample", self._now(), n=n + 1, of=times).encode()
            async with aclosing(self._sample()) as output:
                async for raw in output:
                    yield head + raw  # a sample that gives nothing leaves nothing, not even its header
                    head = b""
            if self.outcome is not Outcome.OK or self.cut:
                return

    async def _sample(self) -> AsyncGenerator[bytes, None]:
        if self._stop_asked.is_set():
            return
        if (execution := await self._begin()) is None:
            return
        self._execution, self.command = execution, execution.command
        if self._stop_asked.is_set():  # somebody stopped it in the moment in which it had started
            self.stop_proof = await execution.stop()
            return
        self._output = execution.output()
        self._deadline = asyncio.get_running_loop().time() + self._step.timeout_s + GRACE_S
        leaves_file = isinstance(self._step.action, File)
        try:
            while (raw := await self._next(self._output)) is not None:
                if isinstance(raw, FileHead):
                    self.file = raw
                    return
                if isinstance(raw, FileEnd):
                    continue
                if not self.cut and (allowed := self._allow(raw)):
                    yield allowed
                if self.cut and not leaves_file:
                    return
        finally:
            if self.file is None:
                await self.close()

    async def file_chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the file that follows the output, as it is, until its end, its limit or a stop."""
        action = self._step.action
        if self.file is None or self._output is None or not isinstance(action, File):
            return
        self._left_bytes, self.file_cut = action.limit_bytes, True
        try:
            while isinstance(raw := await self._next(self._output), bytes):
                room = min(self._left_bytes, self._allowance.left_bytes)
                if len(raw) > room:
                    limit = action.limit_bytes if self._left_bytes <= self._allowance.left_bytes else None
                    whose = f"its limit of {size(limit)}" if limit else "the capture's limit of bytes"
                    self.reason = f"{self.reason} {self.file.name} was cut at {whose}; the first part is kept.".strip()
                    self.cut = True
                if allowed := raw[:room]:
                    self._take(len(allowed))
                    if self._step.insight and (missing := FILE_BYTES - len(self.file_head)) > 0:
                        self.file_head += allowed[:missing]
                    yield allowed
                if self.cut and len(raw) > room:
                    return
            self.file_cut = not isinstance(raw, FileEnd)
            await self._next(self._output)  # how it ended
        finally:
            await self.close()

    async def close(self) -> None:
        """End what is left of the step on its target. Harmless when it has ended, or never began."""
        execution, output = self._execution, self._output
        if execution is None or output is None:
            return
        self._output = None
        self.stop_proof = await execution.stop() or self.stop_proof
        if isinstance(output, AsyncGenerator):
            await output.aclose()
        self.exit_status = execution.exit_status
        self.remark = " ".join(part for part in (self.remark, execution.remark) if part)

    async def _begin(self) -> Execution | None:
        """Start a sample; None when that failed, took too long or was stopped, which is then remembered."""
        try:
            async with asyncio.timeout(START_S) as self._starting:
                return await self._start()
        except StepFailed as failure:
            self._end(failure.outcome or Outcome.FAILED, failure.reason)
        except TimeoutError:
            self._end(Outcome.TIMED_OUT, f"The target did not start the step within {START_S:g} s.")
        finally:
            self._starting = None
        return None

    async def _next(self, output: AsyncIterator[Piece]) -> Piece | None:
        """The next piece, or None at the end, whose kind is then remembered."""
        try:
            async with asyncio.timeout_at(self._deadline):
                return await anext(output)
        except StopAsyncIteration:
            pass
        except StepFailed as failure:
            self._end(failure.outcome or Outcome.FAILED, failure.reason)
        except TimeoutError:
            self._end(Outcome.TIMED_OUT, f"Nothing more came within {self._step.timeout_s:g} s, and no end either.")
        return None

    def _allow(self, raw: bytes) -> bytes:
        room = min(self._left_bytes, self._allowance.left_bytes)
        if len(raw) > room:
            self.cut = True
            whose = "the step's" if self._left_bytes <= self._allowance.left_bytes else "the capture's"
            self.reason = self.reason or f"Cut at {whose} limit of bytes; the first part is kept."
            raw = raw[:room]
        self._take(len(raw))
        return raw

    def _take(self, size_bytes: int) -> None:
        self._left_bytes -= size_bytes
        self._allowance.left_bytes -= size_bytes

    def _keep(self, clean: bytes) -> bytes:
        room = HEAD_BYTES - len(self.head)
        if room > 0:
            self.head += clean[:room]
        if len(clean) > room:
            self.head_is_whole = False
        return clean

    def _end(self, outcome: Outcome, reason: str) -> None:
        # The first reason is the true one: a stopped program also "fails".
        if self.outcome is Outcome.OK:
            self.outcome, self.reason = outcome, reason

    async def _sleep_until(self, when: float) -> None:
        try:
            async with asyncio.timeout_at(when):
                await self._stop_asked.wait()
        except TimeoutError:
            return


def _timed(redact: Callable[[], bytes]) -> tuple[bytes, float]:
    began = thread_time()
    return redact(), thread_time() - began

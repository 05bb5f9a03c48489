"""One step under way on a Linux host, whatever carries it there: its output, its end and the proof of that."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from bot.errors import StepFailed
from bot.insights import header
from bot.insights.words import size
from bot.model import Carry, Outcome, Step
from bot.transports import (
    STOP_TIMEOUT_S,
    FileEnd,
    FileHead,
    Piece,
    becoming,
    carrying,
    framing,
    reaping,
    scratch,
    shell,
)
from bot.transports.pipe import Host, Pipe, ask

BEGIN_TIMEOUT_S = 5.0  # until a step that is stopped while it starts has said its group
LEAVE_TIMEOUT_S = 1.0  # for a host to close what we closed
NOTE_TIMEOUT_S = 5.0  # from one stream's end of a report to the other's remark about the file
FULL_BYTES = 1_000_000  # of free space, below which a disk is called full
REMARK_CHARS = 1000  # of what came to light on a host
CLOCK_SLACK_S = 0.5  # between the host's clock and ours when a time limit is recognised


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a host may take."""

    start_s: float = 20.0  # from an open session to the program's first remark
    grace_s: float = 2.0  # by which the limit on the host exceeds the step's own


PATIENCE = Patience()


class ShellExecution:
    """A step on a host, from its start to the proof of its end. Fulfils `bot.transports.Execution`."""

    def __init__(
        self,
        host: Host,
        step: Step,
        *,
        capture_id: str,
        patience: Patience,
        contacts: reaping.Contacts,
        paths: Sequence[str] | None = None,
        become: bool = False,
        places: Sequence[str] = scratch.PLACES,
    ) -> None:
        self._host = host
        self._contacts = contacts
        self._capture_id = capture_id
        self._places = places
        self._start_s = patience.start_s
        self._plan = shell.plan_of(step, paths)
        if become and (program := becoming.program_of(step, paths)):
            self._plan = shell.as_root(self._plan, program)
        self._timeout_s = step.timeout_s
        self._limit_s = step.timeout_s + patience.grace_s  # on the host
        self._token = secrets.token_hex(8)
        self._id = f"{capture_id}-{secrets.token_hex(4)}"
        self._mark = f"{reaping.MARK}={self._id}"
        self._pipe = Pipe(self._token)
        self._cut: Callable[[], None] = lambda: None
        self._group: shell.Group | None = None
        self._began = 0.0  # on the loop's clock
        self._read = False
        self._stopping = asyncio.Lock()
        self._proof = ""
        self._note: framing.FileNote | None = None
        self._carry = step.carry
        self._load = carrying.Load()

    @property
    def command(self) -> str:
        """What runs, as a person may repeat it."""
        return self._plan.said

    @property
    def exit_status(self) -> int | None:
        """The program's own."""
        return self._pipe.status

    @property
    def remark(self) -> str:
        """What earlier captures had left behind there, and what could not be tidied up."""
        reaped = " ".join(reaping.read_reaped(self._pipe.notes, self._host.name))
        swept = [note for note in self._pipe.notes if note[0] == "swept"]
        found = scratch.read_tidied(swept, word="swept").found(self._host.name)
        own = scratch.read_tidied(note for note in self._pipe.notes if note[0] != "swept")
        tool = self._load.trouble or (carrying.read_troubles(self._pipe.notes, self._carry.tool) if self._carry else "")
        unprivileged = becoming.read_refusal(self._pipe.notes, self._host.name)
        parts = (reaped, found, "" if self._proof else own.trouble, tool, unprivileged)
        return shell.plain(" ".join(part for part in parts if part), chars=REMARK_CHARS)

    async def begin(self) -> None:
        """Start the step and wait for its first remark. Raises StepFailed; nothing is left running then."""
        if self._carry:
            await self._pack(self._carry)
        lost = self._contacts.meet(self._host.name, self._capture_id)
        try:
            await self._open(lost)
        except BaseException:
            if lost is not None:
                self._contacts.missed(self._host.name, self._capture_id)
            raise
        self._contacts.settle(self._host.name, lost or ())

    async def _open(self, lost: Sequence[str] | None) -> None:
        program = shell.step_program(
            self._plan, token=self._token, mark=self._mark, limit_s=self._limit_s, places=self._places, lost=lost
        )
        self._cut = await self._host.open(program, self._pipe)
        self._began = _clock()
        try:
            async with asyncio.timeout(self._start_s + len(program) / carrying.SLOWEST_BYTES_S):
                self._understand(await asyncio.shield(self._pipe.remark))
        except TimeoutError:
            proof = await self.stop()
            reason = f"{self._host.name} let us in but did not start the step within {self._start_s:g} s; {proof}."
            raise StepFailed(reason, outcome=Outcome.TIMED_OUT) from None
        except asyncio.CancelledError:
            # What has not begun cannot be found, and would begin once it was looked for: it says its group a moment later.
            with suppress(TimeoutError, StepFailed):
                async with asyncio.timeout(BEGIN_TIMEOUT_S):
                    self._understand(await asyncio.shield(self._pipe.remark))
            await self.stop()
            raise
        except StepFailed:
            await self._leave()
            raise

    async def _pack(self, carry: Carry) -> None:
        """Take a program along where the host lacks it. Raises StepFailed."""
        try:
            async with asyncio.timeout(self._start_s):
                self._load = await carrying.load_for(
                    carry, lambda program: ask(self._host, program, token=self._token), token=self._token
                )
        except TimeoutError:
            reason = f"{self._host.name} did not say within {self._start_s:g} s whether it has {carry.tool}."
            raise StepFailed(reason, outcome=Outcome.TIMED_OUT) from None
        if self._load.unpack:
            said = f"{self._plan.said}  # {self._load.said}"
            self._plan = replace(self._plan, unpack=self._load.unpack, scratch=True, said=said)

    async def output(self) -> AsyncGenerator[Piece, None]:
        """Yield stdout, then what there is of stderr in a section of its own, then raise if it ended badly."""
        self._read = True
        parts = self._report_and_file if self._plan.leaves else self._report
        try:
            async with aclosing(parts()) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            await self._leave()
        self._judge()

    async def _report(self) -> AsyncGenerator[Piece, None]:
        last = b"\n"
        async with aclosing(self._pipe.chunks()) as chunks:
            async for chunk in chunks:
                last = chunk
                yield chunk
        if complaints := self._complaints(last):
            yield complaints

    async def _report_and_file(self) -> AsyncGenerator[Piece, None]:
        unframer = framing.Unframer()
        last = b"\n"
        head: FileHead | None = None
        async with aclosing(self._pipe.chunks()) as chunks:
            async for chunk in chunks:
                in_report = not unframer.in_file
                report, file = unframer.feed(chunk)
                if report:
                    last = report
                    yield report
                if in_report and unframer.in_file:
                    head = await self._file_head()
                    if complaints := self._complaints(last):
                        yield complaints
                    if head:
                        yield head
                if head and file:
                    yield file
        if head and self._note and self._note.status == self._pipe.status:
            yield FileEnd()
        if not unframer.in_file and (complaints := self._complaints(last)):
            yield complaints

    def _complaints(self, last: bytes) -> bytes:
        """The section of what came on stderr so far, to be put behind the piece *last*."""
        if not (stderr := self._pipe.stderr):
            return b""
        new_line = b"" if last.endswith(b"\n") else b"\n"
        return new_line + header("stderr", datetime.now(UTC)).encode() + stderr

    async def _file_head(self) -> FileHead | None:
        """What is said of the file that follows; None where there is none."""
        with suppress(TimeoutError):
            async with asyncio.timeout(NOTE_TIMEOUT_S):
                self._note = framing.read_note(await asyncio.shield(self._pipe.file_note))
        file = self._plan.leaves
        if file is None or self._note is None or self._note.size_bytes is None:
            return None
        return FileHead(name=file.name + self._note.ending, type=self._note.type(file.type))

    async def stop(self) -> str:
        """End the step's process group, and whatever carries its mark, and prove it."""
        async with self._stopping:
            # One that its limit on the host has ended is looked for all the same: that is what people ask about.
            ended = self._pipe.status is not None and not self._overran
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
                program = shell.end_program(self._group, token=self._token, mark=self._mark, places=self._places)
                answer = await ask(self._host, program, token=self._token)
                end = shell.read_end(answer)
        except TimeoutError:
            trouble = f"{self._host.name} did not answer."
        except StepFailed as failure:
            trouble = failure.reason
        else:
            if end is not None:
                if ended and not end.signal and not end.blind:
                    return ""
                parts = (end.sentence(who), await self._tidied(answer))
                return shell.plain(", ".join(part for part in parts if part), chars=REMARK_CHARS)
            trouble = f"{self._host.name} gave no answer."
        self._cut()
        self._contacts.lose(self._host.name, self._id)
        left_s = self._limit_s + shell.KILL_AFTER_S - (_clock() - self._began)
        at = datetime.now(UTC) + timedelta(seconds=max(left_s, 0))
        return (
            f"{who}: the host's own limit ends it by {at:%H:%M:%S} UTC; that it is gone could not be proved: {trouble}"
        )

    async def _tidied(self, answer: list[list[str]]) -> str:
        """What became of the step's files, and of a process that it had stopped: its own shell says it, or *answer*."""
        if not self._plan.scratch:
            return ""
        if not self._pipe.is_paused:  # else the last words of the step's shell wait behind what nobody reads
            with suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_TIMEOUT_S):
                    await self._pipe.closed.wait()
        own = [note for note in self._pipe.notes if note[0] != "swept"]
        return scratch.read_tidied([*own, *answer]).proof

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
            case ["noscratch"]:
                places = " or ".join(self._places)
                raise StepFailed(f"{self._host.name} has no folder for the step's own files: none in {places}.")
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
        if self._overran:
            reason = f"{name} was ended on {host} by its time limit of {self._timeout_s:g} s; what had come is kept."
            raise StepFailed(reason, outcome=Outcome.TIMED_OUT)
        if pipe.status != 0:
            raise StepFailed(" ".join(self._bad_ending()))

    @property
    def _overran(self) -> bool:
        """The limit on the host has ended it."""
        took_s = (self._pipe.ended_at or _clock()) - self._began
        return self._pipe.status in shell.LIMIT_STATUSES and took_s >= self._limit_s - CLOCK_SLACK_S

    def _bad_ending(self) -> Iterator[str]:
        pipe, host, note, file = self._pipe, self._host.name, self._note, self._plan.leaves
        if note and file and note.status == 0:
            words = pipe.complaint or f"status {pipe.status}"
            yield f"{file.name} could not be read to its end on {host}: {words.rstrip('.')}; what had come is kept."
        else:
            yield shell.ending(self._plan, pipe.status, pipe.signal, host, pipe.complaint)
        if note and note.free_bytes < FULL_BYTES:
            yield f"The disk under its scratch folder is full: {size(note.free_bytes)} of {size(note.total_bytes)} left."


def _clock() -> float:
    return asyncio.get_running_loop().time()

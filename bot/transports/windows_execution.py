"""One step under way on a Windows host: its output, the file that it leaves, its end and the proof of that."""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, suppress
from datetime import UTC, datetime, timedelta

import asyncssh

from bot.errors import StepFailed
from bot.insights import header
from bot.insights.words import size
from bot.model import Carry, Outcome, Step
from bot.transports import (
    STOP_TIMEOUT_S,
    FileEnd,
    FileHead,
    Piece,
    carrying,
    framing,
    powershell,
    scratch,
    windows_carrying,
)
from bot.transports.execution import FULL_BYTES, LEAVE_TIMEOUT_S, NOTE_TIMEOUT_S, Patience
from bot.transports.pipe import NOTES, Host, Pipe, ask
from bot.transports.windows_files import LOST, open_file, refusal, sftp_path
from bot.transports.windows_plan import plan_of
from bot.transports.windows_text import Unifier

START_S = 30.0  # from an open session to PowerShell's first remark; on a sick host it takes long to start
GRACE_S = 2.0
PATIENCE = Patience(start_s=START_S, grace_s=GRACE_S)
KILL_GRACE_S = 5.0  # from the host's own limit to the end of everything there

Files = Callable[[], AbstractAsyncContextManager[asyncssh.SFTPClient]]


class WindowsExecution:
    """A step on a Windows host, which has its operator's tools in the folder *tools*. Fulfils `bot.transports.Execution`.

    *files* opens the host's files over SFTP.
    """

    def __init__(self, host: Host, files: Files, step: Step, *, tools: str = "", patience: Patience) -> None:
        self._host = host
        self._files = files
        self._tools = tools
        self._plan = plan_of(step)
        self._carry = step.carry
        self._load = windows_carrying.Load()
        self._timeout_s = step.timeout_s
        self._start_s = patience.start_s
        self._limit_s = step.timeout_s + patience.grace_s  # on the host
        self._token = secrets.token_hex(8)
        self._pipe = Pipe(self._token, notes=NOTES | powershell.REMARKS)
        self._text = Unifier()
        self._cut: Callable[[], None] = lambda: None
        self._way = AsyncExitStack()  # to the file that the step left
        self._pid = 0
        self._born = ""  # when the process began, in the host's own count
        self._folder = ""
        self._began = 0.0  # on the loop's clock
        self._read = False
        self._stopping = asyncio.Lock()
        self._proof = ""
        self._note: framing.FileNote | None = None

    @property
    def command(self) -> str:
        """What runs, as a person may repeat it."""
        return self._plan.said + (f"  # {self._load.said}" if self._load.said else "")

    @property
    def exit_status(self) -> int | None:
        """The program's own."""
        said = next((words[1] for words in self._pipe.notes if words[:1] == ["status"] and len(words) == 2), "")
        return int(said) if said.removeprefix("-").isdecimal() else self._pipe.status

    @property
    def remark(self) -> str:
        """What its output is where it is not plain text, and what earlier captures had left behind there."""
        swept = scratch.read_tidied(self._pipe.notes, word="swept").found(self._host.name)
        own = scratch.read_tidied(note for note in self._pipe.notes if note[0] != "swept")
        text = self._text.remark("The output")
        tool = self._load.trouble
        if self._carry and not tool:
            tool = windows_carrying.read_troubles(self._pipe.notes, self._carry.tool)
        return " ".join(part for part in (text, swept, "" if self._proof else own.trouble, tool) if part)

    async def begin(self) -> None:
        """Start the step and wait for its first remark. Raises StepFailed; nothing is left running then."""
        if self._carry:
            await self._pack(self._carry)
        program = powershell.step_program(
            self._plan, token=self._token, limit_s=self._limit_s, path=self._tools, load=self._load
        )
        self._cut = await self._host.open(program, self._pipe)
        self._began = _clock()
        try:
            async with asyncio.timeout(self._start_s + len(program) / carrying.SLOWEST_BYTES_S):
                self._understand(await asyncio.shield(self._pipe.remark))  # who stops it waits for the same
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

    async def _pack(self, carry: Carry) -> None:
        """Take a program along where the host lacks it. Raises StepFailed."""
        try:
            async with asyncio.timeout(self._start_s):
                look = powershell.look_program(self._token, tool=carry.tool, path=self._tools)
                self._load = await windows_carrying.load_for(carry, await ask(self._host, look, token=self._token))
        except TimeoutError:
            reason = f"{self._host.name} did not say within {self._start_s:g} s whether it has {carry.tool}."
            raise StepFailed(reason, outcome=Outcome.TIMED_OUT) from None

    def _understand(self, remark: list[str]) -> None:
        name = self._host.name
        match remark:
            case ["pid", pid, start, folder] if pid.isdecimal() and start.isdecimal():
                self._pid, self._born, self._folder = int(pid), start, _decoded(folder)
            case ["missing", *program]:
                raise StepFailed(f"{' '.join(program)} is not installed on {name}.", outcome=Outcome.SKIPPED)
            case ["batch", *program]:
                reason = f"{' '.join(program)} is a batch file on {name}, which cmd.exe would read its arguments in"
                raise StepFailed(f"{reason}; name the program itself, or run it from a script.")
            case _ if self._pipe.status is None:
                raise StepFailed(f"The connection to {name} was lost at the start.", outcome=Outcome.LOST)
            case _:
                words = self._pipe.complaint or "its shell ended without a word"
                raise StepFailed(f"{name} did not start the step: {words.rstrip('.')}.")

    # --- output -----------------------------------------------------------------------------------

    async def output(self) -> AsyncGenerator[Piece, None]:
        """Yield stdout, then what there is of stderr in a section of its own, then a file, then raise if it ended badly."""
        self._read = True
        try:
            async with aclosing(self._pieces()) as pieces:
                async for piece in pieces:
                    yield piece
        except StepFailed:
            if not self._is_stopped:
                raise
        finally:
            await self._way.aclose()
            await self._leave()
        self._judge()

    async def _pieces(self) -> AsyncGenerator[Piece, None]:
        report = Report(f"{self._token} end".encode() if self._plan.leaves else b"")
        last = b"\n"
        async with aclosing(self._pipe.chunks()) as chunks:
            async for chunk in chunks:
                if text := self._text.feed(report.feed(chunk)):
                    last = text
                    yield text
                if report.is_over:
                    break
            if rest := self._text.feed(report.finish()) + self._text.finish():
                last = rest
                yield rest
            if report.is_over:
                if complaints := self._complaints(last):
                    yield complaints
                async with aclosing(self._file()) as pieces:
                    async for piece in pieces:
                        yield piece
            async for _ in chunks:  # its last words, and with them its end
                pass
        if not report.is_over and (complaints := self._complaints(last)):
            yield complaints

    def _complaints(self, last: bytes) -> bytes:
        """The section of what came on stderr so far, to be put behind the piece *last*."""
        if not (stderr := self._pipe.stderr):
            return b""
        text = Unifier("utf-8")
        new_line = b"" if last.endswith(b"\n") else b"\n"
        return new_line + header("stderr", datetime.now(UTC)).encode() + text.feed(stderr) + text.finish()

    async def _file(self) -> AsyncGenerator[Piece, None]:
        """The file that the step left, and its deletion, for which the host waits."""
        with suppress(TimeoutError):
            async with asyncio.timeout(NOTE_TIMEOUT_S):
                self._note = framing.read_note(await asyncio.shield(self._pipe.file_note))
        file = self._plan.leaves
        if file is None or self._note is None or self._note.size_bytes is None:
            return
        name = file.name + self._note.ending
        yield FileHead(name=name, type=self._note.type(file.type))
        path = f"{self._folder}\\{name}"
        sftp = await self._way.enter_async_context(self._files())
        reader = await open_file(sftp, self._host.name, path)
        async with aclosing(reader.chunks(0, until=self._began + self._limit_s)) as chunks:
            async for chunk in chunks:
                yield chunk
        await reader.close()
        if reader.read_bytes == self._note.size_bytes:
            yield FileEnd()
        try:
            async with asyncio.timeout(NOTE_TIMEOUT_S):
                await sftp.remove(sftp_path(path))
        except LOST as error:
            raise refusal(error, self._host.name, path) from error
        except (TimeoutError, asyncssh.Error):
            pass  # the host removes it itself at the step's limit

    # --- the end ----------------------------------------------------------------------------------

    async def stop(self) -> str:
        """End the step's process and all that it started, and prove it."""
        async with self._stopping:
            ended = self._pipe.status is not None
            if not self._proof and not (ended and self._pipe.closed.is_set()):
                self._proof = await self._end(ended=ended)
            if not self._read:
                await self._leave()
            return self._proof

    @property
    def _is_stopped(self) -> bool:
        return bool(self._proof) or self._stopping.locked()

    async def _end(self, *, ended: bool) -> str:
        """End what is left and say so; "" where it *ended* by itself and left nothing."""
        await self._way.aclose()  # Windows deletes no file that is being read
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S - 1):
                if not self._pid:  # it starts just now
                    self._understand(await asyncio.shield(self._pipe.remark))
                program = powershell.end_program(
                    token=self._token, pid=self._pid, start=self._born, folder=self._folder
                )
                answer = await ask(self._host, program, token=self._token)
            trouble = f"{self._host.name} gave no answer"
            if ended and ["gone", "0"] in answer:
                return ""
            if proof := powershell.read_end(answer, self._pid):
                return ", ".join(part for part in (proof, self._tidied(answer)) if part)
        except TimeoutError:
            trouble = f"{self._host.name} did not answer" if self._pid else "it had not said its process's id"
        except StepFailed as failure:
            trouble = failure.reason.rstrip(".")
        self._cut()
        at = datetime.now(UTC) + timedelta(seconds=max(self._limit_s + KILL_GRACE_S - (_clock() - self._began), 0))
        who = f"process {self._pid}" if self._pid else "the step"
        return (
            f"{who}: the host's own limit ends it by {at:%H:%M:%S} UTC; that it is gone could not be proved: {trouble}"
        )

    def _tidied(self, answer: list[list[str]]) -> str:
        own = [note for note in self._pipe.notes if note[0] != "swept"]
        return scratch.read_tidied([*own, *answer]).proof if self._folder else ""

    async def _leave(self) -> None:
        """Close the way to the host, where the step's end has not closed it."""
        self._cut()
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_TIMEOUT_S):
                await self._pipe.closed.wait()

    def _judge(self) -> None:
        """Raise what the end deserves."""
        pipe, host, name = self._pipe, self._host.name, self._plan.name
        if self._is_stopped:
            raise StepFailed(f"{name} was stopped on {host}.", outcome=Outcome.STOPPED)
        if ["limit"] in pipe.notes:
            reason = f"{name} was ended on {host} by its time limit of {self._timeout_s:g} s; what had come is kept."
            raise StepFailed(reason, outcome=Outcome.TIMED_OUT)
        if self.exit_status is None:
            reason = f"The connection to {host} was lost while {name} ran, or it restarted; what had come is kept."
            raise StepFailed(reason, outcome=Outcome.LOST)
        if self.exit_status != 0:
            raise StepFailed(" ".join(self._bad_ending(self.exit_status)))

    def _bad_ending(self, status: int) -> Iterator[str]:
        words = self._pipe.complaint or "it gave no reason"
        yield f"{self._plan.name} ended with status {powershell.status_words(status)} on {self._host.name}: {words.rstrip('.')}."
        if self._note and self._note.free_bytes < FULL_BYTES:
            left = f"{size(self._note.free_bytes)} of {size(self._note.total_bytes)}"
            yield f"The disk under its scratch folder is full: {left} left."


class Report:
    """Finds the mark at which a report is over, however it was chunked."""

    def __init__(self, mark: bytes) -> None:
        self.is_over = False
        self._mark = mark
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What *data* adds to the report."""
        if not self._mark:
            return data
        data = self._held + data
        if (at := data.find(self._mark)) >= 0:
            self.is_over, self._held = True, b""
            return data[:at]
        keep = max(len(data) - len(self._mark) + 1, 0)
        self._held = data[keep:]
        return data[:keep]

    def finish(self) -> bytes:
        """What was held back."""
        rest, self._held = self._held, b""
        return rest


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode() if text != "-" else ""
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _clock() -> float:
    return asyncio.get_running_loop().time()

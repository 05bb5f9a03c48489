"""What tests of steps on hosts share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from bot.errors import SecretMissing, StepFailed
from bot.model import Action, Run, Script, SecretRef, Step, Target
from bot.transports import Execution, FileEnd, FileHead, Piece, Transport

WITHIN_S = 10.0
POLL_S = 0.01


class Files:
    """Secrets that lie in files."""

    async def resolve(self, ref: SecretRef) -> str:
        """What stands in the file."""
        return _read(Path(ref.text.removeprefix("file:")))

    def forget(self, ref: SecretRef) -> None:
        """Nothing is kept."""


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        raise SecretMissing(f"The file {path} is missing.") from None


@dataclass(frozen=True, slots=True)
class Kept:
    """What came of a step."""

    output: bytes
    failure: StepFailed | None
    head: FileHead | None = None
    file: bytes = b""
    whole: bool = False  # all of the file came

    @property
    def reason(self) -> str:
        """Why it ended badly; "" where it did not."""
        return self.failure.reason if self.failure else ""


def a_run(*argv: str, timeout_s: float = 5.0, needs: tuple[str, ...] = ()) -> Step:
    """A step that runs a program."""
    return a_step(Run(argv=argv), timeout_s=timeout_s, needs=needs)


def a_script(text: str, *, timeout_s: float = 5.0, **env: str) -> Step:
    """A step that runs a script with *env*."""
    return a_step(Script(name="probe.sh", text=text, env=env), timeout_s=timeout_s)


def a_step(action: Action, *, timeout_s: float = 5.0, needs: tuple[str, ...] = ()) -> Step:
    """A step that does *action*."""
    return Step(id="probe", title="Probe", action=action, timeout_s=timeout_s, limit_bytes=10**9, needs=needs)


async def start(transport: Transport, target: Target, step: Step) -> Execution:
    """Start *step* for a capture called c1."""
    return await transport.start(target, step, capture_id="c1")


async def keep(execution: Execution) -> Kept:
    """Everything that still comes, and how it ended."""
    return await keep_rest(execution.output())


async def keep_rest(output: AsyncIterator[Piece]) -> Kept:
    """Everything that still comes of an output that was begun."""
    kept, file = bytearray(), bytearray()
    head: FileHead | None = None
    whole = False
    failure: StepFailed | None = None
    try:
        async for piece in output:
            match piece:
                case FileHead():
                    head = piece
                case FileEnd():
                    whole = True
                case _:
                    (file if head else kept).extend(piece)
    except StepFailed as error:
        failure = error
    return Kept(bytes(kept), failure, head, bytes(file), whole)


async def first_line(output: AsyncIterator[Piece]) -> bytes:
    """The first line, which a script prints at once."""
    line = b""
    async with asyncio.timeout(WITHIN_S):
        while not line.endswith(b"\n"):
            line += await next_bytes(output)
    return line


async def next_bytes(output: AsyncIterator[Piece]) -> bytes:
    """The next piece, of an output or of a file."""
    piece = await anext(output)
    assert isinstance(piece, bytes), f"{piece} stands where bytes were expected"
    return piece


async def until(condition: Callable[[], bool]) -> bool:
    """Wait until *condition* holds; False where it does not within a bound."""
    for _ in range(int(WITHIN_S / POLL_S)):
        if condition():
            return True
        await asyncio.sleep(POLL_S)
    return False


async def gone(*pids: int) -> bool:
    """Whether all of *pids* are gone, seen from outside, within a bound."""
    return await until(lambda: not any(map(lives, pids)))


def lives(pid: int) -> bool:
    """Whether a process is there; one that only waits for its parent to notice its end is not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

"""Steps on the machine that the bot runs on."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import cast

from bot.errors import StepFailed
from bot.model import Step, Target
from bot.transports import Execution, scratch, shell
from bot.transports.execution import PATIENCE, Patience, ShellExecution
from bot.transports.pipe import Pipe, ask
from bot.transports.reaping import Contacts

# The bot's own environment holds its tokens, so no step inherits it.
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
STDOUT, STDERR = 1, 2


class LocalTransport:
    """Runs steps in shells of their own session on this machine. Fulfils `bot.transports.Transport`."""

    def __init__(
        self, *_secrets_and_pool: object, patience: Patience = PATIENCE, places: Sequence[str] = scratch.PLACES
    ) -> None:
        self._patience = patience
        self._places = places  # of scratch folders
        self._contacts = Contacts()

    async def start(self, target: Target, step: Step, *, capture_id: str) -> Execution:
        """Start *step* here."""
        execution = ShellExecution(
            _ThisHost(target.name),
            step,
            capture_id=capture_id,
            patience=self._patience,
            contacts=self._contacts,
            paths=target.paths,
            become=target.become,
            places=self._places,
        )
        await execution.begin()
        return execution

    async def check(self, target: Target) -> list[str]:
        """Say who the bot is here and what this machine lacks."""
        token = secrets.token_hex(8)
        try:
            lost = self._contacts.meet(target.name, token) or ()
            program = shell.examine_program(token, places=self._places, lost=lost)
            answer = await ask(_ThisHost(target.name), program, token=token)
        except StepFailed as failure:
            return [f"fault: {failure.reason}"]
        return shell.read_examination(target.name, answer)

    async def close(self) -> None:
        """Nothing is kept open."""


class _ThisHost:
    def __init__(self, name: str) -> None:
        self.name = name

    async def open(self, program: bytes, pipe: Pipe, *, spare: bool = False) -> Callable[[], None]:
        del spare  # a machine has no places to run out of
        loop = asyncio.get_running_loop()
        argv = shell.COMMAND.split()[1:]
        try:
            transport, _ = await loop.subprocess_exec(
                lambda: _Shell(pipe), *argv, env=ENVIRONMENT, cwd="/", start_new_session=True
            )
        except OSError as error:
            raise StepFailed(f"{self.name} cannot start {argv[0]}: {error.strerror}.") from error
        stdin = cast("asyncio.WriteTransport", transport.get_pipe_transport(0))
        stdin.write(program)
        stdin.close()
        return transport.close


class _Shell(asyncio.SubprocessProtocol):
    """Hands what a shell says to its pipe."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._process = cast("asyncio.SubprocessTransport", transport)
        self._pipe.source = cast("asyncio.ReadTransport", self._process.get_pipe_transport(STDOUT))

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == STDERR:
            self._pipe.feed_stderr(data)
        else:
            self._pipe.feed(data)

    def process_exited(self) -> None:
        status = self._process.get_returncode()
        if status is not None and status < 0:
            self._pipe.end(None, shell.signal_name(-status))
        else:
            self._pipe.end(status)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc  # a shell's pipes have no fault that its status would not tell
        self._process.close()
        self._pipe.close()

"""Steps on Linux hosts over SSH."""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_hex

import asyncssh

from bot.errors import StepFailed
from bot.model import Outcome, Ssh, Step, Target
from bot.secrets import Resolver
from bot.transports import Execution, shell
from bot.transports.execution import PATIENCE, Patience, ShellExecution
from bot.transports.pipe import Pipe, ask
from bot.transports.sshpool import PooledSession, SshPool


class SshTransport:
    """Runs steps over the pool's connections. Fulfils `bot.transports.Transport`."""

    def __init__(self, secrets: Resolver, pool: SshPool, *, patience: Patience = PATIENCE) -> None:
        del secrets  # the pool logs in
        self._pool = pool
        self._patience = patience

    async def start(self, target: Target, step: Step, *, capture_id: str) -> Execution:
        """Start *step* on the target's host."""
        if target.ssh is None:
            raise StepFailed(f"{target.name} has no ssh settings in capturebot.yml.", outcome=Outcome.SKIPPED)
        host = _SshHost(target.name, target.ssh, self._pool)
        execution = ShellExecution(host, step, capture_id=capture_id, patience=self._patience)
        await execution.begin()
        return execution

    async def check(self, target: Target) -> list[str]:
        """Log in and say who we are there and what the host lacks."""
        if target.ssh is None:
            return [f"fault: {target.name} has no ssh settings — add `ssh:` to it in capturebot.yml"]
        token = token_hex(8)
        try:
            await self._pool.connection(target.ssh)
            reached = (
                f"ok: {target.name} reached at {target.ssh.host}:{target.ssh.port}, host key verified, login accepted"
            )
            answer = await ask(_SshHost(target.name, target.ssh, self._pool), shell.examine_program(token), token=token)
        except StepFailed as failure:
            return [f"fault: {failure.reason}"]
        return [reached, *shell.read_examination(target.name, answer)]

    async def close(self) -> None:
        """Nothing of its own; whoever made the pool closes it."""


class _SshHost:
    def __init__(self, name: str, ssh: Ssh, pool: SshPool) -> None:
        self.name = name
        self._ssh = ssh
        self._pool = pool

    async def open(self, program: bytes, pipe: Pipe, *, spare: bool = False) -> Callable[[], None]:
        open_session = self._pool.spare_session if spare else self._pool.session
        session = await open_session(self._ssh, shell.COMMAND, lambda: _Shell(pipe))
        session.say(program)
        return session.abort


class _Shell(PooledSession):
    """Hands what a shell says to its pipe."""

    def __init__(self, pipe: Pipe) -> None:
        super().__init__()
        self._pipe = pipe

    def say(self, program: bytes) -> None:
        if self.channel is not None and not self.channel.is_closing():
            self.channel.write(program)
            self.channel.write_eof()

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        super().connection_made(chan)
        self._pipe.source = chan

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        if datatype == asyncssh.EXTENDED_DATA_STDERR:
            self._pipe.feed_stderr(data)
        else:
            self._pipe.feed(data)

    def exit_status_received(self, status: int) -> None:
        self._pipe.end(status)

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:  # noqa: FBT001  asyncssh's signature
        del core_dumped, msg, lang
        self._pipe.end(None, signal)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.channel is not None:
            self.channel.resume_reading()  # delivers what was held back, which else were dropped now
        self._pipe.close()
        super().connection_lost(exc)

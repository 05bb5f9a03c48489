"""Steps on Linux hosts over SSH."""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_hex

from bot.errors import StepFailed
from bot.model import Outcome, Ssh, Step, Target
from bot.secrets import Resolver
from bot.transports import Execution, shell
from bot.transports.execution import PATIENCE, Patience, ShellExecution
from bot.transports.pipe import Pipe, ask
from bot.transports.reaping import Contacts
from bot.transports.sshpipe import PipedSession
from bot.transports.sshpool import SshPool


class SshTransport:
    """Runs steps over the pool's connections. Fulfils `bot.transports.Transport`."""

    def __init__(self, secrets: Resolver, pool: SshPool, *, patience: Patience = PATIENCE) -> None:
        del secrets  # the pool logs in
        self._pool = pool
        self._patience = patience
        self._contacts = Contacts()

    async def start(self, target: Target, step: Step, *, capture_id: str) -> Execution:
        """Start *step* on the target's host."""
        if target.ssh is None:
            raise StepFailed(f"{target.name} has no ssh settings in capturebot.yml.", outcome=Outcome.SKIPPED)
        host = _SshHost(target.name, target.ssh, self._pool)
        execution = ShellExecution(
            host,
            step,
            capture_id=capture_id,
            patience=self._patience,
            contacts=self._contacts,
            paths=target.paths,
            become=target.become,
        )
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
            lost = self._contacts.meet(target.name, token) or ()
            program = shell.examine_program(token, lost=lost)
            answer = await ask(_SshHost(target.name, target.ssh, self._pool), program, token=token)
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
        session = await open_session(self._ssh, shell.COMMAND, lambda: PipedSession(pipe))
        session.say(program)
        return session.abort

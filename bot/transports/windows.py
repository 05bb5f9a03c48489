"""Steps on Windows hosts over OpenSSH for Windows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from secrets import token_hex

from bot.errors import StepFailed
from bot.model import Log, Outcome, Ssh, Step, Target, Windows, WindowsShell
from bot.secrets import Resolver
from bot.transports import Execution, powershell, windows_doctor
from bot.transports.execution import Patience
from bot.transports.pipe import Pipe, ask
from bot.transports.sshpipe import PipedSession
from bot.transports.sshpool import SshPool
from bot.transports.windows_execution import PATIENCE, WindowsExecution
from bot.transports.windows_files import LogExecution

QUESTION_S = 20.0  # for a host to say which shell it has
ANSWER_BYTES = 4096


class WindowsTransport:
    """Runs steps over the pool's connections. Fulfils `bot.transports.Transport`."""

    def __init__(self, secrets: Resolver, pool: SshPool, *, patience: Patience = PATIENCE) -> None:
        del secrets  # the pool logs in
        self._pool = pool
        self._patience = patience
        self._shells: dict[Ssh, WindowsShell] = {}

    async def start(self, target: Target, step: Step, *, capture_id: str) -> Execution:
        """Start *step* on the target's host."""
        del capture_id  # a step is known by its process
        if target.windows is None:
            raise StepFailed(f"{target.name} has no windows settings in capturebot.yml.", outcome=Outcome.SKIPPED)
        ssh = target.windows.ssh
        if isinstance(step.action, Log):
            log = LogExecution(target.name, ssh, self._pool, step.action, timeout_s=step.timeout_s)
            await log.begin()
            return log
        host = await self._host(target.name, target.windows)
        execution = WindowsExecution(
            host, lambda: self._pool.files(ssh), step, tools=target.windows.tools, patience=self._patience
        )
        try:
            await execution.begin()
        except StepFailed:
            self._shells.pop(ssh, None)  # it may be another one by now
            raise
        return execution

    async def check(self, target: Target) -> list[str]:
        """Log in and say who we are there and what the host lacks."""
        if target.windows is None:
            return [f"fault: {target.name} has no windows settings — add `windows:` to it in capturebot.yml"]
        ssh, token = target.windows.ssh, token_hex(8)
        try:
            host = await self._host(target.name, target.windows)
            lines = [f"ok: {target.name} reached at {ssh.host}:{ssh.port}, host key verified, login accepted"]
            lines += [f"ok: its sshd hands commands to {host.shell}"]
            async with asyncio.timeout(self._patience.start_s):
                answer = await ask(host, powershell.examine_program(token), token=token)
            if told := windows_doctor.read_examination(target.name, answer):
                return [*lines, *told, await self._serves_files(target.name, ssh)]
            said = [
                await self._said(target.name, ssh, command)
                for command in (windows_doctor.ENCODED, windows_doctor.PLAIN)
            ]
            return [*lines, windows_doctor.held_back(target.name, *said)]
        except StepFailed as failure:
            return [f"fault: {failure.reason}"]
        except TimeoutError:
            return [f"fault: {target.name} did not run PowerShell within {self._patience.start_s:g} s"]

    async def _serves_files(self, name: str, ssh: Ssh) -> str:
        try:
            async with self._pool.files(ssh):
                return f"ok: {name} serves files over SFTP"
        except StepFailed as failure:
            cure = r"`Subsystem sftp sftp-server.exe` in C:\ProgramData\ssh\sshd_config, then Restart-Service sshd"
            return f"fault: {failure.reason.rstrip('.')} — {cure}"

    async def close(self) -> None:
        """Nothing of its own; whoever made the pool closes it."""

    async def _host(self, name: str, windows: Windows) -> _WindowsHost:
        """The host with its shell, which is asked for once."""
        shell = windows.shell
        if shell is WindowsShell.AUTO:
            shell = self._shells.get(windows.ssh) or await self._ask(name, windows.ssh)
            self._shells[windows.ssh] = shell
        return _WindowsHost(name, windows.ssh, shell, self._pool)

    async def _ask(self, name: str, ssh: Ssh) -> WindowsShell:
        """Which shell it is. Raises StepFailed for one that is neither."""
        if shell := powershell.shell_of(await self._said(name, ssh, powershell.WHICH_SHELL)):
            return shell
        cure = "set DefaultShell below HKLM\\SOFTWARE\\OpenSSH there; a host that runs no Windows belongs under `ssh:`"
        raise StepFailed(f"{name}'s sshd hands commands to neither cmd.exe nor PowerShell; {cure}.")

    async def _said(self, name: str, ssh: Ssh, command: str) -> str:
        """What a command prints that gets no input. Raises StepFailed for one that does not end."""
        pipe = Pipe(token_hex(8))
        session = await self._pool.session(ssh, command, lambda: PipedSession(pipe))
        said = b""
        try:
            async with asyncio.timeout(QUESTION_S):
                session.say(b"")
                async for chunk in pipe.chunks():
                    said = (said + chunk)[:ANSWER_BYTES]
        except TimeoutError:
            reason = f"{name} lets us in, but its shell did not answer within {QUESTION_S:g} s."
            raise StepFailed(reason, outcome=Outcome.TIMED_OUT) from None
        finally:
            session.abort()
        return said.decode("utf-8", "replace")


class _WindowsHost:
    def __init__(self, name: str, ssh: Ssh, shell: WindowsShell, pool: SshPool) -> None:
        self.name = name
        self.shell = shell
        self._ssh = ssh
        self._pool = pool

    async def open(self, program: bytes, pipe: Pipe, *, spare: bool = False) -> Callable[[], None]:
        open_session = self._pool.spare_session if spare else self._pool.session
        session = await open_session(self._ssh, powershell.COMMANDS[self.shell], lambda: PipedSession(pipe))
        session.say(program)
        return session.abort

"""One SSH connection a host, shared by everything that goes there, re-made once it is dead.

sshd allows 10 sessions on a connection (MaxSessions) and drops bursts of new connections
(MaxStartups 10:30:100), so steps share one connection and wait for a place on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from random import SystemRandom
from typing import TypeVar

import asyncssh

from bot.errors import StepFailed
from bot.model import Outcome, Ssh
from bot.secrets import Renewing
from bot.tasks import Tasks
from bot.transports.ssh_hosts import address
from bot.transports.ssh_login import Dropped, log_in

SESSIONS = 8  # steps at once on a connection; two of sshd's ten are left for stopping them
CONNECT_TIMEOUT_S = 10.0  # from the first packet to the end of the login
CONNECT_PAUSES_S = (0.2, 0.5, 1.0, 2.0)  # before another attempt where sshd dropped us in a burst
PLACE_TIMEOUT_S = 60.0  # for a place and a session in it, while other steps have them
OPEN_TIMEOUT_S = 10.0  # from asking for a session to having it
OPEN_PAUSE_S = 0.2  # before asking again where sshd had no session to give
SPARE_TIMEOUT_S = 3.0  # for a session to stop a step in, before a fresh connection is tried
SPARE_CONNECT_TIMEOUT_S = 4.0
CLOSE_TIMEOUT_S = 3.0
# Half this window is a third slower over a path of 20 ms; four times as much wears the host's sshd out.
WINDOW_BYTES = 4 * 1024 * 1024
PACKET_BYTES = 256 * 1024


class PooledSession(asyncssh.SSHClientSession[bytes]):
    """A session on a pooled connection, which gives its place back when it is lost."""

    def __init__(self) -> None:
        self.channel: asyncssh.SSHClientChannel[bytes] | None = None
        self.leave: Callable[[], None] = lambda: None

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """Keep the channel."""
        self.channel = chan

    def connection_lost(self, exc: Exception | None) -> None:
        """Make room for another session."""
        del exc
        self.leave()

    def abort(self) -> None:
        """Close the channel; what is still under way on it is dropped."""
        if self.channel is not None:
            self.channel.abort()


S = TypeVar("S", bound=PooledSession)


@dataclass(frozen=True, slots=True)
class _Line:
    """A live connection and its places."""

    connection: asyncssh.SSHClientConnection
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SESSIONS))


class SshPool:
    """Connections to hosts whose keys are always verified; only the configured key or password is offered."""

    def __init__(
        self,
        secrets: Renewing,
        *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        place_timeout_s: float = PLACE_TIMEOUT_S,
    ) -> None:
        self._secrets = secrets
        self._connect_timeout_s = connect_timeout_s
        self._place_timeout_s = place_timeout_s
        self._lines: dict[Ssh, _Line] = {}
        self._connecting: dict[Ssh, asyncio.Task[_Line]] = {}
        self._tasks = Tasks(on_error=lambda _name, _error: None)  # whoever waits for a connection gets its error

    async def connection(self, ssh: Ssh) -> asyncssh.SSHClientConnection:
        """The pooled connection to *ssh*. Raises StepFailed with host, cause and cure."""
        return (await self._line(ssh)).connection

    async def session(self, ssh: Ssh, command: str, make: Callable[[], S]) -> S:
        """Run *command* in a session on the pooled connection, at most SESSIONS at once. Raises StepFailed."""
        try:
            async with asyncio.timeout(self._place_timeout_s):
                return await self._placed_session(ssh, command, make)
        except TimeoutError:
            raise StepFailed(
                f"{address(ssh)} lets us in but gave no session within {self._place_timeout_s:g} s; raise MaxSessions"
                " in its sshd_config, or try again when other captures are done.",
                outcome=Outcome.TIMED_OUT,
            ) from None

    async def spare_session(self, ssh: Ssh, command: str, make: Callable[[], S]) -> S:
        """Run *command* beside the places: on a fresh connection where the pooled one has no session to give."""
        line = self._lines.get(ssh)
        if line and not line.connection.is_closed():
            try:
                async with asyncio.timeout(SPARE_TIMEOUT_S):
                    return await _open(line.connection, command, make)
            except (TimeoutError, asyncssh.Error, OSError):
                pass  # full, hung or dying; a fresh connection tells which
        way = await self._fresh_way(ssh)
        try:
            async with asyncio.timeout(SPARE_TIMEOUT_S):
                return await _open(way[-1], command, make, leave=partial(_abort, way))
        except (TimeoutError, asyncssh.Error, OSError) as error:
            _abort(way)
            raise StepFailed(f"{address(ssh)} lets us in but opens no session: {error}.") from error

    @asynccontextmanager
    async def files(self, ssh: Ssh) -> AsyncIterator[asyncssh.SFTPClient]:
        """A client for the host's files, in a session that takes a place. Raises StepFailed."""
        try:
            async with asyncio.timeout(self._place_timeout_s):
                line = await self._line(ssh)
                await line.places.acquire()
        except TimeoutError:
            reason = f"{address(ssh)} had no free session within {self._place_timeout_s:g} s; other steps have them."
            raise StepFailed(reason, outcome=Outcome.TIMED_OUT) from None
        try:
            try:
                async with asyncio.timeout(OPEN_TIMEOUT_S):
                    client = await line.connection.start_sftp_client()
            except (TimeoutError, asyncssh.Error, OSError) as error:
                cure = "look for the line `Subsystem sftp` in its sshd_config"
                raise StepFailed(f"{address(ssh)} lets us in but serves no files over SFTP; {cure}.") from error
            try:
                yield client
            finally:
                client.exit()
        finally:
            line.places.release()

    async def close(self) -> None:
        """End all connections, within CLOSE_TIMEOUT_S or by force."""
        await self._tasks.cancel(CLOSE_TIMEOUT_S)
        connections = [line.connection for line in self._lines.values()]
        self._lines.clear()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                for connection in connections:
                    connection.close()
                for connection in connections:
                    await connection.wait_closed()
        except TimeoutError:
            for connection in connections:
                connection.abort()

    async def _placed_session(self, ssh: Ssh, command: str, make: Callable[[], S]) -> S:
        while True:
            line = await self._line(ssh)
            await line.places.acquire()
            try:
                async with asyncio.timeout(OPEN_TIMEOUT_S):
                    return await _open(line.connection, command, make, leave=line.places.release)
            except TimeoutError:
                reason = f"{address(ssh)} lets us in but opened no session within {OPEN_TIMEOUT_S:g} s: its sshd hangs."
                raise StepFailed(reason, outcome=Outcome.TIMED_OUT) from None
            except (asyncssh.Error, OSError):
                # The connection died, which `_line` mends, or the host allows fewer sessions than we have places.
                await asyncio.sleep(OPEN_PAUSE_S)

    # --- connections --------------------------------------------------------------------------

    async def _line(self, ssh: Ssh) -> _Line:
        if (line := self._lines.get(ssh)) and not line.connection.is_closed():
            return line
        if (connecting := self._connecting.get(ssh)) is None:
            connecting = self._tasks.start(self._connect(ssh), name=f"connect to {address(ssh)}")
            self._connecting[ssh] = connecting
            connecting.add_done_callback(lambda _: self._connecting.pop(ssh))
        return await asyncio.shield(connecting)  # whoever gives up does not take it from the others

    async def _jump(self, ssh: Ssh) -> asyncssh.SSHClientConnection | None:
        """The pooled connection to the jump host, which others on the same way share."""
        if ssh.via is None:
            return None
        try:
            return await self.connection(ssh.via)
        except StepFailed as failed:
            raise StepFailed(f"No way to {address(ssh)}: {failed.reason}", outcome=failed.outcome) from failed

    async def _fresh_way(self, ssh: Ssh) -> list[asyncssh.SSHClientConnection]:
        """Connections of our own, through all jump hosts, for a pooled one on the way may be what hangs."""
        way = await self._fresh_way(ssh.via) if ssh.via else []
        try:
            jump = way[-1] if way else None
            return [*way, await log_in(ssh, self._secrets, timeout_s=SPARE_CONNECT_TIMEOUT_S, jump=jump)]
        except BaseException:
            _abort(way)
            raise

    async def _connect(self, ssh: Ssh) -> _Line:
        pauses = iter(CONNECT_PAUSES_S)
        while True:
            jump = await self._jump(ssh)
            try:
                connection = await log_in(ssh, self._secrets, timeout_s=self._connect_timeout_s, jump=jump)
            except Dropped:
                if (pause_s := next(pauses, None)) is None:
                    raise
                await asyncio.sleep(pause_s * SystemRandom().uniform(0.5, 1.5))
            else:
                self._lines[ssh] = _Line(connection)
                return self._lines[ssh]


def _abort(way: list[asyncssh.SSHClientConnection]) -> None:
    for connection in reversed(way):
        connection.abort()


async def _open(
    connection: asyncssh.SSHClientConnection,
    command: str,
    make: Callable[[], S],
    *,
    leave: Callable[[], None] = lambda: None,
) -> S:
    """Run *command* in a session; *leave* is called once, when the session is lost or never came to be."""
    made: list[S] = []

    def session() -> S:
        made.append(make())
        made[0].leave = leave
        return made[0]

    try:
        await connection.create_session(session, command, encoding=None, window=WINDOW_BYTES, max_pktsize=PACKET_BYTES)
    except BaseException:
        if made:
            made[0].abort()
        else:
            leave()
        raise
    return made[0]

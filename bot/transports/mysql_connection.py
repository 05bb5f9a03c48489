"""A session on MySQL or MariaDB that can only read, directly or through a jump host."""

from __future__ import annotations

import asyncio
import re
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

import asyncssh

from bot.errors import StepFailed
from bot.model import MySql, Ssh, Tls
from bot.transports.mysql_errors import Server, SqlError, hangs, login_failed
from bot.transports.mysql_table import Column
from bot.transports.mysql_wire import Wire, told
from bot.transports.shell import plain

SQL_MODE = "IGNORE_SPACE"  # and nothing else: how `bot.sql` cuts a statement, and `escape` quotes, fits no other mode
SMALL_ROWS, SMALL_BYTES = 10_000, 1_000_000  # of an answer that is held whole: who the server is, what the account may
ACCOUNT_CHARS = 400  # more than the longest name with the longest host
LOCK_WAIT_S = 2  # a capture never queues for long behind the locks that it was sent to look at
PLACEHOLDER = re.compile(r"%\((\w+)\)s")
FOUND = re.compile(r"%\(([a-z][\w-]*)\.(\w+)\)s")  # a column of the first row that an earlier statement found

_SYNTAX_ERROR = 1064
_GREETING = "SELECT VERSION(), @@version_comment, CONNECTION_ID(), CURRENT_USER(), @@performance_schema"


class Jump(Protocol):
    """Where the connections to jump hosts are kept."""

    async def connection(self, ssh: Ssh) -> asyncssh.SSHClientConnection:
        """A live connection to *ssh*. Raises StepFailed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """All that opening a session takes; *statement_s* and *rows* become limits on the server."""

    target: str
    mysql: MySql
    statement_s: float
    rows: int
    connect_s: float  # from the first packet to a session that may be asked
    jump: Jump
    password: str = field(repr=False)


class Connection:
    """A session that can only read, is limited on the server, and answers one statement at a time.

    Its methods raise SqlError. Whatever harms the connection itself, a cancellation too, closes it.
    """

    def __init__(self, wire: Wire, server: Server, thread: int) -> None:
        self._wire = wire
        self.server = server
        self.thread = thread  # the server's number of this connection

    @property
    def closed(self) -> bool:
        """Nothing can be asked on it any more."""
        return bool(self._wire.closed)

    @property
    def encrypted(self) -> bool:
        """Whether TLS is on."""
        return bool(self._wire.encrypted)

    def bind(self, text: str, arguments: Mapping[str, str | int]) -> str:
        """Put *arguments* in the place of ``%(name)s``, quoted; every other ``%`` stays as it is."""
        return PLACEHOLDER.sub(lambda found: str(self._wire.escape(arguments[found[1]])), text)

    def fill(self, text: str, rows: Mapping[str, Mapping[str, str | int]]) -> str:
        """Put what was found in *rows*, by the name of its statement, in the place of ``%(name.column)s``, quoted.

        Raises LookupError with the ``name.column`` that was not found.
        """

        def value(found: re.Match[str]) -> str:
            try:
                return str(self._wire.escape(rows[found[1]][found[2]]))
            except KeyError:
                raise LookupError(f"{found[1]}.{found[2]}") from None

        return FOUND.sub(value, text)

    async def ask(self, text: str) -> tuple[Column, ...]:
        """Send one statement; the rows of its answer must be read to the end before the next, or `close` called."""
        with told(self._wire):
            return await self._wire.ask(text)

    async def row(self) -> tuple[bytes | None, ...] | None:
        """The next row in the server's own text form, None after the last."""
        with told(self._wire):
            return await self._wire.row()

    async def rows(self, text: str) -> list[tuple[str, ...]]:
        """The whole answer of a statement that has a small one, of at most SMALL_BYTES and SMALL_ROWS; NULL reads as ""."""
        await self.ask(text)
        found: list[tuple[str, ...]] = []
        size = 0
        while (row := await self.row()) is not None:
            size += sum(len(value or b"") + 1 for value in row)
            if size > SMALL_BYTES or len(found) == SMALL_ROWS:
                self.close()
                raise SqlError(0, f"its answer to {text} has no end")
            found.append(tuple((value or b"").decode(errors="replace") for value in row))
        return found

    async def leave(self) -> None:
        """Close with a goodbye, so that the server does not count a client that broke off."""
        with told(self._wire):
            await self._wire.ensure_closed()

    def close(self) -> None:
        """Drop the connection at once, whatever is under way on it."""
        self._wire.close()


async def connect(login: Login) -> Connection:
    """Open a session with every guard on, within its own time once the jump host is there. Raises StepFailed."""
    mysql = login.mysql
    tls = await _tls(login)
    ssh = await login.jump.connection(mysql.via) if mysql.via else None
    try:
        async with asyncio.timeout(login.connect_s), _route(login, ssh) as socket:
            wire = Wire(mysql, login.password, tls, socket)
            try:
                with told(wire):
                    await wire.open()
                    return await _guarded(wire, login)
            except BaseException:
                wire.close()
                raise
    except TimeoutError:
        raise hangs(login.target, mysql, login.connect_s) from None
    except (SqlError, OSError) as error:  # ssl.SSLError is an OSError
        raise login_failed(login.target, mysql, error) from error


def session_limits(flavour: str, statement_s: float, rows: int) -> str:
    """The statement that sets the limits on the server itself, and what its signs mean.

    MariaDB counts seconds and limits every statement, MySQL milliseconds and reading ones only;
    neither knows the other's name. A SELECT that has a LIMIT of its own is not held by sql_select_limit.
    """
    limit = (
        f"max_statement_time = {statement_s:.3f}"
        if flavour == "mariadb"
        else f"max_execution_time = {round(statement_s * 1000)}"
    )
    return (
        f"SET SESSION sql_mode = '{SQL_MODE}', {limit}, lock_wait_timeout = {LOCK_WAIT_S}, innodb_lock_wait_timeout = {LOCK_WAIT_S}, "
        f"sql_select_limit = {rows + 1}"
    )


def server_of(version: str, comment: str, account: str, *, performance_schema: bool) -> Server:
    """Read ``10.11.19-MariaDB-0+deb12u1`` and ``8.4.3-3 Percona Server``; *account* is ``name@host``."""
    numbers = re.match(r"(?:5\.5\.5-)?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?", version, re.ASCII)
    user, _, host = plain(account.replace("'", "''"), chars=ACCOUNT_CHARS).rpartition(
        "@"
    )  # it will stand in a GRANT that somebody copies
    return Server(
        flavour="mariadb" if "mariadb" in f"{version} {comment}".lower() else "mysql",
        version=tuple(int(number) for number in numbers.groups() if number) if numbers else (0,),
        account=f"'{user}'@'{host}'",
        performance_schema=performance_schema,
    )


async def _guarded(wire: Wire, login: Login) -> Connection:
    """Ask who the server is, take away what a capture must not do, and see that it was taken away."""
    asked = Connection(wire, server_of("0", "", "", performance_schema=False), 0)
    ((version, comment, thread, account, on),) = await asked.rows(_GREETING)
    server = server_of(version, comment, account, performance_schema=on == "1")
    await asked.rows("SET SESSION TRANSACTION READ ONLY")
    await asked.rows(session_limits(server.flavour, login.statement_s, login.rows))
    try:
        await asked.ask("SELECT 1; SELECT 2")
    except SqlError as error:
        if error.code == _SYNTAX_ERROR:
            return Connection(wire, server, int(thread))
        raise
    raise StepFailed(
        f"{login.target} runs several statements in one, which we switched off — if a proxy stands before the "
        "server, name the server itself as host"
    )


async def _tls(login: Login) -> ssl.SSLContext | None:
    mysql = login.mysql
    if mysql.tls is Tls.VERIFY:
        try:  # reads files, all of this machine's authorities where no ca is set: beside the loop
            return await asyncio.to_thread(ssl.create_default_context, cafile=str(mysql.ca) if mysql.ca else None)
        except OSError as error:
            raise StepFailed(
                f"{login.target}: the ca {mysql.ca} cannot be read ({error.strerror or error}) — it must be the "
                "authority's certificate as a PEM file"
            ) from error
    if mysql.tls is Tls.REQUIRED:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    return None


@asynccontextmanager
async def _route(login: Login, ssh: asyncssh.SSHClientConnection | None) -> AsyncIterator[str | None]:
    """A local socket that leads through the jump host to the server; None where there is no jump host.

    It is a file that only this user can open, where a port on loopback would be open to every user
    here, and it is gone once the connection stands.
    """
    if ssh is None:
        yield None
        return
    mysql = login.mysql
    with tempfile.TemporaryDirectory(prefix="capturebot-jump-") as folder:
        try:
            listener = await ssh.forward_local_path_to_port(f"{folder}/db", mysql.host, mysql.port)
            try:
                yield f"{folder}/db"
            except SqlError as error:
                if error.lost:  # the listener cannot say why the other side did not open: ask again
                    _, writer = await ssh.open_connection(mysql.host, mysql.port)
                    writer.close()
                raise
            finally:
                listener.close()
        except asyncssh.Error as error:
            via = mysql.via.host if mysql.via else ""
            raise StepFailed(
                f"{login.target}: the jump host {via} cannot open {mysql.host}:{mysql.port} ({error.reason}) — "
                "is the server reachable from there, and does its sshd allow forwarding?"
            ) from error

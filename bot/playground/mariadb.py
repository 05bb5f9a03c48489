"""A private, real MariaDB server in a folder of its own, on loopback, ended with its context."""

from __future__ import annotations

import asyncio
import os
import pwd
import secrets
import shutil
import signal
import socket as sockets
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiomysql
from pymysql.err import OperationalError

from bot.errors import UserError
from bot.playground.certificates import make_certificates

INSTALL_TIMEOUT_S = 60.0
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
POLL_S = 0.05
PORT_ATTEMPTS = 3  # somebody may take a free port before the server does
PORT_TAKEN = "Bind on TCP/IP port"
LOG_TAIL_BYTES = 2000
SOCKET_PATH_BYTES = 107  # sun_path of Linux, without its closing zero
HOST = "127.0.0.1"
SOCKET, START, LOG = "mariadb.sock", "start.sql", "mariadb.log"

SMALL = (
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=16M",
    "--innodb-flush-log-at-trx-commit=2",
    "--skip-log-bin",
    "--skip-name-resolve",  # accounts match addresses, and 127.0.0.1 is never root's "localhost"
)

# Run by the server before it listens: mariadb-install-db leaves administrators without a password.
START_SQL = """\
DELETE FROM mysql.global_priv WHERE User = 'root' AND Host <> 'localhost';
FLUSH PRIVILEGES;
ALTER USER root@localhost IDENTIFIED BY '{password}';
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateMariaDb:
    """A running server; *authority* is the file that its certificate is verified with, None without TLS."""

    host: str
    port: int
    socket: Path
    pid: int
    folder: Path  # where its files really lie
    authority: Path | None
    admin_password: str = field(repr=False)

    async def execute(self, sql: str, arguments: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
        """Run *sql* as the administrator, on a connection of its own, and return its rows.

        A percent sign is doubled where there are *arguments*, and only there.
        """
        connection = await aiomysql.connect(
            unix_socket=str(self.socket),
            user="root",
            password=self.admin_password,
            autocommit=True,
            charset="utf8mb4",
            init_command="SET SESSION sql_notes = 0",  # "already exists" is what IF NOT EXISTS is for
        )
        try:
            async with connection.cursor() as cursor:
                await cursor.execute(sql, arguments)
                return list(await cursor.fetchall())
        finally:
            await connection.ensure_closed()

    async def create_schema(self, schema: str, *, owner: str, password: str) -> None:
        """Make *schema* and an account *owner* that may do anything in it and nothing elsewhere."""
        await self.execute(f"CREATE DATABASE IF NOT EXISTS `{schema}`")
        await self.execute(f"CREATE OR REPLACE USER `{owner}`@'%%' IDENTIFIED BY %s", (password,))
        await self.execute(f"GRANT ALL PRIVILEGES ON `{schema}`.* TO `{owner}`@'%'")

    async def create_observer(self, user: str, password: str) -> None:
        """Make an account with the least grants that a capture needs: it can see, and change nothing."""
        await self.execute(f"CREATE OR REPLACE USER `{user}`@'%%' IDENTIFIED BY %s", (password,))
        await self.execute(f"GRANT PROCESS, SLAVE MONITOR, BINLOG MONITOR ON *.* TO `{user}`@'%'")
        await self.execute(f"GRANT SELECT ON performance_schema.* TO `{user}`@'%'")
        await self.execute(f"GRANT SELECT, EXECUTE ON sys.* TO `{user}`@'%'")


@asynccontextmanager
async def private_mariadb(
    folder: Path,
    *,
    performance_schema: bool = True,
    tls_names: tuple[str, ...] = (),
    options: Sequence[str] = (),
) -> AsyncIterator[PrivateMariaDb]:
    """Run a server whose every file lies in *folder*, which is made when it is missing and kept at the end.

    Started by root it runs as the user mysql (or nobody). Where that user cannot enter *folder*, or its
    path is too long for a socket, the files lie in a temporary folder that goes with the context.
    *tls_names* are the names that its certificate is good for; without any the server has no TLS.
    Raises UserError when MariaDB is not installed or does not start.
    """
    server, install = _program("mariadbd"), _program("mariadb-install-db")
    password = secrets.token_urlsafe(16)
    with _home(folder) as home:
        arguments = _lay_out(home, password, tls_names)
        if not (home / "data").exists():
            await _install(install, arguments)
        arguments.append(f"--performance-schema={'ON' if performance_schema else 'OFF'}")
        process, port = await _start(server, home, [*arguments, *options], password)
        try:
            yield PrivateMariaDb(
                host=HOST,
                port=port,
                socket=home / SOCKET,
                pid=process.pid,
                folder=home,
                authority=home / "ca.pem" if tls_names else None,
                admin_password=password,
            )
        finally:
            await end(process)


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin")
    if found is None:
        raise UserError(f"{name} is not installed.", cure="On Debian: apt-get install mariadb-server")
    return found


@contextmanager
def _home(folder: Path) -> Iterator[Path]:
    """*folder*, or a temporary one where *folder* will not do."""
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    enterable = os.geteuid() != 0 or all(parent.stat().st_mode & stat.S_IXOTH for parent in folder.parents)
    if enterable and len(os.fsencode(folder / SOCKET)) <= SOCKET_PATH_BYTES:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="capturebot-mariadb-") as elsewhere:
        yield Path(elsewhere)


def _free_port() -> int:
    with sockets.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _lay_out(folder: Path, password: str, tls_names: tuple[str, ...]) -> list[str]:
    """Make the files that the server starts from; the arguments that say where they are and whose."""
    (folder / "tmp").mkdir(exist_ok=True)  # servers that start clear /tmp of temporary tables, also of each other's
    arguments = [f"--datadir={folder / 'data'}", f"--tmpdir={folder / 'tmp'}", *SMALL]
    start = folder / START
    start.touch(mode=0o600)
    start.write_text(START_SQL.format(password=password))
    if tls_names:
        made = make_certificates(folder, tls_names)
        arguments += [f"--ssl-cert={made.certificate}", f"--ssl-key={made.key}"]
    if os.geteuid() == 0:
        arguments.append(f"--user={_give_away(folder)}")
    return arguments


def _give_away(folder: Path) -> str:
    """Make an ordinary user the owner of *folder* and of what we put in it; the user's name."""
    users = {user.pw_name: user for user in pwd.getpwall()}
    user = users.get("mysql") or users["nobody"]
    for path in (folder, *folder.iterdir()):
        os.chown(path, user.pw_uid, user.pw_gid)
    folder.chmod(0o700)
    return user.pw_name


async def _install(program: str, arguments: Sequence[str]) -> None:
    process = await asyncio.create_subprocess_exec(
        program,
        "--no-defaults",
        *arguments,
        "--auth-root-authentication-method=normal",  # root gets its password before the server listens
        "--skip-test-db",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(INSTALL_TIMEOUT_S):
            said, _ = await process.communicate()
    finally:
        await end(process)
    if process.returncode:
        raise UserError(f"{program} failed: {said[-LOG_TAIL_BYTES:].decode(errors='replace').strip()}")


async def _start(
    program: str, home: Path, arguments: Sequence[str], password: str
) -> tuple[asyncio.subprocess.Process, int]:
    """Start the server and wait until it takes connections, on the port that is returned."""
    for _ in range(PORT_ATTEMPTS):
        port = _free_port()
        with (home / LOG).open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                program,
                "--no-defaults",
                *arguments,
                f"--socket={home / SOCKET}",
                f"--init-file={home / START}",
                f"--port={port}",
                f"--bind-address={HOST}",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        answers = False
        try:
            answers = await _answers(process, home / SOCKET, password)
        finally:
            if not answers:
                await end(process)
        if answers:
            return process, port
        said = _tail(home / LOG)
        if PORT_TAKEN not in said:
            break
    raise UserError(f"MariaDB did not start: {said}")


async def _answers(process: asyncio.subprocess.Process, socket: Path, password: str) -> bool:
    """Whether it takes connections within START_TIMEOUT_S."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + START_TIMEOUT_S
    while process.returncode is None and loop.time() < deadline:
        try:
            connection = await aiomysql.connect(unix_socket=str(socket), user="root", password=password)
        except OperationalError:
            await asyncio.sleep(POLL_S)
        else:
            await connection.ensure_closed()
            return True
    return False


def _tail(log: Path) -> str:
    return log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()


async def end(process: asyncio.subprocess.Process) -> None:
    """End *process* and nothing else, gently first; also when it was stopped or is gone already."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        process.send_signal(sign)
        process.send_signal(signal.SIGCONT)  # a server that a test stopped hears nothing else
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            continue

"""A real and bounded load on a private MariaDB: sysbench's read-write mix."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bot.errors import UserError
from bot.playground.mariadb import PrivateMariaDb, end

TABLES = 4
WORKLOAD = (
    "oltp_read_write",
    f"--tables={TABLES}",
    "--table-size=10000",
    "--db-ps-mode=disable",  # statements prepared by the server hardly show in the digests
)
PREPARE_TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 15.0
POLL_S = 0.05
OUTPUT_TAIL_BYTES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A load that is under way: *threads* connections of *user* to *schema*."""

    pid: int
    user: str
    schema: str
    threads: int


@asynccontextmanager
async def sysbench(
    database: PrivateMariaDb, *, schema: str = "orders", user: str = "bench", threads: int = 4, seconds: int = 60
) -> AsyncIterator[Load]:
    """Load *database* until the context ends, at most *seconds*.

    Makes *schema* with its tables when they are missing, and yields once every connection is at work.
    Raises UserError when sysbench is not installed or fails.
    """
    program = shutil.which("sysbench")
    if program is None:
        raise UserError("sysbench is not installed.", cure="On Debian: apt-get install sysbench")
    options = database.folder / "sysbench.cnf"
    await _prepare(program, database, options, schema=schema, user=user)
    with (database.folder / "sysbench.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program,
            f"--config-file={options}",
            *WORKLOAD,
            f"--threads={threads}",
            f"--time={seconds}",
            "run",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        await _at_work(database, process, user=user, threads=threads)
        yield Load(pid=process.pid, user=user, schema=schema, threads=threads)
    finally:
        await end(process)


async def _prepare(program: str, database: PrivateMariaDb, options: Path, *, schema: str, user: str) -> None:
    password = secrets.token_urlsafe(16)
    await database.create_schema(schema, owner=user, password=password)
    _write_options(options, database, user=user, password=password, schema=schema)
    last = "SELECT 1 FROM information_schema.tables WHERE table_schema = %s AND table_name = %s"
    if await database.execute(last, (schema, f"sbtest{TABLES}")):
        return
    process = await asyncio.create_subprocess_exec(
        program,
        f"--config-file={options}",
        *WORKLOAD,
        "prepare",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(PREPARE_TIMEOUT_S):
            said, _ = await process.communicate()
    finally:
        await end(process)
    if process.returncode:
        raise UserError(f"sysbench could not make its tables: {said[-OUTPUT_TAIL_BYTES:].decode(errors='replace')}")


def _write_options(options: Path, database: PrivateMariaDb, *, user: str, password: str, schema: str) -> None:
    """How to log in, in a file: the arguments of a program can be read by everybody."""
    options.touch(mode=0o600)
    options.write_text(
        f"mysql-host={database.host}\nmysql-port={database.port}\nmysql-user={user}\nmysql-password={password}\n"
        f"mysql-db={schema}\n"
    )


async def _at_work(database: PrivateMariaDb, process: asyncio.subprocess.Process, *, user: str, threads: int) -> None:
    connected = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = %s"
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        while (await database.execute(connected, (user,)))[0][0] < threads:
            if process.returncode is not None:
                said = (database.folder / "sysbench.log").read_text(errors="replace")[-OUTPUT_TAIL_BYTES:]
                raise UserError(f"sysbench ended at once: {said.strip()}")
            await asyncio.sleep(POLL_S)

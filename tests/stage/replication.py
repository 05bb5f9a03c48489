"""A primary and its replica: two private MariaDBs, each with a shop's orders in it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.stage.database import Database, database
from tests.stage.waiting import until

KEYLESS = "CREATE TABLE orders.log AS SELECT * FROM orders.orders"  # without a primary key, as logs often are
RUNNING = "SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE 'Slave has read all relay log%'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Both servers; `end_primary` ends the first."""

    primary: Database
    replica: Database
    end_primary: AsyncExitStack

    async def change(self, sql: str, *, ago_s: int) -> None:
        """Run *sql* on the primary, dated back: what the replica has not applied makes it so far behind."""
        await self.primary.server.execute(f"SET STATEMENT timestamp = UNIX_TIMESTAMP() - {ago_s} FOR {sql}")

    async def until_failed(self, thread: str) -> None:
        """Wait until the IO or SQL *thread* of the replica has an error."""

        async def failed() -> bool:
            (row,) = await self.replica.server.execute("SHOW SLAVE STATUS")
            return bool(row[{"IO": 34, "SQL": 36}[thread]])

        await until(failed)


@asynccontextmanager
async def replicating(folder: Path) -> AsyncIterator[Pair]:
    """Start both, and have the second follow the first; they begin with the same rows."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(AsyncExitStack())
        primary, replica = await asyncio.gather(
            first.enter_async_context(_server(folder / "primary", 1)),
            stack.enter_async_context(_server(folder / "replica", 2)),
        )
        password = secrets.token_urlsafe(12)
        await primary.server.execute("CREATE USER repl IDENTIFIED BY %s", (password,))
        await primary.server.execute("GRANT REPLICATION SLAVE ON *.* TO repl")
        for each in (primary, replica):
            await each.server.execute(KEYLESS)
            await each.server.execute("RESET MASTER")
        await replica.server.execute(
            "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = %s, MASTER_USER = 'repl', MASTER_PASSWORD = %s, "
            "MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1",
            (primary.server.port, password),
        )
        await replica.server.execute("START SLAVE")
        await replica.until(RUNNING)
        yield Pair(primary=primary, replica=replica, end_primary=first)


def _server(folder: Path, number: int) -> AbstractAsyncContextManager[Database]:
    return database(
        folder, options=(f"--server-id={number}", "--log-bin=binlog", "--relay-log=relay", "--binlog-format=ROW")
    )

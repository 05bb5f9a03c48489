"""Databases in which sessions wait for each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from tests.stage import Broken, scene
from tests.stage.database import Cursor, database
from tests.stage.needs import programs

MARIADB = programs(mariadbd="mariadb-server-core")
PAY = "UPDATE orders SET status = 'paid' WHERE id = 7"
WAITING = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT' AND trx_wait_started < NOW() - INTERVAL 1 SECOND"
QUEUED = "SELECT COUNT(*) >= 3 FROM information_schema.processlist WHERE state = 'Waiting for table metadata lock' AND time > 0"


async def _pay(cursor: Cursor) -> None:
    await cursor.execute(PAY)


async def _add_column(cursor: Cursor) -> None:
    await cursor.execute("ALTER TABLE orders ADD COLUMN discount INT NOT NULL DEFAULT 0")


async def _slow_report(cursor: Cursor) -> None:
    await cursor.execute("SELECT SUM(total + SLEEP(0.05)) FROM orders")


async def _look(cursor: Cursor) -> None:
    while True:
        await cursor.execute("SELECT status FROM orders WHERE id = 3")
        await asyncio.sleep(0.1)


@scene("db-idle-blocker", "A transaction was left open, and others wait for its row.", recipe="db", needs=(MARIADB,))
async def idle_blocker(folder: Path) -> AsyncIterator[Broken]:
    """Its client does nothing at all."""
    async with database(folder) as orders:
        await orders.account("batch")
        async with orders.session("batch") as batch:
            await batch.execute("BEGIN")
            await batch.execute(PAY)
            async with orders.clients("shop", 3, _pay):
                await orders.until(WAITING)
                yield orders.broken(
                    f"Transaction of batch@127.0.0.1 (thread {batch.connection.thread_id()}) has been idle for <1..15> s "
                    "and blocks 3 others on orders.orders, the longest for <1..15> s"
                )


@scene(
    "db-metadata-lock",
    "A long SELECT keeps an ALTER TABLE waiting, and that everybody else.",
    recipe="db",
    needs=(MARIADB,),
)
async def metadata_lock(folder: Path) -> AsyncIterator[Broken]:
    """The report is the one to end, not those that wait."""
    async with database(folder) as orders, orders.clients("report", 1, _slow_report):
        await orders.until("SELECT COUNT(*) FROM information_schema.innodb_trx")
        async with orders.clients("deploy", 1, _add_column), orders.clients("shop", 3, _look):
            await orders.until(QUEUED)
            yield orders.broken(
                "4 sessions wait for a metadata lock, first ALTER TABLE orders <any> (thread <1..99>), "
                "for <1..15> s; probably held by report@127.0.0.1 (thread <1..99>), at work for <1..15> s"
            )

"""Databases in which sessions wait for each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from pymysql.err import OperationalError

from tests.stage import NOTHING, Broken, scene
from tests.stage.database import Cursor, database
from tests.stage.needs import programs

MARIADB = programs(mariadbd="mariadb-server-core")
PAY = "UPDATE orders SET status = 'paid' WHERE id = 7"
# Not from innodb_trx: whoever reads that again within 0.1 s is given the same answer again.
LOCKED = "(SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'INNODB_ROW_LOCK_CURRENT_WAITS')"
WAITING = (
    f"SELECT {LOCKED} > 0 AND COUNT(*) > 0 FROM information_schema.processlist WHERE user = 'shop' AND time_ms > 1000"  # noqa: S608  # our own text
)
QUEUED = "SELECT COUNT(*) >= 3 FROM information_schema.processlist WHERE state = 'Waiting for table metadata lock' AND time > 0"


async def _pay(cursor: Cursor) -> None:
    await cursor.execute(PAY)


async def _import(cursor: Cursor) -> None:
    await cursor.execute("BEGIN")
    await cursor.execute("UPDATE orders SET note = 'imported' WHERE id = 8")
    await cursor.execute(PAY)


async def _rename(cursor: Cursor) -> None:
    await cursor.execute("UPDATE orders SET note = 'renamed' WHERE id = 8")


async def _cross(cursor: Cursor) -> None:
    """Lose to a session that has changed more rows, and leave it at that."""
    await cursor.execute("BEGIN")
    await cursor.execute("UPDATE orders SET status = 'paid' WHERE id = 3")
    with suppress(OperationalError):
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
        await orders.until("SELECT COUNT(*) FROM information_schema.processlist WHERE state = 'User sleep'")
        async with orders.clients("deploy", 1, _add_column), orders.clients("shop", 3, _look):
            await orders.until(QUEUED)
            yield orders.broken(
                "4 sessions wait for a metadata lock, first ALTER TABLE orders <any> (thread <1..99>), "
                "for <1..15> s; probably held by report@127.0.0.1 (thread <1..99>), at work for <1..15> s"
            )


@scene("locks-none", "Nothing: nobody waits for anybody.", recipe="locks", needs=(MARIADB,))
async def none(folder: Path) -> AsyncIterator[Broken]:
    """A transaction is open, as they are in every moment."""
    async with database(folder) as orders:
        await orders.account("batch")
        async with orders.session("batch") as batch:
            await batch.execute("BEGIN")
            await batch.execute(PAY)
            yield orders.broken(NOTHING)


@scene(
    "locks-chain",
    "One session waits for another, which waits for a third that rests.",
    recipe="locks",
    needs=(MARIADB,),
)
async def chain(folder: Path) -> AsyncIterator[Broken]:
    """The third is the one to name, with what it did last."""
    consumer = "--performance-schema-consumer-events-statements-current=ON"
    async with database(folder, options=(consumer,)) as orders:
        await orders.account("batch")
        async with orders.session("batch") as batch:
            await batch.execute("BEGIN")
            await batch.execute(PAY)
            async with orders.clients("import", 1, _import), orders.clients("shop", 1, _rename):
                await orders.until(f"SELECT {LOCKED} = 2")
                await orders.until(WAITING)
                thread = batch.connection.thread_id()
                yield orders.broken(
                    f"Transaction of batch@127.0.0.1 (thread {thread}) has been idle for <1..15> s "  # noqa: S608  # a sentence
                    "after UPDATE orders SET status=? WHERE id=? and blocks 2 others on orders.orders, the longest for <1..15> s"
                )


@scene(
    "locks-metadata",
    "A report left its transaction open, and a change of its table waits.",
    recipe="locks",
    needs=(MARIADB,),
)
async def left_open(folder: Path) -> AsyncIterator[Broken]:
    """The server has the plugin that knows who holds which metadata lock; an older transaction has nothing to do with it."""
    async with database(folder, options=("--plugin-load-add=metadata_lock_info",)) as orders:
        await orders.server.execute(
            "CREATE TABLE orders.customers (id INT PRIMARY KEY) SELECT seq AS id FROM orders.seq_1_to_10"
        )
        await orders.account("other")
        await orders.account("report")
        async with orders.session("other") as other, orders.session("report") as report:
            await other.execute("BEGIN")
            await other.execute("SELECT COUNT(*) FROM customers")
            await report.execute("BEGIN")
            await report.execute("SELECT COUNT(*) FROM orders")
            async with orders.clients("deploy", 1, _add_column), orders.clients("shop", 3, _look):
                await orders.until(QUEUED)
                yield orders.broken(
                    "4 sessions wait for a metadata lock, first ALTER TABLE orders <any> (thread <1..99>), for <1..15> s; "
                    f"held by report@127.0.0.1 (thread {report.connection.thread_id()}), idle in its transaction for <1..15> s"
                )


@scene("locks-deadlock", "Two sessions locked the same rows, each in its own order.", recipe="locks", needs=(MARIADB,))
async def deadlock(folder: Path) -> AsyncIterator[Broken]:
    """The server has ended it, one of them lost its work."""
    async with database(folder) as orders:
        await orders.account("batch")
        async with orders.session("batch") as batch:
            await batch.execute("BEGIN")
            await batch.execute("UPDATE orders SET note = 'b' WHERE id BETWEEN 7 AND 20")
            async with orders.clients("shop", 1, _cross):
                await orders.until(f"SELECT {LOCKED} = 1")
                await batch.execute("UPDATE orders SET note = 'b' WHERE id = 3")
                yield orders.broken(
                    "Deadlock <0..15> s ago on orders.orders: batch@127.0.0.1 (UPDATE orders SET note=? WHERE id=?) against "
                    "shop@127.0.0.1 (UPDATE orders SET status=? WHERE id=?); thread <1..99> was rolled back"
                )

"""Databases that follow another one, or try to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from tests.stage import NOTHING, Broken, scene
from tests.stage.database import database
from tests.stage.needs import programs
from tests.stage.replication import replicating

MARIADB = programs(mariadbd="mariadb-server-core")
BEHIND_S = 120  # by the primary's clock: the statement seems to have been made so long ago
SEARCHING = "SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE '%find_row%'"
WAITING = "SELECT variable_value > 0 FROM information_schema.global_status WHERE variable_name = 'INNODB_ROW_LOCK_CURRENT_WAITS'"


@scene("replication-well", "Nothing: a replica that is up to date.", recipe="replication", needs=(MARIADB,))
async def well(folder: Path) -> AsyncIterator[Broken]:
    """It has just applied a row."""
    async with replicating(folder) as pair:
        await pair.primary.server.execute("UPDATE orders.orders SET status = 'paid' WHERE id = 7")
        await pair.replica.until("SELECT COUNT(*) FROM orders.orders WHERE status = 'paid'")
        yield pair.replica.broken(NOTHING)


@scene("replication-primary", "Nothing: a primary, from which a replica reads.", recipe="replication", needs=(MARIADB,))
async def primary(folder: Path) -> AsyncIterator[Broken]:
    """It follows nobody itself."""
    async with replicating(folder) as pair:
        yield pair.primary.broken(NOTHING)


@scene(
    "replication-nobody", "Nothing: a server that neither leads nor follows.", recipe="replication", needs=(MARIADB,)
)
async def nobody(folder: Path) -> AsyncIterator[Broken]:
    """As most test servers are."""
    async with database(folder) as orders:
        yield orders.broken(NOTHING)


@scene(
    "replication-keyless-table",
    "A replica looks for the rows of one big change one by one.",
    recipe="replication",
    needs=(MARIADB,),
)
async def keyless(folder: Path) -> AsyncIterator[Broken]:
    """The table has no primary key; on the primary the statement took a moment."""
    async with replicating(folder) as pair:
        await pair.change("UPDATE orders.log SET status = 'old'", ago_s=BEHIND_S)
        await pair.replica.until(SEARCHING)
        yield pair.replica.broken(
            "Replication from 127.0.0.1 is <120..140> s behind and falls further behind: it has been applying <any> "
            "for <3..20> s, <100..20000> rows so far on orders.log, which has no primary key"
        )


@scene(
    "replication-row-lock",
    "A report on the replica keeps a row locked that replication wants.",
    recipe="replication",
    needs=(MARIADB,),
)
async def row_lock(folder: Path) -> AsyncIterator[Broken]:
    """Its transaction was left open."""
    async with replicating(folder) as pair:
        await pair.replica.account("report")
        async with pair.replica.session("report") as report:
            await report.execute("BEGIN")
            await report.execute("SELECT * FROM orders WHERE id = 7 FOR UPDATE")
            await pair.change("UPDATE orders.orders SET status = 'old' WHERE id = 7", ago_s=BEHIND_S)
            await pair.replica.until(WAITING)
            yield pair.replica.broken(
                "Replication from 127.0.0.1 is <120..140> s behind and falls further behind: it waits for a row lock of "
                f"report@127.0.0.1 (thread {report.connection.thread_id()}), idle for <1..15> s"
            )


@scene("replication-stopped", "A row was written on the replica itself.", recipe="replication", needs=(MARIADB,))
async def stopped(folder: Path) -> AsyncIterator[Broken]:
    """The primary's own row with this key cannot be added any more."""
    add = (
        "INSERT INTO orders.orders (id, reference, customer, status, total, note) VALUES (99999, 'a', 1, 'new', 1, '')"
    )
    async with replicating(folder) as pair:
        await pair.replica.server.execute(add)
        await pair.primary.server.execute(add)
        await pair.until_failed("SQL")
        yield pair.replica.broken(
            "Replication from 127.0.0.1 has stopped (SQL thread): error 1062, Duplicate entry '99999' for key 'PRIMARY' "
            "on orders.orders"
        )


@scene("replication-primary-gone", "The primary cannot be reached any more.", recipe="replication", needs=(MARIADB,))
async def primary_gone(folder: Path) -> AsyncIterator[Broken]:
    """It was ended; the replica tries again and again."""
    async with replicating(folder) as pair:
        await pair.end_primary.aclose()
        await pair.until_failed("IO")
        yield pair.replica.broken(
            "Replication from 127.0.0.1 cannot connect: error 2003, <any>Can't connect to server on '127.0.0.1'<any>"
        )


@scene("replication-paused", "Somebody stopped a replica and forgot it.", recipe="replication", needs=(MARIADB,))
async def paused(folder: Path) -> AsyncIterator[Broken]:
    """No error stopped it."""
    async with replicating(folder) as pair:
        await pair.replica.server.execute("STOP SLAVE SQL_THREAD")
        yield pair.replica.broken(
            "Replication from 127.0.0.1 is stopped (SQL thread) without an error: somebody stopped it"
        )

"""Databases that somebody loads."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from bot.model import State
from bot.playground.load import sysbench
from tests.stage import NOTHING, Broken, scene
from tests.stage.database import ROWS, Cursor, database
from tests.stage.needs import programs

MARIADB = programs(mariadbd="mariadb-server-core")
SYSBENCH = programs(sysbench="sysbench")
THREADS = 4
WARM_S = 1.0
REPORT = "SELECT COUNT(*) FROM orders a JOIN orders b ON a.total < b.total JOIN orders c ON b.total < c.total"


async def _search(cursor: Cursor) -> None:
    """Look orders up by a column without an index."""
    while True:
        await cursor.execute(
            "SELECT id, status FROM orders WHERE reference = %s", (f"{random.randrange(1 << 48):012x}",)
        )
        await cursor.fetchall()


async def _report(cursor: Cursor) -> None:
    await cursor.execute(REPORT)


async def _rest(cursor: Cursor) -> None:
    while True:
        await cursor.execute("SELECT status FROM orders WHERE id = %s", (random.randint(1, ROWS),))
        await asyncio.sleep(1)


@scene("db-benchmark", "Somebody runs a benchmark against the database.", recipe="db", needs=(MARIADB, SYSBENCH))
async def benchmark(folder: Path) -> AsyncIterator[Broken]:
    """The seed's own case: sysbench's read-write mix."""
    async with database(folder) as orders, sysbench(orders.server, threads=THREADS):
        yield orders.broken(
            f"bench from 127.0.0.1 is running a benchmark (sysbench) on orders: {THREADS} connections took <90..100> % of "
            "statement time in <3..6> s; <any> leads with <10..90> %<any>"
        )


@scene("db-benchmark-over", "Nothing any more: a benchmark has just ended.", recipe="db", needs=(MARIADB, SYSBENCH))
async def benchmark_over(folder: Path) -> AsyncIterator[Broken]:
    """What its counters hold is no news."""
    async with database(folder) as orders:
        async with sysbench(orders.server, threads=THREADS):
            await asyncio.sleep(WARM_S)
        yield orders.broken(NOTHING)


@scene(
    "db-benchmark-unrecorded",
    "Somebody runs a benchmark, and performance_schema is OFF.",
    recipe="db",
    needs=(MARIADB, SYSBENCH),
)
async def benchmark_unrecorded(folder: Path) -> AsyncIterator[Broken]:
    """Statement times are not recorded; several looks at the process list have to do."""
    async with database(folder, performance_schema=False) as orders, sysbench(orders.server, threads=THREADS):
        yield orders.broken(
            f"bench from 127.0.0.1 is running a benchmark (sysbench) on orders: {THREADS} connections took <90..100> % of "
            "the work seen in 5 looks; <any>"
        )


@scene("db-missing-index", "A search reads a whole table each time.", recipe="db", needs=(MARIADB,))
async def missing_index(folder: Path) -> AsyncIterator[Broken]:
    """Three clients search as fast as they can."""
    async with database(folder) as orders, orders.clients("shop", 3, _search):
        await asyncio.sleep(WARM_S)
        yield orders.broken(
            "shop from 127.0.0.1 took <90..100> % of statement time in <3..6> s with 3 connections; "
            "SELECT id,status FROM orders WHERE reference=? leads with <90..100> %, reading <19000..21000> rows each time"
        )


@scene("db-long-report", "A report has been running since a while.", recipe="db", needs=(MARIADB,))
async def long_report(folder: Path) -> AsyncIterator[Broken]:
    """One statement that joins a table with itself, and again."""
    async with database(folder) as orders, orders.clients("report", 1, _report):
        await orders.until(
            "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'report' AND time_ms > 1500"
        )
        yield orders.broken(
            "report from 127.0.0.1 has been running SELECT COUNT(*) FROM orders a JOIN orders b ON<any> for <3..12> s: "
            "1 connection took <90..100> % of statement time in <3..6> s"
        )


@scene("db-connections", "An application has opened connections until few are left.", recipe="db", needs=(MARIADB,))
async def connections(folder: Path) -> AsyncIterator[Broken]:
    """57 of 62, each hardly used."""
    async with database(folder, options=("--max-connections=62",)) as orders, orders.clients("shop", 57, _rest):
        yield orders.broken(
            "<58..62> of 62 connections are in use: shop from 127.0.0.1 holds 57, <40..57> of them idle"
        )


@scene("db-connections-exhausted", "No connection is left, not even for the bot.", recipe="db", needs=(MARIADB,))
async def exhausted(folder: Path) -> AsyncIterator[Broken]:
    """What the server itself says is the finding."""
    async with database(folder, options=("--max-connections=30",)) as orders, orders.clients("shop", 30, _rest):
        yield replace(
            orders.broken(
                "Nothing could be captured: it (127.0.0.1:<1..65535>) takes no more connections (Too many connections): "
                "this itself is a finding, clients are using all of them<any>"
            ),
            end=State.FAILED,
        )

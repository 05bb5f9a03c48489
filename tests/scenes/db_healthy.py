"""Databases that are well: nothing may be said of them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

from tests.stage import NOTHING, Broken, scene
from tests.stage.database import ROWS, Cursor, database
from tests.stage.needs import programs

MARIADB = programs(mariadbd="mariadb-server-core")
WARM_S = 1.0


async def _shop(cursor: Cursor) -> None:
    """Browse, and now and then order something."""
    while True:
        await cursor.execute("SELECT status, total FROM orders WHERE id = %s", (random.randint(1, ROWS),))
        await cursor.execute("SELECT COUNT(*) FROM orders WHERE customer = %s", (random.randint(1, 500),))
        if random.random() < 0.2:
            await cursor.execute("BEGIN")
            await cursor.execute("UPDATE orders SET status = 'paid' WHERE id = %s", (random.randint(1, ROWS),))
            await cursor.execute("COMMIT")
        await asyncio.sleep(random.uniform(0.05, 0.3))


async def _ingest(cursor: Cursor) -> None:
    """Write a batch of fifty new orders, four times a second."""
    rows = [(f"{n:012x}", n, "new", n, "y" * 60) for n in range(50)]
    while True:
        await cursor.executemany(
            "INSERT INTO orders (reference, customer, status, total, note) VALUES (%s, %s, %s, %s, %s)", rows
        )
        await asyncio.sleep(0.25)


async def _figures(cursor: Cursor) -> None:
    """A small report of the day, every two seconds."""
    while True:
        await cursor.execute("SELECT status, COUNT(*), SUM(total) FROM orders WHERE customer < 20 GROUP BY status")
        await asyncio.sleep(2)


@scene("db-idle", "Nothing: a database that nobody uses.", recipe="db", needs=(MARIADB,))
async def idle(folder: Path) -> AsyncIterator[Broken]:
    """Nobody but the bot."""
    async with database(folder) as orders:
        yield orders.broken(NOTHING)


@scene("db-web-shop", "Nothing: a web shop on an ordinary day.", recipe="db", needs=(MARIADB,))
async def web_shop(folder: Path) -> AsyncIterator[Broken]:
    """A pool of 15 connections that rest between requests, about 200 statements a second."""
    async with database(folder) as orders, orders.clients("shop", 15, _shop):
        await asyncio.sleep(WARM_S)
        yield orders.broken(NOTHING)


@scene("db-mixed", "Nothing: an import, a small report and some readers side by side.", recipe="db", needs=(MARIADB,))
async def mixed(folder: Path) -> AsyncIterator[Broken]:
    """Three applications, none of which is in the others' way."""
    async with (
        database(folder) as orders,
        orders.clients("ingest", 2, _ingest),
        orders.clients("figures", 1, _figures),
        orders.clients("shop", 5, _shop),
    ):
        await asyncio.sleep(WARM_S)
        yield orders.broken(NOTHING)

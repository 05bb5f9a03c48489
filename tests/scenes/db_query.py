"""An application's own questions, told in its own words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.stage import Broken, scene
from tests.stage.database import OBSERVER, Database, database
from tests.stage.needs import programs

MARIADB = programs(mariadbd="mariadb-server-core")
STUCK = {
    "about": "Orders that wait in one state",
    "sql": "SELECT %(state)s AS state, COUNT(*) AS count, MAX(total) AS dearest FROM orders WHERE status = %(state)s",
    "line": "{count} orders wait in state {state}, the dearest for {dearest}",
    "warn_above": {"count": 100},
    "parameters": {
        "state": {"type": "text", "about": "Which state", "default": "new", "pattern": "[a-z]{1,10}"},
    },
}


async def _asked(orders: Database, line: str, **parameters: str) -> Broken:
    """*line* as the answer to the question about stuck orders."""
    await orders.server.execute(f"GRANT SELECT ON orders.orders TO {OBSERVER}")
    broken = orders.broken(line)
    target: dict[str, Any] = {"mysql": {**broken.target["mysql"], "database": "orders"}}
    given = {"name": "stuck-orders", **parameters}
    return replace(broken, target=target, settings={"queries": {"stuck-orders": STUCK}}, parameters=given)


@scene("query-stuck-orders", "Thousands of orders are stuck in one state.", recipe="query", needs=(MARIADB,))
async def stuck(folder: Path) -> AsyncIterator[Broken]:
    """More than the operator finds well."""
    async with database(folder) as orders:
        yield await _asked(orders, "20000 orders wait in state new, the dearest for 2857.14")


@scene(
    "query-few-orders",
    "Nothing: few orders are in another state, and that is the answer.",
    recipe="query",
    needs=(MARIADB,),
)
async def few(folder: Path) -> AsyncIterator[Broken]:
    """Whoever asked reads it in the first line all the same."""
    async with database(folder) as orders:
        await orders.server.execute("UPDATE orders.orders SET status = 'paid' WHERE id <= 12")
        yield await _asked(orders, "12 orders wait in state paid, the dearest for 1.71", state="paid")

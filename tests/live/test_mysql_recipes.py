"""The recipes for databases on a real MariaDB, by the whole bot: what they say, that they stay within bounds, how they stop."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from bot.assembly import Bot, assemble, now
from bot.errors import UserError
from bot.model import Capture, Outcome, Person, Source, State, Trigger
from bot.settings import load
from bot.story import Story, story
from tests.stage.database import OBSERVER, Cursor, Database, database
from tests.stage.waiting import until

pytestmark = pytest.mark.live

ANA = Person(id="U0TEST", name="ana")
WAITERS = 60
REPORT = "SELECT COUNT(*) FROM orders a JOIN orders b ON a.total < b.total WHERE a.reference = 'x' OR b.note = 'y'"
QUERIES: Mapping[str, Any] = {
    "slow": {
        "about": "Counts without end",
        "sql": "SELECT COUNT(*) AS found FROM seq_1_to_1000000 a JOIN seq_1_to_1000000 b WHERE (a.seq * b.seq) % 7 = %(s)s",
        "line": "{found}",
        "timeout": 60,
    }
    | {"parameters": {"s": {"type": "integer", "about": "What remains", "default": 50, "minimum": 1, "maximum": 50}}},
    "endless": {
        "about": "A million rows",
        "sql": "SELECT seq, REPEAT('x', 1000) AS pad FROM seq_1_to_1000000",
        "line": "{seq}",
        "rows": 10_000,
        "limit": "2 MB",
    },
    "many": {"about": "A million rows", "sql": "SELECT seq FROM seq_1_to_1000000", "line": "{seq}", "rows": 50},
    "elsewhere": {"about": "Not here", "sql": "SELECT 1 AS one", "line": "{one}", "targets": ["other-db"]},
    "denied": {"about": "Not granted", "sql": "SELECT user FROM mysql.user", "line": "{user}"},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def orders(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Database]:
    """A server with a shop's orders in it, which the capture's account may read."""
    try:
        async with database(tmp_path_factory.mktemp("orders")) as started:
            await started.server.execute(f"GRANT SELECT ON orders.* TO {OBSERVER}")
            yield started
    except UserError as trouble:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(trouble))


@asynccontextmanager
async def bot_of(orders: Database, folder: Path) -> AsyncIterator[Bot]:
    """The whole bot, which knows the server under two names."""
    broken = orders.broken("")
    mysql = {**broken.target["mysql"], "database": "orders"}
    targets = {"orders-db": {"mysql": mysql}, "other-db": {"mysql": mysql}}
    config = folder / "capturebot.yml"
    config.write_text(yaml.safe_dump({"folder": "artifacts", "targets": targets, "queries": dict(QUERIES)}))
    settings = replace(load(config), journal="sqlite://")
    async with assemble(settings, environ=broken.environ, base=folder) as bot:
        yield bot


async def asked(bot: Bot, recipe: str, **parameters: str) -> Capture:
    """A capture that has been accepted."""
    trigger = Trigger(
        recipe=recipe, targets=("orders-db",), parameters=parameters, who=ANA, source=Source.TERMINAL, at=now()
    )
    capture = await bot.desk.accept(trigger)
    assert capture is not None
    return capture


async def told(bot: Bot, capture: Capture) -> Story:
    """Its story, once it has ended."""
    await bot.desk.wait_for(capture.id)
    end = story(await bot.journal.events(capture.id))
    assert end is not None
    return end


async def until_nobody(orders: Database) -> None:
    """Wait until no connection of the capture's account is left on the server."""
    await orders.until(f"SELECT COUNT(*) = 0 FROM information_schema.processlist WHERE user = '{OBSERVER}'")  # noqa: S608


async def test_the_plan_of_the_longest_statement_names_table_and_columns(orders: Database, tmp_path: Path) -> None:
    """As it is being executed; what the statement would read is said before it ends."""

    async def report(cursor: Cursor) -> None:
        await cursor.execute(REPORT)

    async with orders.clients("analyst", 1, report), bot_of(orders, tmp_path) as bot:
        await orders.until(
            "SELECT COUNT(*) FROM information_schema.processlist WHERE user='analyst' AND time_ms > 1200"
        )
        end = await told(bot, await asked(bot, "db"))

    (plan,) = (each.finding.text for each in end.findings if each.step == "plan")
    assert plan.startswith("A statement of analyst@127.0.0.1 (thread ")
    assert "rows of orders (a), and orders (b) again and again: no index serves its condition on " in plan


async def test_a_long_queue_stays_within_bounds_and_is_named(orders: Database, tmp_path: Path) -> None:
    """Sixty sessions behind one row are 1,830 pairs; the first line names the one that all wait for."""

    async def pay(cursor: Cursor) -> None:
        await cursor.execute("UPDATE orders SET status = 'paid' WHERE id = 7")

    await orders.account("batch")
    async with AsyncExitStack() as stack:
        batch = await stack.enter_async_context(orders.session("batch"))
        await batch.execute("BEGIN")
        await pay(batch)
        await stack.enter_async_context(orders.clients("shop", WAITERS, pay))
        waiting = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'shop' AND time_ms > 1000"
        await orders.until(f"SELECT ({waiting}) = {WAITERS}")
        bot = await stack.enter_async_context(bot_of(orders, tmp_path))
        end = await told(bot, await asked(bot, "locks"))

    assert end.state is State.COMPLETE
    assert f" and blocks {WAITERS} others on orders.orders, " in end.headline
    assert all(result.artifact and result.artifact.size_bytes < 500_000 for result in end.results)


async def test_an_answer_without_end_is_cut(orders: Database, tmp_path: Path) -> None:
    """At the query's rows, or at its bytes; its first row is told all the same, and nothing goes on on the server."""
    async with bot_of(orders, tmp_path) as bot:
        rows = await told(bot, await asked(bot, "query", name="many"))
        size = await told(bot, await asked(bot, "query", name="endless"))
        await until_nobody(orders)

    (kept,) = (tmp_path / "artifacts").rglob("many.txt")
    assert kept.read_text().endswith("\n-- cut at 50 rows\n")
    assert (rows.headline, rows.state) == ("1", State.COMPLETE)
    assert size.headline == "1"
    assert size.results[0].cut
    assert size.results[0].artifact
    assert size.results[0].artifact.size_bytes <= 2_000_000


async def test_a_query_that_is_stopped_is_killed_on_the_server(orders: Database, tmp_path: Path) -> None:
    """The proof names the thread, and the server has none left."""
    async with bot_of(orders, tmp_path) as bot:
        capture = await asked(bot, "query", name="slow", s="50")
        await orders.until(
            "SELECT COUNT(*) FROM information_schema.processlist WHERE LOCATE('% 7 = 50', info) AND id <> CONNECTION_ID()"
        )
        await bot.desk.stop(capture.id, ANA, source=Source.TERMINAL)
        end = await told(bot, capture)
        await until_nobody(orders)

    (result,) = end.results
    assert end.state is State.STOPPED
    assert result.outcome is Outcome.STOPPED
    assert result.stop_proof.endswith("does not run it any more, after KILL QUERY")


@pytest.mark.parametrize("recipe", ["db", "locks", "replication"])
async def test_a_capture_that_is_stopped_halfway_leaves_nobody_on_the_server(
    recipe: str, orders: Database, tmp_path: Path
) -> None:
    """What came is kept."""
    async with bot_of(orders, tmp_path) as bot:
        capture = await asked(bot, recipe)

        async def begun() -> bool:
            so_far = story(await bot.journal.events(capture.id))
            return so_far is not None and (bool(so_far.running) or so_far.state.ended)

        await until(begun)
        with suppress(UserError):  # it has ended already
            await bot.desk.stop(capture.id, ANA, source=Source.TERMINAL)
        end = await told(bot, capture)
        await until_nobody(orders)

    assert end.state in {State.STOPPED, State.COMPLETE}  # a recipe of milliseconds may be quicker than its stop


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({}, "`query` needs to know which one. There are "),
        ({"name": "slwo"}, "`query` has no `slwo`. Did you mean `name=slow`?"),
        ({"name": "slow", "s": "1; DROP TABLE orders"}, "`s` must be a whole number from 1 to 50, not "),
        ({"name": "many", "s": "1"}, "`query` has no parameter `s`. "),
        ({"name": "elsewhere"}, "`Question elsewhere` is not for `orders-db`. It is for: `other-db`."),
    ],
)
async def test_a_question_that_is_none_is_refused(
    parameters: dict[str, str], says: str, orders: Database, tmp_path: Path
) -> None:
    """Before anything is sent to the server."""
    async with bot_of(orders, tmp_path) as bot:
        with pytest.raises(UserError) as caught:
            await asked(bot, "query", **parameters)

    assert str(caught.value).startswith(says)


async def test_a_question_that_the_account_may_not_ask_names_the_grant(orders: Database, tmp_path: Path) -> None:
    """And nothing else of the server's secrets."""
    async with bot_of(orders, tmp_path) as bot:
        end = await told(bot, await asked(bot, "query", name="denied"))

    assert end.state is not State.COMPLETE
    assert f"GRANT SELECT ON mysql.user TO '{OBSERVER}'@'%'" in end.results[0].reason

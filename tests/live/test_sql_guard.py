"""SQL on a real MariaDB against whoever wants more than to read: the guard, the session and the account, each for itself."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import pytest_asyncio
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.assembly import assemble, now
from bot.errors import StepFailed, UserError
from bot.insights import sections
from bot.model import MySql, Outcome, Person, SecretRef, Source, Sql, Ssh, Statement, Step, Target, Tls, Trigger
from bot.playground.mariadb import PrivateMariaDb, private_mariadb
from bot.plugins import load_recipes
from bot.settings import load
from bot.sql import refusal
from bot.story import story
from bot.transports.mysql import MySqlTransport
from bot.transports.mysql_connection import Connection, Login, connect
from bot.transports.mysql_errors import SqlError

pytestmark = pytest.mark.live

PASSWORD = "the-password-of-the-account"
MODES = "ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,ORACLE"  # of the server; ours is another
SLOW_S = 0.5  # what a harmless statement never takes, and SLEEP(1) does
RECIPES = ("db", "locks", "replication")


class Secrets:
    """Holds one password."""

    async def resolve(self, ref: SecretRef) -> str:
        return PASSWORD

    def forget(self, ref: SecretRef) -> None:
        """Nothing is kept."""


class NoJump:
    """For targets that are reached directly."""

    async def connection(self, ssh: Ssh) -> asyncssh.SSHClientConnection:
        raise AssertionError(ssh)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def database(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PrivateMariaDb]:
    """A server whose own mode is the strangest, an account that may do everything, and a function that leaves a mark."""
    options = (f"--sql-mode={MODES}", "--log-bin-trust-function-creators=ON", "--secure-file-priv=")
    try:
        async with private_mariadb(tmp_path_factory.mktemp("guarded"), options=options) as server:
            await server.execute("CREATE USER mighty IDENTIFIED BY %s", (PASSWORD,))
            await server.execute("GRANT ALL PRIVILEGES ON *.* TO mighty WITH GRANT OPTION")
            await server.execute("CREATE DATABASE shop CHARACTER SET utf8mb4")
            await server.execute("CREATE TABLE shop.orders (id INT PRIMARY KEY, state VARCHAR(20), note TEXT)")
            await server.execute("INSERT INTO shop.orders VALUES (1, 'new', 'first'), (2, 'paid', 'second')")
            await server.execute("CREATE SEQUENCE shop.numbers")
            await server.execute("CREATE FUNCTION shop.touched(n INT) RETURN INT AS BEGIN RETURN n + SLEEP(1); END")
            yield server
    except UserError as trouble:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(trouble))


def target(database: PrivateMariaDb, user: str = "mighty") -> Target:
    """*database* as it is configured, with the schema that questions are about."""
    mysql = MySql(
        host="127.0.0.1", port=database.port, user=user, password=SecretRef("env:X"), tls=Tls.OFF, database="shop"
    )
    return Target(name="shop-db", mysql=mysql)


def step(text: str, **arguments: str | int) -> Step:
    """One statement of a recipe or a query."""
    action = Sql(statements=(Statement(name="asked", both=text),), arguments=arguments)
    return Step(id="sql", title="SQL", action=action, timeout_s=5, limit_bytes=10**6)


async def session(database: PrivateMariaDb) -> Connection:
    """What the transport asks on, without the look that it takes at each statement."""
    mysql = target(database).mysql
    assert mysql
    return await connect(
        Login(target="x", mysql=mysql, password=PASSWORD, statement_s=2, rows=10, connect_s=5, jump=NoJump())
    )


async def state(database: PrivateMariaDb) -> tuple[Any, ...]:
    """Everything that a statement could have changed."""
    ((rows,),) = await database.execute("SELECT GROUP_CONCAT(CONCAT_WS('|', id, state, note)) FROM shop.orders")
    ((tables,),) = await database.execute("SELECT COUNT(*) FROM information_schema.tables")
    ((users,),) = await database.execute("SELECT GROUP_CONCAT(User ORDER BY User) FROM mysql.user")
    ((number,),) = await database.execute("SELECT next_not_cached_value FROM shop.numbers")
    return rows, tables, users, number


# --- the guard -----------------------------------------------------------------------------------

FORBIDDEN = [
    "DELETE FROM orders",
    "SELECT 1; DELETE FROM orders",
    "WITH a AS (SELECT 1) SELECT * FROM orders INTO OUTFILE '/tmp/never'",
    "SELECT '<?php' INTO DUMPFILE '/tmp/never'",
    "SELECT 1.5INTO @x",
    "SELECT * FROM orders WHERE id = 1e0FOR UPDATE",
    "SELECT * FROM orders LOCK IN SHARE MODE",
    "SELECT SLEEP(1)",
    "SELECT `sleep`(1)",
    "SELECT sleep /**/ (1)",
    "SELECT BENCHMARK(100000000, MD5('x'))",
    "SELECT GET_LOCK('capturebot', 1)",
    "SELECT LOAD_FILE('/etc/passwd')",
    "SELECT shop.touched(1)",
    "SELECT touched(1)",
    "SELECT NEXT VALUE FOR numbers",
    "SELECT NEXTVAL(numbers)",
    "SELECT SETVAL(numbers, 99)",
    "SELECT /*!50000 SLEEP(1) */",
    "SELECT /*M!100000 SLEEP(1), */ 1",
    "SELECT 1 --\x01 '\n, SLEEP(1) -- '",
    "CALL sys.diagnostics(1, 1, 'current')",
    "SET GLOBAL max_connections = 1",
    "SET STATEMENT max_statement_time = 0 FOR SELECT 1",
    "KILL 1",
    "HANDLER orders OPEN",
    "LOAD DATA INFILE '/etc/passwd' INTO TABLE orders",
    "CREATE TEMPORARY TABLE t (a INT)",
    "DO SLEEP(1)",
    "GRANT ALL ON *.* TO mighty",
]


@pytest.mark.parametrize("text", FORBIDDEN)
async def test_what_does_not_only_read_is_not_sent(database: PrivateMariaDb, text: str) -> None:
    """Though the account might do all of it."""
    before = await state(database)

    with pytest.raises(StepFailed, match="the statement asked of sql was not sent: it "):
        await MySqlTransport(Secrets(), NoJump()).start(target(database), step(text), capture_id="c")

    assert await state(database) == before


WRITES = [text for text in FORBIDDEN if text.startswith(("DELETE", "GRANT", "LOAD DATA")) or ";" in text]


@pytest.mark.parametrize(
    "text", [*WRITES, "SELECT * FROM orders FOR UPDATE", "SELECT NEXT VALUE FOR numbers", "DROP TABLE orders"]
)
async def test_the_session_itself_changes_nothing(database: PrivateMariaDb, text: str) -> None:
    """Where a statement came past the guard, with an account that may do it."""
    before = await state(database)
    connection = await session(database)
    try:
        await connection.rows(text)
    except SqlError:
        pass  # most are refused; what is not must have changed nothing
    finally:
        connection.close()

    assert await state(database) == before


async def test_a_session_knows_one_mode_whatever_the_server_has(database: PrivateMariaDb) -> None:
    """Quotes, backslashes and blanks mean what the guard takes them for."""
    connection = await session(database)

    ((mode, quoted, count),) = await connection.rows("""SELECT @@sql_mode, "a\\"b", COUNT (*) FROM orders""")

    assert (mode, quoted, count) == ("IGNORE_SPACE", 'a"b', "2")
    connection.close()


# --- values --------------------------------------------------------------------------------------

EVIL = [
    "' OR 1=1 -- ",
    "\\' OR 1=1 -- ",
    "'; DELETE FROM orders; -- ",
    "' UNION SELECT note, 1 FROM orders -- ",
    "\\",
    "\\\\' OR SLEEP(1) #",
    '" OR ""="',
    "` OR 1=1",
    "*/ SLEEP(1) /*",
    "%(state)s",
    "%s",
    "\x00' OR 1=1",
    "\x1a\n\r\t",
    "\xbf' OR 1=1",
    "縗' OR 1=1",
    "' INTO OUTFILE '/tmp/never' -- ",
    "new'/**/OR/**/'1'='1",
]
ASKS = "SELECT COUNT(*) AS found, %(state)s AS same FROM orders WHERE state = %(state)s AND note LIKE '%r%'"


@pytest.mark.parametrize("value", EVIL)
async def test_a_value_stays_a_value(database: PrivateMariaDb, value: str) -> None:
    """It comes back as it was given, and finds nothing."""
    before = await state(database)
    execution = await MySqlTransport(Secrets(), NoJump()).start(
        target(database), step(ASKS, state=value), capture_id="c"
    )

    (section,) = sections(b"".join([chunk async for chunk in execution.output()]).decode())

    assert section.rows() == [{"found": "0", "same": value}]
    assert await state(database) == before


async def test_a_value_that_was_found_stays_a_value(database: PrivateMariaDb) -> None:
    """What a hostile client wrote into a table goes into the next statement, and is looked at before it is sent."""
    first = Statement(name="found", both="SELECT '\\\\'' OR SLEEP(1) -- ' AS text")
    second = Statement(name="looked", both="SELECT %(found.text)s AS same")
    what = replace(step("SELECT 1"), action=Sql(statements=(first, second)))
    execution = await MySqlTransport(Secrets(), NoJump()).start(target(database), what, capture_id="c")

    _, looked = sections(b"".join([chunk async for chunk in execution.output()]).decode())

    assert looked.rows() == [{"same": "\\' OR SLEEP(1) -- "}]


# --- what the guard lets through -----------------------------------------------------------------

PIECES = [
    *("SELECT", "SHOW STATUS", "WITH a AS (", ")", "(", ",", "1", "1.5", "1e1", "0x1", ".", "*", "FROM", "orders", "WHERE"),
    *("SLEEP(1)", "sleep", "`sleep`", "(1)", "touched(1)", "touched", "shop.", "INTO", "@x", "@y:=1", "FOR UPDATE"),
    *("NEXT VALUE FOR numbers", "GET_LOCK('x',0)", "/*!", "/*", "*/", "--", "-- ", "#", "\n", "'", '"', "`", "\\", "\\N"),
    *(" ", "", "", "+", "AS x", "UNION", "LIMIT 1", "{", "}", "N'a'", "x'41'", "\x01", "\x0b", "\xa0", ";"),
]  # fmt: skip


async def test_what_passes_the_guard_only_reads_on_the_server(database: PrivateMariaDb) -> None:
    """Whatever is put together of the pieces above: no lock, no variable, no wait, no call of a function, no new number."""
    before = await state(database)
    passed: list[str] = []

    @settings(max_examples=6000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=8), st.sampled_from(["", " "]))
    def gather(pieces: list[str], joint: str) -> None:
        text = "SELECT 1" + joint + joint.join(pieces)
        if refusal(text) == "":
            passed.append(text)

    await asyncio.to_thread(gather)
    connection = await session(database)
    understood = 0
    for text in dict.fromkeys(passed):
        began = time.monotonic()
        try:
            await connection.rows(text)
            understood += 1
        except SqlError:
            pass  # it is not SQL, or names what is not there
        assert time.monotonic() - began < SLOW_S, text
    left = await connection.rows("SELECT @x, @y, IS_USED_LOCK('x')")
    connection.close()

    assert understood >= 20
    assert left == [("", "", "")]
    assert await state(database) == before


# --- the account ---------------------------------------------------------------------------------


def configured(database: PrivateMariaDb, folder: Path, queries: Mapping[str, Any]) -> Path:
    """A capturebot.yml that knows the server and the account `least`."""
    mysql = {
        "host": "127.0.0.1",
        "port": database.port,
        "user": "least",
        "password": "env:LEAST",
        "tls": "off",
        "database": "shop",
    }
    config = folder / "capturebot.yml"
    config.write_text(
        yaml.safe_dump({"folder": "artifacts", "targets": {"shop-db": {"mysql": mysql}}, "queries": queries})
    )
    return config


async def test_the_grants_that_the_doctor_prints_are_enough_for_every_recipe(
    database: PrivateMariaDb, tmp_path: Path
) -> None:
    """An account with exactly those: no statement of any recipe or query is refused, and the doctor finds nothing too much."""
    queries = {"stuck": {"about": "Orders in a state", "sql": "SELECT COUNT(*) AS n FROM orders", "line": "{n}"}}
    config = load(configured(database, tmp_path, queries))
    await database.execute("CREATE OR REPLACE USER least IDENTIFIED BY %s", (PASSWORD,))
    transport = MySqlTransport(Secrets(), NoJump())
    (line,) = await transport.grants(config.targets["shop-db"], load_recipes(config).values())

    for grant in line.partition(": GRANT ")[2].rstrip(";").split("; "):
        await database.execute(f"GRANT {grant.removeprefix('GRANT ')}")
    checked = await transport.check(config.targets["shop-db"])
    async with assemble(replace(config, journal="sqlite://"), environ={"LEAST": PASSWORD}, base=tmp_path) as bot:
        for recipe in (*RECIPES, "query"):
            trigger = Trigger(
                recipe=recipe,
                targets=("shop-db",),
                parameters={},
                who=Person(id="U0TEST", name="ana"),
                source=Source.TERMINAL,
                at=now(),
            )
            capture = await bot.desk.accept(trigger)
            assert capture
            await bot.desk.wait_for(capture.id)
            end = story(await bot.journal.events(capture.id))
            assert end
            assert {result.outcome for result in end.results} == {Outcome.OK}, [result.reason for result in end.results]

    refused = {
        (section.name, section.facts["error"])
        for kept in (tmp_path / "artifacts").rglob("*.txt")
        for section in sections(kept.read_text())
        if "error" in section.facts
    }
    assert all(found.startswith("ok: ") for found in checked), checked
    # A plugin and a log that this server has not, and a right with which one could also change settings.
    assert refused <= {("metadata_lock_info", "1109"), ("binlogs", "1381"), ("replicas", "1227")}


async def test_the_doctor_warns_of_an_account_that_can_do_more(database: PrivateMariaDb) -> None:
    """Each privilege by name, and the hashes that it can read."""
    await database.execute("CREATE OR REPLACE USER writer IDENTIFIED BY %s", (PASSWORD,))
    await database.execute("GRANT SELECT, FILE, SUPER ON *.* TO writer")
    await database.execute("GRANT DELETE, DROP ON shop.* TO writer WITH GRANT OPTION")

    lines = await MySqlTransport(Secrets(), NoJump()).check(target(database, "writer"))

    (too_much,) = [line for line in lines if "can change things" in line]
    for privilege in (
        "FILE ON *.*",
        "SUPER ON *.*",
        "DELETE ON `shop`.*",
        "DROP ON `shop`.*",
        "GRANT OPTION ON `shop`.*",
    ):
        assert privilege in too_much
    assert any(line.startswith("warn: ") and "password hashes" in line for line in lines)

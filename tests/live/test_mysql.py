"""SQL steps on a real MariaDB: what comes back, what is refused, and how it ends."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import asyncssh
import psutil
import pytest
import pytest_asyncio

from bot.errors import StepFailed, UserError
from bot.insights import Section, sections
from bot.model import MySql, Outcome, SecretRef, Sql, Ssh, Statement, Step, Target, Tls
from bot.playground.load import sysbench
from bot.playground.mariadb import PrivateMariaDb, private_mariadb
from bot.playground.sshd import private_sshd
from bot.secrets import Secrets as RealSecrets
from bot.transports.mysql import MySqlTransport
from bot.transports.mysql_connection import Login, connect
from bot.transports.mysql_errors import SqlError
from bot.transports.mysql_execution import MySqlExecution
from bot.transports.sshpool import SshPool

pytestmark = pytest.mark.live

PASSWORD = "pässwörd-🔑-%(x)s"
BOUND_S = 5.0
FAR_AWAY = 60.0
BUSY = "SELECT COUNT(*) FROM sys.seq_1_to_1000000 a JOIN sys.seq_1_to_1000000 b WHERE (a.seq * b.seq) % 7 = 9"
SLOWLY = """SELECT seq, REPEAT('x', 20000) x, (SELECT COUNT(*) FROM sys.seq_1_to_1000000 b WHERE b.seq % 7 = a.seq) slow
FROM sys.seq_1_to_500 a"""


class Secrets:
    """Holds one password, whatever is asked for."""

    def __init__(self, password: str = PASSWORD) -> None:
        self._password = password

    async def resolve(self, ref: SecretRef) -> str:
        return self._password

    def forget(self, ref: SecretRef) -> None:
        """Nothing is kept."""


class NoJump:
    """For targets that are reached directly."""

    async def connection(self, ssh: Ssh) -> asyncssh.SSHClientConnection:
        raise AssertionError(ssh)


def missing(trouble: UserError) -> None:
    """Skip, or fail where everything must be there."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(str(trouble))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def database(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PrivateMariaDb]:
    """A server with TLS and performance_schema, and the account that a capture should have."""
    try:
        async with private_mariadb(tmp_path_factory.mktemp("mariadb"), tls_names=("127.0.0.1",)) as started:
            await started.create_observer("cap", PASSWORD)
            yield started
    except UserError as trouble:
        missing(trouble)


@asynccontextmanager
async def plain(folder: Path, *options: str) -> AsyncIterator[PrivateMariaDb]:
    """A server of a test's own, without TLS and performance_schema."""
    async with private_mariadb(folder, performance_schema=False, options=options) as started:
        await started.create_observer("cap", PASSWORD)
        yield started


def target(server: PrivateMariaDb, *, host: str = "127.0.0.1", **changes: object) -> Target:
    """*server* as a target that is reached without TLS unless *changes* say otherwise."""
    settings = {"port": server.port, "user": "cap", "password": SecretRef("env:X"), "tls": Tls.OFF} | changes
    return Target(name="orders-db", mysql=MySql(host=host, **settings))  # type: ignore[arg-type]  # as given by tests


def step(*texts: str | Statement, timeout_s: float = 20, rows: int = 1000, **arguments: str | int) -> Step:
    """A step of statements; bare texts are called s1, s2 and so on."""
    statements = tuple(
        text if isinstance(text, Statement) else Statement(name=f"s{number}", both=text)
        for number, text in enumerate(texts, 1)
    )
    action = Sql(statements=statements, arguments=arguments, row_limit=rows)
    return Step(id="sql", title="SQL", action=action, timeout_s=timeout_s, limit_bytes=10**9)


def transport(password: str = PASSWORD, *, connect_s: float = BOUND_S) -> MySqlTransport:
    """The transport under test."""
    return MySqlTransport(Secrets(password), NoJump(), connect_s=connect_s)


async def started(at: Target, what: Step) -> MySqlExecution:
    """A step under way."""
    return await transport().start(at, what, capture_id="c-42")


async def whole(at: Target, what: Step) -> list[Section]:
    """All sections of a step that ends well."""
    execution = await started(at, what)
    return sections(b"".join([chunk async for chunk in execution.output()]).decode())


async def kept(
    output: AsyncIterator[bytes], each: Callable[[int], None] = lambda _: None
) -> tuple[list[Section], StepFailed]:
    """What came of an output that ends badly, and how it ended; *each* is called with the number of chunks so far."""
    chunks = []
    try:
        async for chunk in output:
            chunks.append(chunk)
            each(len(chunks))
    except StepFailed as failed:
        return sections(b"".join(chunks).decode()), failed
    raise AssertionError(chunks)


async def refused(at: Target, *, password: str = PASSWORD, connect_s: float = BOUND_S) -> StepFailed:
    """Why a step on *at* could not be started."""
    with pytest.raises(StepFailed) as caught:
        await transport(password, connect_s=connect_s).start(at, step("SELECT 1"), capture_id="c-42")
    assert password not in caught.value.reason
    return caught.value


async def running(database: PrivateMariaDb) -> list[str]:
    """What threads of captures are at work on, as the administrator sees it."""
    found = await database.execute("SELECT info FROM information_schema.processlist WHERE info LIKE '/* capturebot%'")
    return [info for (info,) in found]


async def until_running(database: PrivateMariaDb, count: int = 1) -> None:
    """Wait until *count* statements of captures are under way."""
    async with asyncio.timeout(BOUND_S):
        while len(await running(database)) != count:  # noqa: ASYNC110  # the server has no event to wait for
            await asyncio.sleep(0.02)


async def cancel_reading(database: PrivateMariaDb, execution: MySqlExecution) -> None:
    """Do as the runner does when time is up: give up reading while the statement is under way."""
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(kept(execution.output()))
        await until_running(database)
        reading.cancel()


async def login_of(database: PrivateMariaDb, user: str = "cap", password: str = PASSWORD) -> Login:
    """What the transport itself logs in with."""
    mysql = target(database, user=user).mysql
    assert mysql
    return Login(
        target="orders-db", mysql=mysql, password=password, statement_s=7, rows=10, connect_s=BOUND_S, jump=NoJump()
    )


# --- answers -------------------------------------------------------------------------------------


async def test_answers_read_back_as_they_are(database: PrivateMariaDb) -> None:
    """Non-ASCII text, NULL, binary bytes, newlines, numbers as the server writes them, and our own marks."""
    text = (
        "SELECT 'Grüße 🔑' a, NULL b, X'00FF10' c, 'x\\ty\\nz' d, 1.50 e, CAST(7 AS UNSIGNED) f, '-- no' g, '### h' h"
    )
    lead = "SELECT '-- 3 rows in 0 s' first, '' last UNION ALL SELECT '### digests at=x', 'y'"

    first, second = await whole(target(database), step(text, lead))

    assert first.rows() == [
        {
            "a": "Grüße 🔑",
            "b": "NULL",
            "c": "0x00FF10",
            "d": "x\ty\nz",
            "e": "1.50",
            "f": "7",
            "g": "-- no",
            "h": "### h",
        }
    ]
    assert first.facts["server"].startswith("mariadb-10.")
    assert second.rows() == [{"first": "-- 3 rows in 0 s", "last": ""}, {"first": "### digests at=x", "last": "y"}]
    assert re.fullmatch(r"-- 2 rows in \d\.\d{3} s", second.body.rstrip("\n").split("\n")[-1])


async def test_a_status_report_is_written_vertically(database: PrivateMariaDb) -> None:
    """SHOW ENGINE INNODB STATUS reads as it does on the server's own console."""
    (section,) = await whole(target(database), step("SHOW ENGINE INNODB STATUS"))

    assert section.facts["vertical"] == "1"
    assert section.body.startswith("Type: InnoDB\nName: \nStatus:\n  \n  ====")
    assert "\n  END OF INNODB MONITOR OUTPUT\n" in section.body


async def test_arguments_are_bound_and_percent_signs_stay(database: PrivateMariaDb) -> None:
    """A value is data whatever it holds, and a LIKE needs no doubled percent sign."""
    evil = "x' OR '1'='1'; DROP TABLE mysql.user; -- \\' \x00 \"`%(top)s"

    (section,) = await whole(
        target(database),
        step(
            "SELECT %(word)s word, 'a%' LIKE 'a%' same, '%s' s, seq FROM sys.seq_1_to_9 LIMIT %(top)s", word=evil, top=2
        ),
    )

    assert [row["seq"] for row in section.rows()] == ["1", "2"]
    assert section.rows()[0] | {"seq": ""} == {"word": evil, "same": "1", "s": "%s", "seq": ""}
    assert await database.execute("SELECT COUNT(*) > 0 FROM mysql.user") == [(1,)]


async def test_the_command_is_what_the_server_got(database: PrivateMariaDb) -> None:
    """For the manifest: bound values in place, only this flavour's texts."""
    what = step(
        Statement(name="a", mariadb="SELECT %(n)s;", mysql="SELECT 2"), Statement(name="b", mysql="SELECT 3"), n=7
    )

    execution = await started(target(database), what)

    assert execution.command == "SELECT 7;"
    assert execution.exit_status is None
    await execution.stop()


async def test_an_answer_is_cut_at_the_row_limit(database: PrivateMariaDb) -> None:
    """Also where the statement has a limit of its own; the statements after it are still asked."""
    long = "SELECT seq, REPEAT('x', 1000) FROM sys.seq_1_to_100000"

    first, second, third = await whole(target(database), step(long, f"{long} LIMIT 100000", "SELECT 1 one", rows=25))

    for section in (first, second):
        assert len(section.rows()) == 25
        assert section.body.endswith("\n-- cut at 25 rows\n")
    assert third.rows() == [{"one": "1"}]
    await until_running(database, 0)  # the server notices a dropped connection in its own time


async def test_a_long_answer_needs_no_memory(database: PrivateMariaDb) -> None:
    """100,000 rows of 1 kB, cut at 90,000, are never held together."""
    execution = await started(
        target(database), step("SELECT seq, REPEAT('x', 1000) FROM sys.seq_1_to_100000 LIMIT 100000", rows=90_000)
    )
    process, size, most = psutil.Process(), 0, 0
    before = process.memory_info().rss

    async for chunk in execution.output():
        size += len(chunk)
        if size % 500 < 2:
            most = max(most, process.memory_info().rss)

    assert size > 90_000_000
    assert most - before < size / 2  # a suite that was run before leaves the allocator room to grow into


async def test_a_row_without_bound_is_refused(database: PrivateMariaDb) -> None:
    """One value of 20 MB would be held whole: the statement fails and says what to do, the next one runs."""
    execution = await started(
        target(database), step("SELECT REPEAT('x', 16000000) a, REPEAT('y', 4000000) b", "SELECT 1 one")
    )

    came, failed = await kept(execution.output())

    assert "LEFT(column, 1024)" in failed.reason
    assert came[1].rows() == [{"one": "1"}]


# --- statements that look at what another one found ----------------------------------------------


async def test_a_statement_looks_at_what_an_earlier_one_found(database: PrivateMariaDb) -> None:
    """Numbers as numbers and text as text, whatever is in it; only the first row counts."""
    first = Statement(name="found", both="SELECT 7 AS id, 'x\\' OR 1; -- ' AS name UNION ALL SELECT 8, 'y'")
    second = Statement(name="looked", both="SELECT %(found.id)s + 1 AS next, %(found.name)s AS same")

    _, looked = await whole(target(database), step(first, second))

    assert looked.rows() == [{"next": "8", "same": "x' OR 1; -- "}]


@pytest.mark.parametrize("text", ["SELECT 1 AS id FROM DUAL WHERE FALSE", "SELECT NULL AS id", "SELECT 1 AS other"])
async def test_a_statement_with_nothing_to_look_at_is_skipped(database: PrivateMariaDb, text: str) -> None:
    """No row, NULL or no such column: the step is well, and says so."""
    first, second = Statement(name="found", both=text), Statement(name="looked", both="SELECT %(found.id)s")

    _, looked = await whole(target(database), step(first, second))

    assert looked.facts == {"skipped": "nothing_found"}
    assert looked.body == "-- not asked: there was no found.id to look at\n"


async def test_an_optional_statement_may_be_refused(database: PrivateMariaDb) -> None:
    """Its section says why and what would help, and the step is well."""
    plugin = Statement(name="plugin", both="SELECT 1 FROM information_schema.metadata_lock_info", optional=True)
    denied = Statement(name="denied", both="SELECT 1 FROM mysql.slow_log", optional=True)
    gone = Statement(name="gone", both="SHOW EXPLAIN FOR 999999", optional=True)

    parts = await whole(target(database), step(plugin, denied, gone, "SELECT 1 one"))

    assert [part.facts.get("error") for part in parts] == ["1109", "1142", "1094", None]
    assert "INSTALL SONAME 'metadata_lock_info'" in parts[0].body
    assert parts[1].body.endswith("-- GRANT SELECT ON mysql.slow_log TO 'cap'@'%'\n")


# --- guards --------------------------------------------------------------------------------------


async def test_nothing_is_sent_to_a_server_without_tls(tmp_path: Path) -> None:
    """A server (or somebody in between) that takes TLS away does not even learn the user's name."""
    async with plain(tmp_path) as database, listening_in(database.port) as (port, heard):
        for tls in (Tls.VERIFY, Tls.REQUIRED):
            failed = await refused(target(database, port=port, tls=tls))

            assert "offers no TLS" in failed.reason
        assert b"".join(heard) == b""


@asynccontextmanager
async def listening_in(port: int) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A port that leads to *port*, and all that clients sent through it."""
    heard: list[bytes] = []

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: list[bytes]) -> None:
        while data := await reader.read(65536):
            to.append(data)
            writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(carry(reader, back, heard), carry(there, writer, []), return_exceptions=True)
        writer.close()
        back.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], heard
    finally:
        server.close()


async def test_the_password_is_not_handed_over_in_plain_text(tmp_path: Path) -> None:
    """Any server may ask for it; ours does for accounts that PAM looks after."""
    if os.geteuid():
        pytest.skip("only a server that root starts may use PAM: run the tests as root")
    async with (
        plain(tmp_path, "--plugin-load-add=auth_pam", "--pam-use-cleartext-plugin=ON") as database,
        listening_in(database.port) as (port, heard),
    ):
        await database.execute("CREATE USER clear@'%' IDENTIFIED VIA pam")

        failed = await refused(target(database, port=port, user="clear"))

        assert "by mysql_clear_password without TLS" in failed.reason
        assert b"clear" in b"".join(heard)
        assert PASSWORD.encode() not in b"".join(heard)


async def test_tls_is_verified(database: PrivateMariaDb) -> None:
    """The right authority and name pass; each wrong one has its own sentence; `required` takes any."""
    right, wrong_name, wrong_authority = (
        target(database, tls=Tls.VERIFY, ca=database.authority),
        target(database, tls=Tls.VERIFY, ca=database.authority, host="localhost"),
        target(database, tls=Tls.VERIFY),
    )
    cipher = step("SHOW SESSION STATUS LIKE 'Ssl_cipher'")

    for good in (right, target(database, tls=Tls.REQUIRED)):
        (section,) = await whole(good, cipher)
        assert section.rows()[0]["Value"].startswith("TLS_")
    assert "not for the name localhost" in (await refused(wrong_name)).reason
    assert "not vouched for by this machine's authorities" in (await refused(wrong_authority)).reason
    assert (
        "the ca /no/such.pem cannot be read (No such file"
        in (await refused(target(database, tls=Tls.VERIFY, ca=Path("/no/such.pem")))).reason
    )


async def test_statements_cannot_be_joined(database: PrivateMariaDb) -> None:
    """Even by code that goes around the transport's own look at them."""
    connection = await connect(await login_of(database))

    with pytest.raises(SqlError) as caught:
        await connection.rows("SELECT 1; SELECT 2")

    assert caught.value.code == 1064
    connection.close()


async def test_a_session_cannot_write(database: PrivateMariaDb) -> None:
    """Even with an account that may."""
    await database.create_schema("orders", owner="owner", password="x")
    connection = await connect(await login_of(database, user="owner", password="x"))

    for text in ("CREATE TABLE orders.t (a INT)", "INSERT INTO orders.t VALUES (1)", "DROP DATABASE orders"):
        with pytest.raises(SqlError) as caught:
            await connection.rows(text)
        assert caught.value.code == 1792
    connection.close()


async def test_limits_are_set_on_the_server(database: PrivateMariaDb) -> None:
    """What a bot that died leaves behind ends by itself."""
    connection = await connect(await login_of(database))

    (values,) = await connection.rows(
        "SELECT @@max_statement_time, @@lock_wait_timeout, @@innodb_lock_wait_timeout, @@sql_select_limit, @@autocommit, @@tx_read_only"
    )

    assert values == ("7.000000", "2", "2", "11", "1", "1")
    await connection.leave()


@pytest.mark.parametrize(
    "text", ["DROP TABLE t", "SELECT 1; DROP TABLE t", "SELECT * FROM t FOR UPDATE", "SELECT %(no)s"]
)
async def test_a_statement_that_does_not_only_read_is_not_sent(database: PrivateMariaDb, text: str) -> None:
    """The reason names the statement and what is wrong with it."""
    with pytest.raises(StepFailed) as caught:
        await started(target(database), step(Statement(name="bad", both=text)))

    assert caught.value.reason.startswith("the statement bad of sql was not sent: ")


# --- ends ----------------------------------------------------------------------------------------


async def test_a_cancelled_statement_is_ended_and_that_is_proved(database: PrivateMariaDb) -> None:
    """As the runner does it: the read is cancelled, then stop is called."""
    execution = await started(target(database), step(BUSY, timeout_s=FAR_AWAY))
    await cancel_reading(database, execution)
    assert len(await running(database)) == 1  # the server does not see that nobody listens any more

    proof = await execution.stop()

    assert re.fullmatch(r"thread \d+ of orders-db does not run it any more, after KILL QUERY", proof)
    assert await running(database) == []
    assert await execution.stop() == proof


async def test_a_stop_from_beside_ends_the_output(database: PrivateMariaDb) -> None:
    """The output ends as stopped, with what had come before."""
    execution = await started(target(database), step("SELECT 1 one", BUSY, timeout_s=FAR_AWAY))
    async with asyncio.TaskGroup() as group:
        ending = group.create_task(kept(execution.output()))
        await until_running(database)

        proof = await execution.stop()

    came, failed = ending.result()
    assert came[0].rows() == [{"one": "1"}]
    assert failed.outcome is Outcome.STOPPED
    assert "KILL QUERY" in proof


async def test_a_stop_between_rows_ends_the_statement(database: PrivateMariaDb) -> None:
    """Output that nobody goes on reading is ended too, and cannot be gone on with."""
    execution = await started(
        target(database), step("SELECT seq, REPEAT('x', 10000) FROM sys.seq_1_to_1000000 LIMIT 1000000", rows=10**6)
    )
    output = execution.output()
    await anext(output)
    await anext(output)

    proof = await execution.stop()

    assert proof.startswith("thread ")
    assert await running(database) == []
    assert await anext(output) == b"-- stopped, after 1 row\n"
    with pytest.raises(StepFailed) as caught:
        await anext(output)
    assert caught.value.outcome is Outcome.STOPPED


async def test_stop_says_when_there_was_nothing_to_end(database: PrivateMariaDb) -> None:
    """Before the first statement, and after the last."""
    early, late = await started(target(database), step("SELECT 1")), await started(target(database), step("SELECT 1"))
    async with aclosing(late.output()) as output:  # type: ignore[type-var]  # a generator, as every output is
        assert [chunk async for chunk in output]

    assert (await early.stop()).startswith("no statement was under way on orders-db")
    assert await late.stop() == ""


async def test_a_statement_that_takes_too_long_is_ended_by_the_server(database: PrivateMariaDb) -> None:
    """The others are asked; the step ends as timed out."""
    execution = await started(target(database), step(BUSY, "SELECT 1 one", timeout_s=0.1))

    came, failed = await kept(execution.output())

    assert came[0].facts["error"] == "1969"
    assert came[1].rows() == [{"one": "1"}]
    assert failed.outcome is Outcome.TIMED_OUT
    assert failed.reason.startswith("1 of 2 statements failed: s1: ERROR 1969")
    assert await execution.stop() == ""


async def test_a_server_that_dies_leaves_what_came(tmp_path: Path) -> None:
    """A kill -9 in the middle of an answer: the rows so far are kept, and the end is `lost`."""
    async with plain(tmp_path) as database:
        execution = await started(
            target(database),
            step(SLOWLY, "SELECT 1"),
        )

        (section,), failed = await kept(
            execution.output(), lambda chunks: os.kill(database.pid, signal.SIGKILL) if chunks == 5 else None
        )

        assert failed.outcome is Outcome.LOST
        assert "orders-db dropped the connection during s1" in failed.reason
        assert [row["seq"] for row in section.rows()][:4] == ["1", "2", "3", "4"]
        assert "-- ERROR 2013" in section.body.rstrip("\n").split("\n")[-1]
        assert "could not be proved" in await execution.stop()
        assert "cannot be reached: Connection refused" in (await refused(target(database))).reason


async def test_a_server_that_hangs_is_told_from_one_that_refuses(tmp_path: Path) -> None:
    """At login and in the middle; the whole login is bounded, and stop says what it could not prove."""
    async with plain(tmp_path) as database:
        hung = transport(connect_s=1.0)
        execution = await hung.start(target(database), step(BUSY), capture_id="c-42")
        os.kill(database.pid, signal.SIGSTOP)
        try:
            begun = time.monotonic()
            failed = await refused(target(database), connect_s=1.0)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await anext(execution.output())
            proof = await execution.stop()
            took = time.monotonic() - begun
        finally:
            os.kill(database.pid, signal.SIGCONT)

    assert failed.outcome is Outcome.TIMED_OUT
    assert "did not let us in within 1 s" in failed.reason
    assert "could not be proved that s1 ended" in proof
    assert "22 s after its start" in proof
    assert took < 10


# --- refusals ------------------------------------------------------------------------------------


async def test_each_refused_login_names_its_cause(database: PrivateMariaDb) -> None:
    """Wrong password, unknown account, unknown database, closed port, no such host."""
    good = target(database)

    assert "refused the account cap" in (await refused(good, password="wrong-one")).reason
    assert "refused the account nobody" in (await refused(target(database, user="nobody"))).reason
    assert "check the target's database" in (await refused(target(database, database="nope"))).reason
    assert "Connection refused" in (await refused(target(database, port=1))).reason
    assert "not known" in (await refused(target(database, host="no-such-host.invalid"))).reason


@pytest.mark.parametrize(
    ("greeting", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7\r\n", "does not speak as MySQL does"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak as MySQL does"),
        (b"\x05\x00\x00\x00\x0a5.5\x00", "does not speak as MySQL does"),
        (b"\x01\x00\x00\x00\x0a" + b"\x00" * 99, "does not speak as MySQL does"),
        (b"\x17\x00\x00\x00\xff\x10\x04Too many connections", "takes no more connections"),
        (b"", "closed the connection while we logged in"),
    ],
)
async def test_a_port_of_something_else_is_recognised(database: PrivateMariaDb, greeting: bytes, words: str) -> None:
    """Somebody typed the port of an SSH server, or the server never comes to speak."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        failed = await refused(target(database, port=server.sockets[0].getsockname()[1]))

    assert words in failed.reason


async def test_too_many_connections_are_a_finding(tmp_path: Path) -> None:
    """The reason says that this is not the bot's trouble but the server's."""
    async with plain(tmp_path, "--max-connections=10") as database:
        login = await login_of(database)
        holding = [await connect(login) for _ in range(10)]

        failed = await refused(target(database))

        assert "takes no more connections" in failed.reason
        assert "this itself is a finding" in failed.reason
        for connection in holding:
            connection.close()


async def test_a_failed_statement_leaves_the_others_and_names_a_cure_that_works(database: PrivateMariaDb) -> None:
    """The GRANTs in the reason, run as they stand, are all that is missing."""
    await database.execute("CREATE OR REPLACE USER blind@'%%' IDENTIFIED BY %s", (PASSWORD,))
    what = step(
        Statement(name="innodb", both="SHOW ENGINE INNODB STATUS"),
        Statement(name="digests", both="SELECT digest FROM performance_schema.events_statements_summary_by_digest"),
        Statement(name="replica", both="SHOW REPLICA STATUS"),
        Statement(name="one", both="SELECT 1 one"),
    )
    blind = target(database, user="blind")

    came, failed = await kept((await started(blind, what)).output())

    assert [section.facts.get("error") for section in came] == ["1227", "1142", "1227", None]
    assert failed.outcome in (None, Outcome.FAILED)
    assert failed.reason.startswith("3 of 4 statements failed: innodb: ERROR 1227")
    for grant in re.findall(r"GRANT [^;]+", failed.reason):
        await database.execute(grant)
    assert len(await whole(blind, what)) == 4


async def test_what_performance_schema_hides_is_said(tmp_path: Path) -> None:
    """One statement is skipped with the cure; a step that has nothing else is skipped as a whole."""
    digests = Statement(name="digests", both="SELECT * FROM performance_schema.threads", needs_performance_schema=True)
    async with plain(tmp_path) as database:
        skipped, again, other = await whole(target(database), step(digests, digests, "SELECT 1 one"))
        nothing, failed = await kept((await started(target(database), step(digests))).output())
        lines = await transport().check(target(database))

    assert skipped.facts == again.facts == {"skipped": "performance_schema_off"}
    assert "performance_schema=ON below [mariadbd]" in skipped.body
    assert "[mariadbd]" not in again.body  # said once a step
    assert other.rows() == [{"one": "1"}]
    assert failed.outcome is Outcome.SKIPPED
    assert failed.reason.startswith("performance_schema is OFF on orders-db")
    assert nothing[0].facts == skipped.facts
    assert any(line.startswith("fault: orders-db: performance_schema is OFF") for line in lines)


async def test_a_statement_of_the_other_flavour_is_skipped(database: PrivateMariaDb) -> None:
    """And the reason says which server this is."""
    skipped, other = await whole(target(database), step(Statement(name="mine", mysql="SELECT 1"), "SELECT 1 one"))

    assert skipped.facts == {"skipped": "other_server"}
    assert "no text of mine for mariadb-10" in skipped.body
    assert other.rows() == [{"one": "1"}]


# --- through a jump host -------------------------------------------------------------------------


class Passwords(Secrets):
    """The database's password, and files as they are in production."""

    async def resolve(self, ref: SecretRef) -> str:
        return PASSWORD if ref.text == "env:X" else await RealSecrets({}).resolve(ref)


@asynccontextmanager
async def jump_host(folder: Path, **options: str) -> AsyncIterator[tuple[Ssh, MySqlTransport]]:
    """A private sshd with *options*, and a transport that can go through it."""
    pool = SshPool(Passwords())
    try:
        async with private_sshd(folder, options=options) as sshd:
            yield sshd.ssh, MySqlTransport(Passwords(), pool, connect_s=BOUND_S)
    except UserError as trouble:
        missing(trouble)
    finally:
        await pool.close()


async def test_a_database_behind_a_jump_host_is_reached(database: PrivateMariaDb, tmp_path: Path) -> None:
    """TLS verifies the database's own name, stopping works the same way, and nothing stays open here."""
    async with jump_host(tmp_path) as (ssh, through):
        good = target(database, via=ssh, tls=Tls.VERIFY, ca=database.authority)
        wrong_name = target(database, via=ssh, tls=Tls.VERIFY, ca=database.authority, host="localhost")

        execution = await through.start(good, step(BUSY, timeout_s=FAR_AWAY), capture_id="c-42")
        left_open = [path for path in os.listdir(tempfile.gettempdir()) if path.startswith("capturebot-jump-")]  # noqa: PTH208  # names only
        await cancel_reading(database, execution)
        proof = await execution.stop()
        with pytest.raises(StepFailed) as caught:
            await through.start(wrong_name, step("SELECT 1"), capture_id="c-42")
        lines = await through.check(good)

    assert left_open == []
    assert proof.endswith("after KILL QUERY")
    assert "not for the name localhost" in caught.value.reason
    assert " through 127.0.0.1, as 'cap'@'%'" in lines[0]


@pytest.mark.parametrize("options", [{}, {"AllowTcpForwarding": "no"}])
async def test_a_jump_host_that_cannot_go_on_says_why(
    database: PrivateMariaDb, tmp_path: Path, options: dict[str, str]
) -> None:
    """A closed port behind it, or forwarding switched off."""
    async with jump_host(tmp_path, **options) as (ssh, through):
        with pytest.raises(StepFailed) as caught:
            await through.start(target(database, via=ssh, port=1), step("SELECT 1"), capture_id="c-42")

    assert caught.value.reason.startswith("orders-db: the jump host 127.0.0.1 cannot open 127.0.0.1:1 (")


# --- doctor --------------------------------------------------------------------------------------


async def test_the_doctor_is_content_with_an_observer(database: PrivateMariaDb) -> None:
    """The least grants are enough."""
    lines = await transport().check(target(database, tls=Tls.VERIFY, ca=database.authority))

    assert all(line.startswith("ok: orders-db: ") for line in lines), lines
    assert any("encrypted with TLS_" in line and "certificate verified" in line for line in lines)
    assert any("as 'cap'@'%'" in line for line in lines)


async def test_the_doctor_names_the_missing_grants_and_the_dangerous_ones(database: PrivateMariaDb) -> None:
    """An application's own account sees too little and may do too much."""
    await database.create_schema("orders", owner="owner", password=PASSWORD)

    lines = await transport().check(target(database, user="owner"))

    faults = [line for line in lines if line.startswith("fault: ")]
    assert [re.sub(r".* — ", "", line) for line in faults[:3]] == [
        "GRANT PROCESS ON *.* TO 'owner'@'%'",
        "GRANT SELECT ON performance_schema.* TO 'owner'@'%'",
        "GRANT SLAVE MONITOR ON *.* TO 'owner'@'%'",
    ]
    assert "can change things (ALL PRIVILEGES ON `orders`.*)" in faults[3]


async def test_the_doctor_says_why_it_cannot_log_in(database: PrivateMariaDb) -> None:
    """In one line, with the cure."""
    (line,) = await transport("wrong").check(target(database))

    assert line.startswith("fault: orders-db (127.0.0.1:")
    assert " — " in line


# --- load ----------------------------------------------------------------------------------------


async def test_a_load_shows_who_and_what(database: PrivateMariaDb) -> None:
    """A load is seen at work by a capture: its user, and its statements in the digests; then it is gone."""
    digests = (
        "SELECT schema_name, digest_text, count_star FROM performance_schema.events_statements_summary_by_digest "
        "WHERE schema_name = 'orders' ORDER BY sum_timer_wait DESC LIMIT 5"
    )
    who = "SELECT DISTINCT user FROM information_schema.processlist WHERE db = 'orders'"
    try:
        async with sysbench(database, threads=2, seconds=30) as load:
            clients, statements = await whole(target(database), step(who, digests))
    except UserError as trouble:
        missing(trouble)

    assert clients.rows() == [{"user": load.user}]
    assert any("sbtest" in row["digest_text"] for row in statements.rows())
    assert not psutil.pid_exists(load.pid)

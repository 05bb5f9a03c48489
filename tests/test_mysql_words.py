"""What may be sent to a database, and what its answers mean."""

from __future__ import annotations

import asyncssh
import pytest

from bot.errors import SecretMissing, StepFailed
from bot.model import MySql, Outcome, Run, SecretRef, Sql, Ssh, Statement, Step, Target
from bot.transports.mysql import MySqlTransport
from bot.transports.mysql_connection import server_of, session_limits
from bot.transports.mysql_doctor import sights
from bot.transports.mysql_errors import Server, SqlError, cure_of, hangs, login_failed, performance_schema_cure
from bot.transports.mysql_statements import of_one_thing

MARIADB = server_of("10.11.19-MariaDB-0+deb12u1", "Debian 12", "cap@%", performance_schema=False)
MYSQL = server_of("8.4.3", "MySQL Community Server - GPL", "cap@10.0.0.%", performance_schema=True)
DATABASE = MySql(host="10.0.0.5", user="cap")


@pytest.mark.parametrize(
    ("text", "one"),
    [
        ("SHOW ENGINE INNODB STATUS", True),
        ("show replica status;\n", True),
        ("SHOW GLOBAL STATUS LIKE 'Threads%'", False),
        ("SELECT 'STATUS'", False),
        ("SHOW PROCESSLIST", False),
    ],
)
def test_a_report_about_one_thing_is_told_from_a_table(text: str, one: bool) -> None:  # noqa: FBT001  # a table
    """By the statement alone, so that the form never depends on the data."""
    assert of_one_thing(text) is one


@pytest.mark.parametrize(
    ("version", "comment", "name"),
    [
        ("10.11.19-MariaDB-0+deb12u1", "Debian 12", "mariadb-10.11.19"),
        ("5.5.5-10.6.14-MariaDB-log", "", "mariadb-10.6.14"),
        ("11.4.2", "MariaDB Server", "mariadb-11.4.2"),
        ("8.0.36-28", "Percona Server (GPL)", "mysql-8.0.36"),
        ("8.4.3", "MySQL Community Server - GPL", "mysql-8.4.3"),
        ("unknown", "", "mysql-0"),
    ],
)
def test_a_server_is_known_by_what_it_says(version: str, comment: str, name: str) -> None:
    """Flavour and version, as they stand in every section's header."""
    assert str(server_of(version, comment, "cap@%", performance_schema=True)) == name


def test_each_flavour_gets_its_own_limit() -> None:
    """Seconds for MariaDB, milliseconds for MySQL; neither takes the other's name."""
    assert session_limits("mariadb", 12.5, 1000) == (
        "SET SESSION sql_mode = 'IGNORE_SPACE', max_statement_time = 12.500, lock_wait_timeout = 2, innodb_lock_wait_timeout = 2, sql_select_limit = 1001"
    )
    assert "max_execution_time = 12500," in session_limits("mysql", 12.5, 1000)


@pytest.mark.parametrize(
    ("error", "server", "text", "cure"),
    [
        (
            SqlError(1227, "Access denied; you need (at least one of) the PROCESS privilege(s) for this operation"),
            MARIADB,
            "SHOW ENGINE INNODB STATUS",
            "GRANT PROCESS ON *.* TO 'cap'@'%'",
        ),
        (
            SqlError(
                1227, "Access denied; you need (at least one of) the SUPER, REPLICATION CLIENT privilege(s) for …"
            ),
            MYSQL,
            "SHOW REPLICA STATUS",
            "GRANT REPLICATION CLIENT ON *.* TO 'cap'@'10.0.0.%'",
        ),
        (
            SqlError(1227, "Access denied; you need (at least one of) the REPLICATION MASTER ADMIN privilege(s) for …"),
            MARIADB,
            "SHOW REPLICA HOSTS",
            "nothing: who has REPLICATION MASTER ADMIN can change things too, and a capture does without it",
        ),
        (
            SqlError(1142, "SELECT command denied to user 'cap'@'h' for table `performance_schema`.`threads`"),
            MARIADB,
            "SELECT 1 FROM performance_schema.threads",
            "GRANT SELECT ON performance_schema.* TO 'cap'@'%'",
        ),
        (
            SqlError(1142, "SELECT command denied to user 'cap'@'h' for table 'threads'"),
            MYSQL,
            "SELECT 1 FROM `performance_schema` . `threads`",
            "GRANT SELECT ON performance_schema.* TO 'cap'@'10.0.0.%'",
        ),
        (
            SqlError(1142, "SELECT command denied to user 'cap'@'h' for table `mysql`.`slow_log`"),
            MARIADB,
            "SELECT 1 FROM mysql.slow_log",
            "GRANT SELECT ON mysql.slow_log TO 'cap'@'%'",
        ),
        (
            SqlError(1109, "Unknown table 'METADATA_LOCK_INFO' in information_schema"),
            MARIADB,
            "SELECT 1",
            "who holds metadata locks is known after INSTALL SONAME 'metadata_lock_info'",
        ),
        (SqlError(1094, "Unknown thread id: 31"), MYSQL, "EXPLAIN FOR CONNECTION 31", "it has just ended"),
        (SqlError(1146, "Table 'x.y' doesn't exist"), MYSQL, "SELECT", "the recipe does not fit mysql-8.4.3"),
        (SqlError(1234, "anything"), MYSQL, "SELECT", ""),
    ],
)
def test_a_failed_statement_is_told_with_its_cure(error: SqlError, server: Server, text: str, cure: str) -> None:
    """The GRANT names the account that the server sees; nothing is made up for an error that nobody knows."""
    told = cure_of(error, server, text)

    assert told.startswith(cure)
    assert bool(told) is bool(cure)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (1040, "itself is a finding"),
        (1045, "check the target's user and password"),
        (1130, "does not take connections from this address"),
        (1862, "has expired"),
        (3159, "set the target's tls to verify"),
        (2059, "mysql_native_password"),
        (2013, "closed the connection while we logged in"),
        (9999, "ERROR 9999"),
    ],
)
def test_a_failed_login_names_the_server_and_the_cure(code: int, words: str) -> None:
    """One sentence for each kind."""
    failed = login_failed("orders-db", DATABASE, SqlError(code, "said"))

    assert failed.reason.startswith("orders-db (10.0.0.5:3306)")
    assert words in failed.reason


def test_a_server_that_says_nothing_has_run_out_of_time() -> None:
    """Which is not the same as one that refuses."""
    assert hangs("orders-db", DATABASE, 10.0).outcome is Outcome.TIMED_OUT


def test_performance_schema_is_cured_in_the_section_that_the_server_reads() -> None:
    """[mariadbd] is read by MariaDB only."""
    assert "[mariadbd]" in performance_schema_cure(MARIADB)
    assert "[mysqld]" in performance_schema_cure(MYSQL)


def test_each_server_is_asked_for_the_right_that_it_knows() -> None:
    """REPLICATION CLIENT became SLAVE MONITOR in MariaDB 10.5; MySQL kept it and lost SHOW SLAVE STATUS."""
    old = server_of("10.4.34-MariaDB", "", "cap@%", performance_schema=True)

    assert sights(MARIADB)[2][1:] == ("SHOW REPLICA STATUS", "SLAVE MONITOR ON *.*")
    assert sights(old)[2][1:] == ("SHOW SLAVE STATUS", "REPLICATION CLIENT ON *.*")
    assert sights(MYSQL)[2][1:] == ("SHOW REPLICA STATUS", "REPLICATION CLIENT ON *.*")


class NoSecrets:
    """Finds nothing."""

    async def resolve(self, ref: SecretRef) -> str:
        raise SecretMissing(f"{ref.text} is not set")

    def forget(self, ref: SecretRef) -> None:
        """Nothing is kept."""


class NoJump:
    """Is not asked."""

    async def connection(self, ssh: Ssh) -> asyncssh.SSHClientConnection:
        raise AssertionError(ssh)


SQL = Step(
    id="sql", title="", action=Sql(statements=(Statement(name="a", both="SELECT 1"),)), timeout_s=1, limit_bytes=1000
)
RUN = Step(id="run", title="", action=Run(argv=("uptime",)), timeout_s=1, limit_bytes=1000)
LOCKED = Target(name="orders-db", mysql=MySql(host="10.0.0.5", user="cap", password=SecretRef("env:ORDERS_DB")))


@pytest.mark.parametrize(
    ("target", "step", "outcome", "words"),
    [
        (LOCKED, SQL, None, "orders-db: env:ORDERS_DB is not set"),
        (LOCKED, RUN, Outcome.SKIPPED, "run is no SQL step"),
        (Target(name="here", local=True), SQL, Outcome.SKIPPED, "here has no mysql settings"),
    ],
)
async def test_what_cannot_be_started_says_why(target: Target, step: Step, outcome: Outcome | None, words: str) -> None:
    """Before anything is sent anywhere."""
    transport = MySqlTransport(NoSecrets(), NoJump())

    with pytest.raises(StepFailed) as caught:
        await transport.start(target, step, capture_id="c-42")

    assert (caught.value.outcome, caught.value.reason) == (outcome, words)


async def test_the_doctor_names_a_missing_secret() -> None:
    """As a fault like any other."""
    assert await MySqlTransport(NoSecrets(), NoJump()).check(LOCKED) == ["fault: orders-db: env:ORDERS_DB is not set"]

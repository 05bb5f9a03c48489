"""The least grants that statements need, and what an account has beyond seeing."""

from __future__ import annotations

import pytest

from bot.model import Sql
from bot.recipes import builtin_folder, load_folder
from bot.transports.mysql_connection import server_of
from bot.transports.mysql_errors import Server
from bot.transports.mysql_grants import least, passwords_in, too_much

MARIADB = server_of("10.11.19-MariaDB", "", "cap@%", performance_schema=True)
OLD_MARIADB = server_of("10.4.34-MariaDB", "", "cap@%", performance_schema=True)
MYSQL = server_of("8.4.3", "MySQL Community Server - GPL", "cap@10.0.0.%", performance_schema=True)
OLD_MYSQL = server_of("5.7.44", "MySQL Community Server (GPL)", "cap@%", performance_schema=True)


def shipped(flavour: str) -> list[str]:
    """Every statement of the recipes that ship, as that server is asked."""
    return [
        text
        for recipe in load_folder(builtin_folder()).values()
        for step in recipe.steps
        if isinstance(step.action, Sql)
        for each in step.action.statements
        if (text := getattr(each, flavour) or each.both)
    ]


@pytest.mark.parametrize(
    ("server", "everywhere"),
    [
        (MARIADB, "GRANT PROCESS, SLAVE MONITOR, BINLOG MONITOR ON *.* TO 'cap'@'%'"),
        (OLD_MARIADB, "GRANT PROCESS, REPLICATION CLIENT ON *.* TO 'cap'@'%'"),
        (MYSQL, "GRANT PROCESS, REPLICATION CLIENT ON *.* TO 'cap'@'10.0.0.%'"),
        (OLD_MYSQL, "GRANT PROCESS, REPLICATION CLIENT ON *.* TO 'cap'@'%'"),
    ],
    ids=str,
)
def test_the_shipped_recipes_need_three_grants(server: Server, everywhere: str) -> None:
    """By the names that the server's version has for them, and nothing that changes anything."""
    grants = least(server, shipped(server.flavour), database=None)

    assert grants == [
        everywhere,
        f"GRANT SELECT ON mysql.slow_log TO {server.account}",
        f"GRANT SELECT ON performance_schema.* TO {server.account}",
    ]
    assert too_much(grants) == []


@pytest.mark.parametrize(
    ("text", "tables"),
    [
        ("SELECT 1", []),
        ("SELECT 1 FROM DUAL", []),
        ("SELECT COUNT(*) FROM orders", ["shop.orders"]),
        ("SELECT * FROM orders AS o, `order items` i JOIN audit.log USING (id)", ["audit.log", "shop.`order items`", "shop.orders"]),
        ("SELECT * FROM (SELECT a, b FROM x, y WHERE a IN (1, 2)) AS d, z", ["shop.x", "shop.y", "shop.z"]),
        ("SELECT EXTRACT(DAY FROM a), TRIM('x' FROM b), c FROM t ORDER BY d, e", ["shop.t"]),
        ("WITH r (n) AS (SELECT 1 FROM t), q AS (SELECT 2) SELECT * FROM r JOIN q", ["shop.t"]),
        ("SELECT * FROM sys.processlist", ["sys.*"]),
        ("SELECT * FROM Performance_Schema.threads", ["performance_schema.*"]),
        ("SELECT * FROM information_schema.processlist", []),
        ("SELECT * FROM 't", []),
    ],
)  # fmt: skip
def test_tables_are_found_where_they_are_read(text: str, tables: list[str]) -> None:
    """Of the target's own database where they name none."""
    grants = least(MARIADB, [text], database="shop")

    assert [
        grant.removeprefix("GRANT SELECT ON ").removesuffix(" TO 'cap'@'%'") for grant in grants if "SELECT ON" in grant
    ] == tables


def test_tables_of_no_known_database_are_left_out() -> None:
    """The server would refuse the statement anyway, and says so."""
    assert least(MARIADB, ["SELECT * FROM orders"], database=None) == ["GRANT PROCESS ON *.* TO 'cap'@'%'"]


def test_grants_that_change_things_are_found() -> None:
    """With where they hold; column lists do not confuse, and what nobody knows counts."""
    grants = [
        "GRANT PROCESS, BINLOG MONITOR, SLAVE MONITOR ON *.* TO `cap`@`%` IDENTIFIED BY PASSWORD '*7C53'",
        "GRANT SELECT, EXECUTE ON `sys`.* TO `cap`@`%`",
        "GRANT EXECUTE ON FUNCTION `sys`.`format_time` TO `cap`@`%`",
        "GRANT EXECUTE ON PROCEDURE `orders`.`purge` TO `cap`@`%`",
        "GRANT SELECT (a, b), UPDATE (a, b) ON `orders`.`items` TO `cap`@`%`",
        "GRANT ALL PRIVILEGES ON `orders`.* TO `cap`@`%` WITH GRANT OPTION",
        "GRANT `reader` TO `cap`@`%`",
        "GRANT USAGE ON *.* TO `cap`@`%`",
        "GRANT CREATE TEMPORARY TABLES, LOCK TABLES ON `orders`.* TO `cap`@`%`",
        "GRANT SUPER, FILE, CONNECTION_ADMIN, REPLICATION SLAVE ON *.* TO `cap`@`%`",
    ]

    assert too_much(grants) == [
        "EXECUTE ON PROCEDURE `orders`.`purge`",
        "UPDATE ON `orders`.`items`",
        "ALL PRIVILEGES ON `orders`.*",
        "GRANT OPTION ON `orders`.*",
        "the role `reader`",
        "CREATE TEMPORARY TABLES ON `orders`.*",
        "LOCK TABLES ON `orders`.*",
        "SUPER ON *.*",
        "FILE ON *.*",
        "CONNECTION_ADMIN ON *.*",
        "REPLICATION SLAVE ON *.*",
    ]


@pytest.mark.parametrize(
    ("grant", "shows"),
    [
        ("GRANT SELECT ON *.* TO `cap`@`%`", "SELECT ON *.*"),
        ("GRANT PROCESS, SELECT ON `mysql`.* TO `cap`@`%`", "SELECT ON `mysql`.*"),
        ("GRANT SELECT ON `mysql`.`slow_log` TO `cap`@`%`", ""),
        ("GRANT PROCESS ON *.* TO `cap`@`%`", ""),
    ],
)
def test_an_account_that_can_read_password_hashes_is_told(grant: str, shows: str) -> None:
    """It changes nothing, and yet is more than a capture needs."""
    assert passwords_in([grant]) == shows

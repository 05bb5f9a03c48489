"""What insights on databases take apart: sets of GTIDs, statements and their tables, reports of the monitor."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.insights import HEAD_BYTES, Reading
from bot.insights.mysql.deadlock import deadlock
from bot.insights.mysql.gtids import missing
from bot.insights.mysql.plan import _sources, plan
from bot.insights.mysql.replication import _reason, replication

SOURCE = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
OTHER = "4e11fa47-71ca-11e1-9e33-c80aa9429562"
BOUND_S = 5.0  # for two MiB that mean harm, on a machine that others use too


@settings(max_examples=50)
@given(st.sets(st.integers(1, 40), min_size=1))
def test_the_gaps_of_a_set_of_gtids_are_what_is_missing_between_its_ends(applied: set[int]) -> None:
    """In whatever order the intervals stand, and whatever other servers have."""
    spans = [str(number) if number % 2 else f"{number}-{number}" for number in sorted(applied, reverse=True)]
    gtids = f"{OTHER}:1-5:9,\n{SOURCE.upper()}:{':'.join(spans)}"

    gaps = missing(gtids, SOURCE)

    named = {number for low, high in gaps for number in range(low, high + 1)}
    assert named == set(range(min(applied), max(applied))) - applied


@pytest.mark.parametrize(
    ("shape", "sources"),
    [
        ("select id from orders where a=?", {"orders": "orders"}),
        (
            "select o.id from shop.orders as o join customers c on c.id=o.customer",
            {"o": "shop.orders", "c": "customers"},
        ),
        ("select a.id,b.id from a left join b using(id)order by a.id", {"a": "a", "b": "b"}),
        ("select count(*)from orders a,orders b where a.total<b.total", {"a": "orders", "b": "orders"}),
        ("update orders set note=? where reference=?", {"orders": "orders"}),
    ],
)
def test_the_tables_of_a_statement_are_known_by_what_it_calls_them(shape: str, sources: dict[str, str]) -> None:
    """Aliases with and without AS, lists and joins."""
    assert _sources(shape) == sources


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            "Could not execute Write_rows_v1 event on table orders.orders; Duplicate entry '9' for key 'PRIMARY', Error_code: 1062; handler error",
            "Duplicate entry '9' for key 'PRIMARY' on orders.orders",
        ),
        ("Error 'Unknown column 'x'' on query. Default database: 'orders'. Query: 'SELECT 1'", "Unknown column 'x'"),
        (
            "Got fatal error 1236 from master when reading data from binary log: 'Could not find first log file name'",
            "Could not find first log file name",
        ),
        (
            "error connecting to master 'repl@h:3306' - retry-time: 60  maximum-retries: 1  message: Access denied",
            "Access denied",
        ),
    ],
)
def test_a_servers_error_is_told_without_its_wrapping(error: str, reason: str) -> None:
    """Nor the statement that it happened in, which holds data."""
    assert _reason(error) == reason


HEAD = "### {} at=2026-11-22T20:55:01.123456+00:00{}\n"
HARMFUL = {
    "threads": HEAD.format("innodb", " vertical=1")
    + "Status:\n  2026-11-22 20:55:01 0x7f INNODB MONITOR OUTPUT\n  LATEST DETECTED DEADLOCK\n  ----\n  2026-11-22 20:55:01 0x7f\n"
    "  *** (1) TRANSACTION:\n  " + "thread id 1, " * 40_000,
    "blanks": HEAD.format("replica", " vertical=1") + "Slave_SQL_Running: No\nLast_SQL_Errno: 1\nLast_SQL_Error: x" + " " * 500_000 + "y\n",
    "intervals": HEAD.format("sample", "")
    + (HEAD.format("replica", " vertical=1") + f"Source_UUID: {SOURCE}\nExecuted_Gtid_Set: {SOURCE}" + ":1-2" * 50_000 + "\n") * 2,
    "plans": HEAD.format("longest", "") + "id\tstatement\n1\t" + "from a,b " * 10_000 + "\n" + HEAD.format("plan", "")
    + "table\ttype\trows\n" + "a\tALL\t99999\n" * 25_000,
}  # fmt: skip


@pytest.mark.parametrize("name", HARMFUL)
def test_text_that_means_harm_is_read_in_time(name: str) -> None:
    """Half a MiB of what a pattern could stumble over."""
    text = HARMFUL[name][:HEAD_BYTES]
    began = time.process_time()

    for insight in (deadlock, plan, replication):
        list(insight(Reading(text=text, target="orders-db")))

    assert time.process_time() - began < BOUND_S

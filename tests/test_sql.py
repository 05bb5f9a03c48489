"""Which SQL may be sent: what reads passes, whatever else is tried is refused with its word and a cure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.model import Sql
from bot.recipes import builtin_folder, load_folder
from bot.sql import faults_of, refusal
from bot.sql.functions import HARMFUL, READING, TAKE_PARENTHESES

READS = [
    "SELECT 1",
    " select `update`, 'DELETE; x', \"INTO\" from t -- for update\n",
    "/* why */ SELECT 1 /* ; */;",
    "# note; here\nSELECT 1",
    "(SELECT 1) UNION (SELECT 2)",
    "SELECT REPLACE(a, 'x', 'y'), INSERT('abc', 1, 1, 'z') FROM t",
    "WITH a AS (SELECT 1), b AS (SELECT 2) SELECT * FROM a JOIN b",
    "WITH RECURSIVE n (i, j) AS (SELECT 1, 2 UNION ALL SELECT i + 1, j FROM n WHERE i < 5) SELECT * FROM n",
    "SHOW ENGINE INNODB STATUS",
    "SHOW CREATE PROCEDURE p",
    "EXPLAIN FOR CONNECTION 5",
    "EXPLAIN ANALYZE SELECT 1",
    "EXPLAIN FORMAT=JSON SELECT 1",
    "DESCRIBE orders",
    "desc orders",
    "SELECT 'it''s', 'a\\'b' FROM t",
    "SELECT 5--1, 1e5, 1.5e-3, 0x1F, 0b11, x'41', N'a', _utf8mb4'ü', NULL",
    "SELECT COUNT (*), AVG(x) OVER (PARTITION BY y), CAST(z AS CHAR(10)) FROM t USE INDEX (i) WHERE a IN (1, 2) AND (b OR NOT (c))",
    "SELECT doc->>'$.a', a << 2 | ~b, 'x' LIKE 'a%' FROM t LIMIT %(top)s",
    "SELECT @@global.max_connections, @@version",
    "SELECT größe, `naïve``name`, t2.a FROM `2tables`, t2",
    "SELECT * FROM JSON_TABLE('[1]', '$[*]' COLUMNS (a INT PATH '$')) AS j",
    "SELECT a FROM (SELECT 1 AS a) AS d WHERE EXISTS (SELECT 1) AND a > ALL (SELECT 0)",
]

REFUSED = [
    ("", "does not begin with"),
    ("%(x)s", "does not begin with"),
    ("DELETE FROM t", "does not begin with"),
    ("SET GLOBAL x = 1", "does not begin with"),
    ("KILL 5", "does not begin with"),
    ("DO SLEEP(5)", "does not begin with"),
    ("HANDLER t OPEN", "does not begin with"),
    ("ANALYZE SELECT 1", "does not begin with"),
    ("TABLE t", "does not begin with"),
    ("CALL sys.diagnostics(1, 1, 'current')", "does not begin with"),
    ("-- SELECT\nDROP TABLE t", "does not begin with"),
    ("SELECT 1; DROP TABLE t", "several statements"),
    ("COMMIT; SELECT 1", "does not begin with"),
    ("/*!50000 DELETE FROM t */ SELECT 1", "executes (`/*!`)"),
    ("SELECT /*M!100100 1 */ 2", "executes (`/*M!`)"),
    ("SELECT /*+ SET_VAR(max_execution_time = 0) */ 1", "`/*+`"),
    ("WITH a AS (SELECT 1) DELETE FROM t", "`DELETE`"),
    ("EXPLAIN ANALYZE UPDATE t SET a = 1", "`UPDATE`"),
    ("SELECT * FROM t INTO OUTFILE '/tmp/x'", "`INTO`"),
    ("SELECT * INTO DUMPFILE '/tmp/x' FROM t", "`INTO`"),
    ("SELECT 1 INTO @a", "variable of the session"),
    ("SELECT @a := 1", "variable of the session"),
    ("SELECT 1.5INTO @x", "begins like a number"),
    ("SELECT 1e1FOR UPDATE", "begins like a number"),
    ("SELECT 0x1FFOR UPDATE", "begins like a number"),
    ("SELECT * FROM t FOR UPDATE", "`UPDATE`"),
    ("SELECT * FROM t FOR/**/UPDATE SKIP LOCKED", "`UPDATE`"),
    ("SELECT * FROM t LOCK IN SHARE MODE", "`LOCK`"),
    ("SELECT (SELECT a FROM t FOR SHARE)", "`FOR SHARE`"),
    ("SELECT * FROM t PROCEDURE ANALYSE()", "`PROCEDURE`"),
    ("SELECT NEXT VALUE FOR s", "`VALUE FOR`"),
    ("SELECT NEXTVAL(s)", "`NEXTVAL`, which counts up"),
    ("SELECT SLEEP(5)", "`SLEEP`, which keeps"),
    ("SELECT sleep/* */(5)", "`SLEEP`, which keeps"),
    ("SELECT `sleep`(5)", "somebody's own"),
    ("SELECT 1 FROM t WHERE BENCHMARK(1e9, MD5('x'))", "`BENCHMARK`"),
    ("SELECT GET_LOCK('x', 60)", "takes or gives up locks"),
    ("SHOW STATUS WHERE LOAD_FILE('/etc/passwd')", "reads files"),
    ("SELECT MASTER_POS_WAIT('x', 1)", "waits for replication"),
    ("SELECT my_function(1)", "`MY_FUNCTION`, which is none of"),
    ("SELECT orders.total(1)", "somebody's own"),
    ("SELECT orders . `total` (1)", "somebody's own"),
    ("WITH a AS (SELECT evil(1)) SELECT * FROM a", "`EVIL`"),
    ("SELECT evil(1) AS x", "`EVIL`"),
    ("SELECT 1 --\x01 '\n, SLEEP(5) -- '", "'\\x01'"),
    ("SELECT 1\x00", "'\\x00'"),
    ("SELECT \\N", "'\\\\'"),
    ("SELECT {d '2026-11-22'}", "'{'"),
    ("SELECT 'a", "never closed"),
    ("SELECT `a", "never closed"),
    ("SELECT 1 /* a", "never closed"),
]  # fmt: skip


@pytest.mark.parametrize("text", READS)
def test_a_statement_that_reads_may_be_sent(text: str) -> None:
    """Whatever is in its literals, names and comments."""
    assert refusal(text) == ""


@pytest.mark.parametrize(("text", "word"), REFUSED)
def test_any_other_statement_is_refused(text: str, word: str) -> None:
    """With what is at fault and a cure."""
    why = refusal(text)

    assert word in why
    assert " — " in why


def test_every_shipped_statement_may_be_sent() -> None:
    """In each flavour, as it is written in its recipe."""
    for recipe in load_folder(builtin_folder()).values():
        for action in (step.action for step in recipe.steps if isinstance(step.action, Sql)):
            for statement in action.statements:
                for text in filter(None, (statement.both, statement.mariadb, statement.mysql)):
                    assert refusal(text) == "", (recipe.name, statement.name)


def test_no_function_is_harmful_and_reading_at_once() -> None:
    """The three lists are apart, but for words that are both an operator and a function."""
    assert not HARMFUL.keys() & (READING | TAKE_PARENTHESES)
    assert {"INTERVAL", "MOD"} == READING & TAKE_PARENTHESES


@given(st.text())
def test_any_text_is_judged(text: str) -> None:
    """A file may hold anything."""
    assert isinstance(refusal(text), str)


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_a_quoted_value_hides_nothing(value: str) -> None:
    """Escaped as the driver does it, a value is one token, and what stands behind it is seen."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")

    quoted = f"SELECT '{escaped}'"

    assert refusal(f"{quoted} AS x FROM t") == ""
    assert "SLEEP" in refusal(f"{quoted}, SLEEP(1)")
    assert len(list(faults_of(f"{quoted}; DROP TABLE t"))) == 1

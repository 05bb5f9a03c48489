"""Insights on recorded output: each file under tests/recordings/INSIGHT/ with what it must say, and no text breaks one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.insights import Insight, Reading, words
from bot.insights.mysql.load import grown
from bot.model import Finding, Level

RECORDINGS = Path(__file__).parent / "recordings"
INSIGHTS: dict[str, Insight] = {entry.name: entry.load() for entry in entry_points(group="capturebot.insights")}
CASES = sorted(RECORDINGS.glob("*/*.txt"))
PHONE_CHARS = 200


def findings(insight: str, text: str, file: bytes = b"") -> list[Finding]:
    """What an insight says of a text, and of the beginning of a file where its step leaves one."""
    return list(INSIGHTS[insight](Reading(text=text, target="orders-db", file=file)))


def expected(path: Path) -> Iterator[str]:
    """The lines of a recording's companion, comments left out."""
    lines = path.with_suffix(".expected").read_text().splitlines()
    return (line for line in lines if line and not line.startswith("#"))


def name_of(path: Path) -> str:
    """A recording as a test names it."""
    return f"{path.parent.name}/{path.stem}"


@pytest.mark.parametrize("path", CASES, ids=name_of)
def test_a_recording_gives_the_sentences_beside_it(path: Path) -> None:
    """Adding a case is adding two files. Every sentence fits a phone and steers nothing, and so does its evidence."""
    left = path.with_suffix(".dmp")

    said = findings(path.parent.name, path.read_text(), left.read_bytes() if left.exists() else b"")

    assert [f"{finding.level.name} {finding.text}" for finding in said] == list(expected(path))
    for finding in said:
        lines = (finding.text, *finding.evidence)
        assert len(finding.text) <= PHONE_CHARS
        assert all(line.isprintable() and line == line.strip() for line in lines)
        assert len(finding.evidence) <= words.EVIDENCE_LINES
        assert 0 <= finding.weight <= 1


def test_every_recording_belongs_to_an_insight_and_says_where_it_is_from() -> None:
    """No recording is left behind by a rename, and each companion begins with its origin."""
    assert {path.parent.name for path in CASES} == set(INSIGHTS)
    assert {path.with_suffix("") for path in CASES} == {
        path.with_suffix("") for path in RECORDINGS.glob("*/*.expected")
    }
    assert all(path.with_suffix(".expected").read_text().startswith("# ") for path in CASES)


# --- the measure: who is running a benchmark --------------------------------------------------


def test_the_first_line_names_the_benchmark_its_user_and_its_share() -> None:
    """Who, from where, how many connections, which share, which statement."""
    path = RECORDINGS / "mysql-statements" / "sysbench.txt"

    worst = max(
        findings("mysql-statements", path.read_text()), key=lambda finding: (finding.level.value, finding.weight)
    )

    assert worst.level is Level.BAD
    assert worst.text.startswith(
        "sbtest from 127.0.0.1 is running a benchmark (sysbench) on orders: 16 connections took "
    )
    assert "of statement time in 4 s" in worst.text


@pytest.mark.parametrize("calm", ["idle", "ordinary", "idle-blocker", "metadata-lock"])
def test_a_server_that_is_calm_or_waits_has_nobody_to_blame_for_load(calm: str) -> None:
    """An idle server, an ordinary hour, and sessions that only wait for a lock give nothing."""
    assert findings("mysql-statements", (RECORDINGS / "mysql-statements" / f"{calm}.txt").read_text()) == []


def test_a_benchmark_is_only_said_where_statements_or_programs_show_it() -> None:
    """The same load on a table of another name is named without the tool."""
    text = (RECORDINGS / "mysql-statements" / "sysbench.txt").read_text().replace("sbtest1", "ledger1")
    text = text.replace("sbtest2", "ledger2").replace("sbtest3", "ledger3").replace("sbtest4", "ledger4")

    said = findings("mysql-statements", text)

    assert [finding.text for finding in said if "benchmark" in finding.text] == []
    assert said[0].text.startswith("sbtest from 127.0.0.1 took ")


def test_a_program_that_names_itself_is_evidence_enough() -> None:
    """A connection attribute gives a dump away, whose statements look like any other."""
    text = (RECORDINGS / "mysql-statements" / "full-scans.txt").read_text()
    text = text.replace(
        "user\tclient\tprogram\tconnections\n", "user\tclient\tprogram\tconnections\nreport\t127.0.0.9\tmysqldump\t1\n"
    )

    assert findings("mysql-statements", text)[0].text.startswith(
        "report from 127.0.0.9 is running a dump on orders: 1 connection took "
    )


def test_our_own_account_is_never_the_culprit() -> None:
    """Whatever our own statements cost, another client is named, or nobody."""
    text = (RECORDINGS / "mysql-statements" / "sysbench.txt").read_text().replace("sbtest", "capture")

    assert not any(
        finding.text.startswith("capture") for finding in findings("mysql-statements", _without_running(text))
    )


def _without_running(text: str) -> str:
    """The same samples with no statement seen at work."""
    kept, skip = [], False
    for line in text.splitlines(keepends=True):
        skip = line.startswith("### running") or (skip and not line.startswith("### "))
        if not skip or line.startswith("### "):
            kept.append(line)
    return "".join(kept)


@pytest.mark.parametrize(
    ("before", "after", "counting", "growth"),
    [
        (100, 160, True, 60),
        (None, 60, True, 60),
        (100, 40, False, 40),  # TRUNCATE or a restart in between: what is there came since
        (2.0**64 - 1000, 4000, True, 5000),  # ran over
        (2.0**64 - 1000, 4000, False, 4000),  # looks like it, but the number of statements fell too
    ],
)
def test_a_counter_that_fell_is_read_right(before: float | None, after: float, counting: bool, growth: float) -> None:  # noqa: FBT001 — a column of the table above
    """Counters are emptied and run over; neither makes a client look busy or idle."""
    assert grown(before, after, counting=counting) == pytest.approx(
        growth, abs=2048
    )  # a float near 2**64 holds steps of 2048


def test_counters_that_are_emptied_between_samples_give_no_share_beyond_all() -> None:
    """With the samples out of order counters fall, as after TRUNCATE; the sentence stays possible."""
    first, *samples = (RECORDINGS / "mysql-statements" / "updates.txt").read_text().split("### sample")
    emptied = "### sample".join([first, *samples[3:], *samples[:3]])

    (finding,) = findings("mysql-statements", emptied)

    assert finding.text.startswith("app from 127.0.0.4 took ")
    assert all(int(share) <= 100 for share in re.findall(r"(\d+) %", finding.text))


# --- hostile and broken text ------------------------------------------------------------------

BOUNDED = settings(max_examples=60, deadline=None)  # a busy machine is no finding
HEADERS = sorted(
    {line.split(" rows=")[0] for path in CASES for line in path.read_text().splitlines() if line.startswith("### ")}
)
NAMES = sorted({header.split()[1] for header in HEADERS})
COLUMNS = sorted(
    {
        column
        for path in CASES
        for columns in re.findall(r"^### .*\n(.*\t.*)$", path.read_text(), re.MULTILINE)
        for column in columns.split("\t")
    }
)
CELL = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["NULL", r"\N", "Sleep", "Query", "1", "9999999", "-1", "nan", "1e999", "CLOSE-WAIT", "[x](y) <!channel>"]
    ),
)
TABLE = st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=12).flatmap(
    lambda columns: st.lists(st.lists(CELL, min_size=len(columns), max_size=len(columns)), max_size=4).map(
        lambda rows: "".join("\t".join(cells) + "\n" for cells in [columns, *rows])
    )
)
SECTION = st.builds(
    lambda name, second, body: f"### {name} at=2026-11-22T20:55:{second:02}.000000+00:00\n{body}",
    st.sampled_from(NAMES),
    st.integers(0, 59),
    st.one_of(TABLE, st.text(max_size=60)),
)


def _swallow(text: str) -> None:
    for insight in INSIGHTS:
        for finding in findings(insight, text):
            assert finding.text
            assert finding.text.isprintable()


@BOUNDED
@given(st.text())
def test_any_text_is_survived(text: str) -> None:
    """Text that nobody wrote for us says nothing and breaks nothing."""
    _swallow(text)


@pytest.mark.thorough
@BOUNDED
@given(st.lists(SECTION, max_size=8).map("".join))
def test_sections_with_anything_in_them_are_survived(text: str) -> None:
    """Known names with unknown columns, missing ones, and cells of any kind."""
    _swallow(text)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "path",
    [
        path
        for path in CASES
        if path.stem in {"sysbench-prepared", "metadata-lock", "workers", "full", "close-wait", "failing"}
    ],
    ids=name_of,
)
def test_a_recording_cut_anywhere_is_survived(path: Path) -> None:
    """An artifact ends where its limit, its timeout or a lost connection ended it."""
    text = path.read_text()
    step = max(len(text) // 80, 1)
    for end in range(0, len(text), step):
        for finding in findings(path.parent.name, text[:end]):
            assert finding.text.isprintable()


HOSTILE = "evil\x1b[31m\u202e<!channel> *b*\r\n### groups at=now"


def test_a_hostile_name_stays_one_clean_line() -> None:
    """Escape sequences, direction overrides and newlines do not reach a reader; markup is the renderer's business."""
    assert words.clean(HOSTILE) == "evil <!channel> *b* ### groups at=now"
    assert words.clean("x" * 100, 10) == "xxxxxxxxx…"
    assert words.clean("\x1b]0;title\x07name\ud800") == "name"


@BOUNDED
@given(st.text(), st.integers(1, 60))
def test_clean_is_short_printable_and_done_once(text: str, most: int) -> None:
    """Cleaning twice changes nothing."""
    once = words.clean(text, most)

    assert len(once) <= most
    assert once.isprintable()
    assert words.clean(once, most) == once


# --- words ------------------------------------------------------------------------------------


def test_numbers_read_as_people_say_them() -> None:
    """Counts, shares, times and sizes."""
    assert words.counted(1, "connection") == "1 connection"
    assert words.counted(3212, "socket") == "3,212 sockets"
    assert [words.percent(share) for share in (0, 0.001, 0.41, 0.996, 1)] == [
        "0 %",
        "under 1 %",
        "41 %",
        "99 %",
        "100 %",
    ]
    assert [words.duration(s) for s in (4, 340, 720, 18000, 300000)] == ["4 s", "340 s", "12 min", "5 h", "3 days"]
    assert [words.size(b) for b in (1, 950, 1.8e9, 50e9)] == ["1 byte", "950 bytes", "1.8 GB", "50 GB"]


@pytest.mark.parametrize(
    ("digest", "running"),
    [
        ("UPDATE `sbtest4` SET `k` = `k` + ? WHERE ID = ? ", "UPDATE sbtest1 SET k=k+1 WHERE id=2489"),
        (
            "SELECT DISTINCTROW `c` FROM `sbtest1` WHERE ID BETWEEN ? AND ? ORDER BY `c` ",
            "SELECT DISTINCT c FROM sbtest3 WHERE id BETWEEN 1 AND 9 ORDER BY c",
        ),
        ("INSERT INTO `t1` VALUES (...)", "insert into t1 values (1, 'it''s; -- no', \"x\")"),
        ("SELECT * FROM `stock` WHERE NOTE IN (...)", "SELECT /* why */ * FROM stock WHERE note IN ('a','b') -- end"),
    ],
)
def test_a_statement_and_its_digest_have_one_shape(digest: str, running: str) -> None:
    """So that what a counter holds and what still runs can be added up."""
    assert words.shape(digest) == words.shape(running)


def test_statements_are_spoken_without_their_data() -> None:
    """Tables of a family by their range, long lists of columns as an ellipsis, literals never."""
    assert (
        words.spoken("UPDATE sbtest4 SET k=k+1 WHERE id=7", "UPDATE sbtest1 SET k=k+1 WHERE id=8")
        == "UPDATE sbtest1–4 SET k=k+? WHERE id=?"
    )
    assert (
        words.spoken("SELECT COUNT(*), SUM(qty) FROM stock WHERE note LIKE '%secret%'")
        == "SELECT … FROM stock WHERE note LIKE ?"
    )
    assert words.spoken("") == "a statement"


@BOUNDED
@given(st.text())
def test_any_statement_can_be_spoken(text: str) -> None:
    """Short, one line, and no quoted text in it."""
    said = words.spoken(text)

    assert len(said) <= words.STATEMENT_CHARS
    assert said.isprintable()

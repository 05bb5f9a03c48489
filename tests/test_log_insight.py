"""What the insight `logs` is made of: records out of lines, shapes out of messages, and moments at which something changed."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.insights import HEAD_BYTES, Reading
from bot.insights.logs import logs
from bot.insights.logslines import Grade, Record, cause_of, records
from bot.insights.logsrates import Covered, Span, change_of
from bot.insights.logsshapes import groups_of, shape_of, spoken

pytestmark = pytest.mark.thorough

NOW = datetime(2026, 11, 23, 0, 40, tzinfo=UTC)
BOUNDED = settings(max_examples=50, deadline=None)
FAST_S = 2.0  # for a whole reading; it takes a quarter of a second where nothing else runs
HEADER = """\
### files at=2026-11-23T00:40:00+00:00
file\tlog\tpath\tkind\tsize\tmtime\tfrom\tbytes\tnote
0\t/var/log/orders.log\t/var/log/orders.log\tplain\t1\t2026-11-23T00:40:00Z\t0\t1\t
"""


def told(*parts: str) -> list[str]:
    """What is said of an artifact with these parts of one log."""
    return [f"{each.level.name} {each.text}" for each in logs(Reading(text=HEADER + "".join(parts), target="here"))]


def part(name: str, *lines: str, facts: str = "") -> str:
    """One section of the log."""
    return f"### {name} at=2026-11-23T00:40:00+00:00 file=0{facts}\n" + "".join(f"{line}\n" for line in lines)


def at(second: int, text: str) -> str:
    """A line at a second after ten o'clock."""
    return f"2026-11-22 {10 + second // 3600:02}:{second // 60 % 60:02}:{second % 60:02} {text}"


# --- records ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "grade", "text"),
    [
        ("2026-11-22 20:55:01,123 - orders.pay - ERROR - charge failed", Grade.ERROR, "charge failed"),
        ("2026-11-22 20:55:01,123 ERROR [main] c.e.orders.Pay - charge failed", Grade.ERROR, "charge failed"),
        ("2026-11-22T20:55:01.123Z  WARN 812 --- [nio-8080] c.e.orders.Pay  : slow", Grade.WARNING, "slow"),
        ("2026-11-22 20:55:01 INFO root: no error at all", Grade.INFO, "no error at all"),
        ("2026-11-22  7:55:01 12 [Warning] Access denied for user", Grade.WARNING, "Access denied for user"),
        ("2026-11-22 20:55:01.1 UTC [7] app@shop ERROR:  relation is missing", Grade.ERROR, "relation is missing"),
        ("2026/11/22 20:55:01 [crit] 8#8: *5 connect() failed, client: 10.0.0.1, server: _", Grade.ERROR, "connect() failed"),
        ("Nov 22 20:55:01 db1 multipathd[611]: sdb: path checker failed", Grade.COMPLAINT, "path checker failed"),
        ("Nov 22 20:55:01 db1 CRON[7]: (root) CMD (true)", Grade.INFO, "CMD (true)"),
        ("E1122 20:55:01.123456   12 server.go:77] lost lease", Grade.ERROR, "lost lease"),
        ('time=2026-11-22T20:55:01Z level=error msg="sync failed" err="timed out"', Grade.ERROR, 'sync failed: "timed out"'),
        ('{"severity":"critical","time":"2026-11-22T20:55:01Z","message":"lost"}', Grade.ERROR, "lost"),
        ('{"level":40,"time":1795380901250,"msg":"slow"}', Grade.WARNING, "slow"),
        ('::1 - - [22/Nov/2026:20:55:01 +0000] "GET /a?b=1 HTTP/1.1" 503 5', Grade.ERROR, "GET /a answered 503"),
        ('::1 - - [22/Nov/2026:20:55:01 +0000] "GET /error HTTP/1.1" 200 5', Grade.INFO, "GET /error answered 200"),
    ],
)  # fmt: skip
def test_a_line_says_how_bad_it_is_and_what(line: str, grade: Grade, text: str) -> None:
    """In the forms that programs write."""
    (record,) = records(line, NOW)

    assert (record.grade, record.text) == (grade, text)


def test_a_stack_belongs_to_the_line_above_it_and_its_last_cause_is_why() -> None:
    """Of Java, where the cause comes last, and of Python, where the exception does."""
    java = "\n".join((at(0, "INFO failed over"), "com.example.PayFailed: no", "\tat Pay.go(Pay.java:7)", "Caused by: java.net.ConnectException: refused"))  # fmt: skip
    python = "\n".join((at(0, "ERROR failed"), "Traceback (most recent call last):", '  File "a.py", line 3, in go', "ConnectionRefusedError: [Errno 111]", at(1, "INFO well")))  # fmt: skip

    (failed,), (raised, well) = records(java, NOW), records(python, NOW)

    assert (failed.grade, cause_of(failed)) == (Grade.ERROR, "java.net.ConnectException: refused")
    assert (cause_of(raised), cause_of(well)) == ("ConnectionRefusedError: [Errno 111]", "")


def test_a_line_without_a_year_is_of_the_last_that_has_been() -> None:
    """In November, December is last year's."""
    november, december = records("Nov 22 20:55:01 a b: c\nDec 24 20:55:01 a b: c", NOW)

    assert november.at - december.at == pytest.approx((365 - 32) * 86_400)


@BOUNDED
@given(st.text(max_size=300))
def test_any_text_makes_records(text: str) -> None:
    """Without a fault, whatever it is."""
    for record in records(at(0, "INFO well") + text + "\n" + text, NOW):
        assert record.at >= 0
        assert shape_of(record) is not None


# --- shapes -------------------------------------------------------------------------------------


def record(text: str, seconds: float = 0.0) -> Record:
    """An error that says this."""
    return Record(seconds, Grade.ERROR, text, text)


def test_numbers_ids_and_quoted_text_do_not_tell_messages_apart() -> None:
    """But hosts and words do, until there are many of them."""
    same = ["order 7 of 'ana' failed at 0x7f3a", "order 8125 of 'bo' failed at 0x1b"]
    other = ["refused by payments:8443", "refused by ledger:8443"]
    users = [f"user {name} was locked out" for name in ("ana", "bo", "cy", "di", "ed", "flo", "gus", "hal")]

    groups = groups_of(record(text) for text in (*same, *other, *users))

    assert [group.spoken for group in groups] == [
        "order … of '…' failed at …",
        "refused by payments:8443",
        "refused by ledger:8443",
        "user … was locked out",
    ]


@BOUNDED
@given(st.lists(st.text(max_size=40), min_size=1, max_size=6))
def test_messages_can_always_be_spoken(texts: list[str]) -> None:
    """As one printable line."""
    said = spoken(texts)

    assert said
    assert said.isprintable()


# --- rates --------------------------------------------------------------------------------------

HOUR = Covered([Span(0.0, 3600.0)])


def test_what_is_new_has_a_beginning_and_a_rate() -> None:
    """None before."""
    change = change_of([3000.0 + 0.5 * number for number in range(1200)], HOUR)

    assert change
    assert (change.start, change.earlier, change.is_over) == (3000.0, 0, False)
    assert change.a_minute == pytest.approx(120)


def test_a_burst_begins_where_the_rate_changes_and_may_be_over() -> None:
    """Found in what came every minute."""
    times = sorted([60.0 * number for number in range(60)] + [1800.0 + number for number in range(120)])
    change = change_of([each for each in times if each < 1920], HOUR)

    assert change
    assert change.start == pytest.approx(1800, abs=10)
    assert change.is_over
    assert change.earlier_a_minute == pytest.approx(0.5, abs=0.2)


def test_time_that_was_not_read_counts_for_nothing() -> None:
    """Three samples, and the message in the last: it is new since there, at the rate that it has there."""
    covered = Covered([Span(0.0, 10.0), Span(1000.0, 1010.0), Span(2000.0, 2010.0)])

    change = change_of([2000.0 + number for number in range(10)], covered)

    assert change
    assert (change.start, change.earlier_s, covered.unread_before(2000.0)) == (2000.0, 20.0, 990.0)
    assert not covered.is_whole(0.0, 2000.0)
    assert covered.is_whole(2000.0, 2010.0)


def test_what_comes_at_an_even_rate_has_hardly_ever_changed() -> None:
    """Chance makes no news: of five hundred messages that come at random, none."""
    dice = random.Random(3)

    series = [sorted(dice.uniform(0, 3600) for _ in range(dice.randrange(5, 150))) for _ in range(500)]

    assert [change for times in series if (change := change_of(times, HOUR))] == []


@BOUNDED
@given(
    st.lists(st.floats(0, 5000), max_size=40).map(sorted),
    st.lists(st.tuples(st.floats(0, 4000), st.floats(0, 1000)), max_size=5),
)
def test_any_times_and_spans_are_survived(times: list[float], spans: list[tuple[float, float]]) -> None:
    """Also such as cannot be."""
    covered = Covered([Span(start, start + length) for start, length in spans])

    change = change_of(times, covered)

    assert change is None or (change.number + change.earlier == len(times) and change.seconds > 0)


# --- sentences ----------------------------------------------------------------------------------


def test_more_requests_bring_more_errors_and_that_is_no_news() -> None:
    """Ten times the load: ten times as much of everything."""
    calm = [at(second, "ERROR no stock" if second % 30 == 0 else "INFO sold") for second in range(0, 1800, 3)]
    busy = [at(1800 + tenth // 10 * 3, "ERROR no stock" if tenth % 10 == 0 else "INFO sold") for tenth in range(6000)]

    assert told(part("lines", *calm, *busy)) == []


def test_what_was_not_looked_at_is_not_claimed() -> None:
    """Samples say samples, and a beginning between two of them is told to the minute."""
    before = [part("before", *(at(start + second, "INFO well") for second in range(30))) for start in (0, 600, 1200)]
    glance = part("glance", *(at(1800 + second, "ERROR refused by payments:8443") for second in range(60)))

    (said,) = told(*before, glance)

    assert said == (
        "BAD orders.log: 'refused by payments:8443' is new since about 10:30, 60 times in 59 s; none in samples of the 30 min before"
    )


def test_what_is_deadly_is_told_if_it_was_said_once() -> None:
    """It will not be said again."""
    lines = [at(second, "INFO well") for second in range(600)]

    said = told(part("lines", *lines, at(600, "ERROR java.lang.OutOfMemoryError: Java heap space")))

    assert said == ["WARN orders.log: 'java.lang.OutOfMemoryError: Java heap space' at 10:10:00"]


@pytest.mark.parametrize(
    ("text", "process", "expected"),
    [
        ("java.lang.OutOfMemoryError: Java heap space", "812", [("java-heap", {"pid": 812})]),
        ("java.lang.OutOfMemoryError: Java heap space", "", []),
        ("accept4: too many open files", "812", [("files", {"pid": 812})]),
        ("accept4: too many open files", "", [("files", {})]),
        ("write: no space left on device", "812", [("host", {})]),
    ],
)
def test_a_message_suggests_what_to_look_at_next(text: str, process: str, expected: list[tuple[str, object]]) -> None:
    """Of its process, where that is known."""
    chosen = f"### process at=2026-11-23T00:40:00+00:00\npid\tapp\n{process}\tshop\n" if process else ""
    lines = part("lines", *(at(second, "INFO well") for second in range(60)), at(60, f"ERROR {text}"))

    (finding,) = logs(Reading(text=chosen + HEADER + lines, target="here"))

    assert [(each.recipe, each.parameters) for each in finding.next] == expected


@pytest.mark.parametrize("words", [1, 4000])
def test_a_whole_reading_is_read_in_a_moment(words: int) -> None:
    """Half a megabyte: a line for each of five thousand requests, and one where no line is like another."""
    line = "INFO orders.http GET /orders/{} 200 in {} ms request=ca30046f17e66b{:02} {} {} {}"
    dice = random.Random(1)
    names = ["".join(dice.choices("abcdefgh", k=5)) for _ in range(words)]
    lines = [at(number // 10, line.format(number, number % 90, number % 100, *dice.choices(names, k=3))) for number in range(5_000)]  # fmt: skip
    text = HEADER + part("lines", *lines)

    begun = time.process_time()
    found = list(logs(Reading(text=text[:HEAD_BYTES], target="here")))
    seconds = time.process_time() - begun

    assert found == []
    assert seconds < FAST_S

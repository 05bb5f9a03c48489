"""What differs between two captures of one step, and which of several targets is not like the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.comparing import IN_ALL, PER_STEP, Kept, compare, differences, summary
from bot.comparing.outliers import outliers
from bot.insights.figures import figures
from bot.model import Finding, Level

pytestmark = pytest.mark.thorough

RECORDINGS = sorted((Path(__file__).parent / "recordings").glob("*/*.txt"))
AT = "2026-11-23T00:40:{:02d}.000000+00:00"


def part(name: str, *lines: str, second: int = 0, facts: str = "") -> str:
    """A section of an artifact."""
    return "\n".join([f"### {name} at={AT.format(second)}{facts}", *lines, ""])


def said(before: str, after: str) -> list[str]:
    """What is told of two outputs."""
    return [finding.text for finding in differences(Kept(text=before), Kept(text=after))]


MEMORY = "  PID USER      RSS ELAPSED COMMAND"
NGINX, API = "   12 www     48000     900 nginx", "   77 app    206192       4 orders-api"
STATES = "sockets\tstate"
DIGESTS = "digest\tstatement\tstatements"
QUERY = "SELECT `qty` FROM `stock` WHERE ID = ? "
SETTINGS = "Variable_name\tValue"


@pytest.mark.parametrize(
    ("before", "after", "tells"),
    [
        (part("processes", MEMORY, NGINX), part("processes", MEMORY, NGINX, API), ["New: process orders-api (211 MB)"]),
        (part("processes", MEMORY, NGINX, API), part("processes", MEMORY, API), ["Gone: process nginx (49 MB)"]),
        (
            part("processes", MEMORY, "1 app 100000 9 api", "2 app 100000 9 api"),
            part("processes", MEMORY, "7 app 900000 1 api"),
            ["Memory of api: 205 MB → 922 MB (4 times)"],
        ),
        (
            part("states", STATES, "3\tCLOSE-WAIT"),
            part("states", STATES, "412\tCLOSE-WAIT"),
            ["CLOSE-WAIT sockets: 3 → 412 (137 times)"],
        ),
        (part("states", STATES), part("states", STATES, "90\tESTAB"), ["ESTAB sockets: 0 → 90"]),
        (
            part("listening", "LISTEN 0 128 0.0.0.0:22 0.0.0.0:*"),
            part("listening", "LISTEN 0 128 0.0.0.0:22 0.0.0.0:*", "LISTEN 0 5 *:8081 *:*"),
            ["New: listener on *:8081"],
        ),
        (part("units"), part("units", "nginx.service loaded failed failed Web"), ["New: unit nginx.service, failed"]),
        (
            part("variables", SETTINGS, "sync_binlog\t1", "sql_mode\t"),
            part("variables", SETTINGS, "sync_binlog\t0", "sql_mode\t"),
            ["Setting sync_binlog: 1 → 0"],
        ),
        (
            part("space", "Filesystem Type 1024-blocks Used Available Capacity Mounted on", "/dev/a ext4 9 1000000 9 9% /"),
            part("space", "Filesystem Type 1024-blocks Used Available Capacity Mounted on", "/dev/a ext4 9 5000000 9 9% /"),
            ["Space used on /: 1.0 GB → 5.1 GB (5 times)"],
        ),
        (
            part("dropped", "counter\tbefore\tafter", "ListenDrops\t7\t7", facts=" seconds=2"),
            part("dropped", "counter\tbefore\tafter", "ListenDrops\t900\t1000", facts=" seconds=2"),
            ["ListenDrops: 0.0/s → 50/s"],
        ),
        (
            part("digests", DIGESTS, f"a\t{QUERY}\t10") + part("digests", DIGESTS, f"a\t{QUERY}\t50", second=4),
            part("digests", DIGESTS, f"a\t{QUERY}\t9000") + part("digests", DIGESTS, f"a\t{QUERY}\t9480", second=4),
            ["Calls of SELECT qty FROM stock WHERE id=?: 10/s → 120/s (12 times)"],
        ),
        ("### queue at=" + AT.format(0) + "\njobs 3\n", "### queue at=" + AT.format(9) + "\njobs 90\n", ["Queue jobs: 3 → 90 (30 times)"]),
    ],
)  # fmt: skip
def test_new_gone_and_changed_are_told_with_their_numbers(before: str, after: str, tells: list[str]) -> None:
    """Processes, sockets, listeners, units, settings, space, counters, statements, and any other numbers."""
    assert said(before, after) == tells


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (part("processes", MEMORY, NGINX), part("processes", MEMORY, NGINX, "9 root 3000 1 sh")),
        (part("states", STATES, "10\tESTAB"), part("states", STATES, "12\tESTAB")),
        (part("states", STATES, "10\tESTAB"), part("pressure", "cpu some avg10=90")),
        (part("digests", "-- off", facts=" skipped=off"), part("digests", DIGESTS, f"a\t{QUERY}\t50")),
        (part("processes", MEMORY, NGINX), part("processes", "PID PPID RSS COMMAND", "1 0 900000 nginx -g")),
        ("no sections", "at all"),
        (  # of a full table, the tail says nothing
            part("processes", MEMORY, *(f"{n} app {50_000 + n} 9 p{n}" for n in range(60))),
            part("processes", MEMORY, *(f"{n} app {50_000 + n} 9 p{n}" for n in range(1, 61))),
        ),
    ],
)
def test_small_moves_and_what_one_side_lacks_tell_nothing(before: str, after: str) -> None:
    """What was not looked at is neither new nor gone."""
    assert said(before, after) == []
    assert said(after, before) == []


def test_what_insights_warn_of_is_compared_whatever_its_numbers() -> None:
    """A warning that stands in both is no news; one that went is told as well."""
    both = Finding(level=Level.WARN, text="/ is 93 % full")
    still = Finding(level=Level.WARN, text="/ is 94 % full")
    new = Finding(level=Level.BAD, text="The kernel killed java for memory")
    gone = Finding(level=Level.WARN, text="2 units failed")

    found = differences(Kept(findings=(both, gone)), Kept(findings=(still, new)))

    assert [finding.text for finding in found] == [
        "Not so before: The kernel killed java for memory",
        "No more: 2 units failed",
    ]


def test_the_most_telling_difference_leads_the_summary() -> None:
    """One line, and how many more there are."""
    before = {("app-1", "sockets"): Kept(text=part("states", STATES, "30\tESTAB", "1\tCLOSE-WAIT"))}
    after = {("app-1", "sockets"): Kept(text=part("states", STATES, "70\tESTAB", "900\tCLOSE-WAIT"))}

    assert summary(compare(before, after)) == "CLOSE-WAIT sockets: 1 → 900 (900 times) (and 1 more difference)"
    assert summary(compare(after, after)) == "nothing that is counted differs"


def test_no_recording_differs_from_itself() -> None:
    """Whatever the output."""
    for path in RECORDINGS:
        kept = Kept(text=path.read_text(errors="replace"))

        assert list(differences(kept, kept)) == [], path


LINES = st.lists(
    st.sampled_from([MEMORY, NGINX, API, STATES, "9\tESTAB", "x 3", "a: 9e9", "\t\t", "-- cut", ""]), max_size=8
)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80), LINES, LINES, st.sampled_from(["processes", "states", "units", "meminfo", "other"]))
def test_no_output_breaks_it_and_none_differs_from_itself(
    text: str, one: list[str], other: list[str], name: str
) -> None:
    """Findings are few, short and printable, and the way there and back tells the same names."""
    before, after = part(name, text, *one), part(name, *other, text)

    assert said(before, before) == []
    for told in said(before, after):
        assert told.isprintable()
        assert len(told) <= 200
    assert len(said(before, after)) <= PER_STEP
    assert len(compare({("t", "s"): Kept(text=before)}, {("t", "s"): Kept(text=after)})) <= IN_ALL


# --- several targets ------------------------------------------------------------------------------


def spread(*counts: int, state: str = "CLOSE-WAIT") -> dict[tuple[str, str], Kept]:
    """Targets with so many sockets each."""
    return {
        (f"db-{n}", "sockets"): Kept(
            text=part("states", STATES, "50\tESTAB", *([f"{count}\t{state}"] if count else []))
        )
        for n, count in enumerate(counts, 1)
    }


@pytest.mark.parametrize(
    ("counts", "tells"),
    [
        ((10, 10, 400, 10, 10, 10), ["5 of 6 alike; db-3 has 40 times the CLOSE-WAIT sockets (400), the others 10"]),
        ((0, 0, 300), ["2 of 3 alike; db-3 has CLOSE-WAIT sockets (300), the others none"]),
        ((90, 80, 0, 90), ["3 of 4 alike; db-3 has no CLOSE-WAIT sockets, the others 80 to 90"]),
        (
            (9, 500, 9, 9, 9, 450),
            ["4 of 6 alike; db-2 and db-6 have 53 times the CLOSE-WAIT sockets (500 and 450), the others 9"],
        ),
        ((10, 11, 12, 10), []),
        ((10, 100, 1000, 5000), []),  # no two are alike
        ((10, 400), []),  # of two, neither is the odd one
    ],
)  # fmt: skip
def test_the_target_that_is_not_like_the_others_is_named(counts: Sequence[int], tells: list[str]) -> None:
    """With how many times their number it has."""
    assert [one.finding.text for one in outliers(spread(*counts)).differences] == tells


def test_a_leak_comes_before_what_a_host_runs_besides() -> None:
    """A process that only one host has is no surprise; one with much memory neither."""
    side = spread(0, 0, 120)
    for n in range(1, 4):
        rows = ["7 app 400000 9 api"] if n < 3 else ["7 app 6000000 9 api", "9 app 900000 9 cron-job"]
        side[f"db-{n}", "memory"] = Kept(text=part("processes", MEMORY, *rows))

    found = [one.finding.text for one in outliers(side).differences]

    assert found == [
        "2 of 3 alike; db-3 has CLOSE-WAIT sockets (120), the others none",
        "2 of 3 alike; db-3 has memory of cron-job (922 MB), the others none",
        "2 of 3 alike; db-3 has 15 times the memory of api (6.1 GB), the others 410 MB",
    ]


def test_a_target_without_the_output_is_not_an_outlier() -> None:
    """It failed there; that is told elsewhere."""
    side = {**spread(10, 10, 10), ("db-9", "sockets"): Kept(text="")}

    found = outliers(side)

    assert found.differences == ()
    assert found.targets == {"db-1", "db-2", "db-3"}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 9))
def test_targets_that_are_alike_have_no_outlier(count: int, targets: int) -> None:
    """However many there are."""
    assert outliers(spread(*[count] * targets)).differences == ()


def test_figures_add_up_rows_of_one_name() -> None:
    """Two processes of a name are one figure."""
    read = figures(part("processes", MEMORY, "1 app 1000 9 api", "2 app 500 9 api"))

    assert list(read.numbers.values()) == [1500.0]

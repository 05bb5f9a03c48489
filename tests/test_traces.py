"""What `trace`, `profile` and `snapshot` make of text that nobody promised, and of names that lead."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.insights import Reading
from bot.insights.leads import leading
from bot.insights.profiles import profile
from bot.insights.snapshot import snapshot
from bot.insights.syscalls import name_of
from bot.insights.traces import trace
from bot.model import Finding, Level

BOUNDED = settings(max_examples=40, deadline=None)  # a busy machine is no finding
AT = "at=2026-11-23T00:29:01.644370+00:00"
MAPS = [
    "@began",
    "@ended",
    "@call",
    "@calls",
    "@connected",
    "@refused",
    "@disk_all",
    "@disk_by",
    "@disk_count",
    "@disk_most",
]
MAPS += ["@execs", "@failed", "@failed_files", "@forks", "@opens"]
KEY = st.one_of(st.text(max_size=20), st.lists(st.integers(-9, 9).map(str), min_size=1, max_size=4).map(",".join))
NUMBER = st.one_of(st.integers(-(10**40), 10**40), st.floats(), st.booleans(), st.none())
VALUE = st.one_of(NUMBER, st.text(max_size=5), st.dictionaries(KEY, NUMBER, max_size=4))
LINE = st.dictionaries(st.sampled_from(MAPS), VALUE, max_size=2).map(
    lambda data: json.dumps({"type": "map", "data": data})
)
FRAME = st.one_of(
    st.sampled_from(["main (app)", "read_[k]", "[unknown]", "[libc.so.6]", "[]", "_[k]", "()"]), st.text(max_size=8)
)
STACK = st.builds(
    lambda name, pid, frames, count: f"{name}-{pid};{';'.join(frames)} {count}",
    st.text(max_size=8),
    st.integers(0, 99),
    st.lists(FRAME, min_size=1, max_size=4),
    st.integers(0, 10**9),
)


def survived(findings: list[Finding]) -> None:
    """Sentences that can be shown to anybody."""
    for finding in findings:
        assert finding.text
        assert finding.text.isprintable()
        assert len(finding.text) <= 200
        assert 0 <= finding.weight <= 1


@BOUNDED
@given(st.lists(LINE, max_size=6), st.sampled_from(["all", "opens", "disk", "snapshot", ""]))
def test_maps_of_any_shape_are_survived(lines: list[str], what: str) -> None:
    """A tracer of another version, or one that was cut."""
    text = "\n".join([f"### looked {AT} what={what} by=bpftrace machine=x86_64", *lines, ""])

    survived(list(trace(Reading(text=text, target="here"))))


@BOUNDED
@given(
    st.lists(STACK, max_size=6),
    st.sampled_from(["perf", "bpftrace", "looking"]),
    st.sampled_from(["-1", "0", "2", "x"]),
)
def test_stacks_of_any_shape_are_survived(stacks: list[str], by: str, seconds: str) -> None:
    """Functions may have any name, and none."""
    text = "\n".join([f"### stacks {AT} by={by} seconds={seconds} rate=99 pid=0", *stacks, f"### unseen {AT}", "", ""])

    survived(list(profile(Reading(text=text, target="here"))))


@BOUNDED
@given(
    st.lists(st.one_of(st.sampled_from(["files", "threads", "limits", "calls", "x"]), st.text(max_size=6)), max_size=5)
)
def test_parts_of_any_name_are_survived(names: list[str]) -> None:
    """Operators call theirs as they like."""
    head = f"### process {AT}\npid\tuser\tstate\tage_s\tcpu_s\trss_kb\tapp\tcommand\n7\tweb\tS\t1\t1\t1\tapi\tapi\n"
    parts = "".join(
        f"### part {AT} name={name} state=late\n### limits {AT}\nresource\tused\tlimit\nx\t9\t1\n" for name in names
    )

    survived(list(snapshot(Reading(text=head + parts, target="here"))))


def test_a_system_call_has_the_name_that_its_machine_gives_it() -> None:
    """The same number is another call elsewhere, save for the younger ones."""
    assert [name_of(number, "x86_64") for number in (0, 257, 334)] == ["read", "openat", "rseq"]
    assert [name_of(number, "aarch64") for number in (56, 63, 260)] == ["openat", "read", "wait4"]
    assert name_of(437, "x86_64") == name_of(437, "aarch64") == "openat2"
    assert {name_of(number, "x86_64") for number in (-1, 335, 423, 9999)} == {"another call"}


def test_the_one_process_that_stands_out_leads_else_all_of_its_name() -> None:
    """A thousand short-lived programs are one culprit."""
    names = {"7": ("orders-api", "web")}
    one = leading([("7", "worker-1", 50.0), ("7", "worker-2", 30.0), ("8", "cron", 60.0)], names)
    many = leading([(str(pid), "grep", 10.0) for pid in range(100, 120)], names)

    assert one is not None
    assert (one.text, one.count, one.pid) == ("orders-api (pid 7, user web)", 80.0, "7")
    assert many is not None
    assert (many.text, many.count, many.pid) == ("grep (20 processes)", 200.0, "")
    assert leading([("7", "x", 0.0)], names) is None


@pytest.mark.parametrize(("what", "answered"), [("syscalls", True), ("all", False), ("opens", False)])
def test_what_was_asked_for_alone_is_the_first_line(what: str, *, answered: bool) -> None:
    """However ordinary it is; nothing else is told then."""
    maps = '{"type": "map", "data": {"@calls": {"7,api": 90}}}'
    text = f"### looked {AT} what={what} by=bpftrace machine=x86_64\n{maps}\n"

    found = list(trace(Reading(text=text, target="here")))

    assert [finding.answer for finding in found] == ([] if what == "opens" else [answered])
    assert all(finding.level is Level.INFO for finding in found)

"""What a cost script says becomes one sentence, or a refusal with numbers; whatever it says, nothing breaks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.cost import CANDIDATES, LABEL_CHARS, LEFT_SHARE, MARGIN, TEXT_BYTES, read, refusal, sentence
from bot.model import Suggestion

GB = 1_000_000_000
DUMP = f"""\
what=orders-api (pid 812)
pause_s=3
writes_bytes={1.4 * GB:.0f}
path=/var/tmp
free_bytes={40 * GB}
total_bytes={100 * GB}
upload_bytes={GB // 2}
"""
TABLE = """\
### candidates at=2026-11-23T00:00:00+00:00 number=31 kind=Java
pid\tapp\tcpu_now
812\torders-api\t97
900\t<!channel> \x1b[31m\t1
0\tinit\t1
; reboot\tx\t1
"""


@pytest.mark.parametrize(
    ("said", "sentence_"),
    [
        (
            DUMP,
            "stops orders-api (pid 812) for about 3 s, writes 1.4 GB to /var/tmp (40 GB free), uploads in about 10 s",
        ),
        ("what=api (pid 1)\npause_s=0.2\n", "stops api (pid 1) for less than 1 s"),
        ("what=api (pid 1)\npause_s=0\nwrites_bytes=900", "does not stop api (pid 1), writes 900 bytes to the disk"),
        ("pause_s=900\n", "stops the process for about 15 min"),
        ("memory_bytes=2000000\nfree_memory_bytes=8000000000", "takes 2.0 MB of memory (8.0 GB free)"),
        ("pause_s=2\nnote=its heap is walked.\n", "stops the process for about 2 s. Its heap is walked"),
        ("pause_s=0\n", "does not stop the process"),
        ("pause_s=3\npause_s=0\n", "stops the process for about 3 s"),
        ("upload_bytes=1000", "uploads in less than 1 s"),
    ],
)
def test_a_cost_reads_like_a_person_says_it(said: str, sentence_: str) -> None:
    """Only what was measured is said."""
    assert sentence(read(said)) == sentence_


@pytest.mark.parametrize(
    ("said", "refusal_"),
    [
        (DUMP, None),
        ("refuse=It has ended.\n", "It has ended."),
        ("refuse=No gdb here\nrefuse=No gcore here.\n", "No gdb here. No gcore here."),
        ("### refused at=2026-11-23T00:00:00+00:00\nNo process matches app=x\n", "No process matches app=x."),
        (
            DUMP.replace(f"free_bytes={40 * GB}", f"free_bytes={6 * GB}"),
            (
                "It would write about 1.4 GB to /var/tmp, where 6.0 GB are free: 1.7 GB are needed to be safe, and 5.0 GB "
                "must stay free. Free 680 MB more, or take a smaller capture."
            ),
        ),
        (
            "writes_bytes=5000",
            "It would write about 5.0 kB to the disk, and how much is free there could not be measured.",
        ),
        (
            f"memory_bytes={GB}\nfree_memory_bytes={GB}\n",
            (
                "It would take about 1.0 GB of memory, where 1.0 GB are free: 1.2 GB are needed to be safe. "
                "Free 200 MB more, or take a smaller capture."
            ),
        ),
    ],
)
def test_what_a_target_cannot_afford_is_refused_with_the_numbers(said: str, refusal_: str | None) -> None:
    """And with what would help."""
    refused = refusal(read(said))

    assert (str(refused) if refused else None) == refusal_


@given(written=st.integers(1, 10**15), free=st.integers(0, 10**15), total=st.integers(0, 10**15), memory=st.booleans())
def test_the_rule_holds_for_any_numbers(written: int, free: int, total: int, memory: bool) -> None:  # noqa: FBT001  (hypothesis gives it by name)
    """Allowed exactly when 1.2 times the estimate is free and five in a hundred stay so."""
    keys = ("memory_bytes", "free_memory_bytes", "total_memory_bytes")
    names = keys if memory else ("writes_bytes", "free_bytes", "total_bytes")
    said = "".join(f"{name}={value}\n" for name, value in zip(names, (written, free, total), strict=True))

    allowed = refusal(read(said)) is None

    assert allowed == (written * MARGIN + total * LEFT_SHARE <= free)


def test_candidates_become_suggestions() -> None:
    """By pid, with a label that is safe to show; what is no pid is left out."""
    found = read(TABLE)

    assert found.candidates == (
        Suggestion(label="812 orders-api, 97 % CPU", parameters={"pid": 812}),
        Suggestion(label="900 <!channel>, 1 % CPU", parameters={"pid": 900}),
    )
    assert (found.candidates_in_all, found.is_known) == (31, True)


@pytest.mark.parametrize(
    "said", ["", "hello", "what=x", "pause_s=soon", "pause_s=-3", "pause_s=1e9", " pause_s=3", "pause_s=\n"]
)
def test_what_was_not_measured_is_not_known(said: str) -> None:
    """A number is a plain number, at the start of its line."""
    assert not read(said).is_known


LINES = st.sampled_from([*DUMP.splitlines(), *TABLE.splitlines(), "note=", "refuse=\x1b[2J", "note=" + "x" * 9000])


@settings(max_examples=60)
@given(st.lists(st.one_of(LINES, st.text(max_size=80)), max_size=60).map("\n".join))
def test_no_text_breaks_it_or_gets_out_of_bounds(said: str) -> None:
    """One line, bounded, without anything that steers a terminal."""
    found = read(said)
    words = sentence(found) + str(refusal(found) or "")

    assert words.isprintable()
    assert len(words) < 3000
    assert len(found.candidates) <= CANDIDATES
    assert all(len(one.label) <= LABEL_CHARS and one.label.isprintable() for one in found.candidates)


def test_only_the_start_of_a_flood_is_read() -> None:
    """A script that never ends costs nothing but its time."""
    assert not read("x" * TEXT_BYTES + "\npause_s=3").is_known

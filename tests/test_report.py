"""The report as Markdown: whole, and text stays text whatever is in it."""

from __future__ import annotations

import re
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.model import Artifact, Finding, Finished, Level, Outcome, Person, State, StepFinished, StepResult
from bot.report import markdown
from bot.story import Story, story
from tests.fakes import AT, a_capture, accepted

SHA = "b" * 64


def told(text: str = "java (pid 812) uses 390 % CPU", *, who: str = "ana", url: str = "https://files/ps.txt") -> Story:
    """A capture with a finding, a file and a gap."""
    capture = a_capture("abc234", who=Person(id="U1", name=who), cost="stops it for 3 s")
    kept = Artifact(key="evidence/app-1/ps.txt", url=url, size_bytes=12_000, sha256=SHA, cut=True)
    finding = Finding(level=Level.BAD, text=text, evidence=(text, "PID 812"))
    done = StepResult(
        target="app-1",
        step="ps",
        outcome=Outcome.OK,
        started_at=AT,
        seconds=0.1,
        artifact=kept,
        findings=(finding,),
        masked={"password": 2},
    )
    gap = StepResult(
        target="app-1", step="df", outcome=Outcome.TIMED_OUT, started_at=AT, seconds=5.0, reason="It took 5 s."
    )
    end = Finished(capture_id=capture.id, state=State.PARTIAL, at=AT + timedelta(seconds=75))
    steps = [StepFinished(capture_id=capture.id, result=result, at=AT) for result in (done, gap)]
    found = story([accepted(capture), *steps, end])
    assert found
    return found


def test_a_report_has_all_that_was_captured() -> None:
    """When, who, what, what was found and where, what is missing, and every file with its whole checksum."""
    text = markdown([told(), told()], title="Orders are slow", at=AT)

    for part in (
        "# Evidence: Orders are slow",
        "2 captures, 2 files, 4 secrets masked (password).",
        "| 2026-11-22 03:00:00 | 1. host | app-1 | ana | java (pid 812) uses 390 % CPU |",
        "## 2. Host triage of app-1",
        "- 2026-11-22 03:00:00, ana: `/capture host app-1` (abc234)",
        "in 1 min 15 s: 2 of 2 steps",
        "- Agreed to: stops it for 3 s",
        "- 🔴 java (pid 812) uses 390 % CPU (app-1, ps)",
        "    - `PID 812`",
        "- app-1, df: ran out of time. It took 5 s.",
        f"| [ps.txt](https://files/ps.txt) | app-1, ps | 12,000 | {SHA} | cut |",
    ):
        assert part in text


def test_markup_from_a_host_stays_text() -> None:
    """A process can be called anything; so can a person."""
    text = markdown([told("[click](javascript:alert(1)) <img src=x> | # `rm`", who="*_eve_*")], title="<b>", at=AT)

    assert "\\[click\\](javascript:alert(1)) \\<img src=x\\> \\| \\# \\`rm\\`" in text
    assert "\\*\\_eve\\_\\*" in text
    assert "# Evidence: \\<b\\>" in text


def test_an_address_that_would_break_the_table_is_no_link() -> None:
    """Its key is there all the same."""
    text = markdown([told(url="javascript:alert(1)")], title="", at=AT)

    assert "| ps.txt | app-1, ps |" in text


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60), st.text(max_size=20))
def test_whatever_is_found_keeps_the_document_in_shape(text: str, who: str) -> None:
    """The same lines, the same columns, no markup that was not ours."""
    lines = markdown([told(text, who=who)], title=text, at=AT).split("\n")
    plain = markdown([told("x", who="x")], title="x", at=AT).split("\n")

    assert len(lines) == len(plain)
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in lines] == [line.count("|") for line in plain]
    assert not any(re.search(r"(?<!\\)<", line) for line in lines if not line.lstrip().startswith("- `"))

"""The story is a fold of a capture's events."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.model import (
    Event,
    Finding,
    Finished,
    Level,
    Moved,
    NoteFailed,
    NoteWritten,
    Outcome,
    Started,
    State,
    StepFinished,
    StepResult,
    StepStarted,
    StopAsked,
)
from bot.story import BROUGHT_HOME, Story, story
from tests.fakes import ANA, AT, a_capture, accepted, an_artifact


def ended(step: str = "ps", outcome: Outcome = Outcome.OK, *findings: Finding, reason: str = "") -> StepFinished:
    """A step of app-1 that ended."""
    artifact = an_artifact(f"evidence/{step}.txt") if outcome is Outcome.OK else None
    result = StepResult(
        target="app-1",
        step=step,
        outcome=outcome,
        started_at=AT,
        seconds=1.0,
        reason=reason,
        artifact=artifact,
        findings=findings,
    )
    return StepFinished(capture_id="abc234", result=result, at=AT)


def told(*events: Event) -> Story:
    """The story of one capture after *events*."""
    folded = story([accepted(a_capture()), Started(capture_id="abc234", at=AT), *events])
    assert folded is not None
    return folded


def end(state: State, reason: str = "") -> Finished:
    """The end, six seconds after the acceptance."""
    return Finished(capture_id="abc234", state=state, at=AT + timedelta(seconds=6), reason=reason)


HOG = Finding(level=Level.BAD, text="java (pid 7) uses 390 % CPU", weight=0.9)
SWAP = Finding(level=Level.BAD, text="memory is exhausted", weight=0.95)
NOTE = Finding(level=Level.INFO, text="up for 12 days", weight=1.0)
WARN = Finding(level=Level.WARN, text="/var is 91 % full", weight=1.0)


def test_the_headline_is_the_worst_and_weightiest_finding() -> None:
    """Level first, then weight; information alone is no culprit."""
    now = told(ended("ps", Outcome.OK, NOTE, WARN, HOG), ended("df", Outcome.OK, SWAP))

    assert now.headline == "memory is exhausted"
    assert [each.finding for each in now.findings] == [SWAP, HOG, WARN, NOTE]


def test_what_was_broken_off_says_what_it_left() -> None:
    """Each end with its proof, and how many files are there in part; nothing of what ended by itself."""
    group, thread = "process group 8123 gone, 2 temporary files removed", "thread 7 of orders-db was gone"
    stopped = replace(ended("df").result, outcome=Outcome.STOPPED, stop_proof=group)
    late = replace(ended("sql", Outcome.TIMED_OUT).result, stop_proof=thread)

    def broken(*results: StepResult) -> str:
        return told(*(StepFinished(capture_id="abc234", result=result, at=AT) for result in results)).broken_off

    assert broken(ended("ps").result) == ""
    assert broken(ended("ps").result, stopped) == f"{group}, 1 partial file kept"
    assert broken(stopped, late) == f"{group}; {thread}, 1 partial file kept"


def test_with_several_targets_the_headline_names_its_target() -> None:
    """One of many hosts is the culprit."""
    capture = a_capture(targets=("app-1", "app-2"))

    folded = story([accepted(capture), ended("ps", Outcome.OK, HOG)])

    assert folded
    assert folded.headline == "app-1: java (pid 7) uses 390 % CPU"


def test_a_healthy_target_is_said_to_be_so() -> None:
    """Complete and without a culprit."""
    assert told(ended("ps", Outcome.OK, NOTE), ended("df"), end(State.COMPLETE)).headline == "Nothing unusual found"


def test_gaps_are_not_hidden_behind_nothing_unusual() -> None:
    """What could not be looked at is counted."""
    now = told(ended("ps"), ended("df", Outcome.TIMED_OUT, reason="slow"), end(State.PARTIAL))

    assert now.headline == "Nothing unusual in what could be captured; 1 of 2 steps have gaps"


def test_a_capture_that_got_nothing_says_why() -> None:
    """The first reason is the headline."""
    refused = ended("ps", Outcome.FAILED, reason="app-1 refused the key.")

    assert told(refused, end(State.FAILED)).headline == "Nothing could be captured: app-1 refused the key."


@pytest.mark.parametrize(
    ("event", "field", "value"),
    [
        (StopAsked(capture_id="abc234", who=ANA, at=AT), "stop_asked_by", ANA),
        (NoteWritten(capture_id="abc234", incident="P1", note_id="N1", at=AT), "note_id", "N1"),
        (NoteFailed(capture_id="abc234", incident="P1", reason="401", final=False, at=AT), "note_trouble", "401"),
        (StepStarted(capture_id="abc234", target="app-1", step="ps", at=AT), "running", (("app-1", "ps"),)),
        (end(State.STOPPED, "Stopped by ana."), "reason", "Stopped by ana."),
    ],
)
def test_each_event_leaves_its_trace(event: Event, field: str, value: object) -> None:
    """Nothing that the journal knows is missing from the story."""
    assert getattr(told(event), field) == value


def test_a_written_note_ends_its_trouble() -> None:
    """What was said about a failing note is taken back once it is written."""
    failed = NoteFailed(capture_id="abc234", incident="P1", reason="429", final=False, at=AT)
    written = NoteWritten(capture_id="abc234", incident="P1", note_id="N1", at=AT)

    assert told(failed, written).note_trouble == ""


def test_a_story_without_a_beginning_is_none() -> None:
    """Events of a capture that was never accepted tell nothing."""
    assert story([Started(capture_id="abc234", at=AT)]) is None
    assert story([]) is None


def test_after_an_interruption_the_sweep_completes_what_was_kept() -> None:
    """An object whose end the journal never saw is among the artifacts, once."""
    known, found = an_artifact("evidence/ps.txt"), an_artifact("evidence/df.txt")
    finished = Finished(capture_id="abc234", state=State.INTERRUPTED, at=AT, saved=(known, found))

    assert told(ended("ps"), finished).artifacts == (known, found)


REFUSED = replace(an_artifact("evidence/ps.txt"), url="file:///spare/ps.txt", trouble="S3 refused it.")
KEPT = StepResult(
    target="app-1",
    step="ps",
    outcome=Outcome.OK,
    started_at=AT,
    seconds=1,
    reason="Cut. S3 refused it.",
    artifact=REFUSED,
)
MOVED = Moved(capture_id="abc234", key="evidence/ps.txt", artifact=an_artifact("evidence/ps.2.txt"), at=AT)
KEPT_ENDED = StepFinished(capture_id="abc234", result=KEPT, at=AT)


@pytest.mark.parametrize("events", [(KEPT_ENDED, MOVED), (MOVED, KEPT_ENDED), (KEPT_ENDED, MOVED, MOVED)])
def test_what_came_home_lies_there_in_whatever_order_the_journal_has_it(events: tuple[Event, ...]) -> None:
    """The step's result has the true place, and its reason says what happened."""
    now = told(*events)

    assert now.results[0].artifact == MOVED.artifact
    assert now.results[0].reason == f"Cut. {BROUGHT_HOME}"
    assert now.away == ()


def test_what_waits_for_the_store_is_said() -> None:
    """In the plain number of files, manifest included."""
    manifest = replace(REFUSED, key="evidence/manifest.json")
    ended_so = Finished(capture_id="abc234", state=State.PARTIAL, at=AT, manifest=manifest)

    assert told(KEPT_ENDED).away_words == "1 file waits on capturebot's own disk until the store takes them."
    assert told(KEPT_ENDED, ended_so).away == (REFUSED, manifest)
    assert told(KEPT_ENDED, ended_so).headline == "Nothing unusual found"


def test_a_step_ends_once() -> None:
    """A commit whose answer was lost is made again."""
    assert len(told(ended("ps"), ended("ps")).results) == 1


def test_who_asked_for_a_stop_too_late_did_not_stop_it() -> None:
    """Before the end was written, or after it."""
    asked = StopAsked(capture_id="abc234", who=ANA, at=AT)

    assert told(asked, end(State.COMPLETE)).stop_asked_by is None
    assert told(end(State.COMPLETE), asked).stop_asked_by is None
    assert told(asked, end(State.STOPPED)).stop_asked_by == ANA


EVENTS = [
    KEPT_ENDED,
    MOVED,
    StepStarted(capture_id="abc234", target="app-1", step="ps", at=AT),
    ended("ps", Outcome.OK, HOG),
    ended("df", Outcome.LOST, reason="gone"),
    StopAsked(capture_id="abc234", who=ANA, at=AT),
    end(State.STOPPED),
    NoteWritten(capture_id="abc234", incident="P1", note_id="N1", at=AT),
]


@given(st.lists(st.sampled_from(EVENTS), max_size=12))
def test_any_order_of_events_has_a_headline(events: list[Event]) -> None:
    """A reporter never meets a story that it cannot word."""
    assert told(*events).headline

"""What the bot counts of itself."""

from __future__ import annotations

from prometheus_client import generate_latest

from bot.metrics import Metrics
from bot.model import (
    ApprovalRuled,
    Denied,
    Finished,
    NoteFailed,
    NoteWritten,
    Outcome,
    Refused,
    Ruling,
    Started,
    State,
    StepFinished,
    StepResult,
    Verb,
)
from tests.fakes import ANA, AT, a_capture, a_trigger, accepted, an_artifact


def lines(metrics: Metrics) -> set[str]:
    """Every sample as Prometheus reads it."""
    return {line for line in generate_latest(metrics.registry).decode().splitlines() if not line.startswith("#")}


def test_a_captures_whole_life_is_counted() -> None:
    """Its acceptance, its steps with their bytes and secrets, its end."""
    metrics = Metrics()
    result = StepResult(
        target="app-1",
        step="ps",
        outcome=Outcome.OK,
        started_at=AT,
        seconds=0.3,
        artifact=an_artifact(size_bytes=12_000),
        masked={"password": 2, "jwt": 1},
    )

    metrics.observe(accepted(a_capture("abc234")))
    metrics.observe(Started(capture_id="abc234", at=AT))
    while_it_runs = lines(metrics)
    metrics.observe(StepFinished(capture_id="abc234", result=result, at=AT))
    metrics.observe(Finished(capture_id="abc234", state=State.COMPLETE, at=AT))

    assert "capturebot_captures_open 1.0" in while_it_runs
    assert {
        'capturebot_captures_accepted_total{recipe="host"} 1.0',
        'capturebot_steps_total{outcome="ok",step="ps"} 1.0',
        'capturebot_step_seconds_bucket{le="0.5"} 1.0',
        "capturebot_stored_bytes_total 12000.0",
        "capturebot_secrets_masked_total 3.0",
        'capturebot_captures_ended_total{state="complete"} 1.0',
        "capturebot_captures_open 0.0",
    } <= lines(metrics)


def test_the_end_of_an_earlier_process_is_no_less_than_nothing() -> None:
    """After a restart captures end that this process never saw begin."""
    metrics = Metrics()

    metrics.observe(Finished(capture_id="abc234", state=State.INTERRUPTED, at=AT))

    assert {'capturebot_captures_ended_total{state="interrupted"} 1.0', "capturebot_captures_open 0.0"} <= lines(
        metrics
    )


def test_refusals_and_notes_are_counted() -> None:
    """Also those that could not be written."""
    metrics = Metrics()

    metrics.observe(Refused(trigger=a_trigger(), reason="No.", at=AT))
    metrics.observe(Denied(verb=Verb.FILES, who=ANA, reason="No.", at=AT))
    metrics.observe(ApprovalRuled(approval_id="a1", ruling=Ruling.EXPIRED, at=AT))
    metrics.observe(NoteWritten(capture_id="abc234", incident="P1", note_id="N1", at=AT))
    metrics.observe(NoteFailed(capture_id="abc234", incident="P1", reason="No.", final=True, at=AT))

    assert {
        "capturebot_triggers_refused_total 1.0",
        'capturebot_denied_total{verb="files"} 1.0',
        'capturebot_approvals_ended_total{ruling="expired"} 1.0',
        'capturebot_notes_total{result="written"} 1.0',
        'capturebot_notes_total{result="failed"} 1.0',
    } <= lines(metrics)

"""A story in the terminal: what there is to read and to type next."""

from __future__ import annotations

import io

from rich.console import Console

from bot.model import Finding, Level, Outcome, State, StepResult, Suggestion
from bot.reporters.terminal import render
from bot.story import Story
from tests.fakes import AT, a_capture


def shown(story: Story) -> list[str]:
    """The lines that a person reads."""
    out = io.StringIO()
    Console(file=out, soft_wrap=True, width=200).print(render(story))
    return out.getvalue().splitlines()


def test_what_to_run_next_can_be_typed() -> None:
    """With what it is good for."""
    looks = Suggestion(label="Threads of java (pid 7)", recipe="java-threads", parameters={"pid": 7})
    finding = Finding(level=Level.BAD, text="java (pid 7) uses 390 % CPU", next=(looks, looks))
    result = StepResult(target="app-1", step="ps", outcome=Outcome.OK, started_at=AT, seconds=1.0, findings=(finding,))
    story = Story(capture=a_capture(cost="stops it"), state=State.COMPLETE, results=(result,), ended_at=AT)

    lines = shown(story)

    assert lines[2] == "⚖️ Agreed to: stops it"
    assert lines[-1] == "  ➡️ capturebot run java-threads app-1 pid=7 (Threads of java (pid 7))"
    assert sum("➡️" in line for line in lines) == 1

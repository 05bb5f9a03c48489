"""A story in the terminal: live while it runs, whole when it has ended, or as JSON for machines."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from enum import Enum

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from bot.model import Accepted, Artifact, Event, Level, Outcome, StepResult, capture_of
from bot.reporters import compared
from bot.reporters.slack_message import size
from bot.reporters.suggestions import picks
from bot.story import Story, begin, go_on, receipt

NEXT_AT_MOST = 10  # suggestions

STYLES = {Level.BAD: "bold red", Level.WARN: "yellow", Level.INFO: ""}


class Terminal:
    """Draws the first capture that it hears of, while it runs and where *console* is a terminal.

    It lives no longer than its process, so it listens to the journal and remembers nothing.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._story: Story | None = None

    def hear(self, event: Event) -> None:
        """Take one event that was committed."""
        if self._story is None and isinstance(event, Accepted):
            self._story = begin(event)
        elif self._story and capture_of(event) == self._story.capture.id:
            self._story = go_on(self._story, event)
        if self._story and not self._story.state.ended and self._console.is_terminal:
            self._live.start()
            self._live.update(render(self._story), refresh=True)
        else:
            self.close()

    def close(self) -> None:
        """Take the drawing away, for the whole story to be printed."""
        self._live.stop()


def render(story: Story) -> RenderableType:
    """The story as lines: culprit, standing, findings, then each step with where its output lies."""
    capture, culprit = story.capture, story.culprit
    icon = culprit.finding.level.icon if culprit else story.state.icon
    lines = [
        _line(f"{icon} {story.headline}", STYLES[culprit.finding.level] if culprit else "bold"),
        _line(
            f"{story.state.icon} {capture.recipe} on {', '.join(capture.targets)}: {story.state.words}"
            f" · {len(story.results)} of {story.steps_in_all} steps · {capture.id}",
            "dim",
        ),
    ]
    if story.capture.cost:
        lines.append(_line(f"⚖️ Agreed to: {story.capture.cost}"))
    if story.reason:
        lines.append(_line(story.reason))
    if story.broken_off:
        lines.append(_line(f"⏹️ {story.broken_off}"))
    if story.away:
        lines.append(_line(story.away_words))
    lines += [
        _line(f"  {told.finding.level.icon} {told.target}: {told.finding.text}", STYLES[told.finding.level])
        for told in story.findings
    ]
    lines += [_line(f"  {line}") for each in compared.in_full(story) for line in each]
    lines += [_line(f"  {_result(story, result)}") for result in story.results]
    lines += [_line(f"  ⏳ {_title(story, target, step)}", "dim") for target, step in story.running]
    if story.masked:
        lines.append(_line(f"  🙈 {receipt(story.masked_kinds)}"))
    if story.manifest:
        lines.append(_line(f"  📦 {story.manifest.url}"))
    if story.note_trouble:
        lines.append(_line(f"  📝 The PagerDuty note could not be written: {story.note_trouble}"))
    elif story.note_id:
        lines.append(_line("  📝 In the PagerDuty note of the incident"))
    lines += [
        _line(f"  ➡️ capturebot run {pick.command} ({pick.suggestion.label})") for pick in picks(story)[:NEXT_AT_MOST]
    ]
    return Group(*lines)


def _result(story: Story, result: StepResult) -> str:
    word = "" if result.outcome is Outcome.OK else f" — {result.outcome.words}"
    why = f": {result.reason}" if result.reason else ""
    kept = "".join(f" → {artifact.url} ({_facts(artifact)})" for artifact in result.kept)
    more = "".join(f" · {said}" for said in (result.stop_proof, result.remark) if said)
    return f"{result.outcome.icon} {_title(story, result.target, result.step)}{word}{why}{kept}{more}"


def _facts(artifact: Artifact) -> str:
    return ", ".join(word for word in (size(artifact.size_bytes), artifact.caution) if word)


def _title(story: Story, target: str, step: str) -> str:
    title = next((head.title for head in story.capture.steps if head.id == step), step)
    return f"{target}: {title}" if len(story.capture.targets) > 1 else title


def _line(text: str, style: str = "") -> Text:
    return Text(printable(text), style=style)


def printable(text: str) -> str:
    """Text that cannot move the cursor or paint the screen of whoever reads it, whatever a host calls its processes."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)


def story_json(story: Story) -> str:
    """The whole story for machines, beginning with the headline and the findings that people read."""
    findings = [{**asdict(told.finding), "target": told.target, "step": told.step} for told in story.findings]
    body = {"headline": story.headline, "findings": findings, **asdict(story)}
    return json.dumps(body, indent=2, default=_plain)


def _plain(value: object) -> str:
    match value:
        case Enum():
            return value.name.lower()
        case datetime():
            return value.isoformat()
        case _:
            return str(value)

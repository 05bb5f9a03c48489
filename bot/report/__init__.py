"""All the evidence of an incident as one Markdown document, for the post-mortem. Pure.

What came from hosts and people is escaped, so that it stays text in whatever shows the document.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from bot.model import Artifact, Outcome, StepResult
from bot.story import Story, receipt

TEXT_CHARS = 2_000  # of one sentence
EVIDENCE_LINES = 10  # under one finding

_MARKUP = re.compile(r"([\\`*_\[\]<>|~#])")


def markdown(stories: Sequence[Story], *, title: str, at: datetime) -> str:
    """The document; *stories* are oldest first, *title* says what it is about, *at* when it is written."""
    files = sum(len(story.artifacts) for story in stories)
    masked: Counter[str] = sum((Counter(story.masked_kinds) for story in stories), Counter())
    lines = [
        f"# Evidence: {_text(title)}",
        "",
        f"{_count(len(stories), 'capture')}, {_count(files, 'file')}, {receipt(masked)}.",
        f"Written by capturebot at {_time(at)}; all times are UTC.",
        "",
        "| Time | Capture | Targets | By | First line |",
        "|---|---|---|---|---|",
        *(_row(number, story) for number, story in enumerate(stories, start=1)),
    ]
    for number, story in enumerate(stories, start=1):
        lines += ["", *_capture(number, story)]
    return "\n".join(lines) + "\n"


def _row(number: int, story: Story) -> str:
    capture = story.capture
    cells = [
        _time(capture.at),
        f"{number}. {_text(capture.recipe)}",
        _text(", ".join(capture.targets)),
        _text(capture.who.name),
        _text(story.headline),
    ]
    return f"| {' | '.join(cells)} |"


def _capture(number: int, story: Story) -> list[str]:
    capture = story.capture
    took = f" in {_duration(story.took)}" if story.took else ""
    return [
        f"## {number}. {_text(capture.recipe_title)} of {_text(', '.join(capture.targets))}",
        "",
        f"- {_time(capture.at)}, {_text(capture.who.name)}: {_code(capture.command)} ({capture.id})",
        f"- {story.state.words.capitalize()}{took}: {len(story.results)} of {_count(story.steps_in_all, 'step')}",
        *([f"- Agreed to: {_text(capture.cost)}"] if capture.cost else []),
        *([f"- {_text(capture.consent.words)}"] if capture.consent else []),
        *([f"- Stopped by {_text(story.stop_asked_by.name)}"] if story.stop_asked_by else []),
        *([f"- {_text(story.reason)}"] if story.reason else []),
        *_findings(story),
        *_gaps(story),
        *_files(story),
    ]


def _findings(story: Story) -> list[str]:
    lines = []
    for told in story.findings:
        where = f"{_text(told.target)}, {_text(told.step)}"
        lines.append(f"- {told.finding.level.icon} {_text(told.finding.text)} ({where})")
        lines += [f"    - {_code(line)}" for line in told.finding.evidence[:EVIDENCE_LINES]]
    return ["", "### Findings", "", *lines] if lines else []


def _gaps(story: Story) -> list[str]:
    lines = [
        f"- {_text(one.target)}, {_text(one.step)}: {_gap(one)}"
        for one in story.results
        if one.outcome is not Outcome.OK or one.cut
    ]
    return ["", "### Gaps", "", *lines] if lines else []


def _gap(result: StepResult) -> str:
    what = "cut at its limit" if result.outcome is Outcome.OK else result.outcome.words
    return f"{what}. {_text(result.reason)}".strip()


def _files(story: Story) -> list[str]:
    steps = {artifact.key: f"{one.target}, {one.step}" for one in story.results for artifact in one.kept}
    kept = [*story.artifacts, *([story.manifest] if story.manifest else [])]
    rows = [_file(artifact, steps.get(artifact.key, "")) for artifact in kept]
    return ["", "### Files", "", "| File | Of | Bytes | SHA-256 | |", "|---|---|---|---|---|", *rows] if rows else []


def _file(artifact: Artifact, step: str) -> str:
    name = _text(artifact.key.rsplit("/", 1)[-1])
    if re.fullmatch(r"https?://[^\s<>()|]+", artifact.url):
        name = f"[{name}]({artifact.url})"
    cells = [name, _text(step), f"{artifact.size_bytes:,}", artifact.sha256, _text(artifact.caution)]
    return f"| {' | '.join(cells)} |"


# --- words ------------------------------------------------------------------------------------


def _text(text: str) -> str:
    """One line that no Markdown reads as markup."""
    return _MARKUP.sub(r"\\\1", _line(text))


def _code(text: str) -> str:
    """A code span; its fence is longer than any in the text."""
    line = _line(text).replace("|", "¦")  # which a table would take for its own
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    return f"{fence} {line} {fence}" if "`" in line else f"`{line or ' '}`"


def _line(text: str) -> str:
    shown = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return shown if len(shown) <= TEXT_CHARS else shown[: TEXT_CHARS - 1] + "…"


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _duration(span: timedelta) -> str:
    minutes, seconds = divmod(round(span.total_seconds()), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

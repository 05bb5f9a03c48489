"""The files of a capture for whoever asked, every one of them, a page at a time. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from bot.model import Artifact
from bot.reporters.slack_buttons import FILES, Block, actions, button
from bot.reporters.slack_index import facts
from bot.reporters.slack_message import TEXT_CHARS, Line, Message, Span, compose, link, pages
from bot.story import Story

HEAD_CHARS = 200  # kept free on each page
OWN_DISK = "on capturebot's own disk"


def files(story: Story) -> list[Message]:
    """Its pages; none where nothing was kept."""
    found = pages(_lines(story), chars=TEXT_CHARS - HEAD_CHARS)
    return [
        compose([_head(story, n, len(found)), *page], blocks=_turns(story, n, found)) for n, page in enumerate(found)
    ]


def _head(story: Story, n: int, count: int) -> Line:
    number = "1 file" if len(story.files) == 1 else f"{len(story.files)} files"
    of = f", page {n + 1} of {count}" if count > 1 else ""
    return (Span(f"📁 {number} of ", bold=True), Span(story.capture.id, code=True), Span(of))


def _lines(story: Story) -> list[Line]:
    several = len(story.capture.targets) > 1
    targets = {artifact.key: result.target for result in story.results for artifact in result.kept}
    return [_file(one, targets.get(one.key, "") if several else "") for one in story.files]


def _file(artifact: Artifact, target: str) -> Line:
    name = Span(artifact.key.rsplit("/", 1)[-1], url=link(artifact))
    spans = [Span(f"• {target}: " if target else "• "), name, Span(f" ({facts(artifact)})")]
    if artifact.trouble or artifact.url.startswith("file:"):
        spans.append(Span(f", {OWN_DISK}{' until the store takes it' if artifact.trouble else ''}"))
    return (*spans, Span(f": {artifact.url}")) if name.url is None else tuple(spans)


def _turns(story: Story, n: int, found: Sequence[object]) -> list[Block]:
    """Buttons to the pages before and after."""
    turns = [("Earlier files", n - 1), ("More files", n + 1)]
    there = [(label, to) for label, to in turns if 0 <= to < len(found)]
    return actions([button(f"{FILES}-{to}", label, f"{story.capture.id} {to}") for label, to in there])

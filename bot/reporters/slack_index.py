"""The index of an incident's evidence, pinned in its channel: every capture with its first line and its files. Pure.

The newest stands first, because a phone shows only so much; older ones shrink to a line each. Checksums are shortened here;
the report has them whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from bot.model import Artifact
from bot.reporters.slack_message import Line, Message, Span, compose, line_text, link, moment, size
from bot.story import Story, receipt

BLOCKS_AT_MOST = 45  # of one message; Slack takes 50
BLOCK_CHARS = 9_000  # in all of them; Slack refuses messages whose blocks are some 13,000 long
FILES_SHOWN = 12  # of one capture
FILES_A_LINE = 4  # a line has room for so many with their addresses
CHECKSUM_CHARS = 8  # of SHA-256, in hex


def index(stories: Sequence[Story]) -> Message:
    """The message that lists *stories*, which are oldest first."""
    newest = list(reversed(stories))
    files = sum(len(story.artifacts) for story in stories)
    masked = sum((Counter(story.masked_kinds) for story in stories), Counter[str]())
    head: Line = (
        Span(f"📚 Evidence: {_count(len(stories), 'capture')}, {_count(files, 'file')}", bold=True),
        *([Span(f" · 🙈 {receipt(masked)}")] if masked else []),
    )
    tail = _report(newest)
    brief = [_brief(story) for story in newest]
    room = BLOCK_CHARS - len(line_text(head)) - len(line_text(tail))
    blocks: list[dict[str, Any]] = [*compose([head]).blocks]
    shown = 0
    for story, line in zip(newest, brief, strict=True):
        whole = [line, *_files(story)]
        lines = whole if _chars(whole) <= room else [line]
        room -= _chars(lines)
        if room < 0 or len(blocks) + 2 > BLOCKS_AT_MOST:
            break
        blocks += compose(lines).blocks
        shown += 1
    earlier = [(Span(f"and {_count(len(newest) - shown, 'earlier capture')}"),)] if shown < len(newest) else []
    blocks += compose([*earlier, tail]).blocks
    return Message(text=compose([head, *brief]).text, blocks=blocks)


def _report(newest: Sequence[Story]) -> Line:
    wanted: Line = (Span("All of it as Markdown, for the post-mortem: "), Span("/capture report", code=True))
    report = next((story.report for story in newest if story.report), None)
    if report is None or not report.url.startswith(("http://", "https://")):
        return wanted
    return (*wanted, Span(" · "), Span("the last one", url=report.url))


def _brief(story: Story) -> Line:
    capture = story.capture
    icon = story.culprit.finding.level.icon if story.culprit else story.state.icon
    where = ", ".join(capture.targets[:3]) + (
        f" and {len(capture.targets) - 3} more" if len(capture.targets) > 3 else ""
    )
    standing = "" if story.state.ended else f" ({story.state.words})"
    return (
        moment(capture.at),
        Span(f" · {icon} {capture.recipe} on {where}{standing} · "),
        Span(capture.id, code=True),
        Span(f" — {story.headline}"),
    )


def _files(story: Story) -> list[Line]:
    """The first files, a line a target, and the manifest, which lists all."""
    several = len(story.capture.targets) > 1
    lines: list[Line] = []
    left = FILES_SHOWN
    for target in story.capture.targets:
        kept = [artifact for result in story.results if result.target == target for artifact in result.kept][:left]
        left -= len(kept)
        for start in range(0, len(kept), FILES_A_LINE):
            head = [Span(f"{target}: ")] if several else []
            lines.append((*head, *_listed(kept[start : start + FILES_A_LINE])))
    if (more := len(story.artifacts) - (FILES_SHOWN - left)) > 0:
        lines.append((Span(f"and {_count(more, 'more file')}"),))
    return [*lines, tuple(_listed([story.manifest]))] if story.manifest else lines


def _listed(artifacts: Sequence[Artifact]) -> list[Span]:
    spans: list[Span] = []
    for artifact in artifacts:
        spans += [Span(" · "), Span(artifact.key.rsplit("/", 1)[-1], url=link(artifact)), Span(f" ({facts(artifact)})")]
    return spans[1:]


def facts(artifact: Artifact) -> str:
    """How large a file is, how its checksum begins, and what to know before it is opened."""
    said = [size(artifact.size_bytes), artifact.sha256[:CHECKSUM_CHARS], artifact.caution]
    return ", ".join(filter(None, said))


def _chars(lines: Sequence[Line]) -> int:
    return sum(len(line_text(line)) + 1 for line in lines)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

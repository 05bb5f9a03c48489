"""The files of a capture for whoever asked, every one of them, a page at a time. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType

from bot.model import Artifact
from bot.reporters.slack_buttons import FILES, Block, actions, button
from bot.reporters.slack_index import facts
from bot.reporters.slack_message import Line, Message, Span, compose, link, moment, rich
from bot.story import Story

FILES_A_PAGE = 15
LINKS_CHARS = 9_000  # of all links on a page; Slack refuses messages whose blocks are some 13,000 long
NAME_CHARS = 120
OWN_DISK = "on capturebot's own disk"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some of the files, with *links* by their keys that open *until* then."""

    files: Sequence[Artifact]
    number: int = 0
    count: int = 1
    hidden: int = 0  # files that could not be redacted, and are not for this person
    links: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    until: datetime | None = None


def pages(story: Story, *, raw: bool, link_chars: int = 0) -> list[Page]:
    """All pages, still without links, which will have some *link_chars* each; none where nothing was kept.

    Without *raw* those files are left out that could not be redacted.
    """
    shown = [one for one in story.files if raw or not one.binary]
    size = max(1, min(FILES_A_PAGE, LINKS_CHARS // max(1, link_chars)))
    parts = [shown[start : start + size] for start in range(0, len(shown), size)] or [[]] * bool(story.files)
    hidden = len(story.files) - len(shown)
    return [Page(files=part, number=n, count=len(parts), hidden=hidden) for n, part in enumerate(parts)]


def files(story: Story, page: Page) -> Message:
    """One page as a message. Its text, which notifications show, holds no addresses: they open for whoever has them."""
    several = len(story.capture.targets) > 1
    targets = {artifact.key: result.target for result in story.results for artifact in result.kept} if several else {}
    lines = [_head(story, page), *(_file(one, targets.get(one.key, ""), page) for one in page.files), *_foot(page)]
    bare = [tuple(replace(span, url=None) for span in line) for line in lines]
    return replace(compose(bare), blocks=[rich(lines), *_turns(story, page)])


def _head(story: Story, page: Page) -> Line:
    number = "1 file" if len(story.files) == 1 else f"{len(story.files)} files"
    of = f", page {page.number + 1} of {page.count}" if page.count > 1 else ""
    return (Span(f"📁 {number} of ", bold=True), Span(story.capture.id, code=True), Span(of))


def _foot(page: Page) -> list[Line]:
    found: list[Line] = []
    if page.hidden:
        what = (
            "1 file that is not redacted is" if page.hidden == 1 else f"{page.hidden} files that are not redacted are"
        )
        found.append((Span(f"🔒 {what} left out: for that you need a rule that allows `raw-files`. Ask an operator."),))
    if page.until:
        said = ", for whoever has them: do not pass them on. This was kept in the journal."
        found.append((Span("⏳ The links open until "), moment(page.until), Span(said)))
    return found


def _file(artifact: Artifact, target: str, page: Page) -> Line:
    url = page.links.get(artifact.key) or link(artifact)
    name = Span(artifact.key.rsplit("/", 1)[-1][:NAME_CHARS], url=url)
    spans = [Span(f"• {target}: " if target else "• "), name, Span(f" ({facts(artifact)})")]
    if artifact.trouble or artifact.url.startswith("file:"):
        spans.append(Span(f", {OWN_DISK}{' until the store takes it' if artifact.trouble else ''}"))
    return (*spans, Span(f": {artifact.url}")) if name.url is None else tuple(spans)


def _turns(story: Story, page: Page) -> list[Block]:
    """Buttons to the pages before and after."""
    turns = [("Earlier files", page.number - 1), ("More files", page.number + 1)]
    there = [(label, to) for label, to in turns if 0 <= to < page.count]
    return actions([button(f"{FILES}-{to}", label, f"{story.capture.id} {to}") for label, to in there])

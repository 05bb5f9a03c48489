"""A story as Slack messages: one for the channel, the rest for its thread. Pure.

Everything is built of spans of literal text (rich text blocks), so a process called `*<!channel>*`
stays just that. The same spans make the top-level ``text``, which is what phones, notifications and
screen readers get, and which is therefore complete: what the buttons do stands there in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from bot.model import Artifact, Outcome, StepResult
from bot.reporters import compared, slack_buttons
from bot.reporters.slack_buttons import Block
from bot.reporters.suggestions import leading
from bot.story import Story, Told, receipt

TEXT_CHARS = 3000  # of one message; Slack refuses an edit over 4,000 and escapes count
LINE_CHARS = 600  # escapes count here too
SPOKEN_AT_MOST = 3  # suggestions that the text of a message spells out
JOINED_AT_MOST = 5  # who asked for the same
URLS_CHARS = 2000  # of all links in one line, as a page must hold it; what has no room is named without its link
FOLLOWED_AT_MOST = 5  # captures that its buttons started, in one message
DATE = "{date_short_pretty} {time}"  # Slack's own, in the reader's zone
REPLIES_AT_MOST = 20  # in one thread; what is beyond is in the manifest


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of literal text, perhaps bold, code or a link; or a moment, of which *text* is what stands for it elsewhere."""

    text: str
    bold: bool = False
    code: bool = False
    url: str | None = None
    at: datetime | None = None


Line = tuple[Span, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What `chat.postMessage` and `chat.update` are given."""

    text: str
    blocks: Sequence[dict[str, Any]]


def root(story: Story, *, pagerduty: bool = False) -> Message:
    """The message in the channel: the culprit first, then how far the capture is; for *pagerduty* see `under_root`."""
    lines = [(Span(f"{_icon(story)} {story.headline}", bold=True),), _standing(story)]
    if story.capture.cost:
        lines.append((Span(f"⚖️ Agreed to: {story.capture.cost}"),))
    if story.capture.consent:
        lines.append((Span(story.capture.consent.words, bold=bool(story.capture.consent.reason)),))
    if story.capture.force:
        lines.append((Span(f"⏩ Another one, because: {story.capture.force}"),))
    if others := list(dict.fromkeys(one.who.name for one in story.joined if one.who.id != story.capture.who.id)):
        more = f" and {len(others) - JOINED_AT_MOST} more" if len(others) > JOINED_AT_MOST else ""
        lines.append((Span(f"👥 Asked for by {', '.join(others[:JOINED_AT_MOST])}{more} too"),))
    if story.reason:
        lines.append((Span(story.reason),))
    if story.broken_off:
        lines.append((Span(f"⏹️ {story.broken_off}"),))
    if story.away:
        lines.append((Span(f"💾 {story.away_words}"),))
    if story.error_id:
        lines.append((Span(f"Whoever runs capturebot finds the cause under error {story.error_id}."),))
    if story.state.value in {"interrupted", "failed", "stopped"}:
        lines.append(
            (Span(f"{_count(len(story.artifacts), 'file')} kept." if story.artifacts else "Nothing was kept."),)
        )
    if story.note_trouble:
        lines.append((Span(f"PagerDuty note: {story.note_trouble}"),))
    lines += [(Span(line),) for line in compared.in_root(story)]
    lines += [
        (Span(f"➡️ {event.who.name}: "), Span(event.what, code=True), Span(" · "), Span(event.by, code=True))
        for event in story.followed[-FOLLOWED_AT_MOST:]
    ]
    return compose(lines, blocks=slack_buttons.under_root(story, pagerduty=pagerduty), spoken=_spoken(story))


def _spoken(story: Story) -> list[Line]:
    """What the buttons do, in words that can be typed: for phones' notifications and screen readers."""
    shown = leading(story, SPOKEN_AT_MOST)
    lines: list[Line] = [(Span(f"Next: /capture {pick.command} ({pick.suggestion.label})"),) for pick in shown]
    if not story.state.ended:
        lines.append((Span(f"Stop it with /capture stop {story.capture.id}"),))
    elif story.state.value in {"interrupted", "failed", "stopped"}:
        lines.append((Span(f"Run it again: {story.capture.command}"),))
    return lines


def details(story: Story) -> list[Message]:
    """The replies in the thread, in order; earlier ones keep their place as the story goes on."""
    lines = [*_findings(story), *_files(story), *_end(story)]
    found = pages(lines)
    spans = [[(Span(line, bold=not n),) for n, line in enumerate(each)] for each in compared.in_full(story)]
    more = [page for each in spans for page in pages(each)][:REPLIES_AT_MOST]
    found = [*found[: REPLIES_AT_MOST - len(more)], *more]
    return [compose(page, blocks=() if n else slack_buttons.in_thread(story)) for n, page in enumerate(found)]


def _standing(story: Story) -> Line:
    capture = story.capture
    parts = [
        f"{story.state.icon} {capture.recipe} on {_targets(capture.targets)}: {story.state.words}"
        + (f" in {story.took.total_seconds():.1f} s" if story.took and story.state.ended else ""),
        f"{len(story.results)} of {_count(story.steps_in_all, 'step')}",
    ]
    if story.findings:
        parts.append(_count(len(story.findings), "finding"))
    if story.stop_asked_by and not story.state.ended:
        parts.append(f"being stopped by {story.stop_asked_by.name}")
    parts.append(f"asked by {capture.who.name}")
    return (Span(" · ".join(parts) + " · "), Span(capture.id, code=True))


def _findings(story: Story) -> list[Line]:
    several = len(story.capture.targets) > 1
    if story.state.ended and story.culprit and len(story.findings) == 1:
        return []  # the headline says it, right above
    lines: list[Line] = [_finding(told, several=several) for told in story.findings]
    return [(Span("Findings", bold=True),), *lines, (Span(""),)] if lines else []


def _finding(told: Told, *, several: bool) -> Line:
    where = f"{told.target}: " if several else ""
    return (Span(f"{told.finding.level.icon} {where}{told.finding.text}"),)


def _files(story: Story) -> list[Line]:
    titles = {step.id: step.title for step in story.capture.steps}
    order = {step.id: n for n, step in enumerate(story.capture.steps)}
    lines: list[Line] = []
    for target in story.capture.targets:
        results = sorted((r for r in story.results if r.target == target), key=lambda r: order.get(r.step, 0))
        if results:
            lines.append((Span(target, bold=True),))
            lines += [_result(result, titles.get(result.step, result.step)) for result in results]
    return lines


def _result(result: StepResult, title: str) -> Line:
    spans = [Span(f"{result.outcome.icon} {title}")]
    if result.outcome is not Outcome.OK:
        spans.append(Span(f" — {result.outcome.words}"))
    if result.reason:
        spans.append(Span(f": {result.reason}" if result.outcome is not Outcome.OK else f" — {result.reason}"))
    for artifact in result.kept:
        spans += [Span(" · "), _file(artifact)]
    if not result.kept and result.outcome is Outcome.OK:
        spans.append(Span(" — no output"))
    if result.stop_proof:
        spans.append(Span(f" · {result.stop_proof}"))
    if result.remark:
        spans.append(Span(f" · {result.remark}"))
    return tuple(spans)


def _end(story: Story) -> list[Line]:
    lines: list[Line] = []
    known = {artifact.key for result in story.results for artifact in result.kept}
    found = [artifact for artifact in story.saved if artifact.key not in known]
    if found:
        lines.append((Span("Saved before the interruption", bold=True),))
        lines += [(_file(artifact),) for artifact in found]
    if story.state.ended:
        if story.masked:
            lines.append((Span(f"🙈 {receipt(story.masked_kinds)}"),))
        if story.manifest:
            lines.append((Span("📦 Everything, with commands and checksums: "), _file(story.manifest)))
        if story.note_id:
            lines.append((Span("📝 In the PagerDuty note of the incident"),))
    return [(Span(""),), *lines] if lines else []


def _file(artifact: Artifact) -> Span:
    name = artifact.key.rsplit("/", 1)[-1]
    label = f"{name} ({', '.join(word for word in (size(artifact.size_bytes), artifact.caution) if word)})"
    return Span(label, url=url) if (url := link(artifact)) else Span(f"{label} {artifact.url}")


def _icon(story: Story) -> str:
    if story.culprit:
        return story.culprit.finding.level.icon
    return story.state.icon


def _targets(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def link(artifact: Artifact) -> str | None:
    """Its address, where that opens in a browser and is not too long for a link."""
    opens = artifact.url.startswith(("http://", "https://")) and len(artifact.url) <= URLS_CHARS
    return artifact.url if opens else None


def moment(at: datetime) -> Span:
    """A time as its reader's clock shows it."""
    return Span(f"{at.astimezone(UTC):%d %b %H:%M} UTC", at=at)


def size(size_bytes: int) -> str:
    """Bytes as people read them, in powers of 1000."""
    amount = float(size_bytes)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 10 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


# --- spans into Slack's forms ---------------------------------------------------------------------


def escape(text: str) -> str:
    """Literal text for a ``text`` field: Slack reads only these three characters as markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def compose(lines: Iterable[Line], *, blocks: Iterable[Block] = (), spoken: Iterable[Line] = ()) -> Message:
    """A message that shows *lines* and then *blocks*; *spoken* lines stand in its text alone."""
    kept = _fitting(lines, TEXT_CHARS)
    text = "\n".join(map(line_text, [*kept, *_fitting(spoken, TEXT_CHARS - sum(len(line_text(one)) for one in kept))]))
    return Message(text=text, blocks=[rich(kept), *blocks])


def rich(lines: Iterable[Line]) -> Block:
    """The block that shows *lines* as they are."""
    elements = [_element(span) for line in lines for span in (*line, Span("\n")) if span.text]
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": elements[:-1]}]}


def _fitting(lines: Iterable[Line], room: int) -> list[Line]:
    """The first lines, shortened, that *room* characters of text hold."""
    kept = []
    for line in map(_shorten, lines):
        room -= len(line_text(line)) + 1
        if room < 0:
            break
        kept.append(line)
    return kept


def line_text(line: Line) -> str:
    """A line as it stands in a message's text."""
    return "".join(map(_plain, line))


def _plain(span: Span) -> str:
    if span.url:
        return f"<{span.url}|{escape(span.text)}>"
    if span.at:
        return f"<!date^{int(span.at.timestamp())}^{DATE}|{escape(span.text)}>"
    return escape(span.text)


def _element(span: Span) -> dict[str, Any]:
    if span.url:
        return {"type": "link", "url": span.url, "text": span.text}
    if span.at:
        return {"type": "date", "timestamp": int(span.at.timestamp()), "format": DATE, "fallback": span.text}
    style = {name: True for name, on in (("bold", span.bold), ("code", span.code)) if on}
    return {"type": "text", "text": span.text, **({"style": style} if style else {})}


def _shorten(line: Line) -> Line:
    room, urls_room, kept = LINE_CHARS, URLS_CHARS, []
    for span in line:
        text = "".join(c if c.isprintable() or c == "\n" else " " for c in span.text[: LINE_CHARS + 1])
        urls_room -= len(span.url or "")
        url = span.url if urls_room >= 0 else None
        if len(escape(text)) > room:
            kept.append(replace(span, text=_cut(text, room - 1) + "…", url=url))
            break
        kept.append(replace(span, text=text, url=url))
        room -= len(escape(text))
    return tuple(kept)


def _cut(text: str, room: int) -> str:
    """As much of *text* as *room* characters hold once it is escaped."""
    kept = []
    for char in text:
        room -= len(escape(char))
        if room < 0:
            break
        kept.append(char)
    return "".join(kept)


def pages(lines: Sequence[Line], *, chars: int = TEXT_CHARS) -> list[list[Line]]:
    """All *lines*, shortened, as many to a page as *chars* of text hold; none that is blank."""
    found: list[list[Line]] = []
    room = 0
    for line in map(_shorten, lines):
        length = len(line_text(line)) + 1
        if length > room or not found:
            found.append([])
            room = chars
        found[-1].append(line)
        room -= length
    return [page for page in found if any(span.text.strip() for line in page for span in line)]

"""The PagerDuty note: one living note an incident, which tells all its captures to whoever reads it later.

The note is written once and then edited. It is found again by its last line (`marker`), so neither
a restart nor a lost memory makes a second one. It is ours: what a person changes in it is
overwritten by the next edit, so people write notes of their own. A note that somebody deleted is
written again once, and says so; deleted a second time, it stays away.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from bot.errors import DeliveryFailed
from bot.model import Artifact, Capture, NoteFailed, NoteWritten, Outcome, Source
from bot.reporters import Delivery, Memory, compared
from bot.story import Story, Told, receipt

NOTE_BYTES = 65_535  # PagerDuty's limit for one note, "single-byte characters" (support.pagerduty.com, Edit Incidents)
LINE_CHARS = 500  # of a line that quotes what came from outside
OURS = "capturebot / "  # begins the last line of every note that the bot writes
URL_CHARS = 2_000  # a longer address is left out: half an address is worth nothing
EARLIER_BYTES = 100  # kept free for the line that counts captures left out
CUT_LEAST_BYTES = 4_096  # in less than this a capture is told in one line, not cut; more than URL_CHARS
JOINED_AT_MOST = 10  # who asked for the same
PAUSE_S = 5.0  # 12 edits a minute an incident, of the 960 requests a minute that PagerDuty allows a token

RENEWED = "This note was deleted in PagerDuty once and is written again; deleted again, it stays away."


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A note as PagerDuty keeps it."""

    id: str
    content: str
    created_at: datetime


class Notes(Protocol):
    """What the reporter needs of PagerDuty. Every method raises DeliveryFailed."""

    async def list_notes(self, incident: str) -> Sequence[Note]:
        """All notes of *incident*, in any order."""

    async def create_note(self, incident: str, content: str) -> str:
        """Write a note and return its id; an answer that never came does not lead to a second note."""

    async def edit_note(self, incident: str, note_id: str, content: str) -> bool:
        """Replace a note's content; False when the incident no longer has that note."""


# --- the reporter -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is remembered of an incident's note. *told* is the last that was said of the note, by capture id."""

    note: str = ""
    digest: str = ""
    renewed: bool = False
    told: Mapping[str, str] = field(default_factory=dict)

    @property
    def memory(self) -> dict[str, Any]:
        return {"note": self.note, "digest": self.digest, "renewed": self.renewed, "told": dict(self.told)}


class PagerDutyNote:
    """Keeps the note of each incident in agreement with its captures.

    NoteWritten is told of a capture when the note first has it and when the note has its end;
    NoteFailed when the note could first not be written, and once more if that became final.
    """

    name = "pagerduty"
    pause_s = PAUSE_S

    def __init__(self, notes: Notes, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._notes = notes
        self._now = now

    def topic(self, capture: Capture, incident: str | None) -> str | None:  # noqa: ARG002  # the seam's signature; *incident* includes the capture's own
        """The incident; None where there is none."""
        return incident

    async def deliver(self, topic: str, stories: Sequence[Story], memory: Memory) -> Delivery:
        """Write or edit the note of incident *topic*.

        A failure that was not told yet comes back as events, with the time to try again; after that
        DeliveryFailed is raised as long as it lasts.
        """
        known = _Known(**memory)
        try:
            known = await self._write(topic, stories, known)
        except DeliveryFailed as failure:
            return self._failure(topic, stories, known, failure)
        said = {story.capture.id: "ended" if story.state.ended else "begun" for story in stories}
        news = [capture for capture, state in said.items() if known.told.get(capture) != state]
        at = self._now()
        return Delivery(
            memory=replace(known, told={**known.told, **said}).memory,
            events=tuple(NoteWritten(capture_id=new, incident=topic, note_id=known.note, at=at) for new in news),
        )

    async def _write(self, incident: str, stories: Sequence[Story], known: _Known) -> _Known:
        """Make the note say what *stories* say, whichever note it is, and return what is known then."""
        content = render(incident, stories, renewed=known.renewed)
        if known.note and known.digest == _digest(content):
            return known
        if known.note and await self._notes.edit_note(incident, known.note, content):
            return replace(known, digest=_digest(content))
        deleted = bool(known.note)
        if found := _ours(await self._notes.list_notes(incident), incident):
            renewed = known.renewed or RENEWED in found.content
            content = render(incident, stories, renewed=renewed)
            if found.content.strip() == content or await self._notes.edit_note(incident, found.id, content):
                return replace(known, note=found.id, digest=_digest(content), renewed=renewed)
            deleted = True
        if deleted and known.renewed:
            raise DeliveryFailed(
                "Somebody deleted the incident's note in PagerDuty a second time, so it is not written again.",
                cure="The evidence is in the store; `/capture status` names it.",
            )
        content = render(incident, stories, renewed=deleted)
        note = await self._notes.create_note(incident, content)
        return replace(known, note=note, digest=_digest(content), renewed=deleted)

    def _failure(self, incident: str, stories: Sequence[Story], known: _Known, failure: DeliveryFailed) -> Delivery:
        """Tell *failure* of the captures that wait for the note; raise it where that was done before."""
        final = failure.retry_after is None
        already = {"ended", "refused"} if final else {"ended", "refused", "failed"}
        waiting = [story.capture.id for story in stories if known.told.get(story.capture.id) not in already]
        if not waiting:
            raise failure
        reason = f"{failure.reason} {failure.cure}".strip()
        at = self._now()
        told = dict.fromkeys(waiting, "refused" if final else "failed")
        return Delivery(
            memory=replace(known, told={**known.told, **told}).memory,
            events=tuple(
                NoteFailed(capture_id=capture, incident=incident, reason=reason, final=final, at=at)
                for capture in waiting
            ),
            again_after_s=failure.retry_after,
        )


def _ours(notes: Sequence[Note], incident: str) -> Note | None:
    """The oldest note that ends with our marker: a copy that a person made is younger."""
    marked = [note for note in notes if last_line(note.content) == marker(incident)]
    return min(marked, key=lambda note: note.created_at, default=None)


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


# --- what the note says -----------------------------------------------------------------------


def marker(incident: str) -> str:
    """The last line of our note; ASCII, so that nothing on the way changes it."""
    return f"{OURS}incident {incident}"


def last_line(content: str) -> str:
    """The last line that is not blank, without the blanks around it."""
    return content.rstrip().rpartition("\n")[2].strip()


def render(incident: str, stories: Sequence[Story], *, renewed: bool = False) -> str:
    """The whole note as plain text of at most NOTE_BYTES bytes of UTF-8; *stories* are oldest first.

    The strongest finding leads, because lists and phones show only the first lines. The captures
    follow oldest first: a post-mortem is read as a timeline, and the earliest evidence is the one
    from before anybody touched anything. When all of it is too long, the oldest captures shrink to
    one line each, and the newest is cut between two lines only if that does not do.
    """
    head = [_lead(stories), _summary(stories), *_report(stories), *([RENEWED] if renewed else [])]
    foot = ["", marker(incident)]
    return "\n".join([*head, *_captures(stories, NOTE_BYTES - _size(head) - _size(foot)), *foot])


def _captures(stories: Sequence[Story], room: int) -> list[str]:
    """The lines of all captures in at most *room* bytes."""
    shown = [[_brief(number, story)] for number, story in enumerate(stories, start=1)]
    spare = room - EARLIER_BYTES - sum(map(_size, shown))
    first = 0
    while spare < 0:  # hundreds of captures: of the oldest not even a line is left
        spare += _size(shown[first])
        first += 1
    for at in range(len(stories) - 1, first - 1, -1):
        whole = ["", *_block(at + 1, stories[at])]
        here = spare + _size(shown[at])
        if _size(whole) > here:
            if shown[at] is shown[-1] and here >= CUT_LEAST_BYTES:
                shown[at] = _cut(whole, here, stories[at])
            break
        shown[at] = whole
        spare = here - _size(whole)
    earlier = [f"{_count(first, 'earlier capture')} left out: the note is full."] if first else []
    return [*earlier, *(line for lines in shown[first:] for line in lines)]


def _cut(lines: Sequence[str], room: int, story: Story) -> list[str]:
    """As many whole *lines* as fit *room*, and one that says where the rest is."""
    where = f"; the manifest lists every file: {_address(story.manifest)}" if story.manifest else ""
    end = f"The rest did not fit into this note{where}"
    room -= _size([end])
    kept = []
    for line in lines:
        room -= _size([line])
        if room < 0:
            break
        kept.append(line)
    return [*kept, end]


def _lead(stories: Sequence[Story]) -> str:
    culprits = [culprit for story in stories if (culprit := story.culprit)]
    if not culprits:
        return _line(stories[-1].headline)
    worst = max(culprits, key=lambda told: (told.finding.level.value, told.finding.weight))
    return _line(f"{worst.target}: {worst.finding.text}")


def _summary(stories: Sequence[Story]) -> str:
    going = sum(not story.state.ended for story in stories)
    still = f", {going} still under way" if going else ""
    return f"Kept by capturebot: {_count(len(stories), 'capture')}{still}. Oldest first, times in UTC."


def _report(stories: Sequence[Story]) -> list[str]:
    report = next((story.report for story in reversed(stories) if story.report), None)
    return [f"All of it as one document: {_address(report)}"] if report else []


def _title(number: int, story: Story) -> str:
    took = f" ({_duration(story.took)})" if story.took is not None else ""
    capture = story.capture
    return f"{number}. {capture.recipe_title} of {', '.join(capture.targets)}: {story.state.words}{took}"


def _brief(number: int, story: Story) -> str:
    where = f" {_address(story.manifest)}" if story.manifest else ""
    return _line(f"{_title(number, story)}, {_time(story.capture.at)}. {story.headline}") + where


def _block(number: int, story: Story) -> list[str]:
    return [
        _line(_title(number, story)),
        _line(_asked(story.capture)),
        *([_line(f"Agreed to: {story.capture.cost}")] if story.capture.cost else []),
        *([_line(story.capture.consent.words)] if story.capture.consent else []),
        *([_line(f"Another one, because: {story.capture.force}")] if story.capture.force else []),
        *([_line(f"Asked for too by {_others(story)}.")] if story.joined else []),
        *_end(story),
        *_section("Findings:", [_finding(told) for told in story.findings]),
        *(_line(line) for lines in compared.in_full(story) for line in lines),
        *_section("Gaps:", _gaps(story)),
        *_files(story),
        *([f"{receipt(story.masked_kinds)}."] if story.masked else []),
    ]


def _asked(capture: Capture) -> str:
    channel = f" in #{capture.place.channel_name.lstrip('#')}" if capture.place and capture.place.channel_name else ""
    way = {Source.SLACK: "", Source.TERMINAL: " at the terminal", Source.PAGERDUTY: "", Source.SCHEDULE: ""}[
        capture.source
    ]
    return f"{_time(capture.at)} {capture.who.name}{channel}{way}: {capture.command}"


def _others(story: Story) -> str:
    """Who joined, with the time."""
    said = [f"{one.who.name} ({_time(one.at)})" for one in story.joined[:JOINED_AT_MOST]]
    more = len(story.joined) - len(said)
    return ", ".join(said) + (f" and {more} more" if more else "")


def _end(story: Story) -> list[str]:
    """How it ended or how far it is, as far as the title and the findings do not say it."""
    lines = []
    if story.stop_asked_by:
        lines.append(f"Stopped by {story.stop_asked_by.name}.")
    if story.culprit is None and story.state.ended:
        lines.append(story.headline)
    if story.reason and story.reason not in lines:
        lines.append(story.reason)
    if story.away:
        lines.append(story.away_words)
    if story.error_id:
        lines.append(f"A fault of capturebot itself; its operator finds it by the id {story.error_id}.")
    if not story.state.ended:
        lines.append(f"{len(story.results)} of {_count(story.steps_in_all, 'step')} done so far.")
    return [_line(line) for line in lines]


def _finding(told: Told) -> str:
    return _line(f"- {told.target}: {told.finding.text} ({told.step})")


def _gaps(story: Story) -> list[str]:
    gaps = []
    for result in story.results:
        if result.outcome is not Outcome.OK or result.cut:
            what = "cut at its limit" if result.outcome is Outcome.OK else result.outcome.words
            gaps.append(_line(f"- {result.target}, {result.step}: {what}. {result.reason}".removesuffix(". ")))
    if story.state.ended and (never := story.steps_in_all - len(story.results)) > 0:
        gaps.append(f"- {_count(never, 'step')} did not come to an end.")
    return gaps


def _files(story: Story) -> list[str]:
    if not story.artifacts:
        return []
    total = _bytes(sum(artifact.size_bytes for artifact in story.artifacts))
    kept = [*story.artifacts, *([story.manifest] if story.manifest else [])]
    lines = [
        f"- {_line(artifact.key.removeprefix(story.capture.prefix))} ({_facts(artifact)}) {_address(artifact)}"
        for artifact in kept
    ]
    return [f"Files ({len(story.artifacts)}, {total}):", *lines]


def _facts(artifact: Artifact) -> str:
    return ", ".join(word for word in (_bytes(artifact.size_bytes), artifact.caution) if word)


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [title, *lines] if lines else []


# --- words ------------------------------------------------------------------------------------


def _line(text: str) -> str:
    """*text* as one line of LINE_CHARS at most: what comes from outside cannot break lines or hide letters."""
    shown = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return shown if len(shown) <= LINE_CHARS else shown[: LINE_CHARS - 1] + "…"


def _address(artifact: Artifact) -> str:
    """Where to read it: its address, or its key in the store where it has none that fits a line."""
    url = artifact.url
    if url.isascii() and url.isprintable() and 0 < len(url) <= URL_CHARS:
        return url
    return _line(artifact.key)


def _size(lines: Sequence[str]) -> int:
    return sum(len(line.encode()) + 1 for line in lines)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _duration(span: timedelta) -> str:
    minutes, seconds = divmod(round(span.total_seconds()), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _bytes(number: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= scale:
            return f"{number / scale:.1f} {unit}".replace(".0 ", " ")
    return _count(number, "byte")

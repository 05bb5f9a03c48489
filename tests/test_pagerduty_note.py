"""The incident's note: what it says, and that there is one of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import DeliveryFailed
from bot.model import (
    Artifact,
    Capture,
    Finding,
    Impact,
    Level,
    NoteFailed,
    NoteWritten,
    Outcome,
    Person,
    Place,
    SecretRef,
    Source,
    State,
    StepHead,
    StepResult,
)
from bot.pagerduty.client import TRIES, PagerDutyClient
from bot.playground.pagerduty import Fault, PagerDutyStandIn
from bot.reporters import Delivery, Memory, Reporter
from bot.reporters.pagerduty import NOTE_BYTES, RENEWED, Note, PagerDutyNote, last_line, marker, render
from bot.settings import PagerDuty
from bot.story import Story

INCIDENT = "PABC123"
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
CULPRIT = Finding(level=Level.BAD, text="sysbench from 10.0.0.9 holds 64 of 80 connections", weight=0.9)


def capture_of(number: int = 1, **changes: object) -> Capture:
    """A database capture that Dana asked for, one an hour."""
    capture = Capture(
        id=f"c{number}",
        recipe="db",
        recipe_title="Database triage",
        recipe_digest="0" * 64,
        impact=Impact.LIGHT,
        targets=("orders-db",),
        steps=(StepHead(id="statements", title="Statements"), StepHead(id="locks", title="Locks")),
        parameters={},
        who=Person(id="U1", name="Dana"),
        source=Source.SLACK,
        at=NOON + timedelta(hours=number - 1),
        prefix=f"capturebot/2026/11/22/{INCIDENT}/c{number}/",
        place=Place(channel="C1", channel_name="inc-1042-orders-slow"),
        incident=INCIDENT,
    )
    return replace(capture, **changes)  # type: ignore[arg-type]  # a test names the fields it cares for


def artifact_of(capture: Capture, name: str, size_bytes: int = 12_345) -> Artifact:
    """An object under the capture's prefix."""
    key = f"{capture.prefix}{name}"
    return Artifact(key=key, url=f"https://s3.example/{key}", size_bytes=size_bytes, sha256="0" * 64)


def result_of(capture: Capture, step: str, **changes: object) -> StepResult:
    """A step that went well and was kept."""
    result = StepResult(
        target="orders-db",
        step=step,
        outcome=Outcome.OK,
        started_at=capture.at,
        seconds=1.0,
        artifact=artifact_of(capture, f"orders-db/{step}.txt"),
    )
    return replace(result, **changes)  # type: ignore[arg-type]  # a test names the fields it cares for


def running(number: int = 1) -> Story:
    """A capture that has just begun."""
    return Story(capture=capture_of(number), state=State.RUNNING)


def complete(number: int = 1, *, findings: Sequence[Finding] = (CULPRIT,)) -> Story:
    """A capture that took 12 seconds and has a culprit."""
    capture = capture_of(number)
    return Story(
        capture=capture,
        state=State.COMPLETE,
        results=(result_of(capture, "statements", findings=tuple(findings)), result_of(capture, "locks")),
        ended_at=capture.at + timedelta(seconds=12),
        manifest=artifact_of(capture, "manifest.json", 2_000),
    )


# --- what the note says -----------------------------------------------------------------------


def test_the_note_reads_as_a_person_would_tell_it() -> None:
    """Culprit, what was done by whom, what was found, where the files are."""
    note = render(INCIDENT, [complete()])

    assert note.splitlines() == [
        "orders-db: sysbench from 10.0.0.9 holds 64 of 80 connections",
        "Kept by capturebot: 1 capture. Oldest first, times in UTC.",
        "",
        "1. Database triage of orders-db: complete (12 s)",
        "2026-11-22 12:00:00 Dana in #inc-1042-orders-slow: /capture db orders-db",
        "Findings:",
        "- orders-db: sysbench from 10.0.0.9 holds 64 of 80 connections (statements)",
        "Files (2, 24.7 kB):",
        f"- orders-db/statements.txt (12.3 kB) https://s3.example/capturebot/2026/11/22/{INCIDENT}/c1/orders-db/statements.txt",
        f"- orders-db/locks.txt (12.3 kB) https://s3.example/capturebot/2026/11/22/{INCIDENT}/c1/orders-db/locks.txt",
        f"- manifest.json (2 kB) https://s3.example/capturebot/2026/11/22/{INCIDENT}/c1/manifest.json",
        "",
        "capturebot / incident PABC123",
    ]


def test_the_strongest_finding_leads_whichever_capture_has_it() -> None:
    """The first line is what a list or a phone shows."""
    mild = Finding(level=Level.WARN, text="replication is 4 s behind", weight=1.0)

    note = render(INCIDENT, [complete(1), complete(2, findings=[mild])])

    assert note.startswith("orders-db: sysbench from 10.0.0.9")


def test_what_was_agreed_to_is_told() -> None:
    """The post-mortem asks why the service stood still for those seconds."""
    story = replace(complete(), capture=capture_of(cost="stops api (pid 7) for about 3 s"))

    assert "Agreed to: stops api (pid 7) for about 3 s" in render(INCIDENT, [story]).splitlines()


def test_a_running_capture_says_how_far_it_is() -> None:
    """And the summary counts it."""
    note = render(INCIDENT, [complete(1, findings=[]), running(2)])

    assert "2 captures, 1 still under way" in note
    assert "0 of 2 steps done so far." in note


def test_gaps_and_masked_secrets_are_said() -> None:
    """A missing answer is an answer too."""
    story = complete(findings=[])
    lost = result_of(story.capture, "locks", outcome=Outcome.LOST, reason="The host went away.", artifact=None)
    cut = result_of(story.capture, "statements", cut=True, masked={"password": 2, "token": 1})

    note = render(INCIDENT, [replace(story, state=State.PARTIAL, results=(cut, lost))])

    assert "- orders-db, statements: cut at its limit\n" in note
    assert "- orders-db, locks: connection lost. The host went away.\n" in note
    assert "3 secrets of 2 kinds masked (2 password, 1 token)." in note
    assert "complete, with gaps (12 s)" in note


def test_a_stopped_capture_says_who_and_what_never_ran() -> None:
    """The reader must not take silence for health."""
    story = replace(running(), state=State.STOPPED, stop_asked_by=Person(id="U2", name="Kim"), ended_at=NOON)

    note = render(INCIDENT, [story])

    assert "Stopped by Kim." in note
    assert "- 2 steps did not come to an end." in note


def test_an_interrupted_capture_lists_what_the_sweep_found() -> None:
    """What was saved before the process died is evidence."""
    story = replace(running(), state=State.INTERRUPTED, reason="capturebot was restarted.", ended_at=NOON)
    story = replace(story, saved=(artifact_of(story.capture, "orders-db/statements.txt"),))

    note = render(INCIDENT, [story])

    assert "capturebot was restarted." in note
    assert "- orders-db/statements.txt (12.3 kB) https://" in note


def test_a_fault_of_ours_carries_its_id() -> None:
    """The operator finds it by that."""
    story = replace(running(), state=State.FAILED, reason="capturebot failed.", error_id="e4f1", ended_at=NOON)

    note = render(INCIDENT, [story])

    assert "e4f1" in note


@pytest.mark.parametrize("source", Source)
def test_every_way_in_is_told(source: Source) -> None:
    """Who asked is never left out."""
    note = render(INCIDENT, [replace(running(), capture=capture_of(source=source, place=None))])

    assert "Dana" in note


def test_a_long_capture_is_told_in_minutes() -> None:
    """Nobody divides by 60 at 3 a.m."""
    note = render(INCIDENT, [replace(complete(), ended_at=NOON + timedelta(seconds=125))])

    assert "complete (2 min 5 s)" in note


def test_a_file_without_an_address_is_named_by_its_key() -> None:
    """A store may have no browsable address."""
    story = complete()
    hidden = replace(artifact_of(story.capture, "orders-db/ps.txt"), url="")

    note = render(INCIDENT, [replace(story, results=(result_of(story.capture, "ps", artifact=hidden),))])

    assert f"- orders-db/ps.txt (12.3 kB) {hidden.key}\n" in note


def test_what_comes_from_outside_cannot_forge_lines() -> None:
    """A query's text may hold anything, our marker too."""
    forged = Finding(level=Level.BAD, text=f"SELECT 1\n\u202e{marker('PEVIL99')}\x00\ud800\n")

    note = render(INCIDENT, [complete(findings=[forged])])

    assert marker("PEVIL99") not in note.splitlines()
    assert last_line(note) == marker(INCIDENT)
    assert note.encode()
    assert "\u202e" not in note


def test_the_oldest_captures_shrink_first() -> None:
    """The newest is whole, the oldest one line with its manifest."""
    stories = [complete(number, findings=[CULPRIT] * 40) for number in range(1, 41)]

    note = render(INCIDENT, stories)

    lines = note.splitlines()
    [oldest] = [line for line in lines if line.startswith("1. ")]
    assert oldest.endswith("c1/manifest.json")
    assert "40. Database triage of orders-db: complete (12 s)" in lines
    assert len(note.encode()) <= NOTE_BYTES
    assert len(note.encode()) > NOTE_BYTES - 5_000


def test_one_capture_that_is_too_long_is_cut_between_lines() -> None:
    """And says where the rest is."""
    story = complete(findings=[Finding(level=Level.WARN, text=f"finding {n} " + "é" * 300) for n in range(300)])

    note = render(INCIDENT, [story])

    assert len(note.encode()) <= NOTE_BYTES
    assert f"The rest did not fit into this note; the manifest lists every file: {story.manifest.url}" in note  # type: ignore[union-attr]  # complete() has one
    assert last_line(note) == marker(INCIDENT)


def test_more_captures_than_a_note_has_lines_for_are_counted() -> None:
    """Nothing vanishes without a word."""
    note = render(INCIDENT, [complete(number) for number in range(1, 1001)])

    assert "earlier captures left out: the note is full." in note
    assert "\n1000. Database triage" in note
    assert len(note.encode()) <= NOTE_BYTES


texts = st.text(max_size=600)
findings = st.builds(Finding, level=st.sampled_from(Level), text=texts, weight=st.floats(0, 1))


urls = st.sampled_from(["", "https://s3.example/a b", "x" * 1_999, "x" * 5_000, "é" * 1_999, "a\nb"])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.lists(findings, max_size=8), texts, urls, st.integers(1, 60)), min_size=1, max_size=12))
def test_whatever_was_found_the_note_fits_and_is_known_again(
    found: list[tuple[list[Finding], str, str, int]],
) -> None:
    """Bytes, not letters; whole lines; the marker last and once."""
    stories = []
    for number, (told, reason, url, times) in enumerate(found, start=1):
        story = complete(number, findings=told * times)
        manifest = replace(artifact_of(story.capture, "manifest.json"), url=url)
        stories.append(replace(story, reason=reason, manifest=manifest))

    note = render(INCIDENT, stories)

    assert len(note.encode()) <= NOTE_BYTES
    assert last_line(note) == marker(INCIDENT)
    assert note.count(marker(INCIDENT)) == 1
    assert all(line.isprintable() for line in note.split("\n"))


# --- one living note --------------------------------------------------------------------------


class Token:
    """Resolves every reference to the stand-in's token."""

    def __init__(self, token: str) -> None:
        self.token = token

    async def resolve(self, ref: SecretRef) -> str:
        return self.token

    def forget(self, ref: SecretRef) -> None:
        """Nothing is kept."""


async def no_wait(_: float) -> None:
    """Goes on at once."""


@dataclass
class Desk:
    """A reporter with the memory that the teller would keep for it."""

    pagerduty: PagerDutyStandIn
    reporter: Reporter
    memory: Memory

    async def tell(self, *stories: Story) -> Delivery:
        """Deliver, and keep the memory as the journal does: as JSON."""
        delivery = await self.reporter.deliver(INCIDENT, stories, self.memory)
        self.memory = json.loads(json.dumps(delivery.memory))
        return delivery

    def forget(self) -> None:
        """Lose the memory."""
        self.memory = {}

    @property
    def contents(self) -> list[str]:
        """The notes of the incident."""
        return [note["content"] for note in self.pagerduty.notes(INCIDENT)]

    def count(self, method: str) -> int:
        """Requests so far."""
        return sum(call.method == method for call in self.pagerduty.calls)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    """The reporter on the real client, before an incident without notes."""
    async with PagerDutyStandIn() as pagerduty:
        pagerduty.add_incident(INCIDENT, 1042, "Orders are slow", "Orders")
        access = PagerDuty(token=SecretRef("env:PD"), sender=pagerduty.sender, api_url=pagerduty.api_url)
        client = PagerDutyClient(access, Token(pagerduty.token), sleep=no_wait)
        yield Desk(pagerduty, PagerDutyNote(client, now=lambda: NOON), {})
        await client.close()


def test_only_captures_of_an_incident_are_told() -> None:
    """The topic is the incident."""
    reporter = PagerDutyNote(notes=None)  # type: ignore[arg-type]  # nothing is delivered here

    assert reporter.topic(capture_of(), INCIDENT) == INCIDENT
    assert reporter.topic(capture_of(incident=None), None) is None


async def test_a_note_is_created_once_and_then_edited(desk: Desk) -> None:
    """However often the story goes on."""
    first = await desk.tell(running())
    second = await desk.tell(complete())

    assert desk.contents == [render(INCIDENT, [complete()])]
    assert (desk.count("POST"), desk.count("PUT")) == (1, 1)
    [note] = desk.pagerduty.notes(INCIDENT)
    written = NoteWritten(capture_id="c1", incident=INCIDENT, note_id=note["id"], at=NOON)
    assert first.events == (written,)
    assert second.events == (written,)


async def test_nothing_new_is_nothing_sent(desk: Desk) -> None:
    """Our own events make the story go on without a word more to say."""
    delivery = await desk.tell(complete())
    sent = len(desk.pagerduty.calls)

    again = await desk.tell(replace(complete(), note_id="PN00001"))

    assert len(desk.pagerduty.calls) == sent
    assert again == Delivery(memory=delivery.memory)


async def test_an_edit_between_beginning_and_end_is_no_event(desk: Desk) -> None:
    """The journal hears of the note when it begins to tell a capture and when it has its end."""
    await desk.tell(running())
    capture = capture_of()

    delivery = await desk.tell(replace(running(), results=(result_of(capture, "statements"),)))

    assert delivery.events == ()
    assert "1 of 2 steps done" in desk.contents[0]


async def test_a_later_capture_joins_the_same_note(desk: Desk) -> None:
    """One note an incident."""
    await desk.tell(complete(1))

    delivery = await desk.tell(complete(1), running(2))

    assert len(desk.contents) == 1
    assert [event.capture_id for event in delivery.events if isinstance(event, NoteWritten)] == ["c2"]


async def test_a_lost_memory_finds_the_note_again(desk: Desk) -> None:
    """By its last line, among those of other people."""
    desk.pagerduty.write_note(INCIDENT, "I restarted the service.")
    await desk.tell(running())
    desk.pagerduty.write_note(INCIDENT, "Looks better now.")
    desk.forget()

    await desk.tell(complete())

    assert desk.contents == ["I restarted the service.", render(INCIDENT, [complete()]), "Looks better now."]


async def test_a_crash_after_the_note_was_written_repeats_nothing(desk: Desk) -> None:
    """The note that is there already says all: not even an edit is sent."""
    await desk.tell(complete())
    desk.forget()

    await desk.tell(complete())

    assert len(desk.contents) == 1
    assert (desk.count("POST"), desk.count("PUT")) == (1, 0)


async def test_a_copy_that_a_person_made_stays_theirs(desk: Desk) -> None:
    """The oldest note with our last line is ours."""
    await desk.tell(running())
    copy = desk.contents[0]
    desk.pagerduty.write_note(INCIDENT, copy)
    desk.pagerduty.notes(INCIDENT)[1]["created_at"] = "2099-01-01T00:00:00Z"
    desk.forget()

    await desk.tell(complete())

    assert desk.contents == [render(INCIDENT, [complete()]), copy]


async def test_a_deleted_note_is_written_again_once_and_says_so(desk: Desk) -> None:
    """It may have been a slip; twice is a wish."""
    await desk.tell(running())
    [first] = desk.pagerduty.notes(INCIDENT)
    desk.pagerduty.delete_note(INCIDENT, first["id"])

    await desk.tell(complete())
    [second] = desk.pagerduty.notes(INCIDENT)
    desk.pagerduty.delete_note(INCIDENT, second["id"])
    refused = await desk.tell(complete(), running(2))

    assert RENEWED in second["content"]
    assert desk.contents == []
    [event] = refused.events
    assert isinstance(event, NoteFailed)
    assert event.final
    assert "second time" in event.reason


async def test_a_renewed_note_is_known_as_such_after_a_lost_memory(desk: Desk) -> None:
    """The note itself remembers."""
    await desk.tell(running())
    desk.pagerduty.delete_note(INCIDENT, desk.pagerduty.notes(INCIDENT)[0]["id"])
    await desk.tell(complete())
    desk.forget()

    await desk.tell(complete(), running(2))

    assert desk.contents == [render(INCIDENT, [complete(), running(2)], renewed=True)]


class Vanishing:
    """An incident whose note goes away between the look and the edit."""

    def __init__(self) -> None:
        self.created: list[str] = []

    async def list_notes(self, incident: str) -> Sequence[Note]:
        return [Note(id="PGONE", content=marker(incident), created_at=NOON)]

    async def create_note(self, incident: str, content: str) -> str:
        self.created.append(content)
        return "PNEW"

    async def edit_note(self, incident: str, note_id: str, content: str) -> bool:
        return False


async def test_a_note_that_goes_away_under_our_hands_is_written_again() -> None:
    """As one that was deleted, because it was."""
    notes = Vanishing()

    delivery = await PagerDutyNote(notes, now=lambda: NOON).deliver(INCIDENT, [complete()], {})

    assert notes.created == [render(INCIDENT, [complete()], renewed=True)]
    assert delivery.memory["note"] == "PNEW"


async def test_an_edit_by_a_person_is_overwritten(desk: Desk) -> None:
    """The note is ours, even where its last line is gone."""
    await desk.tell(running())
    [note] = desk.pagerduty.notes(INCIDENT)
    note["content"] = "Edited by hand."

    await desk.tell(complete())

    assert desk.contents == [render(INCIDENT, [complete()])]


async def test_an_outage_is_told_once_and_then_made_good(desk: Desk) -> None:
    """The thread hears of it one time, and of the end of it."""
    desk.pagerduty.fail(*[Fault(status=503)] * TRIES * 2)

    failed = await desk.tell(running())
    with pytest.raises(DeliveryFailed) as still:
        await desk.tell(replace(running(), note_trouble="…"))
    mended = await desk.tell(replace(running(), note_trouble="…"))

    [event] = failed.events
    assert isinstance(event, NoteFailed)
    assert not event.final
    assert "503" in event.reason
    assert failed.again_after_s == still.value.retry_after
    assert [type(event) for event in mended.events] == [NoteWritten]
    assert len(desk.contents) == 1


async def test_an_outage_that_becomes_final_is_told_as_such(desk: Desk) -> None:
    """Waiting for something that will not come helps nobody."""
    desk.pagerduty.fail(*[Fault(status=503)] * TRIES)

    await desk.tell(running())
    desk.pagerduty.read_only = True
    final = await desk.tell(running())

    [event] = final.events
    assert isinstance(event, NoteFailed)
    assert event.final
    assert "read-only" in event.reason
    assert final.again_after_s is None


async def test_a_capture_whose_end_is_in_the_note_does_not_hear_of_later_trouble(desk: Desk) -> None:
    """Its story is told; only the new one waits."""
    await desk.tell(complete(1))
    desk.pagerduty.read_only = True

    failed = await desk.tell(complete(1), running(2))

    assert [event.capture_id for event in failed.events if isinstance(event, NoteFailed)] == ["c2"]


async def test_a_note_with_many_captures_stays_far_below_the_limit(desk: Desk) -> None:
    """Two requests at the most for one delivery, and a pause between deliveries."""
    for number in range(1, 6):
        await desk.tell(*(complete(earlier) for earlier in range(1, number)), running(number))

    per_delivery = len(desk.pagerduty.calls) / 5
    assert per_delivery * 60 / desk.reporter.pause_s < 30


async def test_incidents_do_not_wait_for_each_other_to_have_a_note(desk: Desk) -> None:
    """Two incidents, two notes."""
    desk.pagerduty.add_incident("POTHER1", 7, "Stock is wrong", "Stock")

    await asyncio.gather(desk.tell(complete()), desk.reporter.deliver("POTHER1", [complete(2)], {}))

    assert [last_line(note["content"]) for note in desk.pagerduty.notes("POTHER1")] == [marker("POTHER1")]
    assert [last_line(content) for content in desk.contents] == [marker(INCIDENT)]


async def test_the_page_shows_notes_escaped_with_links(desk: Desk) -> None:
    """What a person types there stays text."""
    desk.pagerduty.write_note(INCIDENT, "<script>alert(1)</script> https://s3.example/a?b=1&c=2")

    shown = desk.pagerduty.view()

    assert "<script>alert" not in shown
    assert '<a href="https://s3.example/a?b=1&amp;c=2" rel="noreferrer">' in shown

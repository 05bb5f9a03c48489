"""Whatever breaks off gets a true end: processes that die, journals and stores that go away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from bot.desk.recovery import INTERRUPTED, UNWRITTEN, Recovery, _again
from bot.errors import JournalError
from bot.journal import Journal
from bot.model import Artifact, Finished, Moved, Outcome, Started, State, StepFinished, StepResult, StopAsked
from bot.report.writing import Reports
from bot.reporters.pagerduty import render
from bot.runner import manifest_of
from bot.stores.intake import once
from bot.story import BROUGHT_HOME, Story
from tests.fakes import ANA, AT, MemoryStore, a_capture, a_trigger, accepted, an_artifact, masked
from tests.office import Office, office


@pytest.fixture
async def journal() -> AsyncIterator[Journal]:
    """A journal in memory."""
    opened = await Journal.open("sqlite://", owner="me")
    yield opened
    await opened.close()


async def bury(journal: Journal, here: Office) -> Story:
    """Let the watch of a later process find the capture of a dead one."""
    journal.owner = "the next process"
    assert await here.desk.recover(is_gone=lambda owner: owner == "me") == 1
    return await here.story("abc234")


async def test_a_capture_whose_process_died_ends_as_interrupted_with_what_was_saved(journal: Journal) -> None:
    """The sweep finds an object that the journal never heard of, and the manifest names it."""
    here = office(journal)
    capture = a_capture()
    known = an_artifact(f"{capture.prefix}app-1/ps.txt")
    here.store.objects = {known.key: b"known", f"{capture.prefix}app-1/df.txt": b"unknown"}
    result = StepResult(target="app-1", step="ps", outcome=Outcome.OK, started_at=AT, seconds=1.0, artifact=known)
    await journal.append(
        accepted(capture),
        Started(capture_id=capture.id, at=AT),
        StepFinished(capture_id=capture.id, result=result, at=AT),
    )

    told = await bury(journal, here)

    manifest = json.loads(here.store.objects[f"{capture.prefix}manifest.json"])
    assert told.state is State.INTERRUPTED
    assert [artifact.key for artifact in told.saved] == [f"{capture.prefix}app-1/df.txt"]
    assert here.store.swept == [capture.prefix]
    assert manifest["state"] == "interrupted"
    assert [found["key"] for found in manifest["found_after_interruption"]] == [f"{capture.prefix}app-1/df.txt"]


async def test_a_capture_that_died_after_its_manifest_was_complete(journal: Journal) -> None:
    """Its true end is in the manifest."""
    here = office(journal)
    capture = a_capture()
    here.store.objects[f"{capture.prefix}manifest.json"] = manifest_of(capture, State.COMPLETE, [], at=AT)
    await journal.append(accepted(capture))

    told = await bury(journal, here)

    assert (told.state, told.reason) == (State.COMPLETE, "")


async def test_the_capture_of_a_living_process_is_left_alone_until_its_beats_stop(journal: Journal) -> None:
    """A process on another machine counts as dead only when it has been silent for long."""
    here = office(journal)
    await journal.append(accepted(a_capture()))
    journal.owner = "the next process"

    assert await here.desk.recover(is_gone=lambda _: False) == 0

    here.clock.at = AT + timedelta(seconds=60)
    assert await here.desk.recover(is_gone=lambda _: False) == 1
    assert isinstance((await here.events())[-1], Finished)


async def test_a_stopped_capture_that_died_after_its_manifest_says_who_stopped_it(journal: Journal) -> None:
    """The manifest knows the reason too."""
    here = office(journal)
    capture = a_capture()
    body = manifest_of(capture, State.STOPPED, [], at=AT, reason="Stopped by ana.")
    here.store.objects[f"{capture.prefix}manifest.json"] = body
    await journal.append(accepted(capture), StopAsked(capture_id=capture.id, who=ANA, at=AT))

    told = await bury(journal, here)

    assert (told.state, told.reason, told.stop_asked_by) == (State.STOPPED, "Stopped by ana.", ANA)


async def test_a_burial_that_was_itself_interrupted_is_completed(journal: Journal) -> None:
    """The manifest is there, the end was never written: what was saved is told all the same, and no second manifest made."""
    here = office(journal)
    capture = a_capture()
    found = f"{capture.prefix}app-1/df.txt"
    manifest = f"{capture.prefix}manifest.json"
    here.store.objects = {found: b"found", manifest: manifest_of(capture, State.INTERRUPTED, [], at=AT)}
    await journal.append(accepted(capture))

    told = await bury(journal, here)

    assert (told.state, told.reason) == (State.INTERRUPTED, INTERRUPTED)
    assert [artifact.key for artifact in told.saved] == [found]
    assert told.manifest
    assert told.manifest.key == manifest
    assert len(here.store.objects) == 2


@pytest.mark.parametrize("body", [b"not json", b"[]", b"{}", b'{"state": "merry", "reason": ""}'])
async def test_a_manifest_that_cannot_be_read_is_not_believed(journal: Journal, body: bytes) -> None:
    """It is kept as it is, and a true one is put beside it."""
    here = office(journal)
    capture = a_capture()
    here.store.objects[f"{capture.prefix}manifest.json"] = body
    await journal.append(accepted(capture))

    told = await bury(journal, here)

    assert told.state is State.INTERRUPTED
    assert told.manifest
    assert told.manifest.key == f"{capture.prefix}manifest.2.json"


async def test_one_that_cannot_be_ended_does_not_leave_the_others_without_an_end(journal: Journal) -> None:
    """A bug, or an event that nobody understands, costs its own capture only."""
    here = office(journal)
    await journal.append(accepted(a_capture("bad222")), accepted(a_capture("good22")))

    class Breaking(MemoryStore):
        async def sweep(self, prefix: str) -> tuple[Artifact, ...]:
            if "bad222" in prefix:
                raise ZeroDivisionError("a bug")
            return await super().sweep(prefix)

    recovery = Recovery(journal=journal, store=Breaking(), runs=lambda _: False, bring_home=None, now=here.clock)

    await recovery.recover(is_gone=lambda _: True)

    assert not (await here.story("bad222")).state.ended
    assert (await here.story("good22")).state is State.INTERRUPTED


async def test_a_capture_that_this_process_lost_is_ended_too(journal: Journal) -> None:
    """Its end could not be written while the journal was away; it is not under way here any more."""
    here = office(journal)
    await journal.append(accepted(a_capture()))

    assert await here.desk.recover(is_gone=lambda _: False) == 1

    assert (await here.story("abc234")).reason == UNWRITTEN


async def test_two_processes_end_a_dead_ones_capture_once(tmp_path: Path) -> None:
    """Whoever claims it first ends it."""
    url = f"sqlite:///{tmp_path}/journal.db"
    dead, *heirs = [await Journal.open(url, owner=owner) for owner in ("dead", "one", "two")]
    await dead.append(accepted(a_capture()))
    desks = [office(heir).desk for heir in heirs]

    ended = await asyncio.gather(*(desk.recover(is_gone=lambda owner: owner == "dead") for desk in desks))

    events = await dead.events("abc234")
    assert sorted(ended) == [0, 1]
    assert sum(isinstance(event, Finished) for event in events) == 1
    for journal in (dead, *heirs):
        await journal.close()


async def test_a_store_that_is_away_does_not_keep_the_end_away(journal: Journal) -> None:
    """The end says what is not known; open uploads are looked for when the store is back."""
    here = office(journal)
    here.store.away = True
    await journal.append(accepted(a_capture()))
    told = await bury(journal, here)
    here.store.away = False

    await here.desk._recovery.tidy()
    await here.desk._recovery.tidy()

    assert told.state is State.INTERRUPTED
    assert "What else it saved could not be listed: The store is away." in told.reason
    assert here.store.swept == [told.capture.prefix]


async def test_what_was_kept_elsewhere_comes_home_and_the_story_says_so(journal: Journal, tmp_path: Path) -> None:
    """First where it lies, then the true place; the state stays what it was."""
    here = office(journal, spare=tmp_path / "spare")
    here.store.away = True
    capture = await here.desk.accept(a_trigger())
    assert capture
    await here.desk.wait_for(capture.id)
    before = await here.story(capture.id)
    here.store.away = False

    await here.desk._recovery.tidy()

    after = await here.story(capture.id)
    assert before.state is after.state is State.PARTIAL
    assert before.away_words == "2 files wait on capturebot's own disk until the store takes them."
    assert "The store is away." in before.results[0].reason
    assert after.away_words == ""
    assert after.results[0].reason == after.reason == BROUGHT_HOME
    assert [kept.url for kept in (*after.artifacts, after.manifest) if kept] == [
        f"memory://{capture.prefix}app-1/ps.txt",
        f"memory://{capture.prefix}manifest.json",
    ]
    assert sum(isinstance(event, Moved) for event in await here.events()) == 2


async def test_a_file_that_was_left_by_a_step_comes_home_too(journal: Journal, tmp_path: Path) -> None:
    """With the type that it has, and the story of its capture says so."""
    here = office(journal, spare=tmp_path / "spare")
    capture = await here.desk.accept(a_trigger())
    assert capture
    await here.desk.wait_for(capture.id)
    key = f"{capture.prefix}binary/app-1/core/core.zst"
    here.store.away = True
    await here.desk._recovery._store.put(key, once(b"x"))
    here.store.away = False

    await here.desk._recovery.tidy()

    (moved,) = [event for event in await here.events() if isinstance(event, Moved)]
    assert (moved.capture_id, moved.key, moved.artifact.binary) == (capture.id, key, True)
    assert here.store.types[key] == "application/zstd"


async def test_what_no_capture_knows_comes_home_without_a_story(journal: Journal, tmp_path: Path) -> None:
    """The spare of a journal that was lost is still emptied."""
    here = office(journal, spare=tmp_path / "spare")
    here.store.away = True
    await here.desk._recovery._store.put("evidence/other1/app-1/ps.txt", once(b"x"))
    here.store.away = False

    await here.desk._recovery.tidy()

    assert here.store.objects == {"evidence/other1/app-1/ps.txt": b"x"}
    assert await here.events() == []


async def test_a_report_that_comes_home_is_linked_there(journal: Journal, tmp_path: Path) -> None:
    """By whatever links it: the note, the index, the story."""
    here = office(journal, spare=tmp_path / "spare")
    capture = await here.desk.accept(a_trigger())
    assert capture
    await here.desk.wait_for(capture.id)
    here.store.away = True
    reports = Reports(journal, here.desk._recovery._store, prefix="evidence", mask=masked, now=here.clock)
    kept = await reports.write(channel=capture.place.channel if capture.place else None)
    here.store.away = False

    await here.desk._recovery.tidy()

    told = await here.story(capture.id)
    assert kept.trouble
    assert told.report
    assert (told.report.url, told.report.trouble) == (f"memory://{kept.key}", "")
    assert f"All of it as one document: memory://{kept.key}" in render("PABC123", [told])


async def test_a_watch_goes_on_after_whatever_disturbed_it() -> None:
    """A journal that is away for a moment must not make this process look dead for ever."""
    tries: list[int] = []

    async def work() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise JournalError("locked")
        if len(tries) == 3:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await _again(0, work)

    assert len(tries) == 3

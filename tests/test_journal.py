"""The journal keeps events durably, in order and once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import JournalError
from bot.journal import Journal
from bot.journal.writing import event_json
from bot.model import (
    Event,
    Finished,
    Followed,
    Linked,
    Offered,
    Outcome,
    Refused,
    Started,
    State,
    StepFinished,
    StepResult,
    Suggestion,
)
from tests.fakes import ANA, AT, a_capture, a_trigger, accepted


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    """An open journal in a file."""
    opened = await Journal.open(f"sqlite:///{tmp_path}/journal.db", owner="me")
    yield opened
    await opened.close()


async def test_events_come_back_in_order_after_reopening(tmp_path: Path) -> None:
    """What was appended is there for the next process, equal in every field."""
    url = f"sqlite:///{tmp_path}/journal.db"
    capture = a_capture(parameters={"top": 20, "unit": "nginx"})
    events: list[Event] = [
        accepted(capture),
        Started(capture_id=capture.id, at=AT),
        Finished(capture_id=capture.id, state=State.COMPLETE, at=AT),
    ]
    first = await Journal.open(url, owner="one")
    await first.append(*events)
    await first.close()

    second = await Journal.open(url, owner="two")
    found = await second.events(capture.id)
    await second.close()

    assert found == events


async def test_a_repeated_delivery_is_accepted_once(journal: Journal) -> None:
    """Two acceptances with one key are one capture."""
    assert await journal.accept(accepted(a_capture("aaa222"), key="slack 1"))

    assert not await journal.accept(accepted(a_capture("bbb222"), key="slack 1"))

    assert await journal.recent() == ["aaa222"]


async def test_an_acceptance_or_an_offer_is_found_by_its_key(journal: Journal) -> None:
    """And comes back as it was; what came with a repeated acceptance is not written."""
    acceptance = accepted(a_capture("aaa222"), key="next 1")
    offered = Offered(
        offer_id="7f",
        trigger=a_trigger(),
        recipe_digest="d",
        at=AT,
        cost="stops it",
        choices=(Suggestion(label="7 java", parameters={"pid": 7}),),
    )
    followed = Followed(capture_id="abc234", by="aaa222", what="/capture host", key="next 1", who=ANA, at=AT)
    await journal.accept(acceptance, followed)
    await journal.append(offered)

    assert not await journal.accept(accepted(a_capture("bbb222"), key="next 1"), followed)

    assert [await journal.keyed(key) for key in ("next 1", offered.key, "next 2")] == [acceptance, offered, None]
    assert await journal.events("abc234") == [followed]


async def test_waiting_ends_with_the_next_event(journal: Journal) -> None:
    """Whoever waits is woken by the commit, not by a clock."""
    seen = journal.last
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(journal.wait_beyond(seen))
        await journal.append(Refused(trigger=a_trigger(), reason="no", at=AT))

    assert waiting.result() == journal.last > seen


async def test_captures_without_an_end_are_known_with_their_owner(journal: Journal) -> None:
    """An end takes a capture off the list of the unfinished."""
    for name in ("aaa222", "bbb222"):
        await journal.append(accepted(a_capture(name)))
    await journal.append(Finished(capture_id="aaa222", state=State.COMPLETE, at=AT))

    (unfinished,) = await journal.unfinished()

    assert (unfinished.capture_id, unfinished.owner, unfinished.beat_at) == ("bbb222", "me", AT)


async def test_a_sign_of_life_is_remembered(journal: Journal) -> None:
    """The owner's latest beat is what counts."""
    await journal.append(accepted(a_capture()))
    await journal.beat(AT + timedelta(seconds=10))

    (unfinished,) = await journal.unfinished()

    assert unfinished.beat_at == AT + timedelta(seconds=10)


async def test_an_incident_has_its_own_captures_and_those_of_linked_channels(journal: Journal) -> None:
    """Linking a channel later brings its earlier captures to the incident."""
    await journal.append(accepted(a_capture("own222", incident="PABC123", place=None)))
    await journal.append(accepted(a_capture("chan22")))
    await journal.append(accepted(a_capture("other2", incident="POTHER1")))

    await journal.append(Linked(channel="C1", incident="PABC123", who=ANA, at=AT))

    assert await journal.of_incident("PABC123") == ["own222", "chan22"]
    assert await journal.incident_of("C1") == "PABC123"
    assert await journal.incident_of("C2") is None


async def test_memories_survive_and_are_replaced(tmp_path: Path) -> None:
    """A reporter finds what it remembered last."""
    url = f"sqlite:///{tmp_path}/journal.db"
    first = await Journal.open(url, owner="one")
    await first.remember("slack", "abc", 3, {"ts": "1.0"})
    await first.remember("slack", "abc", 5, {"ts": "2.0"})
    await first.close()

    second = await Journal.open(url, owner="two")
    found, nothing = await second.memory("slack", "abc"), await second.memory("slack", "other")
    await second.close()

    assert found == (5, {"ts": "2.0"})
    assert nothing is None


async def test_the_salt_is_made_once(journal: Journal) -> None:
    """Masks stay the same for as long as the journal lives."""
    assert await journal.salt() == await journal.salt()
    assert len(await journal.salt()) == 32


async def test_a_journal_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    """A missing folder is named in the error."""
    with pytest.raises(JournalError, match="unable to open database file"):
        await Journal.open(f"sqlite:///{tmp_path}/missing/journal.db", owner="me")


async def test_a_full_disk_refuses_new_events_and_keeps_the_old(tmp_path: Path) -> None:
    """When no page more fits, appending raises and nothing that was there is lost."""
    journal = await Journal.open(f"sqlite:///{tmp_path}/journal.db", owner="me")
    await journal.append(accepted(a_capture()))
    with journal._engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    many = [accepted(a_capture(f"fill{n}")) for n in range(1000)]
    with pytest.raises(JournalError, match="full"):
        await journal.append(*many)

    assert await journal.events("abc234") == [accepted(a_capture())]
    await journal.close()


async def test_what_is_committed_is_told_although_the_caller_went_away(journal: Journal) -> None:
    """Whoever waits for news learns of it, and so does every listener."""
    heard: list[Event] = []
    journal.listeners.append(heard.append)
    gate = threading.Event()
    journal._thread.submit(gate.wait)
    appending = asyncio.get_running_loop().create_task(journal.append(accepted(a_capture())))
    await asyncio.sleep(0)
    appending.cancel()
    await asyncio.wait([appending])

    gate.set()

    assert await journal.wait_beyond(0) == 1
    assert heard == [accepted(a_capture())]


async def test_a_listener_that_breaks_does_not_make_an_event_look_lost(journal: Journal) -> None:
    """It is committed, and the others hear of it."""
    heard: list[Event] = []

    def broken(_: Event) -> None:
        raise ZeroDivisionError("a bug")

    journal.listeners += [broken, heard.append]

    await journal.append(accepted(a_capture()))

    assert heard == await journal.events("abc234")


async def test_events_of_other_processes_are_noticed_by_looking(tmp_path: Path) -> None:
    """They wake nobody here."""
    url = f"sqlite:///{tmp_path}/journal.db"
    one, two = [await Journal.open(url, owner=owner) for owner in ("one", "two")]
    await two.append(accepted(a_capture()))

    assert one.last == 0
    assert await one.wait_beyond(0, within_s=0.01) == 1

    await one.close()
    await two.close()


async def test_a_dead_owner_is_inherited_once(journal: Journal) -> None:
    """The second heir comes too late."""
    await journal.append(accepted(a_capture()))
    journal.owner = "heir"

    assert await journal.claim("abc234", "me")
    assert not await journal.claim("abc234", "me")

    assert (await journal.holder("abc234")).owner == "heir"


async def test_a_process_is_known_to_live_as_soon_as_it_has_opened_the_journal(tmp_path: Path) -> None:
    """What it takes over in its first moments is not taken for a dead one's."""
    url = f"sqlite:///{tmp_path}/journal.db"
    one = await Journal.open(url, owner="one")
    await one.append(accepted(a_capture()))
    two = await Journal.open(url, owner="two")

    await two.claim("abc234", "one")

    assert not (await one.holder("abc234")).is_dead(datetime.now(UTC), lambda _: False)
    await one.close()
    await two.close()


async def test_owners_are_not_kept_for_ever(tmp_path: Path) -> None:
    """An owner that is not known any more is dead."""
    url = f"sqlite:///{tmp_path}/journal.db"
    old = await Journal.open(url, owner="old")
    await old.append(accepted(a_capture(at=AT - timedelta(days=3650))))

    new = await Journal.open(url, owner="new")

    assert (await new.holder("abc234")).beat_at.year == 1970
    await old.close()
    await new.close()


async def test_a_process_that_says_goodbye_is_known_to_be_dead_at_once(tmp_path: Path) -> None:
    """Also where nobody can look for it, as on another machine."""
    url = f"sqlite:///{tmp_path}/journal.db"
    one, two = [await Journal.open(url, owner=owner) for owner in ("one", "two")]
    await one.append(accepted(a_capture()))
    alive = (await two.holder("abc234")).is_dead(AT, lambda _: False)

    await one.close()

    assert not alive
    assert (await two.holder("abc234")).is_dead(AT, lambda _: False)
    await two.close()


@given(
    text=st.text(max_size=200),
    seconds=st.floats(min_value=0, max_value=1e6, allow_nan=False),
    masked=st.dictionaries(st.text(min_size=1, max_size=10), st.integers(min_value=0, max_value=10**9), max_size=3),
)
def test_any_result_reads_back_as_it_was_written(text: str, seconds: float, masked: dict[str, int]) -> None:
    """Whatever a host said in a reason survives the journal's JSON."""
    result = StepResult(
        target="t",
        step="s",
        outcome=Outcome.FAILED,
        started_at=AT,
        seconds=seconds,
        reason=text,
        masked=masked,
    )
    event = StepFinished(capture_id="abc234", result=result, at=AT)

    assert event_json.validate_json(event_json.dump_json(event)) == event

"""What changed is told, once, also after a crash or an outage."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.errors import DeliveryFailed, JournalError
from bot.journal import Journal
from bot.model import Event, Finished, Linked, Started, State
from bot.reporters.telling import Teller
from tests.fakes import ANA, AT, Said, a_capture, accepted, slow_down
from tests.faults import until

pytestmark = pytest.mark.thorough


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    """A journal in a file."""
    opened = await Journal.open(f"sqlite:///{tmp_path}/journal.db", owner="me")
    yield opened
    await opened.close()


async def tell(journal: Journal, *said: Said) -> Teller:
    """A teller that has told everything."""
    teller = Teller(journal, said)
    await teller.start()
    assert await teller.settle(5)
    return teller


END = Finished(capture_id="abc234", state=State.COMPLETE, at=AT)


async def test_every_reporter_is_told_the_end(journal: Journal) -> None:
    """Two reporters hear the same story."""
    slack, other = Said("slack"), Said("other")
    teller = await tell(journal, slack, other)

    await journal.append(accepted(a_capture()))
    await journal.append(Started(capture_id="abc234", at=AT))
    await journal.append(END)

    assert await teller.settle(5)
    await teller.close()
    assert slack.states("abc234")[-1] == other.states("abc234")[-1] == "complete"


async def test_an_outage_delays_the_end_and_does_not_lose_it(journal: Journal) -> None:
    """A reporter that must wait is asked again; meanwhile the reason is known."""
    slack = Said("slack")
    slack.failures = [slow_down(), slow_down()]
    teller = await tell(journal, slack)

    await journal.append(accepted(a_capture()), END)

    assert await teller.settle(5)
    await teller.close()
    assert slack.states("abc234") == ["complete"]
    assert teller.untold() == {}


async def test_what_can_never_be_told_is_known_and_holds_up_nothing(journal: Journal) -> None:
    """A refusal for good is remembered with its reason; the next capture is told."""
    slack = Said("slack")
    slack.failures = [DeliveryFailed("The channel is archived.")]
    teller = await tell(journal, slack)

    await journal.append(accepted(a_capture()))
    await teller.settle(5)
    await journal.append(accepted(a_capture("other2")))

    assert await teller.settle(5)
    await teller.close()
    assert teller.untold() == {"slack abc234": "The channel is archived."}
    assert slack.states("other2") == ["accepted"]


async def test_a_bug_in_one_story_does_not_silence_the_others(journal: Journal) -> None:
    """Anything that a reporter raises ends its own topic only."""
    slack = Said("slack")
    slack.failures = [ZeroDivisionError("bug")]
    teller = await tell(journal, slack)

    await journal.append(accepted(a_capture()))
    await teller.settle(5)
    await journal.append(accepted(a_capture("other2")))

    assert await teller.settle(5)
    await teller.close()
    assert slack.states("other2") == ["accepted"]


async def test_after_a_restart_only_what_is_new_is_told(journal: Journal) -> None:
    """The next process comes back with what the reporter remembered."""
    before = Said("slack")
    teller = await tell(journal, before)
    await journal.append(accepted(a_capture()))
    await teller.settle(5)
    await teller.close()
    await journal.append(END)  # while nobody was telling

    after = Said("slack")
    await (await tell(journal, after)).close()

    assert before.states("abc234") == ["accepted"]
    assert [(topic, memory) for topic, _, memory in after.deliveries] == [("abc234", {"told": len(before.deliveries)})]
    assert after.states("abc234") == ["complete"]


async def test_a_reporter_that_is_new_tells_no_old_stories(journal: Journal) -> None:
    """Adding PagerDuty later writes no notes about last year."""
    await journal.append(accepted(a_capture()), END)

    late = Said("late")
    await (await tell(journal, late)).close()

    assert late.deliveries == []


async def test_an_incident_is_told_with_all_its_captures(journal: Journal) -> None:
    """Linking a channel tells its earlier captures in the incident's topic."""
    note = Said("note", by_incident=True)
    teller = await tell(journal, note)
    await journal.append(accepted(a_capture("one222")))
    await journal.append(accepted(a_capture("two222", incident="PABC123", place=None)))

    await journal.append(Linked(channel="C1", incident="PABC123", who=ANA, at=AT))

    assert await teller.settle(5)
    await teller.close()
    topic, stories, _ = note.deliveries[-1]
    assert topic == "PABC123"
    assert [story.capture.id for story in stories] == ["one222", "two222"]


async def test_a_journal_that_is_away_for_a_moment_silences_nobody(tmp_path: Path) -> None:
    """It is read again, and everything is told."""

    class Sick(Journal):
        sick = 0

        async def after(self, seq: int, *, only: str | None = None) -> list[tuple[int, Event]]:
            if self.sick:
                self.sick -= 1
                raise JournalError("locked")
            return await super().after(seq, only=only)

        async def memory(self, reporter: str, topic: str) -> tuple[int, dict[str, object]] | None:
            if self.sick and topic:
                self.sick -= 1
                raise JournalError("locked")
            return await super().memory(reporter, topic)

    journal = await Sick.open(f"sqlite:///{tmp_path}/journal.db", owner="me")
    assert isinstance(journal, Sick)
    slack = Said("slack")
    teller = Teller(journal, [slack], look_s=0.01)
    await teller.start()
    journal.sick = 2

    await journal.append(accepted(a_capture()), END)

    assert await teller.settle(5)
    assert slack.states("abc234") == ["complete"]
    await teller.close()
    await journal.close()


async def test_a_story_has_one_teller_and_a_dead_tellers_stories_are_inherited(tmp_path: Path) -> None:
    """Another process tells its own captures; when it is dead, what it left untold is told here, with its memory."""
    url = f"sqlite:///{tmp_path}/journal.db"
    mine, other = [await Journal.open(url, owner=owner) for owner in ("me", "other")]
    dead: set[str] = set()
    slack = Said("slack")
    teller = Teller(mine, [slack], is_gone=dead.__contains__, now=lambda: AT, look_s=0.01)
    await teller.start()
    await other.append(accepted(a_capture("other2")))
    await other.remember("slack", "other2", 1, {"told": 7})
    await mine.append(accepted(a_capture("mine22")))
    assert await teller.settle(5)
    before = {topic for topic, _, _ in slack.deliveries}
    position = await mine.memory("slack", "")

    dead.add("other")
    await other.append(Finished(capture_id="other2", state=State.COMPLETE, at=AT))

    await until(lambda: bool(slack.states("other2")))
    assert await teller.settle(5)
    assert before == {"mine22"}
    assert position == (0, {})  # what the other has to tell stays behind it
    assert next(memory for topic, _, memory in slack.deliveries if topic == "other2") == {"told": 7}
    assert slack.states("other2") == ["complete"]
    assert await mine.memory("slack", "") == (3, {})
    await teller.close()
    for journal in (mine, other):
        await journal.close()


async def test_a_dead_tellers_capture_is_given_its_end_before_it_is_inherited(tmp_path: Path) -> None:
    """Whoever looks for the dead ends it, and tells it then."""
    url = f"sqlite:///{tmp_path}/journal.db"
    mine, other = [await Journal.open(url, owner=owner) for owner in ("me", "other")]
    await mine.remember("slack", "", 0, {})
    await other.append(accepted(a_capture()))
    slack = Said("slack")
    teller = Teller(mine, [slack], is_gone=lambda owner: owner == "other", look_s=0.01)
    await teller.start()
    assert await teller.settle(5)
    holder = (await mine.holder("abc234")).owner

    await mine.claim("abc234", "other")
    await mine.append(END)

    assert holder == "other"
    assert await teller.settle(5)
    assert slack.states("abc234") == ["complete"]
    await teller.close()
    for journal in (mine, other):
        await journal.close()

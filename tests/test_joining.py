"""Who asks for what there is already joins it: one run, told to everybody who asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from bot.command import Take, parse
from bot.errors import UserError
from bot.journal import Journal
from bot.model import Accepted, Capture, Impact, Joined, Person, Place, Source, Trigger
from bot.reporters.pagerduty import render
from bot.reporters.slack_message import root
from bot.slack.answers import Answer
from bot.slack.clerk import Clerk
from tests.fakes import ANA, Script, a_recipe, a_trigger
from tests.office import Office, office

pytestmark = pytest.mark.thorough

BEN = Person(id="U2", name="ben")
THERE = Place(channel="C2", channel_name="inc-1043")
COOLDOWN_S = 120.0


@pytest.fixture
async def journal() -> AsyncIterator[Journal]:
    """A journal in memory."""
    opened = await Journal.open("sqlite://", owner="me")
    yield opened
    await opened.close()


@pytest.fixture
async def here(journal: Journal) -> AsyncIterator[Office]:
    """An office whose steps end at once."""
    made = office(journal, cooldown_s=COOLDOWN_S)
    yield made
    await made.desk.drain()


async def captured(here: Office, *targets: str, recipe: str = "host") -> Capture:
    """A capture that has ended."""
    taken = await here.desk.take(a_trigger(recipe, *targets))
    assert taken.capture
    await here.desk.wait_for(taken.capture.id)
    return taken.capture


def ben(recipe: str = "host", *targets: str, place: Place | None = THERE, **changes: object) -> Trigger:
    """Ben asks, in another channel."""
    return a_trigger(recipe, *targets, who=BEN, place=place, **changes)


async def joins(here: Office) -> list[Joined]:
    """Who joined what."""
    return [event for event in await here.events() if isinstance(event, Joined)]


async def accepted(here: Office) -> list[Capture]:
    """What was started."""
    return [event.capture for event in await here.events() if isinstance(event, Accepted)]


async def test_what_runs_is_joined(journal: Journal) -> None:
    """No second load on the target; who joined is told where they asked."""
    here = office(journal, {"ps": Script(hangs=True)})
    first = await here.desk.take(a_trigger())
    await here.transport.wait_for_start(1)

    second = await here.desk.take(ben())

    assert first.capture
    assert (second.capture, second.joined) == (None, (first.capture,))
    told = await here.story(first.capture.id)
    assert [place.channel for place in told.places] == ["C1", "C2"]
    assert len(here.transport.executions) == 1
    await here.desk.stop(first.capture.id, ANA)
    await here.desk.drain()


async def test_what_was_taken_just_now_is_joined(here: Office) -> None:
    """Until it has cooled down; then it is another moment, and another capture."""
    capture = await captured(here)
    here.clock.pass_by(COOLDOWN_S - 1)
    assert (await here.desk.take(ben())).joined == (capture,)

    here.clock.pass_by(1)
    again = await here.desk.take(ben())

    assert again.capture
    assert again.joined == ()


async def test_a_target_that_is_not_covered_is_captured(here: Office) -> None:
    """The rest is joined: one run a target."""
    capture = await captured(here, "app-1")

    taken = await here.desk.take(ben("host", "app-1", "app-2"))

    assert taken.capture
    assert taken.capture.targets == ("app-2",)
    assert taken.joined == (capture,)
    assert [(one.capture_id, one.targets) for one in await joins(here)] == [(capture.id, ("app-1",))]


async def test_several_captures_are_joined_at_once(here: Office) -> None:
    """Each has its own targets."""
    one, two = await captured(here, "app-1"), await captured(here, "app-2")

    taken = await here.desk.take(ben("host", "app-2", "app-1", key="slack 7"))

    assert {capture.id for capture in taken.joined} == {one.id, two.id}
    assert await here.desk.take(ben("host", "app-2", "app-1", key="slack 7")) == replace(taken, joined=())
    assert len(await joins(here)) == 2


@pytest.mark.parametrize(
    "trigger",
    [
        pytest.param(ben("db", "orders-db"), id="another recipe"),
        pytest.param(ben("host", "app-2"), id="another target"),
        pytest.param(ben(force="I restarted it"), id="a reason"),
    ],
)
async def test_something_else_is_another_capture(here: Office, trigger: Trigger) -> None:
    """Only the same of the same is joined."""
    await captured(here)

    taken = await here.desk.take(trigger)

    assert taken.capture
    assert taken.joined == ()


async def test_a_recipe_that_was_changed_is_another_recipe(here: Office) -> None:
    """Its author tries it again at once."""
    await captured(here)
    here.desk.recipes = {"host": replace(a_recipe(), digest="e" * 64)}

    assert (await here.desk.take(ben())).capture


async def test_its_own_button_takes_it_again(here: Office) -> None:
    """Who reads a capture and asks for it again wants another look; another capture's button joins."""
    capture, other = await captured(here), await captured(here, "app-2")

    again = await here.desk.take(ben(after=capture.id, key="again"))
    assert again.capture
    await here.desk.wait_for(again.capture.id)
    next_one = await here.desk.take(ben(after=other.id, key="next"))

    assert next_one.joined == (again.capture,)


async def test_what_was_stopped_or_broke_is_not_joined(journal: Journal) -> None:
    """It is not what was asked for."""
    here = office(journal, {"ps": Script(hangs=True)})
    first = await here.desk.take(a_trigger())
    assert first.capture
    await here.transport.wait_for_start(1)
    await here.desk.stop(first.capture.id, ANA)

    second = await here.desk.take(ben())

    assert second.capture
    await here.transport.wait_for_start(2)
    await here.desk.stop(second.capture.id, ANA)
    await here.desk.drain()


async def test_a_cost_is_not_measured_for_what_is_joined(here: Office) -> None:
    """One heap dump is enough."""
    heavy = replace(a_recipe(), impact=Impact.HEAVY)
    here.desk.recipes = {"host": heavy}
    offered = await here.desk.offer(a_trigger())
    assert offered
    taken = await here.desk.take(offered.trigger)

    assert taken.capture
    assert await here.desk.offer(ben()) is None
    assert (await here.desk.take(ben())).joined == (taken.capture,)


async def test_a_hundred_at_once_are_one_capture(here: Office) -> None:
    """Whoever comes first; nobody is refused."""
    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(here.desk.take(ben(key=f"slack {n}"))) for n in range(100)]

    assert len(await accepted(here)) == 1
    assert sum(task.result().capture is not None for task in asking) == 1
    assert len(await joins(here)) == 99


async def test_an_incident_that_joins_has_it_in_its_note_and_its_channel(here: Office) -> None:
    """Also when its channel opens later; the first one's own keeps it too."""
    first = await here.desk.take(a_trigger(incident="PFIRST1", place=None, source=Source.PAGERDUTY))
    await here.desk.take(ben(incident="PSECOND", place=None, source=Source.PAGERDUTY))
    assert first.capture

    await here.desk.link("C2", "PSECOND", ANA)
    await here.desk.link("C1", "PFIRST1", ANA)
    await here.desk.link("C3", "PSECOND", ANA)

    told = await here.story(first.capture.id)
    assert [place.channel for place in told.places] == ["C2", "C1"]
    assert await here.journal.incidents_of(first.capture.id) == {"PFIRST1", "PSECOND"}
    assert await here.journal.of_incident("PSECOND") == [first.capture.id]


async def test_who_joins_from_a_linked_channel_has_it_in_that_incidents_note(here: Office) -> None:
    """Whether it was linked before or is linked after."""
    capture = await captured(here)
    await here.desk.link("C2", "PSECOND", ANA)
    await here.desk.take(ben())
    await here.desk.take(ben(place=Place(channel="C3")))
    await here.desk.link("C3", "PTHIRD1", ANA)

    assert await here.journal.incidents_of(capture.id) == {"PSECOND", "PTHIRD1"}
    assert await here.journal.of_incident("PTHIRD1") == [capture.id]


# --- what people read -----------------------------------------------------------------------------


async def typed(here: Office, text: str, who: Person, place: Place, *, key: str) -> str:
    """What somebody reads who types `/capture TEXT`."""
    said: list[str] = []

    async def say(answer: Answer) -> None:
        said.append(answer.text)

    clerk = Clerk(here.desk, here.journal, incidents=None, untold=dict, now=here.clock)
    clerk.home = "https://acme.slack.com/"
    await clerk.ask(text, who, place, key=key, say=say)
    return "\n".join(said)


async def test_who_joins_is_led_to_the_thread(here: Office) -> None:
    """With who asked, when, and how to have another one all the same."""
    capture = await captured(here)
    await here.journal.remember("slack", capture.id, 1, {"C1": {"ts": {"root": "1700000000.000100"}, "told": {}}})
    here.clock.pass_by(40)

    said = await typed(here, "host app-1", BEN, THERE, key="1")
    again = await typed(here, "host app-1", BEN, THERE, key="1")

    assert said == (
        f"👉 ana asked for that 40 s ago: `{capture.id}`, Host triage on app-1. It is told in "
        "<https://acme.slack.com/archives/C1/p1700000000000100|its thread>, and in this channel too.\n"
        'To take another one: `/capture host app-1 force="why"`'
    )
    assert again.startswith(f"👉 ana started that already: `{capture.id}`")


async def test_a_forced_one_says_why(here: Office) -> None:
    """In the thread and in the note; a reason is one."""
    await captured(here)
    said = await typed(here, 'host app-1 force="it was restarted"', BEN, THERE, key="1")
    none = await typed(here, "host app-1 force=", BEN, THERE, key="2")
    (_, forced) = await accepted(here)
    await here.desk.wait_for(forced.id)
    told = await here.story(forced.id)

    assert said.startswith(f"🕓 `{forced.id}`")
    assert none == '❌ `force` needs a reason, which is kept and shown. Write `force="why it is needed"`.'
    assert "⏩ Another one, because: it was restarted" in root(told).text
    assert "Another one, because: it was restarted" in render("PABC123", [told])


async def test_who_joined_is_told(here: Office) -> None:
    """Each once, but for who asked first."""
    capture = await captured(here)
    for who in (ANA, BEN, BEN):
        await here.desk.take(a_trigger(who=who))

    told = await here.story(capture.id)

    assert "👥 Asked for by ben too" in root(told).text
    assert "Asked for too by ana (2026-11-22 03:00:00), ben (2026-11-22 03:00:00)," in render("PABC123", [told])


def test_a_reason_is_no_parameter() -> None:
    """It stands where parameters stand."""
    assert parse('db orders-db top=5 force="a new primary"') == Take(
        recipe="db", targets=("orders-db",), parameters={"top": "5"}, force="a new primary"
    )
    with pytest.raises(UserError, match="at most 200"):
        parse(f"db orders-db force={'x' * 201}")

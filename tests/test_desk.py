"""The desk accepts what may be, refuses the rest with a cure, and gives every capture a true end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from bot.errors import StepFailed, UserError
from bot.journal import Journal
from bot.model import Accepted, Capture, Finished, Impact, Linked, Measure, Met, Refused, State
from bot.model import Script as ScriptAction
from tests.fakes import ANA, Script, a_recipe, a_trigger
from tests.office import TARGETS, Office, office


@pytest.fixture
async def journal() -> AsyncIterator[Journal]:
    """A journal in memory."""
    opened = await Journal.open("sqlite://", owner="me")
    yield opened
    await opened.close()


@contextmanager
def held(journal: Journal) -> Iterator[None]:
    """A journal whose disk hangs until the block ends."""
    gate = threading.Event()
    journal._thread.submit(gate.wait)
    try:
        yield
    finally:
        gate.set()


async def some_turns() -> None:
    """Let everything that can go on go on, while the journal is held."""
    for _ in range(20):
        await asyncio.sleep(0)


async def ends(here: Office) -> dict[str, State | None]:
    """How every capture that was ever accepted ended."""
    events = await here.events()
    states: dict[str, State | None] = {event.capture.id: None for event in events if isinstance(event, Accepted)}
    return states | {event.capture_id: event.state for event in events if isinstance(event, Finished)}


async def test_an_accepted_trigger_runs_to_its_end(journal: Journal) -> None:
    """Accepted is committed before anything starts; the end is committed too."""
    here = office(journal)

    capture = await here.desk.accept(a_trigger())

    assert capture
    await here.desk.wait_for(capture.id)
    told = await here.story(capture.id)
    assert told.state is State.COMPLETE
    assert capture.prefix == f"evidence/2026/11/22/adhoc/{capture.id}/"
    assert here.desk.underway == ()


@pytest.mark.parametrize(
    ("trigger", "says"),
    [
        (a_trigger("hosts"), r"There is no recipe `hosts`. Did you mean `host`\?"),
        (a_trigger("zzz"), "There are: `host`, `db`"),
        (a_trigger("host", "app1"), r"There is no target `app1`. Did you mean `app-1`\?"),
        (a_trigger("host", "orders-db"), "is for hosts, and `orders-db` is not set up as one"),
        (a_trigger("db", "app-1"), "`db` can capture: `orders-db`"),
        (a_trigger("host", "app-1", parameters={"top": "5"}), "top"),
        (replace(a_trigger(), targets=()), r"needs a target. Try `/capture host app-1`"),
        (a_trigger("host", *[f"h{n}" for n in range(61)]), "There is no target"),
    ],
)
async def test_what_cannot_be_is_refused_with_the_nearest_right_thing(
    journal: Journal, trigger: object, says: str
) -> None:
    """The refusal names a cure, and the journal keeps it with its reason."""
    here = office(journal)

    with pytest.raises(UserError, match=says):
        await here.desk.accept(trigger)  # type: ignore[arg-type]  # the table holds triggers only

    (refused,) = await here.events()
    assert isinstance(refused, Refused)
    assert refused.reason


async def test_the_same_delivery_twice_is_one_capture(journal: Journal) -> None:
    """A repeated delivery starts nothing and says nothing."""
    here = office(journal)
    first = await here.desk.accept(a_trigger(key="slack 1"))

    second = await here.desk.accept(a_trigger(key="slack 1"))

    assert first
    assert second is None
    assert await journal.recent() == [first.id]
    await here.desk.drain()


async def test_a_repeated_delivery_is_not_refused(journal: Journal) -> None:
    """It was accepted, so that the target is busy is its own doing."""
    here = office(journal, {"ps": Script(hangs=True)}, captures_per_target=1, drain_s=0.05)
    assert await here.desk.accept(a_trigger(key="again abc234"))

    assert await here.desk.accept(a_trigger(key="again abc234")) is None

    await here.desk.drain()


async def test_what_hurts_is_not_accepted_without_its_cost(journal: Journal) -> None:
    """Whoever asks, by whatever way in: only the offer's own trigger is."""
    here = office(journal)
    here.desk.recipes = {"host": replace(a_recipe(), impact=Impact.PAUSES)}
    offered = await here.desk.offer(a_trigger())
    assert offered
    ben = replace(ANA, id="U2", name="ben")

    for trigger, says in [
        (a_trigger(), "its cost is measured and agreed to first"),
        (a_trigger(offer="7f"), "no such offer"),
        (replace(offered.trigger, targets=("app-2",)), "not what is asked for now"),
        (replace(offered.trigger, who=ben), "offered to ana"),
    ]:
        with pytest.raises(UserError, match=says):
            await here.desk.accept(trigger)

    capture = await here.desk.accept(offered.trigger)
    assert capture
    assert (
        capture.cost == "pauses the target while it runs; how much was not measured, because the recipe has no `cost`"
    )
    assert await here.desk.accept(offered.trigger) is None
    await here.desk.drain()


async def test_a_cost_is_not_measured_on_a_crowd(journal: Journal) -> None:
    """Nobody reads six sentences before pressing."""
    here = office(journal)
    here.desk.recipes = {"host": replace(a_recipe(), impact=Impact.HEAVY)}
    here.desk.targets = {f"h{n}": replace(TARGETS["app-1"], name=f"h{n}") for n in range(6)}

    with pytest.raises(UserError, match=r"6 targets are too many at once for that. Name at most 5."):
        await here.desk.offer(a_trigger("host", *here.desk.targets))


async def test_the_costs_of_several_targets_are_said_one_by_one(journal: Journal) -> None:
    """All are measured at the same time; one that cannot pay keeps all from starting."""
    here = office(journal, {"cost": Script(pieces=(b"pause_s=3\n",))})
    cost = Measure(script=ScriptAction(name="cost.sh", text=""), timeout_s=5)
    here.desk.recipes = {"host": replace(a_recipe(), impact=Impact.PAUSES, cost=cost)}

    offered = await here.desk.offer(a_trigger("host", "app-1", "app-2"))
    here.transport.scripts = {"cost": Script(pieces=(b"refuse=It swaps.\n",))}
    with pytest.raises(UserError, match="app-1: It swaps"):
        await here.desk.offer(a_trigger("host", "app-1", "app-2"))
    here.transport.scripts = {"cost": Script(refuses=StepFailed("app-1 does not answer on port 22."))}
    with pytest.raises(UserError, match="could not be measured, so nothing was started: app-1 does not answer"):
        await here.desk.offer(a_trigger())

    assert offered
    assert offered.cost == "app-1: stops the process for about 3 s; app-2: stops the process for about 3 s"


async def test_a_linked_channel_gives_its_captures_their_incident(journal: Journal) -> None:
    """The incident is part of the capture and of its objects' keys."""
    here = office(journal)
    await here.desk.link("C1", "PABC123", ANA)

    capture = await here.desk.accept(a_trigger())

    assert capture
    assert (capture.incident, capture.prefix.split("/")[4]) == ("PABC123", "PABC123")
    assert [type(event) for event in (await here.events())[:2]] == [Met, Linked]
    await here.desk.drain()


async def test_no_more_than_the_limit_runs_on_one_target(journal: Journal) -> None:
    """The third capture of a target is refused, and names the two that run."""
    here = office(journal, {"ps": Script(hangs=True)})
    running = [await here.desk.accept(a_trigger()) for _ in range(2)]

    with pytest.raises(UserError, match=f"({running[0].id}, {running[1].id})"):  # type: ignore[union-attr]
        await here.desk.accept(a_trigger())

    assert await here.desk.accept(a_trigger("host", "app-2"))
    for one in here.desk.underway:
        await here.desk.stop(one.capture.id, ANA)
    await here.desk.drain()


async def test_a_stop_is_journaled_and_reaches_the_target(journal: Journal) -> None:
    """Who asked is known, and the step was ended there."""
    here = office(journal, {"ps": Script(hangs=True)})
    capture = await here.desk.accept(a_trigger())
    assert capture
    await here.transport.wait_for_start(1)

    await here.desk.stop(capture.id, ANA)

    await here.desk.wait_for(capture.id)
    told = await here.story(capture.id)
    assert told.stop_asked_by == ANA
    assert told.state is State.STOPPED
    assert told.results[0].stop_proof == "process group 8123 gone"


async def test_stopping_what_does_not_run_names_what_does(journal: Journal) -> None:
    """A mistyped id is answered with the nearest one."""
    here = office(journal, {"ps": Script(hangs=True)})
    capture = await here.desk.accept(a_trigger())
    assert capture

    with pytest.raises(UserError, match=f"Did you mean `{capture.id}`"):
        await here.desk.stop(capture.id[:-1] + "0", ANA)

    await here.desk.stop(capture.id, ANA)
    await here.desk.drain()


async def test_draining_refuses_newcomers_and_ends_what_runs(journal: Journal) -> None:
    """A shutdown leaves a true end behind."""
    here = office(journal, {"ps": Script(hangs=True)}, drain_s=0.05)
    capture = await here.desk.accept(a_trigger())
    assert capture
    await here.transport.wait_for_start(1)

    await here.desk.drain()

    assert (await here.story(capture.id)).state is State.STOPPED
    with pytest.raises(UserError, match="being restarted"):
        await here.desk.accept(a_trigger())


async def test_captures_that_are_asked_for_at_once_do_not_slip_past_the_limit(journal: Journal) -> None:
    """What is free when it is looked at is still free when it is taken."""
    here = office(journal, {"ps": Script(hangs=True)}, drain_s=0.05)

    answers = await asyncio.gather(*(here.desk.accept(a_trigger()) for _ in range(6)), return_exceptions=True)

    assert sum(isinstance(answer, Capture) for answer in answers) == 2
    assert sum(isinstance(answer, UserError) for answer in answers) == 4
    await here.desk.drain()


async def test_an_acceptance_whose_asker_went_away_is_run(journal: Journal) -> None:
    """A listener may be cancelled while its acceptance is being written."""
    here = office(journal)
    with held(journal):
        asking = asyncio.get_running_loop().create_task(here.desk.accept(a_trigger()))
        await some_turns()
        asking.cancel()
        await asyncio.wait([asking])

    await here.desk._arrivals.drain(5)
    await here.desk.drain()

    assert list((await ends(here)).values()) == [State.COMPLETE]


async def test_a_drain_waits_for_who_is_at_the_door(journal: Journal) -> None:
    """A trigger that is being accepted when the shutdown comes is refused, or run to its end."""
    here = office(journal)
    with held(journal):
        asking = asyncio.get_running_loop().create_task(here.desk.accept(a_trigger()))
        await some_turns()
        draining = asyncio.get_running_loop().create_task(here.desk.drain())
        await some_turns()

    await draining

    assert await asking
    assert list((await ends(here)).values()) == [State.COMPLETE]


async def test_a_drain_ends_several_captures_at_once(journal: Journal) -> None:
    """Those that end while the others are being stopped do not get into its way."""
    here = office(journal, {"ps": Script(hangs=True)}, drain_s=0.05)
    for target in ("app-1", "app-2", "app-1"):
        await here.desk.accept(a_trigger("host", target))
    await here.transport.wait_for_start(3)

    await here.desk.drain()

    assert list((await ends(here)).values()) == [State.STOPPED] * 3


async def test_a_capture_that_cannot_be_stopped_has_an_end_when_the_process_leaves(journal: Journal) -> None:
    """What it saved is listed, and nobody has to wait for the next start to learn of it."""
    here = office(journal, {"ps": Script(hangs=True, deaf=True)}, drain_s=0.05)
    capture = await here.desk.accept(a_trigger())
    assert capture
    await here.transport.wait_for_start(1)

    await here.desk.drain()

    told = await here.story(capture.id)
    assert (told.state, told.reason) == (
        State.INTERRUPTED,
        "Stopped because capturebot itself is being shut down.",
    )
    assert told.manifest
    assert here.desk.underway == ()


async def test_a_fault_of_our_own_ends_the_capture_with_an_id_and_its_manifest(journal: Journal) -> None:
    """Whoever runs capturebot finds the cause, and nothing that was stored is without a manifest."""
    here = office(journal)
    here.broken = [ZeroDivisionError("a bug")]
    capture = await here.desk.accept(a_trigger())
    assert capture

    await here.desk.wait_for(capture.id)

    told = await here.story(capture.id)
    assert (told.state, bool(told.error_id)) == (State.FAILED, True)
    assert list(here.store.objects) == [f"{capture.prefix}manifest.json"]


async def test_a_stop_that_comes_too_late_leaves_nothing_behind(journal: Journal) -> None:
    """The capture ended while the wish was being written."""
    here = office(journal)
    capture = await here.desk.accept(a_trigger())
    assert capture
    await here.desk.wait_for(capture.id)

    await here.desk._stop(capture.id, "Stopped by ana.")

    assert here.desk._runner._stopped_early == {}

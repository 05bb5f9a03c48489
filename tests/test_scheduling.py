"""Baselines: what capturebot.yml says of them, when each is due, and that nothing is taken in an incident."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from bot.baselines.schedule import Schedule, Slot, due, next_slot
from bot.baselines.surplus import Surplus
from bot.check import check
from bot.journal import Journal
from bot.journal.tables import goods
from bot.model import Accepted, Baseline, Call, Heard, Service, Source
from bot.recipes import builtin_folder, load_folder
from bot.settings import load
from bot.slack import answers
from tests.fakes import AT, Script, a_trigger
from tests.office import Office, office

pytestmark = pytest.mark.thorough

INSIGHTS = {step.insight for recipe in load_folder(builtin_folder()).values() for step in recipe.steps if step.insight}
HOURLY = Baseline(recipe="host", targets=("app-1", "app-2"), every_s=3600.0)
SLOT = Slot(due=AT, recipe="host", target="app-1", keep=2)
RIGHT = """\
folder: x
targets:
  orders-db: {mysql: {host: 10.0.0.5, user: capture}}
  app-1: {local: true}
baselines:
  - {recipe: host, targets: [app-1], every: 6 h, keep: 12}
  - {recipe: db, targets: [orders-db], every: 30 min}
"""


@pytest.fixture
async def here() -> AsyncIterator[Office]:
    """An office whose app-1 belongs to a service."""
    journal = await Journal.open("sqlite://", owner="me")
    service = Service(name="orders", pagerduty="PSVC1", targets=("app-1",))
    made = office(journal, {"ps": Script()}, services={"orders": service})
    yield made
    await made.desk.drain()
    await journal.close()


# --- in the configuration -------------------------------------------------------------------------


def test_baselines_are_read_and_pass_the_check(tmp_path: Path) -> None:
    """With their intervals in seconds."""
    (path := tmp_path / "capturebot.yml").write_text(RIGHT)

    assert load(path).baselines == (
        Baseline(recipe="host", targets=("app-1",), every_s=21_600.0, keep=12),
        Baseline(recipe="db", targets=("orders-db",), every_s=1800.0),
    )
    assert check(path, insights=INSIGHTS) == []


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        ("6 h", "6 hours", "6: baselines.0.every: is not an interval — write for example `6 h`, `30 min` or `1 d`"),
        ("6 h", "5 min", "6: baselines.0.every: must be from 10 min to 31 d"),
        ("[app-1], every", "[app-2], every", "6: baselines.0.targets.0: there is no target `app-2` — did you mean"),
        ("recipe: host", "recipe: hosts", "6: baselines.0.recipe: there is no recipe `hosts` — did you mean `host`?"),
        ("recipe: host", "recipe: core", "6: baselines.0.recipe: `core` pauses the target while it runs, and must be"),
        ("recipe: db", "recipe: host", "7: baselines.1.targets.0: `host` is not for `orders-db` — leave it out"),
        ("[orders-db]", "[orders-db, orders-db]", "7: baselines.1.targets.1: `db` of `orders-db` is taken on schedule"),
        ("every: 6 h", "evry: 6 h", "6: baselines.0.evry: is not a known key — did you mean `every`?"),
    ],
)
def test_a_wrong_baseline_is_told_by_line_key_and_cure(tmp_path: Path, was: str, now: str, says: str) -> None:
    """As everything else in the file."""
    assert RIGHT.count(was) == 1
    (path := tmp_path / "capturebot.yml").write_text(RIGHT.replace(was, now))

    (problem,) = [str(one).replace(f"{tmp_path}/", "") for one in check(path, insights=INSIGHTS)]

    assert problem.startswith(f"capturebot.yml:{says}")


# --- when -----------------------------------------------------------------------------------------

TIMES = st.integers(0, 4_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@settings(max_examples=60, deadline=None)
@given(TIMES, st.integers(600, 31 * 86_400))
def test_the_next_slot_lies_within_one_interval(after: datetime, every: int) -> None:
    """And the one after it exactly one interval later, whenever one asks."""
    baseline = Baseline(recipe="host", targets=("app-1",), every_s=every)

    slot = next_slot(baseline, "app-1", after)

    assert timedelta(0) < slot.due - after <= timedelta(seconds=every)
    assert next_slot(baseline, "app-1", slot.due).due == slot.due + timedelta(seconds=every)


@settings(max_examples=30, deadline=None)
@given(TIMES, st.lists(st.integers(1, 60), min_size=1, max_size=120))
def test_looks_at_the_clock_see_each_slot_once(start: datetime, pauses: list[int]) -> None:
    """However irregular they are."""
    plan = [Baseline(recipe="host", targets=("app-1", "app-2", "db-1"), every_s=600.0)]
    seen: list[Slot] = []
    last = start
    for pause in pauses:
        seen += due(plan, after=last, until=last + timedelta(seconds=pause))
        last += timedelta(seconds=pause)

    assert len({slot.key for slot in seen}) == len(seen)
    turns = (last - start).total_seconds() / 600
    assert 3 * int(turns) <= len(seen) <= 3 * (int(turns) + 1)


def test_targets_are_spread_over_the_interval() -> None:
    """A hundred hosts are not captured in the same minute."""
    every = Baseline(recipe="host", targets=tuple(f"app-{n}" for n in range(100)), every_s=3600.0)

    minutes = [next_slot(every, target, AT).due.minute for target in every.targets]

    assert max(minutes.count(minute) for minute in set(minutes)) <= 6


# --- and what is taken ----------------------------------------------------------------------------


def scheduled(here: Office) -> Schedule:
    """Baselines of both hosts every hour."""
    surplus = Surplus(journal=here.journal, store=here.store, now=here.clock)
    return Schedule(here.desk, [HOURLY], surplus=surplus, now=here.clock)


async def accepted(here: Office) -> list[Accepted]:
    """All captures."""
    return [event for event in await here.events() if isinstance(event, Accepted)]


async def test_a_slot_is_taken_once_and_told_nowhere(here: Office) -> None:
    """Also where several processes share the journal; its objects lie apart from those of incidents."""
    schedule = scheduled(here)

    await asyncio.gather(schedule.take(SLOT), schedule.take(SLOT))
    await here.desk.drain()

    (taken,) = await accepted(here)
    assert (taken.capture.source, taken.capture.place, taken.capture.incident) == (Source.SCHEDULE, None, None)
    assert taken.capture.prefix == f"evidence/baselines/2026/11/22/{taken.capture.id}/"
    assert here.store.objects


async def test_nothing_is_taken_while_an_incident_is_open(here: Office) -> None:
    """Of a service that the target belongs to."""
    call = Call(id="E1", what="incident.triggered", at=AT, incident="PINC1", status="triggered", service="PSVC1")
    await here.journal.append(Heard(call=call, delivery="D1", at=AT))
    schedule = scheduled(here)

    await schedule.take(SLOT)
    await schedule.take(Slot(due=AT, recipe="host", target="app-2", keep=2))

    assert [one.capture.targets for one in await accepted(here)] == [("app-2",)]


async def test_nothing_is_taken_beside_another_capture_of_the_target(here: Office) -> None:
    """A person's capture has the host to itself."""
    here.transport.scripts = {"ps": Script(hangs=True)}
    capture = await here.desk.accept(a_trigger())
    assert capture
    await here.transport.wait_for_start(1)

    await scheduled(here).take(SLOT)

    assert len(await accepted(here)) == 1
    await here.desk.stop(capture.id, capture.who)


async def test_what_is_due_is_taken_and_what_was_slept_through_is_not(here: Office) -> None:
    """A machine that wakes up does not capture everything at once."""
    schedule = scheduled(here)
    slept_at = here.clock()
    here.clock.pass_by(7200)

    woke_at = await schedule.look(slept_at)
    slept = await accepted(here)
    here.clock.at = next_slot(HOURLY, "app-1", woke_at).due + timedelta(seconds=1)
    await schedule.look(here.clock() - timedelta(seconds=5))

    assert slept == []
    assert [one.capture.targets for one in await accepted(here)] == [("app-1",)]


async def test_no_more_baselines_are_kept_than_are_asked_for(here: Office) -> None:
    """The older ones lose their objects, and are good no longer; what people asked for stays."""
    schedule = scheduled(here)
    asked = await here.desk.accept(a_trigger())
    assert asked
    await here.desk.wait_for(asked.id)
    for hour in range(4):
        here.clock.at = AT + timedelta(hours=hour)
        await schedule.take(Slot(due=here.clock.at, recipe="host", target="app-1", keep=2))
        (*_, newest) = await accepted(here)
        await here.desk.wait_for(newest.capture.id)
        await here.desk.comparisons.look_at(newest.capture.id)

    taken = [one.capture for one in await accepted(here)]
    left = [capture.id for capture in taken if any(key.startswith(capture.prefix) for key in here.store.objects)]
    good = [row.capture_id for row in await here.journal.rows(select(goods.c.capture_id))]

    assert left == [taken[0].id, *(capture.id for capture in taken[-2:])]
    assert sorted(good) == sorted(left[1:])


async def test_what_the_store_will_not_remove_is_tried_again(here: Office) -> None:
    """The captures go on meanwhile."""
    schedule, store = scheduled(here), here.store
    for hour in range(5):
        here.clock.at = AT + timedelta(hours=hour)
        store.stubborn = hour < 4
        await schedule.take(Slot(due=here.clock.at, recipe="host", target="app-1", keep=2))
        (*_, newest) = await accepted(here)
        await here.desk.wait_for(newest.capture.id)

    taken = [one.capture for one in await accepted(here)]
    left = [capture.id for capture in taken if any(key.startswith(capture.prefix) for key in store.objects)]
    assert left == [capture.id for capture in taken[-2:]]


async def test_status_says_when_the_next_is_due_and_which_was_good(here: Office) -> None:
    """In one line a baseline."""
    schedule = scheduled(here)
    before = answers.status([], untold={}, baselines=await schedule.planned())
    await schedule.take(SLOT)
    (taken,) = await accepted(here)
    await here.desk.wait_for(taken.capture.id)
    await here.desk.comparisons.heard((await here.journal.events(taken.capture.id))[-1])

    after = answers.status([], untold={}, baselines=await schedule.planned())

    assert before.startswith("🗓️ `host` of app-1, app-2 every 60 min: none is good yet, next <!date^")
    assert f"last good `{taken.capture.id}` <!date^" in after
    assert ", 1 of 2 targets have one, next" in after

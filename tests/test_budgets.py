"""Budgets: what captures took of an incident, a target and a person, who took it, and when there is enough again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.budgets import BudgetsShape, read_budgets
from bot.budgets.ledger import Ledger
from bot.budgets.sums import Account, Use
from bot.errors import UserError
from bot.insights import Insight, Reading
from bot.insights.core import core
from bot.insights.java.heap import heap
from bot.journal import Journal
from bot.model import (
    Budget,
    Budgets,
    Capture,
    Event,
    Finding,
    Finished,
    Impact,
    Joined,
    Level,
    Linked,
    Outcome,
    Person,
    Price,
    Refused,
    Scope,
    Source,
    State,
    StepFinished,
    StepResult,
)
from bot.settings import Limits
from tests.fakes import ANA, AT, HERE, Clock, a_capture, a_recipe, a_trigger, accepted, an_artifact
from tests.office import Office

RECORDINGS = Path(__file__).parent / "recordings"
BEN = Person(id="U2", name="ben")
HOUR_S = 3600.0
CORE = replace(a_recipe("core"), impact=Impact.PAUSES)
NINE_S = {"app-1": Price(pause_s=9.0, stored_bytes=500_000_000)}


@pytest.fixture
async def journal() -> AsyncIterator[Journal]:
    """A journal in memory."""
    opened = await Journal.open("sqlite://", owner="me")
    yield opened
    await opened.close()


def of(scope: Scope, **bounds: float) -> Budgets:
    """One budget."""
    return Budgets(of={scope: Budget(**bounds)})  # type: ignore[arg-type]  # fields by name


class Books:
    """A journal with captures in it, and the ledger that reads it."""

    def __init__(self, journal: Journal, budgets: Budgets) -> None:
        self.clock = Clock()
        self.journal = journal
        self.ledger = Ledger(journal, budgets, now=self.clock)
        self.captures = 0

    async def take(self, *, pause_s: float | None = None, **changes: object) -> Capture:
        """Accept a capture that was measured to pause for so long."""
        self.captures += 1
        prices = {} if pause_s is None else {"app-1": Price(pause_s=pause_s)}
        capture = a_capture(f"abc23{self.captures}", **{"at": self.clock(), "prices": prices, **changes})
        await self.journal.append(accepted(capture))
        return capture

    async def finish(self, capture: Capture, *, state: State = State.COMPLETE, **changes: object) -> None:
        """Let it end after one step; *paused_s* is what that says of itself."""
        paused_s = changes.pop("paused_s", None)
        findings = () if paused_s is None else (Finding(level=Level.INFO, text="A core.", paused_s=paused_s),)  # type: ignore[arg-type]  # a number
        given = {"outcome": Outcome.OK, "seconds": 20.0, "artifact": an_artifact(size_bytes=0), **changes}
        result = StepResult(target="app-1", step="core", started_at=AT, findings=findings, **given)  # type: ignore[arg-type]  # fields by name
        step = StepFinished(capture_id=capture.id, result=result, at=self.clock())
        await self.journal.append(step, step)  # a commit whose answer was lost is made again
        await self.journal.append(Finished(capture_id=capture.id, state=state, at=self.clock()))

    async def refusal(self, prices: Mapping[str, Price] = NINE_S, **changes: object) -> str:
        """Why one more is refused; "" where it is not."""
        incident = changes.pop("incident", None)
        try:
            await self.ledger.check(a_trigger(**changes), CORE, ["app-1"], incident=incident, prices=prices)  # type: ignore[arg-type]  # an id
        except UserError as error:
            return str(error)
        return ""


async def test_a_pause_that_fits_is_taken_and_one_that_does_not_is_not(journal: Journal) -> None:
    """With what is used up, by whom, and when there is enough again."""
    here = Books(journal, of(Scope.TARGET, pause_s=60))
    await here.finish(await here.take(pause_s=40.0), paused_s=45.0)
    here.clock.pass_by(HOUR_S)
    await here.finish(await here.take(pause_s=10.0, who=BEN), paused_s=4.0)

    assert await here.refusal() == ""
    assert await here.refusal({"app-1": Price(pause_s=12.0)}) == (
        "app-1 has used 49 s of pause of its 60 s of pause within 24 h: 45 s of pause by ana (`abc231`), "
        "4 s of pause by ben (`abc232`). This needs 12 s of pause. There is enough again from 03:00 UTC on November 23."
    )
    here.clock.pass_by(23 * HOUR_S + 1)
    assert await here.refusal({"app-1": Price(pause_s=12.0)}) == ""


async def test_what_runs_counts_as_measured_until_it_is_known(journal: Journal) -> None:
    """Two that are asked for at once do not pass together; a pause that was shorter gives the rest back."""
    here = Books(journal, of(Scope.TARGET, pause_s=15))
    capture = await here.take(pause_s=9.0)

    assert "9 s of pause by ana" in await here.refusal()
    await here.finish(capture, paused_s=2.5)
    assert await here.refusal() == ""


@pytest.mark.parametrize(
    ("ended", "paused_s"),
    [
        ({"paused_s": 30.0}, 30.0),  # longer than was measured
        ({"paused_s": 0.0, "outcome": Outcome.FAILED}, 0.0),  # it failed before it stopped anything
        ({"outcome": Outcome.SKIPPED}, 0.0),  # there was no gdb
        ({"outcome": Outcome.LOST}, 9.0),  # nobody knows
        ({"paused_s": 1.0, "state": State.INTERRUPTED}, 9.0),  # other steps may have paused it too
    ],
)
async def test_what_really_happened_counts(journal: Journal, ended: dict[str, Any], paused_s: float) -> None:
    """And where that is not known, what was measured before."""
    here = Books(journal, of(Scope.TARGET, pause_s=100))
    await here.finish(await here.take(pause_s=9.0, impact=Impact.PAUSES), **ended)

    left = await here.ledger.left(a_trigger(), ["app-1"], incident=None)

    assert left == f"Left: app-1 {100 - paused_s:.0f} s of 100 s of pause."


async def test_a_recipe_that_pauses_and_measures_nothing_counts_as_long_as_it_ran(journal: Journal) -> None:
    """So that a recipe of one's own is no way around the budget; one that does not pause costs none."""
    here = Books(journal, of(Scope.TARGET, pause_s=100))
    await here.finish(await here.take(impact=Impact.PAUSES), seconds=20.0)
    await here.finish(await here.take(impact=Impact.LIGHT), seconds=20.0)

    assert await here.ledger.left(a_trigger(), ["app-1"], incident=None) == "Left: app-1 80 s of 100 s of pause."


async def test_what_needs_more_than_all_there_ever_is_says_so(journal: Journal) -> None:
    """Waiting would not help."""
    here = Books(journal, of(Scope.TARGET, pause_s=5))

    assert await here.refusal() == (
        "This needs 9 s of pause, and the whole budget of app-1 is 5 s of pause within 24 h. "
        "Take a smaller one, or ask whoever runs capturebot for a larger budget."
    )


async def test_nothing_may_pause_where_the_budget_is_none(journal: Journal) -> None:
    """What pauses nothing may run there all the same, also when others have used up more than there is."""
    here = Books(journal, of(Scope.TARGET, pause_s=0))
    await here.finish(await here.take(pause_s=9.0), paused_s=9.0)

    assert "the whole budget of app-1 is 0 s of pause" in await here.refusal()
    assert "This needs 0.1 s of pause" in await here.refusal({})
    await here.ledger.check(a_trigger(), a_recipe(), ["app-1"], incident=None, prices={})


async def test_bytes_are_those_that_were_stored(journal: Journal) -> None:
    """Files beside the output too; what is not measured before must leave something."""
    here = Books(journal, of(Scope.USER, stored_bytes=1_000_000_000))
    capture = await here.take(prices={"app-1": Price(stored_bytes=700_000_000)})

    assert "700 MB of storage by ana (`abc231`)" in await here.refusal()
    await here.finish(capture, artifact=an_artifact(size_bytes=1_000), files=(an_artifact(size_bytes=100_000_000),))
    assert await here.refusal() == ""
    await here.finish(await here.take(), artifact=an_artifact(size_bytes=950_000_000))
    assert "1.1 GB of storage of its 1.0 GB of storage" in await here.refusal({})


async def test_captures_are_counted_by_the_hour(journal: Journal) -> None:
    """Those of two targets once for a person; the names are those of the three who took most."""
    here = Books(journal, of(Scope.USER, captures_an_hour=2))
    await here.take(targets=("app-1", "app-2"))
    here.clock.pass_by(600)
    await here.take()

    assert await here.refusal({}) == (
        "ana has used 2 captures of its 2 captures within an hour: 2 captures by ana (`abc231`, `abc232`). "
        "There is enough again from 04:00 UTC."
    )
    assert await here.refusal({}, who=BEN) == ""
    here.clock.pass_by(3001)
    assert await here.refusal({}) == ""


async def test_an_incident_has_what_its_channel_and_its_joiners_took(journal: Journal) -> None:
    """Linked later, or joined from elsewhere, it counts all the same."""
    here = Books(journal, of(Scope.INCIDENT, captures_an_hour=2))
    await here.take()
    elsewhere = await here.take(place=None, incident="POTHER")
    events: list[Event] = [
        Linked(channel=HERE.channel, incident="PABC123", who=ANA, at=AT),
        Joined(capture_id=elsewhere.id, targets=("app-1",), who=ANA, source=Source.SLACK, at=AT, incident="PABC123"),
    ]
    await journal.append(*events)

    assert "incident PABC123 has used 2 captures" in await here.refusal({}, incident="PABC123")
    assert await here.refusal({}, incident="POTHER") == ""
    assert await here.refusal({}) == ""


async def test_what_nobody_asked_for_counts_for_targets_and_for_no_person(journal: Journal) -> None:
    """A schedule has no budget of its own, and does not use up anybody's."""
    here = Books(journal, Budgets(of=dict.fromkeys([Scope.TARGET, Scope.USER], Budget(captures_an_hour=1))))
    await here.take(source=Source.SCHEDULE, who=replace(ANA, name="schedule"), place=None)

    assert "app-1 has used 1 capture" in await here.refusal({})
    with pytest.raises(UserError, match="app-1 has used 1 capture"):
        await here.ledger.check(a_trigger(source=Source.PAGERDUTY), CORE, ["app-1"], incident=None, prices={})
    await here.ledger.check(a_trigger(), CORE, ["app-2"], incident=None, prices={})


async def test_a_restart_forgets_nothing(tmp_path: object) -> None:
    """Everything is read from the journal."""
    url = f"sqlite:///{tmp_path}/journal.db"
    journal = await Journal.open(url, owner="first")
    await Books(journal, of(Scope.TARGET, captures_an_hour=1)).take()
    await journal.close()

    again = await Journal.open(url, owner="second")

    assert "app-1 has used 1 capture" in await Books(again, of(Scope.TARGET, captures_an_hour=1)).refusal({})
    await again.close()


async def test_without_budgets_nothing_is_said_and_nothing_is_asked(journal: Journal) -> None:
    """Whoever wants none sees none."""
    here = Books(journal, Budgets())

    assert await here.ledger.left(a_trigger(), ["app-1"], incident="PABC123") == ""
    assert await here.refusal(incident="PABC123") == ""


async def test_what_is_left_is_said_of_all_that_is_bounded(journal: Journal) -> None:
    """In the order in which it is checked: targets, incident, person."""
    budget = Budget(pause_s=60, stored_bytes=20_000_000_000, captures_an_hour=12)
    here = Books(journal, Budgets(of={Scope.TARGET: budget, Scope.USER: Budget(captures_an_hour=20)}))
    await here.finish(await here.take(pause_s=9.0), paused_s=8.4, artifact=an_artifact(size_bytes=2_000_000_000))

    assert await here.ledger.left(a_trigger(), ["app-1"], incident=None) == (
        "Left: app-1 52 s of 60 s of pause, 18 GB of 20 GB, 11 of 12 captures; ana 19 of 20 captures."
    )


async def test_captures_that_are_asked_for_at_once_do_not_slip_past_a_budget(journal: Journal) -> None:
    """What one of them may take is taken before the next one is looked at; a set that starts by itself too."""
    here = Office(journal, {}, Limits(captures_per_target=9), budgets=of(Scope.TARGET, captures_an_hour=3))
    asked = [a_trigger(force="all of them", source=source) for source in [Source.SLACK, Source.PAGERDUTY] * 4]

    ends = await asyncio.gather(*map(here.desk.accept, asked), return_exceptions=True)

    assert sum(isinstance(end, Capture) for end in ends) == 3
    assert {str(end)[:37] for end in ends if isinstance(end, UserError)} == {"app-1 has used 3 captures of its 3 ca"}
    assert len([event for event in await here.events() if isinstance(event, Refused)]) == 5
    await here.desk.drain()


@given(
    most=st.integers(1, 100),
    steps=st.lists(st.tuples(st.floats(0, 50_000), st.integers(0, 60)), max_size=30),
)
def test_no_window_ever_holds_more_than_its_budget(most: int, steps: list[tuple[float, int]]) -> None:
    """However prices and times fall; and when it is said that there is enough again, there is."""
    uses: list[Use] = []
    now = AT
    for n, (wait_s, pause_s) in enumerate(steps):
        now += timedelta(seconds=wait_s)
        account = Account(whose="app-1", budget=Budget(pause_s=most), uses=tuple(uses), window_s=24 * HOUR_S, now=now)
        price = Price(pause_s=pause_s)

        if (error := account.shortage(price)) is None:
            uses.append(Use(capture_id=f"c{n}", who="ana", at=now, pause_s=pause_s))
        elif pause_s <= most:
            assert "There is enough again from" in str(error)
            assert replace(account, now=account.enough_at(price)).shortage(price) is None

        since = now - timedelta(hours=24)
        assert sum(use.pause_s for use in uses if use.at > since) <= most


def test_budgets_are_read_from_the_file() -> None:
    """What is left out has no bound."""
    shape = BudgetsShape.model_validate({"target": {"pause_s": 60.0, "bytes": "50 GB"}, "hours": 12.0})

    assert read_budgets(shape) == Budgets(
        of={Scope.TARGET: Budget(pause_s=60.0, stored_bytes=50_000_000_000)}, window_s=12 * HOUR_S
    )
    assert read_budgets(None) == Budgets()


@pytest.mark.parametrize(
    ("read", "recording", "paused_s"),
    [
        (core, "core/python-threads.txt", 20.71),
        (core, "core/disk-full.txt", 0.14),  # it failed, after it had stopped the process
        (core, "core/idle.txt", 0.12),
        (heap, "java-heap/nearly-full-serial-17.txt", 0.392648676),  # two histograms
    ],
)
def test_insights_say_how_long_something_stood_still(read: Insight, recording: str, paused_s: float) -> None:
    """Once, whatever else they have to say."""
    text = (RECORDINGS / recording).read_text()

    found = [one.paused_s for one in read(Reading(text=text, target="app-1")) if one.paused_s is not None]

    assert found == [paused_s]

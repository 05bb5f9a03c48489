"""Incidents whose news come late, twice, or not at all: PagerDuty does not call, a process dies, a call is delayed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bot.incidents import Pages
from bot.journal import Journal
from bot.model import Accepted, Call, Heard, Person
from bot.playground.workspace import Fault
from bot.slack.ending import HOLDS_S, Endings
from tests.reception import Reception, buttons, reception
from tests.test_rooms import LINK, NAME, SERVICES, Incident, Incidents, announced, captured, indexed

pytestmark = pytest.mark.live  # each test starts a workspace, and a bot that connects to it


@pytest.mark.parametrize("away", [False, True])
async def test_buttons_die_where_pagerduty_does_not_call(*, away: bool) -> None:
    """It is asked when one is pressed; where it does not answer, the button works."""
    known = Incidents(Incident())
    async with reception(services=SERVICES, incidents=known) as here:
        channel = here.workspace.open_channel("inc-1042-checkout", by=here.ana)
        message = await announced(here, channel, "Checkout is slow")
        await captured(here, 1)
        (root,) = (one for one in here.workspace.messages(channel) if "Run again" in buttons(one))
        known.known, known.away = (Incident(status="resolved"),), away
        here.clock.pass_by(HOLDS_S)

        await here.press(message, "run-0", here.ana)
        await here.press(root, "again", here.ana)

        said = "The result comes in" if away else "ended with it"
        await here.seen(
            lambda: len([one for one in here.workspace.ephemerals(channel, here.ana) if said in one.text]) == 2
        )
        assert len(await captured(here, 3 if away else 1)) == (3 if away else 1)


async def test_what_is_known_of_an_incident_is_not_asked_again() -> None:
    """For seconds; and an answer that takes too long is not waited for."""
    journal = await Journal.open("sqlite://", owner="me")
    seconds, known = [100.0], Incidents(Incident(status="resolved"))
    endings = Endings(journal, known, clock=lambda: seconds[0])

    first = await endings.is_open("PABC123")
    known.known = (Incident(),)
    second = await endings.is_open("PABC123")
    seconds[0] += HOLDS_S
    third = await endings.is_open("PABC123")
    known.known = ()
    seconds[0] += HOLDS_S

    assert (first, second, third) == (False, False, True)
    assert await endings.is_open("PABC123")
    assert await endings.is_open("PGONE99")
    assert await Endings(journal, None).is_open("PABC123")
    await journal.close()


async def test_a_crash_after_a_link_by_hand_costs_no_index() -> None:
    """The channel is met with the link, or neither is in the journal."""
    async with reception(services=SERVICES, incidents=Incidents(Incident())) as here:
        await here.capture()
        await here.bot.aclose()
        ana = Person(id=here.ana, name="ana")
        await here.desk.link(here.channel, "PABC123", ana)

        await here.restart()

        await indexed(here, here.channel)
        await here.desk.link(here.channel, "PABC123", ana)
        assert list(await here.journal.rooms()) == [here.channel]


async def test_an_incident_that_is_over_starts_nothing() -> None:
    """Somebody shows the bot an old channel; what the service has is still offered, and says that it is over."""
    async with reception(services=SERVICES, incidents=Incidents(Incident(status="resolved"))) as here:
        channel = here.workspace.open_channel("inc-7", by=here.ana)
        here.workspace.describe(channel, topic=LINK)

        message = await announced(here, channel, "/capture host app-1,app-2")
        await here.press(message, "run-0", here.ana)

        await here.seen(
            lambda: any("ended with it" in one.text for one in here.workspace.ephemerals(channel, here.ana)) or None
        )
        assert not any(isinstance(event, Accepted) for event in await here.events())


async def test_a_link_to_an_incident_that_does_not_exist_is_passed_over() -> None:
    """Also where the bot may read neither bookmarks nor messages: the name tells enough to begin with."""
    async with reception(services=SERVICES, incidents=Incidents()) as here:
        for method in ("conversations.history", "bookmarks.list"):
            here.workspace.fail_next(method, Fault(error="missing_scope"))
        channel = here.workspace.open_channel(NAME, by=here.ana)
        here.workspace.describe(channel, topic=LINK)

        message = await announced(here, channel, "🏁 Ran at once: host")

        assert "PagerDuty incident" not in message.text
        assert here.rooms
        assert here.rooms.untold() == {}


async def called(here: Reception, *, minutes: float = 0.0) -> None:
    """PagerDuty calls about an incident of the service that began so long ago; what follows from that is done."""
    at = here.clock() - timedelta(minutes=minutes)
    call = Call(id="01OPENED", what="incident.triggered", at=at, incident="PABC123", title="Checkout is slow",
                status="triggered", service="PSVC1")  # fmt: skip
    heard = Heard(call=call, delivery="d0", at=here.clock())
    await here.journal.accept(heard)
    await Pages(here.desk, here.journal, now=here.clock).hear(heard)


async def test_a_call_that_comes_after_its_channel_starts_nothing_again() -> None:
    """Five minutes late, and long after nothing would be joined: the channel was known by its name alone."""
    known = Incidents(Incident())
    known.away = True
    async with reception(services=SERVICES, incidents=known) as here:
        channel = here.workspace.open_channel(NAME, by=here.ana)
        await announced(here, channel, "Service orders", "🏁 Ran at once: host")
        here.clock.pass_by(300)

        await called(here, minutes=5)
        await called(here, minutes=5)

        (accepted,) = await captured(here, 1)
        assert await here.journal.incidents_of(accepted.capture.id) == {"PABC123"}


async def test_a_channel_that_opens_after_its_call_starts_nothing_again() -> None:
    """Though PagerDuty does not answer now, and only its name tells what it is about."""
    known = Incidents(Incident())
    known.away = True
    async with reception(services=SERVICES, incidents=known) as here:
        await called(here)
        for one in here.desk.underway:
            await here.desk.wait_for(one.capture.id)
        here.clock.pass_by(240)

        channel = here.workspace.open_channel(NAME, by=here.ana)

        await announced(here, channel, "🏁 Ran at once: host")
        assert len([event for event in await here.events() if isinstance(event, Accepted)]) == 1

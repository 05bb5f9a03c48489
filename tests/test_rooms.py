"""An incident's channel opens: one announcement with buttons, once, whatever is delivered twice, late or after a restart."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest

from bot.errors import DeliveryFailed, UserError
from bot.model import Accepted, Call, Heard, Met, Place, Service
from bot.playground.workspace import Fault, Message
from bot.report.writing import Reports
from bot.reporters.pagerduty import render
from tests.fakes import Script, masked
from tests.reception import Reception, buttons, reception

pytestmark = pytest.mark.live  # each test starts a workspace, and a bot that connects to it

ORDERS = Service(
    name="orders",
    about="Orders and payments",
    pagerduty="PSVC1",
    targets=("app-1", "app-2"),
    first=("host",),
    offer=("threads", "core"),
    channels=("war-room-.*",),
)
SERVICES = {
    "orders": ORDERS,
    "billing": Service(name="billing", pagerduty="PSVC2", targets=("app-1",), first=("host",)),
}
NAME = "inc-1042-orders-slow"
LINK = "https://acme.pagerduty.com/incidents/PABC123"


@dataclass(frozen=True, kw_only=True)
class Incident:
    """One as PagerDuty answers."""

    id: str = "PABC123"
    number: int = 1042
    title: str = "Checkout is slow"
    status: str = "triggered"
    html_url: str = LINK
    service: str = "PSVC1"
    resolved_at: datetime | None = None


class Incidents:
    """Knows some, or is away."""

    def __init__(self, *known: Incident) -> None:
        self.known = known
        self.away = False

    async def incident(self, reference: str) -> Incident:
        if self.away:
            raise DeliveryFailed("PagerDuty did not answer.", retry_after=1.0)
        for one in self.known:
            if reference in (one.id, str(one.number)):
                return one
        raise UserError(f"PagerDuty has no incident {reference}.")


def posted(here: Reception, channel: str) -> list[Message]:
    """The announcements in a channel, oldest first."""
    found = here.workspace.messages(channel)
    return [one for one in found if one.metadata and one.metadata["event_payload"].get("piece") == "announcement"]


async def announced(here: Reception, channel: str, *words: str) -> Message:
    """The announcement of a channel, once it says all of *words*."""

    def look() -> Message | None:
        found = posted(here, channel)
        return found[0] if found and all(word in found[0].text for word in words) else None

    return await here.seen(look)


async def captured(here: Reception, count: int) -> list[Accepted]:
    """What was accepted, once that is *count* and all of it has ended."""
    await here.workspace.wait_for(lambda: len(here.desk.underway) == 0 and _ends(here) >= count, 5)
    return [event for event in await here.events() if isinstance(event, Accepted)]


def _ends(here: Reception) -> int:
    channels = here.workspace._state.channels
    return sum("complete" in one.text for channel in channels for one in here.workspace.messages(channel))


async def test_a_channel_opens_and_is_given_one_announcement() -> None:
    """What it is about, what runs, and what may be run with its cost; the first set has run by itself."""
    async with reception(services=SERVICES) as here:
        channel = here.workspace.open_channel(NAME, by=here.ana)

        message = await announced(here, channel, "Service orders")
        accepted = await captured(here, 1)

        assert buttons(message) == ["Host triage", "Core dump"]
        assert "Orders and payments · app-1, app-2" in message.text
        assert re.search("(▶️ Runs|🏁 Ran) at once: host", message.text)
        await announced(here, channel, "🏁 Ran at once: host")
        assert "/capture threads app-1,app-2 Host triage — light load on the target for a few seconds" in message.text
        assert "Core dump — pauses the target while it runs; its cost is measured first" in message.text
        assert [(one.capture.recipe, one.capture.targets) for one in accepted] == [("host", ("app-1", "app-2"))]
        assert accepted[0].capture.place
        assert accepted[0].capture.place.channel == channel


@pytest.mark.parametrize("where", ["topic", "purpose", "bookmark"])
async def test_the_incident_is_found_by_a_link(where: str) -> None:
    """Over the channel or in its bookmarks; the channel is then linked to it, and the service is PagerDuty's."""
    async with reception(services=SERVICES, incidents=Incidents(Incident(service="PSVC2"))) as here:
        channel = here.workspace.open_channel("inc-7", by=here.ana)
        here.workspace.describe(channel, **{where: f"see {LINK}"})

        message = await announced(here, channel, "Service billing")

        assert "Checkout is slow" in message.text
        assert f"<{LINK}|PagerDuty incident PABC123>" in message.text
        assert await here.journal.incident_of(channel) == "PABC123"


async def test_the_incident_is_found_in_the_first_messages() -> None:
    """Which tools post after they opened the channel."""
    looks = (0.05, 0.05, 0.1, 0.2, 0.4)
    async with reception(services=SERVICES, incidents=Incidents(Incident()), looks_after_s=looks) as here:
        channel = here.workspace.open_channel("inc-7", by=here.ana)
        await announced(here, channel, "Which service is it about?")
        here.workspace.post_as(here.workspace.add_app("PagerDuty"), channel, f"Triggered: <{LINK}|#1042>")

        message = await announced(here, channel, "Service orders")

        assert "Checkout is slow" in message.text
        assert len(posted(here, channel)) == 1


class Made:
    """Knows which incident a channel was made for, or is not allowed to say."""

    def __init__(self, incident: Incident | None) -> None:
        self.incident = incident

    async def incident_of(self, _: str) -> Incident | None:
        if self.incident is None:
            raise DeliveryFailed("The PagerDuty token may not read that.")
        return self.incident


@pytest.mark.parametrize("made", [Made(Incident()), Made(None)])
async def test_pagerduty_says_which_incident_a_channel_was_made_for(made: Made) -> None:
    """Where it may be asked; else the links tell."""
    async with reception(services=SERVICES, incidents=Incidents(Incident()), dedicated=made) as here:
        channel = here.workspace.open_channel("inc-7", by=here.ana)
        if made.incident is None:
            here.workspace.describe(channel, topic=LINK)

        await announced(here, channel, "Checkout is slow", "Service orders")

        assert await here.journal.incident_of(channel) == "PABC123"


async def test_the_incident_is_found_by_the_number_in_the_name() -> None:
    """Where a word of its title stands there too."""
    async with reception(services=SERVICES, incidents=Incidents(Incident())) as here:
        channel = here.workspace.open_channel("inc-1042-checkout", by=here.ana)

        await announced(here, channel, "Checkout is slow", "Service orders")

        assert await here.journal.incident_of(channel) == "PABC123"


async def test_what_a_webhook_started_is_not_started_again() -> None:
    """Whoever comes first starts the first set; the channel shows it."""
    async with reception(services=SERVICES, incidents=Incidents(Incident())) as here:
        channel = here.workspace.open_channel("inc-1042-checkout", by=here.ana)
        await captured(here, 1)
        again = here.workspace.open_channel("inc-1042-checkout-2", by=here.ana)

        await announced(here, again, "Checkout is slow")

        assert len(await captured(here, 1)) == 1
        assert channel != again


async def test_where_it_cannot_tell_it_asks() -> None:
    """With one menu; whoever chooses first settles it, and that starts the first set."""
    async with reception(services=SERVICES) as here:
        channel = here.workspace.open_channel("inc-7", by=here.ana)
        here.workspace.invite(channel, here.ben)
        message = await announced(here, channel, "Which service is it about?", "orders, billing")
        assert buttons(message) == ["Choose a service"]

        await here.press(message, "service", here.ana, value="orders")
        await here.press(message, "service", here.ben, value="billing")
        message = await announced(here, channel, "Service orders")
        (accepted,) = await captured(here, 1)
        (said,) = await here.seen(lambda: here.workspace.ephemerals(channel, here.ben))

        assert "ana settled that already: it is about `orders`." in said.text
        assert buttons(message) == ["Host triage", "Core dump"]
        assert accepted.capture.who.name == "ana"


async def test_a_press_starts_what_is_offered_once() -> None:
    """The announcement says who pressed; the button is gone, and a second press is told of the first."""
    async with reception(services=SERVICES) as here:
        channel = here.workspace.open_channel(NAME, by=here.ana, members={here.ben})
        message = await announced(here, channel, "Service orders")
        await captured(here, 1)

        await here.press(message, "run-0", here.ana)
        message = await announced(here, channel, "➡️ ana: /capture threads app-1,app-2")

        assert buttons(message) == ["Core dump"]
        assert len(await captured(here, 2)) == 2


async def test_a_heavy_one_is_offered_with_its_cost() -> None:
    """To whoever pressed, alone; nothing runs before they agree."""
    one = {"orders": replace(ORDERS, targets=("app-1",), first=())}
    async with reception(services=one) as here:
        channel = here.workspace.open_channel(NAME, by=here.ana)
        message = await announced(here, channel, "Service orders")

        await here.press(message, "run-1", here.ana)
        await here.seen(
            lambda: any("about 3 s" in one.text for one in here.workspace.ephemerals(channel, here.ana)) or None
        )
        assert not any(isinstance(event, Accepted) for event in await here.events())


async def test_buttons_die_with_their_incident() -> None:
    """The announcement says so, and a late press is told so."""
    async with reception(services=SERVICES, incidents=Incidents(Incident())) as here:
        channel = here.workspace.open_channel("inc-1042-checkout", by=here.ana)
        open_one = await announced(here, channel, "Checkout is slow")
        await captured(here, 1)

        await resolve(here)
        message = await announced(here, channel, "✅ Resolved: Checkout is slow")

        assert buttons(message) == []
        here.workspace._state.change(here.workspace._state.channels[channel], message, blocks=open_one.blocks)
        await here.press(message, "run-0", here.ana)
        await here.seen(
            lambda: (
                any("its buttons ended with it" in one.text for one in here.workspace.ephemerals(channel, here.ana))
                or None
            )
        )
        assert len(await captured(here, 1)) == 1


async def test_the_buttons_of_captures_die_too() -> None:
    """What a press would have run is said as it can be typed."""
    async with reception(services=SERVICES, incidents=Incidents(Incident())) as here:
        channel = here.workspace.open_channel("inc-1042-checkout", by=here.ana)
        await announced(here, channel, "Checkout is slow")
        await captured(here, 1)
        (root,) = (one for one in here.workspace.messages(channel) if "Run again" in buttons(one))
        await resolve(here)

        await here.press(root, "again", here.ana)

        await here.seen(
            lambda: (
                any("`/capture host app-1,app-2`" in one.text for one in here.workspace.ephemerals(channel, here.ana))
                or None
            )
        )
        assert len(await captured(here, 1)) == 1


async def resolve(here: Reception) -> Heard:
    """PagerDuty calls."""
    call = Call(
        id="01RESOLVED",
        what="incident.resolved",
        at=here.clock() + timedelta(minutes=1),
        incident="PABC123",
        title="Checkout is slow",
        status="resolved",
        service="PSVC1",
    )
    heard = Heard(call=call, delivery="d1", at=here.clock())
    await here.journal.accept(heard)
    return heard


# --- what others announce -------------------------------------------------------------------------


async def test_another_tools_announcement_gets_the_buttons_in_its_thread() -> None:
    """For the incident that it links to; what is pressed is told in the same thread, and belongs to the incident."""
    async with reception(services=SERVICES, incidents=Incidents(Incident())) as here:
        here.announcements.append(here.channel)
        parent = here.workspace.post_as(here.workspace.add_app("PagerDuty"), here.channel, f"Triggered: <{LINK}|#1042>")

        reply = await in_thread(here, parent, "Service orders")
        await here.press(reply, "run-0", here.ben)
        reply = await in_thread(here, parent, "➡️ ben: /capture threads")

        assert buttons(reply) == ["Core dump"]
        taken = next(
            one for one in await here.events() if isinstance(one, Accepted) and one.capture.recipe == "threads"
        )
        assert taken.capture.incident == "PABC123"
        assert taken.capture.place
        assert taken.capture.place.thread_ts == parent.ts
        assert await here.journal.incident_of(here.channel) is None


async def test_two_announcements_have_an_incident_each() -> None:
    """One ends, the other does not; neither is the channel's own."""
    second = Incident(id="PXYZ999", number=7, title="Invoices fail", service="PSVC2", html_url="")
    async with reception(services=SERVICES, incidents=Incidents(Incident(), second)) as here:
        here.announcements.append(here.channel)
        tool = here.workspace.add_app("incident.io")
        one = here.workspace.post_as(tool, here.channel, f"{LINK}")
        two = here.workspace.post_as(tool, here.channel, "https://acme.pagerduty.com/incidents/PXYZ999")
        await in_thread(here, one, "Service orders")
        await in_thread(here, two, "Service billing")

        await resolve(here)

        await in_thread(here, one, "✅ Resolved: Checkout is slow")
        assert "Invoices fail" in (await in_thread(here, two, "🚨")).text


async def test_what_is_no_announcement_is_left_alone() -> None:
    """People's words, replies, other channels, and what names neither an incident nor a service."""
    async with reception(services=SERVICES, incidents=Incidents(Incident())) as here:
        here.announcements.append(here.channel)
        tool = here.workspace.add_app("PagerDuty")
        elsewhere = here.workspace.add_channel("general")
        here.workspace.say(here.channel, here.ana, f"look at {LINK}")
        here.workspace.post_as(tool, here.channel, "Maintenance window begins")
        here.workspace.post_as(tool, elsewhere, LINK)

        last = here.workspace.post_as(tool, here.channel, "Triggered: orders are slow")
        await in_thread(here, last, "Service orders")

        assert set(await here.journal.rooms()) == {f"{here.channel} {last.ts}"}


async def in_thread(here: Reception, parent: Message, *words: str) -> Message:
    """The announcement below *parent*, once it says all of *words*."""

    def look() -> Message | None:
        found = [
            one for one in here.workspace.thread(here.channel, parent.ts)[1:] if all(word in one.text for word in words)
        ]
        return found[0] if found else None

    return await here.seen(look)


# --- the evidence's index, and the report ---------------------------------------------------------


async def indexed(here: Reception, channel: str, *words: str) -> Message:
    """The index of a channel, once it says all of *words*."""

    def look() -> Message | None:
        found = [
            one
            for one in here.workspace.messages(channel)
            if one.metadata and one.metadata["event_payload"].get("piece") == "index"
        ]
        assert len(found) <= 1
        return found[0] if found and all(word in f"{one_text(found[0])}" for word in words) else None

    return await here.seen(look)


def one_text(message: Message) -> str:
    """All that a message says."""
    leaves = [
        leaf for block in message.blocks if block["type"] == "rich_text" for leaf in block["elements"][0]["elements"]
    ]
    return "".join(leaf.get("text") or leaf["fallback"] for leaf in leaves)


async def test_the_index_is_pinned_and_kept_current() -> None:
    """Every capture with its first line and its files, also what PagerDuty started and what was pressed."""
    async with reception(services=SERVICES, ps=Script(pieces=(b"threads 812\n",))) as here:
        channel = here.workspace.open_channel(NAME, by=here.ana)
        message = await announced(here, channel, "Service orders")
        first = await indexed(here, channel, "1 capture, 2 files", "java (pid 812) uses 390 % CPU")

        await here.press(message, "run-0", here.ana)
        second = await indexed(here, channel, "2 captures, 4 files", "threads on app-1, app-2 · ")

        assert second.ts == first.ts
        assert second.pinned
        assert "ps.txt" in one_text(second)
        assert "manifest.json" in one_text(second)
        assert re.search(r"ps\.txt \(12 B, [0-9a-f]{8}\)", one_text(second))


async def test_a_missing_scope_costs_the_pin_only() -> None:
    """The index is read without it, too."""
    async with reception(services=SERVICES) as here:
        here.workspace.fail_next("pins.add", Fault(error="missing_scope"))
        channel = here.workspace.open_channel(NAME, by=here.ana)

        message = await indexed(here, channel, "1 capture, 2 files")

        assert not message.pinned


async def test_a_channel_linked_by_hand_gets_an_index_and_runs_nothing() -> None:
    """Nobody asked for captures with that; what the service has is offered."""
    async with reception(services=SERVICES, incidents=Incidents(Incident())) as here:
        channel = here.workspace.add_channel("war-rooms")
        await here.desk.link(channel, "PABC123", here.person)

        message = await announced(here, channel, "Service orders")

        assert buttons(message) == ["Host triage", "Host triage", "Core dump"]
        await here.press(message, "run-0", here.ana)
        await indexed(here, channel, "1 capture, 2 files")
        assert [one.capture.who.name for one in await captured(here, 1)] == ["ana"]


async def test_a_report_is_asked_for() -> None:
    """All of the channel as Markdown, in the store; the asker gets its address."""
    async with reception(services=SERVICES) as here:
        channel = here.workspace.open_channel(NAME, by=here.ana)
        await indexed(here, channel, "1 capture, 2 files")

        await here.workspace.command(channel, here.ana, "/capture report")
        said = await here.seen(
            lambda: next((one for one in here.workspace.ephemerals(channel, here.ana) if "📄" in one.text), None)
        )

        (key,) = (name for name in here.store.objects if name.endswith(".md"))
        text = here.store.objects[key].decode()
        assert key.rsplit("/", 1)[-1] in said.text
        assert text.startswith("# Evidence: \\#inc-1042-orders-slow")
        assert "host" in text


async def test_a_channel_without_evidence_has_no_report() -> None:
    """Said to whoever asks."""
    async with reception() as here:
        await here.workspace.command(here.channel, here.ana, "/capture report")

        await here.whisper(here.ana, "Nothing was captured here yet.")


async def test_a_resolved_incident_has_its_report_once() -> None:
    """Heard twice, or again after a restart: one document, linked from the story that the note tells."""
    async with reception(services=SERVICES, incidents=Incidents(Incident())) as here:
        channel = here.workspace.open_channel("inc-1042-checkout", by=here.ana)
        await indexed(here, channel, "1 capture, 2 files")
        (accepted,) = await captured(here, 1)
        heard = await resolve(here)

        for _ in range(3):
            await here.reports.hear(heard)

        told = await here.story(accepted.capture.id)
        assert told.report
        assert [name for name in here.store.objects if name.endswith(".md")] == [told.report.key]
        assert "PagerDuty incident PABC123" in here.store.objects[told.report.key].decode()
        assert told.report.url in render("PABC123", [told])


async def test_a_store_that_refuses_is_asked_again_for_the_report() -> None:
    """Nobody waits for it, so it may take its time."""
    async with reception(services=SERVICES, incidents=Incidents(Incident())) as here:
        channel = here.workspace.open_channel("inc-1042-checkout", by=here.ana)
        await indexed(here, channel, "1 capture, 2 files")
        heard = await resolve(here)
        here.store.away = True

        async def comes_back(_: float) -> None:
            here.store.away = False

        reports = Reports(here.journal, here.store, prefix="", mask=masked, now=here.clock, sleep=comes_back)
        await reports.hear(heard)

        assert any(name.endswith(".md") for name in here.store.objects)


# --- once, whatever happens -----------------------------------------------------------------------


async def test_every_event_twice_is_one_announcement_and_one_run() -> None:
    """As the Events API delivers: at least once."""
    async with reception(services=SERVICES) as here:
        here.workspace.sockets.duplicate_next(3)
        channel = here.workspace.open_channel(NAME, by=here.ana)

        await announced(here, channel, "Service orders")
        accepted = await captured(here, 1)

        assert len(posted(here, channel)) == 1
        assert len(accepted) == 1


async def test_a_restart_goes_on_where_the_announcement_was() -> None:
    """Also when it was posted and the answer was lost: it is found by its mark, and edited from then on."""
    async with reception(services=SERVICES) as here:
        here.workspace.fail_next("chat.postMessage", Fault(status=500, after_work=True))
        channel = here.workspace.open_channel("inc-7", by=here.ana)
        message = await announced(here, channel, "Which service is it about?")
        await here.untold(f"rooms {channel}")

        await here.restart()
        await here.press(message, "service", here.ana, value="orders")

        await announced(here, channel, "Service orders")
        assert len(await captured(here, 1)) == 1
        assert len(posted(here, channel)) == 1


async def test_what_was_heard_before_a_crash_is_done_after_it() -> None:
    """The room was in the journal before Slack's event was acknowledged."""
    async with reception(services=SERVICES) as here:
        channel = here.workspace.add_channel(NAME)
        await here.bot.aclose()
        await here.journal.accept(Met(place=Place(channel=channel, channel_name=NAME), at=here.clock()))

        await here.restart()

        await announced(here, channel, "Service orders")
        assert len(await captured(here, 1)) == 1


async def test_another_process_takes_over_the_rooms_of_a_dead_one() -> None:
    """Which met the channel and did no more."""
    async with reception(services=SERVICES) as here:
        channel = here.workspace.add_channel(NAME)
        await here.bot.aclose()
        await here.journal.accept(Met(place=Place(channel=channel, channel_name=NAME), at=here.clock()))
        here.journal.owner = "another"
        await here.journal.beat(here.clock())
        here.gone.add("me")

        await here.restart()

        await announced(here, channel, "Service orders")
        ((_, holder),) = (await here.journal.rooms()).values()
        assert holder.owner == "another"


async def test_the_rooms_of_a_living_process_are_its_own() -> None:
    """Two bots on one journal do not both announce."""
    async with reception(services=SERVICES) as here:
        channel, mine = here.workspace.add_channel(NAME), here.workspace.add_channel("inc-7-orders")
        await here.bot.aclose()
        await here.journal.beat(here.clock())
        await here.journal.accept(Met(place=Place(channel=channel, channel_name=NAME), at=here.clock()))
        here.journal.owner = "another"
        await here.journal.accept(Met(place=Place(channel=mine, channel_name="inc-7-orders"), at=here.clock()))

        await here.restart()

        await announced(here, mine, "Service orders")
        assert posted(here, channel) == []


async def test_a_press_that_joins_what_runs_counts_too() -> None:
    """The button is gone, and the announcement names the capture that was joined."""
    async with reception(services=SERVICES) as here:
        channel = here.workspace.open_channel(NAME, by=here.ana)
        await captured(here, 1)
        await here.workspace.command(here.channel, here.ben, "/capture threads app-1,app-2")
        await captured(here, 2)
        message = await announced(here, channel, "Service orders")

        await here.press(message, "run-0", here.ana)
        message = await announced(here, channel, "➡️ ana: /capture threads app-1,app-2")

        assert buttons(message) == ["Core dump"]
        await indexed(here, channel, "2 captures")
        assert len(await captured(here, 2)) == 2


async def test_a_placeholder_that_gets_its_name_becomes_a_room() -> None:
    """Tools create channels and rename them; the id stays."""
    async with reception(services=SERVICES) as here:
        channel = here.workspace.open_channel("placeholder-7", by=here.ana)
        here.workspace.rename_channel(channel, "inc-7-checkout")
        await announced(here, channel, "Which service is it about?")

        here.workspace.rename_channel(channel, "inc-7-orders")
        await announced(here, channel, "Service orders")
        here.workspace.rename_channel(channel, "inc-7-orders-down")
        accepted = await captured(here, 1)

        assert len(posted(here, channel)) == 1
        assert len(accepted) == 1


async def test_a_private_channel_is_met_when_the_bot_is_invited() -> None:
    """Slack tells of it in no other way."""
    async with reception(services=SERVICES) as here:
        channel = here.workspace.open_channel(NAME, by=here.ana, private=True)
        here.workspace.invite(channel, here.workspace.bot_user_id, by=here.ana)

        message = await announced(here, channel, "Service orders")

        assert buttons(message) == ["Host triage", "Core dump"]


@pytest.mark.parametrize("name", ["inc-1042-orders-comms", "incident-announcements", "general-chatter"])
async def test_other_channels_are_left_alone(name: str) -> None:
    """The bot does not even join them."""
    async with reception(services=SERVICES) as here:
        here.workspace.open_channel(name, by=here.ana)
        channel = here.workspace.open_channel(NAME, by=here.ana)

        await announced(here, channel, "Service orders")

        joined = [call.args["channel"] for call in here.workspace.calls if call.method == "conversations.join"]
        assert joined == [channel]


# --- what goes wrong ------------------------------------------------------------------------------


async def test_pagerduty_away_does_not_hold_the_announcement_up() -> None:
    """What the name tells is enough to begin with."""
    incidents = Incidents(Incident())
    incidents.away = True
    async with reception(services=SERVICES, incidents=incidents, looks_after_s=(0.05,) * 10) as here:
        channel = here.workspace.open_channel("inc-1042-orders-checkout", by=here.ana)
        await announced(here, channel, "Service orders")

        incidents.away = False

        await announced(here, channel, "PagerDuty incident PABC123")
        assert len(await captured(here, 1)) == 1


async def test_an_archived_channel_is_given_up() -> None:
    """What is wrong is told by `/capture status`; nothing else stands still."""
    async with reception(services=SERVICES) as here:
        channel = here.workspace.add_channel(NAME, members=[here.ana])
        here.workspace.archive_channel(channel)
        here.workspace.emit({"type": "channel_created", "channel": {"id": channel, "name": NAME}})
        other = here.workspace.open_channel("inc-7-orders", by=here.ana)

        await announced(here, other, "Service orders")

        assert posted(here, channel) == []
        assert "is_archived" in (await here.untold(f"rooms {channel}"))


async def test_what_people_delete_stays_away() -> None:
    """An announcement that somebody deleted is not posted again."""
    async with reception(services=SERVICES, incidents=Incidents(Incident())) as here:
        channel = here.workspace.open_channel("inc-1042-checkout", by=here.ana)
        message = await announced(here, channel, "Checkout is slow")
        await captured(here, 1)
        here.workspace.delete(channel, message.ts)

        await resolve(here)
        await here.workspace.wait_for(lambda: _answers(here, "chat.update", "message_not_found"), 5)

        assert posted(here, channel) == []


async def test_a_kicked_bot_says_how_to_let_it_in_again() -> None:
    """And goes on where it was."""
    async with reception(services=SERVICES) as here:
        channel = here.workspace.open_channel(NAME, by=here.ana, private=True)
        here.workspace.fail_next("chat.postMessage", Fault(error="not_in_channel"))
        here.workspace.invite(channel, here.workspace.bot_user_id, by=here.ana)

        assert "/invite @capturebot" in await here.untold(f"rooms {channel}")


def _answers(here: Reception, method: str, error: str) -> bool:
    return any(call.method == method and call.error == error for call in here.workspace.calls)

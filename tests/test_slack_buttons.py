"""Buttons under a capture: what a press starts, that it starts it once, and that a forged one starts nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from bot.model import Accepted, Joined, NoteWritten, Refused, State, StepFinished
from bot.reporters.pagerduty import PagerDutyNote
from bot.reporters.telling import Teller
from bot.slack.answers import Answer
from bot.slack.presses import read
from tests.fakes import Script, an_artifact
from tests.reception import RECIPES, WITHIN_S, Reception, buttons, reception
from tests.test_notes import Written

pytestmark = pytest.mark.live  # each test starts a workspace, and a bot that connects to it

LEADS = Script(pieces=(b"threads 812\n",))


def names(here: Reception) -> list[str]:
    """The recipes whose captures' messages stand in the channel."""
    return [message.text.splitlines()[1].split()[1] for message in here.roots]


async def captures(here: Reception) -> list[str]:
    """The recipes of every capture that was accepted."""
    return [event.capture.recipe for event in await here.events() if isinstance(event, Accepted)]


async def forge(here: Reception, action_id: str, value: str, *, user: str = "", channel: str = "") -> Answer:
    """Press what no message of ours shows; return the last answer."""
    said: list[Answer] = []

    async def say(answer: Answer) -> None:
        said.append(answer)

    body: dict[str, Any] = {
        "type": "block_actions",
        "user": {"id": user or here.ben, "name": "ben"},
        "channel": {"id": channel or here.channel, "name": "inc-1042"},
        "container": {"message_ts": "1.2"},
        "actions": [{"action_id": action_id, "value": value}],
    }
    await here.clerk.press(read(body), say)
    return said[-1]


# --- next steps -------------------------------------------------------------------------------


async def test_a_suggestion_is_one_press_away() -> None:
    """It runs on the same target in the same channel, and both messages say who pressed."""
    async with reception(ps=LEADS) as here:
        first = await here.capture()
        assert buttons(first) == ["Look into 812", "Run again", "Get files"]

        await here.press(first, "next-0", here.ben)

        second = await here.root(1, "complete", "asked by ben")
        first = await here.root(0, "➡️ ben: /capture threads app-1 pid=812")
        capture = (await here.of(second)).capture
        assert buttons(first) == ["Run again", "Get files"]
        assert (capture.recipe, capture.targets, capture.parameters["pid"]) == ("threads", ("app-1",), 812)
        assert capture.id in first.text
        assert "started" not in "".join(one.text for one in here.whispers(here.ana)[1:])


async def test_the_text_says_what_the_buttons_do() -> None:
    """A phone's notification and a screen reader have no buttons."""
    async with reception(ps=LEADS) as here:
        first = await here.capture()

        assert "Next: /capture threads app-1 pid=812 (Look into 812)" in first.text
        assert "Next: " not in str(first.blocks)


async def test_two_people_who_press_the_same_start_one_run() -> None:
    """The second is told who was quicker."""
    async with reception(ps=LEADS) as here:
        first = await here.capture()

        await here.press(first, "next-0", here.ben)
        await forge(here, "next-0", first.blocks[1]["elements"][0]["value"], user=here.ana)
        again = await forge(here, "next-0", first.blocks[1]["elements"][0]["value"])

        assert "ben started that already" in again.text
        await here.root(1, "complete")
        assert await captures(here) == ["host", "threads"]


async def test_what_is_pressed_in_a_thread_stands_in_that_thread() -> None:
    """Its details too: a reply has no thread of its own."""
    rows = b"".join(f"threads {pid}\n".encode() for pid in range(1, 7))
    async with reception(ps=Script(pieces=(rows,))) as here:
        first = await here.capture()
        (findings,) = await here.seen(lambda: here.replies(first))
        assert len(buttons(first)) == 7
        assert len(buttons(findings)) == 6

        await here.press(findings, "next-5", here.ben)

        replies = await here.seen(lambda: replies if len(replies := here.replies(first)) == 3 else None)
        assert "asked by ben" in replies[1].text
        assert {reply.thread_ts for reply in replies} == {first.ts}
        assert "in this thread" in (await here.whisper(here.ben, "🕓")).text
        assert names(here) == ["host"]


async def test_many_candidates_become_a_menu() -> None:
    """Over ten there is one menu in the thread; a choice is a press."""
    rows = b"".join(f"- {pid}\n".encode() for pid in range(1, 16))
    async with reception(jstack=Script(pieces=(rows,))) as here:
        first = await here.capture("/capture threads app-1 app=orders")
        (findings,) = await here.seen(lambda: here.replies(first))
        assert buttons(findings) == ["Choose one of 15"]
        value = findings.blocks[1]["elements"][0]["options"][14]["value"]

        await here.press(findings, "next", here.ben, value=value)

        await here.seen(lambda: len(here.replies(first)) > 1)
        (capture_id, _) = await here.journal.recent()
        assert (await here.story(capture_id)).capture.parameters == {"pid": 15, "app": "orders"}


# --- stop, run again --------------------------------------------------------------------------


async def test_stop_needs_no_second_thought() -> None:
    """The message says at once who stops it, and the button is gone."""
    async with reception(ps=Script(hangs=True)) as here:
        await here.workspace.command(here.channel, here.ana, "/capture host app-1")
        running = await here.root(0, "running")
        await here.transport.wait_for_start(1)
        assert buttons(running) == ["Stop"]

        await here.press(running, "stop", here.ben)

        ended = await here.root(0, "✋")
        assert buttons(ended) == ["Run again", "Get files"]
        told = await here.of(ended)
        assert (told.state, told.stop_asked_by and told.stop_asked_by.name) == (State.STOPPED, "ben")
        late = await forge(here, "stop", told.capture.id)
        assert "has ended already" in late.text


async def test_run_again_takes_the_same_once() -> None:
    """Whoever wants it once more presses the newer one."""
    async with reception() as here:
        first = await here.capture("/capture threads app-1 pid=7")
        again = first.blocks[-1]["elements"][0]["value"]

        await here.press(first, "again", here.ben)
        await here.root(1, "complete")
        said = await forge(here, "again", again)

        assert "ben started that already" in said.text
        assert (await here.of(here.roots[1])).capture.parameters == {"pid": 7, "app": ""}
        assert buttons(await here.root(0, "➡️ ben")) == ["Get files"]


# --- files, PagerDuty -------------------------------------------------------------------------


async def test_files_are_listed_for_the_presser_alone() -> None:
    """All of them, a page at a time; turning it replaces the page before."""
    rows = b"".join(f"threads {pid}\n".encode() for pid in range(1, 7))
    async with reception(ps=Script(pieces=(rows,))) as here:
        first = await here.capture()

        await here.press(first, "files", here.ben)

        page = await here.whisper(here.ben, "📁 2 files of ")
        assert "ps.txt (" in page.text
        assert "manifest.json (" in page.text
        assert not [one for one in here.whispers(here.ana) if "📁" in one.text]


async def test_pages_of_files_are_turned_in_place() -> None:
    """There is one message, however many files there are."""
    async with reception() as here:
        first = await here.capture()
        told = await here.of(first)
        (result,) = told.results
        left = tuple(an_artifact(f"{told.capture.prefix}{n}-{'x' * 100}.txt") for n in range(40))
        news = StepFinished(capture_id=told.capture.id, result=replace(result, files=left), at=here.clock())
        await here.journal.append(news)
        await here.press(first, "files", here.ana)
        page = await here.whisper(here.ana, "page 1 of ")

        await here.press(page, "files-1", here.ana)

        turned = await here.whisper(here.ana, "page 2 of ")
        assert (turned.ts, buttons(turned)) == (page.ts, ["Earlier files", "More files"])


class OneIncident:
    """PagerDuty knows one incident."""

    id, number, title, status, service = "PABC123", 1042, "Checkout is slow", "triggered", "PSVC1"
    html_url = "https://acme.pagerduty.com/incidents/PABC123"
    resolved_at = None

    async def incident(self, reference: str) -> OneIncident:
        return self


async def test_what_belongs_to_no_incident_says_how_to_link_its_channel() -> None:
    """Then everything that was captured there is told in the note, and the button says so."""
    async with reception(incidents=OneIncident()) as here, note_of(here) as notes:
        first = await here.capture()
        assert buttons(first) == ["Run again", "Get files", "Send to PagerDuty"]
        await here.press(first, "send", here.ben)
        assert "Type `/capture link INCIDENT`" in (await here.whisper(here.ben, "❌ This channel belongs to no")).text

        await here.workspace.command(here.channel, here.ana, "/capture link PABC123")
        await here.whisper(here.ana, "🔗")
        await noted(here, "PABC123")
        await here.press(first, "send", here.ben)

        assert (
            "stands in the note of PagerDuty incident PABC123 that ends with `capturebot / incident PABC123`"
            in (await here.whisper(here.ben, "📝")).text
        )
        assert len(notes.notes) == 1


async def test_what_belongs_to_another_incident_is_told_in_that_of_the_channel_too() -> None:
    """Once, however often it is pressed; the story says who sent it there."""
    async with reception(incidents=OneIncident()) as here, note_of(here) as notes:
        await here.desk.link(here.channel, "POLD001", here.person)
        first = await here.capture()
        await noted(here, "POLD001")
        await here.desk.link(here.channel, "PABC123", here.person)

        await here.press(first, "send", here.ben)

        said = await here.whisper(here.ben, "📝")
        assert "will stand in the note of PagerDuty incident PABC123" in said.text
        await noted(here, "PABC123")
        again = await forge(here, "send", (await here.of(first)).capture.id)
        assert (
            "stands in the note of PagerDuty incident PABC123 that ends with `capturebot / incident PABC123`"
            in again.text
        )
        assert len(notes.notes) == 2
        assert len([event for event in await here.events() if isinstance(event, Joined)]) == 1


@asynccontextmanager
async def note_of(here: Reception) -> AsyncIterator[Written]:
    """What PagerDuty's notes become."""
    notes = Written()
    reporter = PagerDutyNote(notes)
    reporter.pause_s = 0.0
    teller = Teller(here.journal, [reporter], now=here.clock)
    await teller.start()
    try:
        yield notes
    finally:
        await teller.close()


async def noted(here: Reception, incident: str) -> None:
    """Return when the incident's note tells an end."""
    async with asyncio.timeout(WITHIN_S):
        while not [
            event for event in await here.events() if isinstance(event, NoteWritten) and event.incident == incident
        ]:
            await here.journal.wait_beyond(here.journal.last, within_s=WITHIN_S)


# --- forged and stale -------------------------------------------------------------------------


FORGED = [
    ("next-0", "{id} 0 ps 0 1"),
    ("next-0", "{id} 0 ps 7 0"),
    ("next-0", "{id} 1 ps 0 0"),
    ("next-0", "{id} 0 df 0 0"),
    ("next-0", "{id} 0 ps 0 0 "),
    ("next-0", "{id} -1 ps -1 -1"),
    ("next-0", "{id}"),
    ("next-0", "zzzzzz 0 ps 0 0"),
    ("next-0", ""),
    ("next-0", "threads app-1 pid=1; reboot"),
    ("next-0", "{" * 3000),
    ("again", "zzzzzz"),
    ("again", "offer 1"),
    ("stop", "*"),
    ("files", "{id} 1"),
    ("files-0", "{id} -1"),
    ("files", "zzzzzz"),
    ("send", "{id}"),
    ("send", "*"),
    ("agree", "{id}"),
    ("agree", "' OR 1=1 --"),
    ("choose-0", "{id} 0"),
    ("reboot", "{id}"),
    ("", ""),
]


async def test_a_forged_value_starts_nothing() -> None:
    """It is answered clearly, to whoever pressed."""
    async with reception(ps=LEADS) as here:
        first = await here.capture()
        capture_id = (await here.of(first)).capture.id

        for action_id, value in FORGED:
            said = await forge(here, action_id, value.replace("{id}", capture_id))
            assert said.text.startswith("❌ "), (action_id, value)

        assert await captures(here) == ["host"]


async def test_a_button_of_another_channel_is_not_known() -> None:
    """Its value was copied from a message that the presser may not be allowed to see."""
    async with reception(ps=LEADS) as here:
        first = await here.capture()
        other = here.workspace.add_channel("payments")

        elements = [element for block in first.blocks[1:] for element in block["elements"]]
        for element, action in zip([*elements, elements[-1]], ("next-0", "again", "files", "send"), strict=True):
            assert "not known here" in (await forge(here, action, element["value"], channel=other)).text

        assert await captures(here) == ["host"]


async def test_a_suggestion_is_checked_anew_when_it_is_pressed() -> None:
    """The recipe may be gone by then, or take no such value: that is refused, kept, and may be pressed again."""
    async with reception(ps=Script(pieces=(b"thread 812\n",))) as here:
        first = await here.capture()

        await here.press(first, "next-0", here.ben)

        said = await here.whisper(here.ben, "❌")
        assert said.text == "❌ There is no recipe `thread`. Did you mean `threads`?"
        assert [type(event) for event in await here.events()][-1] is Refused
        assert buttons(here.roots[0]) == ["Look into 812", "Run again", "Get files"]


# --- cost before the click --------------------------------------------------------------------


async def test_a_cost_is_measured_said_and_agreed_to() -> None:
    """Nothing runs before; the thread's first message says what was promised."""
    async with reception() as here:
        await here.workspace.command(here.channel, here.ana, "/capture core app-1 app=orders-api")
        offered = await here.whisper(here.ana, "⚖️")
        sentence = (
            "stops orders-api (pid 812) for about 3 s, writes 1.4 GB to /var/tmp (40 GB free), uploads in about 10 s"
        )
        assert offered.text.startswith(f"⚖️ core on app-1: {sentence}.")
        now, _cancel = offered.blocks[1]["elements"]
        assert (now["style"], now["confirm"]["text"]["text"]) == ("danger", f"It {sentence}.")
        assert await captures(here) == []

        await here.press(offered, "agree", here.ana)

        root = await here.root(0, "complete")
        assert f"⚖️ Agreed to: {sentence}" in root.text
        assert (await here.of(root)).capture.cost == sentence
        started = await here.whisper(here.ana, "🕓")
        assert (started.ts, buttons(started)) == (offered.ts, [])
        assert "ana started that already" in (await forge(here, "agree", now["value"], user=here.ana)).text
        assert await captures(here) == ["core"]


async def test_what_is_declined_does_not_run() -> None:
    """The offer goes away."""
    async with reception() as here:
        await here.workspace.command(here.channel, here.ana, "/capture core app-1 pid=812")
        offered = await here.whisper(here.ana, "⚖️")

        await here.press(offered, "decline", here.ana)

        assert buttons(await here.whisper(here.ana, "Nothing was captured")) == []
        assert await captures(here) == []


async def test_an_offer_is_its_askers_and_holds_for_five_minutes() -> None:
    """And for the recipe as it was measured."""
    async with reception() as here:
        await here.workspace.command(here.channel, here.ana, "/capture core app-1 pid=812")
        offer_id = (await here.whisper(here.ana, "⚖️")).blocks[1]["elements"][0]["value"]

        others = await forge(here, "agree", offer_id, user=here.ben)
        here.desk.recipes = {**RECIPES, "core": replace(RECIPES["core"], digest="e" * 64)}
        changed = await forge(here, "agree", offer_id, user=here.ana)
        here.clock.pass_by(301)
        late = await forge(here, "agree", offer_id, user=here.ana)

        assert "This was offered to ana." in others.text
        assert "has changed since" in changed.text
        assert "more than 5 minutes ago. Ask again: `/capture core app-1 pid=812`." in late.text
        assert await captures(here) == []


async def test_a_suggestion_that_hurts_is_offered_first() -> None:
    """Two people may be offered the same; one of them runs it."""
    async with reception(ps=Script(pieces=(b"core 812\n",))) as here:
        first = await here.capture()
        await here.press(first, "next-0", here.ana)
        await here.press(first, "next-0", here.ben)
        offers = [await here.whisper(user, "⚖️") for user in (here.ana, here.ben)]

        await here.press(offers[0], "agree", here.ana)
        await here.root(1, "complete")
        await here.press(offers[1], "agree", here.ben)

        assert await here.whisper(here.ben, "ana started that already")
        assert await captures(here) == ["host", "core"]
        assert buttons(await here.root(0, "➡️ ana")) == ["Run again", "Get files"]


async def test_what_the_target_cannot_afford_is_refused_with_the_numbers() -> None:
    """And with what would help."""
    full = Script(
        pieces=(b"what=api\nwrites_bytes=1400000000\npath=/var/tmp\nfree_bytes=900000000\ntotal_bytes=50000000000\n",)
    )
    async with reception(cost=full) as here:
        await here.workspace.command(here.channel, here.ana, "/capture core app-1 pid=812")

        said = await here.whisper(here.ana, "❌")
        assert said.text == (
            "❌ app-1: It would write about 1.4 GB to /var/tmp, where 900 MB are free: 1.7 GB are needed to be safe, "
            "and 2.5 GB must stay free. Free 3.3 GB more, or take a smaller capture."
        )
        assert [event.type for event in await here.events()] == ["probed", "refused"]


async def test_only_a_measurement_that_takes_long_is_announced() -> None:
    """Nothing takes the words away again once the cost stands below them."""
    async with reception() as here:
        await here.workspace.command(here.channel, here.ana, "/capture core app-1 pid=812")
        await here.whisper(here.ana, "⚖️")
        quick = [one.text for one in here.whispers(here.ana)]
        here.transport.scripts = {"cost": Script(hangs=True)}
        await here.workspace.command(here.channel, here.ben, "/capture core app-2 pid=812")

        await here.whisper(here.ben, "Measuring what `core` would cost app-2")

        assert len(quick) == 1


async def test_what_cannot_be_measured_is_not_started() -> None:
    """It is said as the failure that it is."""
    async with reception(cost=Script(pieces=(b"hello\n",))) as here:
        await here.workspace.command(here.channel, here.ana, "/capture core app-1 pid=812")

        said = await here.whisper(here.ana, "❌")
        assert "What this costs on app-1 could not be measured: its script said nothing of it." in said.text
        assert await captures(here) == []


async def test_several_processes_are_offered_to_choose_from_first() -> None:
    """The one that is chosen is measured, and then offered."""
    table = b"### candidates at=2026-11-23T00:00:00+00:00 number=2 kind=Java\npid\tapp\tcpu_now\n812\torders-api\t97\n900\tother\t1\n"
    async with reception(cost=Script(pieces=(table,))) as here:
        await here.workspace.command(here.channel, here.ana, "/capture core app-1 app=o")
        asked = await here.whisper(here.ana, "Which one?")
        assert buttons(asked) == ["812 orders-api, 97 % CPU", "900 other, 1 % CPU"]
        here.transport.scripts = {"cost": Script(pieces=(b"what=orders-api (pid 812)\npause_s=2\n",))}

        await here.press(asked, "choose-0", here.ana)
        offered = await here.whisper(here.ana, "⚖️")
        assert offered.ts == asked.ts  # in the place of the question
        await here.press(offered, "agree", here.ana)

        root = await here.root(0, "complete")
        assert (await here.of(root)).capture.parameters == {"pid": 812, "app": "o"}

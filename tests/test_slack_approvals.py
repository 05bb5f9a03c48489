"""Requests for an approval and budgets as people in Slack see them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.model import Budget, Budgets, Place, Policy, Rule, Scope
from bot.playground.workspace import Fault, Message
from bot.reporters.pagerduty import render
from tests.fakes import Script, a_trigger
from tests.reception import Reception, buttons, reception
from tests.test_approvals import ALLOWING, wanting

pytestmark = pytest.mark.thorough

COMMAND = "/capture core app-1 app=orders-api"
SENTENCE = "tops orders-api (pid 812) for about 3 s, writes 1.4 GB to /var/tmp (40 GB free), uploads in about 10 s"
BEN_ID = "U00000002P"  # the second person of the workspace
QUIET = Script(pieces=(b"quiet\n",))


@asynccontextmanager
async def opened(*rules: Rule) -> AsyncIterator[Reception]:
    """Ana is on call, ben is a lead; dumps need an approval, where *rules* do not say otherwise."""
    policy = Policy(rules=rules or (wanting("@oncall"), *ALLOWING))
    async with reception(policy=policy, gcore=QUIET, ps=QUIET) as here:
        here.workspace.set_group("oncall", here.ana)
        here.workspace.set_group("leads", here.ben)
        yield here


async def asked(here: Reception, n: int = 0, *, line: str = COMMAND) -> Message:
    """Ana asks for a core; the request in the channel."""
    await here.workspace.command(here.channel, here.ana, line)
    offered = await here.whisper(here.ana, "Somebody else must approve of it too.")
    await here.press(offered, "agree", here.ana)
    return await here.root(n, "asks to capture core")


def is_said(here: Reception, channel: str, words: str) -> bool:
    """Whether ben has been told that."""
    return any(words in one.text for one in here.workspace.ephemerals(channel, here.ben))


async def test_a_core_is_asked_for_approved_and_taken() -> None:
    """The request names what it costs, what runs, what it is bound to, and who may approve; the thread says who did."""
    async with opened() as here:
        await here.workspace.command(here.channel, here.ana, COMMAND)
        offered = await here.whisper(here.ana, "⚖️")
        assert buttons(offered) == ["Ask for approval", "Cancel"]
        await here.press(offered, "agree", here.ana)

        request = await here.root(0, "asks to capture core")
        digest = (await here.desk.requests.find(request.blocks[1]["elements"][0]["value"])).asked.seal.digest
        for words in [
            "🔏 ana asks to capture core on app-1",
            f"⚖️ Pauses the target while it runs: s{SENTENCE}. The rule 'dumps' (line 1) wants an approval first.",
            "Runs: PARAM_APP=orders-api PARAM_PID=0 bash it.sh",
            f"Digest {digest[:12]}, over what runs, how app-1 is reached, pid=0, app=orders-api, and no incident",
            "May approve, but not ana: @leads. Until <!date^",
            "It was asked for by /capture core app-1 app=orders-api",
        ]:
            assert words in request.text
        assert buttons(request) == ["Approve", "Deny", "Break glass …"]
        assert "🔏 Somebody else must approve of /capture core app-1" in (await here.whisper(here.ana, "🔏")).text

        await here.press(request, "approve", here.ben)

        root = await here.root(1, "core on app-1: complete")
        assert "🔏 Approved by ben" in root.text
        assert "asked by ana" in root.text
        ended = await here.root(0, "✅ core on app-1, asked for by ana, was approved by ben.")
        assert buttons(ended) == []
        assert "runs: Core dump on app-1" in (await here.whisper(here.ben, "🕓")).text
        assert "🔏 Approved by ben" in render("PABC123", [await here.of(root)])


async def test_it_stands_in_the_thread_in_which_it_was_asked() -> None:
    """So that those who deal with it see it there; what runs is told there too, and a broken glass in the channel."""
    async with opened() as here:
        parent = here.workspace.say(here.channel, here.ben, "Orders are slow")
        place = Place(channel=here.channel, thread_ts=parent.ts)
        offered = await here.desk.offer(a_trigger("core", "app-1", who=here.person, place=place))
        assert offered
        await here.desk.take(offered.trigger)
        request = await here.seen(lambda: next(iter(here.replies(parent)), None))
        assert "asks to capture core" in request.text

        await here.press(request, "glass", here.ana)
        await here.seen(lambda: here.workspace.views(here.ana))
        await here.workspace.submit(here.ana, {"reason": "Checkout is down"})

        assert await here.seen(lambda: "🚨 Without approval" in str([one.text for one in here.replies(parent)]))
        assert await here.root(0, "🚨 ana broke the glass: core on app-1 runs")
        assert "runs: Core dump" in (await here.whisper(here.ana, "🕓")).text


async def test_people_whom_rules_name_by_id_are_shown_by_name() -> None:
    """Nobody is called by it."""
    rule = replace(ALLOWING[1], name="ben approves", who=(BEN_ID,))
    async with opened(wanting("@oncall"), ALLOWING[0], rule) as here:
        assert here.ben == BEN_ID

        request = await asked(here)

        assert "May approve, but not ana: ben. Until" in request.text
        assert f"May approve: <@{here.ben}>." in (await here.whisper(here.ana, "🔏")).text


async def test_the_asker_cannot_approve_and_is_told_who_can() -> None:
    """Nothing runs, and the request waits on."""
    async with opened() as here:
        request = await asked(here)
        here.workspace.change_user(here.ana, name="ben2")

        await here.press(request, "approve", here.ana)

        said = await here.whisper(here.ana, "❌")
        assert said.text == "❌ You asked for it, so somebody else has to approve. Those who may approve: @leads."
        assert buttons(here.roots[0]) == ["Approve", "Deny", "Break glass …"]


async def test_the_status_says_what_waits_for_an_approval() -> None:
    """In the channel in which it was asked, until it has ended."""
    async with opened() as here:
        request = await asked(here)
        await here.workspace.command(here.channel, here.ben, "/capture status")
        waits = await here.whisper(here.ben, "🔏 core on app-1, asked for by ana, waits for an approval until <!date^")
        assert "Nothing was captured yet." in waits.text
        other = here.workspace.add_channel("elsewhere")
        await here.workspace.command(other, here.ben, "/capture status")
        assert await here.seen(partial(is_said, here, other, "Nothing was captured yet."))
        assert not is_said(here, other, "🔏")

        await here.press(request, "deny", here.ana)
        await here.root(0, "was taken back by ana")

        assert await here.desk.requests.waiting(here.channel) == []


async def test_a_denial_is_shown_with_who_and_when() -> None:
    """And the buttons go."""
    async with opened() as here:
        request = await asked(here)

        await here.press(request, "deny", here.ben)

        ended = await here.root(0, "⛔ core on app-1, asked for by ana, was denied by ben. <!date^")
        assert buttons(ended) == []
        for person in (here.ana, here.ben):
            assert (await here.whisper(person, "⛔")).text == "⛔ core on app-1 was denied by ben."
        assert len(here.roots) == 1


async def test_a_broken_glass_is_loud() -> None:
    """In a message of its own for the whole channel, in the capture's own, and in the incident's note."""
    async with opened() as here:
        request = await asked(here)
        await here.press(request, "glass", here.ana)
        await here.seen(lambda: here.workspace.views(here.ana))

        await here.workspace.submit(here.ana, {"reason": "Checkout is down, ben does not answer, hunter2"})

        root = await here.seen(lambda: next((one for one in here.roots if "core on app-1: complete" in one.text), None))
        words = "🚨 Without approval: ana broke the glass, because: Checkout is down, ben does not answer, •••"
        assert words in root.text
        assert words in render("PABC123", [await here.of(root)])
        loud = await here.seen(
            lambda: next((one for one in here.roots if "🚨 ana broke the glass: core on app-1 runs" in one.text), None)
        )
        assert "Nobody approved of it. Reason: Checkout is down" in loud.text
        assert loud.thread_ts is None
        assert await here.root(0, "🚨 core on app-1, asked for by ana, runs without approval")


async def test_a_reason_that_is_none_is_not_taken() -> None:
    """It is said at its field; nobody else gets to see the dialog."""
    async with opened() as here:
        request = await asked(here)
        await here.press(request, "glass", here.ben)
        assert "Only ana, who asked for it, may break the glass." in (await here.whisper(here.ben, "❌")).text
        await here.press(request, "glass", here.ana)
        await here.seen(lambda: here.workspace.views(here.ana))

        answer = await here.workspace.submit(here.ana, {"reason": " hurry   !     "})

        assert answer.response
        assert answer.response["errors"] == {"reason": "Write 10 to 300 characters: everybody reads it."}
        assert len(here.roots) == 1


async def test_a_request_that_nobody_answered_expires_by_itself() -> None:
    """Its message says so; also where nothing ran when its time was over."""
    async with opened() as here:
        await asked(here)
        here.clock.pass_by(900)
        ended = await here.root(0, "⌛ core on app-1, asked for by ana, has expired, and nobody approved.")
        assert buttons(ended) == []

        await asked(here, 1)
        await here.bot.aclose()
        here.clock.pass_by(900)
        await here.restart()

        assert await here.root(1, "has expired, and nobody approved")
        assert len(here.roots) == 2


async def test_a_cost_that_grew_is_shown_and_approved_once_more() -> None:
    """The first press only measures; the message says what changed."""
    async with opened() as here:
        request = await asked(here)
        here.clock.pass_by(301)
        here.transport.scripts = {"cost": Script(pieces=(b"what=orders-api (pid 812)\npause_s=9\n",)), "gcore": QUIET}

        await here.press(request, "approve", here.ben)

        assert (
            "It costs more by now: it stops orders-api (pid 812) for about 9 s."
            in (await here.whisper(here.ben, "❌")).text
        )
        shown = await here.root(0, "Measured anew, and more than it was: approve it once more.")
        assert f"It was asked for when it s{SENTENCE}." in shown.text
        await here.press(shown, "approve", here.ben)
        root = await here.root(1, "complete")
        assert "⚖️ Agreed to: stops orders-api (pid 812) for about 9 s" in root.text


async def test_a_button_that_was_copied_or_made_up_starts_nothing() -> None:
    """In a channel in which nobody asked, or with an id that there is not; it is answered clearly."""
    async with opened() as here:
        request = await asked(here)
        other = here.workspace.add_channel("elsewhere")
        client = AsyncWebClient(token=here.workspace.bot_token, base_url=here.workspace.api_url)
        made_up = [{**request.blocks[1], "elements": [{**request.blocks[1]["elements"][0], "value": "c0ffee"}]}]

        for blocks, said in [
            (request.blocks, "There is no such request in this channel."),
            (made_up, "There is no such request for an approval."),
        ]:
            copied = await client.chat_postMessage(channel=other, text="copied", blocks=blocks)
            await here.workspace.click(str(copied["ts"]), "approve", here.ben)
            assert await here.seen(partial(is_said, here, other, said))

        assert len(here.roots) == 1


async def test_what_is_not_measured_is_asked_for_at_once_from_the_dialog() -> None:
    """A light recipe that a rule wants an approval of; in the recipe's words for its cost."""
    async with opened() as here:
        here.desk.recipes = {**here.desk.recipes, "look": replace(here.desk.recipes["host"], name="look")}
        await here.workspace.command(here.channel, here.ana, "/capture look")
        await here.seen(lambda: here.workspace.views(here.ana))

        await here.workspace.suggest(here.ana, "targets")
        await here.workspace.submit(here.ana, {"targets": ["app-1"]})

        request = await here.root(0, "asks to capture look on app-1")
        assert "⚖️ Light load on the target for a few seconds." in request.text
        assert "Somebody else must approve of /capture look app-1 first" in (await here.whisper(here.ana, "🔏")).text
        await here.press(request, "approve", here.ben)
        assert await here.root(1, "look on app-1: complete", "Approved by ben")


async def test_a_post_that_may_have_arrived_is_not_made_twice() -> None:
    """It is found again by its mark."""
    async with opened() as here:
        here.workspace.fail_next("chat.postMessage", Fault(status=503, after_work=True))

        request = await asked(here)

        await here.press(request, "deny", here.ben)
        assert await here.root(0, "was denied by ben")
        assert len(here.roots) == 1


# --- budgets --------------------------------------------------------------------------------------


async def test_what_is_left_is_said_before_the_click() -> None:
    """In the offer, in the dialog, and by `/capture status`; what does not fit is refused with who took it."""
    budgets = Budgets(
        of={
            Scope.TARGET: Budget(pause_s=5.0),
            Scope.USER: Budget(captures_an_hour=2),
            Scope.INCIDENT: Budget(pause_s=9),
        }
    )
    async with reception(gcore=QUIET, budgets=budgets) as here:
        await here.workspace.command(here.channel, here.ana, COMMAND)
        offered = await here.whisper(here.ana, "⚖️")
        assert "Left: app-1 5 s of 5 s of pause; ana 2 of 2 captures." in offered.text
        await here.press(offered, "agree", here.ana)
        root = await here.root(0, "complete")
        capture_id = (await here.of(root)).capture.id

        await here.workspace.command(here.channel, here.ana, "/capture status")
        assert "🪙 Left: ana 1 of 2 captures." in (await here.whisper(here.ana, "🪙")).text
        await here.workspace.command(here.channel, here.ben, "/capture core app-1 pid=813")

        assert (await here.whisper(here.ben, "❌")).text == (
            f"❌ app-1 has used 3 s of pause of its 5 s of pause within 24 h: 3 s of pause by ana (`{capture_id}`). "
            "This needs 3 s of pause. There is enough again from 03:00 UTC on November 23."
        )
        await here.workspace.command(here.channel, here.ana, "/capture host")
        view = await here.seen(lambda: here.workspace.views(here.ana))
        assert "Left: ana 1 of 2 captures." in str(view[-1].body)

"""`@capturebot host app-1`, in channels and in threads, through real Bolt and Socket Mode."""

from __future__ import annotations

import pytest

from bot.model import Accepted, Event
from bot.playground.workspace import Fault
from bot.slack.mentions import words
from tests.fakes import Script
from tests.reception import reception

pytestmark = pytest.mark.live  # each test starts a workspace, and a bot that connects to it

QUIET = Script(pieces=(b"quiet\n",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<@UBOT> host app-1", "host app-1"),
        ("please <@UBOT>   host app-1 \nthanks", "host app-1"),
        ("<@UANA> ask <@UBOT> status", "status"),
        ("<@UBOT>", ""),
        ("host app-1", ""),
    ],
)
def test_what_follows_the_mention_on_its_line_is_meant(text: str, said: str) -> None:
    """Whatever else people write around it."""
    assert words(text, "UBOT") == said


async def test_a_mention_in_a_thread_is_told_in_that_thread() -> None:
    """The whole story: a reply has no thread of its own; who asked has a name."""
    async with reception(ps=QUIET) as here:
        parent = here.workspace.say(here.channel, here.ana, "Orders are slow")

        here.workspace.say(here.channel, here.ben, "@capturebot host app-1", thread_ts=parent.ts)

        done = await here.seen(
            lambda: next((one for one in here.replies(parent) if one.metadata and "complete" in one.text), None)
        )
        assert "asked by ben" in done.text
        assert here.roots == []
        whisper = await here.whisper(here.ben, "The result comes in this thread")
        assert whisper.thread_ts == parent.ts


async def test_a_mention_in_the_channel_is_told_in_the_channel() -> None:
    """As a command is."""
    async with reception(ps=QUIET) as here:
        here.workspace.say(here.channel, here.ana, "@capturebot host app-1 please?")
        here.workspace.say(here.channel, here.ana, "@capturebot host app-1")

        assert "asked by ana" in (await here.root(0, "complete")).text
        await here.whisper(here.ana, "There is no target `please?`")


async def test_a_mention_that_is_delivered_twice_starts_one_capture() -> None:
    """Slack sends an event again when it is not sure; the answer says who was first."""
    async with reception(ps=QUIET) as here:
        here.workspace.sockets.duplicate_next(2)  # the message, where the bot hears of it, and the mention

        here.workspace.say(here.channel, here.ana, "@capturebot host app-1")

        await here.whisper(here.ana, "started that already")
        await here.root(0, "complete")
        assert len(here.roots) == 1


async def test_a_mention_is_in_the_journal_before_it_is_acknowledged() -> None:
    """A crash in between has Slack tell it again."""
    acknowledged: list[int] = []
    async with reception(ps=QUIET) as here:

        def look(event: Event) -> None:
            if isinstance(event, Accepted):
                acknowledged.append(sum(one.kind == "events_api" for one in here.workspace.sockets.deliveries))

        here.journal.listeners.append(look)
        before = sum(one.kind == "events_api" for one in here.workspace.sockets.deliveries)
        here.workspace.say(here.channel, here.ana, "@capturebot host app-1")

        await here.root(0, "complete")
        assert acknowledged[0] <= before + 1  # the message itself, where the bot hears of it; not the mention


async def test_a_bare_mention_is_answered_with_what_there_is() -> None:
    """A dialog cannot be opened from a mention."""
    async with reception() as here:
        here.workspace.say(here.channel, here.ana, "@capturebot")

        assert "`/capture list`" in (await here.whisper(here.ana, "Keep the evidence")).text


async def test_a_name_that_slack_does_not_tell_is_the_id() -> None:
    """Whatever is wrong with the question, the capture does not wait for it."""
    async with reception(ps=QUIET) as here:
        here.workspace.fail_next("users.info", Fault(status=500))

        here.workspace.say(here.channel, here.ana, "@capturebot host app-1")

        assert f"asked by {here.ana}" in (await here.root(0, "complete")).text

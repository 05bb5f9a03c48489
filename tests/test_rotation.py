"""Tokens that are replaced while the bot is at work: of Slack, of PagerDuty, and of its calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.errors import SlackApiError

from bot.errors import SecretMissing
from bot.model import SecretRef
from bot.pagerduty.client import PagerDutyClient
from bot.playground.pagerduty import PagerDutyStandIn
from bot.playground.workspace import Limits, Workspace
from bot.references import Place
from bot.reporters.slack import failure
from bot.secrets import Secrets
from bot.secrets.rotating import PAUSE_S, Rotating
from bot.settings import PagerDuty, Slack
from bot.slack.client import SlackClient
from bot.slack.sockets import Sockets
from tests.vault import Clock

WITHIN_S = 3.0
BOT, APP = SecretRef("vault://slack#bot"), SecretRef("vault://slack#app")


class Kept:
    """A store of secrets that answers as before until it is told to forget."""

    def __init__(self, **values: str) -> None:
        self.values = values
        self.asked: list[str] = []
        self.is_away = False
        self._kept: dict[str, str] = {}

    async def find(self, place: Place) -> str:
        if place.key not in self._kept:
            self.asked.append(place.key)
            await asyncio.sleep(0)  # others may come meanwhile, as they may while a real one is asked
            if self.is_away:
                raise SecretMissing("Vault is sealed.")
            self._kept[place.key] = self.values[place.key]
        return self._kept[place.key]

    def forget(self, place: Place) -> None:
        self._kept.pop(place.key, None)

    async def check(self) -> list[str]:
        return []

    async def close(self) -> None:
        """Nothing is open."""


@dataclass
class Room:
    """A workspace, where its tokens lie, and the bot's client."""

    workspace: Workspace
    store: Kept
    secrets: Secrets
    client: SlackClient
    channel: str
    user: str

    def rotate(self) -> None:
        """Replace both tokens, and put the new ones where they belong."""
        self.workspace.rotate_tokens()
        self.store.values = {"bot": self.workspace.bot_token, "app": self.workspace.app_token}
        self.store.asked.clear()

    async def say(self, text: str) -> None:
        """The bot says it."""
        await self.client.chat_postMessage(channel=self.channel, text=text)

    def said(self) -> list[str]:
        """What stands in the channel."""
        return [message.text for message in self.workspace.messages(self.channel)]

    def errors(self, method: str = "chat.postMessage") -> list[str]:
        """How calls of *method* were answered."""
        return [call.error for call in self.workspace.calls if call.method == method]


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    """A bot in a workspace."""
    async with Workspace(limits=Limits(warning_s=0.05)) as workspace:
        store = Kept(bot=workspace.bot_token, app=workspace.app_token)
        secrets = Secrets({}, providers={"vault": store})
        client = await SlackClient.open(Slack(bot_token=BOT, app_token=APP, api_url=workspace.api_url), secrets)
        user = workspace.add_user("ana")
        yield Room(workspace, store, secrets, client, workspace.add_channel("inc-1"), user)


# --- Slack ------------------------------------------------------------------------------------


async def test_what_is_refused_for_an_old_token_is_said_with_the_new_one(room: Room) -> None:
    """Whoever said it does not notice; the redactor knows both."""
    former = room.workspace.bot_token
    room.rotate()

    await room.say("one")
    await room.say("two")

    assert room.said() == ["one", "two"]
    assert room.errors() == ["token_revoked", "", ""]
    assert room.store.asked == ["bot"]
    assert {former.encode(), room.workspace.bot_token.encode()} <= set(room.secrets.known())


async def test_ten_that_are_refused_at_once_have_it_read_once(room: Room) -> None:
    """They wait for one answer."""
    room.rotate()

    answers = await asyncio.gather(*(room.client.auth_test() for _ in range(10)))

    assert [answer["ok"] for answer in answers] == [True] * 10
    assert room.store.asked == ["bot"]


async def test_a_new_token_that_is_wrong_too_is_a_refusal_like_any_other(room: Room) -> None:
    """It is told where people look, and tried again: the next good one is used without a restart."""
    environ = {"BOT": room.workspace.bot_token, "APP": room.workspace.app_token}
    tokens = Slack(bot_token=SecretRef("env:BOT"), app_token=SecretRef("env:APP"), api_url=room.workspace.api_url)
    room.client = await SlackClient.open(tokens, Secrets(environ))
    room.rotate()

    environ["BOT"] = "xoxb-wrong"
    with pytest.raises(SlackApiError) as refused:
        await room.say("one")
    told = failure(refused.value)
    environ["BOT"] = room.workspace.bot_token
    await room.say("one")

    assert room.errors() == ["token_revoked", "invalid_auth", "invalid_auth", ""]
    assert (told.reason, told.retry_after) == ("Slack refuses the bot token (invalid_auth).", 60.0)
    assert "`slack.bot_token`" in told.cure
    assert room.said() == ["one"]


async def test_while_no_newer_token_can_be_read_the_old_one_is_kept(room: Room) -> None:
    """Slack's own word is what is raised."""
    room.rotate()
    room.store.is_away = True

    with pytest.raises(SlackApiError) as refused:
        await room.say("one")
    room.store.is_away = False
    await room.say("two")

    assert refused.value.response["error"] == "token_revoked"
    assert room.said() == ["two"]


async def test_another_refusal_reads_no_token_anew(room: Room) -> None:
    """A channel that is not there has nothing to do with it."""
    room.store.asked.clear()

    with pytest.raises(SlackApiError, match="channel_not_found"):
        await room.client.chat_postMessage(channel="C0NOWHERE", text="one")

    assert room.store.asked == []


async def test_a_socket_that_ends_is_opened_again_with_the_new_token(room: Room) -> None:
    """People's commands go on to arrive."""
    heard: list[str] = []
    me = await room.client.auth_test()

    async def authorize(**_: object) -> AuthorizeResult:
        return AuthorizeResult.from_auth_test_response(auth_test_response=me, bot_token=room.client.token)

    app = AsyncApp(client=room.client, authorize=authorize)

    @app.command("/capture")
    async def command(ack: AsyncAck, command: dict[str, str]) -> None:
        heard.append(command["text"])
        await ack()

    sockets = Sockets(app, room.client.app_token, count=1)
    await sockets.open()
    numbers = await room.workspace.wait_for(lambda: list(room.workspace.sockets.numbers), WITHIN_S)
    room.rotate()
    await room.workspace.sockets.disconnect("refresh_requested")
    await room.workspace.wait_for(lambda: room.workspace.sockets.numbers not in ([], numbers), WITHIN_S)
    answer = await room.workspace.command(room.channel, room.user, "/capture list")
    await sockets.close()

    assert (answer.error, heard) == ("", ["list"])
    assert room.errors("apps.connections.open")[-2:] == ["token_revoked", ""]


# --- PagerDuty --------------------------------------------------------------------------------


async def test_a_note_is_written_with_the_new_token() -> None:
    """Without waiting for what is kept to grow old."""
    async with PagerDutyStandIn(sender="a@example.com") as pagerduty, AsyncExitStack() as stack:
        pagerduty.add_incident("PINC1", 1, "Orders", "Orders")
        store = Kept(token=pagerduty.token)
        token = SecretRef("vault://pagerduty#token")
        settings = PagerDuty(token=token, sender="a@example.com", api_url=pagerduty.api_url)
        client = PagerDutyClient(settings, Secrets({}, providers={"vault": store}))
        stack.push_async_callback(client.close)
        await client.create_note("PINC1", "one")
        pagerduty.token = store.values["token"] = "another"
        await client.create_note("PINC1", "two")

        assert sorted(note["content"] for note in pagerduty.notes("PINC1")) == ["one", "two"]


# --- what they have in common -----------------------------------------------------------------


async def test_a_store_is_not_asked_past_what_it_keeps_at_every_refusal() -> None:
    """However often strangers or a wrong setting have something refused."""
    store, clock = Kept(a="1", b="2"), Clock()
    together = Rotating(
        Secrets({}, providers={"vault": store}), SecretRef("vault://x#a"), SecretRef("vault://x#b"), clock=clock
    )

    same = [await together.replaced(("1", "2")) for _ in range(5)]
    asked = len(store.asked)
    clock.now += PAUSE_S
    store.values["b"] = "3"
    newer = await together.replaced(("1", "2"))

    assert (same, asked) == ([False] * 5, 4)
    assert newer
    assert await together.now() == ("1", "3")

"""The workspace's Web API, asked with Slack's own client: it refuses what Slack refuses, in Slack's words."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.playground.workspace import App, Fault, Limits, Workspace

ALL = App().scopes | {"channels:history", "groups:history", "users:read", "reactions:write"}
TEXT = {"type": "section", "text": {"type": "mrkdwn", "text": "found it"}}


class HandClock:
    """Time that only a test moves."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def now(self) -> float:
        """Seconds since 1970."""
        return self.time

    async def sleep(self, seconds: float) -> None:
        """Let the time pass at once."""
        self.time += seconds


class Room:
    """A workspace with one channel and a client of the bot."""

    def __init__(self, workspace: Workspace, clock: HandClock) -> None:
        self.workspace = workspace
        self.clock = clock
        self.ana = workspace.add_user("ana")
        self.channel = workspace.add_channel("inc-1042")
        self.client = AsyncWebClient(token=workspace.bot_token, base_url=workspace.api_url, retry_handlers=[])

    async def error(self, method: str, **args: Any) -> str:
        """Slack's error for a call that has to fail."""
        with pytest.raises(SlackApiError) as refused:
            await self.client.api_call(method, json=args)
        return str(refused.value.response["error"])

    async def post(self, text: str = "hello", **more: Any) -> str:
        """The timestamp of a new message."""
        return str((await self.client.chat_postMessage(channel=self.channel, text=text, **more))["ts"])


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    """A workspace whose app has every scope that a method asks for."""
    clock = HandClock()
    async with Workspace(app=App(scopes=ALL), clock=clock) as workspace:
        yield Room(workspace, clock)


# --- how a call is read


async def test_all_four_wire_shapes_are_read(room: Room) -> None:
    """A JSON body, a form, a bare query string in a POST, and a GET."""
    url, token = room.workspace.api_url, {"Authorization": f"Bearer {room.workspace.bot_token}"}
    say = {"channel": room.channel, "text": "hello"}
    async with aiohttp.ClientSession(headers=token) as session:
        json = await (await session.post(f"{url}chat.postMessage", json=say)).json()
        form = await (
            await session.post(f"{url}chat.postMessage", data={**say, "blocks": '[{"type":"divider"}]'})
        ).json()
        query = await (await session.post(f"{url}conversations.join", params={"channel": room.channel})).json()
        get = await (await session.get(f"{url}conversations.info", params={"channel": room.channel})).json()

    assert [one["ok"] for one in (json, form, query, get)] == [True] * 4
    assert json["warning"] == "missing_charset"
    assert form["message"]["blocks"][0]["type"] == "divider"
    assert query["response_metadata"]["warnings"] == ["already_in_channel"]
    assert get["channel"]["name"] == "inc-1042"


@pytest.mark.parametrize(
    ("body", "kind", "error"),
    [
        (b"{", "application/json", "invalid_json"),
        (b"[1]", "application/json", "json_not_object"),
        (b"[" * 50_000, "application/json", "invalid_json"),
        (b"\xff\xfe=1", "application/x-www-form-urlencoded", "invalid_form_data"),
        (b"<x/>", "text/xml", "invalid_post_type"),
    ],
)
async def test_a_broken_body_is_named(room: Room, body: bytes, kind: str, error: str) -> None:
    """Slack's words for each way a body can be broken."""
    headers = {"Authorization": f"Bearer {room.workspace.bot_token}", "Content-Type": kind}
    async with aiohttp.ClientSession() as session:
        answer = await session.post(f"{room.workspace.api_url}chat.postMessage", data=body, headers=headers)

        assert await answer.json() == {"ok": False, "error": error}


async def test_tokens_are_checked(room: Room) -> None:
    """None, a wrong one, the wrong kind, and one in a query string, which Slack does not take."""
    url = f"{room.workspace.api_url}auth.test"
    async with aiohttp.ClientSession() as session:

        async def asked(token: str, query: dict[str, str] | None = None) -> str:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            return str((await (await session.post(url, headers=headers, params=query)).json()).get("error", ""))

        assert await asked("") == "not_authed"
        assert await asked("", {"token": room.workspace.bot_token}) == "not_authed"
        assert await asked("xoxb-wrong") == "invalid_auth"
        assert await asked(room.workspace.app_token) == "not_allowed_token_type"
        assert await asked(room.workspace.bot_token) == ""
    assert await room.error("apps.connections.open") == "not_allowed_token_type"
    assert await room.error("chat.whisper") == "unknown_method"


async def test_a_method_needs_its_scope() -> None:
    """What the manifest does not ask for is refused, and the answer says what is missing."""
    async with Workspace(app=App(scopes=frozenset({"commands", "channels:read"}))) as workspace:
        room = Room(workspace, HandClock())
        with pytest.raises(SlackApiError) as refused:
            await room.post()

        assert refused.value.response["error"] == "missing_scope"
        assert refused.value.response["needed"] == "chat:write"
        assert refused.value.response["provided"] == "channels:read,commands"
        assert await room.error("conversations.list", types="private_channel") == "missing_scope"
        assert await room.error("conversations.history", channel=room.channel) == "missing_scope"


# --- messages


async def test_a_message_is_kept_and_read_back(room: Room) -> None:
    """With its metadata, which only those see who ask for it."""
    mark = {"event_type": "capture", "event_payload": {"id": "c1"}}
    ts = await room.post(blocks=[TEXT], metadata=mark)

    plain = await room.client.conversations_history(channel=room.channel)
    full = await room.client.conversations_history(channel=room.channel, include_all_metadata=True)

    assert [one["ts"] for one in plain["messages"]] == [ts]
    assert "metadata" not in plain["messages"][0]
    assert full["messages"][0]["metadata"] == mark


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ({}, "no_text"),
        ({"text": ""}, "no_text"),
        ({"channel": "C404", "text": "x"}, "channel_not_found"),
        ({"channel": 7, "text": "x"}, "invalid_arguments"),
        ({"blocks": "{"}, "invalid_blocks_format"),
        ({"blocks": {}}, "invalid_blocks_format"),
        ({"blocks": [{"type": "sections"}]}, "invalid_blocks"),
        ({"text": "x", "thread_ts": "1.000001"}, "thread_not_found"),
        ({"text": "x", "metadata": {"event_type": "y"}}, "invalid_metadata_format"),
        ({"text": "x", "metadata": "{"}, "metadata_must_be_sent_as_json"),
        ({"text": "x", "markdown_text": "y"}, "markdown_text_conflict"),
        ({"text": "x", "attachments": [{}] * 101}, "too_many_attachments"),
        ({"text": "x", "attachments": ["y"]}, "invalid_attachments"),
        ({"text": "x", "reply_broadcast": "perhaps", "thread_ts": "PARENT"}, "invalid_arguments"),
    ],
)
async def test_a_post_that_slack_refuses_is_refused(room: Room, args: dict[str, Any], error: str) -> None:
    """Each with Slack's own error."""
    if args.get("thread_ts") == "PARENT":
        args = {**args, "thread_ts": await room.post()}

    assert await room.error("chat.postMessage", **{"channel": room.channel, **args}) == error


async def test_where_the_bot_may_post(room: Room) -> None:
    """Where it is a member; a private channel without it does not exist for it."""
    elsewhere = room.workspace.add_channel("elsewhere", members=[])
    secret = room.workspace.add_channel("secret", private=True, members=[room.ana])
    closed = room.workspace.add_channel("closed")
    room.workspace.archive_channel(closed)

    assert await room.error("chat.postMessage", channel=elsewhere, text="x") == "not_in_channel"
    assert await room.error("chat.postMessage", channel=secret, text="x") == "channel_not_found"
    assert await room.error("conversations.info", channel=secret) == "channel_not_found"
    assert await room.error("chat.postMessage", channel=closed, text="x") == "is_archived"
    await room.client.conversations_join(channel=elsewhere)
    assert (await room.client.chat_postMessage(channel=elsewhere, text="x"))["ok"]


async def test_only_a_parent_starts_a_thread(room: Room) -> None:
    """A reply's own timestamp is refused; the parent counts its replies."""
    parent = await room.post("parent")
    reply = await room.post("reply", thread_ts=parent)

    assert await room.error("chat.postMessage", channel=room.channel, text="x", thread_ts=reply) == "thread_not_found"
    thread = (await room.client.conversations_replies(channel=room.channel, ts=parent))["messages"]
    assert [one["text"] for one in thread] == ["parent", "reply"]
    assert thread[0]["reply_count"] == 1
    assert [message.ts for message in room.workspace.messages(room.channel)] == [parent]
    assert [message.ts for message in room.workspace.thread(room.channel, parent)] == [parent, reply]


async def test_text_without_blocks_takes_the_blocks_away(room: Room) -> None:
    """And metadata stays unless it is given: {} removes it."""
    mark = {"event_type": "capture", "event_payload": {}}
    ts = await room.post(blocks=[TEXT], metadata=mark)

    await room.client.chat_update(channel=room.channel, ts=ts, text="two", blocks=[TEXT])
    (with_blocks,) = room.workspace.messages(room.channel)
    await room.client.chat_update(channel=room.channel, ts=ts, text="three")
    (without,) = room.workspace.messages(room.channel)
    await room.client.chat_update(channel=room.channel, ts=ts, text="four", metadata={})
    (bare,) = room.workspace.messages(room.channel)

    assert (with_blocks.text, len(with_blocks.blocks), with_blocks.edited_at) == ("two", 1, None)
    assert (without.text, without.blocks, without.metadata) == ("three", (), mark)
    assert without.edited_at
    assert bare.metadata is None


async def test_what_cannot_be_updated(room: Room) -> None:
    """Long text, other people's words, ephemeral and unknown messages, archived channels."""
    own, theirs = await room.post(), room.workspace.say(room.channel, room.ana, "hi").ts
    whispered = (await room.client.chat_postEphemeral(channel=room.channel, user=room.ana, text="psst"))["message_ts"]

    async def error(ts: str, text: str = "x") -> str:
        return await room.error("chat.update", channel=room.channel, ts=ts, text=text)

    assert await error(own, "x" * 4_001) == "msg_too_long"
    assert await error(theirs) == "cant_update_message"
    assert await error(whispered) == "message_not_found"
    assert await error("1.000001") == "message_not_found"
    assert await room.error("chat.delete", channel=room.channel, ts=theirs) == "cant_delete_message"
    room.workspace.archive_channel(room.channel)
    assert await error(own) == "is_inactive"


async def test_long_text_is_cut_and_missing_text_is_warned_of(room: Room) -> None:
    """Slack cuts above 40,000 characters and makes a notification of the blocks' text."""
    long = await room.client.chat_postMessage(channel=room.channel, text="x" * 40_001)
    with pytest.warns(UserWarning, match="text"):
        silent = await room.client.chat_postMessage(channel=room.channel, blocks=[TEXT])

    assert len(long["message"]["text"]) == 40_000
    assert long["warning"] == "message_truncated"
    assert silent["message"]["text"] == "found it"
    assert silent["response_metadata"]["warnings"] == ["missing_text_in_message"]


async def test_a_deleted_parent_leaves_a_tombstone(room: Room) -> None:
    """A message without replies is gone."""
    parent = await room.post("parent")
    await room.post("reply", thread_ts=parent)
    alone = await room.post("alone")

    await room.client.chat_delete(channel=room.channel, ts=parent)
    await room.client.chat_delete(channel=room.channel, ts=alone)

    (left,) = room.workspace.messages(room.channel)
    assert (left.ts, left.subtype) == (parent, "tombstone")


async def test_an_ephemeral_message_is_for_one_person_and_in_no_history(room: Room) -> None:
    """And only for members."""
    stranger = room.workspace.add_user("stranger")

    await room.client.chat_postEphemeral(channel=room.channel, user=room.ana, text="psst")

    assert [one.text for one in room.workspace.ephemerals(room.channel, room.ana)] == ["psst"]
    assert room.workspace.ephemerals(room.channel, stranger) == []
    assert (await room.client.conversations_history(channel=room.channel))["messages"] == []
    refused = await room.error("chat.postEphemeral", channel=room.channel, user=stranger, text="psst")
    assert refused == "user_not_in_channel"


async def test_history_is_read_in_pages_and_between_times(room: Room) -> None:
    """Newest first, by cursor, oldest and latest; broken cursors and limits are refused."""
    said = [room.workspace.say(room.channel, room.ana, f"m{number}").ts for number in range(5)]

    first = await room.client.conversations_history(channel=room.channel, limit=3)
    cursor = first["response_metadata"]["next_cursor"]
    rest = await room.client.conversations_history(channel=room.channel, limit=3, cursor=cursor)
    between = await room.client.conversations_history(channel=room.channel, oldest=said[1], latest=said[3])
    inclusive = await room.client.conversations_history(
        channel=room.channel, oldest=said[1], latest=said[3], inclusive=True
    )

    assert [one["ts"] for one in [*first["messages"], *rest["messages"]]] == said[::-1]
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert [one["ts"] for one in between["messages"]] == [said[2]]
    assert [one["ts"] for one in inclusive["messages"]] == said[3:0:-1]
    assert await room.error("conversations.history", channel=room.channel, cursor="x") == "invalid_cursor"
    assert await room.error("conversations.history", channel=room.channel, limit=1_000) == "invalid_limit"
    assert await room.error("conversations.history", channel=room.channel, oldest="now") == "invalid_ts_oldest"
    assert await room.error("conversations.replies", channel=room.channel, ts="1.000001") == "thread_not_found"


async def test_people_channels_and_reactions(room: Room) -> None:
    """The directory answers as Slack's does."""
    secret = room.workspace.add_channel("secret", private=True)
    room.workspace.add_channel("hidden", private=True, members=[room.ana])
    ts = await room.post()

    listed = await room.client.conversations_list(types="public_channel,private_channel")
    members = await room.client.conversations_members(channel=room.channel)
    ana = await room.client.users_info(user=room.ana)
    await room.client.reactions_add(channel=room.channel, timestamp=ts, name="eyes")

    assert [one["name"] for one in listed["channels"]] == ["inc-1042", "secret"]
    assert set(members["members"]) == {room.ana, room.workspace.bot_user_id}
    assert ana["user"]["name"] == "ana"
    assert len((await room.client.users_list())["members"]) == 3
    assert await room.error("users.info", user="U404") == "user_not_found"
    assert await room.error("reactions.add", channel=room.channel, timestamp=ts, name="eyes") == "already_reacted"
    assert await room.error("reactions.add", channel=room.channel, timestamp=ts, name="no such") == "invalid_name"
    assert await room.error("conversations.join", channel=secret) == "method_not_supported_for_channel_type"
    assert await room.error("conversations.list", types="dm") == "invalid_types"
    assert await room.error("api.test", error="my_error") == "my_error"


# --- rates and faults


async def test_posting_is_held_to_one_a_second_with_short_bursts(room: Room) -> None:
    """A channel that is posted to too fast answers 429 with the seconds to wait; another one does not."""
    other = room.workspace.add_channel("other")
    for _ in range(5):
        await room.post()

    with pytest.raises(SlackApiError) as refused:
        await room.post()

    assert (refused.value.response.status_code, refused.value.response["error"]) == (429, "ratelimited")
    wait_s = int(refused.value.response.headers["Retry-After"])
    assert 1 <= wait_s <= 5
    await room.client.chat_postMessage(channel=other, text="x")
    room.clock.time += wait_s
    await room.post()


async def test_a_method_is_held_to_its_tier() -> None:
    """Calls of one method a minute, whoever's channel it is."""
    clock = HandClock()
    limits = Limits(per_minute={1: 1, 2: 20, 3: 3, 4: 100})
    async with Workspace(limits=limits, clock=clock) as workspace:
        room = Room(workspace, clock)
        for _ in range(3):
            await room.client.conversations_info(channel=room.channel)
            clock.time += 10

        with pytest.raises(SlackApiError) as refused:
            await room.client.conversations_info(channel=room.channel)

        assert refused.value.response.headers["Retry-After"] == "30"
        clock.time += 30
        await room.client.conversations_info(channel=room.channel)


async def test_calls_fail_on_demand(room: Room) -> None:
    """Before the work, after it (the answer is lost), or with an error of Slack's; then all is well again."""
    room.workspace.fail_next("chat.postMessage", Fault(status=429, retry_after_s=7))
    room.workspace.fail_next("chat.postMessage", Fault(status=500, after_work=True))
    room.workspace.fail_next("chat.postMessage", Fault(error="fatal_error", hang_s=20))
    seen = []
    for text in ("one", "two", "three"):
        with pytest.raises(SlackApiError) as failed:
            await room.post(text)
        seen.append((failed.value.response.status_code, failed.value.response["error"]))
    await room.post("four")

    assert seen == [(429, "ratelimited"), (500, "internal_error"), (200, "fatal_error")]
    assert [message.text for message in room.workspace.messages(room.channel)] == ["two", "four"]
    assert [(call.method, call.status, call.error) for call in room.workspace.calls] == [
        ("chat.postMessage", 429, "ratelimited"),
        ("chat.postMessage", 500, "internal_error"),
        ("chat.postMessage", 200, "fatal_error"),
        ("chat.postMessage", 200, ""),
    ]
    with pytest.raises(ValueError, match="no method"):
        room.workspace.fail_next("chat.postMesage", Fault())


async def test_the_log_of_calls_holds_no_token(room: Room) -> None:
    """Arguments are there, the token is not."""
    async with aiohttp.ClientSession() as session:
        form = {"token": room.workspace.bot_token, "channel": room.channel, "text": "x"}
        await session.post(f"{room.workspace.api_url}chat.postMessage", data=form)

    (call,) = room.workspace.calls
    assert call.args == {"channel": room.channel, "text": "x"}
    assert room.workspace.bot_token not in repr(room.workspace.calls)


# --- views


MODAL: dict[str, Any] = {"type": "modal", "title": {"type": "plain_text", "text": "Capture"}, "blocks": [TEXT]}
INPUT = {
    "type": "input",
    "label": {"type": "plain_text", "text": "Target"},
    "element": {"type": "plain_text_input", "action_id": "target"},
}


@pytest.mark.parametrize(
    ("view", "error"),
    [
        (None, "invalid_arguments"),
        ({**MODAL, "title": {"type": "plain_text", "text": "x" * 25}}, "invalid_arguments"),
        ({**MODAL, "blocks": [TEXT] * 101}, "invalid_arguments"),
        ({**MODAL, "blocks": [INPUT]}, "invalid_arguments"),
        ({**MODAL, "blocks": [{"type": "markdown", "text": "x"}]}, "invalid_arguments"),
        ({**MODAL, "private_metadata": "x" * 3_001}, "invalid_arguments"),
        ({**MODAL, "colour": "red"}, "invalid_arguments"),
        (MODAL, "invalid_trigger_id"),
    ],
)
async def test_a_view_is_checked_before_its_trigger(room: Room, view: Any, error: str) -> None:
    """A modal that Slack would not show is refused."""
    assert await room.error("views.open", trigger_id="1.2.abc", view=view) == error


async def test_a_home_is_published(room: Room) -> None:
    """For one person; a modal is no home."""
    await room.client.views_publish(user_id=room.ana, view={"type": "home", "blocks": [TEXT]})

    home = room.workspace.home(room.ana)
    assert home
    assert home["blocks"][0]["text"] == TEXT["text"]
    assert await room.error("views.publish", user_id=room.ana, view=MODAL) == "invalid_arguments"


def test_names_follow_slacks_rules() -> None:
    """A channel name that Slack would not take is not taken, nor a host that others can reach."""
    workspace = Workspace()

    workspace.add_channel("inc-1042_x")

    for name in ("Inc", "a b", "", "x" * 81, "inc-1042_x"):
        with pytest.raises(ValueError, match="channel"):
            workspace.add_channel(name)
    with pytest.raises(ValueError, match="loopback"):
        Workspace(host="0.0.0.0")


@settings(deadline=None)
@given(st.text(st.sampled_from("<>&@# /:.abn|x`*_~\n") | st.characters(codec="utf-8"), min_size=1, max_size=80))
def test_typed_text_holds_no_reference_that_the_workspace_did_not_make(text: str) -> None:
    """Whatever a person types, what is left in angle brackets is a person, a channel or a web address."""
    workspace = Workspace()
    ana = workspace.add_user("ana")
    channel = workspace.add_channel("ab", members=[ana])
    assume(text.strip())

    said = workspace.say(channel, ana, text).text

    made = re.compile(rf"<@{ana}>|<#{channel}\|ab>|<https?://[^<>|\s]+>")
    assert not re.search("[<>]", made.sub("", said))
    written = made.sub(lambda found: {"@": "@ana", "#": "#ab"}.get(found[0][1], found[0][1:-1]), said)
    assert html.unescape(written) == text

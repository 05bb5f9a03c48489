"""Socket Mode and the Events API of the workspace: many connections, retries, duplicates, and how links break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot.playground.workspace import App, Limits, Workspace

pytestmark = pytest.mark.thorough

RETRIES_S = (0.0, 0.02, 0.03)
APP = App(
    scopes=App().scopes | {"channels:history"},
    events=frozenset({"channel_created", "channel_rename", "member_joined_channel", "app_mention", "message.channels"}),
)


class Line:
    """A bare Socket Mode connection, read frame by frame."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def frame(self) -> dict[str, Any]:
        """The next frame."""
        read: dict[str, Any] = await self.socket.receive_json(timeout=3)
        return read

    async def ack(self, envelope: dict[str, Any]) -> None:
        """Acknowledge an envelope."""
        await self.socket.send_json({"envelope_id": envelope["envelope_id"]})


class Room:
    """A workspace and connections to it."""

    def __init__(self, workspace: Workspace, stack: AsyncExitStack, session: aiohttp.ClientSession) -> None:
        self.workspace = workspace
        self._stack = stack
        self._session = session
        self.ana = workspace.add_user("ana")
        self.channel = workspace.add_channel("inc-1042")

    async def line(self) -> Line:
        """A new connection, after its hello."""
        client = AsyncWebClient(base_url=self.workspace.api_url)
        opened = await client.apps_connections_open(app_token=self.workspace.app_token)
        line = Line(await self._stack.enter_async_context(self._session.ws_connect(opened["url"], autoping=False)))
        assert (await line.frame())["type"] == "hello"
        return line


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    """A workspace with small limits."""
    limits = Limits(ack_s=0.1, event_retries_s=RETRIES_S, connections=3, warning_s=0.05)
    async with (
        Workspace(app=APP, limits=limits) as workspace,
        aiohttp.ClientSession() as session,
        AsyncExitStack() as stack,
    ):
        yield Room(workspace, stack, session)


async def test_a_ping_is_answered_and_a_ticket_works_once(room: Room) -> None:
    """With the same payload; a used address is refused."""
    line = await room.line()
    await line.socket.ping(b"sdk-ping-pong:1")

    pong = await line.socket.receive(timeout=3)

    assert (pong.type, pong.data) == (aiohttp.WSMsgType.PONG, b"sdk-ping-pong:1")
    async with aiohttp.ClientSession() as session:
        refused = await session.get(room.workspace.page_url + "link/?ticket=guess")
        assert refused.status == 403


async def test_payloads_go_to_any_connection_and_any_may_ack(room: Room) -> None:
    """One after the other; an ack may come over another connection than the envelope."""
    one, two = await room.line(), await room.line()

    async def next_of(lines: list[Line]) -> tuple[int, dict[str, Any]]:
        reads = [asyncio.ensure_future(line.socket.receive_json()) for line in lines]  # noqa: TID251 - raced by hand
        done, left = await asyncio.wait(reads, return_when=asyncio.FIRST_COMPLETED, timeout=3)
        for read in left:
            read.cancel()
        return reads.index(next(iter(done))), next(iter(done)).result()

    places = []
    for _ in range(2):
        async with asyncio.TaskGroup() as group:
            answer = group.create_task(room.workspace.command(room.channel, room.ana, "/capture"))
            place, envelope = await next_of([one, two])
            places.append(place)
            await (two if place == 0 else one).ack(envelope)
        assert answer.result().error == ""

    assert sorted(places) == [0, 1]


async def test_the_last_connection_beyond_the_limit_is_sent_away(room: Room) -> None:
    """Slack's word for it is too_many_websockets."""
    for _ in range(3):
        await room.line()
    client = AsyncWebClient(base_url=room.workspace.api_url)
    opened = await client.apps_connections_open(app_token=room.workspace.app_token)
    async with aiohttp.ClientSession() as session, session.ws_connect(opened["url"]) as socket:
        frame = await socket.receive_json(timeout=3)

    assert (frame["type"], frame["reason"]) == ("disconnect", "too_many_websockets")
    assert len(room.workspace.sockets.numbers) == 3


async def test_an_event_is_sent_again_until_it_is_acked(room: Room) -> None:
    """The same event id in new envelopes, with the attempt and the reason; at most three times again."""
    line = await room.line()
    room.workspace.open_channel("inc-1043", by=room.ana)

    frames = [await line.frame() for _ in range(3)]
    await line.ack(frames[2])

    assert [(one["retry_attempt"], one["retry_reason"]) for one in frames] == [(0, ""), (1, "timeout"), (2, "timeout")]
    assert len({one["envelope_id"] for one in frames}) == 3
    assert len({one["payload"]["event_id"] for one in frames}) == 1
    assert frames[0]["accepts_response_payload"] is False
    assert frames[0]["payload"]["event"]["channel"]["name"] == "inc-1043"
    await room.workspace.wait_for(lambda: len(room.workspace.deliveries) == 3, 3)
    room.workspace.rename_channel(room.channel, "inc-1042-orders")
    unheard = [await line.frame() for _ in range(4)]
    assert [one["retry_attempt"] for one in unheard] == [0, 1, 2, 3]


async def test_only_events_that_the_app_may_see_are_sent(room: Room) -> None:
    """By subscription, scope and membership."""
    line = await room.line()
    elsewhere = room.workspace.add_channel("elsewhere", members=[room.ana])
    secret = room.workspace.add_channel("secret", private=True)

    room.workspace.say(elsewhere, room.ana, "the bot is not here")
    room.workspace.say(secret, room.ana, "message.groups is not subscribed to")
    room.workspace.open_channel("private", by=room.ana, private=True)
    room.workspace.emit({"type": "team_join"})
    room.workspace.say(room.channel, room.ana, f"<@{room.workspace.bot_user_id}> hi @capturebot")

    first, second = await line.frame(), await line.frame()
    events = [one["payload"]["event"] for one in (first, second)]
    assert [event["type"] for event in events] == ["message", "app_mention"]
    assert events[0]["text"] == f"&lt;@{room.workspace.bot_user_id}&gt; hi <@{room.workspace.bot_user_id}>"


async def test_joining_is_told_with_the_inviter(room: Room) -> None:
    """For the bot itself in a private channel too: the only sign that it was let in."""
    line = await room.line()
    secret = room.workspace.add_channel("secret", private=True, members=[room.ana])

    room.workspace.invite(secret, room.workspace.bot_user_id, by=room.ana)

    event = (await line.frame())["payload"]["event"]
    assert (event["type"], event["user"]) == ("member_joined_channel", room.workspace.bot_user_id)
    assert (event["channel"], event["channel_type"], event["inviter"]) == (secret, "G", room.ana)


async def test_a_payload_is_delivered_twice_on_demand(room: Room) -> None:
    """Two envelopes, one event id; either ack counts."""
    line = await room.line()
    room.workspace.sockets.duplicate_next(1)
    room.workspace.open_channel("inc-1043", by=room.ana)

    first, second = await line.frame(), await line.frame()
    await line.ack(second)

    assert first["envelope_id"] != second["envelope_id"]
    assert first["payload"]["event_id"] == second["payload"]["event_id"]
    await room.workspace.wait_for(lambda: room.workspace.deliveries, 3)
    assert room.workspace.ack_s() < 0.1


async def test_a_disconnect_frame_is_followed_by_the_end(room: Room) -> None:
    """A warning is not; meanwhile another connection gets the payloads."""
    leaving, staying = await room.line(), await room.line()

    await room.workspace.sockets.disconnect("warning")
    warned = [await leaving.frame(), await staying.frame()]
    await room.workspace.sockets.disconnect("refresh_requested", room.workspace.sockets.numbers[0])
    asked = await leaving.frame()
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(room.workspace.command(room.channel, room.ana, "/capture"))
        await staying.ack(await staying.frame())

    assert [one["reason"] for one in warned] == ["warning", "warning"]
    assert asked["reason"] == "refresh_requested"
    assert answer.result().error == ""
    assert (await leaving.socket.receive(timeout=3)).type is aiohttp.WSMsgType.CLOSE
    await leaving.socket.close()
    await room.workspace.wait_for(lambda: len(room.workspace.sockets.numbers) == 1, 3)


async def test_a_silent_connection_swallows_what_it_gets(room: Room) -> None:
    """It stays open and answers nothing: the person sees a timeout."""
    line = await room.line()
    room.workspace.sockets.silence()
    await line.socket.ping(b"there?")

    answer = await room.workspace.command(room.channel, room.ana, "/capture")

    assert answer.error == "operation_timeout"
    assert (await line.frame())["type"] == "slash_commands"
    assert room.workspace.sockets.numbers
    with pytest.raises(ValueError, match="no open connection"):
        room.workspace.sockets.silence(99)


async def test_slacks_client_comes_back_after_a_cut(room: Room) -> None:
    """The real client notices and opens a new connection, which gets the next payload."""
    bolt = AsyncApp(client=AsyncWebClient(token=room.workspace.bot_token, base_url=room.workspace.api_url))

    async def capture(ack: Any) -> None:
        await ack()

    bolt.command("/capture")(capture)
    handler = AsyncSocketModeHandler(bolt, room.workspace.app_token, ping_interval=0.2)
    await handler.connect_async()
    (number,) = await room.workspace.wait_for(lambda: room.workspace.sockets.numbers, 3)

    room.workspace.sockets.cut()
    await room.workspace.wait_for(lambda: any(one != number for one in room.workspace.sockets.numbers), 5)

    assert (await room.workspace.command(room.channel, room.ana, "/capture")).error == ""
    await handler.close_async()


@pytest.mark.parametrize("frame", ["", "{", "[]", '{"envelope_id": 7}', '{"envelope_id": "unknown"}', "[" * 50_000])
async def test_a_frame_that_is_no_ack_harms_nothing(room: Room, frame: str) -> None:
    """The connection goes on."""
    line = await room.line()
    await line.socket.send_str(frame)

    async with asyncio.TaskGroup() as group:
        answer = group.create_task(room.workspace.command(room.channel, room.ana, "/capture"))
        await line.ack(await line.frame())

    assert answer.result().error == ""

"""What people do in the workspace reaches a real Bolt app over a real socket, and what comes back is shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot.playground.workspace import App, Command, Limits, NotPossible, Shortcut, Workspace

pytestmark = pytest.mark.thorough

ACK_S = 0.3  # instead of Slack's three seconds, so that a missing ack does not hold the test up
APP = App(
    scopes=App().scopes | {"channels:history", "groups:history"},
    events=App().events | {"message.channels"},
    commands=(Command(name="/capture"), Command(name="/plain", escape=False)),
    shortcuts=(
        Shortcut(name="Capture for this", callback_id="for_this", kind="message"),
        Shortcut(name="Capture", callback_id="anything", kind="global"),
    ),
)


def plain(text: str) -> dict[str, str]:
    """A plain_text object."""
    return {"type": "plain_text", "text": text}


BUTTONS = [
    {
        "type": "actions",
        "block_id": "acts",
        "elements": [
            {"type": "button", "action_id": "stop", "text": plain("Stop"), "value": "c1"},
            {
                "type": "static_select",
                "action_id": "pick",
                "options": [{"text": plain("db"), "value": "db"}, {"text": plain("host"), "value": "host"}],
            },
        ],
    }
]
MODAL: dict[str, Any] = {
    "type": "modal",
    "callback_id": "form",
    "notify_on_close": True,
    "private_metadata": "C1",
    "title": plain("Capture"),
    "submit": plain("Start"),
    "blocks": [
        {
            "type": "input",
            "block_id": "where",
            "label": plain("Target"),
            "element": {"type": "plain_text_input", "action_id": "target"},
        },
        {"type": "actions", "elements": [{"type": "button", "action_id": "more", "text": plain("More")}]},
    ],
}


class Room:
    """A workspace, a Bolt app in it, and every payload that the app got."""

    def __init__(self, workspace: Workspace, bolt: AsyncApp) -> None:
        self.workspace = workspace
        self.bolt = bolt
        self.ana = workspace.add_user("ana", "Ana Ruiz")
        self.ben = workspace.add_user("ben")
        self.channel = workspace.add_channel("inc-1042")
        self.client = AsyncWebClient(token=workspace.bot_token, base_url=workspace.api_url)

    async def whispered(self) -> str:
        """The text of the last message that only ana sees, as soon as there is one."""
        seen = await self.workspace.wait_for(lambda: self.workspace.ephemerals(self.channel, self.ana), 3)
        return seen[-1].text

    async def post(self, **more: Any) -> str:
        """A message with buttons."""
        posted = await self.client.chat_postMessage(channel=self.channel, text="capture", blocks=BUTTONS, **more)
        return str(posted["ts"])


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    """A workspace with a connected Bolt app that has no listeners yet."""
    async with Workspace(app=APP, limits=Limits(ack_s=ACK_S)) as workspace:
        bolt = AsyncApp(client=AsyncWebClient(token=workspace.bot_token, base_url=workspace.api_url))
        handler = AsyncSocketModeHandler(bolt, workspace.app_token)
        await handler.connect_async()
        await workspace.wait_for(lambda: workspace.sockets.numbers, 3)
        yield Room(workspace, bolt)
        await handler.close_async()


# --- slash commands


async def test_a_command_reaches_the_app_and_the_ack_is_timed(room: Room) -> None:
    """With the fields that Slack sends; mentions are escaped where the manifest asks for it."""
    got: list[dict[str, Any]] = []

    async def capture(ack: Any, body: dict[str, Any]) -> None:
        await ack()
        got.append(body)

    room.bolt.command("/capture")(capture)
    room.bolt.command("/plain")(capture)

    answer = await room.workspace.command(
        room.channel, room.ana, "/capture db  x=<b> @ben #inc-1042 https://a.example/?x=1."
    )
    await room.workspace.command(room.channel, room.ana, "/plain @ben & co")

    assert answer.error == ""
    assert answer.acked_after_s is not None
    assert answer.acked_after_s < ACK_S
    assert room.workspace.ack_s(0.99, "slash_commands") < ACK_S
    escaped = f"db  x=&lt;b&gt; <@{room.ben}> <#{room.channel}|inc-1042> <https://a.example/?x=1>."
    assert (got[0]["command"], got[0]["text"], got[0]["user_id"]) == ("/capture", escaped, room.ana)
    assert got[1]["text"] == "@ben &amp; co"


async def test_a_command_that_is_not_acked_in_time_fails_as_in_slack(room: Room) -> None:
    """The person reads operation_timeout; an ack that comes late changes nothing."""
    late = asyncio.Event()

    async def capture(ack: Any) -> None:
        await late.wait()
        await ack("too late")

    room.bolt.command("/capture")(capture)

    answer = await room.workspace.command(room.channel, room.ana, "/capture db")
    late.set()
    await room.workspace.wait_for(lambda: room.workspace.sockets.stray_acks, 3)

    assert (answer.error, answer.acked_after_s) == ("operation_timeout", None)
    assert await room.whispered() == '/capture failed with the error "operation_timeout"'
    assert room.workspace.ack_s() == float("inf")


async def test_what_an_ack_carries_is_shown(room: Room) -> None:
    """To the person alone, or in the channel together with what was typed."""

    async def capture(ack: Any, command: dict[str, Any]) -> None:
        await ack(text=f"got {command['text']}", response_type=command["text"])

    room.bolt.command("/capture")(capture)

    await room.workspace.command(room.channel, room.ana, "/capture ephemeral")
    await room.workspace.command(room.channel, room.ana, "/capture in_channel")
    wrong = await room.workspace.command(room.channel, room.ana, "/capture elsewhere")

    said = [message.text for message in room.workspace.messages(room.channel)]
    assert said == ["/capture in_channel", "got in_channel"]
    assert wrong.error == "invalid_command_response"
    whispered = room.workspace.ephemerals(room.channel, room.ana)
    assert whispered[0].text == "got ephemeral"
    assert room.workspace.ephemerals(room.channel, room.ben) == []


async def test_commands_that_never_reach_the_app(room: Room) -> None:
    """Unknown ones, ones typed in a thread, and lines that are no commands."""
    parent = room.workspace.say(room.channel, room.ana, "slow").ts

    unknown = await room.workspace.command(room.channel, room.ana, "/captur db")
    in_thread = await room.workspace.command(room.channel, room.ana, "/capture db", thread_ts=parent)

    assert (unknown.error, in_thread.error) == ("unknown_command", "not_supported_in_threads")
    assert await room.whispered() == "/capture is not supported in threads. Sorry!"
    assert not room.workspace.deliveries
    for line in ("capture", "/capture " + "x" * 12_000):
        with pytest.raises(NotPossible):
            await room.workspace.command(room.channel, room.ana, line)
    with pytest.raises(NotPossible):
        await room.workspace.command(room.channel, "U404", "/capture db")


async def test_without_a_connection_a_command_fails_at_once() -> None:
    """Slack calls it dispatch_failed."""
    async with Workspace() as workspace:
        ana, channel = workspace.add_user("ana"), workspace.add_channel("inc-1042")

        answer = await workspace.command(channel, ana, "/capture db")

        assert answer.error == "dispatch_failed"


# --- buttons and response URLs


async def test_a_press_tells_the_app_where_and_what(room: Room) -> None:
    """Container, message, value and what else is chosen in the message."""
    got: list[dict[str, Any]] = []

    async def act(ack: Any, body: dict[str, Any]) -> None:
        await ack()
        got.append(body)

    room.bolt.action("stop")(act)
    room.bolt.action("pick")(act)
    parent = await room.post()
    reply = await room.post(thread_ts=parent)

    assert not (await room.workspace.click(parent, "stop", room.ana)).error
    assert not (await room.workspace.click(reply, "pick", room.ana, value="host")).error

    assert got[0]["actions"][0]["value"] == "c1"
    assert got[0]["container"] == {
        "type": "message",
        "message_ts": parent,
        "channel_id": room.channel,
        "is_ephemeral": False,
    }
    assert got[0]["message"]["blocks"][0]["block_id"] == "acts"
    assert got[1]["container"]["thread_ts"] == parent
    assert got[1]["actions"][0]["selected_option"]["value"] == "host"
    with pytest.raises(NotPossible, match="one of the options"):
        await room.workspace.click(reply, "pick", room.ana, value="disk")
    with pytest.raises(NotPossible, match="any more"):
        await room.workspace.click(reply, "gone", room.ana)


async def test_a_response_url_answers_replaces_and_deletes(room: Room) -> None:
    """Ephemeral by default; what was ephemeral cannot become public; five uses."""
    urls: asyncio.Queue[str] = asyncio.Queue()

    async def act(ack: Any, body: dict[str, Any]) -> None:
        await ack()
        urls.put_nowait(body["response_url"])

    room.bolt.action("stop")(act)
    ts = await room.post()
    await room.workspace.click(ts, "stop", room.ana)
    hook = AsyncWebhookClient(await urls.get())

    await hook.send(text="only you")
    await hook.send(text="all", response_type="in_channel")
    await hook.send(text="replaced", replace_original=True)
    in_thread = await hook.send_dict({"text": "below", "response_type": "in_channel", "thread_ts": ts})
    await hook.send(delete_original=True)
    sixth = await hook.send(text="once more")

    assert in_thread.body == "ok"
    assert (sixth.status_code, "used_url" in sixth.body) == (404, True)
    assert await room.whispered() == "only you"
    assert [message.text for message in room.workspace.messages(room.channel)] == ["This message was deleted.", "all"]
    assert [message.text for message in room.workspace.thread(room.channel, ts)][1:] == ["below"]


async def test_a_response_url_refuses_what_slack_refuses(room: Room) -> None:
    """No text, unknown kinds, invalid blocks, unknown addresses."""
    urls: asyncio.Queue[str] = asyncio.Queue()

    async def capture(ack: Any, body: dict[str, Any]) -> None:
        await ack()
        urls.put_nowait(body["response_url"])

    room.bolt.command("/capture")(capture)
    await room.workspace.command(room.channel, room.ana, "/capture")
    url = await urls.get()

    empty = await AsyncWebhookClient(url).send(response_type="in_channel")
    odd = await AsyncWebhookClient(url).send(text="x", response_type="loud")
    blocks = await AsyncWebhookClient(url).send(text="x", blocks=[{"type": "sections"}])
    unknown = await AsyncWebhookClient(url + "x").send(text="x")

    assert [
        (one.status_code, error in one.body) for one, error in ((empty, "no_text"), (odd, "invalid_response_type"))
    ] == [
        (400, True),
        (400, True),
    ]
    assert "unsupported type: sections" in blocks.body
    assert unknown.status_code == 404


# --- modals and shortcuts


async def test_a_modal_is_opened_filled_and_submitted(room: Room) -> None:
    """Complaints of the app leave it open; an empty ack closes it; a trigger works once."""
    triggers: asyncio.Queue[str] = asyncio.Queue()

    async def shortcut(ack: Any, body: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()
        await client.views_open(trigger_id=body["trigger_id"], view=MODAL)
        triggers.put_nowait(body["trigger_id"])

    async def submit(ack: Any, view: dict[str, Any]) -> None:
        target = view["state"]["values"]["where"]["target"]["value"]
        await (ack() if target == "orders-db" else ack(response_action="errors", errors={"where": f"no {target}"}))

    room.bolt.shortcut("anything")(shortcut)
    room.bolt.view("form")(submit)
    await room.workspace.shortcut("anything", room.ana)
    used = await triggers.get()

    empty = await room.workspace.submit(room.ana)
    wrong = await room.workspace.submit(room.ana, {"target": "orders"})
    left_open = room.workspace.views(room.ana)
    right = await room.workspace.submit(room.ana, {"target": "orders-db"})

    assert empty.response == {
        "response_action": "errors",
        "errors": {"where": "Please complete this required field."},
    }
    assert wrong.response == {"response_action": "errors", "errors": {"where": "no orders"}}
    assert [view.body["callback_id"] for view in left_open] == ["form"]
    assert right.error == ""
    assert room.workspace.views(room.ana) == []
    with pytest.raises(SlackApiError, match="exchanged_trigger_id"):
        await room.client.views_open(trigger_id=used, view=MODAL)


async def test_modals_are_stacked_updated_and_closed(room: Room) -> None:
    """At most three; an update with an old hash is refused; closing is told where it was asked for."""
    opened: list[dict[str, Any]] = []
    closed: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def shortcut(ack: Any, body: dict[str, Any], client: AsyncWebClient) -> None:
        opened.append((await client.views_open(trigger_id=body["trigger_id"], view=MODAL))["view"])
        await ack()

    async def more(ack: Any, body: dict[str, Any], client: AsyncWebClient) -> None:
        try:
            opened.append((await client.views_push(trigger_id=body["trigger_id"], view=MODAL))["view"])
        except SlackApiError as refused:
            opened.append({"error": refused.response["error"]})
        await ack()

    async def close(ack: Any, body: dict[str, Any]) -> None:
        await ack()
        closed.put_nowait(body)

    room.bolt.shortcut("anything")(shortcut)
    room.bolt.action("more")(more)
    room.bolt.view_closed("form")(close)
    await room.workspace.shortcut("anything", room.ana)
    for _ in range(3):
        await room.workspace.click_in_view(room.ana, "more")

    assert [view.get("error") for view in opened] == [None, None, None, "push_limit_reached"]
    assert opened[2]["previous_view_id"] == opened[1]["id"]
    titled = {**MODAL, "title": plain("Changed")}
    await room.client.views_update(view_id=opened[2]["id"], view=titled)
    assert room.workspace.views(room.ana)[-1].body["title"]["text"] == "Changed"
    with pytest.raises(SlackApiError, match="hash_conflict"):
        await room.client.views_update(view_id=opened[2]["id"], view=titled, hash=opened[2]["hash"])
    await room.workspace.close_view(room.ana)
    assert len(room.workspace.views(room.ana)) == 2
    assert (await closed.get())["view"]["id"] == opened[2]["id"]


@pytest.mark.parametrize(
    ("answer", "error", "left"),
    [
        ({"response_action": "clear"}, "", []),
        ({"response_action": "update", "view": {**MODAL, "title": plain("Two")}}, "", ["Two"]),
        ({"response_action": "push", "view": {**MODAL, "title": plain("Two")}}, "", ["Capture", "Two"]),
        ({"response_action": "update", "view": {"type": "modal"}}, "invalid_arguments", ["Capture"]),
        ({"response_action": "errors", "errors": {"nowhere": "x"}}, "invalid_response_action", ["Capture"]),
        ({"response_action": "explode"}, "invalid_response_action", ["Capture"]),
    ],
)
async def test_a_submission_does_what_its_ack_says(
    room: Room, answer: dict[str, Any], error: str, left: list[str]
) -> None:
    """Clear, update, push; an ack that Slack would not take leaves the modal as it is."""

    async def shortcut(ack: Any, body: dict[str, Any], client: AsyncWebClient) -> None:
        await client.views_open(trigger_id=body["trigger_id"], view=MODAL)
        await ack()

    async def submit(ack: Any) -> None:
        await ack(**answer)

    room.bolt.shortcut("anything")(shortcut)
    room.bolt.view("form")(submit)
    await room.workspace.shortcut("anything", room.ana)

    said = await room.workspace.submit(room.ana, {"target": "x"})

    assert said.error == error
    assert [view.body["title"]["text"] for view in room.workspace.views(room.ana)] == left


async def test_a_message_shortcut_carries_the_message(room: Room) -> None:
    """And a trigger that expires."""
    got: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def shortcut(ack: Any, body: dict[str, Any]) -> None:
        await ack()
        got.put_nowait(body)

    room.bolt.shortcut("for_this")(shortcut)
    ts = room.workspace.say(room.channel, room.ben, "orders are slow").ts

    await room.workspace.shortcut("for_this", room.ana, channel=room.channel, message_ts=ts)

    body = await got.get()
    assert (body["type"], body["message"]["text"], body["message_ts"]) == ("message_action", "orders are slow", ts)
    with pytest.raises(NotPossible):
        await room.workspace.shortcut("for_this", room.ana)


async def test_a_trigger_expires() -> None:
    """After its time no modal opens with it."""
    async with Workspace(app=APP, limits=Limits(trigger_s=-1.0, ack_s=ACK_S)) as workspace:
        ana, channel = workspace.add_user("ana"), workspace.add_channel("inc-1042")
        client = AsyncWebClient(token=workspace.bot_token, base_url=workspace.api_url)
        url = (
            await AsyncWebClient(token=workspace.app_token, base_url=workspace.api_url).apps_connections_open(
                app_token=workspace.app_token
            )
        )["url"]
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
            assert (await socket.receive_json())["type"] == "hello"
            async with asyncio.TaskGroup() as group:
                group.create_task(workspace.command(channel, ana, "/capture"))
                payload = (await socket.receive_json())["payload"]

                with pytest.raises(SlackApiError, match="expired_trigger_id"):
                    await client.views_open(trigger_id=payload["trigger_id"], view=MODAL)


# --- type-ahead, the Home and pins

SEARCH: dict[str, Any] = {
    "type": "modal",
    "callback_id": "search",
    "title": plain("Capture"),
    "submit": plain("Start"),
    "blocks": [
        {
            "type": "input",
            "block_id": "what",
            "label": plain("What"),
            "element": {"type": "external_select", "action_id": "recipe", "min_query_length": 2},
        },
        {
            "type": "input",
            "block_id": "where",
            "label": plain("Where"),
            "element": {
                "type": "multi_external_select",
                "action_id": "targets",
                "min_query_length": 0,
                "initial_options": [{"text": plain("app-1"), "value": "app-1"}],
            },
        },
    ],
}


async def searching(room: Room, suggest: Any) -> None:
    """A dialog with type-ahead is open for ana, and *suggest* answers it."""

    async def capture(ack: Any, body: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()
        await client.views_open(trigger_id=body["trigger_id"], view=SEARCH)

    room.bolt.command("/capture")(capture)
    room.bolt.options("recipe")(suggest)
    room.bolt.options("targets")(suggest)
    await room.workspace.command(room.channel, room.ana, "/capture")
    await room.workspace.wait_for(lambda: room.workspace.views(room.ana), 3)


async def test_what_is_typed_is_answered_with_options_that_can_be_chosen(room: Room) -> None:
    """And nothing else can; what is too short is not asked for."""
    typed: list[str] = []
    sent: list[dict[str, Any]] = []

    async def suggest(ack: Any, payload: dict[str, Any]) -> None:
        typed.append(payload["value"])
        await ack(
            options=[{"text": plain(f"{payload['value']}-{n}"), "value": f"{payload['value']}-{n}"} for n in (1, 2)]
        )

    async def submitted(ack: Any, view: dict[str, Any]) -> None:
        sent.append(view["state"]["values"])
        await ack()

    room.bolt.view("search")(submitted)
    await searching(room, suggest)

    assert await room.workspace.suggest(room.ana, "recipe", "d") == []
    assert await room.workspace.suggest(room.ana, "recipe", "db") == ["db-1", "db-2"]
    with pytest.raises(NotPossible, match="not one of the options"):
        await room.workspace.submit(room.ana, {"recipe": "db-3"})
    await room.workspace.submit(room.ana, {"recipe": "db-2"})

    assert typed == ["db"]
    (values,) = sent
    assert values["what"]["recipe"]["selected_option"] == {"text": plain("db-2"), "value": "db-2"}
    assert [one["value"] for one in values["where"]["targets"]["selected_options"]] == ["app-1"]


@pytest.mark.parametrize("count", [101, 1])
async def test_options_that_slack_does_not_show_are_not_shown(room: Room, count: int) -> None:
    """More than a hundred, or one whose label is too long."""

    async def suggest(ack: Any) -> None:
        await ack(options=[{"text": plain("x" * (76 if count == 1 else 1)), "value": str(n)} for n in range(count)])

    await searching(room, suggest)

    with pytest.raises(NotPossible, match="suggests nothing that can be shown"):
        await room.workspace.suggest(room.ana, "recipe", "db")


async def test_an_app_that_suggests_too_late_suggests_nothing(room: Room) -> None:
    """Slack waits three seconds."""
    late = asyncio.Event()

    async def suggest(ack: Any) -> None:
        await late.wait()
        await ack(options=[])

    await searching(room, suggest)

    with pytest.raises(NotPossible, match="operation_timeout"):
        await room.workspace.suggest(room.ana, "targets")
    late.set()


async def test_the_home_and_pins_are_told(room: Room) -> None:
    """To an app that has a Home, and that may know of pins."""
    app = replace(
        APP, events=APP.events | {"app_home_opened", "pin_added"}, scopes=APP.scopes | {"pins:read"}, has_home=True
    )
    got: list[dict[str, Any]] = []
    async with Workspace(app=app, limits=Limits(ack_s=ACK_S)) as workspace:
        bolt = AsyncApp(client=AsyncWebClient(token=workspace.bot_token, base_url=workspace.api_url))

        async def heard(event: dict[str, Any], client: AsyncWebClient) -> None:
            got.append(event)
            if event["type"] == "app_home_opened":
                button = {"type": "button", "action_id": "go", "text": plain("Go")}
                blocks = [{"type": "actions", "elements": [button]}]
                await client.views_publish(user_id=event["user"], view={"type": "home", "blocks": blocks})

        async def pressed(ack: Any, body: dict[str, Any]) -> None:
            await ack()
            got.append(body)

        bolt.event("app_home_opened")(heard)
        bolt.event("pin_added")(heard)
        bolt.event("message")(heard)
        bolt.action("go")(pressed)
        handler = AsyncSocketModeHandler(bolt, workspace.app_token)
        await handler.connect_async()
        await workspace.wait_for(lambda: workspace.sockets.numbers, 3)
        ana = workspace.add_user("ana")
        channel = workspace.add_channel("inc-1042")
        message = workspace.say(channel, ana, "slow")

        workspace.pin(channel, message.ts, ana)
        workspace.pin(channel, message.ts, ana)
        workspace.open_home(ana)
        await workspace.wait_for(lambda: workspace.home(ana), 3)
        await workspace.click_at_home(ana, "go")

        pins = [event for event in got if event["type"] == "pin_added"]
        assert [(pin["user"], pin["channel_id"], pin["item"]["message"]["text"]) for pin in pins] == [
            (ana, channel, "slow")
        ]
        assert [event["tab"] for event in got if event["type"] == "app_home_opened"] == ["home"]
        (press,) = [event for event in got if event["type"] == "block_actions"]
        assert press["container"]["type"] == "view"
        assert "channel" not in press
        await handler.close_async()
    with pytest.raises(NotPossible, match="has no Home"):
        room.workspace.open_home(room.ana)

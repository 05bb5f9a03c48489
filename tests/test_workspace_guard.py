"""The workspace's page from outside a browser: who may read and act, what is told as things change."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from bot.playground.workspace import Workspace
from bot.playground.workspace.page import STATIC

pytestmark = pytest.mark.thorough


class Room:
    """A workspace, and a session that can pretend to be any site."""

    def __init__(self, workspace: Workspace, session: aiohttp.ClientSession) -> None:
        self.workspace = workspace
        self.session = session
        self.ana = workspace.add_user("ana")
        self.ben = workspace.add_user("ben")
        self.channel = workspace.add_channel("inc-1042")

    def url(self, path: str) -> str:
        """An address on the page's server."""
        return self.workspace.page_url + path.lstrip("/")

    async def act(self, path: str, body: Any, **headers: str) -> tuple[int, str]:
        """Post as the page does, unless *headers* say otherwise; status and body of the answer."""
        own = {"Origin": self.workspace.page_url.rstrip("/"), "Content-Type": "application/json"}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.session.post(self.url(path), data=data, headers={**own, **headers}) as answer:
            return answer.status, await answer.text()


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    """A workspace with one more route."""

    async def files(_request: web.Request) -> web.Response:
        return web.Response(text="stored")

    async with Workspace(pages=[web.get("/files/{key}", files)]) as workspace, aiohttp.ClientSession() as session:
        yield Room(workspace, session)


async def test_another_site_cannot_act(room: Room) -> None:
    """A foreign, a missing or a null Origin, a form as any site can send it, and a rebound name are refused."""
    said = {"user": room.ana, "channel": room.channel, "text": "hello"}

    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": ""},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example"},
        {"Host": "[broken"},
    ):
        assert (await room.act("page/say", said, **headers))[0] in (400, 403), headers
    form = await room.act("page/say", b"user=x", **{"Content-Type": "application/x-www-form-urlencoded"})

    assert form == (400, '{"error": "JSON is expected."}')
    assert room.workspace.messages(room.channel) == []
    assert await room.act("page/say", said) == (200, "{}")
    assert [message.text for message in room.workspace.messages(room.channel)] == ["hello"]


async def test_a_rebound_name_reads_nothing(room: Room) -> None:
    """Not the page, not its data, not the Web API; localhost by another port (a tunnel) may."""
    for path in ("", "page/workspace", "page/messages", "files/x", "api/auth.test"):
        async with room.session.get(room.url(path), headers={"Host": "rebound.example:80"}) as answer:
            assert answer.status == 403
    async with room.session.get(room.url("page/workspace"), headers={"Host": "localhost:9000"}) as answer:
        assert answer.status == 200
    cross_site = {"Sec-Fetch-Site": "cross-site"}
    async with room.session.get(room.url("page/workspace"), headers=cross_site) as answer:
        assert answer.status == 403
    async with room.session.get(room.url("files/x"), headers=cross_site) as answer:
        assert (answer.status, await answer.text()) == (200, "stored")


async def test_a_page_loads_nothing_from_elsewhere(room: Room) -> None:
    """The policy allows this server only, for further pages too, and no script makes HTML of text."""
    async with room.session.get(room.url("")) as answer:
        index = await answer.text()
        policy = answer.headers["Content-Security-Policy"]
    async with room.session.get(room.url("files/x")) as answer:
        assert answer.headers["Content-Security-Policy"] == policy

    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert '<script type="module" src="/static/main.js">' in index
    for file in STATIC.iterdir():
        assert "innerHTML" not in file.read_text(), file.name
        async with room.session.get(room.url(f"static/{file.name}")) as answer:
            assert answer.status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"[" * 50_000,
        {"channel": "C1"},
        {"user": 7, "channel": "C1", "text": "x"},
        {"user": "U404", "channel": "C404", "text": "x"},
        {"user": "U404", "channel": "C404", "ts": "1.1", "action_id": "a", "block_id": "b", "values": []},
    ],
)
@pytest.mark.parametrize("path", ["say", "press", "shortcut", "view/press", "view/submit", "view/close"])
async def test_broken_acts_get_a_sentence(room: Room, path: str, body: Any) -> None:
    """Never a server error."""
    status, said = await room.act(f"page/{path}", body)

    assert status == 400
    assert json.loads(said)["error"].endswith(".")


async def test_a_private_channel_is_shown_to_members_only(room: Room) -> None:
    """Its name, its messages and its changes."""
    secret = room.workspace.add_channel("secret", private=True, members=[room.ana])
    async with room.session.get(room.url(f"page/changes?user={room.ben}")) as stream:
        assert await stream.content.readuntil(b"\n\n") == b"event: hello\ndata: {}\n\n"

        room.workspace.say(secret, room.ana, "hidden")
        room.workspace.say(room.channel, room.ana, "shown")

        heard = await stream.content.readuntil(b"\n\n")
    async with room.session.get(room.url(f"page/workspace?user={room.ben}")) as answer:
        channels = [channel["name"] for channel in (await answer.json())["channels"]]
    async with room.session.get(room.url(f"page/messages?user={room.ben}&channel={secret}")) as answer:
        status = answer.status

    assert b"shown" in heard
    assert b"hidden" not in heard
    assert channels == ["inc-1042"]
    assert status == 404


async def test_an_open_page_ends_with_the_workspace() -> None:
    """Closing takes no longer than the connections need."""
    async with aiohttp.ClientSession() as session:
        async with Workspace() as workspace:
            stream = await session.get(workspace.page_url + "page/changes?user=x")
            await stream.content.readuntil(b"\n\n")

        assert await stream.content.read() == b""


async def test_a_note_is_a_link(room: Room) -> None:
    """With the same title it takes the old one's place; only addresses are taken."""
    room.workspace.add_note("Files", "/files/")
    room.workspace.add_note("Files", f"{room.workspace.page_url}files/")

    async with room.session.get(room.url("page/workspace")) as answer:
        assert (await answer.json())["notes"] == [{"title": "Files", "url": f"{room.workspace.page_url}files/"}]
    with pytest.raises(ValueError, match="not a web address"):
        room.workspace.add_note("x", "javascript:alert(1)")


async def test_waiting_has_an_end(room: Room) -> None:
    """A condition that never comes true raises, one that is true already returns at once."""
    with pytest.raises(TimeoutError):
        await room.workspace.wait_for(lambda: room.workspace.messages(room.channel), within_s=0.02)
    room.workspace.say(room.channel, room.ana, "x")

    assert await room.workspace.wait_for(lambda: room.workspace.messages(room.channel), within_s=0.02)

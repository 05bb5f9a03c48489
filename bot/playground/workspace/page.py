"""The page: what a browser loads, and what it is told as things change."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from aiohttp import web

from bot.playground.workspace.changes import CLOSED, Change
from bot.playground.workspace.nouns import BOT_USER_ID, SLACKBOT, Message
from bot.playground.workspace.world import World

STATIC = Path(__file__).parent / "static"

_STREAMS = 50  # open pages
_MESSAGES = 1_000  # of a channel that a page loads
_STILL_HERE_S = 15.0
_NOTES = 20


@dataclass(frozen=True, slots=True)
class Note:
    """A link in the page's header."""

    title: str
    url: str


class Page:
    """Serves `/` and what it reads below `/page/`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._streams = 0
        self.notes: list[Note] = []

    def routes(self) -> list[web.AbstractRouteDef]:
        """Everything that the page reads."""
        return [
            web.get("/", self._index),
            web.static("/static", STATIC),
            web.get("/page/workspace", self._workspace),
            web.get("/page/messages", self._messages),
            web.get("/page/changes", self._changes),
        ]

    def add_note(self, title: str, url: str) -> None:
        """Show a link in the page's header."""
        if not url.startswith(("http://", "https://", "/")):
            raise ValueError(f"{url!r} is not a web address or a path")
        self.notes = [*(note for note in self.notes if note.title != title), Note(title, url)][-_NOTES:]
        self._world.changes.announce(Change(kind="frame", body={}))

    # --- what is shown

    async def _index(self, _request: web.Request) -> web.FileResponse:
        return web.FileResponse(STATIC / "index.html")

    async def _workspace(self, request: web.Request) -> web.Response:
        user = request.query.get("user", "")
        state, app = self._world.state, self._world.app
        shown = {
            "users": [
                {"id": one.id, "name": one.name, "real_name": one.real_name, "is_bot": one.is_bot or one.id == SLACKBOT}
                for one in state.users.values()
            ],
            "channels": [
                {
                    "id": one.id,
                    "name": one.name,
                    "private": one.private,
                    "members": len(one.members),
                    "app_is_in": BOT_USER_ID in one.members,
                }
                for one in state.channels.values()
                if not one.private or user in one.members
            ],
            "app": {"name": app.name, "user": BOT_USER_ID, "has_home": app.has_home},
            "commands": [{"name": one.name, "about": one.about, "usage": one.usage} for one in app.commands],
            "shortcuts": [asdict(one) for one in app.shortcuts],
            "views": [view.as_slack() for view in self._world.modals.stack(user)],
            "notes": [asdict(note) for note in self.notes],
        }
        return web.json_response(shown)

    async def _messages(self, request: web.Request) -> web.Response:
        user, channel_id = request.query.get("user", ""), request.query.get("channel", "")
        channel = self._world.state.channels.get(channel_id)
        if channel is None or (channel.private and user not in channel.members):
            raise web.HTTPNotFound(text="There is no such channel.")
        whispered = [
            message
            for (place, _), message in self._world.state.ephemerals.items()
            if place == channel_id and message.visible_to == user
        ]
        found: list[Message] = sorted([*channel.messages.values(), *whispered], key=lambda one: one.ts)
        shown = [{**channel.shown(message), "channel": channel.id} for message in found[-_MESSAGES:]]
        return web.json_response({"messages": shown})

    async def _changes(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events, until the browser or the workspace goes."""
        if self._streams >= _STREAMS:
            raise web.HTTPServiceUnavailable(text=f"At most {_STREAMS} pages can be open.")
        user = request.query.get("user", "")
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        self._streams += 1
        try:
            with self._world.changes.subscribed() as queue:
                await stream.write(b"event: hello\ndata: {}\n\n")
                while (change := await _next(queue)) is not CLOSED:
                    if change is None:
                        await stream.write(b": still here\n\n")
                    elif self._may_see(user, change):
                        data = json.dumps(change.body)
                        await stream.write(f"event: {change.kind}\ndata: {data}\n\n".encode())
        except ConnectionError:
            pass  # the browser went
        finally:
            self._streams -= 1
        return stream

    def _may_see(self, user: str, change: Change) -> bool:
        if change.user is not None:
            return change.user == user
        channel = self._world.state.channels.get(change.channel or "")
        return channel is None or not channel.private or user in channel.members


async def _next(queue: asyncio.Queue[Change]) -> Change | None:
    """The next change, or None when it is time for a sign of life."""
    try:
        async with asyncio.timeout(_STILL_HERE_S):
            return await queue.get()
    except TimeoutError:
        return None

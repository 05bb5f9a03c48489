"""A Slack workspace on this machine: the server, and the hands of the people in it for tests and the tour."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Self, TypeVar

from aiohttp import web

from bot.playground.workspace.acts import Acts
from bot.playground.workspace.app import App
from bot.playground.workspace.changes import Changes
from bot.playground.workspace.clock import Clock, SystemClock
from bot.playground.workspace.events import Events
from bot.playground.workspace.guard import LOOPBACK, add_headers, guard
from bot.playground.workspace.inputs import find_element
from bot.playground.workspace.limits import REQUEST_BYTES, Limits, Rates
from bot.playground.workspace.modals import Modals, View
from bot.playground.workspace.nouns import BOT_USER_ID, SLACKBOT, TEAM_ID, Channel, Message
from bot.playground.workspace.page import Page
from bot.playground.workspace.people import NotPossible, People
from bot.playground.workspace.responses import serve_response_url
from bot.playground.workspace.shapes import Json
from bot.playground.workspace.socketmode import Answer, Delivery, Kind, Sockets
from bot.playground.workspace.state import State
from bot.playground.workspace.tickets import ResponseUrls, Triggers
from bot.playground.workspace.web_api import Call, Fault, WebApi
from bot.playground.workspace.world import World, new_token
from bot.tasks import Tasks

T = TypeVar("T")

_log = logging.getLogger(__name__)

_CLOSE_S = 2.0


class Workspace:
    """Slack's Web API, Socket Mode and a page, on loopback, in memory.

    Use it as ``async with Workspace(...) as ws:``. Channels and people are named by their ids, messages
    by their timestamps. *app* is what the manifest asks for; *pages* are further routes of the same
    server (they get the same guard and headers).
    """

    def __init__(
        self,
        *,
        app: App | None = None,
        limits: Limits | None = None,
        clock: Clock | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        pages: Iterable[web.AbstractRouteDef] = (),
    ) -> None:
        if host not in LOOPBACK:
            raise ValueError(f"the workspace listens on loopback only, not on {host!r}")
        app, limits, clock, changes = app or App(), limits or Limits(), clock or SystemClock(), Changes()
        self._tasks = Tasks(lambda name, error: _log.error("%s failed", name, exc_info=error))
        self.sockets = Sockets(clock=clock, limits=limits, changes=changes, tasks=self._tasks)
        self._world = World(
            app=app,
            limits=limits,
            clock=clock,
            changes=changes,
            state=State(clock=clock, changes=changes, bot_name=app.name),
            rates=Rates(clock),
            modals=Modals(changes),
            triggers=Triggers(clock, limits),
            urls=ResponseUrls(clock, limits),
            sockets=self.sockets,
        )
        self._state = self._world.state
        self._events = Events(self._world, self._tasks)
        self._state.on_event = self._events.publish
        self._people = People(self._world)
        self._api = WebApi(self._world)
        self._page = Page(self._world)
        self._host, self._port, self._pages = host, port, list(pages)
        self._runner: web.AppRunner | None = None

    # --- the server

    async def __aenter__(self) -> Self:
        server = web.Application(middlewares=[guard], client_max_size=REQUEST_BYTES)
        server.on_response_prepare.append(add_headers)
        server.add_routes(
            [
                web.get("/api/{method}", self._api.serve),
                web.post("/api/{method}", self._api.serve),
                web.post("/response/{key}", partial(serve_response_url, self._world)),
                web.get("/link/", self.sockets.serve),
                *self._page.routes(),
                *Acts(self._people).routes(),
                *self._pages,
            ]
        )
        self._runner = web.AppRunner(server, access_log=None, shutdown_timeout=_CLOSE_S)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        port = self._runner.addresses[0][1]
        self._world.address = f"http://{'[::1]' if self._host == '::1' else self._host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._world.changes.close()
        await self.sockets.close()
        await self._tasks.cancel(_CLOSE_S)
        if self._runner:
            await self._runner.cleanup()

    @property
    def page_url(self) -> str:
        """Where the page is."""
        return f"{self._world.address}/"

    @property
    def api_url(self) -> str:
        """The Web API's base URL, for slack_sdk's base_url."""
        return f"{self._world.address}/api/"

    @property
    def bot_token(self) -> str:
        """The app's bot token."""
        return self._world.bot_token

    @property
    def app_token(self) -> str:
        """The app-level token for Socket Mode."""
        return self._world.app_token

    def rotate_tokens(self) -> None:
        """Issue another bot token and another app token; the former two are refused from now on."""
        world = self._world
        world.revoked |= {world.bot_token, world.app_token}
        world.bot_token, world.app_token = new_token("xoxb"), new_token("xapp-1")

    @property
    def bot_user_id(self) -> str:
        """The app's own user."""
        return BOT_USER_ID

    def add_note(self, title: str, url: str) -> None:
        """Show a link in the page's header."""
        self._page.add_note(title, url)

    # --- people and places

    def add_user(self, name: str, real_name: str = "", *, is_guest: bool = False, team: str = TEAM_ID) -> str:
        """A new person; their id. Of another *team* they are here by a shared channel."""
        return self._state.add_user(name, real_name, is_guest=is_guest, team=team).id

    def change_user(self, user: str, **fields: Any) -> None:
        """Change fields of somebody, such as `is_guest`, `deleted` or `name`."""
        self._state.users[user] = replace(self._state.users[user], **fields)

    def set_group(self, handle: str, *members: str, disabled: bool = False) -> str:
        """Put just *members* into the user group of that handle, which is made where there is none; its id."""
        group = next((one for one in self._state.groups.values() if one.handle == handle), None)
        group = group or self._state.add_group(handle, set())
        group.members = set(members)
        group.disabled_at = int(self._world.clock.now()) if disabled else 0
        return group.id

    def add_app(self, name: str) -> str:
        """Another app; its bot's id."""
        return self._state.add_user(name, name, is_bot=True).id

    def add_channel(self, name: str, *, private: bool = False, members: Iterable[str] | None = None) -> str:
        """A channel that was always there (no events); its id. Members are everybody and the bot, or those given."""
        return self._state.add_channel(name, private=private, creator=SLACKBOT, members=self._members(members)).id

    def open_channel(self, name: str, *, by: str, private: bool = False, members: Iterable[str] | None = None) -> str:
        """A person or tool opens a channel now: `channel_created` is sent for a public one. Members are *by* or given."""
        channel = self._state.add_channel(name, private=private, creator=by, members={by, *(members or ())})
        if not private:
            created = {"id": channel.id, "name": name, "created": channel.created, "creator": by}
            more = {"is_channel": True, "is_private": False, "name_normalized": name}
            self.emit({"type": "channel_created", "channel": {**created, **more}, "event_ts": self._state.new_ts()})
        return channel.id

    def rename_channel(self, channel: str, name: str) -> None:
        """Rename a channel; `channel_rename` is sent."""
        self._state.rename(self._channel(channel), name)

    def archive_channel(self, channel: str) -> None:
        """Close a channel for new messages."""
        self._channel(channel).archived = True

    def describe(self, channel: str, *, topic: str = "", purpose: str = "", bookmark: str = "") -> None:
        """Set what stands over a channel, as far as it is given."""
        place = self._channel(channel)
        place.topic, place.purpose = topic or place.topic, purpose or place.purpose
        if bookmark:
            place.bookmarks.append(("Bookmark", bookmark))

    def kick(self, channel: str, user: str) -> None:
        """Take somebody, or the bot, out of a channel."""
        self._state.leave(self._channel(channel), user)

    def delete(self, channel: str, ts: str) -> None:
        """A person deletes a message."""
        place = self._channel(channel)
        self._state.remove(place, place.messages[ts])

    def invite(self, channel: str, user: str, *, by: str | None = None) -> None:
        """Make somebody, or the bot, a member; `member_joined_channel` is sent."""
        self._state.join(self._channel(channel), user, inviter=by)

    def emit(self, event: Json) -> None:
        """Send an event that the workspace itself does not make; `type` and what belongs to it."""
        self._events.publish(event)

    # --- what people do

    def say(self, channel: str, user: str, text: str, *, thread_ts: str | None = None) -> Message:
        """Post a person's message."""
        return self._people.say(channel, user, text, thread_ts=thread_ts)

    def post_as(self, app: str, channel: str, text: str, *, blocks: Iterable[Json] = ()) -> Message:
        """Another app posts a message."""
        place = self._channel(channel)
        return self._state.post(place, user=app, text=text, blocks=tuple(blocks), bot_id=f"B{app[1:]}")

    async def command(self, channel: str, user: str, line: str, *, thread_ts: str | None = None) -> Answer:
        """Type a slash command and wait for the ack (at most `Limits.ack_s`)."""
        return await self._people.command(channel, user, line, thread_ts=thread_ts)

    def edit(self, channel: str, message_ts: str, user: str, text: str) -> None:
        """Change a person's own message; `message_changed` is sent."""
        self._people.edit(channel, message_ts, user, text)

    def open_home(self, user: str) -> None:
        """Look at the app's Home; `app_home_opened` is sent."""
        self._people.open_home(user)

    async def click_at_home(self, user: str, action_id: str) -> Answer:
        """Press a button of the app's Home."""
        return await self._people.press_at_home(user, action_id=action_id)

    def pin(self, channel: str, message_ts: str, user: str) -> None:
        """Pin a message."""
        self._people.pin(channel, message_ts, user)

    async def click(self, message_ts: str, action_id: str, user: str, *, value: Any = None) -> Answer:
        """Press a button, or choose *value* (an option's value, a text, a list of them) in another element."""
        for channel in self._state.channels.values():
            if self._state.find(channel, message_ts):
                return await self._people.press(channel.id, message_ts, user, action_id=action_id, value=value)
        raise NotPossible(f"There is no message {message_ts}.")

    async def shortcut(
        self, callback_id: str, user: str, *, channel: str | None = None, message_ts: str | None = None
    ) -> Answer:
        """Choose a global shortcut, or one of a message's menu."""
        return await self._people.shortcut(callback_id, user, channel_id=channel, ts=message_ts)

    async def click_in_view(
        self, user: str, action_id: str, *, value: Any = None, given: Mapping[str, Mapping[str, Any]] | None = None
    ) -> Answer:
        """Press or choose something in the modal that *user* has on top, where *given* was entered by block and action."""
        view = self._top(user)
        found = find_element(view.body["blocks"], action_id)
        return await self._people.press_in_view(
            view.id,
            user,
            action_id=action_id,
            block_id=found[0]["block_id"] if found else None,
            value=value,
            given=given or {},
        )

    async def fill(self, user: str, given: Mapping[str, Mapping[str, Any]]) -> Answer:
        """Submit the modal that *user* has on top with what is *given* by block and action."""
        return await self._people.submit(self._top(user).id, user, given)

    async def suggest(self, user: str, action_id: str, typed: str = "") -> list[str]:
        """Type into an external select of the modal that *user* has on top; the values that the app suggests."""
        view = self._top(user)
        if (found := find_element(view.body["blocks"], action_id)) is None:
            raise NotPossible(f"The dialog has no input {action_id!r}.")
        block_id = found[0]["block_id"]
        options = await self._people.suggest(view.id, user, action_id=action_id, block_id=block_id, typed=typed)
        return [option["value"] for option in options]

    async def submit(self, user: str, fill: Mapping[str, Any] | None = None) -> Answer:
        """Fill in the modal that *user* has on top, by action id, and submit it."""
        view = self._top(user)
        given: dict[str, dict[str, Any]] = {}
        for action_id, value in (fill or {}).items():
            if (found := find_element(view.body["blocks"], action_id)) is None:
                raise NotPossible(f"The dialog has no input {action_id!r}.")
            given.setdefault(found[0]["block_id"], {})[action_id] = value
        return await self._people.submit(view.id, user, given)

    async def close_view(self, user: str) -> None:
        """Close the modal that *user* has on top."""
        await self._people.close(self._top(user).id, user)

    # --- what is to be seen

    def messages(self, channel: str) -> list[Message]:
        """The channel's own messages, oldest first; of threads only what was broadcast."""
        found = self._channel(channel).messages.values()
        return [message for message in found if message.thread_ts in (None, message.ts) or message.broadcast]

    def thread(self, channel: str, ts: str) -> list[Message]:
        """A message and the replies below it, oldest first; empty when there is no such message."""
        place = self._channel(channel)
        return [place.messages[ts], *place.replies(ts)] if ts in place.messages else []

    def ephemerals(self, channel: str, user: str) -> list[Message]:
        """What only *user* sees in the channel, oldest first."""
        found = self._state.ephemerals.items()
        return [message for (place, _), message in found if place == channel and message.visible_to == user]

    def views(self, user: str) -> list[View]:
        """The modals that *user* has open, the top one last."""
        return self._world.modals.stack(user)

    def home(self, user: str) -> Json | None:
        """What the app published as the person's App Home."""
        return self._state.homes.get(user)

    async def wait_for(self, look: Callable[[], T], within_s: float) -> T:
        """Return the first true value of *look*, which is called after every change and API call.

        Raises TimeoutError after *within_s* seconds.
        """
        return await self._world.changes.until(look, within_s)

    # --- the log, and faults

    @property
    def calls(self) -> deque[Call]:
        """Web API calls as they were answered, oldest first, bounded."""
        return self._api.calls

    @property
    def deliveries(self) -> deque[Delivery]:
        """Envelopes that were sent, with the time of their ack, oldest first, bounded."""
        return self.sockets.deliveries

    def ack_s(self, share: float = 0.99, kind: Kind | None = None) -> float:
        """The ack latency in seconds that *share* of the deliveries stay within; one without an ack is infinite."""
        taken = sorted(
            math.inf if one.acked_after_s is None else one.acked_after_s
            for one in self.deliveries
            if kind in (None, one.kind)
        )
        if not taken:
            raise ValueError("nothing was delivered yet")
        return taken[max(0, math.ceil(share * len(taken)) - 1)]

    def fail_next(self, method: str, fault: Fault, *, times: int = 1) -> None:
        """Let the next *times* calls of a Web API method fail."""
        self._api.fail_next(method, fault, times=times)

    # --- inside

    def _members(self, given: Iterable[str] | None) -> set[str]:
        return set(self._state.users) - {SLACKBOT} if given is None else set(given)

    def _channel(self, channel_id: str) -> Channel:
        if (channel := self._state.channels.get(channel_id)) is None:
            raise ValueError(f"there is no channel {channel_id!r}")
        return channel

    def _top(self, user: str) -> View:
        if not (stack := self.views(user)):
            raise NotPossible(f"{user} has no dialog open.")
        return stack[-1]

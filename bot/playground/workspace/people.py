"""What people do: type, press, choose, fill in. Each is told to the app, and what comes back is shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bot.playground.workspace import payloads
from bot.playground.workspace.elements import OPTIONS
from bot.playground.workspace.inputs import BadInput, Given, chosen, find_element, missing, state_of
from bot.playground.workspace.modals import View, check_view
from bot.playground.workspace.nouns import SLACKBOT, Channel, Message, User
from bot.playground.workspace.responses import respond
from bot.playground.workspace.shapes import Json
from bot.playground.workspace.socketmode import Answer
from bot.playground.workspace.tickets import Reply
from bot.playground.workspace.wire import Refusal
from bot.playground.workspace.world import World

LINE_CHARS = 12_000  # the longest line that the composer takes

_MENTION = re.compile(
    r"(?<![\w@])@([a-z0-9_\-]+(?:\.[a-z0-9_\-]+)*)|(?<![\w#&])#([a-z0-9_\-]+)|(https?://[^\s<>|]*[^\s<>|.,;:!?)\]}'\"])"
)


class NotPossible(Exception):
    """A person tried what cannot be done; the sentence says why."""


class People:
    """The hands of everybody in the workspace."""

    def __init__(self, world: World) -> None:
        self._world = world

    # --- words

    def say(self, channel_id: str, user_id: str, text: str, *, thread_ts: str | None = None) -> Message:
        """Post what a person typed; mentions become Slack's references."""
        channel, user = self._channel(channel_id, user_id), self._user(user_id)
        if not text.strip() or len(text) > LINE_CHARS:
            raise NotPossible(f"A message has 1 to {LINE_CHARS} characters.")
        if thread_ts and thread_ts not in channel.messages:
            raise NotPossible("This thread is gone.")
        return self._world.state.post(channel, user=user.id, text=self._escaped(text), thread_ts=thread_ts)

    async def command(self, channel_id: str, user_id: str, line: str, *, thread_ts: str | None = None) -> Answer:
        """Run a slash command as typed, e.g. "/capture db orders-db"; what goes wrong is whispered, as Slack does."""
        channel, user = self._channel(channel_id, user_id), self._user(user_id)
        if len(line) > LINE_CHARS:
            raise NotPossible(f"A command has at most {LINE_CHARS} characters.")
        if not line.startswith("/"):
            raise NotPossible("A command starts with /.")
        name, *rest = line.strip().split(None, 1)
        text = rest[0] if rest else ""
        command = next((command for command in self._world.app.commands if command.name == name), None)
        if command is None or "commands" not in self._world.app.scopes:
            return self._whispered(channel, user, f"{name} is not a valid command.", thread_ts, "unknown_command")
        if thread_ts:
            sentence = f"{name} is not supported in threads. Sorry!"
            return self._whispered(channel, user, sentence, thread_ts, "not_supported_in_threads")
        text = self._escaped(text) if command.escape else _entities(text)
        payload = payloads.slash_command(self._world, channel, user, name=name, text=text)
        answer = await self._world.sockets.deliver("slash_commands", payload)
        if answer.error:
            return self._whispered(channel, user, f'{name} failed with the error "{answer.error}"', None, answer.error)
        if answer.response:
            if answer.response.get("response_type") == "in_channel":
                self._world.state.post(channel, user=user.id, text=_entities(line))
            if (refused := self._show(channel, user, answer.response)) is not None:
                sentence = f'{name} failed with the error "invalid_command_response" ({refused})'
                return self._whispered(channel, user, sentence, None, "invalid_command_response")
        return answer

    # --- presses

    async def press(
        self,
        channel_id: str,
        ts: str,
        user_id: str,
        *,
        action_id: str,
        block_id: str | None = None,
        value: Any = None,
        given: Given | None = None,
    ) -> Answer:
        """Act on an element of a message; *value* is what was chosen where there is a choice."""
        channel, user = self._channel(channel_id, user_id), self._user(user_id)
        message = self._world.state.find(channel, ts)
        if message is None or message.visible_to not in (None, user_id):
            raise NotPossible("This message is gone.")
        attached = [block for attachment in message.attachments for block in attachment.get("blocks", [])]
        blocks = [*message.blocks, *attached]
        entered = _with(given or {}, block_id, action_id, value)
        action, values = self._acted(blocks, action_id, block_id, value, entered)
        payload = payloads.message_block_action(self._world, channel, user, message, action=action, values=values)
        return await self._interact(payload)

    async def press_in_view(
        self, view_id: str, user_id: str, *, action_id: str, block_id: str | None = None, value: Any, given: Given
    ) -> Answer:
        """Act on an element of an open modal."""
        view, user = self._view(view_id, user_id), self._user(user_id)
        blocks = view.fillable()
        action, view.values = self._acted(blocks, action_id, block_id, value, _with(given, block_id, action_id, value))
        return await self._interact(payloads.view_block_action(self._world, user, view, action=action))

    async def suggest(self, view_id: str, user_id: str, *, action_id: str, block_id: str, typed: str) -> list[Json]:
        """Type into an external select of an open modal; what the app suggests, in Slack's order."""
        view, user = self._view(view_id, user_id), self._user(user_id)
        found = find_element(view.body["blocks"], action_id, block_id)
        if found is None or not found[1]["type"].endswith("external_select"):
            raise NotPossible(f"There is nothing to type into with the action {action_id!r}.")
        if len(typed) < found[1].get("min_query_length", 3):
            return []
        payload = payloads.block_suggestion(
            self._world, user, view, block_id=block_id, action_id=action_id, typed=typed
        )
        answer = await self._interact(payload)
        options = (answer.response or {}).get("options")
        faults: list[str] = []
        OPTIONS(options, "/options", faults)
        if answer.error or faults:
            raise NotPossible(f"The app suggests nothing that can be shown: {answer.error or faults[0]}")
        known = view.suggested.setdefault((block_id, action_id), {})
        known |= {option["value"]: option for option in options or []}
        return list(options or [])

    async def shortcut(
        self, callback_id: str, user_id: str, *, channel_id: str | None = None, ts: str | None = None
    ) -> Answer:
        """Choose a shortcut: from a message's menu when *ts* is given."""
        user = self._user(user_id)
        kind = "message" if ts else "global"
        if not any((one.callback_id, one.kind) == (callback_id, kind) for one in self._world.app.shortcuts):
            raise NotPossible(f"The app has no {kind} shortcut {callback_id!r}.")
        if not ts:
            return await self._interact(payloads.global_shortcut(self._world, user, callback_id))
        channel = self._channel(channel_id or "", user_id)
        if (message := channel.messages.get(ts)) is None:
            raise NotPossible("This message is gone.")
        return await self._interact(payloads.message_action(self._world, channel, user, message, callback_id))

    def edit(self, channel_id: str, ts: str, user_id: str, text: str) -> None:
        """Change one's own message; `message_changed` is sent."""
        channel, user = self._channel(channel_id, user_id), self._user(user_id)
        if (message := channel.messages.get(ts)) is None or message.user != user.id:
            raise NotPossible("This is not a message of yours.")
        if not text.strip() or len(text) > LINE_CHARS:
            raise NotPossible(f"A message has 1 to {LINE_CHARS} characters.")
        self._world.state.edit(channel, message, self._escaped(text))

    def pin(self, channel_id: str, ts: str, user_id: str) -> None:
        """Pin a message."""
        channel, user = self._channel(channel_id, user_id), self._user(user_id)
        if (message := channel.messages.get(ts)) is None:
            raise NotPossible("This message is gone.")
        if not message.pinned:
            self._world.state.pin(channel, message, by=user.id)

    def open_home(self, user_id: str) -> None:
        """Look at the app's Home; what it publishes is shown there."""
        user = self._user(user_id)
        if not self._world.app.has_home:
            raise NotPossible("The app has no Home.")
        opened = {"type": "app_home_opened", "user": user.id, "channel": f"D{user.id[1:]}", "tab": "home"}
        self._world.state.on_event({**opened, "event_ts": self._world.state.new_ts()})

    async def press_at_home(self, user_id: str, *, action_id: str, block_id: str | None = None) -> Answer:
        """Press a button of the app's Home."""
        user = self._user(user_id)
        if (home := self._world.state.homes.get(user_id)) is None:
            raise NotPossible("The app has published no Home yet.")
        action, _ = self._acted(home["blocks"], action_id, block_id, None, {})
        return await self._interact(payloads.home_block_action(self._world, user, home, action=action))

    # --- modals

    async def submit(self, view_id: str, user_id: str, given: Given) -> Answer:
        """Submit a modal. Complaints about inputs come back as response["errors"], by block id."""
        view, user = self._view(view_id, user_id), self._user(user_id)
        try:
            view.values = state_of(view.fillable(), given)
        except BadInput as bad:
            raise NotPossible(str(bad)) from bad
        if gaps := missing(view.body["blocks"], view.values):
            return Answer(response={"response_action": "errors", "errors": gaps}, error="incomplete")
        answer = await self._interact(payloads.view_submission(self._world, user, view))
        if answer.error:
            return answer
        try:
            self._follow(view, answer.response or {})
        except Refusal as refusal:
            return Answer(acked_after_s=answer.acked_after_s, response=answer.response, error=refusal.error)
        return answer

    async def close(self, view_id: str, user_id: str) -> None:
        """Close a modal unsent."""
        view, user = self._view(view_id, user_id), self._user(user_id)
        payload = payloads.view_closed(self._world, user, view, is_cleared=False)
        if view.body.get("clear_on_close"):
            self._world.modals.clear(user_id)
        else:
            self._world.modals.close(view)
        if view.body.get("notify_on_close"):
            await self._interact(payload)

    # --- inside

    def _follow(self, view: View, response: Json) -> None:
        """Do what a submission's ack asks for. Raises Refusal when it cannot be done."""
        match response.get("response_action"):
            case None:
                self._world.modals.close(view)
            case "clear":
                self._world.modals.clear(view.user)
            case "update":
                self._world.modals.update(view, check_view(response.get("view"), "modal"))
            case "push":
                self._world.modals.push(view.user, check_view(response.get("view"), "modal"))
            case "errors" if isinstance(response.get("errors"), dict):
                inputs = {block["block_id"] for block in view.body["blocks"] if block["type"] == "input"}
                if not response["errors"] or not set(response["errors"]) <= inputs:
                    raise Refusal("invalid_response_action")
            case _:
                raise Refusal("invalid_response_action")

    def _acted(
        self, blocks: list[Json], action_id: str, block_id: str | None, value: Any, given: Given
    ) -> tuple[Json, Json]:
        """The `actions` entry and the `state.values` of one act."""
        found = find_element(blocks, action_id, block_id)
        if found is None:
            raise NotPossible(f"There is nothing with the action {action_id!r} here any more.")
        block, element = found
        try:
            return payloads.action_of(block, element, chosen(element, value)), state_of(blocks, given)
        except BadInput as bad:
            raise NotPossible(str(bad)) from bad

    async def _interact(self, payload: Json) -> Answer:
        if not self._world.app.interactive:
            raise NotPossible("The app's manifest does not enable interactivity.")
        return await self._world.sockets.deliver("interactive", payload)

    def _show(self, channel: Channel, user: User, response: Json) -> str | None:
        """Show what came with an ack; Slack's error when it cannot be shown. A bare response_type shows nothing."""
        if not response.keys() - {"response_type"}:
            return None
        reply = Reply(channel=channel.id, user=user.id, source_ts=None, born=self._world.clock.now())
        try:
            respond(self._world, reply, response)
        except Refusal as refusal:
            return refusal.error
        return None

    def _whispered(self, channel: Channel, user: User, text: str, thread_ts: str | None, error: str) -> Answer:
        self._world.state.whisper(channel, to=user.id, user=SLACKBOT, text=_entities(text), thread_ts=thread_ts)
        return Answer(error=error)

    def _user(self, user_id: str) -> User:
        user = self._world.state.users.get(user_id)
        if user is None or user.is_bot or user.id == SLACKBOT:
            raise NotPossible(f"There is no person {user_id!r}.")
        return user

    def _channel(self, channel_id: str, user_id: str) -> Channel:
        channel = self._world.state.channels.get(channel_id)
        if channel is None or (channel.private and user_id not in channel.members):
            raise NotPossible(f"There is no channel {channel_id!r} for {user_id!r}.")
        return channel

    def _view(self, view_id: str, user_id: str) -> View:
        for view in self._world.modals.stack(user_id):
            if view.id == view_id:
                return view
        raise NotPossible("This dialog is not open any more.")

    def _escaped(self, text: str) -> str:
        """Slack's own form of a text: entities, and references for the people, channels and addresses in it."""
        people = {user.name: user.id for user in self._world.state.users.values()}
        channels = {channel.name: channel for channel in self._world.state.channels.values()}

        def refer(found: re.Match[str]) -> str:
            person, place, address = found.groups()
            if person in people:
                return f"<@{people[person]}>"
            if place in channels:
                return f"<#{channels[place].id}|{'' if channels[place].private else place}>"
            return f"<{address}>" if address else found[0]

        return _MENTION.sub(refer, _entities(text))


def _entities(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _with(given: Given, block_id: str | None, action_id: str, value: Any) -> Given:
    """*given* with what was just chosen."""
    if block_id is None or value is None:
        return given
    block: Mapping[str, Any] = {**given.get(block_id, {}), action_id: value}
    return {**given, block_id: block}

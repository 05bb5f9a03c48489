"""The JSON of interactions, as Slack documents it."""

from __future__ import annotations

from typing import Any

from bot.playground.workspace.modals import View
from bot.playground.workspace.nouns import APP_ID, TEAM_ID, TEAM_NAME, Channel, Message, User
from bot.playground.workspace.shapes import Json
from bot.playground.workspace.world import World

_TEAM = {"id": TEAM_ID, "domain": TEAM_NAME.lower()}


def slash_command(world: World, channel: Channel, user: User, *, name: str, text: str) -> Json:
    """A slash command; the response URL and trigger id are fresh."""
    return {
        "token": "playground",
        "team_id": user.team,
        "team_domain": TEAM_NAME.lower(),
        "channel_id": channel.id,
        "channel_name": "privategroup" if channel.private else channel.name,
        "user_id": user.id,
        "user_name": user.name,
        "command": name,
        "text": text,
        "api_app_id": APP_ID,
        "is_enterprise_install": "false",
        "response_url": world.address + world.urls.new(channel=channel.id, user=user.id),
        "trigger_id": world.triggers.new(user.id),
    }


def message_action(world: World, channel: Channel, user: User, message: Message, callback_id: str) -> Json:
    """A message shortcut."""
    return {
        **_base(world, "message_action", user),
        "callback_id": callback_id,
        "action_ts": world.state.new_ts(),
        "message_ts": message.ts,
        "channel": {"id": channel.id, "name": channel.name},
        "message": channel.shown(message),
        "response_url": world.address + world.urls.new(channel=channel.id, user=user.id, source_ts=message.ts),
    }


def global_shortcut(world: World, user: User, callback_id: str) -> Json:
    """A global shortcut."""
    return {**_base(world, "shortcut", user), "callback_id": callback_id, "action_ts": world.state.new_ts()}


def message_block_action(
    world: World, channel: Channel, user: User, message: Message, *, action: Json, values: Json
) -> Json:
    """Something in a message was pressed or chosen."""
    container: Json = {
        "type": "message",
        "message_ts": message.ts,
        "channel_id": channel.id,
        "is_ephemeral": message.visible_to is not None,
    }
    if message.thread_ts:
        container["thread_ts"] = message.thread_ts
    return {
        **_base(world, "block_actions", user),
        "container": container,
        "channel": {"id": channel.id, "name": channel.name},
        "message": channel.shown(message),
        "state": {"values": values},
        "response_url": world.address + world.urls.new(channel=channel.id, user=user.id, source_ts=message.ts),
        "actions": [{**action, "action_ts": world.state.new_ts()}],
    }


def view_block_action(world: World, user: User, view: View, *, action: Json) -> Json:
    """Something in a modal was pressed or chosen."""
    return {
        **_base(world, "block_actions", user),
        "container": {"type": "view", "view_id": view.id},
        "view": view.as_slack(),
        "actions": [{**action, "action_ts": world.state.new_ts()}],
    }


def home_block_action(world: World, user: User, home: Json, *, action: Json) -> Json:
    """A button of the app's Home was pressed."""
    return {
        **_base(world, "block_actions", user),
        "container": {"type": "view", "view_id": home["id"]},
        "view": home,
        "actions": [{**action, "action_ts": world.state.new_ts()}],
    }


def block_suggestion(world: World, user: User, view: View, *, block_id: str, action_id: str, typed: str) -> Json:
    """Something was typed into an external select; Slack gives no trigger id here."""
    payload = {
        **_base(world, "block_suggestion", user),
        "container": {"type": "view", "view_id": view.id},
        "view": view.as_slack(),
        "block_id": block_id,
        "action_id": action_id,
        "value": typed,
    }
    del payload["trigger_id"]
    return payload


def view_submission(world: World, user: User, view: View) -> Json:
    """A modal was submitted."""
    return {**_base(world, "view_submission", user), "view": view.as_slack(), "response_urls": []}


def view_closed(world: World, user: User, view: View, *, is_cleared: bool) -> Json:
    """A modal was closed unsent; Slack gives no trigger id here."""
    payload = {**_base(world, "view_closed", user), "view": view.as_slack(), "is_cleared": is_cleared}
    del payload["trigger_id"]
    return payload


def action_of(block: Json, element: Json, report: Json) -> Json:
    """One entry of `actions`: what was acted on, and what was chosen."""
    action: Json = {
        "type": element["type"],
        "action_id": element["action_id"],
        "block_id": block["block_id"],
        **{name: element[name] for name in ("style", "url", "placeholder") if name in element},
        **report,
    }
    if element["type"] == "button":
        action["text"] = element["text"]
    return action


def _base(world: World, kind: str, user: User) -> dict[str, Any]:
    person = {"id": user.id, "username": user.name, "name": user.name, "team_id": user.team}
    return {
        "type": kind,
        "team": _TEAM,
        "user": person,
        "api_app_id": APP_ID,
        "token": "playground",
        "enterprise": None,
        "is_enterprise_install": False,
        "trigger_id": world.triggers.new(user.id),
    }

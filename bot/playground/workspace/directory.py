"""auth.*, apps.*, users.*, usergroups.* and the conversations.* methods about channels: who and what is there."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import TypeVar

from bot.playground.workspace.methods import Method
from bot.playground.workspace.nouns import APP_ID, BOT_ID, BOT_USER_ID, TEAM_ID, TEAM_NAME
from bot.playground.workspace.shapes import Json
from bot.playground.workspace.wire import Args, Refusal
from bot.playground.workspace.world import World

T = TypeVar("T")

_TYPES = {"public_channel": "channels:read", "private_channel": "groups:read", "im": "im:read", "mpim": "mpim:read"}


def who_am_i(world: World, _args: Args) -> Json:
    """auth.test."""
    return {
        "url": f"{world.address}/",
        "team": TEAM_NAME,
        "user": world.state.users[BOT_USER_ID].name,
        "team_id": TEAM_ID,
        "user_id": BOT_USER_ID,
        "bot_id": BOT_ID,
        "is_enterprise_install": False,
    }


def echo(_world: World, args: Args) -> Json:
    """api.test: gives back what it got, or the error that was asked for."""
    if error := args.maybe("error"):
        raise Refusal(error)
    return {"args": args.values}


def open_connection(world: World, _args: Args) -> Json:
    """apps.connections.open: an address for one Socket Mode connection."""
    address = world.address.replace("http://", "ws://", 1)
    return {"url": f"{address}/link/?ticket={world.sockets.new_ticket()}&app_id={APP_ID}"}


def list_conversations(world: World, args: Args) -> Json:
    """conversations.list: channels of the types asked for; private ones only with the bot in them."""
    kinds = (args.maybe("types") or "public_channel").replace(" ", "").split(",")
    for kind in kinds:
        if kind not in _TYPES:
            raise Refusal("invalid_types")
        world.needs_scope(_TYPES[kind])
    shown = [
        channel.as_slack()
        for channel in world.state.channels.values()
        if ("private_channel" if channel.private else "public_channel") in kinds
        and (not channel.private or BOT_USER_ID in channel.members)
        and not (channel.archived and args.flag("exclude_archived"))
    ]
    return paged("channels", shown, args, most=1_000)


def show_conversation(world: World, args: Args) -> Json:
    """conversations.info."""
    channel = world.channel(args.text("channel"))
    world.needs_scope("groups:read" if channel.private else "channels:read")
    shown = channel.as_slack()
    if not args.flag("include_num_members"):
        del shown["num_members"]
    return {"channel": shown}


def join_conversation(world: World, args: Args) -> Json:
    """conversations.join."""
    channel = world.channel(args.text("channel"))
    if channel.private:
        raise Refusal("method_not_supported_for_channel_type")
    if channel.archived:
        raise Refusal("is_archived")
    if BOT_USER_ID in channel.members:
        return {"channel": channel.as_slack(), "response_metadata": {"warnings": ["already_in_channel"]}}
    world.state.join(channel, BOT_USER_ID)
    return {"channel": channel.as_slack()}


def list_members(world: World, args: Args) -> Json:
    """conversations.members."""
    channel = world.channel(args.text("channel"))
    world.needs_scope("groups:read" if channel.private else "channels:read")
    return paged("members", sorted(channel.members), args, most=1_000)


def show_user(world: World, args: Args) -> Json:
    """users.info."""
    if (user := world.state.users.get(args.text("user"))) is None:
        raise Refusal("user_not_found")
    return {"user": user.as_slack()}


def list_users(world: World, args: Args) -> Json:
    """users.list."""
    return paged("members", [user.as_slack() for user in world.state.users.values()], args, most=1_000)


def list_groups(world: World, args: Args) -> Json:
    """usergroups.list: all at once, without pages."""
    with_users, with_disabled = args.flag("include_users"), args.flag("include_disabled")
    groups = [group for group in world.state.groups.values() if with_disabled or not group.disabled_at]
    return {"usergroups": [group.as_slack(with_users=with_users) for group in groups]}


def paged(name: str, items: Sequence[T], args: Args, *, most: int, default: int = 100) -> Json:
    """One page of *items*, with Slack's cursor to the next."""
    limit = args.number("limit", default=default, least=1, most=most)
    start = _position(args.maybe("cursor"))
    following = start + limit
    cursor = base64.b64encode(f"next:{following}".encode()).decode() if following < len(items) else ""
    return {name: list(items[start:following]), "response_metadata": {"next_cursor": cursor}}


def _position(cursor: str | None) -> int:
    if cursor is None:
        return 0
    try:
        word, _, position = base64.b64decode(cursor, validate=True).decode().partition(":")
    except (binascii.Error, ValueError) as broken:
        raise Refusal("invalid_cursor") from broken
    if word != "next" or not (position.isascii() and position.isdecimal() and len(position) < 10):
        raise Refusal("invalid_cursor")
    return int(position)


METHODS = {
    "auth.test": Method(who_am_i, tier=None),
    "api.test": Method(echo, tier=4),
    "apps.connections.open": Method(open_connection, tier=3, app_level=True),
    "conversations.list": Method(list_conversations, tier=2),
    "conversations.info": Method(show_conversation, tier=3),
    "conversations.join": Method(join_conversation, tier=3, scopes=("channels:join",)),
    "conversations.members": Method(list_members, tier=4),
    "users.info": Method(show_user, tier=4, scopes=("users:read",)),
    "users.list": Method(list_users, tier=2, scopes=("users:read",)),
    "usergroups.list": Method(list_groups, tier=2, scopes=("usergroups:read",)),
}

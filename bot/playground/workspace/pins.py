"""pins.* and bookmarks.*: what stands out in a channel."""

from __future__ import annotations

from bot.playground.workspace.methods import Method
from bot.playground.workspace.nouns import BOT_USER_ID, Channel, Message
from bot.playground.workspace.shapes import Json
from bot.playground.workspace.wire import Args, Refusal
from bot.playground.workspace.world import World

_PINS = 100  # in one channel


def add_pin(world: World, args: Args) -> Json:
    """pins.add."""
    channel, message = _item(world, args)
    if message.pinned:
        raise Refusal("already_pinned")
    if sum(one.pinned for one in channel.messages.values()) >= _PINS:
        raise Refusal("too_many_pins")
    world.state.pin(channel, message, by=BOT_USER_ID)
    return {}


def remove_pin(world: World, args: Args) -> Json:
    """pins.remove."""
    channel, message = _item(world, args)
    if not message.pinned:
        raise Refusal("no_pin")
    world.state.change(channel, message, pinned=False)
    return {}


def list_pins(world: World, args: Args) -> Json:
    """pins.list."""
    channel = _entered(world, args.text("channel"))
    pinned = [message for message in channel.messages.values() if message.pinned]
    return {"items": [{"type": "message", "channel": channel.id, "message": channel.shown(one)} for one in pinned]}


def list_bookmarks(world: World, args: Args) -> Json:
    """bookmarks.list."""
    channel = _entered(world, args.text("channel_id"))
    return {
        "bookmarks": [
            {"id": f"Bk{n:08d}", "channel_id": channel.id, "title": title, "link": link, "type": "link"}
            for n, (title, link) in enumerate(channel.bookmarks, start=1)
        ]
    }


def _item(world: World, args: Args) -> tuple[Channel, Message]:
    channel = _entered(world, args.text("channel"))
    if channel.archived:
        raise Refusal("is_archived")
    if (timestamp := args.maybe("timestamp")) is None:
        raise Refusal("no_item_specified")
    message = channel.messages.get(timestamp)
    if message is None or message.subtype == "tombstone":
        raise Refusal("message_not_found")
    return channel, message


def _entered(world: World, channel_id: str) -> Channel:
    channel = world.channel(channel_id)
    if BOT_USER_ID not in channel.members:
        raise Refusal("not_in_channel")
    return channel


METHODS = {
    "pins.add": Method(add_pin, tier=2, scopes=("pins:write",)),
    "pins.remove": Method(remove_pin, tier=2, scopes=("pins:write",)),
    "pins.list": Method(list_pins, tier=2, scopes=("pins:read",)),
    "bookmarks.list": Method(list_bookmarks, tier=3, scopes=("bookmarks:read",)),
}

"""chat.* and reactions.add: what the app says."""

from __future__ import annotations

import re

from bot.playground.workspace.content import Content, read_content
from bot.playground.workspace.methods import Method
from bot.playground.workspace.nouns import BOT_USER_ID, Channel, Message
from bot.playground.workspace.shapes import Json
from bot.playground.workspace.wire import Args, RateLimited, Refusal
from bot.playground.workspace.world import World

_EMOJI = re.compile(r"[a-z0-9_+'\-]{1,100}(::skin-tone-[2-6])?")


def post_message(world: World, args: Args) -> Json:
    """chat.postMessage."""
    channel = _writable(world, args.text("channel"))
    content = read_content(args)
    parent = _parent(channel, args)
    _take_post(world, channel)
    message = world.state.post(
        channel,
        user=BOT_USER_ID,
        by_app=True,
        thread_ts=parent.ts if parent else None,
        broadcast=bool(parent) and args.flag("reply_broadcast"),
        metadata=content.metadata or None,
        **content.fields(),
    )
    shown = {**message.as_slack(with_metadata=True), "bot_profile": world.state.profile_of_bot()}
    return {"channel": channel.id, "ts": message.ts, "message": shown, **_warned(content)}


def update(world: World, args: Args) -> Json:
    """chat.update: text without blocks takes the old blocks away, metadata stays unless it is given."""
    channel = world.channel(args.text("channel"))
    message = _own(channel, args.text("ts"), "cant_update_message")
    if channel.archived:
        raise Refusal("is_inactive")
    content = read_content(args, update=True)
    fields = content.fields()
    if content.metadata is not None:
        fields["metadata"] = content.metadata or None
    if not content.blocks:
        fields["edited_at"] = world.state.new_ts()
    edited = world.state.change(channel, message, **fields)
    shown = edited.as_slack(with_metadata=True)
    return {"channel": channel.id, "ts": edited.ts, "text": edited.text, "message": shown, **_warned(content)}


def delete(world: World, args: Args) -> Json:
    """chat.delete."""
    channel = world.channel(args.text("channel"))
    message = _own(channel, args.text("ts"), "cant_delete_message")
    world.state.remove(channel, message)
    return {"channel": channel.id, "ts": message.ts}


def post_ephemeral(world: World, args: Args) -> Json:
    """chat.postEphemeral."""
    channel = _writable(world, args.text("channel"))
    if (user := args.text("user")) not in channel.members:
        raise Refusal("user_not_in_channel")
    content = read_content(args)
    parent = _parent(channel, args)
    message = world.state.whisper(
        channel,
        to=user,
        user=BOT_USER_ID,
        by_app=True,
        thread_ts=parent.ts if parent else None,
        **content.fields(),
    )
    return {"message_ts": message.ts, **_warned(content)}


def add_reaction(world: World, args: Args) -> Json:
    """reactions.add."""
    channel = world.channel(args.text("channel"))
    name = args.text("name").strip(":")
    if (message := channel.messages.get(args.text("timestamp"))) is None:
        raise Refusal("message_not_found")
    if not _EMOJI.fullmatch(name):
        raise Refusal("invalid_name")
    users = message.reactions.get(name, ())
    if BOT_USER_ID in users:
        raise Refusal("already_reacted")
    world.state.change(channel, message, reactions={**message.reactions, name: (*users, BOT_USER_ID)})
    return {}


def _writable(world: World, channel_id: str) -> Channel:
    channel = world.channel(channel_id)
    if channel.archived:
        raise Refusal("is_archived")
    if BOT_USER_ID not in channel.members and "chat:write.public" not in world.app.scopes:
        raise Refusal("not_in_channel")
    return channel


def _parent(channel: Channel, args: Args) -> Message | None:
    """The message that thread_ts names: it must be one that threads start from."""
    if (thread_ts := args.maybe("thread_ts")) is None:
        return None
    parent = channel.messages.get(thread_ts)
    if parent is None or parent.thread_ts not in (None, parent.ts):
        raise Refusal("thread_not_found")
    return parent


def _own(channel: Channel, ts: str, error: str) -> Message:
    if (message := channel.messages.get(ts)) is None or message.subtype == "tombstone":
        raise Refusal("message_not_found")
    if not message.by_app:
        raise Refusal(error)
    return message


def _take_post(world: World, channel: Channel) -> None:
    limits = world.limits
    within_s = limits.post_burst / limits.posts_per_s
    wait_s = world.rates.take(f"posts in {channel.id}", count=limits.post_burst, within_s=within_s)
    wait_s = wait_s or world.rates.take("posts", count=limits.posts_per_minute, within_s=60.0)
    if wait_s:
        raise RateLimited(wait_s)


def _warned(content: Content) -> Json:
    return {"response_metadata": {"warnings": list(content.warnings)}} if content.warnings else {}


METHODS = {
    "chat.postMessage": Method(post_message, tier=None, scopes=("chat:write",)),
    "chat.update": Method(update, tier=3, scopes=("chat:write",)),
    "chat.delete": Method(delete, tier=3, scopes=("chat:write",)),
    "chat.postEphemeral": Method(post_ephemeral, tier=4, scopes=("chat:write",)),
    "reactions.add": Method(add_reaction, tier=3, scopes=("reactions:write",)),
}

"""conversations.history and conversations.replies: what was said."""

from __future__ import annotations

import re

from bot.playground.workspace.directory import paged
from bot.playground.workspace.methods import Method
from bot.playground.workspace.nouns import BOT_USER_ID, Channel, Message
from bot.playground.workspace.shapes import Json
from bot.playground.workspace.wire import Args, Refusal
from bot.playground.workspace.world import World

_TS = re.compile(r"\d{1,12}(\.\d{1,6})?", re.ASCII)


def read_history(world: World, args: Args) -> Json:
    """conversations.history: the channel's own messages, newest first; replies only where they were broadcast."""
    channel = _readable(world, args.text("channel"))
    messages = [
        message for message in _between(channel, args) if message.thread_ts in (None, message.ts) or message.broadcast
    ]
    return _page(channel, messages[::-1], args)


def read_replies(world: World, args: Args) -> Json:
    """conversations.replies: a parent and its replies, oldest first; a reply's own ts gives that reply alone."""
    channel = _readable(world, args.text("channel"))
    if (first := channel.messages.get(args.text("ts"))) is None:
        raise Refusal("thread_not_found")
    wanted = {first.ts, *(reply.ts for reply in channel.replies(first.ts))}
    return _page(channel, [message for message in _between(channel, args) if message.ts in wanted], args)


def _readable(world: World, channel_id: str) -> Channel:
    channel = world.channel(channel_id)
    world.needs_scope("groups:history" if channel.private else "channels:history")
    if BOT_USER_ID not in channel.members:
        raise Refusal("not_in_channel")
    return channel


def _between(channel: Channel, args: Args) -> list[Message]:
    """Messages after `oldest` and before `latest`, oldest first."""
    oldest = _moment(args.maybe("oldest"), "invalid_ts_oldest")
    latest = _moment(args.maybe("latest"), "invalid_ts_latest")
    inclusive = args.flag("inclusive")

    def within(moment: int) -> bool:
        if inclusive and moment in (oldest, latest):
            return True
        return (oldest is None or moment > oldest) and (latest is None or moment < latest)

    return [message for message in channel.messages.values() if within(_moment(message.ts, "") or 0)]


def _moment(ts: str | None, error: str) -> int | None:
    """A timestamp in microseconds: timestamps are compared as numbers, never as floats."""
    if ts is None:
        return None
    if not _TS.fullmatch(ts):
        raise Refusal(error)
    seconds, _, fraction = ts.partition(".")
    return int(seconds) * 1_000_000 + int(fraction.ljust(6, "0"))


def _page(channel: Channel, messages: list[Message], args: Args) -> Json:
    with_metadata = args.flag("include_all_metadata")
    page = paged("messages", messages, args, most=999)
    shown = [channel.shown(message, with_metadata=with_metadata) for message in page["messages"]]
    return {**page, "messages": shown, "has_more": bool(page["response_metadata"]["next_cursor"])}


METHODS = {
    "conversations.history": Method(read_history, tier=3),
    "conversations.replies": Method(read_replies, tier=3),
}

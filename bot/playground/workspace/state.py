"""Everything the workspace remembers, in memory and bounded; every change is announced."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

from bot.playground.workspace.changes import Change, Changes
from bot.playground.workspace.clock import Clock
from bot.playground.workspace.nouns import BOT_ID, BOT_USER_ID, SLACKBOT, TEAM_ID, Channel, Message, User, UserGroup
from bot.playground.workspace.shapes import Json

_CHANNELS = 500
_USERS = 500
_GROUPS = 100
_MESSAGES = 5_000  # kept in a channel; older ones are forgotten
_EPHEMERALS = 1_000  # kept in all
_HOMES = 500
_NAME = re.compile(r"[a-z0-9_\-]{1,80}")


class State:
    """Users, channels, messages. *on_event* gets what the Events API would tell (without its envelope)."""

    def __init__(self, *, clock: Clock, changes: Changes, bot_name: str) -> None:
        self.clock = clock
        self.changes = changes
        self.on_event: Callable[[Json], None] = lambda _event: None
        self.users = {
            BOT_USER_ID: User(id=BOT_USER_ID, name=bot_name, real_name=bot_name, is_bot=True),
            SLACKBOT: User(id=SLACKBOT, name="slackbot", real_name="Slackbot"),
        }
        self.groups: dict[str, UserGroup] = {}
        self.channels: dict[str, Channel] = {}
        self.ephemerals: OrderedDict[tuple[str, str], Message] = OrderedDict()
        self.homes: OrderedDict[str, Json] = OrderedDict()
        self._numbers = count(1)
        self._last_ts = 0

    # --- names and times

    def new_id(self, prefix: str) -> str:
        """An id in Slack's form, e.g. C00000001P."""
        return f"{prefix}{next(self._numbers):08d}P"

    def new_ts(self) -> str:
        """A message timestamp that was never used before; later ones sort after earlier ones."""
        self._last_ts = max(self._last_ts + 1, int(self.clock.now() * 1_000_000))
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    # --- people and channels

    def add_user(self, name: str, real_name: str, **more: Any) -> User:
        """A new person, or another app's bot; *more* are further fields of User."""
        if len(self.users) >= _USERS:
            raise ValueError(f"the workspace holds at most {_USERS} users")
        user = User(id=self.new_id("U"), name=name, real_name=real_name or name, **more)
        self.users[user.id] = user
        self.changes.announce(Change(kind="frame", body={}))
        return user

    def add_group(self, handle: str, members: set[str]) -> UserGroup:
        """A new user group."""
        if not _NAME.fullmatch(handle) or any(group.handle == handle for group in self.groups.values()):
            raise ValueError(f"{handle!r} cannot be the handle of a user group, or is one already")
        if len(self.groups) >= _GROUPS:
            raise ValueError(f"the workspace holds at most {_GROUPS} user groups")
        group = UserGroup(id=self.new_id("S"), handle=handle, members=members)
        self.groups[group.id] = group
        return group

    def add_channel(self, name: str, *, private: bool, creator: str, members: set[str]) -> Channel:
        """A new channel; Slack's rules for names hold."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a channel name: 1 to 80 of a-z, 0-9, - and _")
        if any(channel.name == name for channel in self.channels.values()):
            raise ValueError(f"there is a channel {name!r} already")
        if len(self.channels) >= _CHANNELS:
            raise ValueError(f"the workspace holds at most {_CHANNELS} channels")
        now = int(self.clock.now())
        channel = Channel(
            id=self.new_id("C"), name=name, creator=creator, created=now, private=private, members=set(members)
        )
        self.channels[channel.id] = channel
        self.changes.announce(Change(kind="frame", body={}))
        return channel

    def join(self, channel: Channel, user: str, *, inviter: str | None = None) -> None:
        """Make *user* a member, with the message and the event that Slack makes of it."""
        if user in channel.members:
            return
        channel.members.add(user)
        self.changes.announce(Change(kind="frame", body={}))
        self.post(channel, user=user, text=f"<@{user}> has joined the channel", subtype="channel_join")
        event = {"type": "member_joined_channel", "user": user, "channel": channel.id, "team": TEAM_ID}
        kind = {"channel_type": "G" if channel.private else "C"}
        self.on_event({**event, **kind, **({"inviter": inviter} if inviter else {}), "event_ts": self.new_ts()})

    def rename(self, channel: Channel, name: str) -> None:
        """Give a channel another name; its id stays."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a channel name: 1 to 80 of a-z, 0-9, - and _")
        channel.name = name
        self.changes.announce(Change(kind="frame", body={}))
        renamed = {"id": channel.id, "name": name, "is_channel": True, "created": channel.created}
        kind = "group_rename" if channel.private else "channel_rename"
        self.on_event({"type": kind, "channel": renamed, "event_ts": self.new_ts()})

    # --- messages

    def post(self, channel: Channel, *, user: str, text: str, **more: Any) -> Message:
        """Add a message; *more* are further fields of Message."""
        message = Message(channel=channel.id, ts=self.new_ts(), user=user, text=text, **more)
        channel.keep(message)
        while len(channel.messages) > _MESSAGES:
            channel.drop(next(iter(channel.messages)))
        self._announce(channel, message)
        event = {
            **channel.shown(message),
            "channel": channel.id,
            "channel_type": "group" if channel.private else "channel",
            "event_ts": message.ts,
        }
        self.on_event(event)
        if f"<@{BOT_USER_ID}>" in text and not message.by_app and not message.subtype:
            self.on_event(
                {key: value for key, value in event.items() if key != "channel_type"} | {"type": "app_mention"}
            )
        return message

    def whisper(self, channel: Channel, *, to: str, user: str, text: str, **more: Any) -> Message:
        """Show a message to one person only; it is in no history."""
        message = Message(channel=channel.id, ts=self.new_ts(), user=user, text=text, visible_to=to, **more)
        self.ephemerals[channel.id, message.ts] = message
        while len(self.ephemerals) > _EPHEMERALS:
            self.ephemerals.popitem(last=False)
        self._announce(channel, message)
        return message

    def find(self, channel: Channel, ts: str) -> Message | None:
        """A message or an ephemeral one."""
        return channel.messages.get(ts) or self.ephemerals.get((channel.id, ts))

    def change(self, channel: Channel, message: Message, **fields: Any) -> Message:
        """Put an edited message in the place of *message*."""
        edited = replace(message, **fields)
        if message.visible_to:
            self.ephemerals[channel.id, message.ts] = edited
        else:
            channel.keep(edited)
        self._announce(channel, edited)
        return edited

    def edit(self, channel: Channel, message: Message, text: str) -> Message:
        """A person changes their own message."""
        edited = self.change(channel, message, text=text, edited_at=self.new_ts())
        ts = self.new_ts()
        self.on_event(
            {
                "type": "message",
                "subtype": "message_changed",
                "hidden": True,
                "channel": channel.id,
                "channel_type": "group" if channel.private else "channel",
                "message": channel.shown(edited),
                "previous_message": channel.shown(message),
                "ts": ts,
                "event_ts": ts,
            }
        )
        return edited

    def pin(self, channel: Channel, message: Message, *, by: str) -> Message:
        """Pin a message, with the event that Slack makes of it."""
        pinned = self.change(channel, message, pinned=True)
        item = {"type": "message", "channel": channel.id, "message": channel.shown(pinned)}
        event = {"type": "pin_added", "user": by, "channel_id": channel.id, "item": item}
        self.on_event({**event, "event_ts": self.new_ts()})
        return pinned

    def leave(self, channel: Channel, user: str) -> None:
        """Take *user* out of a channel."""
        channel.members.discard(user)
        self.changes.announce(Change(kind="frame", body={}))

    def remove(self, channel: Channel, message: Message) -> None:
        """Delete a message; a parent that has replies leaves a tombstone."""
        if not message.visible_to and channel.replies(message.ts):
            gone: Json = {"blocks": (), "attachments": (), "metadata": None, "reactions": {}}
            self.change(channel, message, text="This message was deleted.", subtype="tombstone", **gone)
            return
        channel.drop(message.ts)
        self.ephemerals.pop((channel.id, message.ts), None)
        body = {"channel": channel.id, "ts": message.ts}
        self.changes.announce(Change(kind="removed", body=body, channel=channel.id, user=message.visible_to))
        self._announce_parent(channel, message)

    def publish_home(self, user: str, view: Json) -> None:
        """Keep a person's App Home."""
        self.homes[user] = view
        self.homes.move_to_end(user)
        while len(self.homes) > _HOMES:
            self.homes.popitem(last=False)
        self.changes.announce(Change(kind="home", body=view, user=user))

    def profile_of_bot(self) -> Json:
        """What a message says of the app that posted it."""
        return {"id": BOT_ID, "name": self.users[BOT_USER_ID].name, "user_id": BOT_USER_ID, "team_id": TEAM_ID}

    def _announce(self, channel: Channel, message: Message) -> None:
        body = {**channel.shown(message), "channel": channel.id}
        self.changes.announce(Change(kind="message", body=body, channel=channel.id, user=message.visible_to))
        self._announce_parent(channel, message)

    def _announce_parent(self, channel: Channel, reply: Message) -> None:
        """A reply changes the counts that its parent shows."""
        if reply.thread_ts and reply.thread_ts != reply.ts and (parent := channel.messages.get(reply.thread_ts)):
            body = {**channel.shown(parent), "channel": channel.id}
            self.changes.announce(Change(kind="message", body=body, channel=channel.id))

"""What a workspace consists of, and how Slack writes it as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bot.playground.workspace.shapes import Json

TEAM_ID = "T0CAPTURE1"
TEAM_NAME = "Playground"
APP_ID = "A0CAPTURE1"
BOT_ID = "B0CAPTURE1"
BOT_USER_ID = "U0CAPTURE1"
SLACKBOT = "USLACKBOT"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person or an app; *team* is another one for people of other workspaces."""

    id: str
    name: str
    real_name: str
    is_bot: bool = False
    team: str = TEAM_ID
    is_guest: bool = False  # in several channels; of one channel only it is `is_ultra_restricted` too
    deleted: bool = False

    def as_slack(self) -> Json:
        """A user object. Slack leaves out what people were, once they are deactivated."""
        there = {"is_admin": False, "is_restricted": self.is_guest, "is_ultra_restricted": False}
        return {
            "id": self.id,
            "team_id": self.team,
            "name": self.name,
            "deleted": self.deleted,
            "real_name": self.real_name,
            "tz": "Etc/UTC",
            "is_bot": self.is_bot,
            "is_app_user": False,
            **({} if self.deleted else there),
            **({"is_stranger": False} if self.team != TEAM_ID else {}),  # known by a channel that is shared
            "profile": {"real_name": self.real_name, "display_name": self.name, "team": self.team},
        }


@dataclass(slots=True, kw_only=True)
class UserGroup:
    """People who are called together by a handle."""

    id: str
    handle: str
    members: set[str]
    disabled_at: int = 0

    def as_slack(self, *, with_users: bool) -> Json:
        """A usergroup object."""
        shown: Json = {
            "id": self.id,
            "team_id": TEAM_ID,
            "is_usergroup": True,
            "name": self.handle.title(),
            "description": "",
            "handle": self.handle,
            "is_external": False,
            "date_delete": self.disabled_at,
            "auto_type": None,
            "prefs": {"channels": [], "groups": []},
        }
        return {**shown, "users": sorted(self.members)} if with_users else shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message as it stands now; an edit makes a new one in its place."""

    channel: str
    ts: str
    user: str
    text: str
    blocks: tuple[Any, ...] = ()
    attachments: tuple[Any, ...] = ()
    thread_ts: str | None = None  # of the parent; None outside threads
    broadcast: bool = False  # a reply that the channel shows too
    by_app: bool = False
    subtype: str | None = None
    metadata: Json | None = None
    edited_at: str | None = None
    visible_to: str | None = None  # the one user that an ephemeral message is shown to
    reactions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # name to users
    bot_id: str = ""  # of another app that posted it
    pinned: bool = False

    def as_slack(self, *, with_metadata: bool = False) -> Json:
        """A message object. Thread counts are added by those who know the thread."""
        shown: Json = {"type": "message", "user": self.user, "text": self.text, "ts": self.ts, "team": TEAM_ID}
        if subtype := self.subtype or ("thread_broadcast" if self.broadcast else None):
            shown["subtype"] = subtype
        if self.by_app:
            shown |= {"bot_id": BOT_ID, "app_id": APP_ID}
        elif self.bot_id:
            shown |= {"bot_id": self.bot_id, "app_id": f"A{self.bot_id[1:]}"}
        if self.blocks:
            shown["blocks"] = list(self.blocks)
        if self.attachments:
            shown["attachments"] = list(self.attachments)
        if self.thread_ts:
            shown["thread_ts"] = self.thread_ts
        if self.edited_at:
            shown["edited"] = {"user": self.user, "ts": self.edited_at}
        if self.visible_to:
            shown["is_ephemeral"] = True
        if self.reactions:
            shown["reactions"] = [
                {"name": name, "users": list(users), "count": len(users)} for name, users in self.reactions.items()
            ]
        if self.pinned:
            shown["pinned_to"] = [self.channel]
        if with_metadata and self.metadata:
            shown["metadata"] = self.metadata
        return shown


@dataclass(slots=True, kw_only=True)
class Channel:
    """A public or private channel with its messages by timestamp, oldest first. Change them by keep and drop only."""

    id: str
    name: str
    creator: str
    created: int
    private: bool = False
    archived: bool = False
    topic: str = ""
    purpose: str = ""
    bookmarks: list[tuple[str, str]] = field(default_factory=list)  # title and link
    members: set[str] = field(default_factory=set)
    messages: dict[str, Message] = field(default_factory=dict)
    _threads: dict[str, dict[str, None]] = field(default_factory=dict)  # timestamps of replies, by their parent's

    def keep(self, message: Message) -> None:
        """Add a message, or put it in the place of its older form."""
        self.messages[message.ts] = message
        if message.thread_ts and message.thread_ts != message.ts:
            self._threads.setdefault(message.thread_ts, {})[message.ts] = None

    def drop(self, ts: str) -> None:
        """Forget a message."""
        message = self.messages.pop(ts, None)
        if message and message.thread_ts in self._threads:
            self._threads[message.thread_ts].pop(ts, None)
            if not self._threads[message.thread_ts]:
                del self._threads[message.thread_ts]

    def as_slack(self) -> Json:
        """A conversation object as the bot sees it."""
        return {
            "id": self.id,
            "name": self.name,
            "name_normalized": self.name,
            "is_channel": True,
            "is_group": self.private,
            "is_im": False,
            "is_mpim": False,
            "is_private": self.private,
            "created": self.created,
            "creator": self.creator,
            "is_archived": self.archived,
            "is_general": False,
            "is_shared": False,
            "is_ext_shared": False,
            "is_org_shared": False,
            "is_member": BOT_USER_ID in self.members,
            "num_members": len(self.members),
            "context_team_id": TEAM_ID,
            "topic": {"value": self.topic, "creator": "", "last_set": 0},
            "purpose": {"value": self.purpose, "creator": "", "last_set": 0},
        }

    def replies(self, ts: str) -> list[Message]:
        """The replies in the thread below *ts*, oldest first."""
        return [self.messages[reply] for reply in self._threads.get(ts, ())]

    def shown(self, message: Message, *, with_metadata: bool = False) -> Json:
        """A message object with its thread's counts."""
        shown = message.as_slack(with_metadata=with_metadata)
        if message.thread_ts in (None, message.ts) and (replies := self.replies(message.ts)):
            shown |= {
                "thread_ts": message.ts,
                "reply_count": len(replies),
                "reply_users": list(dict.fromkeys(reply.user for reply in replies)),
                "reply_users_count": len({reply.user for reply in replies}),
                "latest_reply": replies[-1].ts,
            }
        elif message.thread_ts and (parent := self.messages.get(message.thread_ts)):
            shown["parent_user_id"] = parent.user
        return shown

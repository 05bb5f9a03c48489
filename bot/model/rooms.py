"""Where in Slack an incident is dealt with: a channel of its own, or the thread of another tool's announcement."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from bot.model.captures import Person, Place


def room_id(channel: str, thread_ts: str | None) -> str:
    """What the room at a place is known by: the channel's id, which a new name does not change."""
    return f"{channel} {thread_ts}" if thread_ts else channel


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """A room was met for the first time. *text* is what another tool announced there, *by* who linked it by hand."""

    place: Place
    at: datetime
    text: str = ""
    by: Person | None = None
    type: Literal["met"] = "met"

    @property
    def key(self) -> str:
        """What the journal finds it by, so that it is met once, however often Slack tells of it."""
        return f"room {room_id(self.place.channel, self.place.thread_ts)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """More is known of a room; what is "" says nothing new. *who* is the person who said so, if one did; *key* lets one."""

    room: str
    at: datetime
    name: str = ""
    incident: str = ""
    title: str = ""
    url: str = ""
    service: str = ""
    who: Person | None = None
    key: str | None = None
    type: Literal["settled"] = "settled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A place with what is known of its incident."""

    place: Place
    at: datetime  # when it was met
    text: str = ""
    linked_by: Person | None = None  # by hand: nobody asked for captures with that
    incident: str = ""
    title: str = ""
    url: str = ""
    service: str = ""
    chosen_by: Person | None = None  # who said which service it is

    @property
    def id(self) -> str:
        """What it is known by."""
        return room_id(self.place.channel, self.place.thread_ts)

    def settled(self, news: Settled) -> Room:
        """With what *news* says."""
        return replace(
            self,
            place=replace(self.place, channel_name=news.name or self.place.channel_name),
            incident=news.incident or self.incident,
            title=news.title or self.title,
            url=news.url or self.url,
            service=news.service or self.service,
            chosen_by=news.who if news.service else self.chosen_by,
        )

"""A press of a button as Slack reports it (`block_actions`). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from bot.model import Person, Place

OURS = re.compile("[ -~]{0,2000}")  # what buttons of ours may carry: names and ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Press:
    """Who pressed what, where; nothing in it is verified."""

    action: str  # without its number
    value: str
    who: Person
    place: Place  # of the pressed message


def read(body: dict[str, Any]) -> Press:
    """The press that a payload reports. What no button of ours could carry is left out."""
    action, user, channel = body["actions"][0], body["user"], body.get("channel") or {}
    container = body.get("container") or {}
    thread_ts = container.get("thread_ts")
    if thread_ts == container.get("message_ts"):  # a thread's first message stands in the channel
        thread_ts = None
    return Press(
        action=_ours(action.get("action_id")).partition("-")[0],
        value=_ours((action.get("selected_option") or action).get("value")),
        who=Person(id=user["id"], name=user.get("name") or user.get("username") or user["id"]),
        place=Place(channel=channel.get("id", ""), channel_name=channel.get("name", ""), thread_ts=thread_ts),
    )


def _ours(said: object) -> str:
    return said if isinstance(said, str) and OURS.fullmatch(said) else ""

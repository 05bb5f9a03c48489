"""Who somebody is to the bot, as far as their own system vouches for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Membership(StrEnum):
    """What kind of somebody asks. Only the first three may ask for anything; no rule changes that."""

    OPERATOR = "operator"  # at a terminal of the bot's own machine, with its file and its keys
    AUTOMATIC = "automatic"  # the configuration itself: a schedule, or an incident of a service
    MEMBER = "member"
    GUEST = "guest"
    STRANGER = "stranger"
    BOT = "bot"
    DEACTIVATED = "deactivated"
    UNKNOWN = "unknown"

    @property
    def may_ask(self) -> bool:
        """Rules are asked about them at all."""
        return self in {Membership.OPERATOR, Membership.AUTOMATIC, Membership.MEMBER}

    @property
    def words(self) -> str:
        """Completes "This person …"."""
        return {
            "operator": "holds the bot's own keys",
            "automatic": "is the configuration itself",
            "member": "is a full member of this workspace",
            "guest": "is a guest in this workspace",
            "stranger": "belongs to another workspace",
            "bot": "is a bot",
            "deactivated": "has been deactivated",
            "unknown": "is not known for sure right now, because Slack did not say",
        }[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Somebody whose membership was looked up.

    *groups* are the user groups they are in, by id and by ``@handle``, as far as rules name them; None where Slack did
    not say.
    """

    id: str
    name: str
    membership: Membership
    groups: frozenset[str] | None = frozenset()

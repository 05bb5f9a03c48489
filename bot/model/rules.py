"""Who may do what, as an operator wrote it down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from bot.model.verdicts import Impact


class Verb(StrEnum):
    """What somebody may do or not."""

    CAPTURE = "capture"
    APPROVE = "approve"  # somebody else's capture that needs it
    STOP = "stop"
    FILES = "files"  # be given what was kept
    RAW_FILES = "raw-files"  # be given what could not be redacted
    NOTE = "note"  # say something in the incident's name: link, note, report, mark as good

    @property
    def words(self) -> str:
        """Completes "… may"."""
        return {
            "capture": "capture",
            "approve": "approve captures",
            "stop": "stop captures",
            "files": "get files",
            "raw-files": "get files that are not redacted",
            "note": "write to the incident",
        }[self]


class Effect(StrEnum):
    """What a rule does where it matches. The first one beats the second, and so on, in whatever order rules stand."""

    DENY = "deny"
    APPROVAL = "approval"  # allowed once somebody else approved
    ALLOW = "allow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """What an approval is like: how long one may be waited for, and whether the asker may go without, loudly."""

    minutes: float = 15.0
    break_glass: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What a parameter's value must be: one of *one_of* where there are any, and within the numbers."""

    one_of: tuple[str | int, ...] = ()
    at_least: int | None = None
    at_most: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Every condition that is given must hold; of several values in one, any. Names may hold ``*`` and ``?``."""

    name: str
    line: int  # in capturebot.yml
    effect: Effect
    verbs: frozenset[Verb]
    who: tuple[str, ...] = ()  # ids of users and user groups, ``@handles`` of user groups
    channels: tuple[str, ...] = ()  # ids, or names
    recipes: tuple[str, ...] = ()
    impact: frozenset[Impact] = frozenset()
    targets: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)  # the target has all of them; a value may be a pattern
    parameters: Mapping[str, Bound] = field(default_factory=dict)
    approval: Approval | None = None  # where that is the effect

    @property
    def words(self) -> str:
        """The rule as an explanation names it."""
        return f"`{self.name}` (line {self.line})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """All rules. What none of them says is allowed for *open* impacts and for verbs that only look or end."""

    rules: tuple[Rule, ...] = ()
    open: frozenset[Impact] = frozenset({Impact.NONE, Impact.LIGHT})

    @property
    def groups(self) -> frozenset[str]:
        """The user groups that rules name."""
        return frozenset(one for rule in self.rules for one in rule.who if one.startswith(("@", "S")))

"""Asking somebody else before a capture runs, and what came of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from bot.model.budgets import Price
from bot.model.captures import Person, Trigger
from bot.model.verdicts import Impact

DIGEST_SHOWN = 12  # hexadecimal digits of a digest that people compare


class Ruling(StrEnum):
    """How a request for an approval ended."""

    APPROVED = "approved"
    GLASS = "glass"  # the asker went without, with a reason
    DENIED = "denied"
    WITHDRAWN = "withdrawn"  # by the asker
    EXPIRED = "expired"
    VOID = "void"  # what was asked for is not what there is now

    @property
    def runs(self) -> bool:
        """A capture came of it."""
        return self in {Ruling.APPROVED, Ruling.GLASS}

    @property
    def icon(self) -> str:
        """A glyph that is always followed by `words`."""
        return {
            "approved": "✅",
            "glass": "🚨",
            "denied": "⛔",
            "withdrawn": "↩️",
            "expired": "⌛",
            "void": "✖️",
        }[self]

    @property
    def words(self) -> str:
        """Completes "It …"; before "by NAME" where somebody did it."""
        return {
            "approved": "was approved",
            "glass": "runs without approval: the glass was broken",
            "denied": "was denied",
            "withdrawn": "was taken back",
            "expired": "has expired, and nobody approved",
            "void": "is void",
        }[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """Exactly what an approval is for. *targets* are ways to them by name, *commands* what runs there, step by step."""

    recipe: str
    recipe_digest: str
    targets: Mapping[str, str]
    parameters: Mapping[str, str | int]
    commands: tuple[str, ...]
    incident: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 over all of it, hex."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def changed(self, now: Seal) -> str:
        """What is not as it was, in one sentence; "" where everything is."""
        if self.digest == now.digest:
            return ""
        if (self.recipe, self.recipe_digest) != (now.recipe, now.recipe_digest):
            return f"The recipe `{self.recipe}` has changed since it was asked for."
        if self.targets != now.targets:
            names = sorted({*self.targets, *now.targets})
            other = [name for name in names if self.targets.get(name) != now.targets.get(name)]
            return f"How {', '.join(f'`{name}`' for name in other)} is reached has changed since it was asked for."
        if self.incident != now.incident:
            was, by_now = self.incident or "no incident", now.incident or "none"
            return f"It was asked for in {was}, and this channel belongs to {by_now} now."
        if self.parameters != now.parameters:
            return "The parameters are not those that were asked for."
        return "What would run is not what was asked for."


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalAsked:
    """*trigger* runs once somebody else approves of it until then."""

    approval_id: str
    trigger: Trigger
    seal: Seal
    impact: Impact
    because: str  # the rule that wants it, a sentence
    until: datetime
    at: datetime
    cost: str = ""  # as measured; "" where it is not
    prices: Mapping[str, Price] = field(default_factory=dict)
    measured_at: datetime | None = None
    approvers: tuple[str, ...] = ()  # whom rules name
    break_glass: bool = False  # the asker may go without
    type: Literal["approval_asked"] = "approval_asked"

    @property
    def key(self) -> str:
        """What the journal finds it by."""
        return f"{approval_key(self.approval_id)}asked"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalMeasured:
    """The cost was measured anew when somebody pressed, and is *worse*: it has to be approved once more; or it is not."""

    approval_id: str
    number: int  # 1 for the first time
    who: Person
    cost: str
    prices: Mapping[str, Price]
    worse: bool
    at: datetime
    type: Literal["approval_measured"] = "approval_measured"

    @property
    def key(self) -> str:
        """What the journal finds it by."""
        return f"{approval_key(self.approval_id)}measured {self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRuled:
    """The request came to its one end; *capture_id* is what runs, where something does."""

    approval_id: str
    ruling: Ruling
    at: datetime
    who: Person | None = None  # None where nobody did it
    reason: str = ""
    capture_id: str = ""
    type: Literal["approval_ruled"] = "approval_ruled"

    @property
    def key(self) -> str:
        """What the journal finds it by, so that there is one end, however many press at once."""
        return f"{approval_key(self.approval_id)}ruled"


def approval_key(approval_id: str) -> str:
    """What the keys of all events of one request begin with."""
    return f"approval {approval_id} "

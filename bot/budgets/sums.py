"""What captures took of a budget, what is left of it, and when what they took is free again. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.budgets import HOUR_S
from bot.errors import UserError
from bot.insights import words
from bot.model import Budget, Price

NAMED_AT_MOST = 3  # captures that a refusal names
NAME_CHARS = 40
LEAST = Price(pause_s=0.1, stored_bytes=1)  # of a capture that takes something of it, and was not measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What one capture took, or may yet take, of what a budget counts."""

    capture_id: str
    who: str  # a name
    at: datetime
    pause_s: float = 0.0
    stored_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One budget with the captures that it counts, as it stands *now*. *whose* is what it is of, for people."""

    whose: str
    budget: Budget
    uses: Sequence[Use]
    window_s: float
    now: datetime

    def shortage(self, price: Price) -> UserError | None:
        """Why a capture of *price* must not be taken: what is used up, by whom, and when it frees up. None where it may."""
        short = [kind for kind in self._kinds(price) if not kind.has_room(kind.used(self.now))]
        if never := next((kind for kind in short if kind.needed > kind.most), None):
            return UserError(
                f"This needs {never.said(never.needed)}, and the whole budget of {self.whose} is "
                f"{never.said(never.most)} {never.within}.",
                cure="Take a smaller one, or ask whoever runs capturebot for a larger budget.",
            )
        return self._short(short[0], price) if short else None

    def enough_at(self, price: Price) -> datetime:
        """When a capture of *price* fits again, if nothing else is taken meanwhile; it must not be more than the budget."""
        return max((kind.free_at(self.now) for kind in self._kinds(price)), default=self.now)

    @property
    def left(self) -> str:
        """What is left: "web-1 51 of 60 s of pause, 18 GB of 20 GB, 11 of 12 captures"."""
        said = [kind.left(max(kind.most - kind.used(self.now), 0)) for kind in self._kinds(Price())]
        return f"{self.whose} {', '.join(said)}"

    def _short(self, kind: _Kind, price: Price) -> UserError:
        frees = self.enough_at(price)
        day = f" on {frees:%B} {frees.day}" if frees.date() != self.now.date() else ""
        needs = f" This needs {kind.said(kind.needed)}." if kind.needed > kind.least else ""
        return UserError(
            f"{self.whose} has used {kind.said(kind.used(self.now))} of its {kind.said(kind.most)} {kind.within}: "
            f"{', '.join(kind.by(self.now))}.{needs}",
            cure=f"There is enough again from {frees:%H:%M} UTC{day}.",
        )

    def _kinds(self, price: Price) -> Iterator[_Kind]:
        """What the budget bounds, with what is needed of each."""
        budget, within = self.budget, f"within {words.duration(self.window_s)}"
        if budget.pause_s is not None:
            yield _Kind(
                most=budget.pause_s,
                needed=price.pause_s,
                uses=[(use, use.pause_s) for use in self.uses],
                window_s=self.window_s,
                within=within,
                least=LEAST.pause_s,
                said=lambda amount: f"{_seconds(amount)} of pause",
                left=lambda amount: f"{_seconds(amount)} of {_seconds(budget.pause_s or 0)} of pause",
            )
        if budget.stored_bytes is not None:
            yield _Kind(
                most=budget.stored_bytes,
                needed=price.stored_bytes,
                uses=[(use, use.stored_bytes) for use in self.uses],
                window_s=self.window_s,
                within=within,
                least=LEAST.stored_bytes,
                said=lambda amount: f"{words.size(amount)} of storage",
                left=lambda amount: f"{words.size(amount)} of {words.size(budget.stored_bytes or 0)}",
            )
        if budget.captures_an_hour is not None:
            newest = {use.capture_id: use for use in self.uses}
            yield _Kind(
                most=budget.captures_an_hour,
                needed=1,
                uses=[(use, 1) for use in newest.values()],
                window_s=HOUR_S,
                within="within an hour",
                said=lambda amount: words.counted(amount, "capture"),
                left=lambda amount: f"{amount:.0f} of {words.counted(budget.captures_an_hour or 0, 'capture')}",
                least=1,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """One bound of a budget: *most* of something, the amounts that captures took of it, and its words."""

    most: float
    needed: float
    uses: Sequence[tuple[Use, float]]
    window_s: float
    within: str
    said: Callable[[float], str]
    left: Callable[[float], str]
    least: float  # what is needed where nobody knows how much

    def counted(self, now: datetime) -> list[tuple[Use, float]]:
        """What still counts, oldest first."""
        since = now - timedelta(seconds=self.window_s)
        return sorted((one for one in self.uses if one[0].at > since and one[1] > 0), key=lambda one: one[0].at)

    def used(self, now: datetime) -> float:
        """How much of it is used."""
        return sum(amount for _, amount in self.counted(now))

    def has_room(self, used: float) -> bool:
        """Whether what is needed fits beside that; what needs none of it does, however much is used."""
        return not self.needed or used + self.needed <= self.most

    def free_at(self, now: datetime) -> datetime:
        """When so much has stopped to count that what is needed fits, and something is left before it."""
        used, at = self.used(now), now
        for use, amount in self.counted(now):
            if self.has_room(used):
                break
            used, at = used - amount, use.at + timedelta(seconds=self.window_s)
        return at

    def by(self, now: datetime) -> list[str]:
        """Who used most of it, the captures that did named."""
        amounts: dict[str, float] = defaultdict(float)
        captures: dict[str, list[str]] = defaultdict(list)
        for use, amount in self.counted(now):
            amounts[use.who] += amount
            if use.capture_id not in captures[use.who]:
                captures[use.who].append(use.capture_id)
        most = sorted(amounts, key=lambda who: -amounts[who])
        said = []
        for who in most[:NAMED_AT_MOST]:
            ids = captures[who]
            more = f" and {len(ids) - NAMED_AT_MOST} more" if len(ids) > NAMED_AT_MOST else ""
            named = ", ".join(f"`{one}`" for one in ids[-NAMED_AT_MOST:])
            said.append(f"{self.said(amounts[who])} by {words.clean(who, NAME_CHARS)} ({named}{more})")
        return [*said, *(["others"] if len(most) > NAMED_AT_MOST else [])]


def _seconds(amount: float) -> str:
    return f"{amount:.1f} s" if 0 < amount < 10 and amount % 1 else words.duration(amount)

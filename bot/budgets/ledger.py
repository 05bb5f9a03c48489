"""Asks the journal what captures took, and holds what is asked for against the budgets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bot.budgets import HOUR_S
from bot.budgets.sums import LEAST, Account, Use
from bot.journal import Journal
from bot.journal.belonging import uses
from bot.model import Budgets, Impact, Person, Place, Price, Recipe, Scope, Source, Trigger


class Ledger:
    """What there is of the budgets. Everything is read from the journal, so that a restart forgets nothing."""

    def __init__(self, journal: Journal, budgets: Budgets, *, now: Callable[[], datetime]) -> None:
        self._journal = journal
        self._budgets = budgets
        self._now = now

    async def check(
        self,
        trigger: Trigger,
        recipe: Recipe,
        targets: Iterable[str],
        *,
        incident: str | None,
        prices: Mapping[str, Price],
    ) -> None:
        """Raise UserError where a capture of *targets* at these prices does not fit; JournalError.

        What has no price wants the least that there is, and may then take more than that.
        """
        targets = tuple(targets)
        unknown = LEAST if recipe.impact is Impact.PAUSES else replace(LEAST, pause_s=0.0)
        own = {name: _at_least(prices.get(name, unknown)) for name in targets}
        whole = Price(
            pause_s=sum(one.pause_s for one in own.values()), stored_bytes=sum(one.stored_bytes for one in own.values())
        )
        for name, account in await self._accounts(_asker(trigger), targets, incident):
            if error := account.shortage(own.get(name, whole)):
                raise error

    async def left(self, trigger: Trigger, targets: Iterable[str], *, incident: str | None) -> str:
        """What is left for *trigger*, as a sentence; "" where there are no budgets. Raises JournalError."""
        return _said(await self._accounts(_asker(trigger), tuple(targets), incident))

    async def left_here(self, who: Person, place: Place | None, targets: Iterable[str] = ()) -> str:
        """What is left for whoever asks there, before they ask for anything; likewise."""
        incident = await self._journal.incident_of(place.channel) if place and self._budgets.of else None
        return _said(await self._accounts(who, tuple(targets), incident))

    async def _accounts(
        self, who: Person | None, targets: tuple[str, ...], incident: str | None
    ) -> list[tuple[str, Account]]:
        """The budgets that a capture draws on, those of a target by its name."""
        asked = [(name, Scope.TARGET, name, {"target": name}) for name in targets]
        if incident:
            asked.append(("", Scope.INCIDENT, f"incident {incident}", {"incident": incident}))
        if who:
            asked.append(("", Scope.USER, who.name, {"who": who.id}))
        now, budgets = self._now(), self._budgets
        since = now - timedelta(seconds=max(budgets.window_s, HOUR_S))
        found = []
        for name, scope, whose, where in asked:
            if budget := budgets.of.get(scope):
                rows = await self._journal.rows(uses(since, **where))
                account = Account(
                    whose=whose, budget=budget, uses=[*map(_use, rows)], window_s=budgets.window_s, now=now
                )
                found.append((name, account))
        return found


def _asker(trigger: Trigger) -> Person | None:
    """The person whose budget it is; None where nobody asked."""
    return trigger.who if trigger.source in {Source.SLACK, Source.TERMINAL} else None


def _at_least(price: Price) -> Price:
    """Every capture stores something."""
    return replace(price, stored_bytes=max(price.stored_bytes, LEAST.stored_bytes))


def _said(accounts: list[tuple[str, Account]]) -> str:
    return f"Left: {'; '.join(account.left for _, account in accounts)}." if accounts else ""


def _use(row: Any) -> Use:
    """What a capture took; until that is known, what it was measured to take where that is more."""
    paused_s, stored_bytes = float(row.paused_s), int(row.kept_bytes)
    if not row.known:
        paused_s = row.seconds if row.pauses and row.pause_s is None else (row.pause_s or 0.0)
    if not row.settled:
        paused_s, stored_bytes = max(paused_s, row.pause_s or 0.0), max(stored_bytes, row.stored_bytes)
    return Use(
        capture_id=row.capture_id,
        who=row.who_name,
        at=datetime.fromtimestamp(row.at, UTC),
        pause_s=paused_s,
        stored_bytes=stored_bytes,
    )

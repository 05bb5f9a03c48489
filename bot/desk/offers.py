"""What must be agreed to before it runs: its cost is measured, offered to whoever asked, and held to when they agree."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from bot import cost
from bot.budgets.ledger import Ledger
from bot.errors import UserError
from bot.journal import Journal
from bot.measuring import Measurer
from bot.model import Offered, Price, Recipe, Target, Trigger, offer_key

HOLDS_S = 300.0  # what was measured is held to for so long
ID_BYTES = 6
TARGETS_AT_MOST = 5  # of one offer: each has a sentence that must be read


class Offers:
    """Makes offers and checks them. Both are the desk's to call, which keeps refusals."""

    def __init__(self, *, journal: Journal, measurer: Measurer, ledger: Ledger, now: Callable[[], datetime]) -> None:
        self._journal = journal
        self._ledger = ledger
        self._measurer = measurer
        self._now = now

    async def make(
        self,
        trigger: Trigger,
        recipe: Recipe,
        targets: Sequence[Target],
        parameters: Mapping[str, str | int],
        *,
        incident: str | None,
        approval: bool = False,
    ) -> Offered:
        """Measure what *trigger* costs and keep the offer in the journal; *approval*: agreed to, it is asked for.

        Raises UserError where it cannot be measured, or costs more than the targets or the budgets have; JournalError.
        """
        if len(targets) > TARGETS_AT_MOST:
            raise UserError(
                f"`{recipe.name}` {recipe.impact.words}, and {len(targets)} targets are too many at once for that.",
                cure=f"Name at most {TARGETS_AT_MOST}.",
            )
        names = [target.name for target in targets]
        await self._ledger.check(trigger, recipe, names, incident=incident, prices={})
        offer_id = secrets.token_hex(ID_BYTES)
        offered = Offered(
            offer_id=offer_id,
            trigger=replace(trigger, key=trigger.key or f"agreed {offer_id}", offer=offer_id),
            recipe_digest=recipe.digest,
            at=self._now(),
            approval=approval,
            cost=f"{recipe.impact.words}; how much was not measured, because the recipe has no `cost`",
        )
        if recipe.cost:
            costs = await self._measurer.measure(
                recipe.cost, parameters, targets, wants=recipe.wants, offer_id=offer_id, incident=incident
            )
            offered = replace(_measured(offered, costs), at=self._now())
            await self._ledger.check(trigger, recipe, names, incident=incident, prices=offered.prices)
        offered = replace(offered, left=await self._ledger.left(trigger, names, incident=incident))
        await self._journal.append(offered)
        return offered

    async def agreed(self, trigger: Trigger, recipe: Recipe) -> Offered | None:
        """The offer that was agreed to, None where nothing needs to be.

        Raises UserError when there is no such agreement, or it is not for exactly this.
        """
        if trigger.offer is None:
            if recipe.asks_first:
                raise UserError(
                    f"`{recipe.name}` {recipe.impact.words}, so its cost is measured and agreed to first.",
                    cure="Ask for it with `/capture` or `capturebot run`.",
                )
            return None
        offered = await self.find(trigger.offer)
        again = f"Ask again: `{command(trigger)}`."
        if self._now() - offered.at > timedelta(seconds=HOLDS_S):
            raise UserError(f"This cost was measured more than {HOLDS_S / 60:.0f} minutes ago.", cure=again)
        if trigger.who.id != offered.trigger.who.id:
            raise UserError(f"This was offered to {offered.trigger.who.name}.", cure=again)
        if offered.recipe_digest != recipe.digest:
            raise UserError(f"The recipe `{recipe.name}` has changed since its cost was measured.", cure=again)
        if not offered.cost or _asked(trigger) != _asked(offered.trigger):
            raise UserError("What was measured is not what is asked for now.", cure=again)
        return offered

    async def anew(
        self,
        offered: Offered,
        recipe: Recipe,
        targets: Sequence[Target],
        parameters: Mapping[str, str | int],
        *,
        incident: str | None,
    ) -> Offered:
        """*offered* with its cost as it is now, where the recipe measures it; this is not kept. Raises as `make` does."""
        if not recipe.cost:
            return offered
        costs = await self._measurer.measure(
            recipe.cost, parameters, targets, wants=recipe.wants, offer_id=offered.offer_id, incident=incident
        )
        now = replace(_measured(offered, costs), at=self._now())
        if now.choices:
            raise UserError(f"{now.choices_in_all} processes match by now.", cure="Ask for the capture anew.")
        names = [target.name for target in targets]
        await self._ledger.check(offered.trigger, recipe, names, incident=incident, prices=now.prices)
        return now

    async def find(self, offer_id: str) -> Offered:
        """An offer that was made. Raises UserError where there was none of that id."""
        offered = await self._journal.keyed(offer_key(offer_id))
        if not isinstance(offered, Offered):
            raise UserError("There is no such offer.", cure="Ask for the capture anew.")
        return offered


def command(trigger: Trigger) -> str:
    """What to type to ask for it again."""
    given = "".join(" " + shlex.quote(f"{name}={value}") for name, value in trigger.parameters.items())
    return f"/capture {trigger.recipe} {','.join(trigger.targets)}{given}"


def _asked(trigger: Trigger) -> tuple[str, tuple[str, ...], dict[str, str]]:
    return trigger.recipe, trigger.targets, dict(trigger.parameters)


def _measured(offered: Offered, costs: Mapping[str, cost.Cost]) -> Offered:
    """*offered* with what was measured. Raises UserError where a target cannot afford it."""
    several = len(costs) > 1
    for target, found in costs.items():
        if found.candidates:
            if several:
                raise UserError(
                    f"{found.candidates_in_all} processes match on {target}.", cure="Ask for one target at a time."
                )
            return replace(offered, cost="", choices=found.candidates, choices_in_all=found.candidates_in_all)
        if why := cost.refusal(found):
            raise UserError(f"{target}: {why.message}", cure=why.cure)
    sentences = [
        f"{target}: {cost.sentence(found)}" if several else cost.sentence(found) for target, found in costs.items()
    ]
    return replace(
        offered,
        cost="; ".join(sentences),
        prices={
            target: Price(
                pause_s=found.numbers.get("pause_s", 0.0), stored_bytes=int(found.numbers.get("upload_bytes", 0))
            )
            for target, found in costs.items()
        },
    )

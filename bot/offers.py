"""What must be agreed to before it runs: its cost is measured, offered to whoever asked, and held to when they agree."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from bot import cost
from bot.errors import UserError
from bot.journal import Journal
from bot.measuring import Measurer
from bot.model import Offered, Recipe, Target, Trigger, offer_key

HOLDS_S = 300.0  # what was measured is held to for so long
ID_BYTES = 6
TARGETS_AT_MOST = 5  # of one offer: each has a sentence that must be read


class Offers:
    """Makes offers and checks them. Both are the desk's to call, which keeps refusals."""

    def __init__(self, *, journal: Journal, measurer: Measurer, now: Callable[[], datetime]) -> None:
        self._journal = journal
        self._measurer = measurer
        self._now = now

    async def make(
        self, trigger: Trigger, recipe: Recipe, targets: Sequence[Target], parameters: Mapping[str, str | int]
    ) -> Offered:
        """Measure what *trigger* costs and keep the offer in the journal.

        Raises UserError where it cannot be measured, or costs more than the targets have; JournalError.
        """
        if len(targets) > TARGETS_AT_MOST:
            raise UserError(
                f"`{recipe.name}` {recipe.impact.words}, and {len(targets)} targets are too many at once for that.",
                cure=f"Name at most {TARGETS_AT_MOST}.",
            )
        offer_id = secrets.token_hex(ID_BYTES)
        offered = Offered(
            offer_id=offer_id,
            trigger=replace(trigger, key=trigger.key or f"agreed {offer_id}", offer=offer_id),
            recipe_digest=recipe.digest,
            at=self._now(),
            cost=f"{recipe.impact.words}; how much was not measured, because the recipe has no `cost`",
        )
        if recipe.cost:
            costs = await self._measurer.measure(recipe.cost, parameters, targets, offer_id=offer_id)
            offered = replace(_measured(offered, costs), at=self._now())
        await self._journal.append(offered)
        return offered

    async def agreed(self, trigger: Trigger, recipe: Recipe) -> str:
        """The cost that was agreed to, "" where nothing needs to be.

        Raises UserError when there is no such agreement, or it is not for exactly this.
        """
        if trigger.offer is None:
            if recipe.asks_first:
                raise UserError(
                    f"`{recipe.name}` {recipe.impact.words}, so its cost is measured and agreed to first.",
                    cure="Ask for it with `/capture` or `capturebot run`.",
                )
            return ""
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
        return offered.cost

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
    return replace(offered, cost="; ".join(sentences))

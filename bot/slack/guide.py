"""Answers what there is to run, what each costs, and what runs: as far as whoever asks may run it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from bot.baselines.schedule import Planned
from bot.command import Ask, Help, List, Status
from bot.desk import Desk
from bot.errors import UserError
from bot.model import Recipe, Verb
from bot.permission import Asker, about
from bot.permission.menu import menu, readable
from bot.recipes import nearest
from bot.slack import answers
from bot.story import Story


class Guide:
    """Says what there is. Everything may raise UserError and JournalError."""

    def __init__(
        self,
        desk: Desk,
        *,
        recent: Callable[[], Awaitable[Sequence[Story]]],
        untold: Callable[[], Mapping[str, str]],
        planned: Callable[[], Awaitable[Sequence[Planned]]] | None,
    ) -> None:
        self._desk = desk
        self._recent = recent
        self._untold = untold
        self._planned = planned

    async def tell(self, ask: Ask, asker: Asker) -> str:
        """The answer to `help`, `list` and `status`."""
        match ask:
            case Help(recipe=str() as name):
                return self._help(name, asker)
            case List():
                return answers.listing(menu(self._desk, self._desk.permission, asker))
            case Status():
                baselines = await self._planned() if self._planned else ()
                left = await self._desk.ledger.left_here(asker.who, asker.place)
                waiting = await self._desk.requests.waiting(asker.place.channel) if asker.place else []
                asked = [one.asked for one in waiting]
                told, untold = readable(self._desk.permission, asker, await self._recent()), self._untold()
                return answers.status(told, asked=asked, baselines=baselines, untold=untold, left=left)
            case _:
                return answers.help_all(menu(self._desk, self._desk.permission, asker))

    def targets(self, recipe: Recipe, asker: Asker) -> tuple[str, ...]:
        """Those that *asker* may run *recipe* on, perhaps once that is approved. Raises NotAllowed where all are refused."""
        fitting = self._desk.fitting(recipe, self._desk.targets)
        found = self._desk.permission.may(asker, recipe, fitting)
        if fitting and not found:
            self._desk.permission.ensure(asker, Verb.CAPTURE, about(recipe, fitting[:1], None))
        return found

    def _help(self, name: str, asker: Asker) -> str:
        if recipe := self._desk.recipes.get(name):
            return answers.help_recipe(recipe, self.targets(recipe, asker))
        if service := self._desk.services.get(name):
            return answers.help_service(service)
        close = nearest(name, [*self._desk.recipes, *self._desk.services])
        raise UserError(
            f"There is no recipe `{name}`.", cure=f"Did you mean `{close}`?" if close else "See `/capture list`."
        )

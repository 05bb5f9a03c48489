"""What there is to ask for: recipes, targets and services by name. What is not there is answered with the nearest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bot.errors import UserError
from bot.model import Recipe, Service, Target, Trigger
from bot.recipes import bind_parameters, chosen, nearest

TARGETS_AT_MOST = 60  # named in one trigger
NAMES_LISTED = 20  # in one answer


class Catalogue:
    """Knows names."""

    def __init__(
        self, *, recipes: Mapping[str, Recipe], targets: Mapping[str, Target], services: Mapping[str, Service]
    ) -> None:
        self.recipes = recipes
        self.targets = targets
        self.services = services

    def named(self, trigger: Trigger) -> tuple[Recipe, list[Target], dict[str, str | int]]:
        """The recipe, targets and parameters of *trigger*, where there are such. Raises UserError."""
        recipe = chosen(self._recipe(trigger.recipe), trigger.parameters)
        targets = [self._target(name, recipe) for name in dict.fromkeys(trigger.targets)]
        if not targets:
            raise UserError(
                f"`{recipe.name}` needs a target.", cure=f"Try `/capture {recipe.name} {self._example(recipe)}`."
            )
        if len(targets) > TARGETS_AT_MOST:
            raise UserError(
                f"{len(targets)} targets are too many for one capture.", cure=f"Name at most {TARGETS_AT_MOST}."
            )
        return recipe, targets, bind_parameters(recipe, trigger.parameters)

    def fitting(self, recipe: Recipe, targets: Iterable[str]) -> tuple[str, ...]:
        """Those of *targets* that *recipe* is for."""
        return tuple(
            name
            for name in targets
            if recipe.wants in self.targets[name].kinds and (not recipe.targets or name in recipe.targets)
        )

    def _recipe(self, name: str) -> Recipe:
        if recipe := self.recipes.get(name):
            return recipe
        close = nearest(name, [*self.recipes, *self.services])
        cure = f"Did you mean `{close}`?" if close else f"There are: {_listed([*self.recipes, *self.services])}."
        raise UserError(f"There is no recipe `{name}`.", cure=cure)

    def _target(self, name: str, recipe: Recipe) -> Target:
        fitting = self.fitting(recipe, self.targets)
        if (target := self.targets.get(name)) is None:
            close = nearest(name, fitting) or nearest(name, self.targets)
            cure = f"Did you mean `{close}`?" if close else f"`{recipe.name}` can capture: {_listed(fitting)}."
            raise UserError(f"There is no target `{name}`.", cure=cure)
        if recipe.wants not in target.kinds:
            raise UserError(
                f"`{recipe.name}` is for {recipe.wants.words}, and `{name}` is not set up as one.",
                cure=f"`{recipe.name}` can capture: {_listed(fitting)}.",
            )
        if recipe.targets and name not in recipe.targets:
            raise UserError(f"`{recipe.title}` is not for `{name}`.", cure=f"It is for: {_listed(recipe.targets)}.")
        return target

    def _example(self, recipe: Recipe) -> str:
        return next(iter(self.fitting(recipe, self.targets)), "TARGET")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in list(names)[:NAMES_LISTED]) or "none"

"""What somebody may run: recipes, their targets, and services that start one of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bot.catalogue import Catalogue
from bot.model import Capture, Recipe, Service, Verb
from bot.permission import Asker, Permission, about_capture
from bot.policy import Verdict
from bot.story import Story


@dataclass(frozen=True, slots=True, kw_only=True)
class Menu:
    """*targets* are by recipe, and only those that rules do not refuse. Some parameters may be refused all the same."""

    recipes: Mapping[str, Recipe]
    targets: Mapping[str, tuple[str, ...]]
    services: Mapping[str, Service]


def readable(permission: Permission, asker: Asker, stories: Iterable[Story]) -> list[Story]:
    """Those whose findings may be told to *asker* outside of their own threads: who may not have the files may not."""

    def may(capture: Capture) -> bool:
        return permission.decide(asker, Verb.FILES, about_capture(capture)).verdict is Verdict.ALLOWED

    return [one for one in stories if may(one.capture)]


def menu(catalogue: Catalogue, permission: Permission, asker: Asker) -> Menu:
    """What is shown to *asker*. A recipe that no target is set up for is shown to everybody."""
    fitting = {name: catalogue.fitting(one, catalogue.targets) for name, one in catalogue.recipes.items()}
    targets = {name: permission.may(asker, one, fitting[name]) for name, one in catalogue.recipes.items()}
    recipes = {name: one for name, one in catalogue.recipes.items() if targets[name] or not fitting[name]}
    services = {
        name: one
        for name, one in catalogue.services.items()
        if not one.first or any(set(one.targets) & set(targets.get(recipe, ())) for recipe in one.first)
    }
    return Menu(recipes=recipes, targets=targets, services=services)

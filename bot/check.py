"""Everything that can be known to be wrong without touching a target, a store or a secret."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from bot.baselines import faults_of_baselines
from bot.errors import ConfigError, Problem
from bot.model import Recipe
from bot.policy.automatic import faults_of_automatic
from bot.policy.shape import faults_of_policy
from bot.recipes import builtin_folder, load_all
from bot.recipes.queries import RECIPE, query_recipe
from bot.services import faults_of_services
from bot.settings import Settings, load


def check(settings: Path | None, *, folders: Sequence[Path] = (), insights: Collection[str]) -> list[Problem]:
    """Every problem of the *settings* file, of the recipes that ship, of its own recipes and of those in *folders*.

    The same code loads the files when the bot starts, so what passes here starts there.
    """
    problems: list[Problem] = []
    loaded: Settings | None = None
    if settings is not None:
        try:
            loaded = load(settings)
        except ConfigError as error:
            problems += error.problems
    own, tools = (loaded.recipes, loaded.tools) if loaded else ((), None)
    try:
        recipes = load_all([builtin_folder(), *own, *folders], insights=insights, tools=[tools] if tools else [])
    except ConfigError as error:
        return [*problems, *error.problems]
    return problems + (faults_of(loaded, recipes) if loaded else [])


def faults_of(settings: Settings, recipes: Mapping[str, Recipe]) -> list[Problem]:
    """What is wrong between the settings that a file holds and *recipes*."""
    if settings.document is None:
        return []
    kinds = {name: target.kinds for name, target in settings.targets.items()}
    known = {**recipes, **({RECIPE: query_recipe(settings.queries)} if settings.queries else {})}
    labels = {name: target.labels for name, target in settings.targets.items()}
    return [
        *faults_of_policy(settings.document, settings.policy, known, labels),
        *faults_of_automatic(
            settings.document,
            settings.policy,
            known,
            settings.targets,
            services=settings.services.values(),
            baselines=settings.baselines,
        ),
        *faults_of_services(settings.document, settings.services, known, kinds),
        *faults_of_baselines(settings.document, settings.baselines, known, kinds),
    ]

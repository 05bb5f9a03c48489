"""What is installed: transports and insights from entry points, and the recipes that name them.

The built-in ones come from the groups ``capturebot.transports`` and ``capturebot.insights`` too, so
that third-party ones are no special case.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import structlog

from bot.check import faults_of
from bot.errors import ConfigError
from bot.insights import Insight
from bot.model import Recipe
from bot.recipes import builtin_folder, load_all
from bot.recipes.queries import RECIPE, query_recipe
from bot.settings import Settings
from bot.transports import Transport

INSIGHTS = "capturebot.insights"
TRANSPORTS = "capturebot.transports"

log = structlog.get_logger()


def insight_names() -> frozenset[str]:
    """The names of every insight that is installed; none is imported."""
    return frozenset(entry.name for entry in entry_points(group=INSIGHTS))


def load_insights() -> dict[str, Insight]:
    """Every insight that is installed, by name. One that cannot be loaded is logged, and costs its findings only."""
    loaded = {}
    for entry in entry_points(group=INSIGHTS):
        try:
            loaded[entry.name] = entry.load()
        except Exception:  # whatever a third-party module does when it is imported
            log.exception("insight cannot be loaded", insight=entry.name)
    return loaded


def make_transports(*shared: Any) -> dict[str, Transport]:
    """Every transport that is installed, by name; each is made of what all of them *share*."""
    return {entry.name: entry.load()(*shared) for entry in entry_points(group=TRANSPORTS)}


def load_recipes(settings: Settings, *, fetched: Path | None = None) -> dict[str, Recipe]:
    """The built-in recipes, the operator's own, and `query` where there are queries; *fetched* has tools from S3.

    Raises ConfigError with every problem.
    """
    tools = [folder for folder in (settings.tools, fetched) if folder]
    recipes = load_all([builtin_folder(), *settings.recipes], insights=insight_names(), tools=tools)
    if settings.queries:
        recipes[RECIPE] = query_recipe(settings.queries)
    if faults := faults_of(settings, recipes):
        raise ConfigError(tuple(faults))
    return dict(sorted(recipes.items()))

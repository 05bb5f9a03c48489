"""Everything that can be known to be wrong without touching a target, a store or a secret."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from bot.errors import ConfigError, Problem
from bot.recipes import builtin_folder, load_all
from bot.settings import load


def check(settings: Path | None, *, folders: Sequence[Path] = (), insights: Collection[str]) -> list[Problem]:
    """Every problem of the *settings* file, of the recipes that ship, of its own recipes and of those in *folders*.

    The same code loads the files when the bot starts, so what passes here starts there.
    """
    problems: list[Problem] = []
    own: tuple[Path, ...] = ()
    if settings is not None:
        try:
            own = load(settings).recipes
        except ConfigError as error:
            problems += error.problems
    try:
        load_all([builtin_folder(), *own, *folders], insights=insights)
    except ConfigError as error:
        problems += error.problems
    return problems

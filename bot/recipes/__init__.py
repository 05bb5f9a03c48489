"""Folders of recipe files into Recipes, or every problem of every file at once.

`shape` says what a file may hold, `rules` what its parts must be to each other, `draft` makes a
Recipe of it, and `parameters` binds what people give.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from bot.command import RESERVED
from bot.errors import ConfigError, Problem
from bot.model import Recipe
from bot.recipes.draft import read_recipe
from bot.recipes.parameters import bind, bind_parameters
from bot.yamlfile import nearest

__all__ = ["bind", "bind_parameters", "builtin_folder", "load_all", "load_folder", "nearest"]

MAX_FILES = 300  # recipes in one folder
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")


def builtin_folder() -> Path:
    """The folder of the recipes that ship with the bot: inside the package when installed, else beside it."""
    package = Path(__file__).parent.parent
    installed = package / "captures"
    return installed if installed.is_dir() else package.parent / "captures"


def load_folder(folder: Path) -> dict[str, Recipe]:
    """The recipes in *folder* by name, naming any insight. Raises ConfigError with every problem."""
    return _load([folder], None)


def load_all(folders: Sequence[Path], *, insights: Collection[str]) -> dict[str, Recipe]:
    """The recipes of all *folders* by name; their steps may name *insights*.

    Raises ConfigError with every problem of every file.
    """
    return _load(folders, insights)


def _load(folders: Sequence[Path], insights: Collection[str] | None) -> dict[str, Recipe]:
    recipes: dict[str, Recipe] = {}
    paths: dict[str, Path] = {}
    problems: list[Problem] = []
    for folder in {folder.resolve(): folder for folder in folders}.values():
        for path, problem in _files(folder):
            if problem:
                problems.append(problem)
                continue
            if path.stem in paths:
                message = f"there is a recipe `{path.stem}` already, in {paths[path.stem]}"
                problems.append(_problem(path, message, "rename the file: its name is the recipe's"))
                continue
            paths[path.stem] = path
            try:
                recipes[path.stem] = read_recipe(path, insights=insights)
            except ConfigError as error:
                problems += error.problems
    if problems:
        raise ConfigError(tuple(problems))
    return dict(sorted(recipes.items()))


def _files(folder: Path) -> Iterator[tuple[Path, Problem | None]]:
    """Each recipe file of *folder*, or what is wrong with its name."""
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        yield folder, _problem(folder, f"this folder cannot be read: {reason}", "check the path and its permissions")
        return
    recipes = [path for path in paths if path.suffix == ".yml"]
    for path in recipes[:MAX_FILES]:
        yield path, _wrong_name(path)
    for path in paths:
        if path.suffix.lower() in {".yaml", ".yml"} and path not in recipes:
            yield path, _problem(path, "is not read as a recipe", f"rename it to {path.stem}.yml")
    if len(recipes) > MAX_FILES:
        yield folder, _problem(folder, f"holds more than {MAX_FILES} recipes", "move some to a second folder")


def _wrong_name(path: Path) -> Problem | None:
    if path.stem in RESERVED:
        return _problem(path, f"`/capture {path.stem}` means something else", "give the recipe another name")
    if not _NAME.fullmatch(path.stem):
        cure = "use lower-case letters, digits and `-`, at most 31"
        return _problem(path, "its name cannot be typed as a recipe's name", f"rename the file: {cure}")
    return None


def _problem(path: Path, message: str, cure: str) -> Problem:
    return Problem(file=str(path), line=0, key="", message=message, cure=cure)

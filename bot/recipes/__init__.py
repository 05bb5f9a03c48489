"""Folders of recipe files into Recipes, or every problem of every file at once.

`shape` and `stepshape` say what a file may hold, `rules` what its parts must be to each other, `draft`
and `steps` make a Recipe of it, `composing` adds what it uses of others, `library` knows all files, and
`parameters` binds what people give.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from bot.command import RESERVED
from bot.errors import ConfigError, Problem
from bot.model import Recipe
from bot.recipes.builtin import builtin_folder
from bot.recipes.library import Library
from bot.recipes.parameters import bind, bind_parameters
from bot.recipes.queries import RECIPE, chosen
from bot.yamlfile import nearest

__all__ = [
    "bind",
    "bind_parameters",
    "builtin_folder",
    "chosen",
    "load_all",
    "load_folder",
    "nearest",
    "problem_of_name",
]

MAX_FILES = 300  # recipes in one folder
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")


def load_folder(folder: Path) -> dict[str, Recipe]:
    """The recipes in *folder* by name, naming any insight. Raises ConfigError with every problem."""
    return _load([folder], None, ())


def load_all(folders: Sequence[Path], *, insights: Collection[str], tools: Sequence[Path] = ()) -> dict[str, Recipe]:
    """The recipes of all *folders* by name; their steps may name *insights*, and carry what lies in *tools* or beside the bot.

    Raises ConfigError with every problem of every file.
    """
    return _load(folders, insights, tools)


def _load(folders: Sequence[Path], insights: Collection[str] | None, tools: Sequence[Path]) -> dict[str, Recipe]:
    files: dict[str, list[Path]] = {}
    problems: list[Problem] = []
    for folder in {folder.resolve(): folder for folder in folders}.values():
        for path, problem in _files(folder):
            if problem:
                problems.append(problem)
            else:
                files.setdefault(path.stem, []).append(path)
    beside_the_bot = Path(sys.executable).parent
    library = Library(files, insights=insights, tools=(*tools, beside_the_bot))
    recipes = {name: library.recipe(path) for name, paths in sorted(files.items()) for path in paths}
    if problems or library.problems:
        raise ConfigError((*problems, *library.problems))
    return {name: recipe for name, recipe in recipes.items() if recipe}


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
        yield path, problem_of_name(path, path.stem)
    for path in paths:
        if path.suffix.lower() in {".yaml", ".yml"} and path not in recipes:
            yield path, _problem(path, "is not read as a recipe", f"rename it to {path.stem}.yml")
    if len(recipes) > MAX_FILES:
        yield folder, _problem(folder, f"holds more than {MAX_FILES} recipes", "move some to a second folder")


def problem_of_name(path: Path, name: str) -> Problem | None:
    """What is wrong with a recipe's *name*, which its file at *path* has, too."""
    if name == RECIPE:
        cure = "give the recipe another name, or make a query of it"
        return _problem(path, f"`/capture {RECIPE}` asks the `queries` of capturebot.yml", cure)
    if name in RESERVED:
        return _problem(path, f"`/capture {name}` means something else", "give the recipe another name")
    if not _NAME.fullmatch(name):
        cure = "use lower-case letters, digits and `-`, at most 31"
        return _problem(path, "its name cannot be typed as a recipe's name", f"rename the file: {cure}")
    return None


def _problem(path: Path, message: str, cure: str) -> Problem:
    return Problem(file=str(path), line=0, key="", message=message, cure=cure)

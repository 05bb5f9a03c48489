"""All recipe files together: which file a name means, and which recipes use which."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from bot.errors import ConfigError, Problem
from bot.model import Recipe
from bot.recipes.draft import Found, read_recipe
from bot.yamlfile import listed, nearest, shown


class Library:
    """Reads recipes when they are asked for, each once.

    *files* are those of each name in the order of their folders: the last one is what `/capture NAME` does.
    """

    def __init__(
        self, files: Mapping[str, Sequence[Path]], *, insights: Collection[str] | None, tools: tuple[Path, ...]
    ) -> None:
        self.problems: list[Problem] = []
        self._files = files
        self._insights = insights
        self._tools = tools
        self._read: dict[Path, Recipe | None] = {}
        self._open: list[Path] = []  # each of them uses the next

    def recipe(self, path: Path) -> Recipe | None:
        """The recipe in a file; None where something is wrong with it."""
        if path not in self._read:
            earlier = self._files[path.stem][: self._files[path.stem].index(path)]
            self._open.append(path)
            self._read[path] = None
            try:
                self._read[path] = read_recipe(
                    path,
                    insights=self._insights,
                    tools=self._tools,
                    find=self._find,
                    replaced=earlier[-1] if earlier else None,
                )
            except ConfigError as error:
                self.problems += error.problems
            self._open.pop()
        return self._read[path]

    def _find(self, name: str) -> Found:
        """What the file that is being read means by *name*: its own name means the recipe that it replaces."""
        asker = self._open[-1]
        files = self._files.get(name, ())
        if name == asker.stem:
            files = files[: files.index(asker)]
        if not files and name == asker.stem:
            return "it would use itself", "take it out, or name another recipe"
        if not files:
            meant = nearest(name, self._files)
            return (
                f"there is no recipe `{shown(name)}`",
                f"did you mean `{meant}`?" if meant else f"recipes are {listed(sorted(self._files))}",
            )
        if files[-1] in self._open:
            way = [path.stem for path in self._open[self._open.index(files[-1]) :]]
            return f"leads round in a circle: {' → '.join([*way, name])}", "take one of them out"
        return self.recipe(files[-1])

"""A recipe file while it is read: what it may name, and what was found wrong so far."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bot.errors import Problem
from bot.yamlfile import Document, Where


@dataclass(slots=True, kw_only=True)
class Page:
    """One file; scripts lie in *folder*, steps may name *insights* (None: any), and carry what lies in *tools*."""

    document: Document
    folder: Path
    insights: Collection[str] | None
    tools: tuple[Path, ...]
    declared: tuple[str, ...] = ()  # its parameters
    is_windows: bool = False  # scripts are PowerShell's
    problems: list[Problem] = field(default_factory=list)

    def wrong(self, where: Where, message: str, cure: str) -> None:
        """Note a problem of the file itself."""
        self.problems.append(self.document.problem(where, message, cure))

    def wrong_in(self, path: Path, line: int, message: str, cure: str) -> None:
        """Note one of a file that belongs to it; *line* 0 means the whole file."""
        self.problems.append(Problem(file=str(path), line=line, key="", message=message, cure=cure))

    def repeated(self, names: Sequence[str], where: Where, key: str) -> None:
        """Note each name that an earlier entry of the list at *where* has already."""
        for index, name in enumerate(names):
            if name in names[:index]:
                first = self.document.lines[*where, names.index(name), key]
                self.wrong((*where, index, key), f"`{name}` is taken by line {first}", "give each a name of its own")

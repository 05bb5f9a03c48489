"""Reads the tables of wrong files, `wrong_*.txt`: a right file, then changes to it and what is said of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Wrong:
    """One wrong file and the problems that an operator reads; *told_by_schema* when an editor marks it too."""

    text: str
    says: list[str]
    told_by_schema: bool

    def __str__(self) -> str:
        return self.says[0]


def table(name: str) -> tuple[str, list[Wrong]]:
    """The right file of a table, and every wrong one."""
    _, right, *changes = (Path(__file__).parent / name).read_text().strip().split("\n\n")
    return right + "\n", [_wrong(right + "\n", change) for change in changes]


def _wrong(right: str, change: str) -> Wrong:
    kept = {mark: [line[2:] for line in change.splitlines() if line.startswith(mark)] for mark in "-+!?"}
    was, now = ("".join(f"{line}\n" for line in kept[mark]) for mark in "-+")
    assert f"\n{right}".count(f"\n{was}") == 1, f"not one place to change: {change}"
    assert bool(kept["!"]) != bool(kept["?"]), f"said by whom? {change}"
    text = f"\n{right}".replace(f"\n{was}", f"\n{now}")[1:]
    return Wrong(text=text, says=kept["!"] + kept["?"], told_by_schema=bool(kept["!"]))

"""`python -m tests.scenes [NAME …]`: play scenes and print what came of them. Status 0 only if all that ran are right.

`--list` prints what the playground's page lists of them, `docs/scenes.json`.
"""

from __future__ import annotations

import signal
import statistics
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tests.scenes import listing, scenes
from tests.stage import Played, Scene
from tests.stage.theatre import Theatre

PAGE_COLUMNS = 160  # where the output is no terminal


def main(names: Sequence[str]) -> int:
    """Play the scenes whose names begin with one of *names*, or all."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    if list(names) == ["--list"]:
        sys.stdout.write(listing())
        return 0
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PAGE_COLUMNS)
    known = scenes()
    if unknown := [name for name in names if not any(each.startswith(name) for each in known)]:
        console.print(f"There is no scene {', '.join(unknown)}; there are {', '.join(known)}.", markup=False)
        return 2
    played: list[Played] = []
    with Theatre() as theatre, Live(console=console, auto_refresh=False) as live:
        for one in known.values():
            if not names or one.name.startswith(tuple(names)):
                live.update(_table(played, playing=one), refresh=True)
                played.append(theatre.play(one))
        live.update(_table(played), refresh=True)
    if not console.is_terminal:
        console.line()
    console.print(_summary(played))
    return 1 if any(one.fault for one in played) else 0


def _leave(number: int, _frame: object) -> None:
    """End as after a signal, but with everything that was started ended too."""
    sys.exit(128 + number)


def _table(played: Sequence[Played], *, playing: Scene | None = None) -> Table:
    table = Table(highlight=False)
    for column in ("scene", "first line", ""):
        table.add_column(column, no_wrap=column == "scene")
    table.add_column("s", justify="right")
    for one in played:
        said = Text.assemble(one.line, (f"\n{one.fault}" if one.fault else "", "red"))
        if one.not_run:
            table.add_row(one.scene, Text(f"not run: {one.not_run}", "yellow"))
        else:
            verdict = Text("wrong", "bold red") if one.fault else Text("right", "green")
            table.add_row(one.scene, said, verdict, f"{one.seconds:.1f}" if one.seconds is not None else "")
    if playing:
        table.add_row(playing.name, Text(playing.broken, "dim"))
    return table


def _summary(played: Sequence[Played]) -> str:
    ran = [one for one in played if not one.not_run]
    seconds = [one.seconds for one in ran if one.seconds is not None]
    median = f", median {statistics.median(seconds):.1f} s from the command to the first line" if seconds else ""
    right = sum(not one.fault for one in ran)
    left_out = f"; {len(played) - len(ran)} not run" if len(played) > len(ran) else ""
    return f"{right} of {len(ran)} right{median}{left_out}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

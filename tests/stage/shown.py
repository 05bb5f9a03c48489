"""`python -m tests.stage.shown NAME FOLDER PORT [--once]`: the inside of `show`: a scene, and the playground around it."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from rich.console import Console

from bot.errors import UserError
from bot.playground.estate import bot, estate
from bot.playground.tour import Tour
from tests.scenes import scenes
from tests.stage import Scene
from tests.stage.doorway import to_inside
from tests.stage.engine import TARGET
from tests.stage.line import fault

FAILED_STATUS = 1
NOT_RUN_STATUS = 3


def main(arguments: Sequence[str]) -> int:
    """Play it and show it; stay until ended, unless once."""
    name, folder, port, *rest = arguments
    console = Console(highlight=False, soft_wrap=True)
    try:
        return asyncio.run(_show(scenes()[name], Path(folder), int(port), console, once="--once" in rest))
    except UserError as missing:
        console.print(str(missing), markup=False)
        return NOT_RUN_STATUS


async def _show(scene: Scene, folder: Path, port: int, console: Console, *, once: bool) -> int:
    console.print(f"Scene {scene.name}: {scene.broken}", style="bold", markup=False)
    async with AsyncExitStack() as stack:
        stage = folder / "stage"
        stage.mkdir()
        broken = await stack.enter_async_context(scene.stage(stage))
        targets = {TARGET: dict(broken.target)}
        here = await stack.enter_async_context(
            estate(folder / "playground", port=port, targets=targets, environ=broken.environ, settings=broken.settings)
        )
        await stack.enter_async_context(to_inside(folder / "page", port))
        await stack.enter_async_context(bot(here))
        given = "".join(f" {shlex.quote(f'{key}={value}')}" for key, value in broken.parameters.items())
        tour = Tour(here, console, broken.end)
        faults = await tour.take(f"/capture {scene.recipe} {TARGET}{given}")
        if wrong := fault(tour.first_line(), broken.line):
            faults.append(f"the first line is wrong: {wrong}")
        for one in faults:
            console.print(f"✗ {one}", style="red", markup=False)
        if not faults:
            console.print("\n✓ The first line names what is broken; thread, objects and note were read back.")
        if not once:
            console.print(f"\nThe page: [bold]{here.workspace.page_url}[/]   Ctrl-C mends and ends everything.")
            await asyncio.Event().wait()
    return FAILED_STATUS if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`python -m tests.stage.player`: plays the scenes whose names it is told, a line of JSON in and out for each.

It is started by `machine`, as the first program of a private machine where there can be one.
"""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from dataclasses import asdict

from bot.errors import UserError
from tests.scenes import scenes
from tests.stage import Played, Scene
from tests.stage.engine import play

PATIENCE_S = 60.0  # for one scene, its breaking and mending included


def main() -> None:
    """Play until there is nobody to play for."""
    known = scenes()
    for line in sys.stdin:
        print(json.dumps(asdict(_play(known[line.strip()]))), flush=True)  # noqa: T201  (the answer)


def _play(scene: Scene) -> Played:
    try:
        return asyncio.run(_bounded(scene))
    except UserError as missing:  # a program that the scene stands on is not installed, or does not start
        return Played(scene=scene.name, not_run=str(missing))
    except TimeoutError:
        return Played(scene=scene.name, fault=f"not over within {PATIENCE_S:g} s")
    except Exception as error:  # noqa: BLE001  whatever breaks in a scene is told, and the next one is played
        traceback.print_exc(limit=-4)
        return Played(scene=scene.name, fault=f"the scene broke: {type(error).__name__}: {error}"[:500])


async def _bounded(scene: Scene) -> Played:
    async with asyncio.timeout(PATIENCE_S):
        return await play(scene)


if __name__ == "__main__":
    main()

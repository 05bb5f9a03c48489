"""`python -m tests.stage.show NAME [--once] [--port N]`: one scene in the playground, to be looked at.

Everything but the page's door runs in the scene's private machine: what is broken, the bot, its Slack, S3 and PagerDuty.
Status 0 only if the thread's first line was right and everything was read back.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from bot.recipes import nearest
from tests.scenes import scenes
from tests.stage import Scene
from tests.stage.doorway import from_outside
from tests.stage.machine import impossible, inside

PROGRAM = (sys.executable, "-m", "tests.stage.shown")
USAGE_STATUS = 2
NOT_RUN_STATUS = 3
INTERRUPTED_STATUS = 130
POLL_S = 0.2


def main(arguments: Sequence[str]) -> int:
    """Play one scene before one's eyes."""
    parser = argparse.ArgumentParser(prog="make run SCENE=", allow_abbrev=False)
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--port", type=int, default=8090)
    options = parser.parse_args(arguments)
    known = scenes()
    if options.name not in known:
        meant = nearest(options.name, known)
        _say(
            f"There is no scene {options.name}. "
            + (f"Did you mean {meant}?" if meant else f"There are {', '.join(known)}.")
        )
        return USAGE_STATUS
    scene = known[options.name]
    for need in scene.needs:
        if missing := need():
            _say(f"{scene.name} cannot be played here: {missing}")
            return NOT_RUN_STATUS
    try:
        with tempfile.TemporaryDirectory(prefix="capturebot-scene-") as folder:
            Path(folder).chmod(0o711)  # a database in there has a user of its own
            return asyncio.run(_show(scene, Path(folder), once=options.once, port=options.port))
    except OSError:
        _say(f"Port {options.port} is taken; choose another with ARGS='--port N' (0: any).")
        return USAGE_STATUS


async def _show(scene: Scene, folder: Path, *, once: bool, port: int) -> int:
    stop = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    async with AsyncExitStack() as stack:
        if not impossible():  # else the scene is played right here, and needs no door
            port = await stack.enter_async_context(from_outside(port, folder / "page"))
        program = [*PROGRAM, scene.name, str(folder), str(port), *(["--once"] if once else [])]
        return await _watch(stack.enter_context(inside(scene.on, program, stdout=None)), stop)


async def _watch(shown: subprocess.Popen[str], stop: asyncio.Event) -> int:
    while (status := shown.poll()) is None:
        try:
            async with asyncio.timeout(POLL_S):
                await stop.wait()
        except TimeoutError:
            continue
        _say("\nEnding …")
        return INTERRUPTED_STATUS  # the machine ends with all that is in it
    return status


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  (the answer)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main(sys.argv[1:]))

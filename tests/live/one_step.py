"""The core of one process, taken here by a bot that a test may kill, or whose disk it has made small.

    python -m tests.live.one_step PLACE PID [SIZE]

PLACE is where scratch folders are made. Prints what came of it as JSON. With SIZE, the file system at PLACE becomes that
small as soon as the process stands still, as if others had filled it.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from bot.model import Target
from bot.recipes import bind, bind_parameters, builtin_folder, load_folder
from bot.transports.local import LocalTransport
from tests.steps import keep, start, until

HERE = Target(name="here", local=True)


def is_held(pid: int) -> bool:
    """Whether a debugger has stopped it."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].startswith("t")


def say(line: str) -> None:
    """To whoever started this."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def shrink(place: str, size: str, pid: int) -> None:
    """Take the room away in the worst moment."""
    assert await until(lambda: is_held(pid))
    await asyncio.to_thread(subprocess.run, ["mount", "-o", f"remount,size={size}", place], check=True)


async def main(place: str, pid: int, *sizes: str) -> None:
    """Take the core, and say what came of it."""
    recipe = load_folder(builtin_folder())["core"]
    step = bind(recipe.steps[0], bind_parameters(recipe, {"pid": str(pid)}))
    execution = await start(LocalTransport(places=(place,)), HERE, step)
    say("begun")
    async with asyncio.TaskGroup() as group:
        for size in sizes:
            group.create_task(shrink(place, size, pid))
        kept = await keep(execution)
    said = {"reason": kept.reason, "report": kept.output.decode(), "file_bytes": len(kept.file), "whole": kept.whole}
    say(json.dumps(said))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))

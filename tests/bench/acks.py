"""How long a command waits for its acknowledgement while 50 captures run, beside a Bolt app that does nothing."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bot.playground.workspace import Workspace
from tests.bench import Figure, at_most, share, told
from tests.bench.served import Served, served
from tests.bench.text import block

STREAMING, HANGING = 20, 25
DENSE = 5  # whose every line holds a secret
CAPTURES = STREAMING + DENSE + HANGING
COMMANDS = 200
EVERY_S = 0.05  # one after another, whether the one before was acknowledged or not
SHARE = 0.99
READY_S = 60.0
LINES = ("status", "list", "help", "help streaming", "status", "stop zzzzzz", "streaming nowhere", "help db")
WANTED_MS = 100


async def measure(folder: Path) -> list[Figure]:
    """See `tests.bench`."""
    (folder / "ordinary").write_bytes(block(50_000))
    (folder / "dense").write_bytes(b"".join(b"password=%020d\n" % number for number in range(1_700)))
    recipes = {
        "streaming": _recipe(f"while cat {folder}/ordinary; do sleep 0.5; done"),
        "dense": _recipe(f"while cat {folder}/dense; do sleep 0.5; done"),
        "hanging": _recipe("exec sleep 600"),
    }
    limits = {"captures_at_once": CAPTURES, "drain_s": 1}
    async with served(folder / "served", recipes, hosts=CAPTURES, limits=limits) as bot, bare() as peer:
        room = bot.new_channel()
        (first,) = await _ask(bot.workspace, room, bot.user, ["/capture list"])
        await _fill(bot)
        some = [f"/capture {line}" for line in LINES]
        busy = await _ask(bot.workspace, room, bot.user, [some[n % len(some)] for n in range(COMMANDS)])
        other = peer.add_channel("bench"), peer.add_user("ana")
        nothing = await _ask(peer, *other, ["/capture list"] * COMMANDS)
    return [
        at_most("the very first command", first, WANTED_MS, "ms"),
        told(f"{COMMANDS} commands with {CAPTURES} captures running, half", share(busy, 0.5), "ms"),
        at_most("99 % of them", share(busy, SHARE), WANTED_MS, "ms"),
        told("all of them", max(busy), "ms"),
        told("99 % with a bare Bolt app", share(nothing, SHARE), "ms"),
        told("the bot to that", share(busy, SHARE) / share(nothing, SHARE)),
    ]


def _recipe(shell: str) -> dict[str, Any]:
    step = {"id": "output", "title": "Output", "run": ["sh", "-c", shell], "timeout": 600, "limit": "1 GB"}
    return {"title": "A capture under way", "steps": [step]}


async def _fill(bot: Served) -> None:
    """Start all captures and wait until each has told that it is under way."""
    names = ["streaming"] * STREAMING + ["dense"] * DENSE + ["hanging"] * HANGING
    channels = [bot.new_channel() for _ in names]
    for number, (name, channel) in enumerate(zip(names, channels, strict=True), start=1):
        await bot.workspace.command(channel, bot.user, f"/capture {name} here-{number}")
    await bot.workspace.wait_for(lambda: all(bot.root(channel) for channel in channels), READY_S)


async def _ask(workspace: Workspace, channel: str, user: str, lines: list[str]) -> list[float]:
    """Type *lines* at a steady pace; the milliseconds to each acknowledgement."""
    async with asyncio.TaskGroup() as group:
        answers = []
        for line in lines:
            answers.append(group.create_task(workspace.command(channel, user, line)))
            await asyncio.sleep(EVERY_S)
    results = [task.result() for task in answers]
    assert all(one.acked_after_s is not None for one in results), [one.error for one in results if one.error]
    return [1000 * (one.acked_after_s or 0.0) for one in results]


@asynccontextmanager
async def bare() -> AsyncIterator[Workspace]:
    """A workspace of its own with a Bolt app that acknowledges and does nothing else, in a process of its own."""
    async with Workspace() as workspace:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.bench.bare_bolt", workspace.api_url,
            env={**os.environ, "BOT": workspace.bot_token, "APP": workspace.app_token},
        )  # fmt: skip
        try:
            await workspace.wait_for(lambda: len(workspace.sockets.numbers) >= 2, READY_S)
            yield workspace
        finally:
            process.kill()
            await process.wait()

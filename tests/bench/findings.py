"""How long the first finding takes from its step's end to a reply in the capture's thread."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from bot.model import StepFinished
from bot.playground.workspace import Limits
from tests.bench import Figure, at_most, share, told
from tests.bench.served import Served, served

CAPTURES = 30
EVERY_S = 1.2
CAPTURE_S = 30.0
WANTED_S = 1.0
FULL_DISK = Path(__file__).parent.parent / "recordings" / "host-disk" / "full.txt"


async def measure(folder: Path) -> list[Figure]:
    """See `tests.bench`."""
    steps = [
        {"id": "load", "title": "Load", "run": ["uptime"]},
        {"id": "disk", "title": "Disk", "run": ["sh", "-c", f"sleep 1.5; cat {FULL_DISK}"], "insight": "host-disk"},
        {"id": "last", "title": "Something that takes longer", "run": ["sleep", "4"]},
    ]
    recipe = {"title": "Disks", "steps": [{"timeout": 10, "limit": "1 MB"} | step for step in steps]}
    # Slack's bound on edits in a minute is lifted: the bot is measured, not how many captures a workspace bears.
    slack = Limits(per_minute={1: 1, 2: 20, 3: 1000, 4: 1000})
    async with served(folder / "served", {"disks": recipe}, hosts=CAPTURES, slack=slack) as bot:
        async with asyncio.TaskGroup() as group:
            captures = []
            for number in range(1, CAPTURES + 1):
                captures.append(group.create_task(_first_finding(bot, f"/capture disks here-{number}")))
                await asyncio.sleep(EVERY_S)
        seconds = [capture.result() for capture in captures]
    return [
        told(f"first findings of {CAPTURES} captures, half", share(seconds, 0.5), "s"),
        at_most("99 % of them", share(seconds, 0.99), WANTED_S, "s"),
    ]


async def _first_finding(bot: Served, command: str) -> float:
    """Take a capture; the seconds from the end of the step with the finding to the reply that tells it."""
    channel = bot.new_channel()

    def seen() -> float | None:
        root = bot.root(channel)
        replies = bot.workspace.thread(channel, root.ts)[1:] if root else []
        return time.time() if any(" is full: " in reply.text for reply in replies) else None

    async with asyncio.TaskGroup() as group:
        told_at = group.create_task(bot.workspace.wait_for(seen, CAPTURE_S))
        events = await bot.capture(command, channel=channel, within_s=CAPTURE_S)
    (ended_at,) = [
        event.at.timestamp() for event in events if isinstance(event, StepFinished) and event.result.findings
    ]
    at = told_at.result()
    assert at is not None
    return at - ended_at

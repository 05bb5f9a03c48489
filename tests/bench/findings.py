"""From a step's end to the reply in the thread that carries its finding."""

from __future__ import annotations

from pathlib import Path

from bot.model import StepFinished
from tests.bench import Figure, at_most, share, told
from tests.bench.served import Served, served

CAPTURES = 20
FULL_DISK = Path(__file__).parent.parent / "recordings/host-disk/full.txt"
CAPTURE_S = 30.0
WANTED_MS = 1000


async def measure(folder: Path) -> list[Figure]:
    """See `tests.bench`."""
    step = {"id": "disk", "title": "Disk space", "run": ["cat", str(FULL_DISK)], "timeout": 10, "limit": "1 MB"}
    slow = {"id": "slow", "title": "Something slower", "run": ["sleep", "2"], "timeout": 10, "limit": "1 MB"}
    recipe = {"title": "A full disk", "steps": [{**step, "insight": "host-disk"}, slow]}
    async with served(folder / "served", {"full": recipe}) as bot:
        taken = [await _late(bot) for _ in range(CAPTURES)]
    return [
        told(f"{CAPTURES} captures, half", share(taken, 0.5), "ms"),
        at_most("the slowest", max(taken), WANTED_MS, "ms"),
    ]


async def _late(bot: Served) -> float:
    """Milliseconds from the event of the step's end to the reply with its finding, while the other step runs."""
    events = await bot.capture("/capture full here-1", within_s=CAPTURE_S)
    ended = next(event.at for event in events if isinstance(event, StepFinished) and event.result.findings)
    channel = next(event.capture.place.channel for event in events if hasattr(event, "capture") and event.capture.place)
    root = bot.root(channel)
    assert root is not None
    reply = bot.workspace.thread(channel, root.ts)[1]
    return (float(reply.ts) - ended.timestamp()) * 1000

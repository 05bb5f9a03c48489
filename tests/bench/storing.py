"""2 GiB from a host into S3: how fast beside the named peer, and in how much memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bot.model import StepFinished
from tests.bench import Figure, at_least, at_most, awscli, told
from tests.bench.served import Served, served
from tests.bench.text import write

MIB = 1024 * 1024
LARGE_BYTES = 2048 * MIB
SMALL_BYTES = 512 * MIB
ROUNDS = 3
CAPTURE_S = 300.0
LIMIT = "5 GB"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    seconds: float
    cpu_s: float  # of the bot's process
    growth_bytes: int  # of its resident size at the peak, over what it was before


async def measure(folder: Path) -> list[Figure]:
    """See `tests.bench`."""
    await awscli.install()
    sums = {name: write(folder / name, size) for name, size in (("large", LARGE_BYTES), ("small", SMALL_BYTES))}
    recipes = {name: _recipe(folder / name) for name in sums}
    async with served(folder / "served", recipes) as bot:
        ours: list[Stored] = []
        same: list[awscli.Copied] = []
        default: list[awscli.Copied] = []
        for _ in range(ROUNDS):  # in turn, so that a busy minute of the machine meets all
            ours.append(await _store(bot, "small", sums["small"]))
            same.append(await _copy(bot, folder / "small", cipher=awscli.CIPHER))
            default.append(await _copy(bot, folder / "small", cipher=None))
        whole = await _store(bot, "large", sums["large"])
        peer = await _copy(bot, folder / "large", cipher=awscli.CIPHER)
    return [
        told("512 MiB, the bot", 512 / median(one.seconds for one in ours), "MiB/s"),
        told("512 MiB, `ssh cat | aws s3 cp`, the bot's cipher", 512 / median(one.seconds for one in same), "MiB/s"),
        told("512 MiB, the same, ssh's own cipher", 512 / median(one.seconds for one in default), "MiB/s"),
        at_least("512 MiB, the bot to its peer", _ratio(same, ours), 0.8),
        told("512 MiB, the bot to its peer with ssh's own cipher", _ratio(default, ours)),
        told("2 GiB, the bot", 2048 / whole.seconds, "MiB/s"),
        at_least("2 GiB, the bot to its peer", peer.seconds / whole.seconds, 0.8),
        told("2 GiB, CPU of the bot", whole.cpu_s, "s"),
        told("2 GiB, CPU of its peer", peer.cpu_s, "s"),
        at_most("2 GiB, growth of the bot's memory", whole.growth_bytes / MIB, 64, "MiB"),
    ]


def _ratio(peers: list[awscli.Copied], ours: list[Stored]) -> float:
    """How much longer the peer took: of each round, which had the same machine, and the middle of those."""
    return median(peer.seconds / one.seconds for peer, one in zip(peers, ours, strict=True))


def _recipe(path: Path) -> dict[str, object]:
    step = {"id": "log", "title": "A log", "log": {"path": str(path), "whole": True}, "timeout": 600, "limit": LIMIT}
    return {"title": f"A {path.name} log", "steps": [step]}


async def _store(bot: Served, recipe: str, sha256: str) -> Stored:
    process = bot.process
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # the peak from now on
    idle_bytes, cpu = process.memory_info().rss, process.cpu_times()
    events = await bot.capture(f"/capture {recipe} host", within_s=CAPTURE_S)
    (result,) = [event.result for event in events if isinstance(event, StepFinished)]
    assert result.artifact, result.reason
    assert result.artifact.sha256 == sha256, "what was stored is not what lay on the host"
    (bot.s3.folder / bot.s3.bucket / result.artifact.key).unlink()
    after = process.cpu_times()
    return Stored(
        seconds=result.seconds,
        cpu_s=after.user + after.system - cpu.user - cpu.system,
        growth_bytes=_peak_bytes(process.pid) - idle_bytes,
    )


def _peak_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024


async def _copy(bot: Served, path: Path, *, cipher: str | None) -> awscli.Copied:
    copied = await awscli.copy(bot.host, path, bot.s3, "peer/log.txt", cipher=cipher)
    stored = bot.s3.folder / bot.s3.bucket / "peer/log.txt"
    assert stored.stat().st_size == path.stat().st_size
    stored.unlink()
    return copied

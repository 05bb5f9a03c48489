"""Processes that run into the limit of their memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from tests.stage import Broken, Kind, scene
from tests.stage.cgroups import group
from tests.stage.culprits import culprit
from tests.stage.needs import memory_cgroup, private_machine

MB = 1_000_000
# The memory is random, so that nothing can share or compress it.
LEAK = """\
import pathlib
pathlib.Path({procs!r}).write_text(str(os.getpid()))
used = next(path for name in ("memory.current", "memory.usage_in_bytes") if (path := pathlib.Path({folder!r}, name)).exists())
kept = []
while int(used.read_text()) < {enough}:
    kept.append(os.urandom(500_000))
ready()
stay()
"""
IMPORT = """\
import pathlib
pathlib.Path({procs!r}).write_text(str(os.getpid()))
kept = []
while True:
    kept.append(os.urandom(500_000))
    if len(kept) == 20:
        ready()
"""


@scene(
    "host-memory-leak",
    "A process has leaked memory until little of what its control group allows is left.",
    recipe="host",
    needs=(private_machine, memory_cgroup),
)
async def memory_leak(_folder: Path) -> AsyncIterator[Broken]:
    """It stops growing before the kernel kills it."""
    with group("orders-cache", "memory", first=128 * MB, second=128 * MB) as limited:
        code = LEAK.format(procs=str(limited.procs), folder=str(limited.path), enough=126 * MB)
        async with culprit("orders-cache", code) as leak:
            yield Broken(
                line=f"{leak.text} is near its memory limit: <119..128> MB of 128 MB used (control group "
                f"/{limited.path.name})"
            )


@scene(
    "host-oom-kill",
    "The kernel has just killed a process for lack of memory.",
    recipe="host",
    needs=(private_machine, memory_cgroup),
    on=Kind.KERNEL_LOG,
)
async def oom_kill(_folder: Path) -> AsyncIterator[Broken]:
    """A control group of 48 MB, and a process that wants more; the kernel's log knows it by another pid."""
    with group("orders-import", "memory", first=48 * MB, second=48 * MB) as limited:
        async with culprit("orders-import", IMPORT.format(procs=str(limited.procs))):
            await asyncio.sleep(1)
            yield Broken(
                line="The kernel killed orders-import (pid <2..99999999>) at the memory limit of its control group "
                "<0..20> s ago: it held <40..62> MB<any>"
            )

"""One process that somebody is about to restart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from tests.scenes.host_files import LEAK
from tests.stage import Broken, scene
from tests.stage.culprits import culprit
from tests.stage.needs import private_machine


@scene(
    "snapshot-descriptor-leak",
    "A process has opened files until few are left to it, and is about to be restarted.",
    recipe="snapshot",
    needs=(private_machine,),
)
async def descriptor_leak(folder: Path) -> AsyncIterator[Broken]:
    """The part about its files says so."""
    async with culprit("orders-api", LEAK.format(file=str(folder / "orders.log"))) as leak:
        line = f"{leak.text} has <1000..1023> of 1,024 files open, <1000..1010> of them files in {folder}"
        yield Broken(line=line, parameters={"pid": str(leak.pid)})


@scene(
    "snapshot-healthy",
    "Nothing: a process that does its work.",
    recipe="snapshot",
    needs=(private_machine,),
)
async def healthy(_folder: Path) -> AsyncIterator[Broken]:
    """What it uses is told all the same, because it was asked for."""
    async with culprit("orders-api", "ready()\nstay()") as api:
        line = f"python -c (pid {api.pid}), <0..60> s old: <0..20> % CPU, 1 thread, <1..99> MB, <3..20> of <any> files"
        yield Broken(line=line, parameters={"pid": str(api.pid)})

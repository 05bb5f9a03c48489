"""A first look: the worst of several troubles, and nothing where all is well."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from tests.scenes.host_files import DISK, disk
from tests.stage import NOTHING, Broken, scene
from tests.stage.culprits import culprit
from tests.stage.needs import calm, private_machine

LOOP = """\
ready()
while True:
    pass
"""


@scene("triage-worst", "A disk is full, and beside it a process computes.", recipe="triage", needs=(private_machine,))
async def worst(_folder: Path) -> AsyncIterator[Broken]:
    """What has no room left comes before what is merely busy."""
    with disk(size="8m"):
        with suppress(OSError), (DISK / "fill").open("wb", buffering=0) as fill:
            while fill.write(bytes(1 << 20)):
                pass
        async with culprit("orders-report", LOOP):
            yield Broken(line=f"{DISK} is full: 100 % of 8.4 MB used, 0 bytes free")


@scene("triage-well", "Nothing: a host that is well.", recipe="triage", needs=(private_machine, calm))
async def well(_folder: Path) -> AsyncIterator[Broken]:
    """A process that sleeps, and the bot."""
    async with culprit("orders-api", "ready()\nstay()"):
        yield Broken(line=NOTHING)

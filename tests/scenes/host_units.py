"""Services that fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from tests.stage import Broken, Kind, scene
from tests.stage.needs import private_machine, systemd
from tests.stage.systemd import UNITS
from tests.stage.waiting import until

UNIT = UNITS / "orders-api.service"
SERVICE = """\
[Unit]
DefaultDependencies=no
[Service]
ExecStart=/bin/sh -c 'sleep 0.2; exit 3'
"""


async def _systemctl(*argv: str) -> str:
    process = await asyncio.create_subprocess_exec("systemctl", *argv, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    return said.decode().strip()


async def _failed() -> bool:
    return await _systemctl("is-failed", UNIT.name) == "failed"


@scene(
    "host-failed-unit", "A service has just failed.", recipe="host", needs=(private_machine, systemd), on=Kind.SYSTEMD
)
async def failed_unit(_folder: Path) -> AsyncIterator[Broken]:
    """It ends with status 3 a moment after its start."""
    UNIT.write_text(SERVICE)
    await _systemctl("daemon-reload")
    await _systemctl("start", UNIT.name)
    await until(_failed)
    yield Broken(line=f"{UNIT.name} failed <0..20> s ago (exit status 3)")
    UNIT.unlink()
    await _systemctl("reset-failed", UNIT.name)

"""A service that writes to the journal, and complains there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from tests.stage import Broken, Kind, scene
from tests.stage.needs import private_machine, programs, systemd
from tests.stage.systemd import UNITS
from tests.stage.waiting import until

UNIT = UNITS / "orders-api.service"
GATE = Path("/run/orders-api.broken")
# Ordinary lines until the gate is there, and from then on what a client says whose server is gone.
SERVICE = f"""\
[Unit]
DefaultDependencies=no
[Service]
StandardOutput=journal
ExecStart=/bin/bash -c 'while sleep 0.05; do n=$((n + 1)); echo "order $n was charged"; \
[ ! -e {GATE} ] || echo "ERROR cannot charge order $n: connection to payments.example.com:8443 refused"; done'
"""


async def _run(*argv: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    said, _ = await process.communicate()
    return said.decode().strip()


@scene(
    "logs-journal",
    "A service complains in the journal.",
    recipe="logs",
    needs=(private_machine, systemd, programs(journalctl="systemd")),
    on=Kind.SYSTEMD,
)
async def journal(_folder: Path) -> AsyncIterator[Broken]:
    """It was well for a few seconds."""

    async def heard(text: str, times: int) -> bool:
        said = await _run("journalctl", f"--unit={UNIT.name}", "--output=cat", "--no-pager")
        return said.count(text) > times

    UNIT.write_text(SERVICE)
    await _run("systemctl", "daemon-reload")
    await _run("systemctl", "start", "systemd-journald.service", UNIT.name)
    await until(lambda: heard("was charged", 160))
    await _run("touch", str(GATE))
    await until(lambda: heard("cannot charge", 60))
    yield Broken(
        parameters={"unit": UNIT.name},
        line="orders-api.service: 'cannot charge order …: connection to payments.example.com:8443 refused' is new since <any>, "
        "<60..200> times in <3..15> s; none in the <7..20> s before",
    )
    await _run("systemctl", "stop", UNIT.name, "systemd-journald.service")
    await _run("rm", str(UNIT), str(GATE))

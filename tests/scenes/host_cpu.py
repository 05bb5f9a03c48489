"""Hosts whose processors are used up."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

from tests.stage import Broken, scene
from tests.stage.culprits import culprit
from tests.stage.needs import private_machine

# Hashing large blocks lets go of Python's lock, so one process keeps all processors busy.
REPORT = """\
import hashlib, threading
def crunch():
    while True:
        hashlib.sha256(bytes(1 << 20)).digest()
for _ in range(os.cpu_count()):
    threading.Thread(target=crunch, daemon=True).start()
ready()
stay()
"""
STORM = """\
import subprocess, threading
def check():
    while True:
        subprocess.run(["true"])
for _ in range(os.cpu_count()):
    threading.Thread(target=check, daemon=True).start()
ready()
stay()
"""


@scene("host-cpu-hog", "One process computes on all processors.", recipe="host", needs=(private_machine,))
async def cpu_hog(_folder: Path) -> AsyncIterator[Broken]:
    """As many threads as there are processors."""
    cores = os.cpu_count() or 1
    async with culprit("orders-report", REPORT) as report:
        yield Broken(line=f"{report.text} uses <{cores * 70}..{cores * 102}> % CPU of {cores} core<any>")


@scene("host-fork-storm", "A script starts programs without end.", recipe="host", needs=(private_machine,))
async def fork_storm(_folder: Path) -> AsyncIterator[Broken]:
    """Each program ends at once, so that no list of processes shows it."""
    cores = os.cpu_count() or 1
    async with culprit("health-check", STORM) as storm:
        yield Broken(
            line=f"{storm.text} and the short-lived processes that it starts use <{cores * 45}..{cores * 102}> % CPU of "
            f"{cores} core<any>; <100..10000> processes a second start"
        )

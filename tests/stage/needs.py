"""What scenes need of the machine at hand: each says why it will not do, or nothing."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from tests.stage import Need
from tests.stage.cgroups import root_of
from tests.stage.machine import impossible
from tests.stage.systemd import SYSTEMD

CALM_WAIT_S = 30.0  # for others to finish what they are doing
CALM_LOAD = 2.7  # per core, over the last minute
CALM_PRESSURE = {"memory": 10.0, "io": 25.0}  # % of the last ten seconds in which some work stood still
CALM_SHARE = 0.5  # of the processors; strangers that took more may be why a scene went wrong
LOOK_S = 0.5


def programs(**packages: str) -> Need:
    """Programs with the Debian packages that bring them, e.g. ``sysbench="sysbench"``; ``_`` stands for ``-``."""

    def look() -> str:
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin"
        missing = [name for name in packages if not shutil.which(name.replace("_", "-"), path=path)]
        wanted = " ".join(sorted({packages[name] for name in missing}))
        return f"{', '.join(missing)} is missing: apt-get install {wanted}" if missing else ""

    return look


def private_machine() -> str:
    """Namespaces, which need root."""
    return impossible()


def memory_cgroup() -> str:
    """A limit on the memory of some processes."""
    return "" if root_of("memory") else "there is no memory cgroup that limits can be set in"


def systemd() -> str:
    """A systemd that can be started in a private machine."""
    if not Path(SYSTEMD).exists():
        return "systemd is missing: apt-get install systemd"
    return "" if root_of() else "there is no cgroup file system of version 2 for systemd"


class _Calm:
    """Others that leave the machine alone enough; waits for it, CALM_WAIT_S for all scenes together.

    A private machine goes before them (see `machine.SHARES`), but shares load, pressure and kernel with them.
    """

    def __init__(self) -> None:
        self._patience_s = CALM_WAIT_S

    def __call__(self) -> str:
        while (reason := _busy()) and self._patience_s > 0:
            self._patience_s -= LOOK_S
            time.sleep(LOOK_S)
        return reason


calm = _Calm()


def _busy() -> str:
    cores = os.cpu_count() or 1
    load, _, _ = os.getloadavg()
    if load / cores > CALM_LOAD:
        return f"this machine is busy with other things: load {load:.1f} on {cores} cores"
    for resource, most in CALM_PRESSURE.items():
        stalled = _stalled(resource)
        if stalled > most:
            return (
                f"this machine is busy with other things: work stands still for {resource} {stalled:.0f} % of the time"
            )
    return ""


def _stalled(resource: str) -> float:
    try:
        return float(Path(f"/proc/pressure/{resource}").read_text().split("avg10=")[1].split()[0])
    except OSError:  # kernels without pressure
        return 0.0

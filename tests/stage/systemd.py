"""A private machine whose first process is systemd, with no unit but those that a scene adds."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.stage.cgroups import group

SYSTEMD = "/lib/systemd/systemd"
UNITS = Path("/run/systemd/system")  # of the machine; lost with it
BOOT_S = 15.0
POLL_S = 0.02
# What it writes goes into memory, and its control groups lie in the one that it is started in.
# Of the units of this machine none is wanted, so that none is started.
BOOT = f"""\
set -e
for folder in /run /var/lib/systemd /var/log /sys/fs/cgroup; do mount -t tmpfs tmpfs "$folder"; done
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p {UNITS}
printf '[Unit]\\nDefaultDependencies=no\\n' >{UNITS}/scene.target
exec env -i container=scene PATH="$PATH" {SYSTEMD} --system --unit=scene.target --log-target=null --show-status=false
"""


@contextmanager
def booted(make: Sequence[str], prepare: str) -> Iterator[int]:
    """Boot a machine that *make* makes, after the script *prepare* in it, and give the pid of its first process."""
    with group("systemd") as below:
        enter = f'echo $$ >{below.procs}; exec "$@"'
        argv = ["sh", "-c", enter, "sh", *make, "sh", "-c", prepare + BOOT]
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as maker:
            try:
                yield _first_process(maker)
            finally:
                maker.kill()


def _first_process(maker: subprocess.Popen[bytes]) -> int:
    """Wait until systemd takes orders."""
    children = Path(f"/proc/{maker.pid}/task/{maker.pid}/children")
    ends = time.monotonic() + BOOT_S
    while time.monotonic() < ends and maker.poll() is None:
        first = children.read_text().split()
        if first and Path(f"/proc/{first[0]}/root/run/systemd/private").exists():
            return int(first[0])
        time.sleep(POLL_S)
    raise TimeoutError(f"systemd did not start within {BOOT_S:g} s")

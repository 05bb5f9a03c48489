"""What only shows where it is counted in the kernel: short-lived processes, failed opens, slow disks, refused connections."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.scenes.host_cpu import STORM
from tests.stage import NOTHING, Broken, scene
from tests.stage.cgroups import root_of
from tests.stage.culprits import culprit
from tests.stage.needs import private_machine, programs

RATES = "/etc/orders/rates.json"
OPENS = f"""\
import time
ready()
while True:
    for _ in range(5):
        try:
            open({RATES!r})
        except OSError:
            pass
    time.sleep(0.005)
"""
REFUSED = """\
import socket, time
ready()
while True:
    with socket.socket() as connection:
        try:
            connection.connect(("127.0.0.1", 5432))
        except OSError:
            pass
    time.sleep(0.02)
"""
ORDINARY = """\
import threading, time
def work():
    for number in range(10 ** 9):
        with open("/proc/self/status") as status:
            status.read()
        if number % 20 == 0:
            try:
                open("/etc/orders/local.json")
            except OSError:
                pass
        time.sleep(0.01)
threading.Thread(target=work, daemon=True).start()
ready()
stay()
"""
READS = """\
import mmap
open({procs!r}, "w").write("0")
disk = os.open({device!r}, os.O_RDONLY | os.O_DIRECT)
page = mmap.mmap(-1, 4096)
ready()
while True:
    for place in range(1000):
        os.preadv(disk, [page], place * 4096)
"""
BACKING_BYTES = 16 * 1024 * 1024
READS_A_SECOND = 5  # that its disk allows
LOOK = {"seconds": "3"}


def counting() -> str:
    """A kernel that lets bpftrace count."""
    if missing := programs(bpftrace="bpftrace")():
        return missing
    tried = subprocess.run(
        ["bpftrace", "-e", "BEGIN { exit(); }"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return f"bpftrace cannot count here: {tried.stderr.strip()[-200:]}" if tried.returncode else ""


def throttled_disk() -> str:
    """A disk that can be slowed down."""
    if not root_of("blkio"):
        return "there is no blkio cgroup that limits can be set in"
    return programs(losetup="mount")()


@scene(
    "trace-failed-opens",
    "A process asks for a file that is not there, again and again.",
    recipe="trace",
    needs=(private_machine, counting),
)
async def failed_opens(_folder: Path) -> AsyncIterator[Broken]:
    """No list of open files shows what is not open."""
    async with culprit("orders-api", OPENS) as api:
        line = f"{api.text} fails to open files <200..1000> times a second: no such file, mostly {RATES}"
        yield Broken(line=line, parameters=LOOK)


@scene("trace-fork-storm", "A check starts programs without end.", recipe="trace", needs=(private_machine, counting))
async def fork_storm(_folder: Path) -> AsyncIterator[Broken]:
    """Who starts them, and what."""
    async with culprit("health-check", STORM) as storm:
        line = f"{storm.text} starts <50..5000> processes a second, mostly <any>/true"
        yield Broken(line=line, parameters=LOOK)


@scene(
    "trace-refused-connections",
    "A process connects to a database that does not run.",
    recipe="trace",
    needs=(private_machine, counting),
)
async def refused_connections(_folder: Path) -> AsyncIterator[Broken]:
    """No socket of it is ever there to be seen."""
    async with culprit("orders-api", REFUSED) as api:
        line = f"{api.text} fails to connect to 127.0.0.1:5432: <100..300> of <100..300> attempts in <3..6> s"
        yield Broken(line=line, parameters=LOOK)


@scene(
    "trace-slow-disk",
    "A disk takes a tenth of a second for each request.",
    recipe="trace",
    needs=(private_machine, counting, throttled_disk),
)
async def slow_disk(folder: Path) -> AsyncIterator[Broken]:
    """A loop device on a file whose own disk allows only a few requests a second."""
    with _slow(folder) as (device, procs):
        async with culprit("orders-db", READS.format(device=device, procs=str(procs))) as reader:
            line = f"{device.removeprefix('/dev/')} takes <60..500> ms a request, the slowest <90..2000> ms (<10..80> requests); {reader.text} asks most of it"
            yield Broken(line=line, parameters={"seconds": "4"})


@scene(
    "trace-healthy", "An application reads and writes as they do.", recipe="trace", needs=(private_machine, counting)
)
async def healthy(_folder: Path) -> AsyncIterator[Broken]:
    """With a file that it looks for now and then, and does not find."""
    async with culprit("orders-api", ORDINARY):
        yield Broken(line=NOTHING, parameters=LOOK)


@contextmanager
def _slow(folder: Path) -> Iterator[tuple[str, Path]]:
    """A slow disk's device, and where a process enters the group that finds it slow."""
    root = root_of("blkio")
    assert root is not None
    backing = folder / "disk"
    backing.write_bytes(bytes(BACKING_BYTES))
    number = backing.stat().st_dev
    below = Path(f"/sys/dev/block/{number >> 8}:{number & 255}").resolve()
    whole = below.parent if (below / "partition").exists() else below
    attach = ["losetup", "--find", "--show", "--direct-io=on", str(backing)]
    device = subprocess.run(attach, capture_output=True, text=True, check=True).stdout.strip()
    group = root / f"capturebot-slow-{Path(device).name}"
    try:
        group.mkdir()
        limit = f"{(whole / 'dev').read_text().strip()} {READS_A_SECOND}"
        (group / "blkio.throttle.read_iops_device").write_text(limit)
        yield device, group / "cgroup.procs"
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)
        group.rmdir()

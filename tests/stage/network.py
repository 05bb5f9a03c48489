"""Paths that lose packets or lead nowhere, hosts behind them, and name servers: all in the private machine that this runs in."""

from __future__ import annotations

import asyncio
import functools
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from tests.stage.culprits import Culprit, culprit

HERE = "10.20.0.1"
THERE = "10.20.0.7"
LINK = "to-there"
RESOLV_CONF = Path("/etc/resolv.conf")
# First words of a program that is to run on another host; its network gets its address while it waits.
APART = """\
import ctypes
assert ctypes.CDLL(None).unshare(0x40000000) == 0  # CLONE_NEWNET
"""
# netem is in few kernels of containers and small machines; this classic filter is in most. It loads a random number
# and says "drop" (2) where that is below {below}, else "go on".
FILTER = "4,32 0 0 4294963256,53 1 0 {below},6 0 0 2,6 0 0 4294967295"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@functools.cache
def lossy_paths() -> str:
    """A classifier in the kernel that can drop packets; "" where there is one."""
    script = f"ip link set lo up; tc qdisc add dev lo clsact && tc filter add dev lo ingress bpf da bytecode '{FILTER.format(below=0)}'"
    made = subprocess.run(["unshare", "--net", "sh", "-c", script], capture_output=True, text=True, check=False)
    return f"this kernel cannot drop packets of a path (cls_bpf): {made.stderr.strip()}" if made.returncode else ""


@asynccontextmanager
async def apart(name: str, code: str, *, loss: float = 0.0) -> AsyncIterator[Culprit]:
    """Run Python *code* on a host of its own, THERE, behind a path that loses this share of what is sent there.

    It must listen on all addresses: its own comes after it has said that it is ready.
    """
    async with culprit(name, APART + code) as program:
        await asyncio.to_thread(_join, program.pid, loss)
        try:
            yield program
        finally:
            _ip("link", "delete", LINK)


def _join(pid: int, loss: float) -> None:
    _ip("link", "add", LINK, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
    _ip("address", "add", f"{HERE}/24", "dev", LINK)
    _ip("link", "set", LINK, "up")
    script = f"ip link set lo up; ip address add {THERE}/24 dev eth0; ip link set eth0 up"
    if loss:
        bytecode = FILTER.format(below=int(loss * 0xFFFFFFFF))
        script += (
            f"; tc qdisc add dev eth0 clsact; tc filter add dev eth0 ingress protocol ip bpf da bytecode '{bytecode}'"
        )
    subprocess.run(["nsenter", f"--target={pid}", "--net", "sh", "-ec", script], check=True)


@contextmanager
def black_hole(*addresses: str) -> Iterator[None]:
    """Addresses that take everything and answer nothing."""
    _ip("link", "add", LINK, "type", "veth", "peer", "name", "nowhere")
    try:
        for name in (LINK, "nowhere"):
            _ip("link", "set", name, "up")
        _ip("address", "add", f"{HERE}/24", "dev", LINK)
        for address in addresses:
            _ip("route", "add", address, "dev", LINK)
            _ip("neighbour", "add", address, "lladdr", "02:00:00:00:00:09", "dev", LINK, "nud", "permanent")
        yield
    finally:
        _ip("link", "delete", LINK)


@contextmanager
def resolv_conf(folder: Path, text: str = "") -> Iterator[None]:
    """What name servers the machine has; only it sees that."""
    file = folder / "resolv.conf"
    file.write_text(text)
    file.chmod(0o644)
    subprocess.run(["mount", "--bind", file, RESOLV_CONF], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", RESOLV_CONF], check=True)

"""Processes that hang, and what is left of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from tests.stage import Broken, scene
from tests.stage.culprits import culprit
from tests.stage.needs import private_machine

# A parent that forks in this way hangs in the kernel (state D) until its child has called exec, which this one never does.
# It is what a program on a network file system that no longer answers does; and unlike one on a frozen disk it can be killed.
HUNG = """\
import ctypes
libc = ctypes.CDLL(None)
SYS_CLONE, CLONE_VFORK, SIGCHLD = {"x86_64": 56, "aarch64": 220}[os.uname().machine], 0x4000, 17
ready()
libc.syscall(SYS_CLONE, CLONE_VFORK | SIGCHLD, 0, 0, 0, 0) or stay()
"""
ZOMBIES = """\
for _ in range(300):
    if os.fork() == 0:
        os._exit(0)
ready()
stay()
"""


@scene("host-hung-process", "A process hangs in the kernel.", recipe="host", needs=(private_machine,))
async def hung(_folder: Path) -> AsyncIterator[Broken]:
    """One thread in state D, which nothing wakes."""
    async with culprit("orders-import", HUNG) as stuck:
        yield Broken(line=f"{stuck.text} hangs in the kernel (state D) for 2 s and more, in <any>")


@scene(
    "host-zombies",
    "A process does not wait for its children: they stay as zombies.",
    recipe="host",
    needs=(private_machine,),
)
async def zombies(_folder: Path) -> AsyncIterator[Broken]:
    """Three hundred of them."""
    async with culprit("orders-worker", ZOMBIES) as parent:
        yield Broken(line=f"{parent.text} has left 300 zombies: it does not wait for its children")

"""Programs that do what a scene is about, under a name and a user of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

USER = "nobody"
READY_S = 15.0
# The name is what ps and ss show. It begins as ourselves: nobody may not enter the folder that Python's modules lie in.
PRELUDE = """\
import os, pwd, sys, time
open("/proc/self/comm", "w").write({name!r})
user = pwd.getpwnam({user!r})
def ready():
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    print("ready", flush=True)
def stay():
    time.sleep(600)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Culprit:
    """A running program; *text* is how a finding names it."""

    name: str
    pid: int

    @property
    def text(self) -> str:
        """Its name, pid and user as insights put them."""
        return f"{self.name} (pid {self.pid}, user {USER})"


@asynccontextmanager
async def culprit(name: str, code: str) -> AsyncIterator[Culprit]:
    """Run Python *code* until the context ends; it calls `ready()` once it has broken something, and is nobody from then on.

    *name* has at most 15 characters.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PRELUDE.format(name=name, user=USER) + code,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout
        async with asyncio.timeout(READY_S):
            assert await process.stdout.readline() == b"ready\n", f"{name} ended before it was ready"
        yield Culprit(name=name, pid=process.pid)
    finally:
        with suppress(ProcessLookupError):  # it may have ended by itself, with all that it had started
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()

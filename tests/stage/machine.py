"""A private machine: namespaces of its own for processes, network, mounts, names and the time since the boot.

What a scene breaks lives and dies in there. The kernel, its log and its processors are shared: see `needs.calm`.
"""

from __future__ import annotations

import functools
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self

from tests.stage import Kind, Played, Scene
from tests.stage.cgroups import TOKEN, group, root_of, sweep
from tests.stage.systemd import booted

UP_FOR_S = 7200  # how long ago an ordinary machine seems to have started: older than any news in the kernel's log
SHARES, WEIGHT = 65_536, 5_000  # of the processors, where others have 1,024 or 100: as if they were its own
PATIENCE_S = 90.0  # for one scene; the player itself gives up before
NAMESPACES = ("--pid", "--mount", "--net", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc")
PLAYER = (sys.executable, "-m", "tests.stage.player")
ENTER = 'echo $$ >"$1" && shift && exec "$@"'  # a control group, then become a program
# What others mounted for their tests is none of ours.
CLEAR = """\
ip link set lo up
awk '$2 ~ "^/(tmp|var/tmp|dev/shm)/" {print $2}' /proc/mounts | while read -r mount; do umount -l "$mount"; done
"""
STAY = '"$@"; exit $?'  # the shell takes in orphans meanwhile, as the first process of a machine has to


@functools.cache
def impossible() -> str:
    """Why there can be no private machine here; "" where there can."""
    if os.geteuid() != 0:
        return "a private machine needs root"
    made = subprocess.run(
        ["unshare", *NAMESPACES, "--time", "--boottime", "1", "ip", "link", "set", "lo", "up"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return f"no private machine can be made here: {made.stderr.strip()}" if made.returncode else ""


class Machine:
    """Plays scenes one after the other, in a private machine where there can be one, else right here."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._stack = ExitStack()
        self._player: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._end()

    def play(self, scene: Scene) -> Played:
        """Play one scene; a machine that does not answer is ended, and the next scene gets a new one."""
        if self._player is None:
            self._player = self._stack.enter_context(inside(self._kind, PLAYER, stdin=subprocess.PIPE))
        assert self._player.stdin
        assert self._player.stdout
        self._player.stdin.write(f"{scene.name}\n")
        self._player.stdin.flush()
        ready, _, _ = select.select([self._player.stdout], [], [], PATIENCE_S)
        answer = self._player.stdout.readline() if ready else ""
        if not answer:
            self._end()
            return Played(scene=scene.name, fault=f"the player died, or gave no answer within {PATIENCE_S:g} s")
        return Played(**json.loads(answer))

    def _end(self) -> None:
        self._player = None
        self._stack.close()


@contextmanager
def inside(
    kind: Kind, program: Sequence[str], *, stdin: int = subprocess.DEVNULL, stdout: int | None = subprocess.PIPE
) -> Iterator[subprocess.Popen[str]]:
    """Run *program* in a new machine; everything in there ends with it, and what it has left behind is removed."""
    token = secrets.token_hex(3)
    with ExitStack() as stack:
        stack.callback(sweep, token)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="scenes-", ignore_cleanup_errors=True)))
        folder.chmod(0o711)  # servers go through it as users of their own
        argv = list(program)
        if not impossible():
            argv = _enter(kind, program, stack)
            if root_of("cpu"):
                way = stack.enter_context(group("machine", "cpu", first=SHARES, second=WEIGHT))
                argv = ["sh", "-c", ENTER, "sh", str(way.procs), *argv]
        environ = {**os.environ, "TMPDIR": str(folder), TOKEN: token}
        running = stack.enter_context(
            subprocess.Popen(argv, stdin=stdin, stdout=stdout, text=True, env=environ, start_new_session=True)
        )
        try:
            yield running
        finally:
            # unshare hears nothing else; its child, and with it everything in the machine, dies with it.
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)


def _enter(kind: Kind, program: Sequence[str], stack: ExitStack) -> list[str]:
    """How to run *program* in a new machine of that kind; *stack* ends what has to be there before."""
    past = [] if kind is Kind.KERNEL_LOG else ["--time", f"--boottime={UP_FOR_S}", f"--monotonic={UP_FOR_S}"]
    make = ["unshare", *NAMESPACES, *past]
    if kind is Kind.SYSTEMD:
        first = stack.enter_context(booted([*make, "--cgroup"], CLEAR))
        return ["nsenter", f"--target={first}", "--all", f"--wd={Path.cwd()}", *program]
    return [*make, "sh", "-c", CLEAR + STAY, "sh", *program]

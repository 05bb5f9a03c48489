"""Control groups of either version, for a limit on memory and a right of way on the processors."""

from __future__ import annotations

import functools
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TOKEN = (
    "CAPTUREBOT_SCENES"  # in a player's environment: the end of the names of its groups, by which they are found again
)
MOUNTS = Path("/proc/self/mounts")
EMPTY_S = 5.0  # for the last process of a group to be gone
POLL_S = 0.05
# By controller: the file that holds its setting in the first and in the second version.
FILES = {"memory": ("memory.limit_in_bytes", "memory.max"), "cpu": ("cpu.shares", "cpu.weight")}


@dataclass(frozen=True, slots=True)
class Group:
    """A control group that a process enters by writing its pid to *procs*."""

    path: Path

    @property
    def procs(self) -> Path:
        """The file that takes the pid."""
        return self.path / "cgroup.procs"


@functools.cache
def root_of(controller: str = "") -> Path | None:
    """Where groups of that controller, or of the second version without any, can be made; None where they cannot."""
    for line in MOUNTS.read_text().splitlines():
        _, mount, kind, options, *_ = line.split()
        root = Path(mount)
        first = kind == "cgroup" and controller in options.split(",")
        second = kind == "cgroup2" and (
            not controller or controller in (root / "cgroup.subtree_control").read_text().split()
        )
        if (first or second) and os.access(root, os.W_OK):
            return root
    return None


@contextmanager
def group(name: str, controller: str = "", *, first: int = 0, second: int = 0) -> Iterator[Group]:
    """A group whose setting is *first* or *second*, by the version.

    It is removed with all groups in it; its processes are to end before the context does.
    """
    root = root_of(controller)
    assert root is not None
    made = Group(root / f"capturebot-{name}-{os.environ.get(TOKEN) or secrets.token_hex(3)}")
    made.path.mkdir()
    try:
        if controller:
            setting, setting2 = (made.path / file for file in FILES[controller])
            if setting.exists():
                setting.write_text(str(first))
            else:
                setting2.write_text(str(second))
        yield made
    finally:
        _remove(made.path)


def sweep(token: str) -> None:
    """Remove the groups that a player with that token left when it was killed; its processes have ended."""
    for root in filter(None, map(root_of, ("", *FILES))):
        for left in root.glob(f"capturebot-*-{token}"):
            _remove(left)


def _remove(folder: Path) -> None:
    """Remove a group with all in it, each as soon as its last process is gone."""
    for path in sorted((folder, *(each for each in folder.rglob("*") if each.is_dir())), reverse=True):
        ends = time.monotonic() + EMPTY_S
        while Group(path).procs.read_text() and time.monotonic() < ends:
            time.sleep(POLL_S)
        path.rmdir()

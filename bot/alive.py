"""Signs of life: a lock on a file, which the kernel takes away with the process that holds it, however that ends.

Unlike a pid it means the same in every container that shares the folder, and is never used again.
"""

from __future__ import annotations

import fcntl
import os
import platform
import secrets
from pathlib import Path


class SignOfLife:
    """The sign of this process, and a look at those of others; without a *folder* nothing is known of them."""

    def __init__(self, folder: Path | None) -> None:
        self.name = f"{platform.node()}/{os.getpid()}/{secrets.token_hex(4)}"
        self._folder = folder
        self._lock = -1
        if folder is not None:
            folder.mkdir(mode=0o700, exist_ok=True)
            self._lock = _locked(self._path(folder, self.name))

    def is_gone(self, name: str) -> bool:
        """Whether the process that called itself *name* is known to be dead."""
        if self._folder is None:
            return False
        path = self._path(self._folder, name)
        try:
            other = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return True  # it left in order, or somebody has found it dead
        except OSError:
            return False
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        except OSError:  # it lives; or this folder has no locks, and nothing can be known
            return False
        finally:
            os.close(other)
        return True

    def close(self) -> None:
        """Say goodbye."""
        if self._folder is not None and self._lock >= 0:
            self._path(self._folder, self.name).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = -1

    @staticmethod
    def _path(folder: Path, name: str) -> Path:
        return folder / name.replace("/", "+")


def _locked(path: Path) -> int:
    """A lock on a file of that name; one that was taken for a dead one's and removed meanwhile is made anew."""
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock).st_nlink:
            return lock
        os.close(lock)

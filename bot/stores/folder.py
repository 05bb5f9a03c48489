"""Artifacts in a folder of this machine, for a bot without S3."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import io
import os
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from bot.errors import StoreError
from bot.model import Artifact
from bot.stores.intake import Intake, once
from bot.stores.keys import all_taken, checked, is_binary, names

BLOCK_BYTES = 1024 * 1024  # written at once
READ_BYTES = 16 * 1024 * 1024  # the longest file that `read` returns
LISTED = 10_000  # files that a sweep looks at
CLOSE_S = 10.0  # within this an unfinished file is gone, unless the disk hangs
LOW_BYTES = 1_000_000_000  # of free space, below which `check` complains
PART = ".part"  # how the hidden names of unfinished files end
OPEN_TRIES = 10
LOCK, CHECK = ".lock", ".check"  # beside the artifacts

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

T = TypeVar("T")


class FolderStore:
    """Keeps artifacts as files below *root* that only the bot's own user can read.

    A file is written under a hidden name and linked to its own when it is whole. Until then its
    writer holds a lock on it, which is how a sweep tells a dead writer's leavings from a living one's.
    Nothing is written that would leave less than *reserve_bytes* of the disk free.
    """

    def __init__(self, root: Path, *, reserve_bytes: int = 0) -> None:
        self._root = root.absolute()
        self._reserve_bytes = reserve_bytes

    async def put(
        self, key: str, chunks: AsyncIterator[bytes], *, content_type: str = "text/plain; charset=utf-8"
    ) -> Artifact:
        """See `bot.stores.Store.put`; a folder has no place for *content_type*."""
        del content_type
        part = _Part(self._root, checked(key), reserve_bytes=self._reserve_bytes)
        intake = Intake(chunks)
        # A thread of its own: what is asked of it comes one after the other, so a file is never
        # closed under a write that outlives a cancellation.
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="folder")
        try:
            await self._run(part.open, thread)
            while (block := await intake.block(BLOCK_BYTES)).getbuffer():
                await self._run(partial(part.write, block), thread)
            stored = await self._run(part.publish, thread)
        finally:
            closing = asyncio.get_running_loop().run_in_executor(thread, part.close)
            thread.shutdown(wait=False)
            await asyncio.wait({closing}, timeout=CLOSE_S)
        return self._artifact(stored, intake.size_bytes, intake.sha256)

    async def sweep(self, prefix: str) -> tuple[Artifact, ...]:
        """See `bot.stores.Store.sweep`; checksums are computed from the files."""
        checked(f"{prefix}any")
        found = await self._run(lambda: list(islice(self._whole(prefix), LISTED)))
        return tuple(sorted(found, key=lambda artifact: artifact.key))

    async def read(self, key: str) -> bytes:
        """See `bot.stores.Store.read`."""
        path = self._root / checked(key)
        if (size := (await self._run(path.stat)).st_size) > READ_BYTES:
            raise StoreError(f"{path} has {size} bytes; only files of up to {READ_BYTES} are read whole.")
        return await self._run(path.read_bytes)

    async def link(self, artifact: Artifact, *, seconds: int) -> str:
        """See `bot.stores.Store.link`: who may read the folder needs none, and nobody else is let in."""
        del artifact, seconds
        return ""

    async def check(self) -> list[str]:
        """See `bot.stores.Store.check`."""
        sent = uuid4().hex.encode()
        try:
            artifact = await self.put(f"{CHECK}/{sent.decode()}.txt", once(sent))
            back = await self.read(artifact.key)
            await self._run((self._root / artifact.key).unlink)
        except StoreError as error:
            return [f"fault: {error.reason}"]
        if back != sent:
            return [f"fault: {self._root} returned other bytes than it was given — check the disk."]
        lines = [f"ok: {self._root} takes, returns and removes files"]
        free = shutil.disk_usage(self._root).free
        if free < LOW_BYTES:
            lines.append(
                f"fault: {self._root} has only {free / 1e6:.0f} MB free — free some, or choose another folder."
            )
        if self._root.stat().st_mode & 0o077:
            lines.append(f"fault: {self._root} is open to other users of this machine — chmod 700 {self._root}")
        return lines

    async def close(self) -> None:
        """Nothing is held between two calls."""

    # --- as a place where artifacts wait for another store -----------------------------------------

    async def keys(self) -> tuple[str, ...]:
        """The keys of at most LISTED whole files, sorted. Raises StoreError."""
        found = await self._run(lambda: list(islice(filter(_is_whole, self._files(self._root)), LISTED)))
        return tuple(sorted(path.relative_to(self._root).as_posix() for path in found))

    async def chunks(self, key: str) -> AsyncGenerator[bytes, None]:
        """Yield a file of any length in blocks. Raises StoreError."""
        path = self._root / checked(key)
        file = await self._run(lambda: path.open("rb"))
        try:
            while block := await self._run(partial(file.read, BLOCK_BYTES)):
                yield block
        finally:
            file.close()

    async def remove(self, key: str) -> None:
        """Remove a file, and the folders that are empty without it. Raises StoreError."""
        await self._run(partial(self._remove, self._root / checked(key)))

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[bool]:
        """Say whether no other process is inside this block for the same folder; it stays so until the end."""
        lock = await self._run(self._lock)
        try:
            yield lock is not None
        finally:
            if lock is not None:
                os.close(lock)

    def _lock(self) -> int | None:
        if not self._root.is_dir():
            return None  # nothing was ever kept here
        lock = os.open(self._root / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock

    def _remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        with suppress(OSError):  # a folder that is not empty stays
            for folder in path.parents:
                if folder == self._root:
                    break
                folder.rmdir()

    def _whole(self, prefix: str) -> Iterator[Artifact]:
        """Yield finished files below *prefix*; remove unfinished ones whose writer is gone."""
        for path in self._files(self._root / prefix.rpartition("/")[0]):
            if _is_part(path):
                _remove_if_dead(path)
            elif _is_whole(path) and path.relative_to(self._root).as_posix().startswith(prefix):
                yield self._measured(path)

    def _files(self, folder: Path) -> Iterator[Path]:
        return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())

    def _measured(self, path: Path) -> Artifact:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return self._artifact(path.relative_to(self._root).as_posix(), file.tell(), digest)

    def _artifact(self, key: str, size_bytes: int, sha256: str) -> Artifact:
        url = (self._root / key).as_uri()
        return Artifact(key=key, url=url, size_bytes=size_bytes, sha256=sha256, binary=is_binary(key))

    async def _run(self, work: Callable[[], T], thread: ThreadPoolExecutor | None = None) -> T:
        """Do *work* off the event loop; what the disk says against it becomes a StoreError."""
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, work)
        except OSError as error:
            raise _trouble(self._root, error) from error


class _Part:
    """A file that is being written. Its methods block, and are called one after the other."""

    def __init__(self, root: Path, key: str, *, reserve_bytes: int) -> None:
        self._root, self._key, self._reserve_bytes = root, key, reserve_bytes
        self._path = (root / key).with_name(f".{uuid4().hex}{PART}")
        self._fd = -1

    def open(self) -> None:
        folder = self._path.parent
        if not folder.resolve().is_relative_to(self._root.resolve()):
            raise StoreError(f"{folder} leads out of {self._root} by a symbolic link. Remove the link.")
        for tries_left in range(OPEN_TRIES)[::-1]:
            try:
                for missing in reversed([each for each in (folder, *folder.parents) if not each.exists()]):
                    missing.mkdir(mode=0o700, exist_ok=True)
                self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                break
            except FileNotFoundError:  # `remove` took the folder away while it was still empty
                if not tries_left:
                    raise
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def write(self, block: io.BytesIO) -> None:
        with block.getbuffer() as view:
            disk = os.fstatvfs(self._fd)
            if self._reserve_bytes and disk.f_bavail * disk.f_frsize - len(view) < self._reserve_bytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written = 0
            while written < len(view):
                written += os.write(self._fd, view[written:])

    def publish(self) -> str:
        """Give the whole file its name, or the next one that is free, and return that key."""
        os.fsync(self._fd)
        for key in names(self._key):
            with suppress(FileExistsError):
                os.link(self._path, self._root / key)  # unlike a rename, never replaces a file
                self._sync_folder()
                return key
        raise all_taken(self._key)

    def close(self) -> None:
        """Remove the hidden name; a published file keeps its own."""
        if self._fd >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._fd)

    def _sync_folder(self) -> None:
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _is_whole(path: Path) -> bool:
    return not _is_part(path) and path.name != LOCK and path.parent.name != CHECK


def _is_part(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(PART)


def _remove_if_dead(path: Path) -> None:
    with suppress(FileNotFoundError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # its writer lives
        path.unlink(missing_ok=True)


def _trouble(root: Path, error: OSError) -> StoreError:
    """Say what the disk has against it, and the cure."""
    if error.errno in FULL:
        return StoreError(
            f"The folder {root} is full. Free space on its disk, or choose another folder in capturebot.yml."
        )
    if error.errno in {errno.EPERM, errno.EOPNOTSUPP}:
        return StoreError(f"The folder {root} cannot be used: its file system must have hard links and locks.")
    if isinstance(error, PermissionError):
        return StoreError(
            f"{error.filename or root} may not be written or read by this user. Give it to the bot's user."
        )
    if isinstance(error, FileNotFoundError):
        return StoreError(f"There is no {error.filename or root}.")
    return StoreError(f"The folder {root} cannot be used: {error.strerror or error}.")

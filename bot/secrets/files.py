"""Secrets in files: only what nobody else can read or change is taken for one.

A file must be the bot's or root's own and closed to others (``chmod 600``). Its group may read it when it is root's file
and the bot's own group, as service accounts are usually given theirs (``root:capturebot 0640``). Docker, Kubernetes and
systemd mount secrets readable for everyone in a place that is private to the service: below /run/secrets and
$CREDENTIALS_DIRECTORY only writing is refused.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Collection
from pathlib import Path

from bot.errors import SecretMissing

FILE_BYTES = 64 * 1024
MOUNTS = (Path("/run/secrets"),)


async def read_secret(path: Path, *, named: str, mounts: Collection[Path]) -> str:
    """The text of *path* without the newline at its end, read in a thread: a network file system may hang.

    *named* begins the sentences about what it holds. Raises SecretMissing.
    """
    data = await asyncio.to_thread(_read, path, mounts)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = None  # nothing is raised in here: this exception holds the bytes
    if text is None:
        raise SecretMissing(f"{named} is not UTF-8 text: a secret is kept as text.")
    return text.removesuffix("\n").removesuffix("\r")


def _read(path: Path, mounts: Collection[Path]) -> bytes:
    try:
        # Without waiting: a pipe in the file's place must not block. What was opened is checked, not what is named.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _check(path, os.fstat(descriptor), mounts)
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                data = file.read(FILE_BYTES + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SecretMissing(f"The secret's file {path} cannot be read: {error.strerror}.") from None
    if len(data) > FILE_BYTES:
        raise SecretMissing(
            f"The secret's file {path} is larger than {FILE_BYTES // 1024} KiB: name the file of one secret."
        )
    return data


def _check(path: Path, found: os.stat_result, mounts: Collection[Path]) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise SecretMissing(f"The secret's file {path} is not a regular file.")
    if found.st_uid not in (0, os.geteuid()):
        raise SecretMissing(
            f"The secret's file {path} belongs to another user, who could change it: chown it to the bot's or to root."
        )
    refused = stat.S_IRWXG | stat.S_IRWXO
    if any(path.resolve().is_relative_to(mount.resolve()) for mount in mounts):
        refused = stat.S_IWGRP | stat.S_IWOTH
    elif found.st_uid == 0 and found.st_gid == os.getegid():
        refused &= ~stat.S_IRGRP
    if found.st_mode & refused:
        raise SecretMissing(
            f"The secret's file {path} is open to other users (mode {found.st_mode & 0o777:04o}): chmod 600 {path}"
        )

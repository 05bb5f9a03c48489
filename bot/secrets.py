"""Secrets, found where their references point, each time one is used.

``env:NAME`` is a variable of the bot's environment, ``file:/path`` the text of a file (one newline at its end is not
part of it; a relative path starts at the configuration's folder). Files are read at every use, so a rotated secret needs
no restart. Other schemes join through *providers*. Every value is remembered for the redactor; none is ever part of a
message, a repr or an exception.

A file must be the bot's or root's own and closed to others (``chmod 600``). Its group may read it when it is root's file
and the bot's own group, as service accounts are usually given theirs (``root:capturebot 0640``). Docker, Kubernetes and
systemd mount secrets readable for everyone in a place that is private to the service: below /run/secrets and
$CREDENTIALS_DIRECTORY only writing is refused.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from bot.errors import SecretMissing
from bot.model import SecretRef

FILE_BYTES = 64 * 1024
RESOLVE_TIMEOUT_S = 10.0
FORMER_KEPT_S = 24 * 3600.0  # a replaced secret may still be in logs, caches and open connections
FORMER_KEPT = 256  # values, for stores that give out a new one each time

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MOUNTS = (Path("/run/secrets"),)

Provider = Callable[[SecretRef], Awaitable[str]]
"""Finds what a reference of one scheme points to; raises SecretMissing."""


class Resolver(Protocol):
    """Where secrets come from, for everything that needs one."""

    async def resolve(self, ref: SecretRef) -> str:
        """Return the secret's present value, never an empty one. Raises SecretMissing."""


class Secrets:
    """Resolves references and remembers what they led to.

    *base* is where relative paths of ``file:`` start. *providers* adds schemes, e.g. ``{"vault": …}`` for ``vault://…``.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        base: Path = Path(),
        providers: Mapping[str, Provider] = MappingProxyType({}),
        mounts: tuple[Path, ...] = _MOUNTS,
        clock: Callable[[], float] = time.monotonic,
        timeout_s: float = RESOLVE_TIMEOUT_S,
    ) -> None:
        self._environ = environ
        self._base = base
        credentials = environ.get("CREDENTIALS_DIRECTORY")
        self._mounts = (*mounts, Path(credentials)) if credentials else mounts
        self._providers: dict[str, Provider] = {"env": self._variable, "file": self._file, **providers}
        self._clock = clock
        self._timeout_s = timeout_s
        self._present: dict[str, bytes] = {}  # by reference
        self._former: dict[bytes, float] = {}  # when each was replaced, oldest first

    async def resolve(self, ref: SecretRef) -> str:
        """Return the secret's present value, never an empty one. Raises SecretMissing, within the time-out."""
        scheme, colon, _ = ref.text.partition(":")
        provider = self._providers.get(scheme) if colon else None
        if provider is None:
            # The text is not repeated: it may be the secret itself.
            known = ", ".join(f"{name}:" for name in self._providers)
            raise SecretMissing(
                f"A secret must be given by a reference that starts with one of {known}; this one does not."
            )
        try:
            async with asyncio.timeout(self._timeout_s):
                value = await provider(ref)
        except TimeoutError:
            raise SecretMissing(f"{_shown(ref)} gave no answer within {self._timeout_s:g} s.") from None
        if not value:
            raise SecretMissing(f"{_shown(ref)} is empty: give it the secret as its value.")
        self._remember(ref, value.encode("utf-8", "surrogateescape"))
        return value

    def known(self) -> tuple[bytes, ...]:
        """Every present value, and replaced ones for FORMER_KEPT_S seconds (at most FORMER_KEPT of them)."""
        oldest = self._clock() - FORMER_KEPT_S
        former = [value for value, replaced in self._former.items() if replaced >= oldest]
        return tuple({*self._present.values(), *former})

    def _remember(self, ref: SecretRef, value: bytes) -> None:
        before = self._present.get(ref.text)
        self._present[ref.text] = value
        if before in (None, value):
            return
        self._former.pop(before, None)
        self._former[before] = self._clock()
        oldest = self._clock() - FORMER_KEPT_S
        for former, replaced in list(self._former.items()):
            if replaced < oldest or len(self._former) > FORMER_KEPT:
                del self._former[former]

    async def _variable(self, ref: SecretRef) -> str:
        name = ref.text.removeprefix("env:")
        if not _NAME.fullmatch(name):
            raise SecretMissing("A secret reference env: must be followed by the name of an environment variable.")
        if name not in self._environ:
            raise SecretMissing(f"The environment variable {name} is not set: set it where the bot is started.")
        return self._environ[name]

    async def _file(self, ref: SecretRef) -> str:
        # In a thread: a network file system may hang.
        data = await asyncio.to_thread(self._read, self._base / ref.text.removeprefix("file:"))
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = None  # nothing is raised in here: this exception holds the bytes
        if text is None:
            raise SecretMissing(f"{_shown(ref)} is not UTF-8 text: a secret is kept as text.")
        return text.removesuffix("\n").removesuffix("\r")

    def _read(self, path: Path) -> bytes:
        try:
            # Without waiting: a pipe in the file's place must not block. What was opened is checked, not what is named.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                self._check(path, os.fstat(descriptor))
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

    def _check(self, path: Path, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise SecretMissing(f"The secret's file {path} is not a regular file.")
        if found.st_uid not in (0, os.geteuid()):
            raise SecretMissing(
                f"The secret's file {path} belongs to another user, who could change it: chown it to the bot's or to root."
            )
        refused = stat.S_IRWXG | stat.S_IRWXO
        if any(path.resolve().is_relative_to(mount.resolve()) for mount in self._mounts):
            refused = stat.S_IWGRP | stat.S_IWOTH
        elif found.st_uid == 0 and found.st_gid == os.getegid():
            refused &= ~stat.S_IRGRP
        if found.st_mode & refused:
            raise SecretMissing(
                f"The secret's file {path} is open to other users (mode {found.st_mode & 0o777:04o}): chmod 600 {path}"
            )


def _shown(ref: SecretRef) -> str:
    return f"The secret {ref.text}"

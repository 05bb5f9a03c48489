"""Secrets, found where their references point, each time one is used.

``env:NAME`` is a variable of the bot's environment, ``file:/path`` the text of a file (one newline at its end is not
part of it; a relative path starts at the configuration's folder), ``systemd:NAME`` a credential that systemd passed.
Files are read at every use, so a rotated secret needs no restart. Stores (Vault, AWS Secrets Manager) join by their
scheme and keep what they found for a short while. Every value but an account's name is remembered for the redactor;
none is ever part of a message, a repr or an exception.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from bot.errors import SecretMissing
from bot.model import SecretRef
from bot.references import Place, place_of, scheme_of
from bot.secrets.files import MOUNTS, read_secret

RESOLVE_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 3.0  # for one store
FORMER_KEPT_S = 24 * 3600.0  # a replaced secret may still be in logs, caches and open connections
FORMER_KEPT = 256  # values, for stores that give out a new one each time

# Keys of stores at which an account's name lies: no secret, and often a word that all output is full of.
ACCOUNTS = frozenset({"user", "username"})

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Resolver(Protocol):
    """Where secrets come from, for everything that needs one."""

    async def resolve(self, ref: SecretRef) -> str:
        """Return the secret's present value, never an empty one. Raises SecretMissing."""


class Renewing(Resolver, Protocol):
    """The same for who logs in with a secret, and may be refused because it was replaced a moment ago."""

    def forget(self, ref: SecretRef) -> None:
        """Let the next `resolve` ask the store itself, whatever is kept of it."""


class Provider(Protocol):
    """A store of secrets: it finds what the references of one scheme point to."""

    async def find(self, place: Place) -> str:
        """Return the value. Raises SecretMissing with what is wrong, where, and how to mend it."""

    def forget(self, place: Place) -> None:
        """Drop what is kept of *place*."""

    async def check(self) -> list[str]:
        """Try the way in; "ok: …", "warn: … — cure" or "fault: … — cure"."""

    async def close(self) -> None:
        """End connections, and what the store still grants us."""


class Secrets:
    """Resolves references and remembers what they led to.

    *base* is where relative paths of ``file:`` start. *providers* adds stores, e.g. ``{"vault": …}`` for ``vault://…``.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        base: Path = Path(),
        providers: Mapping[str, Provider] = MappingProxyType({}),
        mounts: tuple[Path, ...] = MOUNTS,
        clock: Callable[[], float] = time.monotonic,
        timeout_s: float = RESOLVE_TIMEOUT_S,
    ) -> None:
        self._environ = environ
        self._base = base
        credentials = environ.get("CREDENTIALS_DIRECTORY")
        self._credentials = Path(credentials) if credentials else None
        self._mounts = (*mounts, self._credentials) if self._credentials else mounts
        self._local = {"env": self._variable, "file": self._file, "systemd": self._credential}
        self._providers = dict(providers)
        self._clock = clock
        self._timeout_s = timeout_s
        self._present: dict[str, bytes] = {}  # by reference
        self._former: dict[bytes, float] = {}  # when each was replaced, oldest first

    def join(self, scheme: str, provider: Provider) -> None:
        """Let *provider* find what references of *scheme* point to, until `close`."""
        self._providers[scheme] = provider

    async def resolve(self, ref: SecretRef) -> str:
        """Return the secret's present value, never an empty one. Raises SecretMissing, within the time-out."""
        scheme, place = scheme_of(ref), place_of(ref)
        try:
            async with asyncio.timeout(self._timeout_s):
                if place and place.scheme in self._providers:
                    value = await self._providers[place.scheme].find(place)
                elif scheme in self._local:
                    value = await self._local[scheme](ref)
                else:
                    raise self._unknown()
        except TimeoutError:
            raise SecretMissing(f"{_shown(ref)} gave no answer within {self._timeout_s:g} s.") from None
        if not value:
            raise SecretMissing(f"{_shown(ref)} is empty: give it the secret as its value.")
        if place is None or place.key not in ACCOUNTS:
            self._remember(ref, value.encode("utf-8", "surrogateescape"))
        return value

    def forget(self, ref: SecretRef) -> None:
        """Let the next `resolve` ask the store itself; variables and files are read at every use anyway."""
        if (place := place_of(ref)) and place.scheme in self._providers:
            self._providers[place.scheme].forget(place)

    def known(self) -> tuple[bytes, ...]:
        """Every present value, and replaced ones for FORMER_KEPT_S seconds (at most FORMER_KEPT of them)."""
        oldest = self._clock() - FORMER_KEPT_S
        former = [value for value, replaced in self._former.items() if replaced >= oldest]
        return tuple({*self._present.values(), *former})

    async def check(self) -> list[str]:
        """Try every store; see `Provider.check`."""
        answers = await asyncio.gather(*(provider.check() for provider in self._providers.values()))
        return [line for lines in answers for line in lines]

    async def close(self) -> None:
        """Close the stores, each within CLOSE_TIMEOUT_S."""
        for provider in self._providers.values():
            with suppress(TimeoutError):  # its connections end with the process, and its grants by themselves
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await provider.close()

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

    def _unknown(self) -> SecretMissing:
        # The text is not repeated: it may be the secret itself.
        known = ", ".join([*(f"{name}:" for name in self._local), *(f"{name}://" for name in self._providers)])
        return SecretMissing(
            f"A secret must be given by a reference that starts with one of {known}; this one does not."
        )

    async def _variable(self, ref: SecretRef) -> str:
        name = ref.text.removeprefix("env:")
        if not _NAME.fullmatch(name):
            raise SecretMissing("A secret reference env: must be followed by the name of an environment variable.")
        if name not in self._environ:
            raise SecretMissing(f"The environment variable {name} is not set: set it where the bot is started.")
        return self._environ[name]

    async def _file(self, ref: SecretRef) -> str:
        path = self._base / ref.text.removeprefix("file:")
        return await read_secret(path, named=_shown(ref), mounts=self._mounts)

    async def _credential(self, ref: SecretRef) -> str:
        if self._credentials is None:
            raise SecretMissing(
                f"{_shown(ref)} is a credential of systemd's, and it passed none ($CREDENTIALS_DIRECTORY is not set):"
                " add LoadCredential= or LoadCredentialEncrypted= to the bot's unit."
            )
        path = self._credentials / Path(ref.text.removeprefix("systemd:")).name
        return await read_secret(path, named=_shown(ref), mounts=self._mounts)


def _shown(ref: SecretRef) -> str:
    return f"The secret {ref.text}"

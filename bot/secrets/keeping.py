"""What a store gave, kept for a short while: within its lease, and a named time longer only while the store is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from bot.errors import SecretMissing
from bot.references import Place

KEPT_S = 60.0  # a value without a lease is asked for again after this, so that a rotated one is found
OUTAGE_S = 15 * 60.0  # after it was read, a value without a lease may serve for so long while its store is away
PAUSE_S = 5.0  # a store that gave no answer is not asked again for so long
KEPT = 500  # answers
ASK_S = 7.0  # for one answer with all that it takes; less than who resolves a secret waits
ALL = ""  # no path
USED_UP = 2 / 3  # of a lease; then it is renewed, or another one is taken


class Away(Exception):
    """The store gave no answer that says anything about the secret; its words are a sentence with the cure.

    *everywhere* tells that it would say no more of any other secret.
    """

    def __init__(self, words: str, *, everywhere: bool = True) -> None:
        super().__init__(words)
        self.everywhere = everywhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An answer: a mapping of a secret's parts, or its text. *lease_s* is None where it holds until it is replaced."""

    values: object = field(repr=False)
    lease_s: float | None = None
    lease: str = field(default="", repr=False)  # by which it is renewed; "" where it cannot be


@dataclass(frozen=True, slots=True)
class _Kept:
    found: Found
    fresh_until: float
    ends: float


class Keeper:
    """Asks a store called *name* through *ask*, which is given the path and the answer that wears out, if there is one."""

    def __init__(
        self,
        name: str,
        ask: Callable[[str, Found | None], Awaitable[Found]],
        *,
        clock: Callable[[], float] = time.monotonic,
        ask_s: float = ASK_S,
    ) -> None:
        self._name = name
        self._ask = ask
        self._clock = clock
        self._ask_s = ask_s
        self._kept: dict[str, _Kept] = {}  # oldest first
        self._away: dict[str, tuple[str, float]] = {}  # by path, or all of it: why, and until when it is not asked
        self._asking: dict[str, asyncio.Lock] = {}

    async def find(self, path: str) -> Found:
        """The answer for *path*. Raises SecretMissing."""
        async with self._asking.setdefault(path, asyncio.Lock()):  # who comes meanwhile gets the same answer
            now = self._clock()
            kept = self._kept.get(path)
            if kept and now < kept.fresh_until:
                return kept.found
            if kept and now >= kept.ends:
                kept = None
            if not (trouble := self._trouble(path, now)):
                try:
                    found = await self._asked(path, kept.found if kept else None)
                except Away as away:
                    trouble = str(away)
                    self._away[ALL if away.everywhere else path] = trouble, self._clock() + PAUSE_S
                except SecretMissing:
                    self.forget(path)
                    raise
                else:
                    self._keep(path, found, now)
                    return found
            if kept is None:
                raise SecretMissing(f"No secret {path}: {trouble}{'' if trouble.endswith('?') else '.'}")
            return kept.found

    def _trouble(self, path: str, now: float) -> str:
        """Why the store is not asked for now; "" when it is."""
        self._away = {where: away for where, away in self._away.items() if now < away[1]}
        words, _ = self._away.get(ALL) or self._away.get(path) or ("", now)
        return words

    async def _asked(self, path: str, worn: Found | None) -> Found:
        try:
            async with asyncio.timeout(self._ask_s):
                return await self._ask(path, worn)
        except TimeoutError:
            pass
        raise Away(
            f"{self._name} gave no answer within {self._ask_s:g} s — is it up, and does a firewall let us through?"
        )

    def forget(self, path: str) -> None:
        """Drop what is kept of *path*."""
        self._kept.pop(path, None)

    def forget_leases(self) -> None:
        """Drop what was leased: who took the leases is gone, and they end with it."""
        self._kept = {path: kept for path, kept in self._kept.items() if kept.found.lease_s is None}

    def _keep(self, path: str, found: Found, asked: float) -> None:
        fresh_s, lasts_s = (KEPT_S, OUTAGE_S) if found.lease_s is None else (found.lease_s * USED_UP, found.lease_s)
        self.forget(path)
        self._kept[path] = _Kept(found, asked + fresh_s, asked + lasts_s)
        while len(self._kept) > KEPT:
            dropped = next(iter(self._kept))
            del self._kept[dropped]
            self._asking.pop(dropped, None)


def part_of(values: object, place: Place) -> str:
    """The text at the place's key inside of *values*. Raises SecretMissing, which names the keys that there are."""
    found = values
    for part in [place.key] if isinstance(values, dict) and place.key in values else place.key.split("/"):
        if not isinstance(found, dict) or part not in found:
            there = f"has {_listed(found)}" if isinstance(found, dict) else "is no mapping there"
            raise SecretMissing(f"The secret {place} has no such key: it {there}.")
        found = found[part]
    if isinstance(found, bool) or not isinstance(found, str | int):
        raise SecretMissing(f"The secret {place} is no text: name the key inside of it that is (#outer/inner).")
    return str(found)


def _listed(values: dict[str, object]) -> str:
    names = sorted(str(name) for name in values)
    more = ", …" if len(names) > 10 else ""
    return (", ".join(names[:10]) + more) or "no keys at all"

"""Secrets that open something together, and are read anew where it refuses them: somebody may have replaced them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from bot.model import SecretRef
from bot.secrets import Renewing

PAUSE_S = 5.0  # however often it is refused, nobody has a store asked past what is kept of it more often

log = structlog.get_logger()


class Rotating:
    """The values behind *references*, for one user of them, who compares what was refused with what is there now."""

    def __init__(self, secrets: Renewing, *references: SecretRef, clock: Callable[[], float] = time.monotonic) -> None:
        self._secrets = secrets
        self._references = references
        self._clock = clock
        self._asked = float("-inf")
        self._busy = asyncio.Lock()

    async def now(self) -> tuple[str, ...]:
        """Their present values, in the order of the references. Raises SecretMissing."""
        return tuple([await self._secrets.resolve(reference) for reference in self._references])

    async def replaced(self, refused: tuple[str, ...], *, anew: bool = True) -> bool:
        """Whether there are others now than those that were *refused*; with *anew* stores are asked. Raises SecretMissing."""
        async with self._busy:  # who is refused at the same time waits for the same answer
            newer = await self.now() != refused
            if not newer and anew and self._clock() >= self._asked + PAUSE_S:
                self._asked = self._clock()
                for reference in self._references:
                    self._secrets.forget(reference)
                newer = await self.now() != refused
        if newer:
            log.info("what was refused is replaced", references=[reference.text for reference in self._references])
        return newer

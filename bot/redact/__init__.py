"""Secrets out of everything that is kept or told.

A masked secret reads ``[masked:KIND:1a2b3c]``: the digits are the start of an HMAC-SHA256 under the salt, so within one
salt (one incident) the same secret has the same mask, and nobody can try values without the salt. The text around a
secret stays as it is: keys, hosts, addresses, e-mails, unless `redaction` in capturebot.yml asks for more. Not found on purpose: a known secret shorter than 4 bytes, a
harmless word such as "required" or "none" after ``password=``, and a card's bare digits in a table's column or under a
counter's name.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Protocol

from bot.model import STANDARD, Redaction
from bot.redact.finder import Finder
from bot.redact.known import literals
from bot.redact.stream import BLOCK_BYTES, RedactionStream

__all__ = ["BLOCK_BYTES", "Mask", "RedactionStream", "Redactor"]


class Mask(Protocol):
    """`Redactor.text`, for those who need no more of it."""

    def __call__(self, text: str, incident: str = "") -> str:
        """Mask a text."""


class Redactor:
    """Masks secrets by their shape, by the key they are given to, and every one that *known* returns.

    *salt* ties equal masks together: one for an incident. *known* is asked whenever a stream or a text starts; a secret
    that is resolved later is masked from the next start on (its shape or key may give it away before).
    """

    def __init__(self, known: Callable[[], Collection[bytes]], *, salt: bytes, redaction: Redaction = STANDARD) -> None:
        self._known = known
        self._salt = salt
        self._redaction = redaction

    def stream(self, kind: type[RedactionStream] = RedactionStream) -> RedactionStream:
        """Begin one output, as a stream of that *kind*."""
        return kind(_finder(frozenset(self._known()), self._redaction), self._salt)

    def text(self, text: str, incident: str = "") -> str:
        """Mask a short text: a command, a reason, a finding; as all of its *incident* is, where it belongs to one.

        Lone surrogates come back as U+FFFD.
        """
        stream = (self.within(incident) if incident else self).stream()
        return (stream.feed(text.encode("utf-8", "surrogatepass")) + stream.finish()).decode("utf-8", "replace")

    def within(self, incident: str) -> Redactor:
        """The redactor of one incident: a secret has one mask all over it, and another mask in the next one."""
        salt = hmac.digest(self._salt, incident.encode(), hashlib.sha256)
        return Redactor(self._known, salt=salt, redaction=self._redaction)


@lru_cache(maxsize=2)  # the automaton costs milliseconds and megabytes; secrets change seldom, captures come often
def _finder(values: frozenset[bytes], redaction: Redaction) -> Finder:
    return Finder(literals(values), redaction)

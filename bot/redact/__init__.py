"""Secrets out of everything that is kept or told.

A masked secret reads ``[masked:KIND:1a2b3c]``: the digits are the start of an HMAC-SHA256 under the salt, so within one
salt (one incident) the same secret has the same mask, and nobody can try values without the salt. The text around a
secret stays as it is: keys, hosts, addresses, e-mails. Not found on purpose: a known secret shorter than 4 bytes, a
harmless word such as "required" or "none" after ``password=``, and a card's bare digits in a table's column or under a
counter's name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import lru_cache

from bot.redact.finder import Finder
from bot.redact.known import literals
from bot.redact.stream import BLOCK_BYTES, RedactionStream

__all__ = ["BLOCK_BYTES", "RedactionStream", "Redactor"]


class Redactor:
    """Masks secrets by their shape, by the key they are given to, and every one that *known* returns.

    *salt* ties equal masks together: one for an incident. *known* is asked whenever a stream or a text starts; a secret
    that is resolved later is masked from the next start on (its shape or key may give it away before).
    """

    def __init__(self, known: Callable[[], Collection[bytes]], *, salt: bytes) -> None:
        self._known = known
        self._salt = salt

    def stream(self) -> RedactionStream:
        """Begin one output."""
        return RedactionStream(_finder(frozenset(self._known())), self._salt)

    def text(self, text: str) -> str:
        """Mask a short text: a command, a reason, a finding. Lone surrogates come back as U+FFFD."""
        stream = self.stream()
        return (stream.feed(text.encode("utf-8", "surrogatepass")) + stream.finish()).decode("utf-8", "replace")


@lru_cache(maxsize=2)  # the automaton costs milliseconds and megabytes; secrets change seldom, captures come often
def _finder(values: frozenset[bytes]) -> Finder:
    return Finder(literals(values))

"""Operators' own patterns: searched for by an automaton of their own, so that none can slow the others down."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import re2

from bot.model import OwnPattern

MEMORY_BYTES = 16 * 1024 * 1024  # of an automaton
PATTERN_CHARS = 500
# Text without a secret in it: a pattern that takes any of it would take what an incident is about.
ORDINARY = (
    b"2026-11-22T20:55:01.123Z ERROR [worker-3] GET /api/orders/41 500 812 ms from 10.0.0.5:41234",
    b"mysql 1234 97.5 12.3 2345678 1234567 ? Sl 10:41 123:45 /usr/sbin/mariadbd --port=3306",
    b"\tat com.example.orders.OrderService.find(OrderService.java:41)",
    b"SELECT status, total FROM orders WHERE id = 41 FOR UPDATE",
)


Noticed = tuple[str, int, int, int]  # kind, start and end of a secret, and the spot where it was noticed


class Noticing(Protocol):
    """Looks for secrets of its own beside the automaton of all the others."""

    def spans(self, text: bytes, pos: int, limit: int) -> Iterator[Noticed]:
        """Yield what is noticed in ``text[pos:limit]``; it may lie behind *limit* in part or as a whole."""


def compiled(pattern: str) -> Any:
    """*pattern* as an automaton that works line by line. Raises ValueError with what is wrong with it."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # bytes, not characters
    options.max_mem = MEMORY_BYTES
    options.log_errors = False
    options.never_nl = True
    try:
        return re2.compile(b"(?m)" + pattern.encode(), options)
    except re2.error as error:
        raise ValueError(_words(error)) from None


def _words(error: Exception) -> str:
    told = error.args[0] if error.args else ""
    text = told.decode(errors="replace") if isinstance(told, bytes) else str(told)
    return text.replace("(?m)", "", 1)


def fault_of(pattern: str) -> str:
    """Why *pattern* cannot be one, "" when it can."""
    try:
        automaton = compiled(pattern)
    except ValueError as error:
        return f"is no regular expression ({error})"
    if automaton.search(b""):
        return "matches nothing at all, and so would everywhere"
    if automaton.groups > 1:
        return "has several groups, and which of them is the secret cannot be told"
    for line in ORDINARY:
        if hit := automaton.search(line):
            return f"matches ordinary text (`{hit[0].decode()[:60]}`)"
    return ""


class Own:
    """What operators' own patterns find."""

    def __init__(self, patterns: tuple[OwnPattern, ...]) -> None:
        self._each = [(own.name, compiled(own.pattern)) for own in patterns]
        self._any = compiled("|".join(f"(?:{own.pattern})" for own in patterns))

    def spans(self, text: bytes, pos: int, limit: int) -> Iterator[Noticed]:
        """See `Noticing`."""
        while (hit := self._any.search(text, pos)) and (at := hit.start()) < limit:
            pos = at + 1
            for name, pattern in self._each:
                if found := pattern.match(text, at):
                    start, end = found.span(found.re.groups)
                    if start < 0:  # its group took no part
                        start, end = found.span()
                    if start < end:
                        yield name, start, end, at
                    pos = max(pos, end)
                    break

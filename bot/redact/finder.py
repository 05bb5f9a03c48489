"""Where secrets are in a text: every pattern and every known secret as one automaton, then a second look at its hits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import re2

from bot.redact.judge import whole
from bot.redact.known import MIN_BYTES, PIECE_BYTES
from bot.redact.patterns import RULES, SPOTS, Rule

# How much of a found secret's end is searched for another that begins in it and goes on behind it: any known piece fits.
INNER_BYTES = 2 * PIECE_BYTES
LONG_BYTES = 1024  # a longer value is a secret without another look, which bounds what looking costs
AUTOMATON_BYTES = 64 * 1024 * 1024  # re2's bound for its automata; a few are used
MASK_DIGITS = 6  # hex
KNOWN_KIND = "known-secret"
_HEAD_BYTES = 16  # of a known secret, as much goes into the automaton; the rest is compared

# What an earlier pass left is not masked again, though "password:" stands in it. Only real kinds: nothing hides in one.
_KINDS = b"|".join(sorted({rule.kind.encode() for rule in RULES} | {KNOWN_KIND.encode()}))
_MASK_SPOT = rb"\[masked:(?:%s):[0-9a-f]{%d}\]" % (_KINDS, MASK_DIGITS)
_MASK = re.compile(_MASK_SPOT)


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A secret in a text, and the *spot* where it was noticed."""

    start: int
    end: int
    kind: str
    spot: int


class Spots(Protocol):
    """Finds the next place where a secret may be."""

    def search(self, text: bytes, pos: int) -> re.Match[bytes] | None:
        """The leftmost candidate from *pos* on."""


class Finder:
    """Every pattern and every known secret as one automaton; shared by streams, also across threads."""

    def __init__(self, literals: Sequence[bytes]) -> None:
        self._literals: dict[bytes, list[bytes]] = {}
        for literal in literals:
            self._literals.setdefault(literal[:MIN_BYTES], []).append(literal)
        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1  # bytes, not characters
        options.max_mem = AUTOMATON_BYTES
        options.log_errors = False
        heads = sorted({re2.escape(literal[:_HEAD_BYTES]) for literal in literals})
        self.spots: Spots = re2.compile(b"|".join([_MASK_SPOT, SPOTS, *heads]), options)
        re2.purge()  # its cache would keep 128 automata, each with the secrets of its day

    def spans(self, text: bytes, pos: int, limit: int) -> list[Span]:
        """The secrets noticed in ``text[pos:limit]``; they may end behind *limit*. Sorted, overlapping ones as one."""
        found: list[Span] = []
        furthest = Span(0, 0, "", 0)
        while (spot := self.spots.search(text, pos)) and (at := spot.start()) < limit:
            if mask := _MASK.match(text, at):
                pos = mask.end() - 1  # its bracket may be the edge of the next
                continue
            for span in self._judge(text, at):
                found.append(span)
                furthest = max(furthest, span, key=lambda span: span.end)
            # Secrets may overlap: search on inside the one just found, but never all of a long one again.
            pos = at + 1
            if furthest.start <= at:
                pos = max(pos, furthest.end - INNER_BYTES)
        return _merged(found)

    def _judge(self, text: bytes, at: int) -> Iterator[Span]:
        for literal in self._literals.get(text[at : at + MIN_BYTES], ()):
            if text.startswith(literal, at):
                yield Span(at, at + len(literal), KNOWN_KIND, at)
                break
        first = 0
        while which := _spots_from(first).match(text, at):
            first += which.lastindex or 0
            rule = RULES[first - 1]
            if (span := self._span(rule, text, at)) and not _is_mask(text, *span):
                yield Span(*span, rule.kind, at)
                break

    def _span(self, rule: Rule, text: bytes, at: int) -> tuple[int, int] | None:
        if not (value := rule.value.match(text, at)):
            return None
        start, end = whole(value)
        return (start, end) if end - start > LONG_BYTES else rule.refine(value)


@cache
def _spots_from(first: int) -> re.Pattern[bytes]:
    """Which of the rules from *first* on it is; two may begin alike, and then the second may be right."""
    return re.compile(b"|".join(b"(%s)" % rule.spot for rule in RULES[first:]) or b"(?!)")


def _is_mask(text: bytes, start: int, end: int) -> bool:
    """The value is what an earlier pass left, with or without its brackets."""
    return any((mask := _MASK.match(text, at)) and mask.end() >= end for at in (start, max(0, start - 1)))


def _merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for span in sorted(spans):
        if merged and span.start <= merged[-1].end:
            last = merged[-1]
            merged[-1] = Span(last.start, max(last.end, span.end), last.kind, min(last.spot, span.spot))
        else:
            merged.append(span)
    return merged

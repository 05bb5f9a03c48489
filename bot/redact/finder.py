"""Where secrets are in a text: every pattern and every known secret as one automaton, then a second look at its hits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import re2

from bot.model import STANDARD, Redaction
from bot.redact.judge import whole
from bot.redact.known import KNOWN_KIND, MIN_BYTES, PIECE_BYTES
from bot.redact.optional import BEHIND_BYTES, KINDS, noticing, rules_of
from bot.redact.own import Noticing, Own, compiled
from bot.redact.patterns import RULES, Rule

# How much of a found secret's end is searched for another that begins in it and goes on behind it: any known piece fits.
INNER_BYTES = 2 * PIECE_BYTES
LONG_BYTES = 1024  # a longer value is a secret without another look, which bounds what looking costs
AUTOMATON_BYTES = 64 * 1024 * 1024  # re2's bound for its automata; a few are used
MASK_DIGITS = 6  # hex
_HEAD_BYTES = 16  # of a known secret, as much goes into the automaton; the rest is compared


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

    def __init__(self, literals: Sequence[bytes], redaction: Redaction = STANDARD) -> None:
        self._literals: dict[bytes, list[bytes]] = {}
        for literal in literals:
            self._literals.setdefault(literal[:MIN_BYTES], []).append(literal)
        self._rules = (*RULES, *rules_of(redaction))
        own = [Own(redaction.patterns)] if redaction.patterns else []
        self._others: tuple[Noticing, ...] = (*own, *noticing(redaction))
        self._keep = compiled("|".join(f"(?:{pattern})" for pattern in redaction.keep)) if redaction.keep else None
        self._from: dict[int, re.Pattern[bytes]] = {}
        # What an earlier pass left is not masked again, though "password:" stands in it. Only real kinds: nothing hides in one.
        kinds = {KNOWN_KIND, *KINDS, *(rule.kind for rule in RULES), *(own.name for own in redaction.patterns)}
        mask = rb"\[masked:(?:%s):[0-9a-f]{%d}\]" % ("|".join(sorted(kinds)).encode(), MASK_DIGITS)
        self._mask = re.compile(mask)
        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1  # bytes, not characters
        options.max_mem = AUTOMATON_BYTES
        options.log_errors = False
        heads = sorted({re2.escape(literal[:_HEAD_BYTES]) for literal in literals})
        self.spots: Spots = re2.compile(b"|".join([mask, *(rule.spot for rule in self._rules), *heads]), options)
        re2.purge()  # its cache would keep 128 automata, each with the secrets of its day

    def spans(self, text: bytes, pos: int, limit: int) -> list[Span]:
        """The secrets that begin or are noticed in ``text[pos:limit]``; they may end behind *limit*.

        Sorted, overlapping ones as one.
        """
        found: list[Span] = []
        furthest = Span(0, 0, "", 0)
        beyond = limit + BEHIND_BYTES  # of what is noticed there, some begins before
        for other in self._others:
            noticed = (Span(start, end, kind, at) for kind, start, end, at in other.spans(text, pos, limit))
            found += [span for span in noticed if not self._stays(text, span)]
        while (spot := self.spots.search(text, pos)) and (at := spot.start()) < beyond:
            if mask := self._mask.match(text, at):
                pos = mask.end() - 1  # its bracket may be the edge of the next
                continue
            for span in self._judge(text, at):
                if at < limit or span.start < limit:
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
        while which := self._spots_from(first).match(text, at):
            first += which.lastindex or 0
            rule = self._rules[first - 1]
            if found := self._span(rule, text, at):
                span = Span(*found, rule.kind, at)
                if not self._stays(text, span):
                    yield span
                    break

    def _span(self, rule: Rule, text: bytes, at: int) -> tuple[int, int] | None:
        if not (value := rule.value.match(text, at)):
            return None
        start, end = whole(value)
        return (start, end) if end - start > LONG_BYTES else rule.refine(value)

    def _spots_from(self, first: int) -> re.Pattern[bytes]:
        """Which of the rules from *first* on it is; two may begin alike, and then the second may be right."""
        if first not in self._from:
            self._from[first] = re.compile(b"|".join(b"(%s)" % rule.spot for rule in self._rules[first:]) or b"(?!)")
        return self._from[first]

    def _stays(self, text: bytes, span: Span) -> bool:
        """The value is what an earlier pass left, with or without its brackets, or is to be kept."""
        if self._keep and span.end - span.start <= LONG_BYTES and self._keep.fullmatch(text[span.start : span.end]):
            return True
        return any(
            (mask := self._mask.match(text, at)) and mask.end() >= span.end
            for at in (span.start, max(0, span.start - 1))
        )


def _merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for span in sorted(spans):
        if merged and span.start <= merged[-1].end:
            last = merged[-1]
            merged[-1] = Span(last.start, max(last.end, span.end), last.kind, min(last.spot, span.spot))
        else:
            merged.append(span)
    return merged

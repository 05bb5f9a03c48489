"""When something began to come more often, on a time line that was not looked at everywhere."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log

SPLITS = 200  # moments that are tried as the beginning
LEAST_BEFORE_S = 5.0  # that must have been looked at, to tell what was before
GROWTH = 5.0  # times as often as before
CERTAIN = 12.0  # of a change, see Change.certainty
CERTAIN_NEW = 9.0  # of what had not come at all
NEARLY = 0.8  # as certain as any other moment is the first of all: times of whole seconds blur it
QUIET_S = 60.0  # and
QUIET_GAPS = 10.0  # times the usual time between two, and it is over


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time of which every line was read."""

    start: float
    end: float


class Covered:
    """Spans, and how much of the time up to a moment lies in them."""

    def __init__(self, spans: Sequence[Span]) -> None:
        merged: list[Span] = []
        for span in sorted(spans, key=lambda each: each.start):
            if merged and span.start <= merged[-1].end:
                merged[-1] = Span(merged[-1].start, max(merged[-1].end, span.end))
            else:
                merged.append(span)
        self.spans = merged
        self._starts = [span.start for span in merged]
        self._before = [0.0]
        for span in merged:
            self._before.append(self._before[-1] + span.end - span.start)

    @property
    def seconds(self) -> float:
        """All of them together."""
        return self._before[-1]

    @property
    def start(self) -> float:
        """The first moment."""
        return self.spans[0].start if self.spans else 0.0

    @property
    def end(self) -> float:
        """The last moment."""
        return self.spans[-1].end if self.spans else 0.0

    def up_to(self, at: float) -> float:
        """Seconds that were read up to *at*."""
        number = bisect_right(self._starts, at)
        if number == 0:
            return 0.0
        span = self.spans[number - 1]
        return self._before[number - 1] + min(at, span.end) - span.start

    def unread_before(self, at: float) -> float:
        """Seconds right before *at* that were left out."""
        number = bisect_right(self._starts, at)
        return at - self.spans[number - 2].end if number >= 2 and self.spans[number - 1].start == at else 0.0

    def is_whole(self, start: float, end: float) -> bool:
        """Whether nothing between two moments was left out."""
        return all(one.end >= end or other.start <= start for one, other in pairwise(self.spans))


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """From *start* on it came *number* times in *seconds* that were read; before, *earlier* times in *earlier_s*."""

    start: float
    end: float  # the last that was seen
    number: int
    seconds: float
    earlier: int
    earlier_s: float
    is_over: bool  # it has not been seen for so long that it is no accident
    certainty: float  # logarithm of how much likelier this is than that the rate has not changed

    @property
    def a_minute(self) -> float:
        """How often it came."""
        return self.number * 60 / max(self.seconds, 1.0)

    @property
    def earlier_a_minute(self) -> float:
        """How often it had come before."""
        return self.earlier * 60 / max(self.earlier_s, 1.0)


def change_of(times: Sequence[float], covered: Covered) -> Change | None:
    """The moment from which on *times* (sorted) are much denser than before, if there is one.

    Of all moments the likeliest is taken, given that things happen independently of each other at two rates
    (a likelihood ratio of Poisson processes); the quiet after the last of them counts as before.
    """
    if not times or covered.seconds < LEAST_BEFORE_S:
        return None
    places = [covered.up_to(at) for at in times]
    number, last = len(times), places[-1]
    gap = (last - places[0]) / max(number - 1, 1)
    quiet = covered.seconds - last
    is_over = quiet > max(QUIET_S, QUIET_GAPS * gap)
    changes = []
    for first in range(0, number, max(number // SPLITS, 1)):
        earlier_s = places[first] + (quiet if is_over else 0.0)
        seconds = max((last if is_over else covered.seconds) - places[first], 1.0)
        after, before = (number - first) / seconds, first / max(earlier_s, 1.0)
        if places[first] < LEAST_BEFORE_S or after < GROWTH * before:
            continue
        mean = number / (seconds + earlier_s)
        certainty = (number - first) * log(after / mean) + (first * log(before / mean) if first else 0.0)
        if certainty >= (CERTAIN if first else CERTAIN_NEW):
            change = Change(
                start=times[first],
                end=times[-1],
                number=number - first,
                seconds=seconds,
                earlier=first,
                earlier_s=earlier_s,
                is_over=is_over,
                certainty=certainty,
            )
            changes.append(change)
    best = max(changes, key=lambda each: each.certainty, default=None)
    is_new = best and not changes[0].earlier and changes[0].certainty >= NEARLY * best.certainty
    return changes[0] if is_new else best

"""Several targets in one capture: which one is not like the others, by the numbers that all of them have. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bot.comparing import Side
from bot.insights import words
from bot.insights.figures import Figure, Figures, figures
from bot.model import Difference, Finding, Level

FEWEST = 3  # targets of which one can be told from the others
TIMES = 3.0  # by which an outlier differs from what the others have in the middle
LEAST_TIMES = 3.0  # of what is worth a word between two captures of one target: machines are never quite alike
ALIKE = 2.0  # times, within which others are alike
TELLING_TIMES = 2.0  # that what means trouble by its name counts
LARGE = 3.0  # beyond that, a larger difference tells no more: proportion does
TOLD = 5
TEXT_CHARS = 200
ODD_AT_MOST = 2  # targets that are named as different in one line


@dataclass(frozen=True, slots=True)
class _Odd:
    """One number in which few targets differ from the rest."""

    figure: Figure
    values: Mapping[str, float]
    middle: float
    targets: tuple[str, ...]  # that differ, the furthest first

    @property
    def score(self) -> float:
        """How far it is out, both in proportion and in size."""
        subject, value = self.figure.subject, self.values[self.targets[0]]
        floor = max(min(value, self.middle), subject.least / 10)
        size = min(math.log1p(abs(value - self.middle) / subject.least), LARGE)
        out = math.log(max(value, self.middle) / floor) * size
        if subject.telling.intersection(self.figure.names):
            return out * TELLING_TIMES
        # Hosts may well run different things; that they run the same differently is what tells.
        return out / 2 if self.figure.thing and min(value, self.middle) <= 0 else out


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How alike targets are: in what single ones differ, the furthest out first. *targets* are those with numbers."""

    targets: frozenset[str]
    differences: tuple[Difference, ...] = ()


def outliers(side: Side) -> Spread:
    """Hold the targets of one capture against each other; at most TOLD differences."""
    by_step: dict[str, dict[str, Figures]] = {}
    for (target, step), kept in side.items():
        read = figures(kept.text)
        if read.seen:
            by_step.setdefault(step, {})[target] = read
    found = [(odd, step) for step, read in by_step.items() for odd in _odd(read)]
    found.sort(key=lambda each: -each[0].score)
    differences = tuple(
        Difference(target=odd.targets[0], step=step, finding=_said(odd, number))
        for number, (odd, step) in enumerate(found[:TOLD])
    )
    return Spread(targets=frozenset(target for read in by_step.values() for target in read), differences=differences)


def _odd(read: Mapping[str, Figures]) -> list[_Odd]:
    found = []
    for figure in dict.fromkeys(figure for one in read.values() for figure in one.numbers):
        values = {target: one.numbers.get(figure, 0.0) for target, one in read.items() if _knows(one, figure)}
        if len(values) >= FEWEST and (odd := _apart(figure, values)):
            found.append(odd)
    return found


def _knows(one: Figures, figure: Figure) -> bool:
    """Whether it was looked at, and would be there if there were any."""
    return figure in one.numbers or (figure.subject in one.seen and not one.cut.get(figure.subject))


def _apart(figure: Figure, values: Mapping[str, float]) -> _Odd | None:
    middle, least = median(values.values()), figure.subject.least * LEAST_TIMES

    def differs(value: float, by: float) -> bool:
        low, high = sorted((value, middle))
        return high - low >= least and high >= by * low

    far = sorted(
        (name for name in values if differs(values[name], TIMES)), key=lambda name: -abs(values[name] - middle)
    )
    near = sum(not differs(value, ALIKE) for value in values.values())
    if len({values[name] > middle for name in far}) > 1:  # in both directions, which is no one line
        return None
    if not far or len(far) > ODD_AT_MOST or near + len(far) < len(values) or near <= len(far):
        return None
    return _Odd(figure, values, middle, tuple(far))


def _said(odd: _Odd, number: int) -> Finding:
    unit = odd.figure.subject.unit
    far = [odd.values[name] for name in odd.targets]
    others = [value for name, value in odd.values.items() if name not in odd.targets]
    sizes = f" ({' and '.join(map(unit, far))})" if any(far) else ""
    has = f"{' and '.join(odd.targets)} {'have' if len(far) > 1 else 'has'}"
    told = f"{has} {_much(sum(far) / len(far), median(others))}{odd.figure.what}{sizes}"
    return Finding(
        level=Level.WARN if (far[0] < odd.middle) == odd.figure.subject.falls else Level.INFO,
        text=words.clean(
            f"{len(others)} of {len(odd.values)} alike; {told}, the others {_span(others, unit)}", TEXT_CHARS
        ),
        weight=0.9 - 0.05 * number,
        evidence=words.evidence(*(f"{name}: {unit(each)}" for name, each in sorted(odd.values.items()))),
    )


def _much(value: float, others: float) -> str:
    if others <= 0:
        return ""
    if value > others:
        return f"{words.count(value / others)} times the "
    return "no " if value <= 0 else "less "


def _span(values: Sequence[float], unit: Callable[[float], str]) -> str:
    low, high = min(values), max(values)
    if high <= 0:
        return "none"
    return unit(high) if unit(low) == unit(high) else f"{unit(low)} to {unit(high)}"

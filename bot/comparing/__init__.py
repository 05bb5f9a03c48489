"""Two captures of one step: what is new, what is gone, what changed by how much. Pure.

Where the product knows what a part of the output counts (`bot.insights.subjects`), names come and go and numbers are
held against each other one by one. What insights had to say is compared too, and the plain numbers of any other output.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bot.insights import words
from bot.insights.difference import looks
from bot.insights.figures import Figure, Figures, figures
from bot.model import Difference, Finding, Level

PER_STEP = 8  # differences that are told of one step
IN_ALL = 40
PLAIN_TOLD = 3  # numbers of unknown meaning, of one step
PLAIN_TIMES = 3.0  # by which one of them must differ
ALARMING_TIMES = 10.0
CUT_TIMES = 2.0  # by which a number must be above what a table was cut at, to be missed there
TEXT_CHARS = 180
VALUE_CHARS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a capture kept of one step on one target: its output, redacted, and what was read in it."""

    text: str = ""
    findings: tuple[Finding, ...] = ()


Side = Mapping[tuple[str, str], Kept]  # by target and step


def compare(before: Side, after: Side) -> tuple[Difference, ...]:
    """What differs in all that both have, the most telling first, at most IN_ALL."""
    found = [
        Difference(target=target, step=step, finding=finding)
        for (target, step), kept in after.items()
        if (target, step) in before
        for finding in differences(before[target, step], kept)
    ]
    found.sort(key=_rank)
    return tuple(found[:IN_ALL])


def differences(before: Kept, after: Kept) -> Sequence[Finding]:
    """What differs in one step, the most telling first, at most PER_STEP."""
    was, now = figures(before.text), figures(after.text)
    found = [*_figures(was, now), *_sayings(before.findings, after.findings)]
    if not (was.seen or now.seen):
        found += _plain(before.text, after.text)
    found.sort(key=lambda finding: (-finding.level.value, -finding.weight))
    return found[:PER_STEP]


def summary(found: Sequence[Difference]) -> str:
    """The most telling difference, and how many there are, in one line."""
    if not found:
        return "nothing that is counted differs"
    more = f" (and {words.counted(len(found) - 1, 'more difference')})" if len(found) > 1 else ""
    return found[0].finding.text + more


def times(before: float, after: float) -> str:
    """By how much a number differs, for people: "40 times", "12 times less", "30 % more"; "" from or to nothing."""
    low, high = sorted((abs(before), abs(after)))
    if low <= 0:
        return ""
    factor = high / low
    if after < before:
        return f"{factor:,.0f} times less" if factor >= 2 else f"{(1 - 1 / factor) * 100:.0f} % less"
    return f"{factor:,.0f} times" if factor >= 2 else f"{(factor - 1) * 100:.0f} % more"


def _rank(one: Difference) -> tuple[int, float]:
    return -one.finding.level.value, -one.finding.weight


# --- what is counted ------------------------------------------------------------------------------


def _figures(before: Figures, after: Figures) -> Iterator[Finding]:
    both = before.seen & after.seen
    for figure in dict.fromkeys((*after.numbers, *before.numbers)):
        was, now = before.numbers.get(figure), after.numbers.get(figure)
        is_known = figure.subject in both and _is_known(figure, before, now) and _is_known(figure, after, was)
        if is_known and (finding := _moved(figure, was, now)):
            yield finding
    for figure, now_text in after.texts.items():
        was_text = before.texts.get(figure)
        if was_text is not None and was_text != now_text:
            said = f"{figure.what}: {_value(was_text)} → {_value(now_text)}"
            yield _said(said, Level.INFO, 0.8)


def _is_known(figure: Figure, side: Figures, other: float | None) -> bool:
    """Whether a figure would stand on *side* if it were there, being about as large as the *other* side has it."""
    return figure in side.numbers or (other or 0.0) >= CUT_TIMES * side.cut.get(figure.subject, 0.0)


def _moved(figure: Figure, before: float | None, after: float | None) -> Finding | None:
    subject, was, now = figure.subject, before or 0.0, after or 0.0
    low, high = sorted((was, now))
    if high - low < subject.least or (low > 0 and high / low < subject.times):
        return None
    if before is None or after is None:
        if subject.only:  # it was not looked at
            return None
        if figure.thing:
            return _came_or_went(figure, high, came=before is None)
    worse = (now < was) == subject.falls
    level = Level.WARN if worse and high >= ALARMING_TIMES * max(low, subject.least) else Level.INFO
    unit, factor = subject.unit, times(was, now)
    said = f"{figure.what}: {unit(was)} → {unit(now)}{f' ({factor})' if factor else ''}"
    return _said(said, level, 0.3 + (0.6 if worse else 0.2) * (1 - low / high))


def _came_or_went(figure: Figure, size: float, *, came: bool) -> Finding:
    """The more there is of it, the more it tells; what went tells less than what came."""
    subject = figure.subject
    sized = f" ({subject.unit(size)})" if subject.of else ""
    telling = 1 - subject.least / max(size, subject.least)
    if came:
        level = Level.WARN if subject.alarming else Level.INFO
        return _said(f"New: {figure.thing}{sized}", level, 0.5 + 0.4 * telling)
    return _said(f"Gone: {figure.thing}{sized}", Level.INFO, 0.3 + 0.3 * telling)


def _value(text: str) -> str:
    return words.clean(text, VALUE_CHARS) or "nothing"


def _said(text: str, level: Level, weight: float) -> Finding:
    return Finding(level=level, text=words.clean(text[:1].upper() + text[1:], TEXT_CHARS), weight=weight)


# --- what was read in it --------------------------------------------------------------------------


def _sayings(before: Sequence[Finding], after: Sequence[Finding]) -> Iterator[Finding]:
    """What insights warn of now and did not, and the other way round; numbers in it may differ."""
    was, now = ({_shape(one.text): one for one in found if one.level is not Level.INFO} for found in (before, after))
    for shape, one in now.items():
        if shape not in was:
            yield _said(f"Not so before: {one.text}", one.level, one.weight)
    for shape, one in was.items():
        if shape not in now:
            yield _said(f"No more: {one.text}", Level.INFO, 0.5)


def _shape(text: str) -> str:
    return re.sub(r"[0-9][0-9.,]*", "#", text)


# --- any other numbers ----------------------------------------------------------------------------


def _plain(before: str, after: str) -> list[Finding]:
    """Numbers that go by the same key or column in both, and differ much. What they mean is not known."""
    looked = looks(before), looks(after)
    if not all(looked):
        return []
    was, now = (each[-1].numbers for each in looked)
    found = []
    for name in was.keys() & now.keys():
        low, high = sorted((abs(was[name]), abs(now[name])))
        if low > 0 and high / low >= PLAIN_TIMES:
            name_said, factor = words.clean(name), times(was[name], now[name])
            said = f"{name_said}: {_number(was[name])} → {_number(now[name])} ({factor})"
            found.append(_said(said, Level.INFO, 0.2 * (1 - low / high)))
    found.sort(key=lambda finding: (-finding.weight, finding.text))
    return found[:PLAIN_TOLD]


def _number(value: float) -> str:
    return words.count(value) if value == round(value) or abs(value) >= 100 else f"{value:.2g}"

"""Which function of a Python process its CPU time goes to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from bot.insights import Reading, sections, words
from bot.insights.choice import row_of, spoken
from bot.insights.pyprocess import finding, is_stopped, unread
from bot.insights.pystacks import Frame, frame_of
from bot.model import Finding, Level

PROFILED_CORES = 0.7  # from here on where CPU time goes is worth a warning
NOTED_CORES = 0.2  # and from here on worth a word
HOT_SHARE = 0.5  # of the samples

_FOLDED = re.compile(r"^(.+) (\d{1,9})$", re.MULTILINE)
_STARTING = {"_bootstrap", "_bootstrap_inner", "run", "<module>", "_run_module_as_main", "_run_code"}


def profile(reading: Reading) -> Iterator[Finding]:
    """Name the function that the CPU time goes to, and its share."""
    parts = sections(reading.text)
    row = row_of(parts)
    yield from unread(parts, "python-profile", reading.target)
    part = next((part for part in parts if part.name == "stacks"), None)
    if part is None or is_stopped(row):
        return
    stacks = [Stack(_calls(match[1]), int(match[2]), match[0]) for match in _FOLDED.finditer(part.body)]
    total = sum(stack.samples for stack in stacks if stack.calls)
    seconds, rate = words.number(part.facts.get("seconds")), words.number(part.facts.get("rate")) or 100.0
    # What a process used that ended meanwhile is not known; its samples tell it nearly as well.
    spent = total / rate if part.facts.get("cpu_s") == "-" else words.number(part.facts.get("cpu_s"))
    cores = spent / seconds if seconds > 0 else 0.0
    if total and cores >= NOTED_CORES:
        # On a busy host what it waited for a processor counts for how much it wants.
        wanted = cores + words.number(part.facts.get("waited_s")) / seconds
        yield _hottest(spoken(row), stacks, total, (cores, wanted))


@dataclass(frozen=True, slots=True)
class Stack:
    """One folded stack, its outermost frame first."""

    calls: tuple[Frame, ...]
    samples: int
    line: str


def _calls(text: str) -> tuple[Frame, ...]:
    """The functions of a folded stack; what a comprehension or a lambda does counts for whoever holds it."""
    frames = [frame for each in text.split(";") if (frame := frame_of(each))]
    return tuple(frame for frame in frames if not frame.is_part)


def _hottest(process: str, stacks: Sequence[Stack], total: int, cores: tuple[float, float]) -> Finding:
    """The function that works most itself; where none stands out, the innermost that most samples are in."""
    own: Counter[Frame] = Counter()
    within: Counter[Frame] = Counter()
    depth: Counter[Frame] = Counter()
    for stack in stacks:
        functions = [replace(frame, line=0) for frame in stack.calls]
        own.update(dict.fromkeys(functions[-1:], stack.samples))
        for position, function in enumerate(dict.fromkeys(functions)):  # a recursive one counts once
            within[function] += stack.samples
            depth[function] += stack.samples * position
    (hot, samples), inside = own.most_common(1)[0], ""
    broad = [
        function
        for function, number in within.items()
        if number >= HOT_SHARE * total and function.short not in _STARTING
    ]
    if samples < HOT_SHARE * total and broad:
        hot, inside = max(broad, key=lambda function: depth[function] / within[function]), " and what it calls"
        samples = within[hot]
    share = samples / total
    at, caller = _seen(hot, stacks)
    called = f", called by {caller.text}" if caller else ""
    text = f"{process} uses {cores[0] * 100:.0f} % CPU, {words.percent(share)} of it in {at.text}{inside}{called}"
    level = Level.WARN if cores[1] >= PROFILED_CORES and share >= HOT_SHARE else Level.INFO
    return finding(level, text, 0.4 + 0.5 * share * min(cores[1], 1.0), (stack.line for stack in stacks))


def _seen(hot: Frame, stacks: Sequence[Stack]) -> tuple[Frame, Frame | None]:
    """The line of a function that is seen most, and who calls it most."""
    lines: Counter[Frame] = Counter()
    callers: Counter[Frame] = Counter()
    for stack in stacks:
        for caller, frame in zip((None, *stack.calls), stack.calls, strict=False):
            if replace(frame, line=0) == hot:
                lines[frame] += stack.samples
                if caller and replace(caller, line=0) != hot and caller.short not in _STARTING:
                    callers[caller] += stack.samples
    return lines.most_common(1)[0][0], callers.most_common(1)[0][0] if callers else None

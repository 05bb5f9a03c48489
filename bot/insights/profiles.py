"""Where CPU time goes: folded stacks of one process or of a whole host."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bot.insights import Reading, Section, choice, onward, sections, words
from bot.insights.leads import Lead, leading, names_of
from bot.model import Finding, Level, Suggestion

PROFILED_CORES = 0.7  # from here on where CPU time goes is worth a warning
NOTED_CORES = 0.05  # and from here on worth a word
HOT_SHARE = 0.5  # of the samples
UNNAMED_SHARE = 0.3  # of the samples are in functions that nobody can name
KERNEL_SHARE = 0.5  # of the samples of a whole host
FUNCTION_CHARS = 60
TEXT_CHARS = 200
INTERPRETED = "Python code, whose functions the recipe python-profile tells"

_STACK = re.compile(r"^(.+)-(\d{1,10});(.+) (\d{1,9})$", re.MULTILINE)
_FRAME = re.compile(r"^(.*) \(([^()]*)\)$", re.DOTALL)
_KERNEL = "_[k]"
_PYTHON = "_PyEval_EvalFrame"  # its interpreter, whose data the functions of a program are
# Every program begins in these, so that they tell nothing.
_STARTING = re.compile(r"^(?:_start|main|__libc_start.*|start_thread|clone3?|__clone.*|entry_SYSCALL.*|do_syscall_.*|x64_sys_call|\[.*|ret_from_fork.*)$")  # fmt: skip


def profile(reading: Reading) -> Iterator[Finding]:
    """Name the process that uses most CPU time and the function that most of it goes to."""
    parts = sections(reading.text)
    yield from choice.unchosen(parts, "profile", reading.target)
    part = next((part for part in parts if part.name == "stacks"), None)
    if part is None:
        return
    stacks = [Stack(match[1], match[2], match[3], int(match[4])) for match in _STACK.finditer(part.body)]
    names = names_of(row for each in parts if each.name == "processes" for row in each.rows())
    lead = leading(((stack.pid, stack.name, stack.samples) for stack in stacks), names)
    unseen = next((words.clean(each.body, 120) for each in parts if each.name == "unseen"), "")
    seconds, rate = words.number(part.facts.get("seconds")) or 1.0, words.number(part.facts.get("rate")) or 1.0
    looked = seconds * rate
    if lead is None:
        yield from _idle(parts, part)
        if part.facts.get("by") == "looking" and unseen:
            text = f"Nothing ran at any of the looks, and functions could not be told: {unseen.split('; ')[0]}"
            yield Finding(level=Level.WARN, text=words.clean(text, TEXT_CHARS), weight=0.2)
    elif part.facts.get("by") == "looking":
        yield _looked(lead, min(lead.count / looked, 1.0), unseen.split("; ")[0])
    else:
        own = [stack for stack in stacks if stack.pid in lead.pids]
        if lead.count / looked >= NOTED_CORES:
            yield _hottest(lead, own, lead.count / looked)
            yield from _unnamed(lead, own)
        if part.facts.get("pid") == "0":
            yield from _kernel(stacks, sum(stack.samples for stack in stacks) / looked)
        if unseen:
            yield Finding(level=Level.INFO, text=f"bpftrace took the stacks, because {unseen}", weight=0.1)


@dataclass(frozen=True, slots=True)
class Stack:
    """One folded stack of a process, its outermost frame first."""

    name: str
    pid: str
    text: str
    samples: int

    @property
    def frames(self) -> list[str]:
        """Functions, with the file that they are in."""
        return self.text.split(";")

    @property
    def line(self) -> str:
        """The stack as evidence: from its inner end, because that is where the time goes."""
        return f"{self.samples} " + " < ".join(reversed(self.frames))


def _idle(parts: Sequence[Section], part: Section) -> Iterator[Finding]:
    """A process that was named, and did nothing."""
    if row := choice.row_of(parts):
        text = f"{choice.spoken(row)} used no CPU time in {words.duration(words.number(part.facts.get('seconds')))}"
        yield Finding(level=Level.INFO, text=text, weight=0.3, answer=True)


def _looked(lead: Lead, share: float, unseen: str) -> Finding:
    """All that /proc tells: who, not where."""
    text = f"{lead.text} ran at {words.percent(share)} of the looks; its functions cannot be told: {unseen}"
    return Finding(level=Level.WARN, text=words.clean(text, TEXT_CHARS), weight=0.3, next=_next(lead))


def _hottest(lead: Lead, stacks: Sequence[Stack], cores: float) -> Finding:
    """The function that works most itself; where none stands out, the innermost that most samples are in."""
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    depth: Counter[str] = Counter()
    for stack in stacks:
        own[stack.frames[-1]] += stack.samples
        for position, frame in enumerate(dict.fromkeys(stack.frames)):  # a recursive one counts once
            within[frame] += stack.samples
            depth[frame] += stack.samples * position
    (hot, samples), inside = own.most_common(1)[0], ""
    broad = [
        each for each, count in within.items() if count >= HOT_SHARE * lead.count and not _STARTING.match(_bare(each))
    ]
    if samples < HOT_SHARE * lead.count and broad:
        hot, inside = max(broad, key=lambda each: depth[each] / within[each]), " and what it calls"
        samples = within[hot]
    share = min(samples / lead.count, 1.0)
    where = INTERPRETED if _PYTHON in hot else f"{_spoken(hot)}{inside}"
    text = f"{lead.text} uses {cores * 100:.0f} % CPU, {words.percent(share)} of it in {where}"
    level = Level.WARN if cores >= PROFILED_CORES and share >= HOT_SHARE else Level.INFO
    lines = [stack.line for stack in stacks if hot in stack.frames]
    return Finding(
        level=level,
        text=words.clean(text, TEXT_CHARS),
        weight=0.4 + 0.5 * share * min(cores, 1.0),
        evidence=words.evidence(*lines),
        next=_next(lead, stacks),
        answer=True,
    )


def _unnamed(lead: Lead, stacks: Sequence[Stack]) -> Iterator[Finding]:
    """That much of it is in code whose functions have no names, and what gives them some."""
    files: Counter[str] = Counter()
    for stack in stacks:
        if stack.frames[-1].startswith("[") and not stack.frames[-1].endswith(_KERNEL):
            files[stack.frames[-1][1:-1]] += stack.samples
    share = min(sum(files.values()) / lead.count, 1.0)
    if share >= UNNAMED_SHARE and not any(_PYTHON in stack.text for stack in stacks):
        file = files.most_common(1)[0][0]
        cure = (
            "it was compiled at run time or has no symbols"
            if file == "unknown"
            else f"install the debug symbols of {words.clean(file, 40)}"
        )
        text = f"{words.percent(share)} of the CPU time of {lead.text} is in functions without names: {cure}"
        yield Finding(level=Level.INFO, text=words.clean(text, TEXT_CHARS), weight=0.25)


def _kernel(stacks: Sequence[Stack], cores: float) -> Iterator[Finding]:
    """That a host is busy inside of its kernel."""
    inside: Counter[str] = Counter()
    for stack in stacks:
        if stack.frames[-1].endswith(_KERNEL):
            inside[stack.frames[-1]] += stack.samples
    share = sum(inside.values()) / (sum(stack.samples for stack in stacks) or 1)
    if cores >= PROFILED_CORES and share >= KERNEL_SHARE:
        text = f"{words.percent(share)} of all CPU time is spent in the kernel, most of it in {_spoken(inside.most_common(1)[0][0])}"
        yield Finding(level=Level.INFO, text=words.clean(text, TEXT_CHARS), weight=0.3)


def _bare(frame: str) -> str:
    match = _FRAME.match(frame)
    return match[1] if match else frame.removesuffix(_KERNEL)


def _spoken(frame: str) -> str:
    """A frame as people call it."""
    if frame.endswith(_KERNEL):
        function = words.clean(frame.removesuffix(_KERNEL), FUNCTION_CHARS)
        return "the kernel" if function in {"", "[kernel]"} else f"the kernel's {function}"
    if frame == "[unknown]":
        return "code without names"
    if frame.startswith("[") and frame.endswith("]"):
        return words.clean(frame[1:-1], FUNCTION_CHARS) or "?"
    return words.clean(frame, FUNCTION_CHARS) or "?"


def _next(lead: Lead, stacks: Sequence[Stack] = ()) -> tuple[Suggestion, ...]:
    """What tells more: of Python, whose functions are data of its interpreter, what reads that."""
    interpreted = any(_PYTHON in stack.text for stack in stacks) or lead.name.startswith("python")
    own = ("python-profile",) if interpreted else ()
    return onward.explaining(lead.name, lead.pid, *own, "snapshot")

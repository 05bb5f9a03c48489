"""What work on a host waits for: processors, memory, disks; and processes that hang or are not cleared away."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from bot.insights import Reading, Section, sections, words
from bot.model import Finding, Level

# Pressure: the share of the last 10 seconds in which some (or all: "full") work stood still for a resource.
# From, level, weight. CPU pressure alone is a busy machine: high on many that are well.
PRESSURES: tuple[tuple[str, str, float, Level, float, str], ...] = (
    ("memory", "full", 30.0, Level.BAD, 0.85, "All work stands still for memory"),
    ("memory", "some", 20.0, Level.WARN, 0.6, "Work stands still for memory"),
    ("io", "full", 60.0, Level.BAD, 0.75, "All work stands still for disks"),
    ("io", "some", 50.0, Level.WARN, 0.5, "Work stands still for disks"),
    ("cpu", "some", 80.0, Level.INFO, 0.3, "Work waits for a processor"),
)
LOAD_A_CORE = 3.0  # runnable or blocked threads per core, over the last minute
BLOCKED_THREADS = 2  # in state D at every look, though they ran in between: work that stands still for a disk
KERNEL_THREADS = "2"  # the pid of kthreadd, their parent
ZOMBIES = 100.0  # of one parent; a few are always there for a moment

_PRESSURE = re.compile(r"^(cpu|memory|io) (some|full) avg10=(\d+\.\d+) ", re.MULTILINE)


def pressure(reading: Reading) -> Iterator[Finding]:
    """Say which resource work waits for, which threads hang in the kernel, who leaves zombies behind."""
    parts = sections(reading.text)
    bodies = {part.name: part.body for part in parts}
    yield from _pressures(bodies.get("pressure", ""))
    yield from _blocked([part for part in parts if part.name == "blocked"])
    yield from _zombies([row for part in parts if part.name == "zombies" for row in part.rows()])
    cores = words.number(bodies.get("cores", "").strip())
    load = words.number((bodies.get("load", "").split() or ["0"])[0])
    if cores and load / cores >= LOAD_A_CORE:
        text = f"Load is {load:.0f} on {words.counted(cores, 'core')}"
        yield Finding(level=Level.WARN, text=text, weight=0.25, evidence=words.evidence(bodies["load"]))


def _pressures(body: str) -> Iterator[Finding]:
    """One finding a resource, the worse of its two."""
    shares = {(resource, kind): (words.number(share), whole) for whole, resource, kind, share in _matches(body)}
    said = set()
    for resource, kind, least, level, weight, words_for_it in PRESSURES:
        share, line = shares.get((resource, kind), (0.0, ""))
        if share >= least and resource not in said:
            said.add(resource)
            text = f"{words_for_it} {words.percent(share / 100)} of the time"
            yield Finding(level=level, text=text, weight=weight, evidence=words.evidence(line))


def _matches(body: str) -> Iterator[tuple[str, str, str, str]]:
    for match in _PRESSURE.finditer(body):
        yield match[0], match[1], match[2], match[3]


def _blocked(looks: list[Section]) -> Iterator[Finding]:
    """Threads that were in state D at every look: several, or one of a program that did not run in between."""
    seen = [{row.get("tid", ""): row for row in look.rows()} for look in looks]
    if len(seen) < 2:
        return
    pairs = [(row, seen[0][tid]) for tid, row in seen[-1].items() if all(tid in look for look in seen)]
    still = [row for row, before in pairs if not _ran(row, before) and not _is_kernels(row)]
    stuck = [row for row, before in pairs if _ran(row, before) or not _is_kernels(row)]
    if not still and len(stuck) < BLOCKED_THREADS:
        return
    pids = Counter(row.get("pid", "?") for row in still or stuck)
    (pid, threads), *others = pids.most_common()
    lead = next(row for row in still or stuck if row.get("pid", "?") == pid)
    who = f"{words.clean(lead.get('process', '?'))} (pid {words.clean(pid)}, user {words.clean(lead.get('user', '?'))})"
    hangs = "hangs" if threads == 1 else f"hangs with {threads} threads"
    text = f"{who} {hangs} in the kernel (state D) for 2 s and more, in {words.clean(lead.get('in', '?'))}"
    if others:
        text += f"; so {'does' if len(others) == 1 else 'do'} {words.counted(len(others), 'other')}"
    lines = sorted(" ".join(row.values()) for row in still or stuck)
    weight = 0.65 if still else 0.55
    yield Finding(level=Level.WARN, text=text, weight=weight, evidence=words.evidence(*lines))


def _ran(now: Mapping[str, str], before: Mapping[str, str]) -> bool:
    """Whether a thread has run since an earlier look; where that cannot be seen, it may have."""
    return now.get("switches") != before.get("switches") or not now.get("switches", "").isdigit()


def _is_kernels(row: Mapping[str, str]) -> bool:
    """Whether a thread is the kernel's own; drivers rest in state D."""
    return KERNEL_THREADS in {row.get("parent"), row.get("pid")}


def _zombies(rows: list[dict[str, str]]) -> Iterator[Finding]:
    for row in rows:
        left = words.number(row.get("zombies"))
        if left >= ZOMBIES:
            who = f"{words.clean(row.get('process', '?'))} (pid {words.clean(row.get('pid', '?'))}, user {words.clean(row.get('user', '?'))})"
            text = f"{who} has left {words.counted(left, 'zombie')}: it does not wait for its children"
            yield Finding(level=Level.WARN, text=text, weight=0.45, evidence=words.evidence(" ".join(row.values())))

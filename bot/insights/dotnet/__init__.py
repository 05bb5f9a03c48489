"""What is wrong inside a .NET process: its threads seconds apart, its pool, exceptions and collections of garbage."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bot.insights import Reading, Section, sections, words
from bot.insights.choice import TEXT_CHARS, row_of, spoken, unchosen
from bot.insights.dotnet.counters import Counted, counted, memory_of, version_of
from bot.insights.dotnet.stacks import Look, Thread, Wait, looks_of
from bot.model import Finding, Level, Suggestion

QUEUE_THREADS = 3  # behind one lock, in both looks
WAITING_THREADS = 4  # at one place in both looks
WAITING_SHARE = 0.5  # of all threads that are in the program's code
BUSY_SHARE = 0.9  # of a core, used or waited for by one thread
USED_SHARE = 0.15  # of a core, really used
PAUSED_SHARE = 0.1  # of the time, for collecting garbage
PAUSED_BAD_SHARE = 0.3
THROWN_PER_S = 100.0
QUEUED = 3.0  # that wait for a thread of the pool at every look
STARVATIONS = 3  # of the pool without such a queue; on a busy host it gets a thread now and then
NAMED = 3  # places in a sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """One process over one look or more, and what was counted between."""

    process: str
    pid: str
    looks: Sequence[Look]
    counted: Counted

    @property
    def last(self) -> Sequence[Thread]:
        """The threads of the look that is nearest to now."""
        return list(self.looks[-1].threads.values()) if self.looks else []

    @property
    def seconds(self) -> float:
        """From the first look to the last."""
        return (self.looks[-1].at - self.looks[0].at).total_seconds() if self.looks else 0.0

    @property
    def span(self) -> str:
        """For how long something was so."""
        return f"for {words.duration(self.seconds)}" if self.seconds > 0 else "now"

    def is_still(self, thread: Thread) -> bool:
        """Whether it was at the same place in every look, waiting for the same, and did not run in between."""
        before = [look.threads.get(thread.id) for look in self.looks]
        if not all(each and each.place == thread.place and each.wait is thread.wait for each in before):
            return False
        return len({each.task.switches for each in before if each and each.task}) <= 1


def dotnet(reading: Reading) -> Iterator[Finding]:
    """Name deadlocks, locks, a starving pool, what most threads wait for, what is busy, thrown and collected."""
    parts = sections(reading.text)
    row = row_of(parts)
    process = spoken(row) if row else "The .NET process"
    yield from troubles(parts, process, "dotnet", reading.target)
    watch = Watch(process=process, pid=row.get("pid", ""), looks=looks_of(parts), counted=counted(parts))
    if not watch.looks and not watch.counted.seconds:
        return
    yield from _locks(watch)
    yield from _pool(watch)
    yield from _waiting(watch)
    yield from _busy(watch)
    yield from _collecting(watch)
    yield from _throwing(watch)
    yield _known(watch, parts)


def troubles(parts: Sequence[Section], process: str, recipe: str, target: str) -> Iterator[Finding]:
    """Why there is nothing, or not all, to be seen of *process*; *recipe* is what to type again where several match."""
    yield from unchosen(parts, recipe, target)
    told = set()  # at both looks it may be the same
    for part in parts:
        if part.name == "trouble" and part.body not in told:
            told.add(part.body)
            lines = part.body.strip().split("\n")
            level = Level.BAD if part.facts.get("kind") in {"stopped", "hung"} else Level.WARN
            said = process + lines[0].removeprefix("It") if lines[0].startswith("It ") else f"{process}: {lines[0]}"
            yield finding(level, said.removesuffix("."), 0.9, *lines)


def finding(
    level: Level, text: str, weight: float, *evidence: str, after: tuple[Suggestion, ...] = (), answer: bool = False
) -> Finding:
    """A finding whose sentence fits."""
    said = words.clean(text, TEXT_CHARS) or "Nothing can be said of the process"
    return Finding(level=level, text=said, weight=weight, evidence=words.evidence(*evidence), next=after, answer=answer)


def pid_of(pid: str) -> int | None:
    """Its number, where it is one."""
    return int(pid) if re.fullmatch(r"[1-9][0-9]{0,6}", pid) else None


def _deeper(watch: Watch) -> tuple[Suggestion, ...]:
    pid = pid_of(watch.pid)
    if pid is None:
        return ()
    given: dict[str, str | int] = {"pid": pid, "dump": "heap"}
    return (Suggestion(label=f"Dump of pid {pid}", recipe="dotnet-heap", parameters=given),)


def _lines(threads: Sequence[Thread]) -> list[str]:
    return [line for each in threads[:3] for line in each.lines]


def _place(thread: Thread) -> str:
    return thread.place.short if thread.place else "code of .NET"


def _places(threads: Sequence[Thread]) -> str:
    counts = Counter(map(_place, threads)).most_common(NAMED)
    return ", ".join(f"{words.count(count)} in {place}" if count > 1 else place for place, count in counts)


# --- locks ------------------------------------------------------------------------------------


def _locks(watch: Watch) -> Iterator[Finding]:
    """Threads that wait for locks in every look; a deadlock where nobody else could let them go."""
    if len(watch.looks) < 2:
        return
    still = [each for each in watch.last if each.wait is Wait.LOCK and each.place and watch.is_still(each)]
    others = [each for each in watch.last if each.place and each not in still and not each.is_main]
    places = {_place(each) for each in still}
    who = f"{words.count(len(still))} threads of {watch.process}"
    if len(places) > 1 and not others:
        text = (
            f"Probably a deadlock: {who} wait for locks that nobody lets go, {watch.span}: {' and '.join(_two(still))}"
        )
        yield finding(Level.BAD, text, 1.0, *_lines(still), after=_deeper(watch))
        return
    if len(still) < QUEUE_THREADS and len(places) < 2:
        return
    text = f"{who} wait for locks {watch.span}: {_places(still)}"
    past = _past(still, others)
    text += f"; thread {past.id} is past it, {past.wait.doing} in {_place(past)}" if past else ""
    evidence = [*_lines([past] if past else []), *_lines(still)]
    yield finding(Level.BAD, text, 0.8, *evidence, after=_deeper(watch))


def _two(threads: Sequence[Thread]) -> list[str]:
    counts = Counter(map(_place, threads)).most_common(NAMED)
    return [f"{words.count(count)} in {place}" if count > 1 else place for place, count in counts]


def _past(still: Sequence[Thread], others: Sequence[Thread]) -> Thread | None:
    """Who is inside of the method that the others wait in, and so has what they want."""
    wanted = Counter(each.place for each in still).most_common(1)[0][0]
    return next((each for each in others if wanted in each.frames), None)


# --- the pool ---------------------------------------------------------------------------------


def _pool(watch: Watch) -> Iterator[Finding]:
    """Work that no thread of the pool takes up."""
    queued = watch.counted.least("queue")
    if watch.counted.starvations < STARVATIONS and queued < QUEUED:
        return
    pooled = [each for each in watch.last if each.is_pooled]
    waiting = [each for each in pooled if each.wait is not Wait.RUNS]
    starves = watch.counted.starvations or (len(pooled) > 1 and len(waiting) > WAITING_SHARE * len(pooled))
    if not starves:
        return
    groups = _groups(waiting)
    doing = ""
    if groups:
        first = groups[0]
        many = f"all {len(pooled)}" if len(first) == len(pooled) else f"{len(first)} of {len(pooled)}"
        doing = f", {many} threads that it has at work wait {first[0].wait.value} in {_place(first[0])}"
    work = f"{words.counted(watch.counted.last('queue'), 'work item')} wait" if queued else "work waits"
    work = work.replace("item wait", "item waits")
    text = f"The thread pool of {watch.process} starves: {work}{doing}"
    if times := watch.counted.starvations:
        text += f"; it got {words.counted(times, 'more thread')} within {words.duration(watch.counted.seconds)}"
    yield finding(Level.BAD, text, 0.95, *_lines(groups[0] if groups else pooled), after=_deeper(watch))


def _groups(threads: Sequence[Thread]) -> list[list[Thread]]:
    """Threads that wait for the same at one place, the most first."""
    groups: dict[tuple[str, Wait], list[Thread]] = defaultdict(list)
    for each in threads:
        groups[_place(each), each.wait].append(each)
    return sorted(groups.values(), key=lambda group: -len(group))


def _waiting(watch: Watch) -> Iterator[Finding]:
    """What most threads in the program's code wait for, where it is neither locks nor the pool's own trouble."""
    if len(watch.looks) < 2 or watch.counted.starvations:
        return
    own = [each for each in watch.last if each.place and not each.is_main]
    kinds = {Wait.RESULT, Wait.ANSWER, Wait.CHILD, Wait.FILE}
    for group in _groups([each for each in own if each.wait in kinds and watch.is_still(each)])[:1]:
        if len(group) >= WAITING_THREADS and len(group) >= WAITING_SHARE * len(own):
            text = f"{words.count(len(group))} of {words.counted(len(own), 'thread')} of {watch.process} wait {group[0].wait.value} in {_place(group[0])}, {watch.span}"
            yield finding(Level.WARN, text, 0.7, *_lines(group), after=_deeper(watch))


# --- time -------------------------------------------------------------------------------------


def _busy(watch: Watch) -> Iterator[Finding]:
    """Threads that hardly ever rest."""
    if watch.seconds <= 0:
        return
    busy = []
    for each in watch.last:
        before = watch.looks[0].threads.get(each.id)
        if before and before.task and each.task and each.place:
            used = (each.task.ran_ms - before.task.ran_ms) / 1000 / watch.seconds
            wanted = (each.task.waited_ms - before.task.waited_ms) / 1000 / watch.seconds
            if used >= USED_SHARE and used + wanted >= BUSY_SHARE:
                busy.append((used, each))
    if not busy:
        return
    busy.sort(key=lambda each: -each[0])
    threads = [thread for _, thread in busy]
    who = f"Thread {threads[0].id}" if len(busy) == 1 else f"{words.count(len(busy))} threads"
    verb = "uses" if len(busy) == 1 else "use"
    short = "" if sum(share for share, _ in busy) >= BUSY_SHARE * len(busy) else ", all that it can get,"
    text = f"{who} of {watch.process} {verb} {words.percent(sum(share for share, _ in busy))} CPU{short} {watch.span}, in {', '.join(_outer(threads))}"
    pid = pid_of(watch.pid)
    after = (Suggestion(label="Functions with perf", recipe="profile", parameters={"pid": pid}),) if pid else ()
    yield finding(Level.WARN, text, 0.6, *_lines(threads), after=after)


def _outer(threads: Sequence[Thread]) -> list[str]:
    """Where they are: the innermost method, and who called it where that is another."""
    places = []
    for each in threads:
        own = [frame.short for frame in each.frames if not frame.is_framework]
        caller = next((name for name in own[1:] if name != own[0]), "")
        places.append(f"{own[0]}, called by {caller}" if caller else own[0])
    return [place for place, _ in Counter(places).most_common(NAMED)]


def _collecting(watch: Watch) -> Iterator[Finding]:
    """Time in which everything stands still for collecting garbage."""
    counts = watch.counted
    share = counts.stopped_share
    if share < PAUSED_SHARE:
        return
    level = Level.BAD if share >= PAUSED_BAD_SHARE else Level.WARN
    text = f"{watch.process} stands still {words.percent(min(share, 1.0))} of the time for collecting garbage"
    text += f" (the longest {counts.longest_s * 1000:.0f} ms)" if counts.longest_s else ""
    text += f"; its heap is {words.size(counts.heap_bytes)}" if counts.heap_bytes else ""
    lines = [
        f"{words.count(number)} × generation {generation}, {how}" for generation, how, number in counts.collections
    ]
    pid = pid_of(watch.pid)
    heap = (Suggestion(label="What fills its heap", recipe="dotnet-heap", parameters={"pid": pid}),) if pid else ()
    yield finding(level, text, 0.85, *lines, after=heap)


def _throwing(watch: Watch) -> Iterator[Finding]:
    """Exceptions by the second."""
    rate = watch.counted.exceptions_per_s
    if rate < THROWN_PER_S:
        return
    text = f"{watch.process} throws {words.counted(rate, 'exception')} a second"
    if watch.counted.thrown:
        number, name = watch.counted.thrown[0]
        share = number / max(sum(each for each, _ in watch.counted.thrown), 1.0)
        text += f", {words.percent(min(share, 1.0))} of them {words.clean(name.rpartition('.')[2] or name, 60)}"
    lines = [f"{words.count(number)} × {name}" for number, name in watch.counted.thrown]
    yield finding(Level.WARN, text, 0.55, *lines)


def _known(watch: Watch, parts: Sequence[Section]) -> Finding:
    """What it is, whatever is wrong with it."""
    version = version_of(parts)
    text = f"{watch.process}, .NET {version or 'of a version that is not known'}"
    text += f": {words.size(memory_of(parts))} of memory" if memory_of(parts) else ":"
    counts = watch.counted
    if counts.heap_bytes:
        text += f", {words.size(counts.heap_bytes)} of it heap"
    if watch.looks:
        own = [each for each in watch.last if each.place]
        text += f"; {words.counted(len(own), 'thread')} of {len(watch.last)} in its code"
    if counts.seconds:
        text += f"; pool of {words.counted(counts.last('threads'), 'thread')}, {words.count(counts.last('queue'))} waiting; {words.counted(counts.exceptions_per_s, 'exception')} a second"
    waits = [
        f"{words.count(len(group))} wait {group[0].wait.value} in {_place(group[0])}"
        for group in _groups([each for each in watch.last if each.wait is not Wait.RUNS and each.place])
    ]
    return finding(Level.INFO, text, 0.2, *waits)

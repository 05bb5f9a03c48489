"""What the threads of a Python process wait for, and who holds its GIL: all their stacks, seconds apart."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bot.insights import Reading, sections, words
from bot.insights.choice import row_of, spoken
from bot.insights.pyprocess import finding, is_stopped, unread
from bot.insights.pystacks import Frame, Look, Thread, Wait, looks_of
from bot.model import Finding, Level

HANDED_ON_THREADS = 3  # and
HANDED_ON_SHARE = 0.25  # of all threads wait at one line in every dump: a lock that is passed on too slowly
ANSWER_THREADS = 4  # all threads of a family, none of them free, wait for the same answer
BUSY_CORES = 0.9  # that a process uses or would use: one thread of Python can use one
USED_CORES = 0.15  # that it uses at least; with less it is not what keeps the host busy
GROUPS = 10  # of threads that wait for one thing, the largest

_NUMBERED = re.compile(r"[-_ #]*\d[\d_-]*$")
_TARGET = re.compile(r"^Thread-\d+ \((.+)\)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """One process over some looks that each have a dump."""

    process: str
    looks: Sequence[Look]

    @property
    def last(self) -> Look:
        """The look that is nearest to now."""
        return self.looks[-1]

    @property
    def seconds(self) -> float:
        """From the first look to the last."""
        first, last = (
            look.at.replace(tzinfo=None) for look in (self.looks[0], self.last)
        )  # a cut line may lack the zone
        return (last - first).total_seconds()

    @property
    def span(self) -> str:
        """In how much of it something was so."""
        number = len(self.looks)
        return f"in {'both' if number == 2 else f'all {number}'} dumps over {words.duration(self.seconds)}"

    def is_still(self, thread: Thread) -> bool:
        """Whether it stood at the same line in every dump and did not run in between."""
        before = [look.threads.get(thread.id) for look in self.looks]
        if len(before) < 2 or not all(
            each and each.wait is thread.wait and each.place == thread.place for each in before
        ):
            return False
        switches = {each.task.switches if each and each.task else None for each in before}
        return len(switches) == 1

    def who(self, threads: Sequence[Thread]) -> str:
        """Threads as the subject of a sentence: "All 12 worker threads of orders-api (pid 812)"."""
        if len(threads) == 1:
            return f"{threads[0].name} of {self.process}"
        families = {_family(each) for each in threads}
        if len(families) > 1:
            return f"{len(threads)} of {len(self.last.threads)} threads of {self.process}"
        (family,) = families
        number = sum(_family(each) == family for each in self.last.threads.values())
        everyone = "Both" if number == 2 else f"All {number}"
        many = everyone if number == len(threads) else f"{len(threads)} of {number}"
        return f"{many} {family} threads of {self.process}"


def _family(thread: Thread) -> str:
    """What threads of one pool are called: "worker-3" and "Thread-3 (worker)" are of "worker"."""
    target = _TARGET.match(thread.name)
    return target[1] if target else _NUMBERED.sub("", thread.name) or thread.name


def threads(reading: Reading) -> Iterator[Finding]:
    """Name the lock, pool or peer that threads wait for, an event loop that stands still, who holds the GIL."""
    parts = sections(reading.text)
    row = row_of(parts)
    yield from unread(parts, "python-threads", reading.target)
    every = looks_of(parts, row.get("pid", ""))
    if is_stopped(row) or not every:
        return
    process = spoken(row)
    yield from _hanging(Watch(process=process, looks=every))
    looks = [look for look in every if look.threads]
    if not looks:
        yield from _kernel(Watch(process=process, looks=every))
        return
    watch = Watch(process=process, looks=looks)
    yield from _locks(watch)
    yield from _loops(watch)
    yield from _answers(watch)
    yield from _busy(watch)


def _groups(watch: Watch, *kinds: Wait) -> list[list[Thread]]:
    """Threads of the last look that wait for the same thing, the most first."""
    waiting = [each for each in watch.last.threads.values() if each.wait in kinds and each.place]
    shared = Counter(each.task.futex for each in waiting if each.task and each.task.futex != "-")
    groups: dict[object, list[Thread]] = defaultdict(list)
    for each in waiting:
        futex = each.task.futex if each.task else "-"
        groups[each.wait, futex if shared[futex] > 1 else each.place].append(each)
    return sorted(groups.values(), key=lambda group: -len(group))[:GROUPS]


# --- locks and pools --------------------------------------------------------------------------


def _locks(watch: Watch) -> Iterator[Finding]:
    """Locks and pools that threads wait for in every dump; several that nobody lets go are a deadlock."""
    stuck = []
    for group in _groups(watch, Wait.LOCK, Wait.FILE_LOCK, Wait.POOL):
        still = [each for each in group if watch.is_still(each)]
        if len(still) > 1 or (still and still[0].proven):
            stuck.append(still)
        elif group[0].proven and _is_handed_on(watch, group):
            text = f"{watch.who(group)} wait for {_what(group[0])}, other ones in each dump: it is passed on too slowly"
            yield finding(Level.WARN, text, 0.6, _evidence(group))
    holders = [_past(watch, group) for group in stuck]
    frozen = {each.id for group in stuck for each in group}
    if len(stuck) > 1 and all(not _may_let_go(each) or each.id in frozen for each in watch.last.threads.values()):
        where = ", ".join(f"{group[0].name} at {_where(group[0])}" for group in stuck[:3])
        text = f"Probably a deadlock in {watch.process}, {len(stuck)} locks that nobody lets go: {where}"
        yield finding(Level.BAD, text, 0.98, _evidence([group[0] for group in stuck]))
        return
    for group, holder in zip(stuck, holders, strict=True):
        waits = "waits" if len(group) == 1 else "wait"
        text = f"{watch.who(group)} {waits} for {_what(group[0])} {watch.span}"
        if holder:
            text += f"; {holder.name} is past it, {_doing(holder)}"
        bad = len(group) > 1 and group[0].proven
        share = len(group) / len(watch.last.threads)
        lines = _evidence([group[0], *([holder] if holder else []), *group[1:]])
        yield finding(Level.BAD if bad else Level.WARN, text, 0.7 + 0.25 * share, lines)


def _is_handed_on(watch: Watch, group: Sequence[Thread]) -> bool:
    counts = [
        sum(each.wait is group[0].wait and each.place == group[0].place for each in look.threads.values())
        for look in watch.looks
    ]
    return len(counts) > 1 and min(counts) >= max(HANDED_ON_THREADS, HANDED_ON_SHARE * len(watch.last.threads))


def _what(thread: Thread) -> str:
    """What it waits for and where: "a lock at app.py:42"."""
    return f"{thread.wait.value} at {_where(thread)}"


def _where(thread: Thread) -> str:
    place = thread.place
    if place is None:
        return "?"
    return (
        f"{place.at} ({thread.code})"
        if thread.code and place == thread.frames[0]
        else f"{place.at} in {words.clean(place.short, 30)}"
    )


def _past(watch: Watch, group: Sequence[Thread]) -> Thread | None:
    """Who is in the same function behind the line that the others wait at, and so has what they want."""
    place, waiting = group[0].place, {each.id for each in group}
    if place is None:
        return None
    for each in watch.last.threads.values():
        if each.id not in waiting and any(
            (frame.file, frame.function) == (place.file, place.function) and frame.line > place.line
            for frame in each.frames
        ):
            return each
    return None


def _doing(thread: Thread) -> str:
    place = thread.place
    where = f" in {place.text}" if place else ""
    return ("running" if thread.wait in {Wait.RUNS, Wait.UNKNOWN} else f"waiting for {thread.wait.value}") + where


def _may_let_go(thread: Thread) -> bool:
    """Whether it may be inside of something that a lock guards: it is not, where it waits for work or sleeps in the main program."""
    place = thread.place
    return thread.wait is not Wait.PARKED and place is not None and place.short != "<module>"


def _evidence(threads: Sequence[Thread]) -> list[str]:
    """The first threads with their inner frames."""
    return [line for each in threads[:3] for line in each.lines[:4]]


# --- event loops, peers -----------------------------------------------------------------------


def _loops(watch: Watch) -> Iterator[Finding]:
    """Event loops that stand still because something in them waits."""
    for each in watch.last.threads.values():
        waits = each.wait not in {Wait.RUNS, Wait.LOCK, Wait.FILE_LOCK, Wait.POOL}
        if each.frames and each.runs_loop and waits and watch.is_still(each) and each.place:
            text = (
                f"The event loop of {watch.process} stands still: {each.name} waits in {each.place.text}, {watch.span}"
            )
            yield finding(Level.BAD, text, 0.92, _evidence([each]))


def _answers(watch: Watch) -> Iterator[Finding]:
    """Pools whose every thread waits for an answer or a result at one place."""
    for group in _groups(watch, Wait.ANSWER, Wait.RESULT):
        still = [each for each in group if watch.is_still(each)]
        family = {_family(each) for each in still}
        whole = sum(_family(each) in family for each in watch.last.threads.values())
        if len(still) >= ANSWER_THREADS and len(family) == 1 and len(still) == whole:
            text = f"{watch.who(still)} wait for {_what(still[0])} {watch.span}: none is free"
            yield finding(Level.BAD, text, 0.75, _evidence(still))


# --- the GIL ----------------------------------------------------------------------------------


def _busy(watch: Watch) -> Iterator[Finding]:
    """Who holds the GIL, where the process has no more of it to give."""
    first, last = watch.looks[0].tasks, watch.last.tasks
    both = [(first[tid], task) for tid, task in last.items() if tid in first]
    ran_s, waited_s = (
        sum(getattr(b, name) - getattr(a, name) for a, b in both) / 1000 for name in ("ran_ms", "waited_ms")
    )
    # On a busy host a thread that never rests gets less than a core: what it waited for one counts.
    seconds = watch.seconds
    if seconds <= 0 or ran_s <= USED_CORES * seconds or ran_s + waited_s < BUSY_CORES * seconds:
        return
    holders = [next((each for each in look.threads.values() if each.has_gil), None) for look in watch.looks]
    stacks = [each for each in holders if each]
    if len(stacks) < 2:
        return
    is_one = len({each.id for each in stacks}) == 1
    who = (
        f"{stacks[-1].name} of {watch.process} holds" if is_one else f"Threads of {watch.process} take turns at holding"
    )
    place = _common(stacks)
    where = f", in {place.text}" if place else ""
    dumps = f"all {len(holders)}" if len(stacks) == len(holders) else f"{len(stacks)} of {len(holders)}"
    text = f"{who} the GIL in {dumps} dumps{where}; it uses {ran_s / seconds * 100:.0f} % CPU"
    if wanting := _wanting(watch.last):
        text += f", {words.counted(wanting, 'other thread')} {'waits' if wanting == 1 else 'wait'} for the GIL"
    yield finding(Level.WARN, text, 0.65, _evidence(stacks[-1:]))


def _wanting(look: Look) -> int:
    """How many threads stand in the middle of Python code at a futex that is no lock of theirs: at the GIL."""
    return sum(
        each.wait is Wait.UNKNOWN and each.task is not None and each.task.waits_in.startswith("futex")
        for each in look.threads.values()
    )


def _common(stacks: Sequence[Thread]) -> Frame | None:
    """The innermost function of the application that most stacks are in: some are torn, as the process was not paused."""
    seen = Counter(key for each in stacks for key in {(frame.file, frame.function) for frame in each.frames})
    fullest = max(reversed(stacks), key=lambda each: len(each.frames))
    inside = [
        frame for frame in fullest.frames if seen[frame.file, frame.function] * 2 > len(stacks) and not frame.is_part
    ]
    return next((frame for frame in inside if not frame.is_library), next(iter(inside), None))


# --- without Python's stacks ------------------------------------------------------------------


def _hanging(watch: Watch) -> Iterator[Finding]:
    """Threads in state D at every look."""
    sets = [{tid for tid, task in look.tasks.items() if task.state == "D"} for look in watch.looks]
    hung = sorted(set.intersection(*sets)) if len(sets) > 1 else []
    if hung:
        where = Counter(watch.last.tasks[tid].waits_in for tid in hung).most_common(1)[0][0]
        hang = "hangs" if len(hung) == 1 else "hang"
        text = f"{words.counted(len(hung), 'thread')} of {watch.process} {hang} in the kernel (state D), in {words.clean(where)}"
        yield finding(Level.WARN, text, 0.6)


def _kernel(watch: Watch) -> Iterator[Finding]:
    """What threads did not leave, as the kernel names it: all there is where stacks cannot be read."""
    first, last = watch.looks[0].tasks, watch.last.tasks
    still = [task for tid, task in last.items() if tid in first and first[tid].switches == task.switches]
    if len(watch.looks) > 1 and still:
        places = Counter(_asleep(task.waits_in) for task in still)
        named = ", ".join(f"{number} {place}" for place, number in places.most_common(3))
        text = f"{len(still)} of {len(last)} threads of {watch.process} did not run for {words.duration(watch.seconds)}: {named}"
        yield finding(Level.INFO, text, 0.3)


def _asleep(waits_in: str) -> str:
    if waits_in.startswith("futex"):
        return "at a lock, a queue or the GIL (futex)"
    return "asleep" if waits_in == "-" else f"in {words.clean(waits_in)}"

"""What is wrong inside a JVM, from thread dumps a few seconds apart."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from bot.insights import Reading, sections, words
from bot.insights.choice import TEXT_CHARS, row_of, spoken
from bot.insights.java.dump import Key, Thread
from bot.insights.java.process import troubles
from bot.insights.java.waits import Place, Wait, is_task
from bot.insights.java.watch import Look, Share, Watch, pool_of, watch_of
from bot.model import Finding, Level

POOL_THREADS = 3  # fewer threads are no pool
WAITING_SHARE = 0.8  # of a pool, in every dump: what comes next finds hardly anybody
LEADING_SHARE = 0.5  # of a pool in one place, for that to be why
BRISK_SHARE = 0.02  # of a core for each thread; those that do so much between their waits are not held up
QUEUE_THREADS = 3  # behind a lock that its owner does not give away
HOT_THREADS = 5  # behind a lock that goes from hand to hand
RUNAWAY_SHARE = 0.8  # of a core, used or waited for: such a thread hardly ever rests
NOTABLE_SHARE = 0.2  # of a core, really used
COLLECTING_SHARE = 0.5  # of a core, by all threads of the garbage collector

_COLLECTOR = re.compile(
    r"GC |G1 |Gang worker|ParGC|CMS |Concurrent Mark-Sweep|[XZ](?:Worker|Director|Driver)|Shenandoah"
)
_COMPILER = re.compile(r"C[12] CompilerThread|JVMCI|Sweeper thread")

# A finding, and the threads that it explains: that these wait is not said again.
Verdict = tuple[Finding, frozenset[Key]]
Judge = Callable[[Watch, frozenset[Key]], Iterator[Verdict]]


def threads(reading: Reading) -> Iterator[Finding]:
    """Name deadlocks, locks and pools that hold threads up, threads that stand still, and those that never rest."""
    parts = sections(reading.text)
    row = row_of(parts)
    process = spoken(row) if row else "The JVM"
    yield from troubles(parts, process, "java-threads", reading.target)
    watch = watch_of(parts, process)
    if watch is None:
        return
    explained: frozenset[Key] = frozenset()
    for judge in _JUDGES:
        for finding, keys in judge(watch, explained):
            explained |= keys
            yield finding


def _finding(level: Level, text: str, weight: float, *evidence: str) -> Finding:
    return Finding(level=level, text=words.clean(text, TEXT_CHARS), weight=weight, evidence=words.evidence(*evidence))


def _name(thread: Thread) -> str:
    return words.clean(thread.name) or "a thread without a name"


def _keys(threads_: Sequence[Thread]) -> frozenset[Key]:
    return frozenset(thread.key for thread in threads_)


# --- locks ------------------------------------------------------------------------------------


def _deadlocks(watch: Watch, _explained: frozenset[Key]) -> Iterator[Verdict]:
    look = next((look for look in reversed(watch.looks) if look.dump.deadlocks), None)
    if look is None:
        return
    ring, *others = look.dump.deadlocks
    names = {waiter.name for each in look.dump.deadlocks for waiter in each}
    within = [thread for thread in look.dump.threads if thread.name in names]
    behind = [w for lock in look.locks if lock.owner in within for w in lock.waiters if w not in within]
    first = words.clean(ring[0].name), words.clean(ring[0].holder)
    if len(ring) == 2:
        who = f"{first[0]} and {first[1]} wait for each other's locks"
    else:
        who = f"{first[0]} waits for {first[1]}, and so on, a ring of {len(ring)} threads"
    frame = next((thread.application for thread in within if thread.name == ring[0].name), None)
    what = words.clean(", ".join(dict.fromkeys(waiter.wants.rpartition(".")[2] for waiter in ring)))
    where = f"{what} in {frame.text}" if frame else what
    more = f"; {words.counted(len(behind), 'more thread')} behind them" if behind else ""
    more += f"; {words.counted(len(others), 'more deadlock')}" if others else ""
    evidence = [f"{waiter.name} waits for a {waiter.wants} that {waiter.holder} holds" for waiter in ring]
    evidence += [line for thread in within for line in thread.evidence[:3]]
    text = f"Deadlock in {watch.process}: {who} ({where}){more}"
    yield _finding(Level.BAD, text, 1.0, *evidence), _keys([*within, *behind])


def _queues(watch: Watch, explained: frozenset[Key]) -> Iterator[Verdict]:
    """Locks that many threads wait for in every dump."""
    for lock in watch.last.locks:
        if len(lock.waiters) < QUEUE_THREADS or explained & _keys(lock.waiters):
            continue
        # A collector moves objects, so a lock has no address that lasts: its class must do.
        seen = [next((each for each in look.locks if each.of == lock.of), None) for look in watch.looks]
        queues = [each for each in seen if each and len(each.waiters) >= QUEUE_THREADS]
        owners = {each.owner.key: each.owner for each in queues if each.owner}
        waiting = frozenset.intersection(*(_keys(each.waiters) for each in queues))
        held = len(owners) <= 1 and sum(not watch.moves(key) for key in waiting) >= QUEUE_THREADS
        if len(queues) < len(watch.looks) or not (held or len(lock.waiters) >= HOT_THREADS):
            continue
        owner = next(iter(owners.values())) if len(owners) == 1 else None
        text = f"{_crowd(watch.last, lock.waiters)} in {watch.process} wait for a lock ({lock.of}) {_holder(watch, owner, held=held)}"
        evidence = (*(owner.evidence if owner else ()), *lock.waiters[0].evidence)
        level = Level.BAD if held else Level.WARN
        yield (
            _finding(level, text, 0.9 if held else 0.7, *evidence),
            _keys([*lock.waiters, *([owner] if owner else [])]),
        )


def _holder(watch: Watch, owner: Thread | None, *, held: bool) -> str:
    if owner:
        does = watch.does(owner)
        return f"that {_name(owner)} holds" + (f" while it {does}" if does else "")
    if not held:
        return "that goes from hand to hand"
    shown = any(look.dump.shows_owners for look in watch.looks)
    return "whose owner is not in the dumps" if shown else "whose owner locks=yes would show"


def _crowd(look: Look, threads_: Sequence[Thread]) -> str:
    """So many threads, of one pool where they are: "All 8 threads of pool orders-worker"."""
    pool = pool_of(threads_[0].name)
    members = look.pools.get(pool, ())
    if len(members) < POOL_THREADS or not _keys(threads_) <= _keys(members):
        return words.counted(len(threads_), "thread")
    some = f"{len(threads_)} of {len(members)}" if len(threads_) < len(members) else f"All {len(members)}"
    return f"{some} threads of pool {words.clean(pool)}"


# --- pools ------------------------------------------------------------------------------------


def _pools(watch: Watch, explained: frozenset[Key]) -> Iterator[Verdict]:
    """Pools whose threads nearly all wait in every dump, most of them in one place."""
    for pool, members in watch.last.pools.items():
        counts = [_places(look, pool) for look in watch.looks]
        if len(members) < POOL_THREADS or not counts[-1] or explained & _keys(members):
            continue
        place, leading = counts[-1].most_common(1)[0]
        if place.wait is Wait.LOCK or not all(_is_used_up(look, pool, place) for look in watch.looks):
            continue
        there = [thread for thread in members if watch.last.places[thread.key] == place]
        shares = [watch.shares[thread.key].used for thread in there if thread.key in watch.shares]
        if shares and sum(shares) / len(shares) >= BRISK_SHARE:
            continue
        text = f"{_crowd(watch.last, there)} in {watch.process} wait for {watch.waited_for(place, leading)}"
        if others := [(other, n) for other, n in counts[-1].most_common() if other != place]:
            other, n = others[0]
            text += f"; {words.counted(n, 'other')} for {watch.waited_for(other, n)}"
        is_all = counts[-1].total() == len(members)
        level = Level.BAD if is_all else Level.WARN
        peers = [f"{words.counted(n, 'connection')} to {peer}" for n, peer in watch.peers[:3] if place.is_remote]
        yield _finding(level, text, 0.7 + 0.15 * leading / len(members), *there[0].evidence, *peers), _keys(members)


def _places(look: Look, pool: str) -> Counter[Place]:
    found = (look.places[thread.key] for thread in look.pools.get(pool, ()))
    return Counter(place for place in found if place)


def _is_used_up(look: Look, pool: str, place: Place) -> bool:
    members, places = len(look.pools.get(pool, ())), _places(look, pool)
    return places.total() >= max(WAITING_SHARE * members, POOL_THREADS) and places[place] >= LEADING_SHARE * members


# --- single threads ---------------------------------------------------------------------------


def _still(watch: Watch, explained: frozenset[Key]) -> Iterator[Verdict]:
    """Tasks that have the same stack in all dumps and wait for somebody else."""
    if len(watch.looks) < 2:
        return
    groups: dict[Place, list[Thread]] = {}
    for thread in watch.last.dump.threads:
        place = watch.last.places[thread.key]
        if place and _matters(thread, place) and thread.key not in explained and not watch.moves(thread.key):
            groups.setdefault(place, []).append(thread)
    for place, standing in sorted(groups.items(), key=lambda group: -len(group[1])):
        first, n = standing[0], len(standing)
        who = _name(first) if n == 1 else f"{n} threads ({_name(first)}, …)"
        verb = "stands still" if n == 1 else "stand still"
        owner = next((lock.owner for lock in watch.last.locks if first in lock.waiters), None)
        holder = f", which {_name(owner)} holds" if owner else ""
        text = f"{who} in {watch.process} {verb} {watch.span}: waiting for {watch.waited_for(place, n)}{holder}"
        yield _finding(Level.WARN, text, min(0.3 + n / 100, 0.6), *first.evidence), _keys(standing)


def _matters(thread: Thread, place: Place) -> bool:
    """Whether to wait there for seconds is more than what a thread of its kind does all day."""
    if place.wait is Wait.TIME:
        return False
    return place.wait is Wait.LOCK or is_task(thread) or (place.is_remote and thread.name == "main")


def _runaways(watch: Watch, _explained: frozenset[Key]) -> Iterator[Verdict]:
    """Threads that hardly ever rest, and the garbage collector where it takes much."""
    collecting, busy = 0.0, []
    for thread in watch.last.dump.threads:
        share = watch.shares.get(thread.key, Share())
        if _COLLECTOR.match(thread.name) and not thread.frames:
            collecting += share.used
        elif share.wanted >= RUNAWAY_SHARE and share.used >= NOTABLE_SHARE and not _COMPILER.match(thread.name):
            busy.append((share, thread))
    if collecting >= COLLECTING_SHARE:
        text = f"The garbage collector of {watch.process} uses {collecting * 100:.0f} % of a core: the heap is nearly full, or fills fast"
        yield _finding(Level.WARN, text, 0.75), frozenset()
    if not busy:
        return
    busy.sort(key=lambda each: -each[0].used)
    used = f"{sum(share.used for share, _ in busy) * 100:.0f} % of a core"
    share, first = busy[0]
    where = f" in {first.application.text}" if first.application else ""
    if len(busy) > 1:
        text = f"{len(busy)} threads of {watch.process} never rest and use {used}, most of all {_name(first)}{where}"
    else:
        short = ", all that it can get," if share.used < RUNAWAY_SHARE else ""
        text = f"{_name(first)} in {watch.process} never rests and uses {used}{short}{where}"
    level = Level.BAD if _loops(watch, first) else Level.WARN
    evidence = [line for _, thread in busy[:3] for line in thread.evidence[:3]]
    yield _finding(level, text, 0.65, *evidence), _keys([thread for _, thread in busy])


def _loops(watch: Watch, thread: Thread) -> bool:
    """Whether every dump finds it at work in one method of the application."""
    seen = [look.by_key.get(thread.key) for look in watch.looks]
    methods = {each.application.name if each and each.application else "" for each in seen}
    return len(methods) == 1 and "" not in methods


_JUDGES: tuple[Judge, ...] = (_deadlocks, _queues, _pools, _still, _runaways)

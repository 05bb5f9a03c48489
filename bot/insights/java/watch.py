"""A JVM over some seconds: what its dumps say together."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bot.insights import Section, words
from bot.insights.java.dump import Dump, Key, Thread, dump_of
from bot.insights.java.waits import Place, is_lock, lock_name, place_of

STILL_SHARE = 0.002  # of a core; a thread that used more has moved between the dumps

_NUMBERED = re.compile(r"(.*\D|)\d+(\D*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A lock in one dump: who waits for it, and who owns it where that is printed."""

    of: str  # its class, as people say it
    waiters: tuple[Thread, ...]
    owner: Thread | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A dump, with what its stacks mean."""

    dump: Dump
    by_key: Mapping[Key, Thread]
    places: Mapping[Key, Place | None]
    locks: tuple[Lock, ...]  # the one with most waiters first
    pools: Mapping[str, tuple[Thread, ...]]  # threads that differ in a number only


@dataclass(frozen=True, slots=True)
class Share:
    """Of one core, over the whole watch: what a thread *used*, and what it *wanted* where processors were short."""

    used: float = 0.0
    wanted: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """All looks at one JVM, the last of them nearest to now."""

    process: str
    looks: tuple[Look, ...]
    shares: Mapping[Key, Share]
    peers: tuple[tuple[float, str], ...]  # connections that it opened, by the other end

    @property
    def last(self) -> Look:
        """The dump that is nearest to now."""
        return self.looks[-1]

    @property
    def span(self) -> str:
        """Over how much it was watched."""
        seconds = (self.last.dump.at - self.looks[0].dump.at).total_seconds()
        return (
            f"in all {len(self.looks)} dumps over {words.duration(seconds)}" if len(self.looks) > 1 else "in one dump"
        )

    def waited_for(self, place: Place, threads: int = 1) -> str:
        """What so many threads wait for in *place*, naming the peer where only one has as many connections."""
        able = [peer for sockets, peer in self.peers if sockets >= threads]
        return place.words(words.clean(able[0]) if len(able) == 1 else "")

    def does(self, thread: Thread) -> str:
        """What a thread is at, in a few words; "" where its stack does not tell."""
        if place := place_of(thread):
            return f"waits for {self.waited_for(place)}"
        return f"is in {thread.application.text}" if thread.application else ""

    def moves(self, key: Key) -> bool:
        """Whether a thread did anything between the dumps: its stack changed, or it used the processor."""
        seen = [look.by_key.get(key) for look in self.looks]
        stacks = {tuple(thread.frames) if thread else () for thread in seen}
        return len(stacks) > 1 or self.shares.get(key, Share()).used > STILL_SHARE


def watch_of(parts: Sequence[Section], process: str) -> Watch | None:
    """Read the dumps that are whole, or the first one where none is; None without any."""
    times = {part.facts.get("n"): _times(part) for part in parts if part.name == "cpu"}
    dumps = [dump_of(part, times.get(part.facts.get("n"), {})) for part in parts if part.name == "dump"]
    dumps = [dump for dump in dumps if dump.is_whole] or dumps[:1]
    if not dumps:
        return None
    rows = [row for part in parts if part.name == "peers" for row in part.rows()]
    return Watch(
        process=process,
        looks=tuple(map(_look, dumps)),
        shares=_shares(dumps[0], dumps[-1]),
        peers=tuple((words.number(row.get("sockets")), row.get("peer", "?")) for row in rows),
    )


def pool_of(name: str) -> str:
    """The name of a thread's family: "http-nio-8080-exec-7" is of "http-nio-8080-exec"; "" where it has no number."""
    match = _NUMBERED.fullmatch(name)
    if not match:
        return ""
    return f"{match[1]}#{match[2]}" if match[2] else match[1].rstrip(" -_.#:")


def _look(dump: Dump) -> Look:
    pools: dict[str, list[Thread]] = defaultdict(list)
    for thread in dump.threads:
        if thread.frames:
            pools[pool_of(thread.name)].append(thread)
    pools.pop("", None)
    return Look(
        dump=dump,
        by_key={thread.key: thread for thread in dump.threads},
        places={thread.key: place_of(thread) for thread in dump.threads},
        locks=tuple(_locks(dump)),
        pools={pool: tuple(threads) for pool, threads in pools.items()},
    )


def _locks(dump: Dump) -> Iterator[Lock]:
    waiters: dict[str, list[Thread]] = defaultdict(list)
    for thread in dump.threads:
        if is_lock(thread):
            waiters[thread.waits_for].append(thread)
    owners = {address: thread for thread in dump.threads for address in thread.holds if address in waiters}
    for address, waiting in sorted(waiters.items(), key=lambda item: -len(item[1])):
        yield Lock(of=lock_name(waiting[0]), waiters=tuple(waiting), owner=owners.get(address))


def _times(part: Section) -> dict[str, tuple[float, float]]:
    return {
        row.get("nid", ""): (words.number(row.get("cpu_ms")), words.number(row.get("waited_ms"))) for row in part.rows()
    }


def _shares(first: Dump, last: Dump) -> dict[Key, Share]:
    known = {thread.key: thread for thread in first.threads}
    shares = {}
    for thread in last.threads:
        was = known.get(thread.key)
        if was is None or was.cpu_ms is None or thread.cpu_ms is None:
            continue
        # The JVM's own clock says when it looked, where it prints one.
        seconds = (thread.elapsed_s or 0.0) - (was.elapsed_s or 0.0) or (last.at - first.at).total_seconds()
        if seconds > 0:
            used = max(thread.cpu_ms - was.cpu_ms, 0.0) / 1000 / seconds
            waited = max(thread.waited_ms - was.waited_ms, 0.0) / 1000 / seconds
            shares[thread.key] = Share(used, used + waited)
    return shares

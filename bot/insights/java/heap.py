"""What fills the heap of a JVM, how near it is to its limit, and what collecting garbage costs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bot.insights import Reading, Section, sections, words
from bot.insights.choice import TEXT_CHARS, row_of, spoken
from bot.insights.java.process import troubles
from bot.model import Finding, Level, Suggestion

COLLECTING_SHARE = 0.1  # of the time, in which nothing else runs
COLLECTING_BAD_SHARE = 0.3
FULL_SHARE = 0.85  # of the limit, by all classes and by what has grown old
NOTABLE_SHARE = 0.05  # of the heap, or of all objects, for a class of the application to be named
GROWTH_SHARE = 0.01  # more objects than in the first look
GROWTH = 1000
LOOKS = 3  # at the counters before anything else is asked of the JVM: a dump collects garbage itself

_PRIMITIVES = {
    "B": "byte", "C": "char", "D": "double", "F": "float", "I": "int", "J": "long", "S": "short", "Z": "boolean"
}  # fmt: skip
_PLATFORM = re.compile(r"\[|(?:java|javax|jdk|sun|com\.sun)\.|<")
_FULL = re.compile(r"full|MarkSweep|MSC|PSParallelCompact", re.IGNORECASE)
_COLLECTOR = re.compile(r"sun\.gc\.collector\.(\d)\.time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """All objects of one class."""

    name: str  # as people say it
    count: float
    size: float  # bytes of their own
    is_platform: bool
    more: float = 0.0  # objects than in the first look

    @property
    def text(self) -> str:
        """How many there are: "491,000 Order"."""
        return f"{words.count(self.count)} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heap:
    """What two looks say; bytes, and shares of the time between."""

    process: str
    total: float  # with garbage
    limit: float
    old_share: float  # of what the old generation may have
    kinds: tuple[Kind, ...]  # largest first
    objects: float
    seconds: float
    collecting: float
    full_collections: float
    stopped_s: float  # by one histogram

    @property
    def is_nearly_full(self) -> bool:
        """Whether old objects fill it; young ones may be garbage."""
        return bool(self.limit) and self.total / self.limit >= FULL_SHARE and self.old_share >= FULL_SHARE

    @property
    def size(self) -> str:
        """How much of how much: "58 MB of 64 MB"."""
        return words.size(self.total) + (f" of {words.size(self.limit)}" if self.limit else "")

    @property
    def filling(self) -> str:
        """What fills it: the application's own largest class, and the largest of all."""
        if not self.kinds or not self.total:
            return "nothing that is known"
        first = self.kinds[0]
        text = f"{first.text} ({words.size(first.size)}, {words.percent(min(first.size / self.total, 1.0))})"
        own = next((kind for kind in self.kinds if not kind.is_platform), None)
        if own and own != first and self._is_notable(own):
            text = f"{own.text} ({words.size(own.size)}) and {text}"
        leader = own if own and self._is_notable(own) else first
        if leader.more >= GROWTH and leader.more >= GROWTH_SHARE * leader.count:
            text += f", {words.count(leader.more)} more within {words.duration(self.seconds)}"
        return text

    def _is_notable(self, kind: Kind) -> bool:
        return kind.size >= NOTABLE_SHARE * self.total or kind.count >= NOTABLE_SHARE * max(self.objects, 1.0)


def heap(reading: Reading) -> Iterator[Finding]:
    """Name what fills the heap where it is nearly full or collecting garbage takes long; tell of it all the same where it is well."""
    parts = sections(reading.text)
    row = row_of(parts)
    process = spoken(row) if row else "The JVM"
    yield from troubles(parts, process, "java-heap", reading.target)
    for part in parts:
        if part.name == "undumped":
            yield _finding(Level.WARN, part.body.strip().removesuffix(".") or "No heap dump", 0.6)
        elif part.name == "dumped":
            yield _dumped(process, part, parts)
    if found := _heap(parts, process):
        judged = _judge(found, row.get("pid", ""), has_dump=any(part.name == "dumped" for part in parts))
        paused_s = found.stopped_s * LOOKS or None  # not every tool says so
        yield from (replace(one, paused_s=paused_s) for one in judged)


def _finding(level: Level, text: str, weight: float, *evidence: str, after: tuple[Suggestion, ...] = ()) -> Finding:
    said = words.clean(text, TEXT_CHARS)
    return Finding(level=level, text=said, weight=weight, evidence=words.evidence(*evidence), next=after)


def _judge(found: Heap, pid: str, *, has_dump: bool) -> Iterator[Finding]:
    evidence = [f"{kind.text}: {words.size(kind.size)}" for kind in found.kinds[:8]]
    if found.stopped_s:
        evidence.append(f"a histogram stopped it for {found.stopped_s:.2f} s")
    collecting = f"{words.percent(min(found.collecting, 1.0))} of its time collecting garbage"
    after = _after(pid, has_dump=has_dump)
    if found.collecting >= COLLECTING_SHARE:
        level = Level.BAD if found.collecting >= COLLECTING_BAD_SHARE else Level.WARN
        full = " is nearly full," if found.is_nearly_full else " has"
        text = f"{found.process} spends {collecting}: its heap{full} {found.size}, most of all {found.filling}"
        yield _finding(level, text, 0.9, *evidence, after=after)
    elif found.is_nearly_full:
        level = Level.BAD if found.full_collections else Level.WARN
        text = f"The heap of {found.process} is nearly full, {found.size}, most of all {found.filling}"
        yield _finding(level, text, 0.8, *evidence, after=after)
    else:
        text = f"{found.process} has {found.size} of heap in use, most of all {found.filling}"
        text += f"; it spends {collecting}" if found.seconds else ""
        yield replace(_finding(Level.INFO, text, 0.3, *evidence), answer=True)


def _after(pid: str, *, has_dump: bool) -> tuple[Suggestion, ...]:
    if not re.fullmatch(r"[1-9][0-9]{0,6}", pid):
        return ()
    number = int(pid)
    threads = Suggestion(label=f"Threads of pid {pid}", recipe="java-threads", parameters={"pid": number})
    dump: dict[str, str | int] = {"pid": number, "dump": "live"}
    return (threads,) if has_dump else (threads, Suggestion(label=f"Heap dump of pid {pid}", parameters=dump))


# --- reading ----------------------------------------------------------------------------------


def _heap(parts: Sequence[Section], process: str) -> Heap | None:
    tables = [{row.get("class", ""): row for row in part.rows()} for part in parts if part.name == "histogram"]
    if not tables:
        return None
    first, last = tables[0], tables[-1]
    total = last.pop("Total", {})
    counters = [part for part in parts if part.name == "counters"][:LOOKS]
    before, after = (_counted(counters[0]), _counted(counters[-1])) if counters else ({}, {})
    seconds = (counters[-1].at - counters[0].at).total_seconds() if counters else 0.0
    flags = "\n".join(part.body for part in parts if part.name == "flags")
    limit = re.search(r"^-XX:MaxHeapSize=(\d{1,18})$", flags, re.MULTILINE)
    old_most = words.number(after.get("sun.gc.generation.1.space.0.maxCapacity"))
    old = words.number(after.get("sun.gc.generation.1.space.0.used"))
    looked = [_counted(part) for part in counters[:2]]
    return Heap(
        process=process,
        total=words.number(total.get("bytes")) or sum(words.number(row.get("bytes")) for row in last.values()),
        limit=float(limit[1]) if limit else 0.0,
        old_share=old / old_most if old_most > 0 else 0.0,
        kinds=tuple(_kind(name, row, first.get(name)) for name, row in last.items()),
        objects=words.number(total.get("instances")),
        seconds=max(seconds, 0.0),
        collecting=_collecting(before, after) / seconds if seconds > 0 else 0.0,
        full_collections=sum(
            _grew(before, after, key.replace(".name", ".invocations"))
            for key, name in after.items()
            if re.fullmatch(r"sun\.gc\.collector\.\d\.name", key) and _FULL.search(name) and "Shenandoah" not in name
        ),
        stopped_s=_stopped(*looked) if len(looked) == 2 else 0.0,
    )


def _kind(name: str, row: Mapping[str, str], before: Mapping[str, str] | None) -> Kind:
    count = words.number(row.get("instances"))
    return Kind(
        name=_spoken(name),
        count=count,
        size=words.number(row.get("bytes")),
        is_platform=bool(_PLATFORM.match(name)),
        more=count - words.number(before.get("instances")) if before else 0.0,
    )


def _spoken(name: str) -> str:
    """A class as people write it: "[[J" is "long[][]", "[Lshop.Order;" is "Order[]"."""
    inner = name.lstrip("[")
    depth = min(len(name) - len(inner), 5)
    if depth:
        inner = _PRIMITIVES.get(inner, inner.removeprefix("L").removesuffix(";"))
    return words.clean(inner.rpartition(".")[2] or inner, 60) + "[]" * depth or "objects"


def _counted(part: Section) -> dict[str, str]:
    pairs = (line.partition("=") for line in part.body.split("\n"))
    return {key: value.strip('"') for key, _, value in pairs if key}


def _grew(before: Mapping[str, str], after: Mapping[str, str], key: str) -> float:
    return max(words.number(after.get(key)) - words.number(before.get(key)), 0.0)


def _frequency(counted: Mapping[str, str]) -> float:
    return words.number(counted.get("sun.os.hrt.frequency")) or 1e9


def _collecting(before: Mapping[str, str], after: Mapping[str, str]) -> float:
    """Seconds in which collecting garbage stood in the way: some collectors count what runs beside the application too."""
    spent = sum(_grew(before, after, key) for key in after if _COLLECTOR.fullmatch(key))
    return min(spent, _grew(before, after, "sun.rt.safepointTime")) / _frequency(after)


def _stopped(before: Mapping[str, str], after: Mapping[str, str]) -> float:
    """Seconds that the JVM stood still for something else than garbage, as a histogram."""
    all_s = _grew(before, after, "sun.rt.safepointTime") / _frequency(after)
    return max(all_s - _collecting(before, after), 0.0)


def _dumped(process: str, part: Section, parts: Sequence[Section]) -> Finding:
    counters = [_counted(each) for each in parts if each.name == "counters"]
    took = words.number(part.facts.get("seconds"))
    still, paused_s = "", took
    if len(counters) > LOOKS:
        paused_s = min(
            _grew(counters[LOOKS - 1], counters[-1], "sun.rt.safepointTime") / _frequency(counters[-1]), took
        )
        still = f"; it stood still for {paused_s:.1f} s"
    size = words.size(words.number(part.facts.get("bytes")))
    what = "what is alive" if part.facts.get("of") == "live" else "all"
    said = f"{process} has dumped {size} of its heap ({what}) within {took:.1f} s{still}"
    return replace(_finding(Level.INFO, said, 0.4), paused_s=paused_s)

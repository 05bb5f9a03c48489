"""One process at one moment: each part of a snapshot is read by whoever knows its subject."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bot.insights import Insight, Reading, Section, choice, header, onward, sections, words
from bot.insights.disk import disk
from bot.insights.files import files
from bot.insights.processes import memory
from bot.insights.sockets import sockets
from bot.insights.traces import trace
from bot.model import Finding, Level

LIMIT_WARN = 0.80  # of what it may have
LIMIT_BAD = 0.95
LEAST = 20.0  # of anything that is counted; fewer are near no limit that matters
STUCK_THREADS = 5.0  # in the kernel, where nothing ends them
TEXT_CHARS = 200

_STATES = {"late": "took too long and was ended", "stuck": "hangs in the kernel"}
_HELD = {
    "T": "is stopped (state T): nothing in it runs until kill -CONT",
    "t": "is held by a tracer, such as gdb or strace",
}

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part as captures/parts.sh prints it, with the sections that are in it."""

    name: str
    state: str
    sections: Sequence[Section]

    @property
    def text(self) -> str:
        """As a script of its own would have printed it."""
        return "".join(header(each.name, each.at, **each.facts) + each.body for each in self.sections)

    def rows(self, name: str) -> list[dict[str, str]]:
        """The table in one of its sections."""
        return next((each.rows() for each in self.sections if each.name == name), [])


def snapshot(reading: Reading) -> Iterator[Finding]:
    """What each part has to say, what became of those that hang, and in one line what the process uses."""
    every = sections(reading.text)
    yield from choice.unchosen(every, "snapshot", reading.target)
    process, parts = choice.row_of(every), _parts(every)
    yield from _held(process, every)
    for part in parts:
        if own := _OWN.get(part.name):
            yield from own(part, process)
        elif reader := _READERS.get(part.name):
            yield from reader(replace(reading, text=part.text))
        yield from _failed(part)
    if process and parts:
        yield _summary(process, {part.name: part for part in parts})


def _parts(every: Sequence[Section]) -> list[Part]:
    """Every part with its sections; what stands before the first belongs to none."""
    heads = [index for index, each in enumerate(every) if each.name == "part"]
    return [
        Part(
            name=every[head].facts.get("name", ""),
            state=every[head].facts.get("state", ""),
            sections=every[head + 1 : end],
        )
        for head, end in zip(heads, [*heads[1:], len(every)], strict=False)  # no part, no pair
    ]


def _failed(part: Part) -> Iterator[Finding]:
    """A part that is not whole."""
    if part.state in _STATES:
        name = words.clean(part.name, 30)
        yield Finding(level=Level.WARN, text=f"The part {name} of the snapshot {_STATES[part.state]}", weight=0.15)
    for each in part.sections:
        if each.name == "absent" and each.body.strip():
            yield Finding(level=Level.INFO, text=f"System calls: {words.clean(each.body, 150)}", weight=0.1)


def _held(process: Row, every: Sequence[Section]) -> Iterator[Finding]:
    if how := _HELD.get(process.get("state", "")):
        pid = f" {words.clean(process.get('pid', '?'), 10)}" if how.endswith("-CONT") else ""
        yield Finding(level=Level.BAD, text=f"{choice.spoken(process)} {how}{pid}", weight=1.0)
    if process and any(each.name == "gone" for each in every):
        text = f"{choice.spoken(process)} ended while it was looked at"
        yield Finding(level=Level.WARN, text=text, weight=0.8)


def _limits(part: Part, process: Row) -> Iterator[Finding]:
    """What it has nearly used up. Open files have a reader of their own."""
    for row in part.rows("limits"):
        used, limit = words.number(row.get("used")), words.number(row.get("limit"))
        resource = words.clean(row.get("resource", "?"), 40)
        if limit > 0 and used >= LEAST and used / limit >= LIMIT_WARN and resource != "open files":
            level = Level.BAD if used / limit >= LIMIT_BAD else Level.WARN
            amount = _amounts(resource, used, limit)
            text = f"{choice.spoken(process)} is near its limit: {amount}"
            yield Finding(level=level, text=text, weight=min(used / limit, 1.0) * 0.85)


def _amounts(resource: str, used: float, limit: float) -> str:
    if resource.startswith("bytes of "):
        return f"{words.size(used)} of {words.size(limit)} of {resource.removeprefix('bytes of ')}"
    return f"{words.count(used)} of {words.count(limit)} {resource}"


def _threads(part: Part, process: Row) -> Iterator[Finding]:
    """Threads that hang in the kernel."""
    rows = [row for row in part.rows("threads") if row.get("state") == "D"]
    stuck = sum(words.number(row.get("threads")) for row in rows)
    if stuck >= STUCK_THREADS:
        place = max(rows, key=lambda row: words.number(row.get("threads"))).get("waits_in", "?")
        every = sum(words.number(row.get("threads")) for row in part.rows("threads"))
        text = f"{words.count(stuck)} of {words.counted(every, 'thread')} of {choice.spoken(process)} hang in the kernel (state D), most in {words.clean(place)}"
        yield Finding(
            level=Level.WARN, text=text, weight=0.6, evidence=words.evidence(*(" ".join(row.values()) for row in rows))
        )


def _summary(process: Row, parts: Mapping[str, Part]) -> Finding:
    """The answer where nothing is wrong."""

    def rows(part: str, section: str) -> list[dict[str, str]]:
        return parts[part].rows(section) if part in parts else []

    said = []
    for row in rows("usage", "usage"):
        said += [
            f"{words.clean(row.get('cpu_percent', '?'), 8)} % CPU",
            words.counted(words.number(row.get("threads")), "thread"),
        ]
    said.append(words.size(words.number(process.get("rss_kb")) * 1024))
    for row in rows("files", "processes"):
        said.append(
            f"{words.count(words.number(row.get('open')))} of {words.count(words.number(row.get('limit')))} files"
        )
    if sockets_ := rows("sockets", "groups"):
        said.append(words.counted(sum(words.number(row.get("sockets")) for row in sockets_), "connection"))
    age = words.duration(words.number(process.get("age_s")))
    text = f"{choice.spoken(process)}, {age} old: {', '.join(said)}"
    following = onward.explaining(process.get("app", ""), process.get("pid", ""), "profile")
    return Finding(level=Level.INFO, text=words.clean(text, TEXT_CHARS), weight=0.3, next=following, answer=True)


_OWN: Mapping[str, Callable[[Part, Row], Iterator[Finding]]] = {"limits": _limits, "threads": _threads}
_READERS: Mapping[str, Insight] = {"calls": trace, "disks": disk, "files": files, "memory": memory, "sockets": sockets}

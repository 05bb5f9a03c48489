"""What a Node.js process is at: its event loop, its heap, and the function that takes its time where a profile says so."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bot.insights import Reading, Section, sections, words
from bot.insights.choice import row_of, spoken, unchosen
from bot.model import Finding, Level, Suggestion

TEXT_CHARS = 200  # of a finding
BUSY_SHARE = 0.9  # of a core, used or waited for, by the main thread: nothing else gets its turn
STILL_SHARE = 0.02  # of a core; a thread that used more has moved
LEADING_SHARE = 0.2  # of the samples, for a function to be named
HELPERS_SHARE = 0.3  # of a core, by all other threads: collecting garbage, files, names, compression
HEAP_SHARE = 0.85  # of the limit
HEAP_FULL_SHARE = 0.95
FILES_SHARE = 0.8  # of the limit
NO_CODE = frozenset({"(idle)", "(program)", "(root)"})
COLLECTOR = "(garbage collector)"

# What the kernel calls it where a main thread waits and is not in its event loop.
_WAITS = (
    (re.compile(r"^(?:do_|kernel_)?wait(?:id|4)?$"), "a child process"),
    (re.compile(r"(?:anon_)?pipe_(?:read|write)"), "a pipe"),
    (re.compile(r"futex"), "another thread (Atomics.wait, or a lock)"),
    (re.compile(r"folio|io_schedule|wait_on_page|jbd2|rq_qos|nfs|rpc_"), "a disk or file server"),
    (re.compile(r"flock|fcntl|locks"), "a file's lock"),
    (re.compile(r"sk_wait|tcp_|unix_stream|inet_"), "a socket"),
    (re.compile(r"nanosleep"), "time to pass"),
)
_IN_LOOP = re.compile(r"ep_poll|epoll|io_uring|io_cqring")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """The main thread over some seconds. Shares are of one core."""

    used: float
    wanted: float  # beside what it used
    helpers: float
    seconds: float
    moves: bool
    waits: frozenset[str]  # what the kernel said of it in each look

    @property
    def is_busy(self) -> bool:
        """Whether it hardly ever rests."""
        return self.used + self.wanted >= BUSY_SHARE

    @property
    def outside(self) -> str:
        """What it waits for if it stood still all the time and not in its loop; "" else."""
        if self.moves or any(_IN_LOOP.search(each) or each in {"-", ""} for each in self.waits):
            return ""
        said = min(self.waits)
        return next((what for pattern, what in _WAITS if pattern.search(said)), f"the kernel ({words.clean(said)})")


def node(reading: Reading) -> Iterator[Finding]:
    """Name a blocked or busy event loop and its function, a heap near its limit, and files near theirs."""
    parts = sections(reading.text)
    yield from unchosen(parts, "node", reading.target)
    row = row_of(parts)
    if not row:
        return
    process, pid = spoken(row), row.get("pid", "")
    bodies = {part.facts.get("kind", part.name): part.body.strip() for part in parts if part.name == "unseen"}
    for kind in ("stopped", "gone"):
        if kind in bodies:
            text = process + bodies[kind].removeprefix("It")
            yield _finding(Level.BAD if kind == "stopped" else Level.WARN, text, 1.0, bodies[kind])
    report = next((part.body for part in parts if part.name == "report"), "")
    if loop := _loop(parts):
        yield from _turning(process, pid, loop, bodies, parts=parts)
        yield from _heap(process, loop, report, _profile(parts))
    yield from _files(process, parts)
    if "left" in bodies:
        yield _finding(Level.WARN, f"{process}: {bodies['left']}", 0.6)
    yield from _well(process, loop, report)


def _finding(level: Level, text: str, weight: float, *evidence: str, after: tuple[Suggestion, ...] = ()) -> Finding:
    lines = [line for each in evidence for line in each.split("\n")]
    said = words.clean(text, TEXT_CHARS) or "Nothing can be said of the process"
    return Finding(level=level, text=said, weight=weight, evidence=words.evidence(*lines), next=after)


def _profile(parts: Sequence[Section]) -> Section | None:
    return next((part for part in parts if part.name == "profile"), None)


# --- the event loop ---------------------------------------------------------------------------


def _loop(parts: Sequence[Section]) -> Loop | None:
    looks = [part for part in parts if part.name == "threads"]
    tables = [{row.get("tid", ""): row for row in part.rows()} for part in looks]
    main = looks[0].facts.get("pid", "") if looks else ""
    seen = [table[main] for table in tables if main in table]
    if len(looks) < 2 or len(seen) < len(looks):
        return None
    seconds = (looks[-1].at - looks[0].at).total_seconds()
    if seconds <= 0:
        return None

    def grew(tid: str, column: str) -> float:
        first, last = tables[0].get(tid), tables[-1].get(tid)
        return max(words.number(last.get(column)) - words.number(first.get(column)), 0.0) if first and last else 0.0

    used = grew(main, "ran_ms") / 1000 / seconds
    return Loop(
        used=used,
        wanted=grew(main, "waited_ms") / 1000 / seconds,
        helpers=sum(grew(tid, "ran_ms") for tid in tables[0] if tid != main) / 1000 / seconds,
        seconds=seconds,
        moves=used > STILL_SHARE or grew(main, "switches") > 0,
        waits=frozenset(row.get("wchan", "") for row in seen),
    )


def _turning(
    process: str,
    pid: str,
    loop: Loop,
    unseen: Mapping[str, str],
    *,
    parts: Sequence[Section],
) -> Iterator[Finding]:
    """Whether the event loop turns."""
    profile = _profile(parts)
    if loop.is_busy:
        where = _hottest(profile)
        short = ", all that it can get" if loop.used < BUSY_SHARE else ""
        text = f"The event loop of {process} hardly turns: its main thread uses {words.percent(min(loop.used, 1.0))} of a core{short}"
        if "silent" in unseen:
            text += f", and it did not take a signal for {_seconds(unseen['silent'])}"
        helpers = f"; its other threads {words.percent(loop.helpers)} more" if loop.helpers >= HELPERS_SHARE else ""
        rows = profile.body.split("\n")[1:4] if profile else []
        yield _finding(Level.BAD, text + where + helpers, 0.9, *rows, after=_deeper(pid, has_profile=bool(where)))
    elif "silent" in unseen or loop.outside:
        children = [row for part in parts if part.name == "children" for row in part.rows()]
        child = f"; it has started {words.clean(children[-1].get('command', ''), 50)}" if children else ""
        child += f" (pid {words.clean(children[-1].get('pid', ''), 10)})" if children else ""
        told = f" did not take a signal for {_seconds(unseen['silent'])}" if "silent" in unseen else ""
        waits = f" waits for {loop.outside}" if loop.outside else ""
        why = " and".join(each for each in (waits, told) if each)
        text = f"The event loop of {process} stands still: its main thread{why}{child}"
        yield _finding(
            Level.BAD, text, 0.9, *unseen.get("silent", "").split("\n"), after=_deeper(pid, has_profile=False)
        )


def _seconds(text: str) -> str:
    found = re.search(r"within (\d{1,3}) s", text)
    return f"{found[1]} s" if found else "seconds"


def _hottest(profile: Section | None) -> str:
    """Where the profile found it, for a sentence."""
    for row in profile.rows() if profile else []:
        share = words.number(row.get("hits")) / max(words.number(row.get("of")), 1.0)
        name = row.get("function", "")
        if name in NO_CODE or share < LEADING_SHARE:
            continue
        if name == COLLECTOR:
            return f", {words.percent(min(share, 1.0))} of it collecting garbage"
        by = f", called by {words.clean(row['caller'], 30)}" if row.get("caller", "-") not in {"-", "(root)"} else ""
        return (
            f", {words.percent(min(share, 1.0))} of it in {words.clean(name, 40)} ({_place(row.get('place', '-'))}){by}"
        )
    return ""


def _place(text: str) -> str:
    return words.clean(text if text.startswith("node:") else text.rpartition("/")[2], 40) or "?"


def _deeper(pid: str, *, has_profile: bool) -> tuple[Suggestion, ...]:
    if has_profile or not re.fullmatch(r"[1-9][0-9]{0,6}", pid):
        return ()
    opened: dict[str, str | int] = {"pid": int(pid), "inspector": "yes"}
    return (
        Suggestion(label="Which function: open its inspector", parameters=opened),
        Suggestion(label="Stacks with perf", recipe="profile", parameters={"pid": int(pid)}),
    )


# --- what it holds ----------------------------------------------------------------------------


def _heap(process: str, loop: Loop, report: str, profile: Section | None) -> Iterator[Finding]:
    used, most = _held(report)
    share = used / most if most else 0.0
    if share >= HEAP_SHARE:
        level = Level.BAD if share >= HEAP_FULL_SHARE or loop.is_busy else Level.WARN
        text = f"The heap of {process} is nearly full: {words.size(used)} of {words.size(most)} ({words.percent(min(share, 1.0))})"
        end = "; a full one ends the process"
        yield _finding(level, text + end, 0.95 if level is Level.BAD else 0.7, *_spaces(report))
    elif not most and (memory := _memory(profile)):
        text = f"The heap of {process} holds {words.size(memory.get('heapUsed', 0))}; its limit is in a report only"
        yield _finding(Level.INFO, text, 0.2)


def _held(report: str) -> tuple[float, float]:
    """Bytes in the heap, and their limit. What V8 gives up for is the old generation, where that has a limit of its own."""
    used, most = _of(report, "usedMemory"), _of(report, "memoryLimit")
    if old := re.search(r'"--max[-_]old[-_]space[-_]size=(\d{1,9})"', report):
        young = re.search(r'"new_space": ?\{[^}]*?"used": ?(\d{1,18})', report)
        return max(used - float(young[1] if young else 0), 0.0), float(old[1]) * 1024 * 1024
    return used, most


def _of(report: str, name: str) -> float:
    """The first number of that name, also in a report that was cut."""
    found = re.search(rf'"{name}": ?(\d{{1,18}})', report)
    return float(found[1]) if found else 0.0


def _spaces(report: str) -> list[str]:
    """The spaces of the heap that hold most."""
    spaces = re.findall(r'"(\w{1,40}_space)": ?\{[^}]*?"used": ?(\d{1,18})', report)
    largest = sorted(spaces, key=lambda space: -int(space[1]))[:3]
    return [f"{name}: {words.size(float(used))}" for name, used in largest]


def _memory(profile: Section | None) -> dict[str, float]:
    """What process.memoryUsage() said."""
    line = next((line for line in profile.body.split("\n") if line.startswith("-- {")), "") if profile else ""
    try:
        said = json.loads(line.removeprefix("-- ") or "{}")
    except (ValueError, RecursionError):  # cut
        return {}
    return {key: float(value) for key, value in said.items() if isinstance(value, int) and abs(value) < 2**63}


def _files(process: str, parts: Sequence[Section]) -> Iterator[Finding]:
    part = next((part for part in parts if part.name == "files"), None)
    most = words.number(part.facts.get("limit")) if part else 0.0
    rows = part.rows() if part else []
    held = sum(words.number(row.get("count")) for row in rows)
    if most and held / most >= FILES_SHARE:
        first = f", most of them {words.clean(rows[0].get('kind', '?'), 20)}s" if rows else ""
        text = f"{process} has {words.count(held)} of at most {words.count(most)} files open{first}"
        yield _finding(Level.BAD, text, 0.8, *(" ".join(row.values()) for row in rows))


def _well(process: str, loop: Loop | None, report: str) -> Iterator[Finding]:
    """What a report says of a process, whatever is wrong with it."""
    if not report:
        return
    version = re.search(r'"nodejsVersion": ?"(v[\d.]{1,20})', report)
    kinds = Counter(re.findall(r'"type": ?"(tcp|udp|pipe|tty|timer|process|fs_event|fs_poll|poll)"', report))
    handles = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(4))
    used, most = _held(report)
    text = f"{process}, node {version[1] if version else '?'}: heap {words.size(used)} of {words.size(most)}"
    text += f", main thread {words.percent(min(loop.used, 1.0))} of a core" if loop else ""
    yield _finding(Level.INFO, text + (f", handles: {handles}" if handles else ""), 0.2)

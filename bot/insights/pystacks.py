"""What py-spy prints, and what the kernel knows beside it: the threads of one Python process at one moment."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from bot.insights import Section, words

STACK_BYTES = 64 * 1024 * 1024  # a thread's handle lies above all that is on its stack, no further than this

_THREAD = re.compile(r'^Thread (\S+) \(([a-z+]+)\)(?:: "(.*)")?$')
_FRAME = re.compile(r"^ *(.+) \((.+?)(?::(\d+))?\)$")
_LIBRARY = re.compile(r"/lib(?:64)?/python[0-9.]*/|/(?:site|dist)-packages/|^<|\.zip/")


@dataclass(frozen=True, slots=True)
class Frame:
    """One call; *file* is a whole path where py-spy was asked for that."""

    function: str
    file: str
    line: int

    @property
    def short(self) -> str:
        """The function without the class it belongs to."""
        return self.function.rpartition(".")[2]

    @property
    def is_part(self) -> bool:
        """Whether it is a comprehension or a lambda, so part of the function that holds it."""
        return self.short.startswith("<") and self.short != "<module>"

    @property
    def is_library(self) -> bool:
        """Whether it belongs to Python or to a package, not to the application."""
        return bool(_LIBRARY.search(self.file))

    @property
    def at(self) -> str:
        """Where it is, as people write it: "app.py:42"."""
        return f"{words.clean(self.file.rpartition('/')[2], 30)}:{self.line}"

    @property
    def text(self) -> str:
        """The function with where it is: "charge (app.py:42)"."""
        return f"{words.clean(self.function.replace('.<locals>', ''), 36)} ({self.at})"


def frame_of(text: str) -> Frame | None:
    """A frame as py-spy writes it in a dump or in a folded stack."""
    match = _FRAME.match(text)
    return Frame(match[1], match[2], int(match[3][:9]) if match[3] else 0) if match else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A thread as the kernel has it; *stack* is the address its stack has come to, 0 where it runs."""

    state: str
    ran_ms: float
    waited_ms: float  # for a processor
    switches: float
    waits_in: str
    futex: str
    stack: int


class Wait(Enum):
    """What a thread does, as far as it can be told."""

    RUNS = "runs"
    LOCK = "a lock"
    FILE_LOCK = "a file lock"
    POOL = "a free connection of its pool"
    ANSWER = "an answer"
    RESULT = "a result of another thread"
    PARKED = "work"
    UNKNOWN = "something"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """A thread in one dump, its innermost frame first.

    *code* is the line of source that it stands at, "" where that could not be read; *proven* is False where
    a lock is only likely.
    """

    id: str
    name: str
    frames: tuple[Frame, ...]
    has_gil: bool
    is_active: bool
    task: Task | None
    wait: Wait = Wait.UNKNOWN
    proven: bool = True
    code: str = ""
    lines: tuple[str, ...] = ()

    @property
    def place(self) -> Frame | None:
        """Where the application is in it; the innermost frame where no frame is the application's."""
        return next((frame for frame in self.frames if not frame.is_library), next(iter(self.frames), None))

    @property
    def runs_loop(self) -> bool:
        """Whether an event loop of asyncio called what it does, and does not just wait for events."""
        called = any(each.short == "_run_once" and each.file.endswith("base_events.py") for each in self.frames)
        return called and self.frames[0].short != "select" and self.frames[0].short != "_run_once"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One dump with the kernel's table that was read right after it."""

    at: datetime
    threads: Mapping[str, Thread]
    tasks: Mapping[str, Task]


# --- reading ----------------------------------------------------------------------------------


def looks_of(parts: Sequence[Section], pid: str) -> list[Look]:
    """Every look in order; one without a dump has no threads."""
    source = {
        row.get("place", ""): row.get("text", "") for part in parts if part.name == "source" for row in part.rows()
    }
    found, dump = [], ""
    for part in parts:
        if part.name == "dump":
            dump = part.body
        elif part.name == "tasks":
            tasks = {row.get("tid", ""): _task(row) for row in part.rows()}
            threads = {each.id: each for each in _threads(dump, tasks, pid, source)}
            found.append(Look(at=part.at, threads=threads, tasks=tasks))
            dump = ""
    return found


def _task(row: Mapping[str, str]) -> Task:
    return Task(
        state=row.get("state", ""),
        ran_ms=words.number(row.get("ran_ms")),
        waited_ms=words.number(row.get("waited_ms")),
        switches=words.number(row.get("switches")),
        waits_in=row.get("wchan", "-"),
        futex=row.get("futex", "-"),
        stack=_address(row.get("stack", "")),
    )


def _address(text: str) -> int:
    return int(text, 16) if re.fullmatch("0[xX][0-9a-fA-F]{1,16}", text) else 0


def _threads(dump: str, tasks: Mapping[str, Task], pid: str, source: Mapping[str, str]) -> Iterator[Thread]:
    blocks: list[list[str]] = []
    for line in dump.split("\n"):
        if _THREAD.match(line):
            blocks.append([line])
        elif blocks and line.startswith("    "):
            blocks[-1].append(line)
    stacks = sorted((task.stack, tid) for tid, task in tasks.items() if task.stack)
    for lines in blocks:
        if match := _THREAD.match(lines[0]):
            status, name = match[2], match[3] or ""
            tid = pid if name == "MainThread" else match[1] if match[1] in tasks else _tid_of(match[1], stacks)
            task = tasks.get(tid)
            yield _told(
                Thread(
                    id=match[1],
                    name=words.clean(name, 30) or f"thread {words.clean(match[1], 20)}",
                    frames=tuple(frame for frame in map(frame_of, lines[1:]) if frame),
                    has_gil="gil" in status,
                    is_active=task.state == "R" if task else "active" in status,
                    task=task,
                    lines=tuple(lines),
                ),
                source,
            )


def _tid_of(thread: str, stacks: Sequence[tuple[int, str]]) -> str:
    """The kernel's number of a thread. Before Python 3.11 py-spy only has its handle, which lies above its stack."""
    handle = _address(thread)
    stack, tid = stacks[max(bisect_left(stacks, (handle, "")) - 1, 0)] if stacks else (0, "")
    return tid if 0 < handle - stack < STACK_BYTES else ""


# --- what a thread waits for ------------------------------------------------------------------

_NETWORK = re.compile(
    r"wait_woken|sk_wait_|skb_wait|unix_stream|poll_schedule_timeout|ep_poll|do_epoll_wait|do_sys_poll"
)
_FILE_LOCK = re.compile(r"flock|locks_lock|posix_lock")
_LOCKING = re.compile(r"\bwith\b|acquire|lock|mutex|sem", re.IGNORECASE)
_LOCK_FILES = ("threading.py", "logging/__init__.py", "multiprocessing/synchronize.py", "<frozen importlib._bootstrap>")
_LOCK_FUNCTIONS = {"acquire", "__enter__", "_acquireLock", "_acquire"}
_POOL_FUNCTIONS = {"_do_get", "getconn", "_get_conn", "get_connection", "get_conn", "_getconn"}
_PARKED = (
    "queue.py", "concurrent/futures/thread.py", "concurrent/futures/process.py", "selectors.py", "socketserver.py",
    "multiprocessing/connection.py", "multiprocessing/queues.py", "multiprocessing/pool.py", "threading.py", "sched.py",
    "subprocess.py",
)  # fmt: skip
INNER_FRAMES = 6  # what a thread waits for shows in these


def _told(thread: Thread, source: Mapping[str, str]) -> Thread:
    if not thread.frames:
        return replace(thread, wait=Wait.RUNS if thread.is_active else Wait.PARKED)
    inner = thread.frames[0]
    thread = replace(thread, code=words.clean(source.get(f"{inner.file}:{inner.line}", ""), 40))
    wait = _wait_of(thread, inner)
    return replace(thread, wait=wait, proven=wait is not Wait.LOCK or bool(thread.code) or _is_lock(inner))


def _wait_of(thread: Thread, inner: Frame) -> Wait:
    """What it waits for. A lock that is taken in C leaves no frame of its own."""
    callers = thread.frames[1:INNER_FRAMES]
    waits_in = thread.task.waits_in if thread.task else "-"
    if thread.has_gil or thread.is_active:
        return Wait.RUNS
    if _is_lock(inner) or (inner.short == "wait" and callers and _is_lock(callers[0])):
        return Wait.LOCK
    if inner.file.endswith(("threading.py", "queue.py")):
        if any(frame.short in _POOL_FUNCTIONS and "pool" in frame.file for frame in callers):
            return Wait.POOL
        if any(frame.file.endswith("concurrent/futures/_base.py") for frame in callers):
            return Wait.RESULT
    if inner.file.endswith(_PARKED) or inner.short == "accept" or (thread.place or inner).is_library:
        return Wait.PARKED
    if _FILE_LOCK.search(waits_in):
        return Wait.FILE_LOCK
    if inner.file.endswith(("socket.py", "ssl.py")) or _NETWORK.match(waits_in):
        return Wait.ANSWER
    locking = _LOCKING.search(thread.code)
    if (waits_in.startswith("futex") and (locking or not thread.code)) or (waits_in == "-" and locking):
        return Wait.LOCK
    return Wait.UNKNOWN


def _is_lock(frame: Frame) -> bool:
    return frame.short in _LOCK_FUNCTIONS and frame.file.endswith(_LOCK_FILES)

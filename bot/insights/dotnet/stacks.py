"""Stacks of a .NET process as `dotnet-stack report` writes them, and what each thread waits for by its innermost frames."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from functools import cached_property

from bot.insights import Section, words

THREADS = 5000  # that are read of one look
FRAMES = 100  # of one thread
METHOD_CHARS = 60

_HEADER = re.compile(r"Thread \(0x([0-9A-Fa-f]{1,16})\):")
_FRAME = re.compile(r"\s+([^!\s][^!]{0,199})!(\S.{0,600})")
_FRAMEWORK = re.compile(r"(?:System|Microsoft|Windows|netstandard|mscorlib|Anonymously|\?)(?:\.|$|\b)")
_POOL = re.compile(
    r"ThreadPoolWorkQueue\.Dispatch|_ThreadPoolWaitCallback|PortableThreadPool\+WorkerThread|ThreadPool\.\w*Callback"
)
_COMPILED = re.compile(r"^(?:.*[+.])?(?P<type>[^+.<>]+)\+<(?P<method>\w+)>d__\d+\.MoveNext$")
_LAMBDA = re.compile(r"^(?:.*[+.])?(?P<type>[^+.<>]+)(?:\+<>c\w*)?\.<(?P<method>\w+)>\w*$")


class Wait(Enum):
    """What a thread waits for, as a sentence has it."""

    RESULT = "for the result of a task"
    ANSWER = "for an answer from the network"
    CHILD = "for a child process"
    LOCK = "for a lock"
    SLEEP = "in Thread.Sleep"
    FILE = "for a file"
    SIGNAL = "to be signalled"
    RUNS = ""

    @property
    def doing(self) -> str:
        """The same of one thread: "waiting for a lock"."""
        return {Wait.RUNS: "running", Wait.SLEEP: "sleeping"}.get(self, f"waiting {self.value}")


# The first that fits any frame of the framework's inside of the program's own code. A result is waited for by a signal.
_WAITS = (
    (
        Wait.RESULT,
        re.compile(
            r"Tasks\.Task(?:`1)?[^!(]*\.(?:Wait|InternalWait|InternalWaitCore|SpinThenBlockingWait|GetResultCore|WaitAll|WaitAny)\b|TaskAwaiter"
        ),
    ),
    (
        Wait.ANSWER,
        re.compile(
            r"Net\.(?:Sockets|Security|Http|Dns)\b.*(?:Receive|Read|Send|Write|Connect|Accept|Poll|GetHost)|Sockets\.SocketPal"
        ),
    ),
    (Wait.CHILD, re.compile(r"Diagnostics\.Process\.WaitForExit|ProcessWaitState")),
    (
        Wait.LOCK,
        re.compile(
            r"Threading\.(?:Monitor\.\w*(?:Enter|TryEnter)\w*|Lock\.\w*Enter\w*|ReaderWriterLockSlim\.\w*|SpinLock\.\w*|Mutex\.\w*)"
        ),
    ),
    (Wait.SLEEP, re.compile(r"Threading\.Thread\.Sleep|Threading\.Thread\.SleepInternal")),
    (Wait.FILE, re.compile(r"IO\.(?:FileStream|RandomAccess|Strategies|File)\b")),
    (
        Wait.SIGNAL,
        re.compile(
            r"Threading\.(?:WaitHandle|Monitor\.\w*Wait|ManualResetEventSlim|SemaphoreSlim|Barrier|CountdownEvent|LowLevel\w+|Thread\.Join)|BlockingCollection"
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Frame:
    """One method on a stack."""

    module: str
    method: str  # Namespace.Type.Method

    @property
    def is_framework(self) -> bool:
        """Whether it is .NET's own."""
        return bool(_FRAMEWORK.match(self.module))

    @property
    def short(self) -> str:
        """As its author calls it: "Orders.Save", also of what the compiler made of it."""
        made = _COMPILED.match(self.method) or _LAMBDA.match(self.method)
        if made:
            return words.clean(f"{made['type']}.{made['method']}", METHOD_CHARS)
        parts = re.sub(r"`\d+|\[.*?\]", "", self.method).replace("+", ".").rsplit(".", 2)
        return words.clean(".".join(parts[-2:]), METHOD_CHARS) or "?"


@dataclass(frozen=True, slots=True)
class Task:
    """What the kernel knows of a thread."""

    name: str
    ran_ms: float
    waited_ms: float  # to run
    switches: float


@dataclass(frozen=True)
class Thread:
    """One thread; frames from the innermost out."""

    id: int
    frames: tuple[Frame, ...]
    task: Task | None = None

    @cached_property
    def place(self) -> Frame | None:
        """The innermost method of the program's own; nothing for threads of the runtime."""
        return next((frame for frame in self.frames if not frame.is_framework), None)

    @cached_property
    def wait(self) -> Wait:
        """What it waits for."""
        inner = self.frames[: self.frames.index(self.place)] if self.place else self.frames
        for wait, pattern in _WAITS:
            if any(pattern.search(frame.method) for frame in inner):
                return wait
        return Wait.RUNS

    @cached_property
    def is_pooled(self) -> bool:
        """Whether the thread pool has given it something to do."""
        return any(_POOL.search(frame.method) for frame in self.frames) and self.place is not None

    @property
    def is_main(self) -> bool:
        """Whether it is in the program's entry, and no further."""
        own = [frame for frame in self.frames if not frame.is_framework]
        return len(own) == 1 and bool(re.search(r"\.(?:Main|<Main>\$?)$", own[0].method))

    @property
    def lines(self) -> tuple[str, ...]:
        """Its inner frames, for evidence."""
        return (f"thread {self.id}: {self.wait.doing}", *(f"  {frame.short}" for frame in self.frames[:5]))


@dataclass(frozen=True, slots=True)
class Look:
    """All threads at one time."""

    at: datetime
    threads: Mapping[int, Thread] = field(default_factory=dict)


def looks_of(parts: Sequence[Section]) -> list[Look]:
    """Each look with what the kernel knew of the threads just before."""
    looks: list[Look] = []
    tasks: dict[int, Task] = {}
    for part in parts:
        if part.name == "tasks":
            tasks = {
                int(row["inner"]): Task(
                    row.get("name", "?"), *(words.number(row.get(key)) for key in ("ran_ms", "waited_ms", "switches"))
                )
                for row in part.rows()
                if re.fullmatch(r"\d{1,10}", row.get("inner", ""))
            }
        elif part.name == "stacks":
            looks.append(Look(part.at, _threads(part.body, tasks)))
            tasks = {}
    return [look for look in looks if look.threads]


def _threads(text: str, tasks: Mapping[int, Task]) -> dict[int, Thread]:
    """Headers that follow each other share the frames below them."""
    found: dict[int, list[Frame]] = {}
    frames: list[Frame] | None = None
    for line in text.split("\n"):
        if header := _HEADER.match(line):
            if len(found) >= THREADS:
                break
            frames = [] if frames is None or frames else frames
            found[int(header[1], 16)] = frames
        elif not line:
            frames = None
        elif frames is not None and len(frames) < FRAMES and (frame := _FRAME.match(line)):
            frames.append(Frame(frame[1], frame[2].partition("(")[0]))
    return {number: Thread(number, tuple(each), tasks.get(number)) for number, each in found.items() if each}

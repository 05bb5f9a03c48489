"""What a Java thread waits for, read from its stack: idle threads and working ones wait for nothing that matters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from bot.insights import words
from bot.insights.java.dump import Frame, Thread


class Wait(Enum):
    """The kinds of waiting, each with how it is said of one thread; {} takes what is waited for."""

    LOCK = "a lock ({})"
    CONNECTION = "a connection from {}"
    ANSWER = "an answer from {}"
    CONNECT = "a connection to {}"
    RESULT = "another task's result ({})"
    PERMIT = "a permit ({})"
    ROOM = "room in a queue ({})"
    TIME = "time to pass ({})"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a thread waits: threads in the same place have the same trouble."""

    wait: Wait
    thing: str  # the class of the lock, the method of the pool; "" where the stack does not tell
    where: str  # the application's frame, as people say it

    def words(self, peer: str = "") -> str:
        """It in a sentence, after "waits for"."""
        at = f" in {self.where}" if self.where else ""
        if self.wait in _REMOTE:
            return self.wait.value.format(peer or "the network") + at
        return self.wait.value.format(self.thing) + at

    @property
    def is_remote(self) -> bool:
        """Whether the other end of a socket is waited for."""
        return self.wait in _REMOTE


_REMOTE = frozenset({Wait.ANSWER, Wait.CONNECT})
# Only a task that was begun waits in these; a thread of its own that does so has a loop to run.
_TASKS_ONLY = frozenset({Wait.RESULT, Wait.PERMIT, Wait.TIME, Wait.ROOM})

_TASK = re.compile(
    r"\.runWorker$|ForkJoinTask\.doExec$|FutureTask\.run$|\.QueuedThreadPool\$\d?\w*\.run\w*$|EnhancedQueueExecutor\$\w+\.(?:run|safeRun)$"
    r"|weblogic\.work\.ExecuteThread\.execute$|java\.util\.TimerThread\.mainLoop$"
)
_IDLE = re.compile(
    r"\.getTask$|\.awaitWork$|\.idleJobPoll$|\.reservedWait$|ReferenceQueue\.remove\d*$|waitForReferencePendingList$"
    r"|TimerThread\.mainLoop$|DelayScheduler\.loop$|PoolThreadNode\.park$|ExecuteThread\.waitForRequest$"
    r"|(?:EPoll|KQueue|WEPoll)(?:ArrayWrapper)?\.\w*[wW]ait\w*$|epoll\.Native\.epollWait\w*$|\.kevent\w*$|(?:SocketImpl|ServerSocket|Net|SocketChannelImpl|DomainSockets)\.\w*[aA]ccept\w*$"
    r"|jdk\.internal\.vm\.Continuation\.run$"  # a carrier up to JDK 23; what its virtual thread does is not printed
)
_TAKE = re.compile(r"(?:Queue|Deque)\.(?:take|poll|takeFirst|pollFirst|takeLast|pollLast)$")
_PUT = re.compile(r"(?:Queue|Deque)\.(?:put|offer|putLast|offerLast|transfer)$")
_POOL = re.compile(
    r"\.(?:getConnection|borrow\w*|lease\w*|checkoutPooledConnection|checkoutResource|prelimCheckoutResource|getPoolEntryBlocking|blockingAcquire|getResource)$"
)
_READ = re.compile(
    r"SocketDispatcher\.read\w*$|SocketInputStream\.(?:socketRead0|read|implRead)$|NioSocketImpl\.\w*[rR]ead$|\.SSLSocketInputRecord\.read\w*$"
)
_CONNECT = re.compile(r"\.socketConnect$|Net\.(?:connect0|pollConnect)$|NioSocketImpl\.(?:connect|timedFinishConnect)$")
_GET = re.compile(r"(?:Future|FutureTask|ForkJoinTask)\.(?:get|join)$")
_LOCK_CLASS = re.compile(r"(?:ReentrantLock|ReentrantReadWriteLock|StampedLock)\b")
_RESULT_CLASS = re.compile(r"(?:CompletableFuture|FutureTask|ForkJoinTask|CountDownLatch|CyclicBarrier|Phaser)\b")


def is_lock(thread: Thread) -> bool:
    """Whether it waits for a lock that another thread owns."""
    return thread.is_blocked or bool(thread.waits_for and _LOCK_CLASS.search(thread.waits_class))


def lock_name(thread: Thread) -> str:
    """The class of what *thread* waits for, as people say it."""
    return words.clean(_short(thread.waits_class)) or "unknown"


def is_task(thread: Thread) -> bool:
    """Whether it does one task of many, and is expected back for the next."""
    return any(_TASK.search(frame.name) for frame in thread.frames)


def place_of(thread: Thread) -> Place | None:
    """Where *thread* waits; None when it is idle, works, or cannot be judged."""
    lead = thread.lead
    if not lead and not thread.is_blocked:
        return None
    found = _wait_of(thread, lead)
    if found is None:
        return None
    wait, thing = found
    where = thread.application
    if wait in _TASKS_ONLY and not is_task(thread):
        return None
    if where is None:
        if wait in _REMOTE:  # a library's own reader: keep-alive connections, brokers, drivers
            return None
        where = next((frame for frame in thread.frames if not frame.is_platform), None)
    return Place(wait, words.clean(thing), where.text if where else "")


def _wait_of(thread: Thread, lead: list[Frame]) -> tuple[Wait, str] | None:
    if is_lock(thread):
        return Wait.LOCK, _short(thread.waits_class)
    waits = thread.state in {"WAITING", "TIMED_WAITING"}
    if waits and (pool := _first(_POOL, lead[::-1])):  # the outermost is what the application knows
        return Wait.CONNECTION, pool.text.partition(".")[0]
    if _first(_IDLE, lead) or _first(_TAKE, lead):
        return None
    if not waits:
        return _remote(lead)
    if queue := _first(_PUT, lead):
        return Wait.ROOM, _short(queue.name.rpartition(".")[0])
    if lead[0].name.startswith("java.lang.Thread.sleep"):
        return Wait.TIME, "Thread.sleep"
    if _RESULT_CLASS.search(thread.waits_class) or _first(_GET, lead):
        return Wait.RESULT, _short(thread.waits_class or "Future")
    if "Semaphore" in thread.waits_class:
        return Wait.PERMIT, "Semaphore"
    return None  # for its own queue, as likely as not


def _remote(lead: list[Frame]) -> tuple[Wait, str] | None:
    """A thread in a system call counts as running; the frames tell which."""
    if _first(_CONNECT, lead):
        return Wait.CONNECT, ""
    return (Wait.ANSWER, "") if _first(_READ, lead) else None


def _first(pattern: re.Pattern[str], frames: list[Frame]) -> Frame | None:
    return next((frame for frame in frames if pattern.search(frame.name)), None)


def _short(class_name: str) -> str:
    """A class as people say it: without its package, and without the inner class of a JDK lock."""
    outer = class_name.rpartition(".")[2]
    return outer.split("$")[0] if class_name.startswith("java.") else outer

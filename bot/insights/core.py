"""A core dump (captures/core.sh): its size, how long the process stood still, and what its threads were doing by gdb's stacks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bot.insights import Reading, Section, choice, sections, words
from bot.insights.onward import explaining
from bot.model import Finding, Level, Suggestion

TEXT_CHARS = 200
THREADS = 20_000  # that are read
SHOWN = 10  # groups of threads
STUCK_THREADS = 2  # that wait for locks and for nothing else

_THREAD = re.compile(r"Thread \d+ \(.{1,200}\):$")
_FRAME = re.compile(r"#\d+ +(?:0x[0-9a-f]+ in )?(?=\S)")

# Frames in which a thread waits or is begun, which tell nothing of what its program wants.
_CALLS = (
    "accept4?|clock_gettime|clock_nanosleep|clone3?|connect|fcntl|flock|futex|io_getevents|kill|msgrcv|nanosleep|open|openat|pause"
    "|poll|ppoll|pread|pselect|pwrite|raise|read|readv|recv|recvfrom|recvmm?sg|select|send|sendmsg|sendto|sigsuspend|sigtimedwait"
    "|sigwait|sigwaitinfo|sleep|start_thread|syscall|syscall_cancel|tgkill|usleep|wait3?|wait4|waitid|waitpid|write|writev"
)
_LIBRARY = re.compile(
    rf"_*(?:GI_+|libc_|internal_)*(?:(?:{_CALLS})(?:64|_cancel|_chk)?|(?:cnd|epoll|futex|lll|mtx|nptl|pthread|sem)_\w+)"
    r"|_*(?:futex_abstimed|new_sem|old_sem|gthread|lll|pthread)\w*|\?\?|_start|_*libc_start\w*|std::.*"
)
_LOCKS = re.compile(r"lll_lock_wait|pthread_mutex_(?:cond_|clock|timed)?lock|pthread_rwlock_\w*lock|mtx_lock")


@dataclass(frozen=True, slots=True)
class _Stack:
    """One thread: functions from the innermost out."""

    functions: tuple[str, ...]

    @property
    def waits_for_lock(self) -> bool:
        """It stands in the taking of a mutex or a read-write lock."""
        return any(_LOCKS.search(name) for name in self.functions[:8])

    @property
    def place(self) -> str:
        """The innermost function of the program's own, and what it waits in."""
        own = next((name for name in self.functions if not _LIBRARY.fullmatch(name)), "")
        if self.waits_for_lock:
            return f"waiting for a lock in {own}" if own else "waiting for a lock"
        return f"in {own or (self.functions[0] if self.functions else '?')}"


def core(reading: Reading) -> Iterator[Finding]:
    """What the dump shows; threads that all wait for locks come first."""
    parts = sections(reading.text)
    yield from choice.unchosen(parts, "core", reading.target)
    row = choice.row_of(parts)
    who = choice.spoken(row)
    for part in parts:
        match part.name:
            case "failed":
                text = words.clean(part.body.partition("\n")[0], TEXT_CHARS) or "No core was taken"
                yield Finding(
                    level=Level.WARN,
                    text=text,
                    weight=0.9,
                    evidence=words.evidence(*part.body.split("\n")[1:5]),
                    paused_s=max(words.number(part.facts.get("frozen_s")), 0.0),
                )
            case "core":
                stacks = [stack for each in parts if each.name == "stacks" for stack in _stacks(each.body)]
                yield from _stuck(stacks, who, explaining(row.get("app", ""), row.get("pid", ""), "files"))
                yield _size(part, stacks, who)


def _stuck(stacks: Sequence[_Stack], who: str, onward: tuple[Suggestion, ...]) -> Iterator[Finding]:
    waiting = [stack for stack in stacks if stack.waits_for_lock]
    if len(waiting) < STUCK_THREADS:
        return
    places = Counter(stack.place for stack in waiting).most_common(3)
    named = " and ".join(_grouped(count, place.removeprefix("waiting for a lock ")) for place, count in places)
    whole = f"{words.count(len(waiting))} of {words.counted(len(stacks), 'thread')}"
    yield Finding(
        level=Level.WARN,
        text=words.clean(f"{whole} of {who} wait for locks: {named}", TEXT_CHARS),
        weight=0.6 + 0.4 * len(waiting) / len(stacks),
        evidence=_groups(stacks),
        next=onward,
    )


def _size(part: Section, stacks: Sequence[_Stack], who: str) -> Finding:
    size, frozen = (words.number(part.facts.get(key)) for key in ("size_bytes", "frozen_s"))
    text = f"Core of {who}: {words.size(size)}, and the process stood still for {max(frozen, 0):.1f} s"
    if stacks:
        place, count = Counter(stack.place for stack in stacks).most_common(1)[0]
        text += f"; {words.count(count)} of {words.counted(len(stacks), 'thread')} {place}"
    return Finding(
        level=Level.INFO,
        text=words.clean(text, TEXT_CHARS),
        evidence=_groups(stacks),
        answer=True,
        paused_s=max(frozen, 0.0),
    )


def _groups(stacks: Sequence[_Stack]) -> tuple[str, ...]:
    """The stacks that occur most, a line each."""
    counted = Counter(stack.functions[:8] for stack in stacks).most_common(SHOWN)
    return words.evidence(
        *(f"{count} × {' ← '.join(words.clean(name) for name in functions)}" for functions, count in counted)
    )


def _grouped(count: int, place: str) -> str:
    return f"{words.count(count)} {place}" if count > 1 else place


def _stacks(text: str) -> Iterator[_Stack]:
    """What gdb's `thread apply all backtrace` says; what cannot be read is left out."""
    functions: list[str] | None = None
    count = 0
    for line in text.split("\n"):
        if _THREAD.match(line):
            if functions:
                yield _Stack(tuple(functions))
            count += 1
            if count > THREADS:
                return
            functions = []
        elif functions is not None and (frame := _FRAME.match(line)):
            name = line[frame.end() :].partition(" (")[0]
            functions.append(words.clean(re.sub(r"^_*GI_+(?=\w)", "", name), 60) or "?")
    if functions:
        yield _Stack(tuple(functions))

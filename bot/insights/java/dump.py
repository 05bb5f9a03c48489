"""A thread dump as HotSpot prints it (``jcmd Thread.print``, ``jstack``), JDK 8 to 25.

What differs between versions: ``cpu=`` and ``elapsed=`` came with JDK 11, module names inside frames with 9,
``[native id]`` and decimal ``nid=`` with 21; from 24 on the stack of a mounted virtual thread stands below its
carrier's. Addresses of objects are good within one dump only: a collector moves objects.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from bot.insights import Section, words

LINE_CHARS = 2000  # that are looked at; a name can be as long as somebody likes
DEADLOCK_LINES = 1000

_THREAD = re.compile(r'^"(.*)"((?: .*)? (?:tid|nid|os_prio|prio)=.*)$')
_FACT = re.compile(r"(?:^| )(?:(\w+)=|#)(\S+)")
_STATE = re.compile(r"^java\.lang\.Thread\.State: (\w+)")
_FRAME = re.compile(r"^at (.+?)\(([^()]*)\)$")
_LOCK = re.compile(r"^- ([a-z][a-z ()-]*?|) *<(\w+)>(?: \(an? (.+)\))?$")
_DEADLOCK = re.compile(
    r'^"(.*)":\n +waiting (?:to lock monitor|for ownable synchronizer) [^\n]*?[ (]an? ([^,)\n]+)\)?,?\n'
    r' +(?:in JNI, )?which is held by "(.*)"$',
    re.MULTILINE,
)
_LAMBDA, _LAMBDA_OF = re.compile(r"lambda\$(\w+)\$\d+$"), r"\1"
# Generated: lambdas' own classes, proxies of Spring and others.
_GENERATED = re.compile(r"\$\$|\$Proxy|GeneratedMethodAccessor|GeneratedConstructorAccessor")
_PLATFORM = re.compile(r"(?:java|javax|jdk|sun|com\.sun)\.")
_LIBRARY = re.compile(
    r"(?:jakarta|kotlinx?|scala|groovy|clojure|akka|play|zio|cats|io\.(?:netty|grpc|undertow|vertx|micrometer|micronaut"
    r"|quarkus|smallrye|reactivex|lettuce|projectreactor|r2dbc|opentelemetry|opentracing|sentry|prometheus)|reactor|rx"
    r"|org\.(?:apache|springframework|hibernate|eclipse|jboss|wildfly|xnio|postgresql|mariadb|h2|jooq|mybatis|quartz"
    r"|slf4j|redisson|elasticsearch|opensearch|glassfish|junit|codehaus|aspectj|mongodb|bson|xerial|flywaydb|threeten)"
    r"|com\.(?:zaxxer|mchange|mysql|oracle|microsoft|ibm|google|fasterxml|netflix|rabbitmq|mongodb|datastax|amazonaws"
    r"|squareup|lmax|datadog|newrelic|hazelcast|ning|atlassian)|oracle|weblogic|okhttp3|okio|retrofit2|feign|redis"
    r"|ch\.qos|net\.(?:bytebuddy|sf|sourceforge)|software\.amazon|bitronix|liquibase|brave|zipkin2|datadog)\."
)

Key = tuple[str, str]  # a thread from dump to dump: its name, and its number or native id


@dataclass(frozen=True, slots=True)
class Frame:
    """One line of a stack: *name* with its package, *source* as printed, without the module."""

    name: str
    source: str

    @property
    def text(self) -> str:
        """As people say it: ``PaymentClient.charge:18``."""
        *_, class_name, method = ("", *self.name.split("."))
        _, colon, line = self.source.rpartition(":")
        where = f"{class_name}.{_LAMBDA.sub(_LAMBDA_OF, method)}"
        return words.clean(f"{where}:{line}" if colon else where, 60)

    @property
    def is_platform(self) -> bool:
        """Part of the JDK, or generated at run time."""
        return bool(_PLATFORM.match(self.name) or _GENERATED.search(self.name))

    @property
    def is_application(self) -> bool:
        """Written by those who run it, as far as the name of its package tells."""
        return not self.is_platform and not _LIBRARY.match(self.name)


@dataclass(slots=True)
class Thread:
    """A thread at one moment; *cpu_ms* and *elapsed_s* are since its start, None where they are not known.

    *waited_ms* is how long it stood in line for a processor.
    """

    name: str
    number: str
    nid: str
    cpu_ms: float | None
    elapsed_s: float | None
    header: str
    waited_ms: float = 0.0
    state: str = ""
    frames: list[Frame] = field(default_factory=list)
    waits_for: str = ""  # the address of a lock or condition
    waits_class: str = ""
    is_blocked: bool = False  # it waits to enter a monitor
    holds: set[str] = field(default_factory=set)  # addresses of the locks that it owns

    @property
    def key(self) -> Key:
        """What it is known by from dump to dump."""
        return self.name, self.number or self.nid

    @property
    def application(self) -> Frame | None:
        """The frame of the application that is nearest to what it does."""
        return next((frame for frame in self.frames if frame.is_application), None)

    @property
    def lead(self) -> list[Frame]:
        """The frames below the application's: what it does on the application's behalf."""
        ends = (n for n, frame in enumerate(self.frames) if frame.is_application)
        return self.frames[: next(ends, len(self.frames))]

    @property
    def evidence(self) -> tuple[str, ...]:
        """Its header and the frames that tell most."""
        start = max(len(self.lead) - 2, 0)
        told = self.frames[:1] * (start > 0) + self.frames[start : start + 5]
        return (self.header, *(f"at {frame.name}({frame.source})" for frame in told))


@dataclass(frozen=True, slots=True)
class Waiter:
    """One thread of a deadlock."""

    name: str
    wants: str  # the class of the lock
    holder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dump:
    """All threads at one moment."""

    at: datetime
    threads: tuple[Thread, ...]
    deadlocks: tuple[tuple[Waiter, ...], ...]
    is_whole: bool
    shows_owners: bool  # of java.util.concurrent locks


def dump_of(section: Section, times: Mapping[str, tuple[float, float]]) -> Dump:
    """Read a dump; *times* is what the kernel says of threads by native id: CPU and waiting in milliseconds."""
    threads = tuple(_threads(section.body.split("\n")))
    for thread in threads:
        if thread.nid in times:
            cpu_ms, thread.waited_ms = times[thread.nid]
            thread.cpu_ms = cpu_ms if thread.cpu_ms is None else thread.cpu_ms
    return Dump(
        at=section.at,
        threads=threads,
        deadlocks=tuple(_deadlocks(section.body)),
        is_whole="JNI global ref" in section.body,
        shows_owners="Locked ownable synchronizers" in section.body,
    )


def _deadlocks(body: str) -> Iterator[tuple[Waiter, ...]]:
    for block in body.split("Java-level deadlock:")[1:]:
        lines = block.split("Java stack information")[0].split("\n")[:DEADLOCK_LINES]
        found = _DEADLOCK.findall("\n".join(line[:LINE_CHARS] for line in lines))
        if found:
            yield tuple(Waiter(*match) for match in found)


def _threads(lines: list[str]) -> Iterator[Thread]:
    thread: Thread | None = None
    for whole in lines:
        line = whole[:LINE_CHARS]
        if match := _THREAD.match(line):
            if thread:
                yield thread
            thread = _begin(match[1], match[2], line)
        elif line.startswith(("JNI global ref", "Found ")):  # what follows tells the same threads again
            break
        elif thread:
            _go_on(thread, line.strip())
    if thread:
        yield thread


def _begin(name: str, rest: str, header: str) -> Thread:
    facts = {key or "#": value for key, value in reversed(_FACT.findall(rest))}
    return Thread(
        name=name,
        number=facts.get("#", ""),
        nid=_native(facts.get("nid", "")),
        cpu_ms=words.number(facts["cpu"].removesuffix("ms")) if "cpu" in facts else None,
        elapsed_s=words.number(facts["elapsed"].removesuffix("s")) if "elapsed" in facts else None,
        header=header,
    )


def _native(nid: str) -> str:
    """A thread's id as the kernel has it; hexadecimal until JDK 20."""
    return str(int(nid, 16)) if re.fullmatch(r"0x[0-9a-f]{1,8}", nid) else nid


def _go_on(thread: Thread, line: str) -> None:
    if match := _FRAME.match(line):
        thread.frames.append(Frame(match[1], match[2].rsplit("/", 1)[-1]))
    elif match := _LOCK.match(line):
        _note_lock(thread, *match.groups(""))
    elif match := _STATE.match(line):
        thread.state = match[1]
    elif line.startswith("Mounted virtual thread"):  # its stack, not the carrier's, says what is done
        thread.frames.clear()


def _note_lock(thread: Thread, verb: str, address: str, of: str) -> None:
    match verb:
        case "waiting to lock" | "parking to wait for" | "waiting on" | "waiting to re-lock in wait()":
            if not thread.waits_for:
                thread.waits_for, thread.waits_class = address, of
                thread.is_blocked = verb in {"waiting to lock", "waiting to re-lock in wait()"}
        case "locked" | "":  # the second in the list of ownable synchronizers
            if address != thread.waits_for:  # in Object.wait() it is let go
                thread.holds.add(address)

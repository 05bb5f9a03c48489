"""Hand-written stand-ins for the seams, for tests that are about something else."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from bot.errors import DeliveryFailed, StepFailed, StoreError
from bot.model import (
    Accepted,
    Artifact,
    Capture,
    Effect,
    Impact,
    Member,
    Membership,
    Outcome,
    Person,
    Place,
    Policy,
    Recipe,
    Rule,
    Run,
    Source,
    Step,
    StepHead,
    Target,
    TargetKind,
    Trigger,
    Verb,
)
from bot.reporters import Delivery, Memory
from bot.stores.keys import is_binary, names
from bot.story import Story
from bot.transports import Piece

AT = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
ANA = Person(id="U1", name="ana")
HERE = Place(channel="C1", channel_name="inc-1042")


ANYTHING = Policy(
    rules=(Rule(name="anything", line=1, effect=Effect.ALLOW, verbs=frozenset(Verb)),), open=frozenset(Impact)
)


def masked(text: str, incident: str = "") -> str:
    """As `Redactor.text`: of each incident with a mask of its own."""
    return text.replace("hunter2", f"•••{incident}")


class Everybody:
    """All are members, but for those who are named otherwise."""

    def __init__(self, *others: Member) -> None:
        self.others = {one.id: one for one in others}
        self.channels: dict[str, str] = {}

    async def member(self, person: Person) -> Member:
        known = Member(id=person.id, name=person.name, membership=Membership.MEMBER)
        return self.others.get(person.id, known)

    async def channel_name(self, channel: str) -> str:
        return self.channels.get(channel, "")

    async def handle(self, _: str) -> str:
        return ""


def a_step(step_id: str = "ps", **changes: object) -> Step:
    """A step that runs a program."""
    given = {"id": step_id, "title": step_id.title(), "action": Run(argv=(step_id,)), "timeout_s": 5.0}
    return Step(**{**given, "limit_bytes": 1000, **changes})  # type: ignore[arg-type]  # fields by name


def a_recipe(name: str = "host", *steps: Step) -> Recipe:
    """A recipe for hosts."""
    return Recipe(
        name=name,
        title="Host triage",
        about="What a host does now.",
        wants=TargetKind.HOST,
        impact=Impact.LIGHT,
        steps=steps or (a_step(),),
        digest="d" * 64,
    )


def a_capture(capture_id: str = "abc234", **changes: object) -> Capture:
    """A capture of one target in one channel."""
    given: dict[str, object] = {
        "id": capture_id,
        "recipe": "host",
        "recipe_title": "Host triage",
        "recipe_digest": "d" * 64,
        "impact": Impact.LIGHT,
        "targets": ("app-1",),
        "steps": (StepHead(id="ps", title="Processes"), StepHead(id="df", title="Disks")),
        "parameters": {},
        "who": ANA,
        "source": Source.SLACK,
        "at": AT,
        "prefix": f"evidence/2026/11/22/adhoc/{capture_id}/",
        "place": HERE,
    }
    return Capture(**{**given, **changes})  # type: ignore[arg-type]  # fields by name


def accepted(capture: Capture, *, key: str | None = None) -> Accepted:
    """Its acceptance."""
    return Accepted(capture=capture, at=capture.at, key=key)


def a_trigger(recipe: str = "host", *targets: str, **changes: object) -> Trigger:
    """Somebody asks for a capture."""
    given: dict[str, object] = {
        "recipe": recipe,
        "targets": targets or ("app-1",),
        "parameters": {},
        "who": ANA,
        "source": Source.SLACK,
        "at": AT,
        "place": HERE,
    }
    return Trigger(**{**given, **changes})  # type: ignore[arg-type]  # fields by name


def an_artifact(key: str = "evidence/ps.txt", size_bytes: int = 12_000) -> Artifact:
    """Something kept."""
    return Artifact(key=key, url=f"s3://bucket/{key}", size_bytes=size_bytes, sha256="a" * 64)


@dataclass
class Clock:
    """A time that moves when it is told to."""

    at: datetime = AT

    def __call__(self) -> datetime:
        return self.at

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.at += timedelta(seconds=seconds)


@dataclass
class Script:
    """What a scripted step does: says *pieces*, then ends as told, or hangs until it is stopped."""

    pieces: Sequence[Piece] = (b"output\n",)
    failure: StepFailed | None = None
    hangs: bool = False
    deaf: bool = False  # hangs on when it is stopped
    never_starts: bool = False
    refuses: StepFailed | None = None
    last_words: bytes = b""  # said when it is stopped
    remark: str = ""  # what else came to light
    breaks: Exception | None = None


class ScriptedExecution:
    """One run of a Script."""

    def __init__(self, script: Script, command: str) -> None:
        self.command = command
        self.remark = script.remark
        self.exit_status: int | None = None
        self.remark = script.remark
        self.stops = 0
        self._script = script
        self._ended = asyncio.Event()
        self.hanging = asyncio.Event()

    async def output(self) -> AsyncGenerator[Piece, None]:
        for piece in self._script.pieces:
            yield piece
        if self._script.breaks:
            raise self._script.breaks
        if self._script.hangs:
            self.hanging.set()
            await self._ended.wait()
            if self._script.last_words:
                yield self._script.last_words
            raise StepFailed("It was killed.", outcome=Outcome.FAILED)
        if self._script.failure:
            raise self._script.failure
        self.exit_status = 0
        self._ended.set()

    async def stop(self) -> str:
        self.stops += 1
        if self._ended.is_set():
            return ""
        if self._script.deaf:
            return "that it is gone could not be proved"
        self._ended.set()
        return "process group 8123 gone"


@dataclass
class ScriptedTransport:
    """Runs steps by script: step id → what it does. *executions* are kept for a look."""

    scripts: Mapping[str, Script] = field(default_factory=dict)
    executions: list[ScriptedExecution] = field(default_factory=list)
    started: asyncio.Condition = field(default_factory=asyncio.Condition)
    begun: asyncio.Event = field(default_factory=asyncio.Event)  # a step that never starts is being started

    async def start(self, target: Target, step: Step, *, capture_id: str) -> ScriptedExecution:
        script = self.scripts.get(step.id, Script())
        if script.refuses:
            raise script.refuses
        if script.never_starts:
            self.begun.set()
            await asyncio.sleep(3600)
        execution = ScriptedExecution(script, command=f"{step.id} on {target.name}")
        self.executions.append(execution)
        async with self.started:
            self.started.notify_all()
        return execution

    async def wait_for_start(self, count: int) -> None:
        """Return once *count* steps were started."""
        async with self.started:
            await self.started.wait_for(lambda: len(self.executions) >= count)

    async def check(self, target: Target) -> list[str]:
        return [f"ok: {target.name}"]

    async def close(self) -> None:
        return


@dataclass
class MemoryStore:
    """Keeps artifacts in a dict; refuses keys that contain one of *refuses*, and everything while it is *away*."""

    objects: dict[str, bytes] = field(default_factory=dict)
    away: bool = False
    stubborn: bool = False  # removes nothing
    refuses: Mapping[str, str] = field(default_factory=dict)
    swept: list[str] = field(default_factory=list)
    types: dict[str, str] = field(default_factory=dict)

    async def put(
        self, key: str, chunks: AsyncIterator[bytes], *, content_type: str = "text/plain; charset=utf-8"
    ) -> Artifact:
        self._must_be_here()
        for part, reason in self.refuses.items():
            if part in key:
                raise StoreError(reason)
        body = b"".join([chunk async for chunk in chunks])
        key = next(name for name in names(key) if name not in self.objects)
        self.objects[key], self.types[key] = body, content_type
        return self._artifact(key)

    def _artifact(self, key: str) -> Artifact:
        body = self.objects[key]
        sha256 = hashlib.sha256(body).hexdigest()
        return Artifact(key=key, url=f"memory://{key}", size_bytes=len(body), sha256=sha256, binary=is_binary(key))

    async def sweep(self, prefix: str) -> tuple[Artifact, ...]:
        self._must_be_here()
        self.swept.append(prefix)
        return tuple(self._artifact(key) for key in sorted(self.objects) if key.startswith(prefix))

    def _must_be_here(self) -> None:
        if self.away:
            raise StoreError("The store is away.")

    async def read(self, key: str) -> bytes:
        if key not in self.objects:
            raise StoreError(f"There is no {key}.")
        return self.objects[key]

    async def keys(self) -> tuple[str, ...]:
        return tuple(sorted(self.objects))

    async def chunks(self, key: str) -> AsyncGenerator[bytes, None]:
        yield self.objects[key]

    async def link(self, artifact: Artifact, *, seconds: int) -> str:
        self._must_be_here()
        return f"https://s3.test/{artifact.key}?X-Amz-Expires={seconds}"

    async def remove(self, key: str) -> None:
        if self.stubborn:
            raise StoreError("The store removes nothing.")
        self.objects.pop(key, None)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[bool]:
        yield True

    async def check(self) -> list[str]:
        return ["ok: memory"]

    async def close(self) -> None:
        return


class Said:
    """A reporter that keeps what it is given; fails as often as it is told to."""

    pause_s = 0.0

    def __init__(self, name: str = "said", *, by_incident: bool = False) -> None:
        self.name = name
        self.headlines: list[tuple[str, str]] = []
        self.deliveries: list[tuple[str, tuple[Story, ...], Memory]] = []
        self.failures: list[Exception] = []
        self._by_incident = by_incident

    def topic(self, capture: Capture, incident: str | None) -> str | None:
        return incident if self._by_incident else capture.id

    async def deliver(self, topic: str, stories: Sequence[Story], memory: Memory) -> Delivery:
        if self.failures:
            raise self.failures.pop(0)
        self.deliveries.append((topic, tuple(stories), memory))
        return Delivery(memory={"told": memory.get("told", 0) + 1})

    def states(self, topic: str) -> list[str]:
        """The states that were told of a topic, repetitions left out."""
        told = [",".join(story.state for story in stories) for name, stories, _ in self.deliveries if name == topic]
        return [state for n, state in enumerate(told) if n == 0 or told[n - 1] != state]


def slow_down(seconds: float = 0.0) -> DeliveryFailed:
    """What a reporter raises when it must wait."""
    return DeliveryFailed("Slow down.", retry_after=seconds)

"""One capture from start to end.

The runner knows protocols only and does nothing but emit events. It never raises for what happens
on a target, in a store or in an insight: all of that is a result with a reason.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import Enum

import structlog

from bot.errors import JournalError, StoreError
from bot.insights import Insight, Reading
from bot.model import (
    Artifact,
    Capture,
    Event,
    Finding,
    Finished,
    Outcome,
    Recipe,
    Sql,
    Started,
    State,
    Step,
    StepFinished,
    StepResult,
    StepStarted,
    Target,
    TargetKind,
)
from bot.pipeline import Allowance, StepStream
from bot.redact import Redactor
from bot.settings import Limits
from bot.stores import Store
from bot.stores.keys import binary_key
from bot.transports import Execution, Transport, way_of

MANIFEST_VERSION = 1
TEXT = "text/plain; charset=utf-8"
FINDINGS_PER_STEP = 20  # an insight that says more is not read by anybody
JOURNAL_PATIENCE_S = (0.2, 1.0, 3.0, 10.0, 30.0)  # waits between tries to write an event

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A capture with all that is needed to run it; *steps* have their parameters bound."""

    capture: Capture
    recipe: Recipe
    steps: tuple[Step, ...]
    targets: tuple[Target, ...]


@dataclass(slots=True)
class _Life:
    """One capture while it runs."""

    capture: Capture
    redactor: Redactor
    allowance: Allowance
    streams: set[StepStream] = field(default_factory=set)
    results: list[StepResult] = field(default_factory=list)
    stopped: str = ""  # why no further step may start


class Runner:
    """Runs jobs. *emit* commits an event before it returns; *redactor* makes a capture's own redactor."""

    def __init__(
        self,
        *,
        transports: Mapping[str, Transport],
        store: Store,
        insights: Mapping[str, Insight],
        redactor: Callable[[Capture], Redactor],
        emit: Callable[[Event], Awaitable[object]],
        limits: Limits,
        now: Callable[[], datetime],
    ) -> None:
        self._transports = transports
        self._store = store
        self._insights = insights
        self._redactor = redactor
        self._commit = emit
        self._limits = limits
        self._now = now
        self._lives: dict[str, _Life] = {}
        self._stopped_early: dict[str, str] = {}  # reasons, for captures that have not begun

    async def run(self, job: Job) -> State:
        """Run *job* to its end and return how it ended.

        Cancelling it ends its steps on their targets before the cancellation goes on.
        """
        capture = job.capture
        life = _Life(capture=capture, redactor=self._redactor(capture), allowance=Allowance(self._limits.capture_bytes))
        life.stopped = self._stopped_early.pop(capture.id, "")
        self._lives[capture.id] = life
        try:
            await self._emit(Started(capture_id=capture.id, at=self._now()))
            async with asyncio.TaskGroup() as group:
                overtime = group.create_task(self._stop_late(capture.id))
                await self._run_targets(job, life)
                overtime.cancel()
            return await self._finish(job, life)
        finally:
            del self._lives[capture.id]

    async def stop(self, capture_id: str, reason: str) -> None:
        """End every step of a capture on its target; one that has not begun ends as soon as it does."""
        if (life := self._lives.get(capture_id)) is None:
            self._stopped_early[capture_id] = reason
            return
        life.stopped = life.stopped or reason
        async with asyncio.TaskGroup() as group:
            for stream in tuple(life.streams):
                group.create_task(stream.stop(Outcome.STOPPED, reason))

    async def _stop_late(self, capture_id: str) -> None:
        await asyncio.sleep(self._limits.capture_s)
        await self.stop(capture_id, f"The capture ran longer than {self._limits.capture_s:g} s and was ended.")

    # --- steps --------------------------------------------------------------------------------

    async def _run_targets(self, job: Job, life: _Life) -> None:
        async with asyncio.TaskGroup() as group:
            for target in job.targets:
                places = asyncio.Semaphore(self._limits.steps_at_once)
                for step in job.steps:
                    group.create_task(self._run_step(target, step, job.recipe.wants, life, places))

    async def _run_step(
        self, target: Target, step: Step, wants: TargetKind, life: _Life, places: asyncio.Semaphore
    ) -> None:
        capture = life.capture
        async with places:
            began, clock = self._now(), asyncio.get_running_loop().time
            begun = clock()
            blank = StepResult(target=target.name, step=step.id, outcome=Outcome.SKIPPED, started_at=began, seconds=0.0)
            if life.stopped:
                result = replace(blank, outcome=Outcome.STOPPED, reason=life.stopped)
            elif (transport := self._transports.get(way_of(target, step, wants))) is None:
                result = replace(blank, reason=_no_way(target, step))
            else:
                await self._emit(StepStarted(capture_id=capture.id, target=target.name, step=step.id, at=began))
                try:
                    result = await self._capture_step(target, step, life, transport, blank)
                except Exception as error:  # noqa: BLE001  a bug in one step must not take the others' evidence with it
                    result = replace(blank, outcome=Outcome.FAILED, reason=_own_fault(capture, step, error))
            result = replace(result, seconds=round(clock() - begun, 3))
            life.results.append(result)
            await self._emit(StepFinished(capture_id=capture.id, result=result, at=self._now()))

    async def _capture_step(
        self, target: Target, step: Step, life: _Life, transport: Transport, blank: StepResult
    ) -> StepResult:
        async def start() -> Execution:
            return await transport.start(target, step, capture_id=life.capture.id)

        stream = StepStream(step, start, redaction=life.redactor.stream(), allowance=life.allowance, now=self._now)
        life.streams.add(stream)
        if life.stopped:  # while the start was written down; `stop` did not see this stream yet
            await stream.stop(Outcome.STOPPED, life.stopped)
        try:
            prefix = life.capture.prefix
            artifact, trouble = await self._store_chunks(
                f"{prefix}{target.name}/{step.id}.txt", stream, stream.chunks()
            )
            file = None
            if stream.file is not None:
                key = binary_key(prefix, target.name, step.id, stream.file.name)
                chunks = stream.file_chunks()
                file, trouble = await self._store_chunks(key, stream, chunks, content_type=stream.file.type)
        finally:
            life.streams.discard(stream)
            await stream.close()
        kept = [replace(one, trouble=life.redactor.text(one.trouble)) for one in (artifact, file) if one]
        outcome = Outcome.FAILED if trouble and stream.outcome is Outcome.OK else stream.outcome
        reasons = (stream.reason, trouble, *dict.fromkeys(one.trouble for one in kept))
        return replace(
            blank,
            outcome=outcome,
            command=life.redactor.text(stream.command),
            reason=" ".join(life.redactor.text(reason) for reason in reasons if reason),
            exit_status=stream.exit_status,
            cut=stream.cut,
            artifact=kept.pop(0) if artifact else None,
            files=tuple(replace(one, cut=stream.file_cut) for one in kept),
            masked=dict(stream.redaction.masked),
            findings=await self._read(target, step, stream, life.redactor),
            stop_proof=life.redactor.text(stream.stop_proof),
            remark=life.redactor.text(stream.remark),
        )

    async def _store_chunks(
        self, key: str, stream: StepStream, pieces: AsyncGenerator[bytes, None], *, content_type: str = TEXT
    ) -> tuple[Artifact | None, str]:
        """Keep *pieces* of a stream; none leave no object. The second value is the store's trouble, if any."""
        async with aclosing(pieces) as chunks:
            first = await anext(chunks, None)
            if first is None:
                return None, ""
            try:
                return await self._store.put(key, _chain(first, chunks), content_type=content_type), ""
            except StoreError as error:
                # The target's part still runs when the store gave up early.
                what = stream.file.name if stream.file else "The output"
                await stream.stop(Outcome.FAILED, f"{what} could not be kept.")
                return None, error.reason

    async def _read(self, target: Target, step: Step, stream: StepStream, redactor: Redactor) -> tuple[Finding, ...]:
        insight = self._insights.get(step.insight or "")
        if insight is None or not stream.head:
            return ()
        reading = Reading(
            text=stream.head.decode("utf-8", "replace"),
            target=target.name,
            file=bytes(stream.file_head),
            cut=stream.cut or not stream.head_is_whole,
        )
        try:
            # In a thread: two MiB of text may take longer than an acknowledgement may wait.
            found = await asyncio.to_thread(lambda: list(insight(reading))[:FINDINGS_PER_STEP])
        except Exception:  # a third-party insight's bug must not cost the evidence that it was to explain
            log.exception("insight failed", insight=step.insight, target=target.name)
            return ()
        return tuple(_masked(one, redactor) if reading.file else one for one in found)

    # --- the end ------------------------------------------------------------------------------

    async def _finish(self, job: Job, life: _Life) -> State:
        state, manifest, reason = _state_of(life), None, life.stopped
        body = manifest_of(job.capture, state, life.results, at=self._now(), reason=reason)
        try:
            key = f"{job.capture.prefix}manifest.json"
            manifest = await self._store.put(key, _chain(body), content_type="application/json")
            manifest = replace(manifest, trouble=(trouble := life.redactor.text(manifest.trouble)))
        except StoreError as error:
            trouble = life.redactor.text(f"The manifest could not be kept: {error.reason}")
        end = ending(Finished(capture_id=job.capture.id, state=state, at=self._now(), reason=reason), manifest, trouble)
        await self._emit(end)
        return end.state

    async def _emit(self, event: Event) -> None:
        for pause_s in JOURNAL_PATIENCE_S:
            try:
                await self._commit(event)
            except JournalError as error:
                log.warning("journal refuses", event_type=event.type, reason=error.reason, again_in_s=pause_s)
                await asyncio.sleep(pause_s)
            else:
                return
        await self._commit(event)


def manifest_of(
    capture: Capture,
    state: State,
    results: list[StepResult],
    *,
    at: datetime,
    reason: str = "",
    found: tuple[Artifact, ...] = (),
) -> bytes:
    """`manifest.json`: who, when, what ran, what came of it; *found* are objects that no result names."""
    body = {
        "version": MANIFEST_VERSION,
        "state": state,
        "reason": reason,
        "ended_at": at,
        "capture": asdict(capture),
        "masked": dict(sum((Counter(result.masked) for result in results), Counter[str]())),
        "steps": [{**asdict(result), "findings": [asdict(f) for f in result.findings]} for result in results],
        "found_after_interruption": [asdict(artifact) for artifact in found],
    }
    return json.dumps(body, indent=2, ensure_ascii=False, default=_plain).encode() + b"\n"


def ending(end: Finished, manifest: Artifact | None, trouble: str) -> Finished:
    """*end* with its manifest; a *trouble* with keeping that is a gap, and is told."""
    state = State.PARTIAL if trouble and end.state is State.COMPLETE else end.state
    return replace(end, manifest=manifest, state=state, reason=f"{end.reason} {trouble}".strip())


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.name.lower()
    return str(value)


def _state_of(life: _Life) -> State:
    if life.stopped:
        return State.STOPPED
    outcomes = [result.outcome for result in life.results]
    refused = any(kept.trouble for result in life.results for kept in result.kept)
    well = all(outcome in (Outcome.OK, Outcome.SKIPPED) for outcome in outcomes) and Outcome.OK in outcomes
    if well and not refused:
        return State.COMPLETE
    if any(result.kept for result in life.results):
        return State.PARTIAL
    return State.FAILED


def _masked(finding: Finding, redactor: Redactor) -> Finding:
    """What was read from a file, which was not redacted."""
    return replace(
        finding, text=redactor.text(finding.text), evidence=tuple(redactor.text(line) for line in finding.evidence)
    )


def _no_way(target: Target, step: Step) -> str:
    if isinstance(step.action, Sql):
        return f"{target.name} has no database in capturebot.yml; add `mysql:` to it."
    if target.windows:
        return f"{target.name} is a Windows host, and this step is for Linux."
    return f"{target.name} has no host access in capturebot.yml; add `ssh:` to it to run this step."


def _own_fault(capture: Capture, step: Step, error: Exception) -> str:
    error_id = secrets.token_hex(4)
    log.error("step broke", error_id=error_id, capture=capture.id, step=step.id, exc_info=error)
    return f"Something broke on capturebot's side; whoever runs it finds the cause under error {error_id}."


async def _chain(first: bytes, rest: AsyncIterator[bytes] | None = None) -> AsyncGenerator[bytes, None]:
    yield first
    if rest is not None:
        async for chunk in rest:
            yield chunk

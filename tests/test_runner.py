"""One capture from start to end: whatever happens on a target is a result, and nothing that came is lost."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import replace
from time import thread_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import JournalError, StepFailed
from bot.insights import Reading, sections
from bot.model import (
    Artifact,
    Event,
    Finding,
    Finished,
    Level,
    Outcome,
    Sampling,
    Sql,
    Started,
    State,
    Statement,
    Step,
    StepFinished,
    StepResult,
    StepStarted,
    Target,
)
from bot.pipeline import SPARSE_S, Allowance, StepStream
from bot.redact import Redactor
from bot.runner import Job, Runner
from bot.settings import Limits
from tests.fakes import AT, Clock, MemoryStore, Script, ScriptedTransport, a_capture, a_recipe, a_step

HOST = Target(name="app-1", local=True)
SECRET = b"hunter2-hunter2"


class SpareInstead(MemoryStore):
    """Takes everything, and says of keys with *part* that they lie elsewhere."""

    part = "no such key"

    async def put(
        self, key: str, chunks: AsyncIterator[bytes], *, content_type: str = "text/plain; charset=utf-8"
    ) -> Artifact:
        kept = await super().put(key, chunks, content_type=content_type)
        return replace(kept, trouble=f"S3 refused {SECRET.decode()}.") if self.part in key else kept


class Bench:
    """A runner with scripted targets and a store in memory; keeps its events."""

    def __init__(self, scripts: Mapping[str, Script], *, limits: Limits | None = None, refuses: str = "") -> None:
        self.transport = ScriptedTransport(scripts)
        self.store = SpareInstead(refuses={refuses: "The bucket refused it."} if refuses else {})
        self.events: list[Event] = []
        self.journal_failures: list[JournalError] = []
        self.writing, self.writable = asyncio.Event(), asyncio.Event()  # the start of a step is written; and may be
        self.writable.set()
        self.runner = Runner(
            transports={"local": self.transport},
            store=self.store,
            insights={"hog": self.read, "broken": self.break_down, "opener": self.open},
            redactor=lambda _: Redactor(lambda: (SECRET,), salt=b"salt"),
            emit=self.emit,
            limits=limits or Limits(),
            now=Clock(),
        )

    async def emit(self, event: Event) -> None:
        if self.journal_failures:
            raise self.journal_failures.pop()
        if isinstance(event, StepStarted):
            self.writing.set()
            await self.writable.wait()
        self.events.append(event)

    @staticmethod
    def read(reading: Reading) -> list[Finding]:
        return [Finding(level=Level.BAD, text=f"read {len(reading.text)} on {reading.target}")]

    @staticmethod
    def open(reading: Reading) -> list[Finding]:
        content = reading.file.decode("latin-1")
        return [Finding(level=Level.INFO, text=f"{len(content)} bytes", evidence=(content[:100],))]

    @staticmethod
    def break_down(_: Reading) -> list[Finding]:
        raise ValueError("a bug in an insight")

    async def run(self, *steps: Step, targets: tuple[Target, ...] = (HOST,)) -> State:
        capture = a_capture(targets=tuple(target.name for target in targets))
        return await self.runner.run(Job(capture=capture, recipe=a_recipe(), steps=steps, targets=targets))

    @property
    def results(self) -> dict[str, StepResult]:
        return {event.result.step: event.result for event in self.events if isinstance(event, StepFinished)}

    @property
    def end(self) -> Finished:
        (end,) = [event for event in self.events if isinstance(event, Finished)]
        return end

    def stored(self, name: str) -> bytes:
        return self.store.objects[f"evidence/2026/11/22/adhoc/abc234/{name}"]


async def test_a_good_capture_stores_each_step_and_then_the_manifest() -> None:
    """Events in order, objects under their keys, the manifest last and complete."""
    bench = Bench({"ps": Script(pieces=[b"one\n", b"two\n"])})

    state = await bench.run(a_step("ps"), a_step("df"))

    manifest = json.loads(bench.stored("manifest.json"))
    assert state is bench.end.state is State.COMPLETE
    assert isinstance(bench.events[0], Started)
    assert isinstance(bench.events[-1], Finished)
    assert sum(isinstance(event, StepStarted) for event in bench.events) == 2
    assert bench.stored("app-1/ps.txt") == b"one\ntwo\n"
    assert list(bench.store.objects)[-1].endswith("manifest.json")
    assert {step["step"]: step["artifact"]["sha256"] for step in manifest["steps"]} == {
        result.step: result.artifact.sha256 for result in bench.results.values() if result.artifact
    }
    assert manifest["capture"]["who"] == {"id": "U1", "name": "ana"}
    assert manifest["capture"]["recipe_digest"] == "d" * 64


@pytest.mark.parametrize(
    ("script", "outcome", "kept"),
    [
        (Script(failure=StepFailed("It said no.")), Outcome.FAILED, b"output\n"),
        (Script(failure=StepFailed("Too slow.", outcome=Outcome.TIMED_OUT)), Outcome.TIMED_OUT, b"output\n"),
        (Script(failure=StepFailed("Gone.", outcome=Outcome.LOST)), Outcome.LOST, b"output\n"),
        (Script(refuses=StepFailed("No such tool.", outcome=Outcome.SKIPPED)), Outcome.SKIPPED, None),
        (Script(breaks=ZeroDivisionError("bug")), Outcome.FAILED, None),
    ],
)
async def test_a_bad_end_is_a_result_and_spares_the_other_steps(
    script: Script, outcome: Outcome, kept: bytes | None
) -> None:
    """What came before the bad end is kept, and the step beside it is whole."""
    bench = Bench({"ps": script})

    await bench.run(a_step("ps"), a_step("df"))

    assert bench.results["ps"].outcome is outcome
    assert bench.results["ps"].reason
    assert bench.store.objects.get("evidence/2026/11/22/adhoc/abc234/app-1/ps.txt") == kept
    assert bench.results["df"].outcome is Outcome.OK


async def test_stopping_ends_the_step_on_its_target_and_keeps_its_last_words() -> None:
    """A stop reaches the execution, its proof is in the result, and what it said on dying is stored."""
    bench = Bench({"ps": Script(hangs=True, last_words=b"summary\n")})
    async with asyncio.TaskGroup() as group:
        running = group.create_task(bench.run(a_step("ps"), a_step("later")))
        await bench.transport.wait_for_start(1)
        await bench.transport.executions[0].hanging.wait()
        await bench.runner.stop("abc234", "Stopped by ana.")

    result = bench.results["ps"]
    assert running.result() is State.STOPPED
    assert (result.outcome, result.reason, result.stop_proof) == (
        Outcome.STOPPED,
        "Stopped by ana.",
        "process group 8123 gone",
    )
    assert bench.stored("app-1/ps.txt") == b"output\nsummary\n"
    assert bench.end.reason == "Stopped by ana."


async def test_a_stop_that_comes_while_a_start_is_written_down_is_not_missed() -> None:
    """The step is announced, but its stream is not there yet: it must not run on for its whole time."""
    bench = Bench({"ps": Script(hangs=True)})
    bench.writable.clear()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(bench.run(a_step("ps")))
        await bench.writing.wait()
        await bench.runner.stop("abc234", "Stopped by ana.")
        bench.writable.set()

    assert running.result() is State.STOPPED
    assert bench.results["ps"].reason == "Stopped by ana."
    assert bench.transport.executions == []


async def test_a_stop_does_not_wait_for_a_target_that_does_not_answer() -> None:
    """A start that hangs is broken off."""
    bench = Bench({"ps": Script(never_starts=True)})
    async with asyncio.TaskGroup() as group:
        running = group.create_task(bench.run(a_step("ps")))
        await bench.transport.begun.wait()
        await bench.runner.stop("abc234", "Stopped by ana.")

    assert running.result() is State.STOPPED
    assert (bench.results["ps"].outcome, bench.results["ps"].reason) == (Outcome.STOPPED, "Stopped by ana.")


async def test_a_capture_stopped_before_its_turn_touches_no_target() -> None:
    """A stop that comes while a capture waits is not forgotten."""
    bench = Bench({})
    await bench.runner.stop("abc234", "Stopped by ana.")

    state = await bench.run(a_step("ps"))

    assert state is State.STOPPED
    assert bench.transport.executions == []


async def test_a_capture_that_runs_too_long_is_ended_and_keeps_what_came() -> None:
    """The bound on a capture's life works like a stop."""
    bench = Bench({"ps": Script(hangs=True)}, limits=Limits(capture_s=0.05))

    state = await bench.run(a_step("ps"))

    assert state is State.STOPPED
    assert "longer than 0.05 s" in bench.end.reason
    assert bench.stored("app-1/ps.txt") == b"output\n"


async def test_cancelling_ends_the_step_on_its_target() -> None:
    """Even the hard way out leaves nothing running."""
    bench = Bench({"ps": Script(hangs=True)})
    async with asyncio.TaskGroup() as group:
        running = group.create_task(bench.run(a_step("ps")))
        await bench.transport.wait_for_start(1)
        await bench.transport.executions[0].hanging.wait()
        running.cancel()

    assert bench.transport.executions[0].stops > 0


async def test_output_is_cut_at_the_steps_limit_and_says_so() -> None:
    """The first part is kept, to the byte."""
    bench = Bench({"ps": Script(pieces=[b"x" * 700, b"y" * 700], hangs=True)})

    await bench.run(a_step("ps", limit_bytes=1000))

    assert len(bench.stored("app-1/ps.txt")) == 1000
    assert bench.results["ps"].cut
    assert bench.transport.executions[0].stops > 0
    assert bench.end.state is State.COMPLETE


async def test_the_captures_bytes_are_shared_by_its_steps() -> None:
    """All steps together store no more than the capture may."""
    bench = Bench(
        {"ps": Script(pieces=[b"x" * 600]), "df": Script(pieces=[b"y" * 600])}, limits=Limits(capture_bytes=800)
    )

    await bench.run(a_step("ps"), a_step("df"))

    assert sum(len(body) for key, body in bench.store.objects.items() if key.endswith(".txt")) == 800


async def test_secrets_reach_neither_store_nor_result_nor_insight() -> None:
    """The secret is gone from objects, reasons and commands, and counted."""
    said = SECRET.decode()
    leaky = Script(pieces=[b"password is hun", b"ter2-hunter2\n"], failure=StepFailed(f"bad key {said}"), remark=said)
    bench = Bench({"ps": leaky})

    await bench.run(a_step("ps", insight="hog"), a_step("df"))

    everything = b"".join(bench.store.objects.values()) + repr(bench.events).encode()
    assert SECRET not in everything
    assert sum(bench.results["ps"].masked.values()) == 1
    assert json.loads(bench.stored("manifest.json"))["masked"] == bench.results["ps"].masked


async def test_findings_are_read_from_what_was_stored() -> None:
    """An insight sees the artifact's text."""
    bench = Bench({})

    await bench.run(a_step("ps", insight="hog"))

    (finding,) = bench.results["ps"].findings
    assert finding.text == "read 7 on app-1"


async def test_a_broken_insight_costs_its_findings_only() -> None:
    """The evidence it was to explain is kept."""
    bench = Bench({})

    state = await bench.run(a_step("ps", insight="broken"))

    assert state is State.COMPLETE
    assert bench.stored("app-1/ps.txt") == b"output\n"


async def test_a_store_that_refuses_is_a_result_and_ends_the_step() -> None:
    """The reason is the store's; findings are still read."""
    more_than_redaction_holds_back = b"output\n" * 100_000
    bench = Bench({"ps": Script(pieces=[more_than_redaction_holds_back], hangs=True)}, refuses="ps.txt")

    state = await bench.run(a_step("ps", insight="hog", limit_bytes=1_000_000), a_step("df"))

    assert bench.results["ps"].reason == "The output could not be kept. The bucket refused it."
    assert bench.results["ps"].findings
    assert bench.transport.executions[0].stops > 0
    assert state is State.PARTIAL


async def test_a_missing_manifest_is_said() -> None:
    """A capture without its manifest is not complete."""
    bench = Bench({}, refuses="manifest")

    state = await bench.run(a_step("ps"))

    assert state is State.PARTIAL
    assert bench.end.manifest is None
    assert "The bucket refused it." in bench.end.reason


@pytest.mark.parametrize("part", ["ps.txt", "manifest.json"])
async def test_what_is_kept_elsewhere_is_a_gap_and_is_said(part: str) -> None:
    """The output is there, but not where it belongs: complete, with gaps; no secret is in what is said."""
    bench = Bench({})
    bench.store.part = part

    state = await bench.run(a_step("ps"))

    said = bench.results["ps"].reason if part == "ps.txt" else bench.end.reason
    assert state is bench.end.state is State.PARTIAL
    assert bench.results["ps"].outcome is Outcome.OK
    assert said.startswith("S3 refused ")
    assert bench.results["ps"].artifact
    assert part != "ps.txt" or (bench.results["ps"].artifact.trouble == said and SECRET.decode() not in said)


async def test_a_journal_that_is_away_for_a_moment_is_waited_for() -> None:
    """An event is tried again before anything else happens."""
    bench = Bench({})
    bench.journal_failures = [JournalError("locked")]

    state = await bench.run(a_step("ps"))

    assert state is State.COMPLETE
    assert isinstance(bench.events[0], Started)


async def test_a_step_without_a_way_to_the_target_is_skipped_with_the_cure() -> None:
    """A host without a database cannot answer SQL."""
    sql = Sql(statements=(Statement(name="one", both="SELECT 1"),))
    bench = Bench({})

    await bench.run(a_step("ps"), a_step("db", action=sql))

    assert bench.results["db"].outcome is Outcome.SKIPPED
    assert "add `mysql:`" in bench.results["db"].reason


async def test_a_dead_target_does_not_hold_up_the_others() -> None:
    """Every target has its own results."""
    bench = Bench({"ps": Script()})
    dead = replace(HOST, name="app-2", local=False)

    state = await bench.run(a_step("ps"), targets=(HOST, dead))

    outcomes = {e.result.target: e.result.outcome for e in bench.events if isinstance(e, StepFinished)}
    assert outcomes == {"app-1": Outcome.OK, "app-2": Outcome.SKIPPED}
    assert state is State.COMPLETE


async def test_a_sampled_step_is_one_artifact_with_a_header_a_sample() -> None:
    """Two runs, two headers that an insight can read back."""
    bench = Bench({})

    await bench.run(a_step("ps", sampling=Sampling(times=2, every_s=0.01)))

    parts = sections(bench.stored("app-1/ps.txt").decode())
    assert [(part.name, part.facts["n"], part.body) for part in parts] == [
        ("sample", "1", "output\n"),
        ("sample", "2", "output\n"),
    ]


@given(
    pieces=st.lists(st.binary(max_size=60), max_size=12),
    limit=st.integers(min_value=0, max_value=300),
    allowance=st.integers(min_value=0, max_value=300),
)
def test_no_limit_is_ever_exceeded(pieces: list[bytes], limit: int, allowance: int) -> None:
    """Whatever comes in whatever pieces, at most the smaller limit is let in, and a cut is said."""
    given_in_all = b"".join(pieces)

    async def consume() -> tuple[bytes, bool]:
        transport = ScriptedTransport({"ps": Script(pieces=pieces)})
        step = a_step(limit_bytes=limit)

        class Plain:
            def __init__(self) -> None:
                self.masked: dict[str, int] = {}

            def feed(self, data: bytes) -> bytes:
                return data

            def finish(self) -> bytes:
                return b""

        stream = StepStream(
            step,
            lambda: transport.start(HOST, step, capture_id="abc234"),
            redaction=Plain(),  # type: ignore[arg-type]  # lets everything through, to count it
            allowance=Allowance(allowance),
            now=lambda: AT,
        )
        chunks: AsyncGenerator[bytes, None] = stream.chunks()
        return b"".join([chunk async for chunk in chunks]), stream.cut

    came, cut = asyncio.run(consume())

    assert came == given_in_all[: min(limit, allowance)]
    assert cut == (len(given_in_all) > min(limit, allowance))


class Slow:
    """Redacts nothing, and says in which threads it was called; slowly as long as there is an x."""

    def __init__(self) -> None:
        self.masked: dict[str, int] = {}
        self.beside: list[bool] = []

    def feed(self, data: bytes) -> bytes:
        self.beside.append(threading.current_thread() is not threading.main_thread())
        began = thread_time()
        while b"x" in data and thread_time() - began < 2 * SPARSE_S:
            pass
        return data

    def finish(self) -> bytes:
        return self.feed(b".")


async def test_text_full_of_secrets_is_redacted_beside_the_loop() -> None:
    """What takes long must not keep an acknowledgement waiting; what does not is done where it is."""
    transport = ScriptedTransport({"ps": Script(pieces=(b"x", b"xx", b"o", b"oo"))})
    redaction = Slow()
    stream = StepStream(
        a_step(),
        lambda: transport.start(HOST, a_step(), capture_id="abc234"),
        redaction=redaction,  # type: ignore[arg-type]  # see above
        allowance=Allowance(1000),
        now=lambda: AT,
    )

    came = [chunk async for chunk in stream.chunks()]

    assert came == [b"x", b"xx", b"o", b"oo", b"."]
    assert redaction.beside == [True, True, True, False, False]

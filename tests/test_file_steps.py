"""Steps that leave a file: kept beside their output, as it is, apart, marked, and bounded on its own."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from dataclasses import replace

from rich.console import Console

from bot.errors import StepFailed
from bot.insights import FILE_BYTES
from bot.model import File, Moved, Outcome, Script, State, Step, StepFinished, StepResult
from bot.reporters import pagerduty, slack_message
from bot.reporters.terminal import render
from bot.runner import Job
from bot.stores.keys import is_binary, type_of
from bot.story import BROUGHT_HOME, begin, go_on
from bot.transports import FileEnd, FileHead, Piece
from tests.fakes import AT, a_capture, a_recipe, a_step, accepted, an_artifact
from tests.fakes import Script as Play
from tests.test_runner import HOST, SECRET, Bench

KEY = "evidence/2026/11/22/adhoc/abc234/binary/app-1/core/core.zst"
HEAD = FileHead(name="core.zst", type="application/zstd")


def a_file_step(*, limit_bytes: int = 1000, text_bytes: int = 1000) -> Step:
    """A step that leaves a core."""
    action = File(
        script=Script(name="core.sh", text=""), name="core", type="application/x-coredump", limit_bytes=limit_bytes
    )
    return a_step("core", action=action, limit_bytes=text_bytes)


def a_play(*pieces: Piece, **changes: object) -> dict[str, Play]:
    """What the step does."""
    return {"core": Play(pieces=pieces, **changes)}  # type: ignore[arg-type]  # fields by name


async def test_a_file_is_kept_apart_as_it_is() -> None:
    """The output is redacted; the file is not, and says so."""
    bench = Bench(a_play(b"pwd " + SECRET + b"\n", HEAD, b"\0" + SECRET, b"\n\xff", FileEnd()))

    state = await bench.run(a_file_step())

    result = bench.results["core"]
    (file,) = result.files
    assert state is State.COMPLETE
    assert SECRET not in bench.stored("app-1/core.txt")
    assert bench.store.objects[KEY] == b"\0" + SECRET + b"\n\xff"
    assert (file.key, file.binary, file.cut) == (KEY, True, False)
    assert file.sha256 == hashlib.sha256(bench.store.objects[KEY]).hexdigest()
    assert file.caution == "not redacted: may hold secrets"
    assert result.artifact is not None
    assert (result.artifact.binary, result.artifact.caution) == (False, "")
    kept = json.loads(bench.stored("manifest.json"))["steps"][0]["files"]
    assert [(each["key"], each["binary"], each["cut"]) for each in kept] == [(KEY, True, False)]


async def test_a_file_is_cut_at_its_own_limit_and_called_cut() -> None:
    """The step is ended, and what came is kept."""
    bench = Bench(a_play(b"report\n", HEAD, b"0123456789" * 3, FileEnd(), hangs=True))

    await bench.run(a_file_step(limit_bytes=25))

    result = bench.results["core"]
    assert bench.store.objects[KEY] == b"0123456789" * 2 + b"01234"
    assert (result.outcome, result.cut, result.files[0].cut) == (Outcome.OK, True, True)
    assert result.reason == "core.zst was cut at its limit of 25 bytes; the first part is kept."
    assert result.stop_proof == "process group 8123 gone"


async def test_a_report_that_is_too_long_does_not_cost_the_file() -> None:
    """What is over its limit is dropped until the file begins."""
    bench = Bench(a_play(b"x" * 30, b"y" * 30, HEAD, b"core", FileEnd()))

    await bench.run(a_file_step(text_bytes=40))

    result = bench.results["core"]
    assert bench.stored("app-1/core.txt") == b"x" * 30 + b"y" * 10
    assert (result.cut, bench.store.objects[KEY], result.files[0].cut) == (True, b"core", False)


async def test_an_insight_reads_the_beginning_of_the_file_and_its_words_are_redacted() -> None:
    """Within a bound; the file itself comes past the redaction."""
    bench = Bench(a_play(b"report\n", HEAD, b"pwd " + SECRET, bytes(FILE_BYTES), FileEnd()))

    await bench.run(replace(a_file_step(limit_bytes=10**8), insight="opener"))

    (finding,) = bench.results["core"].findings
    assert finding.text == f"{FILE_BYTES} bytes"
    assert SECRET.decode() not in finding.evidence[0]
    assert finding.evidence[0].startswith("pwd [masked:")


async def test_a_file_without_a_report_is_kept() -> None:
    """And a report without a file is an ordinary step."""
    bench = Bench(a_play(HEAD, b"core", FileEnd()))
    other = Bench(a_play(b"no core\n"))

    await bench.run(a_file_step())
    await other.run(a_file_step())

    assert (bench.results["core"].artifact, [file.key for file in bench.results["core"].files]) == (None, [KEY])
    assert (other.results["core"].files, other.results["core"].outcome) == ((), Outcome.OK)


async def test_a_file_that_broke_off_is_kept_and_called_cut() -> None:
    """The connection went."""
    lost = StepFailed("The connection to app-1 was lost.", outcome=Outcome.LOST)
    bench = Bench(a_play(b"report\n", HEAD, b"half", failure=lost))

    await bench.run(a_file_step())

    result = bench.results["core"]
    assert (result.outcome, bench.store.objects[KEY], result.files[0].cut) == (Outcome.LOST, b"half", True)
    assert result.files[0].caution == "cut, not redacted: may hold secrets"


async def test_a_whole_file_of_a_script_that_failed_is_not_called_cut() -> None:
    """It may be what explains why."""
    bench = Bench(a_play(b"report\n", HEAD, b"all", FileEnd(), failure=StepFailed("core.sh ended with status 3.")))

    await bench.run(a_file_step())

    result = bench.results["core"]
    assert (result.outcome, result.reason, result.files[0].cut) == (
        Outcome.FAILED,
        "core.sh ended with status 3.",
        False,
    )


async def test_a_store_that_refuses_the_file_leaves_the_report() -> None:
    """The step ends on its target."""
    bench = Bench(a_play(b"report\n", HEAD, b"core", FileEnd(), hangs=True), refuses="binary")

    state = await bench.run(a_file_step())

    result = bench.results["core"]
    assert (state, result.outcome, result.files) == (State.PARTIAL, Outcome.FAILED, ())
    assert result.reason == "core.zst could not be kept. The bucket refused it."
    assert bench.transport.executions[0].stops


async def test_a_stop_within_a_file_keeps_what_came() -> None:
    """It is called cut, and the stop is proved."""
    bench = Bench(a_play(b"report\n", HEAD, b"half", hangs=True))
    capture = a_capture(targets=("app-1",))
    job = Job(capture=capture, recipe=a_recipe(), steps=(a_file_step(),), targets=(HOST,))

    async with asyncio.TaskGroup() as group:
        running = group.create_task(bench.runner.run(job))
        await bench.transport.wait_for_start(1)
        await bench.transport.executions[0].hanging.wait()
        await bench.runner.stop(capture.id, "Stopped by ana.")
    state = running.result()

    result = bench.results["core"]
    assert (state, result.outcome, bench.store.objects[KEY]) == (State.STOPPED, Outcome.STOPPED, b"half")
    assert (result.files[0].cut, result.stop_proof) == (True, "process group 8123 gone")


async def test_what_came_to_light_on_the_host_is_told() -> None:
    """Redacted like all that people read."""
    bench = Bench(a_play(b"report\n", remark=f"An earlier capture had left {SECRET.decode()}."))

    await bench.run(a_file_step())

    remark = bench.results["core"].remark
    assert remark.startswith("An earlier capture had left ")
    assert SECRET.decode() not in remark


def test_a_key_tells_what_is_not_redacted() -> None:
    """A bucket policy can guard `*/binary/*`; a target or a step of that name is no such thing."""
    assert is_binary(KEY)
    assert not is_binary("evidence/2026/11/22/adhoc/abc234/binary/ps.txt")
    assert not is_binary("evidence/2026/11/22/adhoc/abc234/app-1/binary.txt")
    assert not is_binary("manifest.json")
    assert [type_of(key) for key in (KEY, "a/m.json", "a/x.txt", "i/binary/t/s/heap")] == [
        "application/zstd",
        "application/json",
        "text/plain; charset=utf-8",
        "application/octet-stream",
    ]


def test_a_file_that_is_brought_home_stays_what_it_was() -> None:
    """Cut, not redacted; and where it lay meanwhile is no reason any more."""
    away = replace(an_artifact(KEY), trouble="S3 was away.", binary=True, cut=True)
    result = StepResult(
        target="app-1",
        step="core",
        outcome=Outcome.OK,
        started_at=AT,
        seconds=1.0,
        reason="S3 was away.",
        files=(away,),
    )
    story = begin(accepted(a_capture()))

    for event in (
        StepFinished(capture_id="abc234", result=result, at=AT),
        Moved(capture_id="abc234", key=KEY, artifact=replace(an_artifact(KEY), binary=True), at=AT),
    ):
        story = go_on(story, event)

    (file,) = story.artifacts
    assert (file.trouble, file.caution) == ("", "cut, not redacted: may hold secrets")
    assert story.results[0].reason == BROUGHT_HOME
    assert story.away == ()


def test_every_reader_is_told_what_is_not_redacted() -> None:
    """The thread, the terminal and the note of the incident; with what came to light on the host."""
    file = replace(an_artifact(KEY, 3_000_000), url="https://files.example/core.zst", binary=True, cut=True)
    result = StepResult(
        target="app-1",
        step="core",
        outcome=Outcome.OK,
        started_at=AT,
        seconds=1.0,
        files=(file,),
        remark="Pid 8 runs again.",
    )
    story = go_on(begin(accepted(a_capture())), StepFinished(capture_id="abc234", result=result, at=AT))

    thread = "\n".join(message.text for message in slack_message.details(story))
    console = Console(width=1000, record=True, file=io.StringIO())
    console.print(render(story))
    terminal = console.export_text()
    note = "\n".join(pagerduty._files(story))

    caution = "(3.0 MB, cut, not redacted: may hold secrets)"
    assert f"core.zst {caution}" in thread
    assert f"https://files.example/core.zst {caution} · Pid 8 runs again." in terminal
    assert "Pid 8 runs again." in thread
    assert "cut, not redacted: may hold secrets) https://files.example/core.zst" in note
    assert "no output" not in thread

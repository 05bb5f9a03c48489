"""`trace`, `profile` and `snapshot` on real programs: what a stop leaves, what an ordinary user gets, what hangs."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from bot.insights import Insight, Reading, sections
from bot.insights.profiles import profile
from bot.insights.snapshot import snapshot
from bot.insights.traces import trace
from bot.model import Level, Script, Target
from bot.recipes import bind, bind_parameters, builtin_folder, load_folder
from bot.transports.local import ENVIRONMENT, LocalTransport
from bot.transports.scratch import PLACES, VARIABLE
from tests.steps import Kept, a_step, gone, keep, keep_rest, start, until
from tests.test_guide import examples, write_examples

pytestmark = pytest.mark.live

CAPTURES = builtin_folder()
HERE = Target(name="here", local=True)
READY_S = 15.0
COUNTED_S = 1.5  # of its CPU time, before a tracer is stopped
PYTHON = os.path.realpath(sys.executable)  # so that no launcher stands in between
BUSY = "import os\nprint('ready', flush=True)\nwhile True: os.getppid(), sum(range(1000))"
STILL = "import time\nprint('ready', flush=True)\ntime.sleep(600)"
HANGS = """\
well() { section told; echo "$CAPTURE_SCRATCH"; }
hangs() { section begun; sleep 300; }
floods() { section flood; yes; }
fails() { section tried; echo 'no such device' >&2; return 3; }
part well 5 well
part hangs 1 hangs
part floods 5 floods
part fails 5 fails
parts_end
exit 0
"""


def script_of(recipe: str, **parameters: object) -> Script:
    """The script of a recipe's step, with its defaults and *parameters*."""
    loaded = load_folder(CAPTURES)[recipe]
    (step,) = loaded.steps
    assert isinstance(step.action, Script)
    values = {each.name: each.default for each in loaded.parameters} | parameters
    env = {f"PARAM_{name.upper()}": str(value) for name, value in values.items()}
    return Script(name=step.action.name, text=step.action.text, env=env)


def need(program: str, package: str) -> None:
    """Skip where a program is missing, with what to install."""
    if not shutil.which(program, path=ENVIRONMENT["PATH"]):
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{program} is missing: apt-get install {package}")


def need_root() -> None:
    """Skip where the kernel will not be looked into."""
    if os.geteuid() != 0:
        pytest.skip("only root may look into the kernel")


@asynccontextmanager
async def running(code: str) -> AsyncIterator[int]:
    """A Python program; its pid."""
    process = await asyncio.create_subprocess_exec(PYTHON, "-c", code, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        assert process.stdout
        async with asyncio.timeout(READY_S):
            assert await process.stdout.readline() == b"ready\n"
        yield process.pid
    finally:
        process.kill()
        await process.wait()


async def run(script: Script) -> Kept:
    """All that a script says here."""
    return await keep(await start(LocalTransport(), HERE, a_step(script, timeout_s=60)))


def tracers(name: str, pid: int) -> list[psutil.Process]:
    """Programs of that name that look at *pid*."""
    found = psutil.process_iter(["name", "cmdline"])
    return [each for each in found if each.info["name"] == name and str(pid) in " ".join(each.info["cmdline"] or [])]


def scratch_of(process: psutil.Process) -> Path:
    """The folder that its step has."""
    return Path(process.environ()[VARIABLE])


def attached(looking: list[psutil.Process]) -> bool:
    """Whether one of them has asked the kernel for events."""
    try:
        fds = [fd.readlink().name for each in looking for fd in Path(f"/proc/{each.pid}/fd").iterdir()]
    except FileNotFoundError:  # closed while we looked
        return False
    return any("perf_event" in fd for fd in fds)


def parts_of_snapshots() -> set[Path]:
    """The first part of every snapshot that is under way."""
    return {part for place in PLACES for part in Path(place).glob("capturebot-*/part.usage")}


# --- being polite -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "tracer", "package", "kept"),
    [("trace", "bpftrace", "bpftrace", '"@calls"'), ("profile", "perf", "linux-perf", "python")],
)
async def test_a_stop_in_the_middle_keeps_what_came_and_leaves_nothing(
    recipe: str, tracer: str, package: str, kept: str
) -> None:
    """The tracer ends, what it has is printed, its folder is gone, and the program runs on."""
    need(tracer, package)
    need_root()
    async with running(BUSY) as pid:
        step = a_step(script_of(recipe, pid=pid, seconds=30), timeout_s=90)
        execution = await start(LocalTransport(), HERE, step)
        assert await until(lambda: tracers(tracer, pid) != [])
        looking = tracers(tracer, pid)
        folder = scratch_of(looking[0])
        assert folder.is_dir()
        assert await until(lambda: attached(looking))
        used = psutil.Process(pid).cpu_times().user
        assert await until(lambda: psutil.Process(pid).cpu_times().user > used + COUNTED_S)

        rest, proof = await asyncio.gather(keep_rest(execution.output()), execution.stop())

        assert "gone" in proof
        assert kept in rest.output.decode()
        assert await gone(*(each.pid for each in looking))
        assert not folder.exists()
        assert psutil.Process(pid).status() not in {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP}


# --- an ordinary user -------------------------------------------------------------------------


@pytest.mark.parametrize(("recipe", "insight"), [("trace", trace), ("profile", profile)])
async def test_an_ordinary_user_gets_what_there_is_and_reads_what_is_missing(recipe: str, insight: Insight) -> None:
    """Nothing fails, and the sentence says what mends it."""
    need_root()
    script = script_of(recipe, seconds=2)
    folder = tempfile.mkdtemp(dir="/var/tmp")  # where that user may go
    shutil.chown(folder, "nobody")
    process = await asyncio.create_subprocess_exec(
        *("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "bash", "-c", script.text),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",
        env={**ENVIRONMENT, "LC_ALL": "C", VARIABLE: folder, **script.env},
    )

    out, err = await process.communicate()

    shutil.rmtree(folder)
    assert (process.returncode, err) == (0, b"")
    said = [each.text for each in insight(Reading(text=out.decode(), target="here")) if each.level is Level.WARN]
    assert any(re.search(r"log in as root|is not installed: run", text) for text in said), said


# --- parts ------------------------------------------------------------------------------------


async def test_a_part_that_hangs_floods_or_fails_does_not_harm_the_others() -> None:
    """Each is told by its state, in the order that they were started in."""
    text = "\n".join((CAPTURES / name).read_text() for name in ("choose-process.sh", "parts.sh"))

    kept = await run(Script(name="own.sh", text=f"{text}\n{HANGS}"))

    parts = [part.facts for part in sections(kept.output.decode()) if part.name == "part"]
    assert [(part["name"], part["state"]) for part in parts[:2]] == [("well", "well"), ("hangs", "late")]
    assert parts[2]["name"] == "floods"
    assert parts[3] == {"name": "fails", "state": "status-3"}
    bodies = {part.name: part.body for part in sections(kept.output.decode())}
    folder = Path(bodies["told"].strip())
    assert folder.name.startswith("capturebot-")
    assert "no such device" in bodies["words"]
    assert len(kept.output) < 1_100_000
    assert kept.reason == ""
    assert await until(lambda: not folder.exists())


async def test_no_part_of_a_snapshot_fails_or_takes_its_whole_time() -> None:
    """Of a process that only sleeps."""
    async with running(STILL) as pid:
        kept = await run(script_of("snapshot", pid=pid))

    found = sections(kept.output.decode())
    states = {part.facts["name"]: part.facts["state"] for part in found if part.name == "part"}
    assert list(states) == ["usage", "limits", "memory", "threads", "files", "disks", "sockets", "calls"]
    assert set(states.values()) == {"well"}


async def test_a_stopped_snapshot_prints_the_parts_that_are_there() -> None:
    """And ends the others."""
    before = parts_of_snapshots()
    async with running(STILL) as pid:
        step = a_step(script_of("snapshot", pid=pid), timeout_s=60)
        execution = await start(LocalTransport(), HERE, step)
        assert await until(lambda: parts_of_snapshots() > before)
        (own,) = parts_of_snapshots() - before

        rest, proof = await asyncio.gather(keep_rest(execution.output()), execution.stop())

        found = list(snapshot(Reading(text=rest.output.decode(), target="here")))
        assert "gone" in proof
        assert any(f"(pid {pid})" in each.text for each in found)
        assert not own.parent.exists()
        assert psutil.Process(pid).is_running()


async def test_the_guides_script_of_parts_prints_them_all(tmp_path: Path) -> None:
    """As an operator would copy it."""
    write_examples(tmp_path)
    found = examples(tmp_path)["worker-stall"]
    async with running(STILL) as pid:
        step = bind(found.steps[0], bind_parameters(found, {"pid": str(pid)}))
        kept = await keep(await start(LocalTransport(), HERE, step))

    states = {part.facts["name"]: part.facts["state"] for part in sections(kept.output.decode()) if part.name == "part"}
    assert states == {"queue": "well", "disks": "well", "open": "well"}

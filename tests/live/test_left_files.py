"""Files that steps leave on real hosts: sent, and gone there on every path; and the process that stood still runs again."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
import pytest

from bot.model import File, Outcome, Script, State, Step, StepFinished, Target
from bot.playground.sshd import private_sshd
from bot.recipes import bind, bind_parameters, builtin_folder, load_folder
from bot.redact import Redactor
from bot.runner import Job, Runner
from bot.settings import Limits
from bot.stores.folder import FolderStore
from bot.transports.local import LocalTransport
from bot.transports.scratch import PLACES
from bot.transports.ssh import SshTransport
from bot.transports.sshpool import SshPool
from tests.fakes import Clock, a_capture, a_recipe
from tests.scenes.cores import DEADLOCK, compiled
from tests.stage.needs import programs
from tests.stage.programs import program
from tests.steps import Files, a_run, a_step, keep, lives, start, until

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
RECIPE = load_folder(builtin_folder())["core"]
HERE = Target(name="here", local=True)
# 900 MB, which take a debugger half a second at least.
LARGE = DEADLOCK.replace(
    "int main(void) {",
    "#include <stdlib.h>\n#include <string.h>\nint main(void) { memset(malloc(900000000), 7, 900000000);",
)


@pytest.fixture(autouse=True)
def _tools() -> None:
    if missing := programs(gcc="gcc", gdb="gdb", zstd="zstd")():
        (pytest.fail if "CI" in os.environ else pytest.skip)(missing)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where scratch folders lie, of this test alone: steps of others tidy up too."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


@pytest.fixture
async def culprit(tmp_path: Path) -> AsyncIterator[int]:
    """A small program whose threads are stuck."""
    async with program(await compiled(tmp_path, "orders-api", DEADLOCK)) as pid:
        yield pid


@pytest.fixture
async def giant(tmp_path: Path) -> AsyncIterator[int]:
    """The same with much memory."""
    async with program(await compiled(tmp_path, "orders-giant", LARGE)) as pid:
        yield pid


def folders_of(pid: int, *places: Path) -> list[Path]:
    """The scratch folders of steps that stop this process: others of this machine have theirs beside it."""
    notes = [note for place in places or PLACES for note in Path(place).glob("capturebot-*/paused")]
    return [note.parent for note in notes if _said(note).startswith(f"{pid} ")]


def _said(note: Path) -> str:
    try:
        return note.read_text()
    except FileNotFoundError:
        return ""


def there(path: Path) -> bool:
    """Whether there is such a file."""
    return path.exists()


async def eventually(condition: Callable[[], bool]) -> bool:
    """Wait longer than for most things: a gigabyte may be on its way to a disk that others use too."""
    return await until(condition) or await until(condition) or await until(condition)


def unpacked(data: bytes) -> bytes:
    """What zstd made smaller."""
    return subprocess.run(["zstd", "-dc"], input=data, check=True, capture_output=True).stdout


def cannot_mount() -> str:
    """Why there can be no disks of a test's own; "" where there can."""
    made = subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True, text=True)
    return f"a disk of its own needs root: {made.stderr}" if made.returncode else ""


def on_a_disk_of(size: str, place: Path) -> list[str]:
    """A command line before a program that gives it a small disk of its own there."""
    mount = f"mount -t tmpfs -o size={size},mode=1777 tmpfs {shlex.quote(str(place))}"
    return ["unshare", "--mount", "sh", "-ec", f'{mount}; exec "$@"', "sh"]


def state(pid: int) -> str:
    """What a process does: t for held by a debugger."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0]


def runs(pid: int) -> bool:
    """Whether nobody holds it, and it was not left stopped."""
    return state(pid) not in "tT"


def core_of(pid: int) -> Step:
    """The step that takes it."""
    return bind(RECIPE.steps[0], bind_parameters(RECIPE, {"pid": str(pid)}))


@asynccontextmanager
async def pooled() -> AsyncIterator[SshPool]:
    """A pool that is closed at the end."""
    pool = SshPool(Files())
    try:
        yield pool
    finally:
        await pool.close()


@asynccontextmanager
async def lone_bot(*argv: str | int | Path, before: Sequence[str] = ()) -> AsyncIterator[asyncio.subprocess.Process]:
    """A bot of its own that takes one core."""
    bot = await asyncio.create_subprocess_exec(
        *before, sys.executable, "-m", "tests.live.one_step", *map(str, argv), stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    try:
        yield bot
    finally:
        with suppress(ProcessLookupError):
            bot.kill()
        await bot.wait()


async def half_written(pid: int, *places: Path) -> None:
    """Return while its core is being written."""
    assert await until(
        lambda: (
            state(pid) == "t"
            and any(core.stat().st_size > 0 for folder in folders_of(pid, *places) for core in folder.glob("core"))
        )
    )


async def test_a_core_comes_over_ssh_compressed_and_whole(culprit: int, tmp_path: Path) -> None:
    """Readable for gdb; its report has all stacks."""
    async with private_sshd(tmp_path / "sshd") as server, pooled() as pool:
        target = Target(name="db1", ssh=server.ssh)
        kept = await keep(await start(SshTransport(Files(), pool), target, core_of(culprit)))

    core = unpacked(kept.file)
    assert kept.failure is None
    assert kept.whole
    assert kept.head is not None
    assert (kept.head.name, core[:4]) == ("core.zst", b"\x7fELF")
    assert f"size_bytes={len(core)}" in kept.output.decode()
    assert {"reserve_stock", "charge_till"} <= set(kept.output.decode().split())
    assert runs(culprit)


async def test_a_stop_while_the_core_is_written_lets_the_process_go_on(giant: int, tmp_path: Path) -> None:
    """And proves it; half a core is no evidence."""
    async with private_sshd(tmp_path / "sshd") as server, pooled() as pool:
        execution = await start(SshTransport(Files(), pool), Target(name="db1", ssh=server.ssh), core_of(giant))
        await half_written(giant)

        kept, proof = await asyncio.gather(keep(execution), execution.stop())

    assert runs(giant)
    assert kept.failure is not None
    assert (kept.failure.outcome, kept.head, kept.file) == (Outcome.STOPPED, None, b"")
    assert re.fullmatch(
        rf"process group \d+ gone(?: after \w+)?, target running again \(pid {giant}\), (?:no temporary file left|1 temporary file removed)",
        proof,
    )


async def test_a_connection_that_is_lost_leaves_nothing_on_the_host(giant: int, tmp_path: Path) -> None:
    """What could be said is kept; the rest is ended over a new connection."""
    async with private_sshd(tmp_path / "sshd") as server, pooled() as pool:
        execution = await start(SshTransport(Files(), pool), Target(name="db1", ssh=server.ssh), core_of(giant))
        await half_written(giant)
        for session in psutil.Process(server.pid).children(recursive=True):
            if "sshd" in session.name():
                session.kill()

        kept = await keep(execution)
        proof = await execution.stop()

    assert kept.failure is not None
    assert kept.failure.outcome is Outcome.LOST
    assert "### process" in kept.output.decode()
    assert f"target running again (pid {giant})" in proof
    assert runs(giant)


async def test_a_bot_that_is_killed_leaves_nothing_on_the_host(giant: int, place: Path) -> None:
    """Nobody is there to end the step: it ends by itself, and tidies up."""
    async with lone_bot(place, giant) as bot:
        assert bot.stdout
        assert await bot.stdout.readline() == b"begun\n"
        await half_written(giant, place)
        made = folders_of(giant, place)

        bot.send_signal(signal.SIGKILL)
        await bot.wait()

    assert await eventually(lambda: runs(giant) and not any(map(Path.exists, made)))


async def test_what_a_killed_shell_leaves_is_found_at_the_next_contact(giant: int, place: Path) -> None:
    """The shell that tidies up and all that it started are shot, and gdb with them."""
    async with lone_bot(place, giant) as bot:
        assert bot.stdout
        assert await bot.stdout.readline() == b"begun\n"
        await half_written(giant, place)
        (made,) = folders_of(giant, place)
        shot = psutil.Process(bot.pid).children(recursive=True)
        for process in shot:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        bot.send_signal(signal.SIGKILL)
        await bot.wait()
    assert await eventually(lambda: not any(lives(process.pid) for process in shot))
    assert there(made)

    execution = await start(LocalTransport(places=(str(place),)), HERE, a_run("true"))
    await keep(execution)

    assert not there(made)
    assert runs(giant)
    assert re.search(
        r"An earlier capture had left 1 temporary file on here \([\d.]+ .B\); now removed\.", execution.remark
    )


async def test_a_disk_that_becomes_full_is_said_with_numbers(giant: int, place: Path) -> None:
    """Whatever gdb says: that it saved the core."""
    if why := cannot_mount():
        pytest.skip(why)
    async with lone_bot(place, giant, "400m", before=on_a_disk_of("1500m", place)) as bot:
        assert bot.stdout
        said = json.loads((await bot.stdout.read()).split(b"\n")[-2])

    assert said["file_bytes"] == 0
    assert re.search(
        rf"The disk of {place} was full after [\d.]+ .B of about 9\d\d\.\d MB; they were deleted, and [\d.]+ .B of 1\.5 GB are free now",
        said["reason"],
    )
    assert runs(giant)


async def test_a_core_that_does_not_fit_is_not_begun(giant: int, place: Path) -> None:
    """The process never stands still for it."""
    if why := cannot_mount():
        pytest.skip(why)
    async with lone_bot(place, giant, before=on_a_disk_of("1g", place)) as bot:
        assert bot.stdout
        said = json.loads((await bot.stdout.read()).split(b"\n")[-2])

    assert (said["reason"], said["file_bytes"]) == ("", 0)
    assert re.search(rf"Its core would have 9\d\d\.\d MB, and {place} has 1\.0 GB of 1\.0 GB left", said["report"])


async def test_a_file_is_cut_at_its_limit_and_told_so(tmp_path: Path) -> None:
    """Through the runner into a store; the rest is gone on the host, and nothing runs there."""
    text = 'head -c 60000000 /dev/urandom >"$CAPTURE_SCRATCH/noise"; echo made'
    action = File(
        script=Script(name="noise.sh", text=text), name="noise", type="application/x-noise", limit_bytes=5_000_000
    )
    events: list[object] = []

    async def emit(event: object) -> None:
        events.append(event)

    async with private_sshd(tmp_path / "sshd") as server, pooled() as pool:
        runner = Runner(
            transports={"ssh": SshTransport(Files(), pool)},
            store=FolderStore(tmp_path / "kept"),
            insights={},
            redactor=lambda _: Redactor(lambda: (), salt=b"salt"),
            emit=emit,
            limits=Limits(),
            now=Clock(),
        )
        target = Target(name="db1", ssh=server.ssh)
        job = Job(
            capture=a_capture(targets=("db1",)),
            recipe=a_recipe(),
            steps=(a_step(action, timeout_s=30),),
            targets=(target,),
        )
        state_at_end = await runner.run(job)

    (result,) = [event.result for event in events if isinstance(event, StepFinished)]
    (file,) = result.files
    assert state_at_end is State.COMPLETE
    assert result.reason.endswith("noise.zst was cut at its limit of 5.0 MB; the first part is kept.")
    assert (file.size_bytes, file.cut, file.caution) == (5_000_000, True, "cut, not redacted: may hold secrets")
    assert file.key.endswith("/binary/db1/probe/noise.zst")
    assert (tmp_path / "kept" / file.key).stat().st_size == 5_000_000
    assert re.match(r"process group \d+ gone", result.stop_proof)

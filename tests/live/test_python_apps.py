"""`python-threads` and `python-profile` on Python applications that are really broken, and on some that are well."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from bot.insights import Insight, Reading, sections
from bot.insights.pyprofile import profile
from bot.insights.python import threads
from bot.model import Level, Script, State, Target
from bot.recipes import builtin_folder, load_folder
from bot.story import Story
from bot.transports.local import ENVIRONMENT, LocalTransport
from tests.live.python_programs import BLOCKED_LOOP, BURNING, DEADLOCKED, IDLE, LOCKED
from tests.live.taking import take
from tests.steps import a_step, gone, keep, keep_rest, start, until

pytestmark = pytest.mark.live

RECIPES = load_folder(builtin_folder())
READY_S = 15.0
SCRATCH = "capturebot-python.*"
PYTHON = os.path.realpath(sys.executable)  # so that no launcher stands in between
LOOK_S = 0.1

Launch = Callable[[str, str], AbstractAsyncContextManager[int]]


def missing(reason: str) -> None:
    """Skip with the reason; where everything should be there, fail."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.fixture
def py_spy() -> str:
    """Where py-spy lies: beside this Python, or on the PATH."""
    found = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if not found:
        missing("py-spy is not installed: pip install py-spy")
    assert found
    return found


@pytest.fixture
def app(tmp_path: Path) -> Launch:
    """Runs a program under a name of its own once it has said "ready", and ends it; gives its pid."""

    @asynccontextmanager
    async def launch(name: str, code: str) -> AsyncIterator[int]:
        (tmp_path / name).write_text(code)
        process = await asyncio.create_subprocess_exec(
            PYTHON,
            name,
            cwd=tmp_path,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stdout
            async with asyncio.timeout(READY_S):
                assert await process.stdout.readline() == b"ready\n"
            yield process.pid
        finally:
            process.kill()
            await process.wait()

    return launch


async def settled(pid: int) -> None:
    """Return when every thread of a process sleeps and has not run since the last look."""

    def look() -> list[list[str]]:
        tasks = sorted(Path(f"/proc/{pid}/task").iterdir())
        return [
            re.findall(r"^(?:State|\w+_ctxt_switches):\t(\w+)", (each / "status").read_text(), re.MULTILINE)
            for each in tasks
        ]

    async with asyncio.timeout(READY_S):
        before, after = [["R"]], look()
        while before != after or any(state != "S" for state, *_ in after):
            await asyncio.sleep(LOOK_S)
            before, after = after, look()


async def capture(folder: Path, recipe: str, **parameters: str | int) -> Story:
    """The whole story of one capture of this machine, as the product makes it."""
    return (await take(folder, recipe, **parameters)).story


def says(told: Story, line: str) -> None:
    """The capture is complete, and its first line is *line*, a pattern."""
    reasons = [result.reason for result in told.results]
    assert told.state is State.COMPLETE, reasons
    assert re.fullmatch(line, told.headline), told.headline


# --- broken -----------------------------------------------------------------------------------


async def test_threads_that_wait_for_one_lock_are_named_with_who_has_it(
    app: Launch, py_spy: str, tmp_path: Path
) -> None:
    """Who waits where for what, and what the one does that they wait for."""
    async with app("orders_api.py", LOCKED) as pid:
        await settled(pid)
        told = await capture(tmp_path, "python-threads", pid=pid, py_spy=py_spy)

    says(
        told,
        rf"11 of 12 worker threads of orders_api\.py \(pid {pid}\) wait for a lock at orders_api\.py:8 \(with LEDGER:\) "
        r"in all 3 dumps over \d+ s; worker-\d+ is past it, waiting for an answer in charge \(orders_api\.py:6\)",
    )


async def test_a_deadlock_is_called_one(app: Launch, py_spy: str, tmp_path: Path) -> None:
    """Two locks that nobody lets go, each at its line."""
    async with app("ledger.py", DEADLOCKED) as pid:
        await settled(pid)
        told = await capture(tmp_path, "python-threads", pid=pid, every=1, py_spy=py_spy)

    says(
        told,
        rf"Probably a deadlock in ledger\.py \(pid {pid}\), 2 locks that nobody lets go: "
        r"Thread-1 \(transfer\) at ledger\.py:7 \(with AUDIT:\), Thread-2 \(report\) at ledger\.py:12 \(with ACCOUNTS:\)",
    )


async def test_an_event_loop_that_stands_still_is_named(app: Launch, py_spy: str, tmp_path: Path) -> None:
    """A call that waits, in a coroutine."""
    async with app("gateway.py", BLOCKED_LOOP) as pid:
        await settled(pid)
        told = await capture(tmp_path, "python-threads", pid=pid, every=1, py_spy=py_spy)

    says(
        told,
        rf"The event loop of gateway\.py \(pid {pid}\) stands still: MainThread waits in fetch \(gateway\.py:5\), in all 3 dumps over \d+ s",
    )


async def test_a_thread_that_never_rests_holds_the_gil_and_its_function_is_named(
    app: Launch, py_spy: str, tmp_path: Path
) -> None:
    """Three looks say who; a profile says how much."""
    async with app("shop.py", BURNING) as pid:
        who = await capture(tmp_path, "python-threads", pid=pid, py_spy=py_spy)
        what = await capture(tmp_path, "python-profile", pid=pid, seconds=4, py_spy=py_spy)

    says(
        who,
        rf"pricing of shop\.py \(pid {pid}\) holds the GIL in (all 3|2 of 3) dumps, in discount \(shop\.py:4\); it uses \d+ % CPU",
    )
    says(
        what,
        rf"shop\.py \(pid {pid}\) uses \d+ % CPU, \d+ % of it in discount \(shop\.py:4\), called by price \(shop\.py:6\)",
    )


async def test_a_stopped_process_is_called_stopped_and_stays_so(app: Launch, py_spy: str, tmp_path: Path) -> None:
    """Who stopped it may have a reason; we only say it."""
    async with app("orders_api.py", IDLE) as pid:
        psutil.Process(pid).suspend()
        told = await capture(tmp_path, "python-threads", pid=pid, every=1, py_spy=py_spy)
        after = psutil.Process(pid).status()

    says(told, rf"orders_api\.py \(pid {pid}\) is stopped \(state T\): nothing in it runs until kill -CONT {pid}")
    assert after == psutil.STATUS_STOPPED


# --- well -------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", ["python-threads", "python-profile"])
async def test_an_idle_application_gives_no_warning(recipe: str, app: Launch, py_spy: str, tmp_path: Path) -> None:
    """Workers, a pool, a web server and an event loop that all wait for work."""
    async with app("orders_api.py", IDLE) as pid:
        told = await capture(tmp_path, recipe, pid=pid, py_spy=py_spy)

    says(told, "Nothing unusual found")
    assert [each for each in told.findings if each.finding.level is not Level.INFO] == []


# --- choosing a process -----------------------------------------------------------------------


@pytest.mark.parametrize("given", ["stock_api", "stock_api.py", "tock_ap"])
async def test_where_several_match_none_is_captured_and_what_to_type_is_said(
    given: str, app: Launch, tmp_path: Path
) -> None:
    """By their script, or by any part of their command lines."""
    async with app("stock_api.py", IDLE) as first, app("stock_api.py", IDLE) as second:
        told = await capture(tmp_path, "python-threads", app=given)

    says(
        told,
        r"2 Python processes match; name one: /capture python-threads here pid=\d+ \(stock_api\.py\), or pid=\d+ \(stock_api\.py\)",
    )
    assert {int(pid) for pid in re.findall(r"pid=(\d+)", told.headline)} == {first, second}


async def test_without_a_choice_all_are_offered(app: Launch, tmp_path: Path) -> None:
    """But not the bot itself."""
    async with app("stock_api.py", IDLE), app("stock_api.py", IDLE):
        told = await capture(tmp_path, "python-profile")

    says(told, r"\d+ Python processes match; name one: /capture python-profile here pid=\d+ .*")
    assert f"pid={os.getpid()}" not in told.headline


@pytest.mark.parametrize("given", ["audit_api", "dit_api.p"])
async def test_the_only_one_that_matches_needs_no_pid(given: str, app: Launch, py_spy: str, tmp_path: Path) -> None:
    """Its stacks are taken at once."""
    async with app("audit_api.py", LOCKED) as pid:
        await settled(pid)
        told = await capture(tmp_path, "python-threads", app=given, every=1, py_spy=py_spy)

    assert f"worker threads of audit_api.py (pid {pid}) wait for a lock" in told.headline


async def test_a_pid_that_is_no_python_or_gone_is_said(app: Launch, tmp_path: Path) -> None:
    """With those that run."""
    sleeper = await asyncio.create_subprocess_exec("sleep", "60")
    async with app("orders_api.py", IDLE):
        other = await capture(tmp_path, "python-threads", pid=sleeper.pid)
        sleeper.kill()
        await sleeper.wait()
        ended = await capture(tmp_path, "python-profile", pid=sleeper.pid)

    says(other, rf"pid {sleeper.pid} is sleep, no Python process that \S+ can see; these run: .*pid=\d+.*")
    says(ended, rf"No process has pid {sleeper.pid} here any more; these run: .*pid=\d+.*")


# --- what is missing --------------------------------------------------------------------------


@pytest.mark.parametrize(("recipe", "insight"), [("python-threads", threads), ("python-profile", profile)])
async def test_without_py_spy_it_is_said_how_to_get_it(recipe: str, insight: Insight, app: Launch) -> None:
    """Where it could not be brought along, what the kernel knows of the threads is kept all the same."""
    if shutil.which("py-spy", path=ENVIRONMENT["PATH"]):
        pytest.skip("py-spy is installed for everybody here, so that it cannot be missing")
    async with app("orders_api.py", LOCKED) as pid:
        await settled(pid)
        script = replace(script_of(recipe), env={"PARAM_PID": str(pid)})
        kept = await keep(await start(LocalTransport(), Target(name="here", local=True), a_step(script, timeout_s=30)))

    first, *others = insight(Reading(text=kept.output.decode(), target="here"))
    assert first.text == (
        f"No stacks of orders_api.py (pid {pid}): py-spy is not installed: run pip install py-spy, and link it into /usr/local/bin"
    )
    if recipe == "python-threads":
        assert re.search(
            r"13 of 13 threads of .* did not run for \d s: 12 at a lock, a queue or the GIL \(futex\)", others[0].text
        )


async def test_without_the_privilege_it_is_said_who_has_it(app: Launch, py_spy: str) -> None:
    """Nobody may not look into our process."""
    if os.geteuid() != 0:
        pytest.skip("only root can try what another user sees")
    if await as_nobody(py_spy, "--version") is None:
        pytest.skip("nobody may not run py-spy where it lies")
    script = script_of("python-threads").text
    async with app("orders_api.py", LOCKED) as pid:
        text = await as_nobody("bash", "-c", script, PARAM_PY_SPY=py_spy, PARAM_EVERY="1", PARAM_PID=str(pid))

    first, *_ = threads(Reading(text=text or "", target="here"))
    assert "nobody may not read its memory: log in as root or as its user, or run: setcap" in first.text


def script_of(recipe: str) -> Script:
    """What a recipe delivers, of all its files."""
    action = RECIPES[recipe].steps[0].action
    assert isinstance(action, Script)
    return action


async def as_nobody(*argv: str, **env: str) -> str | None:
    """What a program says to an ordinary user; None where it fails or complains."""
    process = await asyncio.create_subprocess_exec(
        *("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *argv),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd="/",
        env={**ENVIRONMENT, "LC_ALL": "C", **env},
    )
    out, err = await process.communicate()
    return None if process.returncode or err else out.decode()


# --- being polite -----------------------------------------------------------------------------


def scratch() -> set[Path]:
    """Folders of ours that lie about."""
    return set(Path("/tmp").glob(SCRATCH))


async def test_a_stop_in_the_middle_of_a_profile_keeps_what_came_and_leaves_nothing(app: Launch, py_spy: str) -> None:
    """py-spy ends, its file is printed and gone, and the application runs on."""
    before = scratch()
    async with app("shop.py", BURNING) as pid:
        env = {
            "PARAM_PID": str(pid),
            "PARAM_APP": "",
            "PARAM_SECONDS": "60",
            "PARAM_RATE": "100",
            "PARAM_PY_SPY": py_spy,
        }
        script = replace(script_of("python-profile"), env=env)
        execution = await start(LocalTransport(), Target(name="here", local=True), a_step(script, timeout_s=90))
        assert await until(lambda: recorders(pid) != [])
        (recorder,) = recorders(pid)
        assert await until(lambda: recorder.cpu_times().user > 0)

        rest, proof = await asyncio.gather(keep_rest(execution.output()), execution.stop())

        parts = {part.name: part.body for part in sections(rest.output.decode())}
        assert re.fullmatch(r"process group \d+ gone( after TERM)?", proof)
        assert "shop.py" in parts["process"]
        assert "discount (shop.py:4)" in parts["stacks"]
        assert await gone(recorder.pid)
        assert scratch() <= before
        assert psutil.Process(pid).status() not in {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP}


def recorders(pid: int) -> list[psutil.Process]:
    """py-spy processes that record *pid*."""
    wanted = ["--pid", str(pid)]
    return [
        each
        for each in psutil.process_iter(["name", "cmdline"])
        if each.info["name"] == "py-spy" and "record" in each.info["cmdline"] and each.info["cmdline"][-2:] == wanted
    ]

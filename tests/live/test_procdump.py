r"""Memory dumps of a process on a Windows host, from the command to what is kept. The host is Wine (see tests/wine/host.py).

Real: the dumps and what is read in them, the tool's way to the host and away again, its waiting, being told to leave and being
ended, the file's way into the store. Not real: ProcDump, whose place tests/wine/procdump.c takes, and the two PowerShell
scripts of the recipe, for which batch files stand (see tests/wine/dumping.py).
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest
import yaml

from bot.assembly import assemble, now
from bot.insights.minidump import parse
from bot.model import Event, Level, Offered, Outcome, Source, State, Step, Trigger, capture_of
from bot.recipes import bind, bind_parameters, builtin_folder, load_folder
from bot.settings import load
from bot.story import Story, story
from bot.transports.execution import Patience
from bot.transports.sshpool import SshPool
from bot.transports.windows import WindowsTransport
from tests.live.taking import SOMEBODY
from tests.steps import Files, keep, keep_rest, start, until
from tests.wine.dumping import stand_in, victim
from tests.wine.host import Prefix, WindowsHost, windows_host, wine

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def prefix() -> Iterator[Prefix]:
    """One Wine for all."""
    with wine() as made:
        yield made


@pytest.fixture
def tools(prefix: Prefix, tmp_path: Path) -> Path:
    """A folder of an operator's tools."""
    folder = tmp_path / "tools"
    folder.mkdir()
    shutil.copy(prefix.drive / "tools" / "procdump64.exe", folder)
    return folder


@dataclass(frozen=True, slots=True)
class Bench:
    """A host and a transport that reaches it."""

    host: WindowsHost
    windows: WindowsTransport

    @property
    def folders(self) -> list[Path]:
        """Scratch folders that are there."""
        return list(self.host.temp.glob("capturebot-*"))


@pytest.fixture
async def bench(prefix: Prefix, tmp_path: Path) -> AsyncIterator[Bench]:
    """One whose default shell is cmd.exe."""
    pool = SshPool(Files())
    async with windows_host(prefix, tmp_path) as host:
        stand_in(host.temp)
        try:
            yield Bench(host, WindowsTransport(Files(), pool, patience=Patience(start_s=20, grace_s=0.3)))
        finally:
            await pool.close()


def a_dump(tools: Path, pid: int, *, timeout_s: float = 60, **given: str) -> Step:
    """The recipe's step as a person asks for it."""
    recipe = load_folder(builtin_folder())["procdump"]
    step = bind(recipe.steps[0], bind_parameters(recipe, {"pid": str(pid), **given}))
    assert step.carry
    return replace(step, timeout_s=timeout_s, carry=replace(step.carry, places=(tools,)))


def dumpers() -> list[int]:
    """The tools that run, as Linux sees them."""
    return [one.pid for one in psutil.process_iter(["cmdline"]) if "procdump64.exe" in str(one.info["cmdline"])]


# --- from the command to the store --------------------------------------------------------------


async def taken(bench: Bench, folder: Path, pid: int, **given: str) -> tuple[Story, Offered]:
    """A dump as somebody takes it who agrees to its cost."""
    ssh = bench.host.target.windows
    assert ssh
    target = {"host": "127.0.0.1", "port": ssh.ssh.port, "user": "capture", "key": f"file:{folder / 'key'}"}
    config = folder / "capturebot.yml"
    target["known_hosts"] = str(folder / "known_hosts")
    config.write_text(yaml.safe_dump({"folder": "kept", "tools": "tools", "targets": {"win1": {"windows": target}}}))
    events: list[Event] = []
    async with assemble(replace(load(config), journal="sqlite://"), environ={}, base=folder) as bot:
        bot.journal.listeners.append(events.append)
        parameters = {"pid": str(pid), **given}
        trigger = Trigger(
            recipe="procdump", targets=("win1",), parameters=parameters, who=SOMEBODY, source=Source.TERMINAL, at=now()
        )
        offered = await bot.desk.offer(trigger)
        assert offered
        accepted = await bot.desk.accept(offered.trigger)
        assert accepted
        await bot.desk.wait_for(accepted.id)
        told = story(event for event in events if capture_of(event) == accepted.id)
        assert told
        return told, offered


@pytest.mark.parametrize(("kind", "least"), [("mini", 100_000), ("full", 10_000_000)])
async def test_a_dump_of_a_real_process_is_made_checked_kept_and_deleted(
    bench: Bench, prefix: Prefix, tools: Path, kind: str, least: int
) -> None:
    """With a tool that the host lacks, compressed on the way, and read in what was kept; the cost was said before."""
    with victim(prefix) as pid:
        told, offered = await taken(bench, tools.parent, pid, dump=kind)
    (result,) = told.results

    (kept,) = result.files
    packed = next((tools.parent / "kept").rglob(Path(kept.key).name)).read_bytes()
    content = gzip.decompress(packed)
    dump = parse(content)
    sha256 = hashlib.sha256((tools / "procdump64.exe").read_bytes()).hexdigest()
    assert told.state is State.COMPLETE, result.reason
    assert f"stops probe.exe (pid {pid}) for less than 1 s, writes 70 MB to " in offered.cost
    assert kept.key.endswith("dump.dmp.gz")
    assert hashlib.sha256(packed).hexdigest() == kept.sha256
    assert len(content) > least
    assert dump
    assert (dump.pid, dump.is_full) == (pid, kind == "full")
    assert dump.modules[0].name == "probe.exe"
    (finding,) = result.findings
    assert finding.level is Level.INFO
    assert finding.text.startswith(f"Dump of probe.exe (pid {pid}): ")
    assert f"{kind}, 1 thread; a clone was written in " in finding.text
    assert result.command.endswith(f"# with procdump64.exe brought along, SHA-256 {sha256}")
    assert bench.folders == []


async def test_no_such_process_says_so_and_leaves_nothing(bench: Bench, tools: Path) -> None:
    """The step fails with the reason; there is no file."""
    told, _ = await taken(bench, tools.parent, 4_000_000)
    (result,) = told.results

    assert result.outcome is Outcome.FAILED
    assert result.files == ()
    assert "no dump was taken" in result.reason
    assert bench.folders == []


# --- where the tool is from ---------------------------------------------------------------------


async def test_a_tool_that_the_host_has_is_not_brought(bench: Bench, prefix: Prefix, tools: Path) -> None:
    r"""In C:\Sysinternals, or what the target's settings say."""
    windows = bench.host.target.windows
    assert windows
    own = prefix.drive / "My Tools & more"
    own.mkdir(exist_ok=True)
    shutil.copy(tools / "procdump64.exe", own)
    target = replace(bench.host.target, windows=replace(windows, tools="C:\\My Tools & more"))
    try:
        with victim(prefix) as pid:
            execution = await start(bench.windows, target, a_dump(tools, pid))
            kept = await keep(execution)
    finally:
        shutil.rmtree(own)

    assert kept.failure is None
    assert kept.whole
    assert "brought along" not in execution.command


async def test_a_tool_for_another_machine_stays_here(bench: Bench, prefix: Prefix, tools: Path) -> None:
    """The step says what it lacked."""
    tool = tools / "procdump64.exe"
    program = bytearray(tool.read_bytes())
    start_of_head = int.from_bytes(program[60:64], "little")
    program[start_of_head + 4 : start_of_head + 6] = (0xAA64).to_bytes(2, "little")
    tool.write_bytes(program)

    with victim(prefix) as pid:
        execution = await start(bench.windows, bench.host.target, a_dump(tools, pid))
        kept = await keep(execution)

    assert kept.failure
    assert execution.remark == "procdump was not brought along: there is none for x86_64, only for aarch64."


# --- ends ---------------------------------------------------------------------------------------


async def test_a_wait_that_is_stopped_lets_the_tool_leave(bench: Bench, prefix: Prefix, tools: Path) -> None:
    """It is told by its own event, because what debugs a process takes it along when it is ended by force."""
    with victim(prefix) as pid:
        execution = await start(bench.windows, bench.host.target, a_dump(tools, pid, when="hang"))
        assert await until(lambda: bool(dumpers()))

        proof = await execution.stop()
        kept = await keep(execution)

    assert kept.failure
    assert kept.failure.outcome is Outcome.STOPPED
    assert b"Dump count not reached." in kept.output
    assert " gone" in proof
    assert not dumpers()
    assert bench.folders == []


async def test_the_hosts_own_limit_lets_the_tool_leave_too(bench: Bench, prefix: Prefix, tools: Path) -> None:
    """Nobody has to be there for it."""
    with victim(prefix) as pid:
        execution = await start(bench.windows, bench.host.target, a_dump(tools, pid, when="hang", timeout_s=2))
        kept = await keep(execution)

    assert kept.failure
    assert kept.failure.outcome is Outcome.TIMED_OUT
    assert b"Dump count not reached." in kept.output
    assert await until(lambda: not dumpers() and not bench.folders)


async def test_a_trigger_that_happens_gives_its_dump(bench: Bench, prefix: Prefix, tools: Path) -> None:
    """After a wait."""
    with victim(prefix) as pid:
        execution = await start(bench.windows, bench.host.target, a_dump(tools, pid, when="hang"))
        assert await until(lambda: bool(dumpers()))
        await asyncio.to_thread(prefix.run, "C:\\windows\\probe.exe", "set", f"happens-{pid}")
        kept = await keep(execution)

    assert kept.failure is None
    assert kept.whole
    assert parse(kept.file)


async def test_a_stop_while_the_dump_is_fetched_deletes_it(bench: Bench, prefix: Prefix, tools: Path) -> None:
    """What had come is kept; the host has nothing left of it."""
    with victim(prefix) as pid:
        execution = await start(bench.windows, bench.host.target, a_dump(tools, pid, dump="full"))
        output = execution.output()
        async for piece in output:
            if not isinstance(piece, bytes):
                break
        await anext(output)

        proof = await execution.stop()
        await keep_rest(output)

    assert " gone" in proof
    assert "removed" in proof
    assert bench.folders == []


async def test_a_host_that_goes_away_halfway_leaves_what_had_come(bench: Bench, tools: Path) -> None:
    """As when it restarts: a part of the dump, and called one."""
    (bench.host.temp / "large.bin").write_bytes(bytes(60_000_000))
    slow = '@copy "%TEMP%\\large.bin" "%CAPTURE_SCRATCH%\\dump.dmp" >nul\r\n'
    (bench.host.temp / "procdump.ps1.cmd").write_text(slow)
    execution = await start(bench.windows, bench.host.target, a_dump(tools, 1, timeout_s=5))
    output = execution.output()
    async for piece in output:
        if not isinstance(piece, bytes):
            break
    await anext(output)

    for connection in bench.host.connections:
        connection.abort()
    kept = await keep_rest(output)

    assert kept.failure
    assert kept.failure.outcome is Outcome.LOST
    assert not kept.whole
    assert await until(lambda: not bench.folders)


async def test_a_lost_wait_ends_by_itself_and_leaves_nothing(bench: Bench, prefix: Prefix, tools: Path) -> None:
    """The host's own limit tells the tool to leave, and tidies up."""
    with victim(prefix) as pid:
        execution = await start(bench.windows, bench.host.target, a_dump(tools, pid, when="hang", timeout_s=3))
        assert await until(lambda: bool(dumpers()))
        for connection in bench.host.connections:
            connection.abort()
        kept = await keep(execution)
        assert await until(lambda: not dumpers() and not bench.folders)

    assert kept.failure
    assert kept.failure.outcome is Outcome.LOST

"""Every shipped recipe on a real target: within its limits, and stopped halfway without a trace."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
import yaml

from bot.assembly import Bot, assemble, now
from bot.errors import UserError
from bot.model import (
    Capture,
    Event,
    File,
    Outcome,
    Person,
    Recipe,
    Source,
    State,
    Step,
    StepStarted,
    Trigger,
    capture_of,
)
from bot.playground.sshd import private_sshd
from bot.recipes import builtin_folder, load_folder
from bot.settings import load
from bot.story import Story, story
from bot.transports.scratch import PLACES as PLACES_FOR_SCRATCH
from tests.stage.database import OBSERVER, Database, database
from tests.stage.dotnet import SHOP, application, dotnet
from tests.stage.programs import jvm, program
from tests.steps import until
from tests.wine.dumping import stand_in, victim
from tests.wine.host import WindowsHost, windows_host, wine

pytestmark = pytest.mark.live

ANA = Person(id="U1", name="ana")
LITTLE_BYTES = 100  # far less than any recipe's output
LITTLE_FILE_BYTES = 1_000
MASKS_BYTES = 400  # by which masks may be longer than what they stand for
CAPTURE_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Stood:
    """A target that is up, as capturebot.yml has it, and what a person would add to the command."""

    target: Mapping[str, Any]
    parameters: Mapping[str, str | int] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    pid: int = 0  # the process that is looked at, if it is one
    database: Database | None = None


Place = Callable[[Path], AbstractAsyncContextManager[Stood]]


@asynccontextmanager
async def host(folder: Path) -> AsyncIterator[Stood]:
    """An SSH server of its own, which leads to this very machine."""
    async with AsyncExitStack() as stack:
        try:
            server = await stack.enter_async_context(private_sshd(folder / "sshd"))
        except UserError as error:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))
        yield Stood(
            target={
                "ssh": {
                    "host": server.host,
                    "port": server.port,
                    "user": server.user,
                    "key": f"file:{server.key}",
                    "known_hosts": str(server.known_hosts),
                }
            }
        )


def process(*argv: str | Path) -> Place:
    """A program on a host, looked at by its pid."""

    @asynccontextmanager
    async def place(folder: Path) -> AsyncIterator[Stood]:
        async with host(folder) as stood, program(*argv) as pid:
            yield replace(stood, parameters={"pid": pid}, pid=pid)

    return place


@asynccontextmanager
async def a_dotnet(folder: Path) -> AsyncIterator[Stood]:
    """A .NET process on a host."""
    if reason := dotnet():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    (folder / "app").mkdir()
    async with host(folder) as stood, application(folder / "app", "shop", SHOP) as pid:
        yield replace(stood, parameters={"pid": pid}, pid=pid)


@asynccontextmanager
async def dotnet_dumped(folder: Path) -> AsyncIterator[Stood]:
    """The same, dumped."""
    async with a_dotnet(folder) as stood:
        yield replace(stood, parameters={**stood.parameters, "dump": "heap"})


@asynccontextmanager
async def java(folder: Path) -> AsyncIterator[Stood]:
    """A JVM on a host."""
    async with host(folder) as stood, jvm(folder / "classes", "Healthy") as pid:
        yield replace(stood, parameters={"pid": pid}, pid=pid)


def mysql(**parameters: str | int) -> Place:
    """A database."""

    @asynccontextmanager
    async def place(folder: Path) -> AsyncIterator[Stood]:
        async with database(folder) as server:
            broken = server.broken("")
            yield Stood(target=broken.target, environ=broken.environ, parameters=parameters, database=server)

    return place


@asynccontextmanager
async def web(folder: Path) -> AsyncIterator[Stood]:
    """A web server on a host, which answers with a long list."""
    for number in range(200):
        (folder / f"a-page-with-a-long-name-{number}").touch()
    serve = (
        "import functools, http.server as h; s = h.ThreadingHTTPServer(('127.0.0.1', 0), h.SimpleHTTPRequestHandler); "
        "open('port.new', 'w').write(str(s.server_port)); import os; os.rename('port.new', 'port'); "
        "print('ready', flush=True); s.serve_forever()"
    )
    async with host(folder) as stood, program(sys.executable, "-c", serve, cwd=folder):
        port = (folder / "port").read_text()
        yield replace(stood, parameters={"url": f"http://127.0.0.1:{port}/", "tries": 5})


@asynccontextmanager
async def log(folder: Path) -> AsyncIterator[Stood]:
    """A long log on a host."""
    path = folder / "app.log"
    path.write_text("".join(f"2026-11-23T02:{n % 60:02}:00Z INFO order {n} is paid\n" for n in range(200_000)))
    async with host(folder) as stood:
        yield replace(stood, parameters={"path": str(path), "last": "whole"})


@asynccontextmanager
async def traffic(folder: Path) -> AsyncIterator[Stood]:
    """Packets on a host: its own SSH server's."""
    async with host(folder) as stood:
        yield replace(stood, parameters={"proto": "tcp", "seconds": 3})


def windows(**recordings: str) -> Place:
    """Wine; recorded output stands for the scripts win-NAME.ps1, and the first one takes its time."""

    @asynccontextmanager
    async def place(folder: Path) -> AsyncIterator[Stood]:
        with wine() as prefix:
            async with windows_host(prefix, folder) as up:
                for name, recording in recordings.items():
                    text = (RECORDINGS / f"{recording}.txt").read_bytes()
                    (up.temp / f"win-{name}.ps1.txt").write_bytes(text)
                first = f"win-{next(iter(recordings))}.ps1"
                (up.temp / f"{first}.cmd").write_text(f"@type %TEMP%\\{first}.txt\r\n@probe pid C:\\busy child\r\n")
                yield Stood(target=_windows_way(up, folder))

    return place


@asynccontextmanager
async def dumped(folder: Path) -> AsyncIterator[Stood]:
    """A process on a Wine host, whose dumps are real."""
    with wine() as prefix, victim(prefix) as pid:
        async with windows_host(prefix, folder) as up:
            stand_in(up.temp)
            target = {"windows": {**_windows_way(up, folder)["windows"], "tools": "C:\\tools"}}
            yield Stood(target=target, parameters={"pid": pid})


def _windows_way(up: WindowsHost, folder: Path) -> Mapping[str, Any]:
    assert up.target.windows
    ssh = up.target.windows.ssh
    way = {"host": ssh.host, "port": ssh.port, "user": ssh.user, "known_hosts": str(ssh.known_hosts)}
    return {"windows": {**way, "key": f"file:{folder / 'key'}"}}


PYTHON = process(sys.executable, "-c", "print('ready', flush=True)\nwhile True: sum(range(10**5))")
NODE = process("node", "-e", "console.log('ready'); setInterval(() => { for (let i = 0; i < 1e7; i++); }, 20)")
PLACES: dict[str, Place] = {
    "core": PYTHON,
    "db": mysql(),
    "dotnet": a_dotnet,
    "dotnet-heap": dotnet_dumped,
    "files": host,
    "host": host,
    "http": web,
    "java-heap": java,
    "java-threads": java,
    "locks": mysql(),
    "logs": log,
    "net": host,
    "node": NODE,
    "procdump": dumped,
    "profile": PYTHON,
    "python-profile": PYTHON,
    "python-threads": PYTHON,
    "replication": mysql(),
    "snapshot": PYTHON,
    "tcpdump": traffic,
    "trace": host,
    "triage": host,
    "win-host": windows(processes="windows-processes/iis-pool", state="windows-state/german"),
    "win-logs": windows(events="windows-events/crashes-english", iis="windows-iis/failing", files="logs/python-burst"),
    "win-net": windows(connections="windows-connections/netstat-german", network="windows-network/lossy"),
}
RECORDINGS = Path(__file__).parent.parent / "recordings"
RECIPES = load_folder(builtin_folder())


def test_every_shipped_recipe_is_here() -> None:
    """A new one needs a place to be tried on."""
    assert PLACES.keys() == RECIPES.keys()


@asynccontextmanager
async def served(folder: Path, recipe: Recipe, stood: Stood, events: list[Event]) -> AsyncIterator[Bot]:
    """The whole product but for its ways in, with *recipe* in place of the shipped one."""
    config = folder / "capturebot.yml"
    config.write_text(yaml.safe_dump({"folder": "artifacts", "targets": {"it": dict(stood.target)}, **stood.settings}))
    settings = replace(load(config), journal="sqlite://")  # in memory, which a file cannot ask for
    async with assemble(settings, environ=stood.environ, base=folder) as bot:
        cast("dict[str, Recipe]", bot.desk.recipes)[recipe.name] = recipe
        bot.journal.listeners.append(events.append)
        yield bot


def trigger(recipe: Recipe, stood: Stood) -> Trigger:
    """What a person would type."""
    given = {name: str(value) for name, value in stood.parameters.items()}
    return Trigger(recipe=recipe.name, targets=("it",), parameters=given, who=ANA, source=Source.TERMINAL, at=now())


async def accepted(bot: Bot, asked: Trigger) -> Capture:
    """The capture that becomes of it, once its cost is agreed to where it has one."""
    offered = await bot.desk.offer(asked)
    capture = await bot.desk.accept(offered.trigger if offered else asked)
    assert capture
    return capture


def tight(step: Step) -> Step:
    """The same with limits that it must exceed."""
    action = step.action
    if isinstance(action, File):
        action = replace(action, limit_bytes=LITTLE_FILE_BYTES)
    return replace(step, action=action, limit_bytes=LITTLE_BYTES)


def told(events: list[Event]) -> Story:
    """The story so far."""
    so_far = story(event for event in events if capture_of(event))  # the rest is about what it would cost
    assert so_far is not None
    return so_far


def marked(capture_id: str) -> list[str]:
    """Processes that a capture has started."""
    found = []
    for one in psutil.process_iter():
        try:
            if capture_id in one.environ().get("CAPTUREBOT_STEP", ""):
                found.append(f"{one.pid} {one.name()}")
        except psutil.Error:
            continue
    return found


def scratch() -> set[Path]:
    """Folders that steps were given, and those that their scripts made."""
    places = map(Path, (*PLACES_FOR_SCRATCH, "/dev/shm"))
    return {path for place in places for name in ("capturebot-[0-9]*-*-*", "tmp.*") for path in place.glob(name)}


async def check_nothing_is_left(capture_id: str, stood: Stood, before: set[Path]) -> None:
    """No process, no file, no stopped target, no statement."""

    async def idle() -> bool:
        if stood.database is None:
            return True
        question = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = %s AND command = 'Query'"
        ((busy,),) = await stood.database.server.execute(question, (OBSERVER,))
        return bool(busy == 0)

    assert marked(capture_id) == []
    assert await until(lambda: scratch() <= before)  # other captures of this machine come and go
    assert await idle()
    if stood.pid:
        assert psutil.Process(stood.pid).status() not in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)


@pytest.mark.parametrize("name", RECIPES)
async def test_a_recipe_stays_within_its_limits(name: str, tmp_path: Path) -> None:
    """Where the target has far more to say, the first part is kept and the cut is told."""
    recipe = replace(RECIPES[name], steps=tuple(map(tight, RECIPES[name].steps)))
    events: list[Event] = []
    before = scratch()
    async with PLACES[name](tmp_path) as stood, served(tmp_path, recipe, stood, events) as bot:
        capture = await accepted(bot, trigger(recipe, stood))
        async with asyncio.timeout(CAPTURE_S):
            await bot.desk.wait_for(capture.id)
        await check_nothing_is_left(capture.id, stood, before)

    end = told(events)
    assert end.state in (State.COMPLETE, State.PARTIAL), [one.reason for one in end.results]
    assert all(one.artifact.size_bytes <= LITTLE_BYTES + MASKS_BYTES for one in end.results if one.artifact)
    assert all(file.size_bytes <= LITTLE_FILE_BYTES for one in end.results for file in one.files)
    assert any(one.cut for one in end.results)
    assert all("limit of bytes" in one.reason for one in end.results if one.cut)


@pytest.mark.parametrize("name", RECIPES)
async def test_a_recipe_stopped_halfway_leaves_nothing_and_keeps_what_came(name: str, tmp_path: Path) -> None:
    """No process, no file, no stopped target and no statement stays; every step has an end."""
    recipe = RECIPES[name]
    events: list[Event] = []
    before = scratch()
    async with PLACES[name](tmp_path) as stood, served(tmp_path, recipe, stood, events) as bot:
        capture = await accepted(bot, trigger(recipe, stood))

        def at_work() -> bool:
            if stood.database or "windows" in stood.target:
                return any(isinstance(event, StepStarted) for event in events)
            return bool(marked(capture.id)) or told(events).state.ended

        assert await until(at_work)
        if not told(events).state.ended:
            await bot.desk.stop(capture.id, ANA, source=Source.TERMINAL)
        async with asyncio.timeout(CAPTURE_S):
            await bot.desk.wait_for(capture.id)
        await check_nothing_is_left(capture.id, stood, before)

    end = told(events)
    assert end.state is State.STOPPED
    assert len(end.results) == len(recipe.steps)
    kept = [one.artifact for one in end.results if one.artifact]
    assert all((tmp_path / "artifacts" / one.key).stat().st_size == one.size_bytes for one in kept)
    assert all(one.outcome in (Outcome.STOPPED, Outcome.OK, Outcome.SKIPPED) for one in end.results), [
        one.reason for one in end.results
    ]

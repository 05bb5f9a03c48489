"""A house for bots: a Slack workspace, a journal and a configuration, on an S3 server and a PagerDuty that outlive them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sqlite3
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import aioboto3
import psutil
import pytest
import yaml
from aiobotocore.config import AioConfig

from bot.errors import UserError
from bot.model import State
from bot.playground.objects import Objects
from bot.playground.pagerduty import PagerDutyStandIn
from bot.playground.s3 import PrivateS3, private_s3
from bot.playground.workspace import App, Message, Workspace
from bot.transports.reaping import MARK

MANIFEST = Path(__file__).parent.parent.parent / "manifest.yml"
READY_S = 30.0
TOLD_S = 40.0
GOODBYE_S = 60.0
LOOK_S = 0.05
SENDER = "oncall-bot@example.com"
ENDS = ("✅", "🟡", "❌", "✋", "⚡")
END = re.compile(r" of here: (?!running|waiting)")

# Twenty megabytes go to S3 in three parts; the pause in the middle leaves an upload open while others end.
RECIPE = """
title: Plug
about: Quick steps, and one whose output takes several parts.
for: host
impact: none
steps:
  - {id: load, title: Load, script: load.sh, timeout: 5, limit: 10 kB}
  - {id: nap, title: A nap, run: [sleep, "0.4"], timeout: 5, limit: 10 kB}
  - {id: who, title: Who, script: load.sh, timeout: 5, limit: 10 kB}
  - {id: log, title: A long log, script: log.sh, timeout: 8, limit: 25 MB}
"""
LOAD = "sleep 0.3\nuptime\n"  # by then the opening message is remembered
LOG = "seq 1000000 2300000\nsleep 0.6\nseq 1000000 2300000\n"
SLOW_RECIPE = """
title: Slow
about: A step that takes a while.
for: host
impact: none
steps:
  - {id: load, title: Load, run: [uptime], timeout: 5, limit: 10 kB}
  - {id: wait, title: Waiting, run: [sleep, "SECONDS"], timeout: 60, limit: 10 kB}
"""
EVENTS = 13  # of a capture with PLUG: accepted, started, eight of its steps, finished, and two notes


@dataclass(kw_only=True)
class Case:
    """One capture: where it was asked for, and its id once it is accepted."""

    channel: str
    incident: str
    id: str = ""


@dataclass(kw_only=True)
class World:
    """What outlives the bots: S3, PagerDuty, and the processes that serve them."""

    folder: Path
    s3: PrivateS3
    server: AsyncExitStack  # holds it
    objects: Objects
    client: Any  # of S3
    pagerduty: PagerDutyStandIn
    numbers: Any = field(default_factory=lambda: count(1))

    async def stop_s3(self) -> None:
        """Kill the S3 server: whatever is under way on it breaks."""
        os.kill(self.s3.pid, signal.SIGKILL)
        await self.server.aclose()

    async def start_s3(self) -> None:
        """Start it again where it was, with what it had on its disk."""
        port = int(self.s3.endpoint_url.rpartition(":")[2])
        self.s3 = await self.server.enter_async_context(private_s3(self.s3.folder, port=port))


@dataclass(kw_only=True)
class House:
    """One Slack workspace, one journal and one configuration, and bots that live there one after the other."""

    name: str
    world: World
    workspace: Workspace
    folder: Path
    user: str
    cases: list[Case] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        world = self.world
        return {
            "SLACK_BOT_TOKEN": self.workspace.bot_token,
            "SLACK_APP_TOKEN": self.workspace.app_token,
            "PAGERDUTY_TOKEN": world.pagerduty.token,
            "S3_ACCESS_KEY": world.s3.access_key,
            "S3_SECRET_KEY": world.s3.secret_key,
        }

    @property
    def config(self) -> Path:
        return self.folder / "capturebot.yml"

    def configure(self, **limits: float) -> None:
        """Write capturebot.yml."""
        world = self.world
        slack = {"bot_token": "env:SLACK_BOT_TOKEN", "app_token": "env:SLACK_APP_TOKEN"}
        s3 = {"bucket": world.s3.bucket, "endpoint_url": world.s3.endpoint_url, "path_style": True}
        keys = {"access_key": "env:S3_ACCESS_KEY", "secret_key": "env:S3_SECRET_KEY", "prefix": self.name}
        config = {
            "journal": "sqlite:///journal.db",
            "recipes": ["recipes"],
            "slack": {**slack, "api_url": self.workspace.api_url, "connections": 1},
            "pagerduty": {"token": "env:PAGERDUTY_TOKEN", "from": SENDER, "api_url": world.pagerduty.api_url},
            "s3": {**s3, **keys},
            "targets": {"here": {"local": True}},
            "limits": {"cooldown_s": 0, **limits},  # many captures of one target are what is tried here
        }
        self.config.write_text(yaml.safe_dump(config))

    # --- what happens in it -------------------------------------------------------------------

    async def connected(self, connections: int) -> None:
        """Wait until so many sockets are open."""
        await self.workspace.wait_for(lambda: len(self.workspace.sockets.numbers) == connections, READY_S)

    async def take(self, recipe: str = "plug") -> Case:
        """Open an incident with a channel, and ask for a capture there."""
        number = next(self.world.numbers)
        case = Case(channel=self.workspace.add_channel(f"inc-{number}"), incident=f"PINC{number:04}")
        self.world.pagerduty.add_incident(case.incident, number, f"Incident {number}", "Orders")
        await self.workspace.command(case.channel, self.user, f"/capture link {case.incident}")
        await until(lambda: bool(self.rows("SELECT 1 FROM links WHERE channel = ?", case.channel)))
        await self.workspace.command(case.channel, self.user, f"/capture {recipe} here")
        self.cases.append(case)
        return case

    def rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        """Ask the journal."""
        with sqlite3.connect(f"file:{self.folder / 'journal.db'}?mode=ro", uri=True, timeout=10) as journal:
            return journal.execute(query, values).fetchall()

    def event_types(self, case: Case) -> list[str]:
        return [row[0] for row in self.rows("SELECT type FROM events WHERE capture_id = ? ORDER BY seq", case.id)]

    def has(self, case: Case, event_type: str) -> bool:
        """Whether that happened to a capture; its id is learnt from the journal."""
        if found := self.rows("SELECT id FROM captures WHERE channel = ?", case.channel):
            ((case.id,),) = found
        return event_type in self.event_types(case)

    # --- what is to be seen -------------------------------------------------------------------

    def openings(self, case: Case) -> list[Message]:
        return [
            message
            for message in self.workspace.messages(case.channel)
            if message.metadata and "capture" in message.metadata["event_payload"]
        ]

    def thread(self, case: Case) -> list[Message]:
        return self.workspace.thread(case.channel, self.openings(case)[0].ts)[1:]

    def is_told(self, case: Case) -> bool:
        """Channel, thread and note tell an end."""
        told = self.openings(case)
        return bool(
            told
            and told[0].text.splitlines()[1].startswith(ENDS)
            and any("manifest.json" in reply.text for reply in self.thread(case))
            and any(END.search(note["content"]) for note in self.world.pagerduty.notes(case.incident))
        )

    def is_quiet(self) -> bool:
        """Every reporter has told the whole journal."""
        ((last,),) = self.rows("SELECT max(seq) FROM events")
        told = self.rows("SELECT seq FROM memories WHERE topic = ''")
        return len(told) == 2 and all(seq >= last for (seq,) in told)

    async def settle(self, case: Case) -> None:
        """Wait for the end, in the open."""
        await until(lambda: self.is_told(case), TOLD_S, f"the end of {case}")

    async def check(self, case: Case) -> str:
        """Hold all that is left of a capture against the truth; returns its state."""
        (opening,), replies = self.openings(case), self.thread(case)
        ((body,),) = self.rows("SELECT body FROM events WHERE capture_id = ? AND type = 'finished'", case.id)
        state = str(json.loads(body)["state"])
        standing = opening.text.splitlines()[1]
        words = State(state).words
        assert f" on here: {words}" in standing
        if state == "interrupted":
            assert "Run it again: /capture" in opening.text
        marks = [reply.metadata["event_payload"]["piece"] for reply in replies if reply.metadata]
        assert len(replies) == len(set(marks)) == len({reply.text for reply in replies})
        (note,) = self.world.pagerduty.notes(case.incident)
        assert f"of here: {words}" in note["content"]
        await self.check_objects(case, state)
        return state

    async def check_objects(self, case: Case, state: str) -> None:
        """The manifest names every object below the capture's prefix, as it is, and no other."""
        prefix = json.loads(self.rows("SELECT body FROM events WHERE capture_id = ?", case.id)[0][0])["capture"][
            "prefix"
        ]
        manifest = json.loads(await self.world.objects.text(f"{prefix}manifest.json"))
        artifacts = [step["artifact"] for step in manifest["steps"] if step["artifact"]]
        named = {one["key"]: one for one in [*artifacts, *manifest["found_after_interruption"]]}
        assert manifest["state"] == state
        assert {*named, f"{prefix}manifest.json"} == set(await self.world.objects.keys(prefix))
        for key, said in named.items():
            stored = await self.world.objects.read_back(key)
            assert (stored.size_bytes, stored.sha256) == (said["size_bytes"], said["sha256"])

    async def open_uploads(self) -> list[str]:
        """The keys of uploads that are open."""
        try:
            page = await self.world.client.list_multipart_uploads(Bucket=self.world.s3.bucket, Prefix=f"{self.name}/")
        except self.world.client.exceptions.NoSuchUpload:  # rclone's words for none since it was started
            return []
        return [upload["Key"] for upload in page.get("Uploads", [])]

    async def uploading(self) -> None:
        """Wait until one is open."""
        async with asyncio.timeout(TOLD_S):
            while not await self.open_uploads():  # noqa: ASYNC110  the state of another process
                await asyncio.sleep(LOOK_S)


async def until(look: Any, within_s: float = READY_S, what: str = "it") -> None:
    """Wait for *look* to be true."""
    try:
        async with asyncio.timeout(within_s):
            while not look():  # noqa: ASYNC110  what is waited for is state of other processes
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        pytest.fail(f"{what} did not come within {within_s:g} s")


def leftovers(cases: Sequence[Case]) -> list[str]:
    """The processes of these captures' steps that still run."""
    marks = [f"{MARK}={case.id}-" for case in cases]
    found = []
    for process in psutil.process_iter():
        try:
            if any(process.environ().get(MARK, "").startswith(mark.partition("=")[2]) for mark in marks):
                found.append(f"{process.pid} {' '.join(process.cmdline())}")
        except psutil.Error:  # gone, or not ours to look at
            continue
    return found


# --- what is started ------------------------------------------------------------------------------


@asynccontextmanager
async def worlds(folder: Path) -> AsyncIterator[World]:
    """S3 and PagerDuty; skips the test where S3 cannot be had."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(AsyncExitStack())
        try:
            s3 = await server.enter_async_context(private_s3(folder / "s3"))
        except UserError as error:
            if "CI" in os.environ:
                pytest.fail(str(error))
            pytest.skip(str(error))
        session = aioboto3.Session(s3.access_key, s3.secret_key, region_name="us-east-1")
        config = AioConfig(s3={"addressing_style": "path"})
        yield World(
            folder=folder,
            s3=s3,
            server=server,
            objects=await stack.enter_async_context(Objects.of(s3)),
            client=await stack.enter_async_context(session.client("s3", endpoint_url=s3.endpoint_url, config=config)),
            pagerduty=await stack.enter_async_context(PagerDutyStandIn(sender=SENDER)),
        )


@asynccontextmanager
async def house(world: World, name: str, *, seconds: float = 4, **limits: float) -> AsyncIterator[House]:
    """A place for bots."""
    app = App.from_manifest(yaml.safe_load(MANIFEST.read_text()))
    folder = world.folder / name
    recipes = folder / "recipes"
    recipes.mkdir(parents=True)
    (recipes / "plug.yml").write_text(RECIPE)
    (recipes / "slow.yml").write_text(SLOW_RECIPE.replace("SECONDS", f"{seconds:g}"))
    (recipes / "load.sh").write_text(LOAD)
    (recipes / "log.sh").write_text(LOG)
    async with Workspace(app=app) as workspace:
        here = House(name=name, world=world, workspace=workspace, folder=folder, user=workspace.add_user("ana"))
        here.configure(**limits)
        yield here


@asynccontextmanager
async def serving(here: House) -> AsyncIterator[asyncio.subprocess.Process]:
    """`capturebot serve`, until it ends or the block does."""
    with (here.folder / "bot.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bot", "--config", str(here.config), "serve",
            env={**os.environ, **here.environ}, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class Nursery:
    """Forks bots that die on purpose; see `tests.live.dying_bot`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin
        assert process.stdout
        self._stdin, self._stdout = process.stdin, process.stdout
        self._turn = asyncio.Lock()
        self._births: asyncio.Queue[int] = asyncio.Queue()
        self._deaths: defaultdict[int, asyncio.Future[int]] = defaultdict(asyncio.get_running_loop().create_future)

    async def listen(self) -> None:
        """Hear of births and deaths, for ever."""
        async for line in self._stdout:
            pid, *status = map(int, line.split())
            if status:
                self._deaths[pid].set_result(status[0])
            else:
                self._births.put_nowait(pid)

    async def raise_bot(self, here: House, plug: dict[str, Any]) -> int:
        """Start a bot; its pid."""
        job = {"config": str(here.config), "environ": here.environ, "plug": plug, "log": str(here.folder / "bot.log")}
        async with self._turn, asyncio.timeout(READY_S):
            self._stdin.write(json.dumps(job).encode() + b"\n")
            return await self._births.get()

    async def funeral(self, pid: int) -> int:
        """Wait for a bot's death; its exit status."""
        async with asyncio.timeout(GOODBYE_S):
            return await self._deaths[pid]


@asynccontextmanager
async def nursery() -> AsyncIterator[Nursery]:
    """A process to fork bots from."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.live.dying_bot",
        cwd=MANIFEST.parent, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    made = Nursery(process)
    listening = asyncio.get_running_loop().create_task(made.listen())
    try:
        yield made
    finally:
        listening.cancel()
        for child in psutil.Process(process.pid).children():
            child.kill()
        process.kill()
        await process.wait()

"""`capturebot playground` as a newcomer meets it: it shows the main job done, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest

pytestmark = pytest.mark.live

START_S = 60.0
END_S = 60.0


@dataclass
class Tour:
    """A tour under way, and all processes that it was ever seen to have."""

    process: asyncio.subprocess.Process
    temporary: Path
    said: str = ""
    family: set[psutil.Process] = field(default_factory=set)
    left: list[str] = field(default_factory=list)

    async def read_until(self, word: str) -> str:
        """What it said up to the line that holds *word*; "" for its end."""
        assert self.process.stdout
        async with asyncio.timeout(START_S):
            while line := (await self.process.stdout.readline()).decode():
                self.said += line
                self.look()
                if word and word in line:
                    return line
        assert not word, self.said
        return ""

    def look(self) -> None:
        """Remember who there is now."""
        try:
            me = psutil.Process(self.process.pid)
            self.family |= {me, *me.children(recursive=True)}
        except psutil.NoSuchProcess:
            pass

    async def end(self) -> int:
        """Its status, once it has ended by itself; what it has not cleaned up is in *left*."""
        async with asyncio.timeout(END_S):
            await self.read_until("")
            status = await self.process.wait()
        lives = [one for one in self.family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
        self.left = [" ".join(one.cmdline()) for one in lives] + [str(path) for path in self.temporary.iterdir()]
        return status


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A place for temporary files that the database's own user can enter, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="tour-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@asynccontextmanager
async def tour(temporary: Path, *options: str, **environ: str) -> AsyncIterator[Tour]:
    """`capturebot playground` that keeps everything below *temporary*."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "playground", "--port", "0", *options),
        env={**os.environ, "TMPDIR": str(temporary), **environ},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield Tour(process, temporary)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def skip_where_missing(said: str) -> None:
    """The rest of a test needs everything."""
    if missing := re.findall(r"⚠️ +(.*)", said):
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing[0])


async def test_one_command_shows_the_main_job_and_ends_by_itself(temporary: Path) -> None:
    """Status 0; the thread's first line names the benchmark; nothing is left running or lying about."""
    async with tour(temporary, "--once") as shown:
        status = await shown.end()

    skip_where_missing(shown.said)
    assert status == 0, shown.said
    first = next(line for line in shown.said.splitlines() if line.startswith("🔴"))
    assert "bench from 127.0.0.1 is running a benchmark (sysbench) on orders: 16 connections took " in first
    assert "✓ The capture is complete" in shown.said
    assert shown.said.count("✓ ") >= 9
    assert "capturebot / incident PORDERS1042" in shown.said
    assert len(shown.family) >= 5
    assert shown.left == []


async def test_it_stays_until_ctrl_c_with_a_page_to_look_at(temporary: Path) -> None:
    """The stored files can be opened from the page; Ctrl-C ends everything in order."""
    async with tour(temporary) as shown:
        line = await shown.read_until("The page: ")
        address = re.findall(r"http://127\.0\.0\.1:\d+/", line)[0]
        await shown.read_until("Ctrl-C ends everything")
        async with httpx.AsyncClient(base_url=address) as browser:
            page = await browser.get("/")
            files = await browser.get("/files/")
            links = re.findall(r'href="(/files/[^"]+\.txt)"', files.text)
            file = await browser.get(links[0])
            nothing = await browser.get("/files/no/such/file.txt")
        shown.look()

        shown.process.send_signal(signal.SIGINT)
        status = await shown.end()

    assert (page.status_code, files.status_code, file.status_code, nothing.status_code) == (200, 200, 200, 404)
    assert file.headers["content-type"].startswith("text/plain")
    assert "### " in file.text
    assert status == 0, shown.said
    assert shown.left == []


@pytest.mark.parametrize("moment", ["Starting a Slack workspace", "ana types  /capture link", "ana types  /capture db"])
async def test_ctrl_c_in_the_middle_leaves_nothing(temporary: Path, moment: str) -> None:
    """While servers start, and while the capture runs; the status is not that of a success."""
    async with tour(temporary, "--once") as shown:
        await shown.read_until(moment)
        shown.look()

        shown.process.send_signal(signal.SIGINT)
        shown.process.send_signal(signal.SIGINT)
        status = await shown.end()

    assert status == 130, shown.said
    assert "Traceback" not in shown.said
    assert shown.left == []


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """All programs but sysbench."""
    for program in Path("/usr/bin").iterdir():
        if program.name != "sysbench":
            (tmp_path / program.name).symlink_to(program)
    return tmp_path


async def test_without_a_load_this_machine_is_captured(temporary: Path, programs: Path) -> None:
    """It says what is missing and how to get it, and checks the rest as ever."""
    async with tour(temporary, "--once", PATH=str(programs)) as shown:
        status = await shown.end()

    assert "⚠️  sysbench is not installed. On Debian: apt-get install sysbench" in shown.said
    assert "Without that, the tour is `/capture host here`." in shown.said
    assert "✅ host on here: complete" in shown.said
    assert status == 0, shown.said
    assert shown.left == []


async def test_a_port_that_is_taken_is_said(temporary: Path) -> None:
    """With the option that mends it, and not as a traceback."""
    other = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = other.sockets[0].getsockname()[1]
    async with other, tour(temporary, "--once", "--port", str(port)) as shown:
        status = await shown.end()

    assert status == 2
    assert f"Port {port} is taken. Choose another: --port N (0: any)." in shown.said
    assert shown.left == []

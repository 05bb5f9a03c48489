"""Packets recorded on a real host over SSH: bounded, without our own, and kept when somebody stops the recording."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from bot.insights import sections
from bot.model import Outcome, Target
from bot.playground.sshd import PrivateSshd, private_sshd
from bot.recipes import bind, bind_parameters, builtin_folder, load_folder
from bot.transports import Execution
from bot.transports.scratch import PLACES
from bot.transports.ssh import SshTransport
from bot.transports.sshpool import SshPool
from tests.steps import Files, Kept, keep, start, until

pytestmark = pytest.mark.live

RECIPE = load_folder(builtin_folder())["tcpdump"]


@pytest.fixture(autouse=True)
def _tools() -> None:
    missing = shutil.which("tcpdump", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None
    if missing or os.geteuid() != 0:
        why = "apt-get install tcpdump" if missing else "recording packets needs root"
        (pytest.fail if "CI" in os.environ and missing else pytest.skip)(why)


@asynccontextmanager
async def recording(folder: Path, **given: str) -> AsyncIterator[tuple[Execution, PrivateSshd]]:
    """A recording under way on a private host."""
    async with private_sshd(folder / "sshd") as server:
        pool = SshPool(Files())
        try:
            step = bind(RECIPE.steps[0], bind_parameters(RECIPE, {"interface": "lo", **given}))
            yield await start(SshTransport(Files(), pool), Target(name="db1", ssh=server.ssh), step), server
        finally:
            await pool.close()


@asynccontextmanager
async def chatter(size_bytes: int = 20_000) -> AsyncIterator[int]:
    """A server and a client that asks it again and again, on a port of their own."""

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(size_bytes))
        writer.close()

    async def ask(port: int) -> None:
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                await reader.read()
            finally:  # also where it is cancelled there
                writer.close()
            await asyncio.sleep(0.01)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    asking = asyncio.get_running_loop().create_task(ask(port))
    try:
        async with server:
            yield port
    finally:
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking


def recorded() -> int:
    """Bytes that lie on this machine's disks by now, of any recording."""
    files = [file for place in PLACES for file in Path(place).glob("capturebot-*/packets.pcap")]
    return max((file.stat().st_size for file in files if file.exists()), default=0)


def lines_of(pcap: bytes, *expression: str) -> list[str]:
    """What tcpdump reads in a file."""
    argv = ["tcpdump", "-nn", "-r", "-", *expression]
    return subprocess.run(argv, input=pcap, check=True, capture_output=True).stdout.decode().splitlines()


def facts_of(kept: Kept) -> dict[str, str]:
    """What the report says of the recording."""
    return dict(next(part.facts for part in sections(kept.output.decode()) if part.name == "capture"))


async def test_packets_come_without_those_that_carry_them(tmp_path: Path) -> None:
    """All TCP of the loopback is asked for, and our own SSH is TCP of the loopback."""
    async with chatter() as port, recording(tmp_path, proto="tcp", seconds="2") as (execution, server):
        kept = await keep(execution)

    assert kept.failure is None
    assert kept.head is not None
    assert (kept.head.name, kept.head.type, kept.whole) == ("packets.pcap", "application/vnd.tcpdump.pcap", True)
    assert len(lines_of(kept.file, "port", str(port))) > 20
    assert lines_of(kept.file, "port", str(server.port)) == []
    assert f"127.0.0.1:{port}\t" in kept.output.decode()
    assert facts_of(kept)["cut"] == "no"


async def test_a_recording_that_is_stopped_keeps_what_it_has(tmp_path: Path) -> None:
    """Tcpdump and the report about it get the time that INT leaves them."""
    async with chatter() as port, recording(tmp_path, port=str(port), seconds="60") as (execution, _):
        assert await until(lambda: recorded() > 5000)

        kept, proof = await asyncio.gather(keep(execution), execution.stop())

    assert kept.failure is not None
    assert kept.failure.outcome is Outcome.STOPPED
    assert "gone" in proof
    assert len(lines_of(kept.file)) > 10
    assert facts_of(kept)["seconds"] < "9"


async def test_a_recording_is_cut_at_its_bytes(tmp_path: Path) -> None:
    """Whole packets fill a megabyte at once; the report says that it is not all, and the file can be read."""
    async with (
        chatter(400_000) as port,
        recording(tmp_path, port=str(port), full="yes", mb="1", seconds="20") as (
            execution,
            _,
        ),
    ):
        kept = await keep(execution)

    assert kept.failure is None
    assert len(kept.file) == 1_000_000
    assert facts_of(kept)["cut"] == "yes"
    assert f"127.0.0.1:{port}\t" in kept.output.decode()


async def test_nothing_is_recorded_without_a_filter(tmp_path: Path) -> None:
    """The answer says how to name one."""
    async with recording(tmp_path) as (execution, _):
        kept = await keep(execution)

    assert (kept.failure, kept.head) == (None, None)
    assert "Say which packets: host=…, port=…, proto=… or filter=…" in kept.output.decode()

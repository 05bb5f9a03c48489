"""What a bot leaves on hosts when it dies, or when the network goes: ended at the next contact, and told.

`test_leftovers` runs these on a machine of their own: any bot on this one would find what they leave, and end it first.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest

from bot.model import Target
from bot.transports import Execution
from bot.transports.ssh import SshTransport
from tests.live.house import House, World, house, leftovers, serving, until, worlds
from tests.live.relay import path_to
from tests.live.test_ssh import Bench, bench, pooled
from tests.steps import Files, a_run, a_script, first_line, gone, keep, lives

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]

CUT_OFF = r"Capture \S+ was cut off from {} and had left a step running: process group \d+ gone{}\."


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """S3 and PagerDuty."""
    async with worlds(tmp_path) as made:
        yield made


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Bench]:
    """A real sshd."""
    async with bench(tmp_path / "sshd") as made:
        yield made


async def doctor(here: House) -> str:
    """What `capturebot doctor here` says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "--config", str(here.config), "doctor", "here",
        env={**os.environ, **here.environ, "COLUMNS": "400"}, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    return said.decode()


async def test_a_stop_says_in_the_channel_what_it_left(world: World) -> None:
    """The group that was ended, and what is kept of it, where everybody sees it."""
    async with house(world, "stopped", seconds=50) as here, serving(here):
        await here.connected(1)
        case = await here.take("slow")
        await until(partial(here.has, case, "step_finished"))
        await here.workspace.command(case.channel, here.user, f"/capture stop {case.id}")
        await here.settle(case)

        (opening,) = here.openings(case)
        assert re.search(r"^⏹️ process group \d+ gone$", opening.text, re.MULTILINE), opening.text
        assert leftovers([case]) == []


async def test_what_a_killed_bot_left_running_is_ended_and_told_by_the_next_one(world: World) -> None:
    """In the thread of the next capture there, and by doctor; the step would have run for most of a minute."""
    async with house(world, "killed", seconds=50) as here:
        for look in ("thread", "doctor"):
            async with serving(here) as bot:
                await here.connected(1)
                died = await here.take("slow")
                await until(partial(here.has, died, "step_finished"))
                bot.send_signal(signal.SIGKILL)
                await bot.wait()
            assert leftovers([died])
            await here.connected(0)

            if look == "doctor":
                said = await doctor(here)
            else:
                async with serving(here):
                    await here.connected(1)
                    await here.settle(died)
                    following = await here.take("plug")
                    await here.settle(following)
                    said = "\n".join(message.text for message in here.thread(following))

            assert re.search(CUT_OFF.format("here", ""), said), said
            assert said.count(died.id) == 1
            assert leftovers([died]) == []


async def test_what_a_cut_network_left_running_is_ended_and_told_when_it_is_back(host: Bench, tmp_path: Path) -> None:
    """Sshd does not notice the cut and keeps the step's connection; only the bot knows that it gave the step up."""
    async with path_to(host.server.port) as path, pooled() as pool:
        known_hosts = tmp_path / "known_hosts"
        known_hosts.write_text(host.server.known_hosts.read_text().replace(f"{host.server.port}", f"{path.port}"))
        ssh = SshTransport(Files(), pool)
        cut = replace(host.server.ssh, port=path.port, known_hosts=known_hosts)
        target = Target(name="db1", ssh=cut)
        step = a_script('trap "" INT; echo $$; while :; do sleep 1; done', timeout_s=60)
        execution = await ssh.start(target, step, capture_id="c-lost")
        pid = int(await first_line(execution.output()))
        path.cut()
        proof = await execution.stop()
        running = lives(pid)
        (await pool.connection(cut)).abort()  # as unanswered keepalives do in time; the host does not hear of it
        path.mend()

        following = await ssh.start(target, a_run("echo", "back"), capture_id="c-next")
        kept = await keep(following)
        after = await ssh.start(target, a_run("echo", "again"), capture_id="c-next")
        await keep(after)

    assert "could not be proved" in proof
    assert running
    assert kept.output == b"back\n"
    assert re.fullmatch(CUT_OFF.format("db1", " after TERM"), following.remark), following.remark
    assert "Capture c-lost" in following.remark
    assert after.remark == ""
    assert not lives(pid)


async def test_a_dropped_connection_without_its_bot_is_found_by_another_bot(host: Bench) -> None:
    """Another bot, or this one after a restart, knows nothing of the step but what the host shows."""
    execution = await start_silent(host)
    pid = int(await first_line(execution.output()))
    (await host.pool.connection(host.server.ssh)).abort()
    assert await gone(*(child.pid for child in psutil.Process(host.server.pid).children()))

    async with pooled() as pool:
        lines = await SshTransport(Files(), pool).check(host.target)

    (warning,) = [line for line in lines if line.startswith("warn")]
    assert re.fullmatch("warn: " + CUT_OFF.format("db1", ""), warning)
    assert not lives(pid)


async def test_what_runs_for_another_bot_is_left_alone(host: Bench) -> None:
    """Its connection lives."""
    execution = await start_silent(host)
    pid = int(await first_line(execution.output()))

    async with pooled() as pool:
        lines = await SshTransport(Files(), pool).check(host.target)

    assert lines[-1] == "ok: no earlier capture has left anything on db1"
    assert lives(pid)
    await execution.stop()


async def start_silent(host: Bench) -> Execution:
    """A step that says its pid and then nothing."""
    return await host.ssh.start(host.target, a_script("echo $$; sleep 60", timeout_s=60), capture_id="c-silent")

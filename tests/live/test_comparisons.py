"""Comparisons as a responder sees them: a real bot, real hosts, one of which leaks; and a process that is new since a good one."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from bot.playground.estate import Estate, bot, estate
from bot.playground.sshd import PrivateSshd, private_sshd
from bot.playground.workspace.nouns import Message

pytestmark = pytest.mark.live

TOLD_S = 60.0
RECIPE = """
title: A look
about: Sockets and memory.
for: host
impact: light
use:
  - {recipe: host, only: [sockets, memory], timeout: 7}
"""
# Connections that the other side has closed and nobody here closes.
LEAKS = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0), backlog=200)
held = [socket.create_connection(server.getsockname()) for _ in range(120)]
for _ in held:
    server.accept()[0].close()
print("leaks", flush=True)
sys.stdin.read()
"""
ARRIVES = """
import socket, sys
open("/proc/self/comm", "w").write("orders-export")
memory = bytearray(60_000_000)
server = socket.create_server(("127.0.0.1", 0))
print("there", flush=True)
sys.stdin.read()
"""


@asynccontextmanager
async def running(*argv: str) -> AsyncIterator[int]:
    """A program that says a line when it is ready, and ends with its input; yields its pid."""
    process = await asyncio.create_subprocess_exec(*argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    assert process.stdin
    assert process.stdout
    try:
        async with asyncio.timeout(10):
            assert await process.stdout.readline(), f"{argv[0]} did not start"
        yield process.pid
    finally:
        process.stdin.close()
        await process.wait()


@asynccontextmanager
async def host(folder: Path, *, leaks: bool) -> AsyncIterator[PrivateSshd]:
    """A host with a network of its own, that is reached over SSH."""
    program = [sys.executable, "-c", LEAKS] if leaks else ["sh", "-c", "echo ready; exec cat"]
    inside = 'ip link set lo up && exec "$@"'
    async with running("unshare", "--net", "sh", "-c", inside, "sh", *program) as pid:
        forced = f'exec nsenter --target {pid} --net sh -c "$SSH_ORIGINAL_COMMAND"'
        async with private_sshd(folder, options={"ForceCommand": forced}) as sshd:
            yield sshd


@asynccontextmanager
async def place(folder: Path, hosts: Sequence[PrivateSshd] = ()) -> AsyncIterator[Estate]:
    """A playground with *hosts* and a bot."""
    (recipes := folder / "recipes").mkdir(parents=True)
    (recipes / "look.yml").write_text(RECIPE)
    ways = [
        {
            "host": one.host,
            "port": one.port,
            "user": one.user,
            "key": f"file:{one.key}",
            "known_hosts": str(one.known_hosts),
        }
        for one in hosts
    ]
    targets = {"here": {"local": True}, **{f"app-{n}": {"ssh": way} for n, way in enumerate(ways, 1)}}
    settings = {
        "recipes": [str(recipes)],
        "baselines": [{"recipe": "look", "targets": ["here"], "every": "31 d"}],
    }
    async with estate(folder / "estate", port=0, targets=targets, settings=settings) as made, bot(made):
        yield made


async def typed(here: Estate, line: str) -> str:
    """What only Ana sees."""
    seen = len(here.workspace.ephemerals(here.channel, here.user))
    await here.workspace.command(here.channel, here.user, line)
    said = await here.workspace.wait_for(lambda: here.workspace.ephemerals(here.channel, here.user)[seen:], TOLD_S)
    return said[0].text


async def captured(here: Estate, line: str, *, waits_for: str) -> tuple[str, str, list[Message]]:
    """A capture's id, its message in the channel and its thread, once the message says what it *waits_for*."""
    match = re.search("`([a-z0-9]{6})`", await typed(here, line))
    assert match

    def root() -> list[Message]:
        of_it = [one for one in here.workspace.messages(here.channel) if one.by_app and match[1] in one.text]
        return [one for one in of_it if waits_for in one.text]

    (message, *_) = await here.workspace.wait_for(root, TOLD_S)

    def whole() -> list[Message]:
        thread = here.workspace.thread(here.channel, message.ts)
        return thread if "🔎" not in message.text or "🔎" in thread[-1].text else []

    return match[1], message.text, await here.workspace.wait_for(whole, TOLD_S)


@pytest.fixture(autouse=True)
def _namespaces() -> None:
    """Root and its tools, or the reason why not."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        reason = "this test makes networks of its own: run it as root, with util-linux and iproute2"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


async def test_of_three_hosts_the_one_that_leaks_is_named(tmp_path: Path) -> None:
    """Under the first line, and in a reply."""
    async with AsyncExitStack() as stack:
        hosts = [
            await stack.enter_async_context(host(tmp_path / f"host-{n}", leaks=leaks))
            for n, leaks in enumerate((False, False, True))
        ]
        here = await stack.enter_async_context(place(tmp_path, hosts))

        _, root, thread = await captured(here, "/capture look app-1,app-2,app-3", waits_for="🔎")

    assert "🔎 2 of 3 alike; app-3 has CLOSE-WAIT sockets" in root
    assert "(120), the others none" in root
    assert thread[-1].text.startswith("🔎 2 of 3 alike; app-3")
    python = Path(sys.executable).name  # as the kernel calls what was started by that name
    assert f"app-3 has CLOSE-WAIT sockets of {python} to 127.0.0.1 (120), the others none" in thread[-1].text


async def test_a_process_that_is_new_since_the_good_one_is_told(tmp_path: Path) -> None:
    """Marked, compared by itself, and on request; `status` has the baselines."""
    async with place(tmp_path) as here:
        good, *_ = await captured(here, "/capture look here", waits_for=": complete")
        marked = await typed(here, f"/capture good {good}")
        async with running(sys.executable, "-c", ARRIVES):
            later, root, thread = await captured(here, "/capture look here force=hot", waits_for="🔎")
        asked = await typed(here, f"/capture compare {good} {later}")
        status = await typed(here, "/capture status")

    assert marked.startswith(f"👍 `{good}`")
    assert f"🔎 Since {good} (" in root
    told = thread[-1].text
    assert "New: process orders-export (7" in told
    assert "New: listener on 127.0.0.1:" in told
    assert "New: process orders-export" in asked
    assert "🗓️ `look` of here every 31 days: none is good yet, next" in status

"""Hosts that are well: nothing may be said of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from tests.stage import NOTHING, Broken, scene
from tests.stage.culprits import culprit
from tests.stage.needs import calm, private_machine

SERVER = """\
import asyncio
async def serve(reader, writer):
    while await reader.readline():
        while len(await reader.readline()) > 2:
            pass
        writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 1000\\r\\n\\r\\n" + bytes(1000))
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 8080, backlog=100)
    ready()
    await server.serve_forever()
asyncio.run(main())
"""
CLIENTS = """\
import asyncio
async def browse():
    reader, writer = await asyncio.open_connection("127.0.0.1", 8080)
    while True:
        writer.write(b"GET / HTTP/1.1\\r\\nHost: shop\\r\\n\\r\\n")
        await reader.readuntil(b"\\r\\n\\r\\n")
        await reader.readexactly(1000)
        await asyncio.sleep(0.4)
async def main():
    browsing = [asyncio.create_task(browse()) for _ in range(60)]
    await asyncio.sleep(0.5)
    ready()
    await asyncio.gather(*browsing)
asyncio.run(main())
"""
JOBS = """\
import subprocess
for n in range(100_000):
    subprocess.run(["true"])
    if n == 5:
        ready()
    time.sleep(0.05)
"""


@scene("host-idle", "Nothing: a host that has nothing to do.", recipe="host", needs=(private_machine, calm))
async def idle(_folder: Path) -> AsyncIterator[Broken]:
    """A process that sleeps, and the bot."""
    async with culprit("orders-api", "ready()\nstay()"):
        yield Broken(line=NOTHING)


@scene(
    "host-web-server",
    "Nothing: a web server with keep-alive connections, busy but not saturated.",
    recipe="host",
    needs=(private_machine, calm),
)
async def web_server(_folder: Path) -> AsyncIterator[Broken]:
    """Sixty browsers on connections that stay open, 150 requests a second."""
    async with culprit("orders-web", SERVER), culprit("browsers", CLIENTS):
        yield Broken(line=NOTHING)


@scene(
    "host-short-jobs",
    "Nothing: scripts that start a program now and then, as scripts do.",
    recipe="host",
    needs=(private_machine, calm),
)
async def short_jobs(_folder: Path) -> AsyncIterator[Broken]:
    """Two scripts, fifteen programs a second each."""
    async with culprit("nightly", JOBS), culprit("health-check", JOBS):
        yield Broken(line=NOTHING)

"""Processes that open more than they close, and such as do not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from tests.scenes.host_files import DISK, KEPT_LOG, disk
from tests.scenes.host_healthy import CLIENTS, SERVER
from tests.stage import NOTHING, Broken, scene
from tests.stage.culprits import culprit
from tests.stage.needs import private_machine

# Forty files a second, of which it closes none.
FILE_LEAK = """\
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
kept = [open({folder!r} + f"/session-{{n}}.tmp", "w") for n in range(400)]
ready()
for n in range(400, 1000):
    kept.append(open({folder!r} + f"/session-{{n}}.tmp", "w"))
    time.sleep(0.025)
stay()
"""
# Its peer keeps what it is given, so that both leak; the one with the nearer limit is the worse.
KEEPER = """\
import socket
server = socket.create_server(("127.0.0.1", 9443), backlog=500)
kept = []
ready()
while True:
    kept.append(server.accept()[0])
"""
SOCKET_LEAK = """\
import resource, socket
resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))
kept = [socket.create_connection(("127.0.0.1", 9443)) for _ in range(350)]
ready()
while True:
    kept.append(socket.create_connection(("127.0.0.1", 9443)))
    time.sleep(0.08)
"""


@scene("files-leak", "A process opens files and closes none.", recipe="files", needs=(private_machine,))
async def file_leak(_folder: Path) -> AsyncIterator[Broken]:
    """Four hundred of 1,024 at first."""
    with disk(size="8m", mode="1777"):
        async with culprit("orders-api", FILE_LEAK.format(folder=str(DISK))) as leak:
            yield Broken(
                line=f"{leak.text} opens <20..41> files a second more than it closes: <500..800> of 1,024, "
                f"full in <5..30> s; most: {DISK}/session-#.tmp"
            )


@scene(
    "files-socket-leak",
    "A process opens a connection for every request and closes none; its limit is near.",
    recipe="files",
    needs=(private_machine,),
)
async def socket_leak(_folder: Path) -> AsyncIterator[Broken]:
    """Twelve a second, of 512 in all."""
    async with culprit("payments", KEEPER), culprit("orders-api", SOCKET_LEAK) as leak:
        yield Broken(
            line=f"{leak.text} opens <6..13> sockets a second more than it closes: <400..450> of 512, full in <3..20> s; "
            "most: tcp ESTAB to 127.0.0.1:9443"
        )


@scene(
    "files-deleted-log",
    "A disk is full of a log that was deleted, and is still open.",
    recipe="files",
    needs=(private_machine,),
)
async def deleted_log(_folder: Path) -> AsyncIterator[Broken]:
    """No `du` finds it."""
    with disk(size="64m", mode="1777"):
        async with culprit("orders-api", KEPT_LOG.format(file=str(DISK / "orders.log"))) as keeper:
            yield Broken(
                line=f"{keeper.text} keeps <62..64> MB of deleted files open on {DISK}, which is <91..96> % full"
            )


@scene(
    "files-web-server",
    "Nothing: a web server with keep-alive connections.",
    recipe="files",
    needs=(private_machine,),
)
async def web_server(_folder: Path) -> AsyncIterator[Broken]:
    """Sixty browsers on connections that stay open."""
    async with culprit("orders-web", SERVER), culprit("browsers", CLIENTS):
        yield Broken(line=NOTHING)

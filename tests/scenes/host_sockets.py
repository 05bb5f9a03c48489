"""Sockets that pile up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from tests.stage import Broken, scene
from tests.stage.culprits import culprit
from tests.stage.needs import private_machine

PAYMENTS = """\
import socket
server = socket.create_server(("127.0.0.1", 9443), backlog=500)
ready()
while True:
    server.accept()[0].close()
"""
LEAK = """\
import socket
kept = [socket.create_connection(("127.0.0.1", 9443)) for _ in range(400)]
for each in kept:
    each.recv(1)
ready()
stay()
"""
DEAF = """\
import socket
server = socket.create_server(("127.0.0.1", 8080), backlog=16)
ready()
stay()
"""
KNOCKING = """\
import socket
kept = []
for _ in range(60):
    one = socket.socket()
    one.setblocking(False)
    one.connect_ex(("127.0.0.1", 8080))
    kept.append(one)
ready()
stay()
"""


@scene(
    "host-close-wait",
    "A process does not close connections that the other side has closed.",
    recipe="host",
    needs=(private_machine,),
)
async def close_wait(_folder: Path) -> AsyncIterator[Broken]:
    """Four hundred to one peer."""
    async with culprit("payments", PAYMENTS), culprit("orders-api", LEAK) as leak:
        yield Broken(
            line=f"{leak.name} (pid {leak.pid}) holds 400 sockets in CLOSE-WAIT to 127.0.0.1:9443: "
            "it does not close what the other side has closed"
        )


@scene(
    "host-listen-queue",
    "A server does not accept the connections that wait for it.",
    recipe="host",
    needs=(private_machine,),
)
async def listen_queue(_folder: Path) -> AsyncIterator[Broken]:
    """Sixty knock where sixteen may wait."""
    async with culprit("orders-web", DEAF) as deaf, culprit("browsers", KNOCKING):
        yield Broken(
            line=f"{deaf.name} (pid {deaf.pid}) on port 8080 does not accept: its queue of 16 connections is full"
        )

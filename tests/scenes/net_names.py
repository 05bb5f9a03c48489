"""Name servers that answer, and one that does not; and a host whose network is well."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from tests.scenes.host_healthy import CLIENTS, SERVER
from tests.stage import NOTHING, Broken, scene
from tests.stage.culprits import culprit
from tests.stage.needs import calm, private_machine
from tests.stage.network import black_hole, resolv_conf

SILENT = "198.51.100.53"
# Declines every question, as a server does that knows only its own names: it sets "answer" and "declined" in its header.
NAME_SERVER = """\
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
ready()
while True:
    question, asker = server.recvfrom(512)
    server.sendto(question[:2] + b"\\x81\\x85" + question[4:], asker)
"""


@scene(
    "net-dead-name-server",
    "The first of two name servers does not answer.",
    recipe="net",
    needs=(private_machine,),
)
async def dead_name_server(folder: Path) -> AsyncIterator[Broken]:
    """Every look-up waits for it first."""
    with resolv_conf(folder, f"nameserver {SILENT}\nnameserver 127.0.0.1\n"), black_hole(SILENT):
        async with culprit("names", NAME_SERVER):
            yield Broken(
                line=f"Name server {SILENT}, the first of 2, does not answer: look-ups wait 5 s for it before the next is asked"
            )


@scene(
    "net-no-name-server",
    "The only name server does not answer.",
    recipe="net",
    needs=(private_machine,),
)
async def no_name_server(folder: Path) -> AsyncIterator[Broken]:
    """Nor would it be asked for long."""
    with resolv_conf(folder, f"nameserver {SILENT}\noptions timeout:2 attempts:2\n"), black_hole(SILENT):
        yield Broken(
            line=f"Name server {SILENT} does not answer: every look-up of a name waits 4 s and fails",
            parameters={"name": "orders-db.example"},
        )


@scene(
    "net-web-server",
    "Nothing: a web server under ordinary load, and a name server that answers.",
    recipe="net",
    needs=(private_machine, calm),
)
async def web_server(folder: Path) -> AsyncIterator[Broken]:
    """Sixty browsers on connections that stay open, 150 requests a second."""
    with resolv_conf(folder, "nameserver 127.0.0.1\n"):
        async with culprit("names", NAME_SERVER), culprit("orders-web", SERVER), culprit("browsers", CLIENTS):
            yield Broken(line=NOTHING)

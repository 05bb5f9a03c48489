"""What is wrong on the wire, as recorded packets tell it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from tests.scenes.net_paths import HASTY, NOWHERE, PATIENT, PERSISTENT, SENDER, SINK
from tests.stage import Broken, scene
from tests.stage.culprits import culprit
from tests.stage.needs import private_machine, programs
from tests.stage.network import THERE, apart, black_hole, lossy_paths, resolv_conf

SECONDS = {"seconds": "4"}
tcpdump = programs(tcpdump="tcpdump")
# Asks a healthy server again and again, as browsers do.
BROWSER = """\
import encodings.idna, socket
ready()
while True:
    with socket.create_connection(("127.0.0.1", 8080)) as one:
        one.sendall(b"GET /")
        while one.recv(65536):
            pass
    time.sleep(0.05)
"""
SHOP = """\
import socket
server = socket.create_server(("127.0.0.1", 8080), backlog=50)
ready()
while True:
    one = server.accept()[0]
    one.recv(100)
    one.sendall(bytes(20_000))
    one.close()
"""


@scene(
    "tcpdump-no-answer",
    "A host does not answer the handshakes of a process.",
    recipe="tcpdump",
    needs=(private_machine, tcpdump),
)
async def no_answer(folder: Path) -> AsyncIterator[Broken]:
    """New ones every fifth of a second."""
    knocking = PATIENT.replace(
        "stay()",
        "while True:\n    time.sleep(0.2)\n    one = socket.socket()\n    one.setblocking(False)\n    one.connect_ex(({address!r}, 5432))\n    kept.append(one)",
    )
    with resolv_conf(folder), black_hole(NOWHERE):
        async with culprit("orders-api", knocking.format(address=NOWHERE)) as caller:
            yield Broken(
                parameters={"host": NOWHERE, **SECONDS},
                line=f"{NOWHERE}:5432 does not answer {caller.name} (pid {caller.pid}): <any> handshakes in 4 s had no reply",
            )


@scene(
    "tcpdump-reset-storm",
    "A server resets every connection.",
    recipe="tcpdump",
    needs=(private_machine, tcpdump),
)
async def reset_storm(folder: Path) -> AsyncIterator[Broken]:
    """Some two hundred a second, from another host."""
    with resolv_conf(folder):
        async with apart("payments", HASTY), culprit("orders-api", PERSISTENT.format(address=THERE)) as client:
            yield Broken(
                parameters={"port": "9443", **SECONDS},
                line=f"{THERE}:9443 resets connections with {client.name} (pid {client.pid}): <150..1200> in 4 s, "
                "<150..1200> were opened",
            )


@scene(
    "tcpdump-lossy-path",
    "A path loses a tenth of the packets that are sent to another host.",
    recipe="tcpdump",
    needs=(private_machine, tcpdump, lossy_paths),
)
async def lossy_path(folder: Path) -> AsyncIterator[Broken]:
    """Twelve connections, 20 messages a second on each."""
    with resolv_conf(folder):
        async with apart("payments", SINK, loss=0.1), culprit("orders-api", SENDER.format(address=THERE)) as sender:
            yield Broken(
                parameters={"filter": f"tcp and host {THERE}", **SECONDS},
                line=f"<3..25> % of the data between {THERE}:9443 and {sender.name} (pid {sender.pid}) was sent again: "
                "<any> segments in 4 s",
            )


@scene(
    "tcpdump-healthy",
    "A server answers its clients.",
    recipe="tcpdump",
    needs=(private_machine, tcpdump),
)
async def healthy(folder: Path) -> AsyncIterator[Broken]:
    """Twenty times a second."""
    with resolv_conf(folder):
        async with culprit("orders-web", SHOP) as shop, culprit("browser", BROWSER):
            yield Broken(
                parameters={"port": "8080", **SECONDS},
                line=f"Most traffic: {shop.name} (pid {shop.pid}) on 127.0.0.1:8080 with 127.0.0.1, <any> packets in 4 s",
            )

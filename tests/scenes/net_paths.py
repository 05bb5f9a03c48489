"""Paths on which packets are lost, connections that are reset, and peers that do not answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from tests.scenes.host_sockets import DEAF, KNOCKING, LEAK, PAYMENTS
from tests.stage import Broken, scene
from tests.stage.culprits import culprit
from tests.stage.needs import private_machine
from tests.stage.network import APART, THERE, apart, black_hole, lossy_paths, resolv_conf

NOWHERE = "198.51.100.9"
SINK = """\
import socket, threading
server = socket.create_server(("0.0.0.0", 9443), backlog=100)
ready()
def swallow(one):
    while one.recv(65536):
        pass
while True:
    threading.Thread(target=swallow, args=(server.accept()[0],), daemon=True).start()
"""
SENDER = """\
import socket, threading
connected = threading.Barrier(13)
def send():
    one = socket.create_connection(({address!r}, 9443))
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.wait()
    while True:
        one.sendall(bytes(30_000))
        time.sleep(0.05)
for _ in range(12):
    threading.Thread(target=send, daemon=True).start()
connected.wait()
ready()
stay()
"""
# A server that gives up on each connection soon after it has taken it, by a reset.
HASTY = """\
import asyncio, socket, struct
async def serve(reader, writer):
    await asyncio.sleep(0.05)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()
async def main():
    server = await asyncio.start_server(serve, "0.0.0.0", 9443, backlog=100)
    ready()
    await server.serve_forever()
asyncio.run(main())
"""
PERSISTENT = """\
import asyncio
async def call():
    while True:
        try:
            reader, _ = await asyncio.open_connection({address!r}, 9443)
            await reader.read()
        except ConnectionError:
            pass
async def main():
    calling = [asyncio.create_task(call()) for _ in range(10)]
    await asyncio.sleep(0.3)
    ready()
    await asyncio.gather(*calling)
asyncio.run(main())
"""
PATIENT = """\
import socket
kept = []
for _ in range(40):
    one = socket.socket()
    one.setblocking(False)
    one.connect_ex(({address!r}, 5432))
    kept.append(one)
ready()
stay()
"""
# Takes what its buffer takes, and reads nothing of it; by the time it is looked at the buffer is full.
STUCK = """\
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 8125))
ready()
stay()
"""
AGENTS = """\
import socket
agent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(2000):
    agent.sendto(b"orders:1|c", ("127.0.0.1", 8125))
ready()
while True:
    agent.sendto(b"orders:1|c", ("127.0.0.1", 8125))
    time.sleep(0.005)
"""
# Both ends in a network of their own, as in a container: its server has closed what the client keeps.
CONTAINED = """\
import socket, subprocess
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
server = socket.create_server(("127.0.0.1", 9443), backlog=500)
kept = [socket.create_connection(("127.0.0.1", 9443)) for _ in range(300)]
for each in kept:
    server.accept()[0].close()
for each in kept:
    each.recv(1)
ready()
stay()
"""


@scene(
    "net-lossy-path",
    "A path loses a tenth of the packets that a process sends to another host.",
    recipe="net",
    needs=(private_machine, lossy_paths),
)
async def lossy_path(folder: Path) -> AsyncIterator[Broken]:
    """Twelve connections, 20 messages a second on each."""
    with resolv_conf(folder):
        async with apart("payments", SINK, loss=0.1), culprit("orders-api", SENDER.format(address=THERE)) as sender:
            yield Broken(
                line=f"{sender.name} (pid {sender.pid}) sends <5..20> % of its segments to {THERE}:9443 again: "
                "packets are lost on that way"
            )


@scene(
    "net-reset-storm",
    "A server on another host resets every connection.",
    recipe="net",
    needs=(private_machine,),
)
async def reset_storm(folder: Path) -> AsyncIterator[Broken]:
    """Some two hundred a second."""
    with resolv_conf(folder):
        async with apart("payments", HASTY), culprit("orders-api", PERSISTENT.format(address=THERE)) as client:
            yield Broken(
                line=f"Connections of {client.name} (pid {client.pid}) to {THERE}:9443 are reset, <50..250> a second, "
                "by the other side"
            )


@scene(
    "net-reset-storm-here",
    "Two programs of one host, of which one resets every connection of the other.",
    recipe="net",
    needs=(private_machine,),
)
async def reset_storm_here(folder: Path) -> AsyncIterator[Broken]:
    """The kernel counts each reset twice."""
    with resolv_conf(folder):
        async with (
            culprit("payments", HASTY) as server,
            culprit("orders-api", PERSISTENT.format(address="127.0.0.1")) as client,
        ):
            yield Broken(
                line=f"Connections of {client.name} (pid {client.pid}) to {server.name} (pid {server.pid}) on port 9443 "
                "are reset, <50..250> a second"
            )


@scene(
    "net-no-answer",
    "A process waits for connections to a host that never answers.",
    recipe="net",
    needs=(private_machine,),
)
async def no_answer(folder: Path) -> AsyncIterator[Broken]:
    """Forty, to an address that swallows packets."""
    with resolv_conf(folder), black_hole(NOWHERE):
        async with culprit("orders-api", PATIENT.format(address=NOWHERE)) as waiting:
            yield Broken(
                line=f"{waiting.name} (pid {waiting.pid}) waits for 40 connections to {NOWHERE}:5432: "
                "no answer comes (SYN-SENT)"
            )


@scene(
    "net-close-wait",
    "A process does not close connections that the other side has closed.",
    recipe="net",
    needs=(private_machine,),
)
async def close_wait(folder: Path) -> AsyncIterator[Broken]:
    """Four hundred to one peer."""
    with resolv_conf(folder):
        async with culprit("payments", PAYMENTS), culprit("orders-api", LEAK) as leak:
            yield Broken(
                line=f"{leak.name} (pid {leak.pid}) holds 400 sockets in CLOSE-WAIT to 127.0.0.1:9443: "
                "it does not close what the other side has closed"
            )


@scene(
    "net-listen-queue",
    "A server does not accept the connections that wait for it.",
    recipe="net",
    needs=(private_machine,),
)
async def listen_queue(folder: Path) -> AsyncIterator[Broken]:
    """Sixty knock where sixteen may wait."""
    with resolv_conf(folder):
        async with culprit("orders-web", DEAF) as deaf, culprit("browsers", KNOCKING):
            yield Broken(
                line=f"{deaf.name} (pid {deaf.pid}) on port 8080 does not accept: its queue of 16 connections is full"
            )


@scene(
    "net-lost-datagrams",
    "A process does not read the datagrams that it is sent.",
    recipe="net",
    needs=(private_machine,),
)
async def lost_datagrams(folder: Path) -> AsyncIterator[Broken]:
    """Two hundred a second."""
    with resolv_conf(folder):
        async with culprit("metrics", STUCK) as stuck, culprit("agents", AGENTS):
            yield Broken(
                line=f"{stuck.name} (pid {stuck.pid}) loses <50..200> datagrams a second on 127.0.0.1:8125: "
                "it reads too slowly"
            )


@scene(
    "net-container",
    "A process in a container does not close connections that the other side has closed.",
    recipe="net",
    needs=(private_machine,),
)
async def container(folder: Path) -> AsyncIterator[Broken]:
    """Looked at from the host, by the pid that the host knows."""
    with resolv_conf(folder):
        async with culprit("orders-api", APART + CONTAINED) as leak:
            yield Broken(
                line=f"{leak.name} (pid {leak.pid}) holds 300 sockets in CLOSE-WAIT to 127.0.0.1:9443: "
                "it does not close what the other side has closed",
                parameters={"pid": str(leak.pid)},
            )

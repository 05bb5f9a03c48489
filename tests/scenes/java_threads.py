"""JVMs whose threads wait for each other, or for somebody else, and one that is well."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

from tests.stage import NOTHING, Broken, scene
from tests.stage.needs import private_machine, programs
from tests.stage.programs import jvm

JDK = programs(javac="default-jdk-headless", jcmd="default-jdk-headless")


@scene(
    "java-threads-deadlock",
    "Two threads of a JVM wait for each other's locks.",
    recipe="java-threads",
    needs=(private_machine, JDK),
)
async def deadlock(folder: Path) -> AsyncIterator[Broken]:
    """Two transfers in opposite order."""
    async with jvm(folder, "Transfers") as pid:
        yield Broken(
            line=f"Deadlock in Transfers (pid {pid}): transfer-1 and transfer-2 wait for each other's locks "
            "(Object in Transfers.transfer:27)",
            parameters={"app": "shop.Transfers"},
        )


@scene(
    "java-threads-slow-downstream",
    "A service takes connections and does not answer, and uses up the pool of those who ask it.",
    recipe="java-threads",
    needs=(private_machine, JDK),
)
async def slow_downstream(folder: Path) -> AsyncIterator[Broken]:
    """Forty orders for eight threads."""
    with socket.create_server(("127.0.0.1", 9443), backlog=64):
        async with jvm(folder, "SlowDownstream", "9443", "40") as pid:
            yield Broken(
                line=f"All 8 threads of pool orders-worker in SlowDownstream (pid {pid}) wait for an answer from "
                "127.0.0.1:9443 in PaymentClient.charge:18"
            )


@scene(
    "java-threads-healthy",
    "Nothing: a JVM that answers fifty requests a second.",
    recipe="java-threads",
    needs=(private_machine, JDK),
)
async def healthy(folder: Path) -> AsyncIterator[Broken]:
    """With a queue, and consumers that wait for it."""
    async with jvm(folder, "Healthy"):
        yield Broken(line=NOTHING)

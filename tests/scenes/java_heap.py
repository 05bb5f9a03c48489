"""JVMs whose heap fills, and one that is well."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from tests.scenes.java_threads import JDK
from tests.stage import Broken, scene
from tests.stage.needs import private_machine
from tests.stage.programs import jvm


@scene(
    "java-heap-one-class",
    "A JVM keeps every order that it has ever seen, and hardly does anything but collect garbage.",
    recipe="java-heap",
    needs=(private_machine, JDK),
)
async def one_class(folder: Path) -> AsyncIterator[Broken]:
    """Nine tenths of the heap are orders."""
    async with jvm(folder, "Hoard", "90", "5", options=("-Xmx64m", "-XX:+UseSerialGC")) as pid:
        yield Broken(
            line=f"Hoard (pid {pid}) spends <10..99> % of its time collecting garbage: its heap is nearly full, <55..68> MB of 67 MB, "
            "most of all <600000..999999> Hoard$Order (<14..24> MB) and <600000..999999> long[] (<28..48> MB, <55..70> %)<any>",
            parameters={"every": "1"},
        )


@scene(
    "java-heap-healthy",
    "Nothing: a JVM with fifty requests a second and a heap that has room.",
    recipe="java-heap",
    needs=(private_machine, JDK),
)
async def healthy(folder: Path) -> AsyncIterator[Broken]:
    """Its garbage is collected, as it should be."""
    async with jvm(folder, "Healthy") as pid:
        yield Broken(
            line=f"Healthy (pid {pid}) has <1..60><any> of 67 MB of heap in use, most of all <any>"
            "; it spends <any> of its time collecting garbage"
        )

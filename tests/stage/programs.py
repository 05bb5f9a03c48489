"""Programs in any language that do what a scene is about; they print "ready" once they do it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.stage.waiting import until

READY_S = 30.0  # a JVM on a busy machine
JAVA_SOURCES = Path(__file__).parent.parent / "scenes" / "java"
PYTHON = os.path.realpath(sys.executable)  # so that no launcher stands in between


@asynccontextmanager
async def program(
    *argv: str | Path, cwd: Path | str = "/", env: dict[str, str] | None = None, quiet: bool = False
) -> AsyncIterator[int]:
    """Run a program until the context ends, and give its pid once it is ready; *quiet* drops what it complains of."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL if quiet else None,
        start_new_session=True,
    )
    try:
        assert process.stdout
        async with asyncio.timeout(READY_S):
            assert await process.stdout.readline() == b"ready\n", f"{argv[0]} ended before it was ready"
        yield process.pid
    finally:
        with suppress(ProcessLookupError):  # it may have ended by itself, with all that it had started
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


@asynccontextmanager
async def jvm(folder: Path, main: str, *arguments: str, options: tuple[str, ...] = ("-Xmx64m",)) -> AsyncIterator[int]:
    """Compile a class of `tests/scenes/java/shop` into *folder*, and run it in a JVM."""
    source = JAVA_SOURCES / "shop" / f"{main}.java"
    compiler = ("javac", "-Xlint:-options", "--release", "11", "-sourcepath", JAVA_SOURCES, "-d", folder, source)
    await asyncio.to_thread(subprocess.run, compiler, check=True)
    async with program("java", *options, "-cp", folder, f"shop.{main}", *arguments) as pid:
        yield pid


@asynccontextmanager
async def python(folder: Path, name: str, code: str, *arguments: str) -> AsyncIterator[int]:
    """Run Python *code* from a file of that name."""
    (folder / name).write_text(code)
    async with program(PYTHON, name, *arguments, cwd=folder) as pid:
        yield pid


async def settled(pid: int) -> None:
    """Return when every thread of a process sleeps and has not run since the last look."""
    seen: list[str] = []

    def look() -> list[str]:
        wanted = ("State:", "voluntary_ctxt", "nonvoluntary_ctxt")
        tasks = sorted(Path(f"/proc/{pid}/task").iterdir())
        lines = [line for task in tasks for line in (task / "status").read_text().splitlines()]
        return [line for line in lines if line.startswith(wanted)]

    async def at_rest() -> bool:
        nonlocal seen
        before, seen = seen, look()
        return before == seen and not any("(running)" in line for line in seen)

    await until(at_rest)

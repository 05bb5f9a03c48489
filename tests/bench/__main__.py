"""`python -m tests.bench [NAME …]`: run benchmarks and print what came of them. Status 1 when a promise was not kept."""

from __future__ import annotations

import asyncio
import importlib
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from tests.bench import Figure

BENCHMARKS = ("acks", "findings", "redaction", "storing")
ROOM_BYTES = 6 * 1024**3  # of disk
MEMORY_BYTES = 12 * 1024**3  # with so much free, the files may lie in memory
IN_MEMORY = Path("/dev/shm")
TERMINATED = 128 + signal.SIGTERM


def main(names: Sequence[str]) -> int:
    """Run the benchmarks named, or all."""
    console = Console()
    if unknown := set(names) - set(BENCHMARKS):
        console.print(f"There is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}.")
        return 2
    figures: dict[str, list[Figure]] = {}
    for name in names or BENCHMARKS:
        began = time.monotonic()
        folder = Path(tempfile.mkdtemp(prefix="capturebot-bench-", dir=_place()))
        try:
            figures[name] = asyncio.run(_measure(name, folder))
        except asyncio.CancelledError:
            return TERMINATED
        finally:
            shutil.rmtree(folder)
        console.print(f"{name}: {time.monotonic() - began:.0f} s", style="dim", highlight=False)
    console.print(_table(figures))
    return 1 if any(figure.met is False for each in figures.values() for figure in each) else 0


async def _measure(name: str, folder: Path) -> list[Figure]:
    """Run one; a SIGTERM ends it as Ctrl-C does, with its servers."""
    if task := asyncio.current_task():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    figures: list[Figure] = await importlib.import_module(f"tests.bench.{name}").measure(folder)
    return figures


def _place() -> Path | None:
    """Where the large files lie: in memory where there is plenty, so that no disk is measured."""
    plenty = IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free > ROOM_BYTES
    return IN_MEMORY if plenty and psutil.virtual_memory().available > MEMORY_BYTES else None


def _table(figures: dict[str, list[Figure]]) -> Table:
    table = Table(highlight=False)
    for column, justify in (("", "left"), ("measured", "right"), ("wanted", "left"), ("", "left")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]  # one of rich's words
    for name, each in figures.items():
        table.add_row(f"[bold]{name}[/]")
        for figure in each:
            mark = {None: "", True: "[green]✓[/]", False: "[red]✗[/]"}[figure.met]
            table.add_row(f"  {figure.what}", figure.value, figure.wanted, mark)
        table.add_section()
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Node.js processes whose event loop does not turn or whose heap is full, and one that is well."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from tests.stage import NOTHING, Broken, scene
from tests.stage.javascript import BLOCKED, FILLED, SHOP, WAITING
from tests.stage.needs import calm, private_machine, programs
from tests.stage.programs import program

NODE = programs(node="nodejs")


def node(folder: Path, name: str, code: str, *options: str) -> AbstractAsyncContextManager[int]:
    """Run a program from a file of that name, started so that it writes reports."""
    (folder / name).write_text(code)
    return program("node", "--report-on-signal", *options, name, cwd=folder, quiet=True)


@scene(
    "node-event-loop-blocked",
    "The event loop of a Node.js process is blocked by one function.",
    recipe="node",
    needs=(private_machine, NODE),
)
async def blocked(folder: Path) -> AsyncIterator[Broken]:
    """A price that is worked out over and over; its name takes the inspector."""
    async with node(folder, "checkout.js", BLOCKED) as pid:
        yield Broken(
            line=f"The event loop of checkout.js (pid {pid}) hardly turns: its main thread uses <30..100> % of a core<any>, "
            "<80..100> % of it in price (checkout.js:3), called by checkout",
            parameters={"app": "checkout.js", "inspector": "yes"},
        )


@scene(
    "node-child-awaited",
    "A Node.js process waits for a child process, and so does everything else in it.",
    recipe="node",
    needs=(private_machine, NODE),
)
async def child_awaited(folder: Path) -> AsyncIterator[Broken]:
    """With execSync."""
    async with node(folder, "exports.js", WAITING) as pid:
        yield Broken(
            line=f"The event loop of exports.js (pid {pid}) stands still: its main thread did not take a signal for 4 s; "
            "it has started sleep 60 (pid <1..9999999>)"
        )


@scene(
    "node-heap-nearly-full",
    "A Node.js process keeps all orders that it has ever seen.",
    recipe="node",
    needs=(private_machine, NODE),
)
async def heap_nearly_full(folder: Path) -> AsyncIterator[Broken]:
    """Ninety of a hundred megabytes."""
    async with node(folder, "orders.js", FILLED, "--max-old-space-size=96") as pid:
        yield Broken(
            line=f"The heap of orders.js (pid {pid}) is nearly full: <86..96> MB of 101 MB (<85..96> %); a full one ends the process"
        )


@scene(
    "node-healthy",
    "Nothing: a Node.js server that answers forty requests a second.",
    recipe="node",
    needs=(private_machine, NODE, calm),
)
async def healthy(folder: Path) -> AsyncIterator[Broken]:
    """Over connections that stay open."""
    async with node(folder, "shop.js", SHOP):
        yield Broken(line=NOTHING)

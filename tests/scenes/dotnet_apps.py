""".NET processes that wait for each other, starve, compute, throw or collect garbage, and one that is well."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from tests.stage import NOTHING, Broken, scene
from tests.stage.dotnet import (
    BUSY,
    COLLECTING,
    DEADLOCK,
    HOARDING,
    LOCKED,
    SHOP,
    STARVED,
    THROWING,
    application,
    dotnet,
)
from tests.stage.needs import calm, private_machine


@scene(
    "dotnet-deadlock",
    "Two threads of a .NET process wait for each other's lock.",
    recipe="dotnet",
    needs=(private_machine, dotnet),
)
async def deadlock(folder: Path) -> AsyncIterator[Broken]:
    """One has the shelf, the other the till."""
    async with application(folder, "stock", DEADLOCK) as pid:
        yield Broken(
            line=f"Probably a deadlock: 2 threads of stock (pid {pid}) wait for locks that nobody lets go, for <2..9> s: <any>",
            parameters={"seconds": "2"},
        )


@scene(
    "dotnet-lock-held",
    "A thread of a .NET process sleeps with a lock that all others want.",
    recipe="dotnet",
    needs=(private_machine, dotnet),
)
async def lock_held(folder: Path) -> AsyncIterator[Broken]:
    """One till, and six that charge."""
    async with application(folder, "till", LOCKED) as pid:
        yield Broken(
            line=f"5 threads of till (pid {pid}) wait for locks for <2..9> s: 5 in Till.Charge; thread <1..9999999> is past it, sleeping in Till.Charge",
            parameters={"seconds": "2"},
        )


@scene(
    "dotnet-pool-starved",
    "All threads of a .NET process's pool wait for a task that never ends.",
    recipe="dotnet",
    needs=(private_machine, dotnet),
)
async def pool_starved(folder: Path) -> AsyncIterator[Broken]:
    """Three hundred payments."""
    async with application(folder, "checkout", STARVED) as pid:
        yield Broken(
            line=f"The thread pool of checkout (pid {pid}) starves: <250..300> work items wait, all <2..30> threads that it has at work wait "
            "for the result of a task in Checkout.Pay<any>"
        )


@scene(
    "dotnet-busy",
    "A .NET process works out one price over and over.",
    recipe="dotnet",
    needs=(private_machine, dotnet),
)
async def busy(folder: Path) -> AsyncIterator[Broken]:
    """One thread that never rests."""
    async with application(folder, "report", BUSY) as pid:
        yield Broken(
            line=f"Thread <1..9999999> of report (pid {pid}) uses <15..105> % CPU<any> for <2..9> s, in Report.Price, called by Report.Total"
        )


@scene(
    "dotnet-exceptions",
    "A .NET process throws hundreds of exceptions a second, and catches them all.",
    recipe="dotnet",
    needs=(private_machine, dotnet),
)
async def exceptions(folder: Path) -> AsyncIterator[Broken]:
    """Nobody reads of them anywhere."""
    async with application(folder, "lookup", THROWING) as pid:
        yield Broken(
            line=f"lookup (pid {pid}) throws <100..900> exceptions a second, 100 % of them OrderUnknownException",
        )


@scene(
    "dotnet-collecting",
    "A .NET process collects garbage all the time.",
    recipe="dotnet",
    needs=(private_machine, dotnet),
)
async def collecting(folder: Path) -> AsyncIterator[Broken]:
    """Each time all that is kept is gone through."""
    async with application(folder, "cart", COLLECTING) as pid:
        yield Broken(
            line=f"cart (pid {pid}) stands still <30..99> % of the time for collecting garbage (the longest <1..3000> ms)<any>"
        )


@scene(
    "dotnet-healthy",
    "Nothing: a .NET process that serves forty orders a second.",
    recipe="dotnet",
    needs=(private_machine, dotnet, calm),
)
async def healthy(folder: Path) -> AsyncIterator[Broken]:
    """From its pool."""
    async with application(folder, "shop", SHOP):
        yield Broken(line=NOTHING)


@scene(
    "dotnet-heap-one-type",
    "A .NET process keeps every order that it has ever seen.",
    recipe="dotnet-heap",
    needs=(private_machine, dotnet),
)
async def one_type(folder: Path) -> AsyncIterator[Broken]:
    """Over a million."""
    async with application(folder, "orders", HOARDING) as pid:
        yield Broken(
            line=f"orders (pid {pid}) keeps <250..320> MB in <2400000..2500000> objects, most of all 1,200,000 Order (<30..45> MB) and "
            "<1200000..1201000> Int64[] (<200..240> MB, <70..90> %); it has <any> of memory"
        )


@scene(
    "dotnet-heap-healthy",
    "Nothing: a .NET process that keeps little.",
    recipe="dotnet-heap",
    needs=(private_machine, dotnet),
)
async def little(folder: Path) -> AsyncIterator[Broken]:
    """What it keeps is the answer."""
    async with application(folder, "shop", SHOP) as pid:
        yield Broken(line=f"shop (pid {pid}) keeps <any> in <any> objects, most of all <any>; it has <any> of memory")

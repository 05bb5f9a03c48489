""".NET programs that are broken, each in one way, and one that is well: compiled by Mono's compiler, run by .NET Core 3.1 of PyPI."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.stage.programs import program

COMPILER = "mcs"
ASSEMBLIES = (
    "System.Collections",
    "System.Console",
    "System.Private.CoreLib",
    "System.Runtime",
    "System.Runtime.Extensions",
    "System.Threading",
    "System.Threading.Tasks",
    "System.Threading.Thread",
    "System.Threading.ThreadPool",
)
# Without Unicode's tables, which a small machine lacks; one heap, so that a collection is one pause.
CONFIGURATION = {
    "runtimeOptions": {
        "framework": {"name": "Microsoft.NETCore.App", "version": "3.1.0"},
        "configProperties": {
            "System.Globalization.Invariant": True,
            "System.GC.Server": False,
            "System.GC.Concurrent": False,
        },
    }
}

DEADLOCK = """
class Stock {
  static readonly object shelf = new object(), till = new object();
  static readonly Barrier both = new Barrier(3);
  static void Reserve() { lock (shelf) { both.SignalAndWait(); lock (till) { } } }
  static void Charge() { lock (till) { both.SignalAndWait(); lock (shelf) { } } }
  static void Main() {
    new Thread(Reserve).Start();
    new Thread(Charge).Start();
    both.SignalAndWait();
    Thread.Sleep(300);
    Ready.Say(); Thread.Sleep(-1);
  }
}
"""
LOCKED = """
class Till {
  static readonly object drawer = new object();
  static void Charge() { lock (drawer) { Thread.Sleep(600000); } }
  static void Main() { for (int each = 0; each < 6; each++) new Thread(Charge).Start(); Thread.Sleep(500); Ready.Say(); Thread.Sleep(-1); }
}
"""
STARVED = """
class Checkout {
  static int Pay(int order) { return Bank.Ask(order).Result; }
  static void Main() {
    for (int order = 0; order < 300; order++) { int number = order; ThreadPool.QueueUserWorkItem(_ => Pay(number)); }
    Thread.Sleep(500);
    Ready.Say(); Thread.Sleep(-1);
  }
}
class Bank {
  static readonly TaskCompletionSource<int> never = new TaskCompletionSource<int>();
  public static Task<int> Ask(int order) { return never.Task; }
}
"""
BUSY = """
class Report {
  static int Price(int lines) { return lines < 2 ? lines : Price(lines - 1) + Price(lines - 2); }
  static void Total() { while (true) Price(25); }
  static void Main() { new Thread(Total).Start(); Ready.Say(); Thread.Sleep(-1); }
}
"""
THROWING = """
class OrderUnknownException : Exception { }
class Lookup {
  static void Find(int order) { throw new OrderUnknownException(); }
  static void Serve() { while (true) { for (int order = 0; order < 40; order++) try { Find(order); } catch (OrderUnknownException) { } Thread.Sleep(50); } }
  static void Main() { new Thread(Serve).Start(); Ready.Say(); Thread.Sleep(-1); }
}
"""
COLLECTING = """
class Line { public Line Before; public long[] Numbers = new long[4]; }
class Cart {
  static Line kept, cart;
  static void Fill() { while (true) { cart = null; for (int each = 0; each < 5000; each++) cart = new Line { Before = cart }; GC.Collect(); Thread.Sleep(10); } }
  static void Main() {
    for (int each = 0; each < 400000; each++) kept = new Line { Before = kept };
    new Thread(Fill).Start();
    Ready.Say(); Thread.Sleep(-1);
  }
}
"""
HOARDING = """
class Order { public int Id; public long[] Lines = new long[20]; }
class Orders {
  static readonly List<Order> kept = new List<Order>();
  static void Main() { for (int id = 0; id < 1200000; id++) kept.Add(new Order { Id = id }); Ready.Say(); Thread.Sleep(-1); }
}
"""
SHOP = """
class Order { public int Id; public long[] Lines = new long[20]; }
class Shop {
  static void Serve(object state) { var orders = new List<Order>(); for (int id = 0; id < 100; id++) orders.Add(new Order { Id = id }); }
  static Timer timer;
  static void Main() { timer = new Timer(Serve, null, 0, 25); Ready.Say(); Thread.Sleep(-1); }
}
"""
FRAME = """
using System; using System.Collections.Generic; using System.Threading; using System.Threading.Tasks;
namespace Store {
%s
static class Ready { public static void Say() { Console.WriteLine("ready"); } }
}
"""


def runtime() -> Path | None:
    """The folder of the runtime that PyPI's `dotnetcore2` has brought; None where there is none."""
    found = importlib.util.find_spec("dotnetcore2")
    folders = found.submodule_search_locations if found else None
    path = Path(next(iter(folders))) / "bin" if folders else None
    return path if path and (path / "dotnet").is_file() else None


def dotnet() -> str:
    """A need of scenes: a runtime, and a compiler."""
    if runtime() is None:
        return "there is no .NET runtime: pip install dotnetcore2"
    return "" if shutil.which(COMPILER) else f"{COMPILER} is missing: apt-get install mono-mcs"


def compiled(folder: Path, name: str, code: str) -> tuple[str, ...]:
    """Compile a program into *folder*; how to run it there."""
    home = runtime()
    assert home
    (libraries,) = (home / "shared" / "Microsoft.NETCore.App").iterdir()
    source = folder / f"{name}.cs"
    source.write_text(FRAME % code)
    references = [f"-r:{libraries / each}.dll" for each in ASSEMBLIES]
    argv = (COMPILER, "-nostdlib", "-noconfig", "-warn:0", *references, f"-out:{folder / name}.dll", str(source))
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    (folder / f"{name}.runtimeconfig.json").write_text(json.dumps(CONFIGURATION))
    return str(home / "dotnet"), f"{name}.dll"


@asynccontextmanager
async def application(
    folder: Path, name: str, code: str, *before: str, env: dict[str, str] | None = None
) -> AsyncIterator[int]:
    """Run a program of that name until the context ends, through the program *before* where there is one; gives its pid."""
    argv = await asyncio.to_thread(compiled, folder, name, code)
    async with program(*before, *argv, cwd=folder, env=env, quiet=True) as pid:
        try:
            yield pid
        finally:
            await asyncio.to_thread(tidy_up, pid)


def tidy_up(pid: int) -> None:
    """Remove what a runtime that is killed leaves behind."""
    for name in (f"dotnet-diagnostic-{pid}-*-socket", f"clr-debug-pipe-{pid}-*"):
        for left in Path("/tmp").glob(name):
            left.unlink(missing_ok=True)

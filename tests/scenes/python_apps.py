"""Python applications whose threads are stuck or never rest, and one that is well."""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

from tests.live.python_programs import BURNING, LOCKED
from tests.stage import NOTHING, Broken, scene
from tests.stage.needs import calm, private_machine
from tests.stage.programs import python, settled

SHOP = """
import http.server, json, sqlite3, threading
orders = sqlite3.connect("orders.db", check_same_thread=False)
orders.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER)")
orders.executemany("INSERT INTO orders (total) VALUES (?)", [(n,) for n in range(1000)])
using = threading.Lock()
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        with using:
            rows = orders.execute("SELECT * FROM orders LIMIT 50").fetchall()
        body = json.dumps(rows).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Handler)
print("ready", flush=True)
server.serve_forever()
"""
BROWSERS = """
import http.client, threading, time
def browse():
    connection = http.client.HTTPConnection("127.0.0.1", 8080)
    while True:
        connection.request("GET", "/orders")
        connection.getresponse().read()
        time.sleep(0.2)
for _ in range(8):
    threading.Thread(target=browse, daemon=True).start()
print("ready", flush=True)
time.sleep(600)
"""


def py_spy() -> str:
    """What reads the stacks, beside this Python or on the PATH."""
    return "" if _py_spy() else "py-spy is missing: pip install py-spy"


def _py_spy() -> str | None:
    return shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")


def chosen(app: str) -> dict[str, str]:
    """What a person would add to the command."""
    return {"app": app, "py_spy": _py_spy() or ""}


@scene(
    "python-threads-lock",
    "The threads of a Python process wait for a lock whose holder waits for an answer.",
    recipe="python-threads",
    needs=(private_machine, py_spy),
)
async def stuck_on_a_lock(folder: Path) -> AsyncIterator[Broken]:
    """Twelve workers, one of which has it."""
    async with python(folder, "orders_api.py", LOCKED) as pid:
        await settled(pid)
        yield Broken(
            line=f"11 of 12 worker threads of orders_api.py (pid {pid}) wait for a lock at orders_api.py:8 (with LEDGER:) "
            "in all 3 dumps over <3..9> s; worker-<0..11> is past it, waiting for an answer in charge (orders_api.py:6)",
            parameters=chosen("orders_api.py"),
        )


@scene(
    "python-profile-function",
    "A Python process spends its time in one function.",
    recipe="python-profile",
    needs=(private_machine, py_spy),
)
async def one_function(folder: Path) -> AsyncIterator[Broken]:
    """A discount that is worked out anew each time."""
    async with python(folder, "shop.py", BURNING) as pid:
        yield Broken(
            line=f"shop.py (pid {pid}) uses <50..110> % CPU, <90..100> % of it in discount (shop.py:4), called by price (shop.py:6)",
            parameters=chosen("shop.py"),
        )


@scene(
    "python-threads-healthy",
    "Nothing: a Python web application with forty requests a second.",
    recipe="python-threads",
    needs=(private_machine, py_spy, calm),
)
async def healthy(folder: Path) -> AsyncIterator[Broken]:
    """Eight browsers on connections that stay open, and a database behind a lock."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(python(folder, "shop.py", SHOP))
        await stack.enter_async_context(python(folder, "browsers.py", BROWSERS))
        yield Broken(line=NOTHING, parameters=chosen("shop.py"))

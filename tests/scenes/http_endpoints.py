"""HTTP endpoints that are slow, blame somebody, or are well."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from tests.stage import Broken, scene
from tests.stage.culprits import culprit
from tests.stage.needs import calm, private_machine

SHOP = """\
import http.server, json
class Shop(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        code, answer = answer_to(self.path)
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Shop)
ready()
server.serve_forever()
"""
SLOW = """\
def answer_to(path):
    time.sleep(1.5)
    return 200, {"orders": 3}
"""
DOWN = """\
def answer_to(path):
    broker = {"status": "DOWN", "details": {"error": "org.springframework.amqp.AmqpConnectException: Connection refused"}}
    return 503, {"status": "DOWN", "components": {"db": {"status": "UP"}, "rabbit": broker}}
"""
WELL = """\
def answer_to(path):
    return 200, {"status": "UP", "components": {"db": {"status": "UP"}, "rabbit": {"status": "UP"}}}
"""
URL = "http://127.0.0.1:8080/orders"


@scene(
    "http-slow-first-byte",
    "A web server takes its time before it answers.",
    recipe="http",
    needs=(private_machine,),
)
async def slow_first_byte(_folder: Path) -> AsyncIterator[Broken]:
    """A second and a half."""
    async with culprit("orders-web", SLOW + SHOP) as web:
        yield Broken(
            line=f"{URL} of {web.name} (pid {web.pid}) answers 200 in <1.5..2.5><any> s (3 tries), "
            "<1.5..2.5> s of it waiting for the first byte",
            parameters={"url": URL},
        )


@scene(
    "http-health-down",
    "The health answer of an application blames its message broker.",
    recipe="http",
    needs=(private_machine,),
)
async def health_down(_folder: Path) -> AsyncIterator[Broken]:
    """As Spring Boot says it."""
    async with culprit("orders-web", DOWN + SHOP) as web:
        yield Broken(
            line=f"http://127.0.0.1:8080/actuator/health of {web.name} (pid {web.pid}) answers 503: "
            "rabbit is DOWN (AmqpConnectException: Connection refused)",
            parameters={"url": "http://127.0.0.1:8080", "endpoint": "actuator-health"},
        )


@scene("http-healthy", "Nothing: an application that answers at once.", recipe="http", needs=(private_machine, calm))
async def healthy(_folder: Path) -> AsyncIterator[Broken]:
    """And says that it is well."""
    async with culprit("orders-web", WELL + SHOP) as web:
        yield Broken(
            line=f"http://127.0.0.1:8080/actuator/health of {web.name} (pid {web.pid}) answers 200 within <0..900> ms, <any>",
            parameters={"url": "http://127.0.0.1:8080", "endpoint": "actuator-health"},
        )

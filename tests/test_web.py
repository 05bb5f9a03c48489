"""Health and metrics over HTTP."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter

from bot.errors import UserError
from bot.web import BODY_BYTES, Web


class Mood:
    """Whether the bot is ready, as a test wants it."""

    fault = ""

    async def __call__(self) -> str:
        return self.fault


@pytest.fixture
async def mood() -> Mood:
    """Ready at first."""
    return Mood()


@pytest.fixture
async def client(mood: Mood) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a server with one counter."""
    registry = CollectorRegistry()
    Counter("things", "Things", registry=registry).inc()
    web = Web("127.0.0.1:0", ready=mood, registry=registry)
    await web.open()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{web.port}") as opened:
        yield opened
    await web.close()


async def test_health_readiness_and_metrics_are_answered(client: aiohttp.ClientSession) -> None:
    """In words and in Prometheus's format."""
    health, ready, metrics = [await client.get(path) for path in ("/healthz", "/readyz", "/metrics")]

    assert (health.status, await health.text()) == (200, "ok\n")
    assert (ready.status, await ready.text()) == (200, "ready\n")
    assert metrics.status == 200
    assert "things_total 1.0" in await metrics.text()
    assert metrics.headers["content-type"].startswith("text/plain; version=")


async def test_a_bot_that_cannot_take_commands_is_alive_but_not_ready(
    client: aiohttp.ClientSession, mood: Mood
) -> None:
    """The platform then sends nobody there, and does not restart it."""
    mood.fault = "no connection to Slack"

    answer = await client.get("/readyz")

    assert (answer.status, await answer.text()) == (503, "no connection to Slack\n")
    assert (await client.get("/healthz")).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/metrics/../etc/passwd", 404), ("POST", "/healthz", 405), ("DELETE", "/metrics", 405)],
)
async def test_nothing_else_is_answered(client: aiohttp.ClientSession, method: str, path: str, status: int) -> None:
    """Neither other paths nor other methods, whatever they bring along."""
    answer = await client.request(method, path, data=b"x" * (BODY_BYTES + 1))

    assert answer.status == status


async def test_an_address_that_is_taken_is_named_with_the_cure() -> None:
    """Not a traceback: two bots on one machine are an ordinary mistake."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        with pytest.raises(UserError) as refused:
            await Web(address, ready=Mood(), registry=CollectorRegistry()).open()

    assert str(refused.value) == (
        f"Health and metrics cannot be served at {address} (Address already in use). "
        "Choose another `web:` address in capturebot.yml."
    )


async def test_an_address_may_be_of_version_six() -> None:
    """In brackets, as everywhere."""
    web = Web("[::1]:0", ready=Mood(), registry=CollectorRegistry())
    try:
        await web.open()
    except UserError as refused:
        pytest.skip(f"this machine has no IPv6: {refused}")

    async with aiohttp.ClientSession() as client:
        answer = await client.get(f"http://[::1]:{web.port}/healthz")

        assert await answer.text() == "ok\n"
    await web.close()

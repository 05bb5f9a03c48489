"""Health and metrics over HTTP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter

from bot.errors import UserError
from bot.web import BODY_BYTES, Web
from bot.web.limits import CLIENTS_KNOWN, Connections, Rate
from tests.faults import until


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


async def test_whoever_asks_too_often_is_told_when_to_come_again() -> None:
    """With 429, which PagerDuty takes for "later". Each path counts by itself, so that health is answered all the same."""
    hour = Clock()
    web = Web("127.0.0.1:0", ready=Mood(), registry=CollectorRegistry(), rate=Rate(hour, at_once=3, per_s=0.5))
    await web.open()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{web.port}") as client:
        answers = [await client.get("/metrics") for _ in range(4)]
        health = await client.get("/healthz")
        hour.now += 2
        later = await client.get("/metrics")

    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].headers["Retry-After"] == "2"
    assert (health.status, later.status) == (200, 200)
    await web.close()


def test_the_rate_forgets_who_was_heard_of_least_lately() -> None:
    """However many addresses there are, what is remembered of them is bounded; whoever comes again stays known."""
    rate = Rate(Clock(), at_once=2, per_s=1)
    rate.wait_s("ana")
    for number in range(CLIENTS_KNOWN - 1):
        rate.wait_s(f"10.0.0.{number}")
    rate.wait_s("ana")
    rate.wait_s("one more")

    assert rate.wait_s("ana") == 1.0
    assert rate.wait_s("10.0.0.0") == 0.0


async def test_a_client_that_drips_its_request_is_hung_up_on() -> None:
    """It holds a place for a bounded time only, and others are served meanwhile."""
    web = Web(
        "127.0.0.1:0",
        ready=Mood(),
        registry=CollectorRegistry(),
        connections=partial(Connections, life_s=0.2, at_once=2),
    )
    await web.open()
    reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    async with aiohttp.ClientSession(f"http://127.0.0.1:{web.port}") as client:
        served = await client.get("/healthz")

    assert served.status == 200
    async with asyncio.timeout(5):
        with suppress(ConnectionResetError):  # or an end, by what the system had read of it
            assert await reader.read() == b""
    writer.close()
    await web.close()


async def test_more_connections_than_there_are_places_are_closed_and_the_places_come_back() -> None:
    """Nobody who reaches the port can hold every file descriptor of the bot."""
    made: list[Connections] = []

    def at_most_one(make: Callable[[], asyncio.Protocol]) -> Connections:
        made.append(Connections(make, at_once=1))
        return made[0]

    web = Web("127.0.0.1:0", ready=Mood(), registry=CollectorRegistry(), connections=at_most_one)
    await web.open()
    _, first = await asyncio.open_connection("127.0.0.1", web.port)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{web.port}") as client:
        with pytest.raises(aiohttp.ClientError):
            await client.get("/healthz")
        first.transport.abort()
        await until(lambda: made[0].open == 0)
        assert (await client.get("/healthz")).status == 200
    await web.close()


class Clock:
    """Seconds, as a test wants them."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

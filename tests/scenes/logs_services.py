"""Logs of services: one whose downstream dies, one with a new exception since before its log was rotated, one that is well."""

from __future__ import annotations

import gzip
import logging
import os
import random
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.stage import NOTHING, Broken, scene
from tests.stage.culprits import culprit
from tests.stage.needs import private_machine
from tests.stage.waiting import until

PORT = 8443
HOUR_S = 3600.0
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

PAYMENTS = """\
import socket
server = socket.create_server(("127.0.0.1", {port}), backlog=64)
ready()
while True:
    peer, _ = server.accept()
    peer.recv(100)
    peer.sendall(b"charged")
    peer.close()
"""
ORDERS = """\
import encodings.idna, logging, socket  # while its files can be read
logging.basicConfig(filename={file!r}, level="INFO", format={format!r})
log = logging.getLogger("orders")
def charge(order):
    with socket.create_connection(("127.0.0.1", {port}), timeout=5) as payments:
        payments.sendall(b"charge")
        return payments.recv(100)
ready()
order = 0
while True:
    order += 1
    try:
        charge(order)
        log.info("order %d charged in %d ms", order, order % 40)
    except OSError:
        log.exception("payments at 127.0.0.1:{port} failed for order %d", order)
    time.sleep(0.02)
"""


@contextmanager
def service_log(path: Path) -> Iterator[logging.Logger]:
    """A logger of Python's own that writes to *path*; a record's time is the extra `created`."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter(FORMAT))
    log = logging.Logger("orders")  # noqa: LOG001  of nobody else
    log.addHandler(handler)
    try:
        yield log
    finally:
        handler.close()


def say(log: logging.Logger, at: float, level: int, text: str, error: BaseException | None = None) -> None:
    """Write one record as if it were *at*."""
    info = (type(error), error, error.__traceback__) if error else None
    record = log.makeRecord(log.name, level, __file__, 1, text, (), info)
    record.created, record.msecs = at, at % 1 * 1000
    log.handle(record)


def an_ordinary_time(log: logging.Logger, start: float, end: float, *, a_second: float) -> None:
    """Orders that are charged, a few that are slow, and now and then one that fails."""
    dice = random.Random(7)
    at = start
    while at < end:
        order = dice.randrange(100_000)
        say(log, at, logging.INFO, f"order {order} charged in {dice.randrange(40)} ms")
        if dice.random() < 0.01:
            say(log, at, logging.WARNING, f"order {order} took {dice.randrange(500, 900)} ms")
        if dice.random() < 0.001:
            say(log, at, logging.ERROR, f"order {order} has no address")
        at += dice.expovariate(a_second)


def rotate(path: Path, number: int, at: float) -> None:
    """What logrotate does: the file gets a number, and from the second on it is packed."""
    rotated = path.with_name(f"{path.name}.{number}")
    path.rename(rotated)
    if number > 1:
        packed = rotated.with_name(f"{rotated.name}.gz")
        with rotated.open("rb") as source, gzip.open(packed, "wb") as target:
            shutil.copyfileobj(source, target)
        rotated.unlink()
        rotated = packed
    os.utime(rotated, (at, at))


def count(path: Path, text: str) -> int:
    """How often *text* stands in a file."""
    return path.read_text().count(text)


@scene("logs-error-burst", "The downstream of a service under load has died.", recipe="logs", needs=(private_machine,))
async def error_burst(folder: Path) -> AsyncIterator[Broken]:
    """Its log was well for an hour; what it writes is found by its name."""
    log = folder / "orders-api.log"
    with service_log(log) as history:
        an_ordinary_time(history, time.time() - HOUR_S, time.time(), a_second=1)

    async def well() -> bool:
        return count(log, "charged") > before + 20

    async def failing() -> bool:
        return count(log, "failed for order") > 40

    before = count(log, "charged")
    async with culprit("orders-api", ORDERS.format(file=str(log), port=PORT, format=FORMAT)):
        async with culprit("payments", PAYMENTS.format(port=PORT)):
            await until(well)
        await until(failing)
        yield Broken(
            parameters={"app": "orders-api"},
            line=f"orders-api.log: 'payments at 127.0.0.1:{PORT} failed for order …' (ConnectionRefusedError: [Errno 111] Connection refused) "
            "is new since <any>, <40..1000> times in <1..59> s; none in the 60 min before",
        )


@scene(
    "logs-new-exception",
    "An exception is new since before the log was rotated, and older logs are packed.",
    recipe="logs",
)
async def new_exception(folder: Path) -> AsyncIterator[Broken]:
    """Three files: two hours packed, an hour that ends with the first exceptions, and ten minutes of them."""
    path, now = folder / "orders-api.log", time.time()
    rotated_s, broken_s = now - 600, now - 900
    with service_log(path) as log:
        an_ordinary_time(log, now - 3 * HOUR_S, now - HOUR_S, a_second=0.5)
    rotate(path, 2, now - HOUR_S)
    for start, end in ((now - HOUR_S, rotated_s), (rotated_s, now)):
        with service_log(path) as log:
            an_ordinary_time(log, start, max(broken_s, start), a_second=0.5)
            at = max(broken_s, start)
            while at < end:
                try:
                    _price(at)
                except RuntimeError as error:
                    say(log, at, logging.ERROR, f"order {int(at)} could not be priced", error)
                at += 3.0
        if end == rotated_s:
            rotate(path, 1, rotated_s)
    since = time.strftime("%H:%M:%S", time.localtime(broken_s))
    yield Broken(
        parameters={"path": str(path), "since": "20m"},
        line=f"orders-api.log: 'order … could not be priced' (RuntimeError: no price list for this customer) is new since {since}, "
        "<19..21> a minute; none in the <63..66> min before",
    )


def _price(at: float) -> None:
    prices: dict[str, float] = {}
    try:
        prices["EUR"] *= at
    except KeyError as error:
        raise RuntimeError("no price list for this customer") from error


@scene("logs-healthy", "A service under ordinary load, which fails now and then.", recipe="logs")
async def healthy(folder: Path) -> AsyncIterator[Broken]:
    """Three hours of it, rotated twice."""
    path, now = folder / "orders-api.log", time.time()
    for number, hours in ((2, 3), (1, 2), (0, 1)):
        with service_log(path) as log:
            an_ordinary_time(log, now - hours * HOUR_S, now - (hours - 1) * HOUR_S, a_second=3)
        if number:
            rotate(path, number, now - (hours - 1) * HOUR_S)
    yield Broken(parameters={"path": str(folder / "*.log")}, line=NOTHING)

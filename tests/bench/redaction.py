"""Redaction in MB/s on one core with all patterns on, and as a ratio to one `grep -E` of the same alternation."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from bot.model import STANDARD, OwnPattern, Redaction
from bot.redact import Redactor
from bot.redact.patterns import SPOTS
from tests.bench import Figure, at_least, told

MEGABYTES = 100
CHUNK_BYTES = 64 * 1024  # as a transport gives it
GREP_TIMEOUT_S = 20.0
HEX = "0123456789abcdef"
OPTIONS = Redaction(
    patterns=(OwnPattern(name="acme-token", pattern="ACME-[0-9A-F]{32}"), OwnPattern(name="order", pattern="order-[a-z0-9]{20,40}")),
    keep=("EXAMPLE.*",),
    emails=True,
    sql_literals=True,
)  # fmt: skip
ops: Any = importlib.import_module("re._constants")  # what `re` itself parses patterns with; it has no types
_parser: Any = importlib.import_module("re._parser")


def lines(random: Random) -> list[Callable[[], str]]:
    """Makers of the lines that captures are made of: logs of applications and hosts, processes, sockets, stacks."""
    number = random.randrange

    def hexes(length: int) -> str:
        return "".join(random.choices(HEX, k=length))

    def clock() -> str:
        return f"2026-11-22T{number(24):02}:{number(60):02}:{number(60):02}.{number(10**6):06}Z"

    def host() -> str:
        return f"10.{number(256)}.{number(256)}.{number(256)}"

    return [
        lambda: f"{clock()} INFO [http-nio-8080-exec-{number(200)}] c.e.o.OrderController - GET /api/orders/{number(10**7)} 200 {number(900)} ms trace={hexes(32)}",
        lambda: f"Nov 22 20:{number(60):02}:{number(60):02} web-{number(9)} sshd[{number(30000)}]: Failed password for root from {host()} port {number(65536)} ssh2",
        lambda: f'{host()} - - [22/Nov/2026:20:55:{number(60):02} +0000] "GET /static/{hexes(8)}.js?v={number(99)} HTTP/1.1" 200 {number(99999)} "https://shop.example.com/cart" "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"',
        lambda: f'{{"ts":"{clock()}","level":"warn","msg":"slow query","ms":{number(9999)},"table":"orders","id":{number(10**9)},"request_id":"{hexes(8)}-{hexes(4)}-{hexes(4)}-{hexes(12)}"}}',
        lambda: f"mysql    {number(30000):5} {random.random() * 99:4.1f} {random.random() * 30:4.1f} {number(10**7)} {number(10**6)} ?  Sl   10:{number(60):02} 123:45 /usr/sbin/mariadbd --defaults-file=/etc/mysql/my.cnf --port=3306",
        lambda: f"\tat com.example.orders.service.OrderService.lambda$find${number(99)}(OrderService.java:{number(999)})",
        lambda: f'ESTAB 0 {number(999)} 10.0.0.5:3306 {host()}:{number(65536)} users:(("mariadbd",pid={number(30000)},fd={number(900)}))',
        lambda: f"[{number(10**6)}.{number(10**6):06}] TCP: request_sock_TCP: Possible SYN flooding on port 3306. Sending cookies.",
    ]  # fmt: skip


def secrets(random: Random) -> Iterator[str]:
    """Ends of lines that hold one, endlessly."""
    while True:
        value = "".join(random.choices(HEX, k=20))
        yield f" password={value}"
        yield f" Authorization: Bearer {value}{value}"
        yield f" postgres://app:{value}@db:5432/orders"
        yield f" ghp_{value}{value}"
        yield f' {{"api_key": "{value}"}}'


def text(size: int, *, secret_every: int | None) -> bytes:
    """About *size* bytes of generated lines, one in *secret_every* with a secret."""
    random = Random(1)
    makers, ends = lines(random), secrets(random)
    unit: list[str] = []
    for number in range(50_000):
        end = next(ends) if secret_every and number % secret_every == 0 else ""
        unit.append(random.choice(makers)() + end + "\n")
    block = "".join(unit).encode()
    return block * max(1, size // len(block))


def redact(data: bytes, options: Redaction = STANDARD) -> tuple[float, int]:
    """CPU seconds of this one thread, and how many secrets were masked."""
    redactor = Redactor(lambda: [b"resolved-secret-1", b"resolved-secret-2"], salt=b"salt", redaction=options)
    redactor.text("warm")
    stream = redactor.stream()
    view = memoryview(data)
    start = time.thread_time()
    for at in range(0, len(data), CHUNK_BYTES):
        stream.feed(bytes(view[at : at + CHUNK_BYTES]))
    stream.finish()
    return time.thread_time() - start, stream.masked.total()


def grep(data: bytes) -> float | None:
    """CPU seconds of `grep -E -a -c` over the same bytes, None when it ran out of time."""
    with tempfile.NamedTemporaryFile() as file, tempfile.NamedTemporaryFile() as pattern:
        file.write(data)
        file.flush()
        pattern.write(extended(SPOTS) + b"\n")
        pattern.flush()
        before = os.times()
        try:
            subprocess.run(
                ["grep", "-E", "-a", "-c", "-f", pattern.name, file.name],
                env={**os.environ, "LC_ALL": "C"}, stdout=subprocess.PIPE, check=False, timeout=GREP_TIMEOUT_S,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return None
        after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def extended(pattern: bytes) -> bytes:
    """The same alternation as POSIX writes it; a newline becomes the start of a line, and NUL cannot be said."""
    return _extended(_parser.parse(pattern), ignore_case=False)


def _extended(parsed: Any, *, ignore_case: bool) -> bytes:
    out = []
    for op, argument in parsed:
        if op is ops.LITERAL:
            out.append(_literal(argument, ignore_case=ignore_case))
        elif op is ops.NOT_LITERAL:
            out.append(b"[^%c]" % argument)
        elif op is ops.IN:
            out.append(_bracket(argument, ignore_case=ignore_case))
        elif op is ops.BRANCH:
            out.append(b"(" + b"|".join(_extended(branch, ignore_case=ignore_case) for branch in argument[1]) + b")")
        elif op is ops.SUBPATTERN:
            out.append(
                b"(" + _extended(argument[3], ignore_case=ignore_case or bool(argument[1] & re.IGNORECASE)) + b")"
            )
        elif op is ops.MAX_REPEAT:
            least, most, repeated = argument
            bound = b"" if most is ops.MAXREPEAT else b"%d" % most
            out.append(_extended(repeated, ignore_case=ignore_case) + b"{%d,%s}" % (least, bound))
        else:
            raise ValueError(op)
    return b"".join(out)


def _literal(byte: int, *, ignore_case: bool) -> bytes:
    character = bytes([byte])
    if character == b"\n":
        return b"^"
    if ignore_case and character.isalpha():
        return b"[" + character.lower() + character.upper() + b"]"
    return (
        character if character.isalnum() or byte > 127 or character in b"_ \t-/:=@~%'\"<>,;&!#`" else b"\\" + character
    )


def _bracket(items: Any, *, ignore_case: bool) -> bytes:
    members: set[int] = set()
    negated = False
    for op, argument in items:
        if op is ops.NEGATE:
            negated = True
        elif op is ops.LITERAL:
            members.add(argument)
        else:
            members |= set(range(argument[0], argument[1] + 1))
    if ignore_case:
        members |= {ord(chr(member).swapcase()) for member in members if chr(member).isascii()}
    members -= {0, ord("\n")}
    inside = bytes(sorted(members - set(b"]^-")))
    first, last = b"]" if ord("]") in members else b"", b"-" if ord("-") in members else b""
    inside = first + inside + (b"^" if ord("^") in members else b"") + last
    return b"[" + (b"^" if negated else b"") + inside + b"]"


async def measure(_folder: Path) -> list[Figure]:
    """See `tests.bench`."""
    figures = []
    for name, every in (("ordinary log text", None), ("1 line in 50 with a secret", 50)):
        data = text(MEGABYTES * 1_000_000, secret_every=every)
        seconds, _ = redact(data)
        rate = len(data) / seconds / 1e6
        figures.append(at_least(f"{name}, one core", rate, 150, "MB/s") if every is None else told(name, rate, "MB/s"))
        if every is None:
            rate = len(data) / redact(data, OPTIONS)[0] / 1e6
            figures.append(at_least(f"{name}, with own patterns, e-mails and SQL literals", rate, 150, "MB/s"))
        if found := grep(data):
            figures.append(told(f"{name}, to one `grep -E` of the same patterns", found / seconds))
    return figures

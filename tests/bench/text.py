"""Log text as hosts write it, without secrets in it: repeatable, and cheap at any length."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

BLOCK_BYTES = 4 * 1024 * 1024
_WORDS = ("checkout", "cart", "orders", "payment", "shipping", "search", "login", "session", "worker", "queue", "cache")


def block(size_bytes: int = BLOCK_BYTES) -> bytes:
    """Lines of a web server, of services and of the system, mixed, *size_bytes* long."""
    draw = random.Random(1)
    lines: list[bytes] = []
    length = 0
    second = 0
    while length < size_bytes:
        second += draw.random() < 0.05
        line = f"{_line(draw, second)}\n".encode()
        lines.append(line)
        length += len(line)
    text = b"".join(lines)[: size_bytes - 1]
    return text + b"\n"


def write(path: Path, size_bytes: int) -> str:
    """Fill *path* with such text; the SHA-256 of it, hex."""
    piece, digest = block(), hashlib.sha256()
    with path.open("wb") as file:
        for start in range(0, size_bytes, len(piece)):
            part = piece[: size_bytes - start]
            file.write(part)
            digest.update(part)
    return digest.hexdigest()


def _line(draw: random.Random, second: int) -> str:
    clock = f"{second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}"
    word, other, number = draw.choice(_WORDS), draw.choice(_WORDS), draw.randrange(100_000)
    kind = draw.randrange(10)
    if kind < 4:
        address = f"10.{draw.randrange(256)}.{draw.randrange(256)}.{draw.randrange(256)}"
        return (
            f'{address} - - [22/Nov/2026:{clock} +0000] "GET /{word}/{number}?page={number % 7}&sort={other} HTTP/1.1" '
            f'{draw.choice((200, 200, 200, 304, 404, 502))} {draw.randrange(90_000)} "https://shop.example/{other}" '
            '"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"'
        )
    if kind < 8:
        return (
            f"2026-11-22T{clock}.{number % 1000:03}Z {draw.choice(('INFO', 'INFO', 'DEBUG', 'WARN'))} "
            f"[{word}-{number % 16}] com.example.{word}.{other.title()}Handler - {other} {number} handled in "
            f"{number % 977} ms, user_id={number * 7}, trace={draw.getrandbits(128):032x}"
        )
    if kind < 9:
        return f"Nov 22 {clock} app-{number % 9} systemd[1]: {word}.service: Scheduled restart job, counter is at {number}."
    return f"    at com.example.{word}.{other.title()}Service.find{word.title()}({other.title()}Service.java:{number % 900})"

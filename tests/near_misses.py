"""Made-up lines of ordinary logs whose values look like secrets and are none, drawn from a seed."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Iterator
from random import Random

HEX = "0123456789abcdef"
UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
WORDS = ("orders", "payment", "retry", "worker", "cache", "shard", "billing", "index", "queue", "gateway")


def makers(random: Random) -> dict[str, Callable[[], str]]:
    """A maker of each kind of value."""
    number = random.randrange

    def hexes(length: int) -> str:
        return "".join(random.choices(HEX, k=length))

    def word() -> str:
        return random.choice(WORDS)

    return {
        "git sha": lambda: f"deployed {hexes(40)} ({hexes(7)}) to prod",
        "uuid": lambda: f"request_id={uuid.UUID(int=random.getrandbits(128), version=4)} done",
        "trace id": lambda: f"traceparent: 00-{hexes(32)}-{hexes(16)}-01",
        "aws request id": lambda: f"x-amzn-RequestId: {uuid.UUID(int=random.getrandbits(128), version=4)}",
        "sha256": lambda: f"image nginx@sha256:{hexes(64)} pulled",
        "md5": lambda: f"{hexes(32)}  /srv/app/{word()}.tar.gz",
        "etag": lambda: f'ETag: "{hexes(32)}-{number(9)}"',
        "epoch": lambda: f"at={1_700_000_000_000 + number(10**11)} took={number(10**6)}us",
        "epoch ns": lambda: f"ts={1_700_000_000_000_000_000 + number(10**17)} msg=ok",
        "timestamp": lambda: f"2026-11-{1 + number(28):02}T{number(24):02}:{number(60):02}:{number(60):02}.{number(10**9):09}Z up",
        "compact time": lambda: f"backup-202611{1 + number(28):02}{number(24):02}{number(60):02}{number(60):02}.sql.gz",
        "phone": lambda: f"call +49 {30 + number(60)} {number(10**7):07} or (555) {number(1000):03}-{number(10000):04}",
        "order number": lambda: f"order_id={number(10**12):012} lines={number(50)}",
        "counter": lambda: f"Log sequence number {number(10**15)}",
        "bytes": lambda: f"rx_bytes={number(10**16)} tx_bytes={number(10**16)}",
        "pod": lambda: f"pod/{word()}-{hexes(9)}-{''.join(random.choices('bcdfghjklmnpqrstvwxz2456789', k=5))} Running",
        "container": lambda: f'{hexes(12)}   nginx:1.27   "/docker-entrypoint.…"   Up {number(9)} hours',
        "address": lambda: f"0x{hexes(12)} in {word()}_{word()} () from /lib/x86_64-linux-gnu/libc.so.6",
        "mac": lambda: "link/ether " + ":".join(hexes(2) for _ in range(6)) + " brd ff:ff:ff:ff:ff:ff",
        "class": lambda: f"at com.example.{word()}.TokenService$$Lambda${number(999)}/0x{hexes(16)}.apply(Unknown Source)",
        "path with a key": lambda: f"GET /v1/tokens/{number(10**6)}/keys?page={number(99)} 200 {number(900)}ms",
        "query": lambda: f"GET /search?q={word()}&key={word()}&page={number(9)} 200",
        "cache key": lambda: f"cache miss key={word()}:{number(10**6)}:{word()} ttl={number(900)}",
        "said of passwords": lambda: f"Failed password for invalid user {word()} from 10.0.0.{number(255)} port {number(65535)} ssh2",
        "password policy": lambda: f"password expired for user {word()}, reset required",
        "token spoken of": lambda: f"token expired after {number(900)}s, refreshing",
        "token count": lambda: f"model={word()} tokens={number(9999)} max_tokens={number(9999)} prompt_tokens={number(999)}",
        "csrf": lambda: f"CSRF token missing or incorrect: /{word()}/",
        "sstable": lambda: f"nb-{number(99999)}-big-Data.db {number(10**9)} bytes",
        "thread": lambda: f'"http-nio-8080-exec-{number(200)}" #{number(999)} daemon prio=5 tid=0x{hexes(16)} nid=0x{hexes(4)}',
        "go": lambda: f"goroutine {number(9999)} [select]: main.(*Server).run(0xc{hexes(9)}, {{0x{hexes(6)}, 0x{hexes(2)}}})",
        "base64 of an icon": lambda: "url(data:image/png;base64," + base64.b64encode(random.randbytes(60)).decode() + ")",
        "ssh public key": lambda: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + base64.b64encode(random.randbytes(32)).decode()[:43] + f" {word()}@host",
        "fingerprint": lambda: "SHA256:" + base64.b64encode(random.randbytes(32)).decode()[:43] + f" {word()}@host (ED25519)",
        "version": lambda: f"linux-image-6.1.0-{number(50)}-amd64 6.1.{number(200)}-1 {word()}",
        "s3 key": lambda: f"s3://evidence/{word()}/2026/11/22/{hexes(8)}/{word()}.txt {number(10**7)}",
        "arn": lambda: f"arn:aws:iam::{number(10**12):012}:role/{word()}-{word()}",
        "kafka": lambda: f"Committed offset {number(10**16)} for partition {word()}-{number(99)}",
        "gtid": lambda: f"{uuid.UUID(int=random.getrandbits(128))}:1-{number(10**9)}",
        "environment": lambda: f"PATH=/usr/bin HOME=/home/{word()} SHLVL=1 PWD=/srv/{word()} OLDPWD=/ LANG=C.UTF-8",
        "sql digest": lambda: f"{hexes(32)}\tSELECT `a` FROM `{word()}` WHERE `password_hash` = ? AND `token` = ?",
        "isbn": lambda: f"isbn 978-3-16-{number(10**6):06}-{number(9)} stock={number(99)}",
        "iban-like": lambda: f"DE{number(100):02} {number(10**4):04} {number(10**4):04} {number(10**4):04} {number(10**4):04} {number(100):02}",
        "tab of numbers": lambda: "\t".join(str(number(10**16)) for _ in range(4)),
        "columns": lambda: " ".join(f"{number(10**8):8}" for _ in range(8)),
        "port list": lambda: f'LISTEN 0 128 0.0.0.0:{number(65535)} 0.0.0.0:* users:(("{word()}",pid={number(99999)},fd={number(99)}))',
        "upper id": lambda: "trace=" + "".join(random.choices(UPPER + "0123456789", k=26)),
    }  # fmt: skip


def near_misses(each: int, seed: int = 7) -> Iterator[tuple[str, bytes]]:
    """Kind and line, *each* of every kind."""
    for name, make in makers(Random(seed)).items():
        for _ in range(each):
            yield name, make().encode()

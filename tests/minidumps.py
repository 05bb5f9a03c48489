"""Small minidumps made by hand after minidumpapiset.h, with what a test wants in them."""

from __future__ import annotations

import struct
from collections.abc import Sequence

HEADER_BYTES = 32
ENTRY_BYTES = 12
FULL = 0x2


def a_dump(
    *,
    pid: int = 4321,
    threads: int = 3,
    handles: int = 0,
    modules: Sequence[tuple[str, int, int]] = (("C:\\srv\\orders.exe", 0x400000, 0x10000),),
    exception: tuple[int, int, Sequence[int]] | None = None,
    comment: str = "",
    full: bool = False,
) -> bytes:
    """A dump of a process; *modules* are path, start and size; *exception* is code, address and details."""
    body = bytearray()
    entries: list[tuple[int, int, int]] = []
    start = HEADER_BYTES + 8 * ENTRY_BYTES

    def put(data: bytes) -> int:
        place = start + len(body)
        body.extend(data)
        return place

    def stream(kind: int, data: bytes) -> None:
        entries.append((kind, len(data), put(data)))

    names = [put(struct.pack("<I", len(text := path.encode("utf-16-le"))) + text + b"\0\0") for path, *_ in modules]
    stream(7, struct.pack("<HHHBBIIIIIHH", 9, 6, 0, 8, 3, 10, 0, 20348, 2, 0, 0, 0) + bytes(24))
    stream(3, struct.pack("<I", threads) + bytes(48 * threads))
    rows = [
        struct.pack("<QIIII", at, size, 0, 0, name) + bytes(84)
        for (_, at, size), name in zip(modules, names, strict=True)
    ]
    stream(4, struct.pack("<I", len(rows)) + b"".join(rows))
    stream(15, struct.pack("<IIIIII", 24, 3, pid, 0, 0, 0))
    if handles:
        stream(12, struct.pack("<IIII", 16, 32, handles, 0))
    if exception:
        code, address, details = exception
        numbers = struct.pack("<15Q", *details, *(0,) * (15 - len(details)))
        stream(6, struct.pack("<IIIIQQII", 5316, 0, code, 0, 0, address, len(details), 0) + numbers + bytes(8))
    if comment:
        stream(11, comment.encode("utf-16-le") + b"\0\0")
    header = struct.pack("<4sIIIIIQ", b"MDMP", 0xA793, len(entries), HEADER_BYTES, 0, 1795409642, FULL if full else 0)
    directory = b"".join(struct.pack("<III", *entry) for entry in entries)
    return header + directory.ljust(8 * ENTRY_BYTES, b"\0") + bytes(body)

"""What the beginning of a minidump says: its header, directory and small streams, read within bounds.

The format is that of minidumpapiset.h in Microsoft's documentation; all numbers are little-endian, every place in the file is
32 bits. Written by hand because the libraries that read dumps ask the file how often to loop, refuse what other writers
put in, and want all of it. Whatever is cut off, or points out of what is there, is left out.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

HEAD_BYTES = 8 * 1024 * 1024  # of a dump that came compressed are unpacked
STREAMS = 200
MODULES = 3000
NAME_BYTES = 1040  # of a module's path, in UTF-16
COMMENT_BYTES = 8192

_MAGIC = b"MDMP"
_VERSION = 0xA793  # the low half; the other one is the writer's own
_GZIP = b"\x1f\x8b"
_HEADER = struct.Struct("<4sIIIIIQ")
_ENTRY = struct.Struct("<III")
_MODULE = struct.Struct("<QIIII")
_MODULE_BYTES = 108
_THREAD_BYTES = 48
_EXCEPTION = struct.Struct("<IIIIQQII")
_SYSTEM = struct.Struct("<HHHBBIII")
_MISC = struct.Struct("<III")
_FULL_MEMORY = 0x2  # MiniDumpWithFullMemory

_THREADS, _MODULES, _FAULT, _SYSTEM_INFO, _COMMENT_A, _COMMENT_W, _HANDLES, _MISC_INFO = 3, 4, 6, 7, 10, 11, 12, 15
_ARCHITECTURES = {0: "x86", 5: "ARM", 9: "x64", 12: "ARM64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A program or library in memory."""

    path: str
    start: int
    size_bytes: int

    @property
    def name(self) -> str:
        """Without its folders."""
        return self.path.replace("/", "\\").rpartition("\\")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What was thrown, and where; *details* are what Windows says of it."""

    thread: int
    code: int
    address: int
    details: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Minidump:
    """What could be read of one; None and "" where it is not in it, or not in what is there."""

    is_full: bool
    taken_at: int  # seconds of Unix time
    pid: int | None
    threads: int | None
    handles: int | None
    modules: tuple[Module, ...]
    fault: Fault | None
    comment: str  # the writer's own words
    system: str  # "Windows 10.0.20348, x64"

    def at(self, address: int) -> Module | None:
        """The module that an address lies in."""
        return next((one for one in self.modules if one.start <= address < one.start + one.size_bytes), None)


def parse(head: bytes) -> Minidump | None:
    """Read the beginning of a file, which may be compressed by gzip; None for what is no minidump. Never raises."""
    head = _unpacked(head)
    if len(head) < _HEADER.size:
        return None
    magic, version, count, place, _, taken_at, flags = _HEADER.unpack_from(head)
    if magic != _MAGIC or version & 0xFFFF != _VERSION or count == 0:
        return None
    streams = dict(_streams(head, place, min(count, STREAMS)))
    misc = _fields(_MISC, streams.get(_MISC_INFO, b""))
    comment = streams.get(_COMMENT_W, b"").decode("utf-16-le", "replace") or _latin(streams.get(_COMMENT_A, b""))
    return Minidump(
        is_full=bool(flags & _FULL_MEMORY),
        taken_at=taken_at,
        pid=misc[2] if misc and misc[1] & 1 else None,  # MINIDUMP_MISC1_PROCESS_ID
        threads=_count(streams.get(_THREADS)),
        handles=_handles(streams.get(_HANDLES, b"")),
        modules=tuple(_modules(head, streams.get(_MODULES, b""))),
        fault=_fault(streams.get(_FAULT, b"")),
        comment=comment[: COMMENT_BYTES // 2].rstrip("\0"),
        system=_system(streams.get(_SYSTEM_INFO, b"")),
    )


def _unpacked(head: bytes) -> bytes:
    if head[:2] != _GZIP:
        return head
    try:
        return zlib.decompressobj(wbits=31).decompress(head, HEAD_BYTES)
    except zlib.error:
        return b""


def _streams(head: bytes, place: int, count: int) -> Iterator[tuple[int, bytes]]:
    """Each stream by its type; of several of a type the last one."""
    for at in range(place, place + count * _ENTRY.size, _ENTRY.size):
        if at + _ENTRY.size > len(head):
            return
        kind, size, start = _ENTRY.unpack_from(head, at)
        if kind and start < len(head):
            most = {_COMMENT_A: COMMENT_BYTES, _COMMENT_W: COMMENT_BYTES, _MODULES: 4 + MODULES * _MODULE_BYTES}
            yield kind, head[start : start + min(size, most.get(kind, 256))]


def _fields(layout: struct.Struct, data: bytes) -> tuple[int, ...]:
    return layout.unpack_from(data) if len(data) >= layout.size else ()


def _latin(data: bytes) -> str:
    return data.decode("cp1252", "replace")


def _number(data: bytes) -> int | None:
    return int.from_bytes(data[:4], "little") if len(data) >= 4 else None


def _count(stream: bytes | None) -> int | None:
    """How many entries a list says that it has."""
    return _number(stream) if stream is not None else None


def _handles(stream: bytes) -> int | None:
    """MINIDUMP_HANDLE_DATA_STREAM: sizes of its header and of a handle come before their number."""
    return _number(stream[8:12])


def _modules(head: bytes, stream: bytes) -> Iterator[Module]:
    for at in range(4, 4 + min(_number(stream) or 0, MODULES) * _MODULE_BYTES, _MODULE_BYTES):
        if at + _MODULE_BYTES > len(stream):
            return
        start, size, _, _, place = _MODULE.unpack_from(stream, at)
        if path := _text(head, place):
            yield Module(path=path, start=start, size_bytes=size)


def _text(head: bytes, place: int) -> str:
    """A MINIDUMP_STRING: its length in bytes, then UTF-16."""
    size = _number(head[place : place + 4])
    if size is None or size > NAME_BYTES or place + 4 + size > len(head):
        return ""
    return head[place + 4 : place + 4 + size].decode("utf-16-le", "replace").rstrip("\0")


def _fault(stream: bytes) -> Fault | None:
    found = _fields(_EXCEPTION, stream)
    if not found:
        return None
    thread, _, code, _, _, address, count, _ = found
    end = _EXCEPTION.size + 8 * min(count, 15)
    numbers = stream[_EXCEPTION.size : end]
    details = struct.unpack_from(f"<{len(numbers) // 8}Q", numbers)
    return Fault(thread=thread, code=code, address=address, details=details)


def _system(stream: bytes) -> str:
    found = _fields(_SYSTEM, stream)
    if not found:
        return ""
    architecture, _, _, _, _, major, minor, build = found
    return f"Windows {major}.{minor}.{build}, {_ARCHITECTURES.get(architecture, f'processor {architecture}')}"

"""The Python that speaks to a .NET runtime: what a session sends is read as far as it came, whatever it is.

The scripts' own text is run here, against a socket pair in place of a session's connection.
"""

from __future__ import annotations

import ast
import re
import socket
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

CAPTURES = Path(__file__).parent.parent / "captures"
SCRIPTS = ("dotnet-commands.sh", "dotnet-events.sh", "dotnet.sh", "dotnet-heap.sh")
OLDEST = (3, 6)  # of the Pythons that supported distributions bring
METADATA, STACK, EVENT = b"MetadataBlock", b"StackBlock", b"EventBlock"


def python_of(*names: str) -> str:
    """What stands between the marks in these scripts."""
    texts = [(CAPTURES / name).read_text() for name in names]
    return "\n".join(part for text in texts for part in re.findall(r"<<'PYTHON'\n(.*?)\nPYTHON\n", text, re.DOTALL))


CLIENT: dict[str, Any] = {"__name__": "client"}
exec(compile(python_of(*SCRIPTS[:2]), "client", "exec"), CLIENT)  # noqa: S102 - our own file


class Wire:
    """A session over bytes that came already."""

    def __init__(self, data: bytes) -> None:
        self.data, self.position, self.frequency = data, 0, 1

    def take(self, size: int) -> bytes:
        """So many bytes, or the end."""
        part = self.data[self.position : self.position + size]
        if len(part) < size:
            raise EOFError
        self.position += size
        return part


def utf16(text: str) -> bytes:
    """As the format has strings inside of events."""
    return text.encode("utf-16-le") + b"\0\0"


def opened(name: bytes) -> bytes:
    """The beginning of an object."""
    return b"\5\5\1" + struct.pack("<ii", 2, 2) + struct.pack("<i", len(name)) + name + b"\6"


def block(so_far: int, name: bytes, content: bytes) -> bytes:
    """An object with its size, aligned."""
    head = opened(name) + struct.pack("<i", len(content))
    return head + bytes(-(so_far + len(head)) % 4) + content + b"\6"


def varint(value: int) -> bytes:
    """Seven bits a byte."""
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def blob(kind: int, thread: int, stack: int, payload: bytes, later: int = 7) -> bytes:
    """An event with a header that says everything."""
    flags = 1 | 2 | 4 | 8 | 128
    return (
        bytes([flags])
        + varint(kind) + varint(1) + varint(thread) + varint(0) + varint(thread) + varint(stack) + varint(later)
        + varint(len(payload)) + payload
    )  # fmt: skip


def stream(*payloads: bytes, later: tuple[int, ...] = ()) -> bytes:
    """A session with one kind of event, each with a stack of two addresses."""
    data = b"Nettrace" + struct.pack("<i", 20) + b"!FastSerialization.1"
    data += opened(b"Trace") + bytes(24) + struct.pack("<q", 1000) + bytes(16) + b"\6"
    fields = struct.pack("<i", 1) + struct.pack("<i", 1)  # a structure
    fields += struct.pack("<ii", 2, 18) + utf16("Name") + struct.pack("<i", 14) + utf16("Mean") + utf16("Payload")
    about = struct.pack("<i", 5) + utf16("Shop") + struct.pack("<i", 9) + utf16("Sold") + bytes(16) + fields
    header = struct.pack("<hhqq", 20, 1, 0, 0)
    data += block(len(data), METADATA, header + blob(0, 0, 0, about))
    data += block(len(data), STACK, struct.pack("<iii", 1, 1, 16) + struct.pack("<QQ", 10, 20))
    blobs = [
        blob(5, 42, 1, payload, after) for payload, after in zip(payloads, later or [7] * len(payloads), strict=True)
    ]
    data += block(len(data), EVENT, header + b"".join(blobs))
    return data + b"\1"


SOLD = utf16("pears") + struct.pack("<d", 2.5)


def read(data: bytes) -> list[Any]:
    """Every event of it."""
    return list(CLIENT["events_of"](Wire(data)))


def test_an_event_is_read_with_its_kind_stack_and_fields() -> None:
    """Structures among the fields are opened."""
    first, second = read(stream(SOLD, SOLD))

    assert (first.kind.provider, first.kind.number, first.kind.name) == ("Shop", 9, "Sold")
    assert (first.thread, struct.unpack("<QQ", first.stack)) == (42, (10, 20))
    assert CLIENT["values_of"](second.kind.fields, CLIENT["Cursor"](second.payload)) == {"Name": "pears", "Mean": 2.5}
    assert second.at == first.at + 7


def test_time_may_go_back() -> None:
    """From one thread's events to another's, by a difference that wraps."""
    first, second = read(stream(SOLD, SOLD, later=(7, (1 << 64) - 5)))

    assert (first.at, second.at) == (7, 2)


@given(st.integers(0, len(stream(SOLD, SOLD))))
def test_a_stream_that_is_cut_gives_what_came(size: int) -> None:
    """Never more, and no error."""
    whole = read(stream(SOLD, SOLD))

    assert len(read(stream(SOLD, SOLD)[: max(size, 8)])) <= len(whole)


@given(st.binary(max_size=60), st.integers(0, len(stream(SOLD)) - 1))
@example(b"\xff" * 20, 300)
@settings(max_examples=200)
def test_bytes_that_are_wrong_break_nothing(noise: bytes, at: int) -> None:
    """A hostile process sends what it likes."""
    data = bytearray(stream(SOLD))
    at = max(at, 8)
    data[at : at + len(noise)] = noise

    for event in read(bytes(data)):
        try:
            CLIENT["values_of"](event.kind.fields, CLIENT["Cursor"](event.payload))
        except struct.error:  # callers expect it
            continue


def test_what_is_no_session_is_refused() -> None:
    """With a sentence."""
    with pytest.raises(CLIENT["RefusedError"], match="a form that is not known"):
        read(b"something else")


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (b"", "RefusedError", "hung up"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "RefusedError", "no .NET runtime"),
        (struct.pack("<14sHBBHI", b"DOTNET_IPC_V1\0", 24, 255, 255, 0, 0x80131384), "RefusedError", "0x80131384"),
    ],
)
def test_a_command_that_is_not_answered_says_why(answer: bytes, error: str, words: str) -> None:
    """Whoever listens there."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(answer)
        theirs.shutdown(socket.SHUT_WR)

        with pytest.raises(CLIENT[error], match=words):
            CLIENT["answer"](ours)


def test_a_runtime_that_says_nothing_is_not_waited_for(tmp_path: Path) -> None:
    """It takes the connection, as one does whose threads stand still."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()

        with pytest.raises(CLIENT["SilentError"], match="nothing came within"):
            CLIENT["ask"](str(tmp_path / "socket"), 4, 4, timeout_s=0.05)


def test_an_answer_is_its_payload() -> None:
    """Behind the header."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(struct.pack("<14sHBBH", b"DOTNET_IPC_V1\0", 23, 255, 0, 0) + b"yes")

        assert CLIENT["answer"](ours) == b"yes"


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_oldest_python_can_read_it(script: str) -> None:
    """Hosts have what their distribution brings."""
    ast.parse(python_of(script), feature_version=OLDEST)

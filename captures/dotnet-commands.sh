#!/usr/bin/env bash
# What the runtime of a .NET process is asked: the protocol of its diagnostic socket, as Python (3.6, the oldest that supported
# distributions bring). https://github.com/dotnet/diagnostics/blob/main/documentation/design-docs/ipc-protocol.md

commands() {
  cat <<'PYTHON'
import bisect
import os
import select
import signal
import socket
import struct
import sys
import time
from collections import Counter, OrderedDict
from datetime import datetime, timezone

MAGIC = b"DOTNET_IPC_V1\0"
ANSWER_S = 5.0  # until a command is answered
NAME_CHARS = 300
UNKNOWN_COMMAND = 0x80131385


class RefusedError(Exception):
    """The runtime said no: a sentence."""


class SilentError(Exception):
    """Nothing came in time."""


def section(name, **facts):
    """Open a part of the output."""
    more = "".join(" {}={}".format(*fact) for fact in sorted(facts.items()))
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f+00:00")
    sys.stdout.write("### {} at={}{}\n".format(name, now, more))


def row(*cells):
    """A line of a table: nothing in a cell can break it."""
    sys.stdout.write("\t".join(plain(str(cell)) for cell in cells) + "\n")


def plain(text):
    """What is printable ASCII, and not too long."""
    return "".join(c if " " <= c <= "~" and c != "\\" else "?" for c in text[:NAME_CHARS])


# --- commands ---------------------------------------------------------------------------------


def text_of(text):
    """A string as the protocol has it: how many UTF-16 units with the last, which is zero."""
    return struct.pack("<I", len(text) + 1) + text.encode("utf-16-le") + b"\0\0"


def command(group, number, payload=b""):
    """A message."""
    return struct.pack("<14sHBBH", MAGIC, 20 + len(payload), group, number, 0) + payload


def connected(path, timeout_s):
    """A connection to the runtime; it takes one command each."""
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    channel.settimeout(timeout_s)
    try:
        channel.connect(path)
    except OSError as error:
        channel.close()
        raise RefusedError("its diagnostic socket cannot be used: {}".format(error.strerror or error))
    return channel


def exactly(channel, size):
    """So many bytes."""
    data = b""
    while len(data) < size:
        try:
            more = channel.recv(size - len(data))
        except socket.timeout:
            raise SilentError("nothing came within {:g} s".format(channel.gettimeout()))
        except OSError as error:
            raise RefusedError("its runtime hung up: {}".format(error.strerror or error))
        if not more:
            raise RefusedError("its runtime hung up")
        data += more
    return data


def answer(channel):
    """What a command was answered. Raises RefusedError whose second argument is the error's number."""
    magic, size, _, number, _ = struct.unpack("<14sHBBH", exactly(channel, 20))
    if magic != MAGIC or size < 20:
        raise RefusedError("what answers on its diagnostic socket is no .NET runtime")
    payload = exactly(channel, size - 20)
    if number != 0:
        code = struct.unpack("<I", payload[:4])[0] if len(payload) >= 4 else 0
        raise RefusedError("its runtime refused, error 0x{:08X}".format(code), code)
    return payload


def ask(path, group, number, payload=b"", timeout_s=ANSWER_S):
    """Send a command and return its answer."""
    channel = connected(path, timeout_s)
    try:
        channel.sendall(command(group, number, payload))
        return answer(channel)
    finally:
        channel.close()


# --- run --------------------------------------------------------------------------------------


def version_of(path):
    """The runtime's version, which it tells since .NET 6; "" before."""
    try:
        payload = ask(path, 4, 4)  # process number, cookie, command line, system, machine, assembly, version
        at, said = 24, []
        for _ in range(5):
            size = 2 * struct.unpack_from("<I", payload, at)[0]
            said.append(payload[at + 4 : at + 4 + size].decode("utf-16-le", "replace").rstrip("\0"))
            at += 4 + size
        return said[4].partition("+")[0]
    except (RefusedError, struct.error):
        return ""


def run(what):
    """Do *what*; ends with 3 when nothing answered, 4 when it was refused, and orderly when somebody ends it."""
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.default_int_handler)
    try:
        what()
        sys.stdout.flush()
    except SilentError as error:
        fail(3, error)
    except RefusedError as error:
        fail(4, error.args[0])
    except (OSError, ValueError, struct.error) as error:
        fail(4, "what its runtime says is not understood: {}".format(error))
    except KeyboardInterrupt:
        os._exit(130)  # what is left to write may have no reader


def fail(status, why):
    """Say why on the error stream, and end."""
    try:
        sys.stdout.flush()
    except OSError:
        os._exit(status)
    sys.stderr.write("{}\n".format(why))
    sys.exit(status)
PYTHON
}

#!/usr/bin/env bash
# What a runtime sends in a session: events in the form "nettrace", versions 4 and 5, read by Python behind dotnet-commands.sh.
# https://github.com/microsoft/perfview/blob/main/src/TraceEvent/EventPipe/NetTraceFormat_v5.md

events() {
  cat <<'PYTHON'


RUNDOWN_S = 15.0  # for the names of all methods, when a session ends
ENDED_S = 4.0  # the same, when somebody stops us: after 5 s we are killed
STREAM_BYTES = 2_000_000_000  # of one session; it is ended then
BLOCK_BYTES = 64_000_000
BUFFER_MB = 64  # of the process's memory at most, while a session runs

RUNTIME, PROFILER = "Microsoft-Windows-DotNETRuntime", "Microsoft-DotNETCore-SampleProfiler"
GC, EXCEPTIONS, THREADING = 0x1, 0x8000, 0x10000  # keywords of the runtime

# Its events: https://learn.microsoft.com/dotnet/fundamentals/diagnostics/runtime-events
GC_START, GC_END, GC_RESTARTED, GC_SUSPENDING = 1, 2, 3, 9


class Session:
    """Events as they come: `take` reads the stream, which ends some time after *seconds*, or after `finish`."""

    def __init__(self, path, seconds, providers, rundown, buffer_mb=BUFFER_MB):
        self.path, self.buffer_mb = path, buffer_mb
        self.channel, self.id = self.start(providers, rundown)
        self.ends = time.monotonic() + seconds
        self.stopper = None
        self.held, self.at, self.position, self.frequency = b"", 0, 0, 1

    def start(self, providers, rundown):
        """Its connection and number."""
        told = struct.pack("<I", len(providers))
        for name, keywords, level, arguments in providers:
            told += struct.pack("<QI", keywords, level) + text_of(name) + text_of(arguments)
        newer = struct.pack("<IIB", self.buffer_mb, 1, rundown) + told
        older = struct.pack("<II", self.buffer_mb, 1) + told  # .NET Core 3: names of methods always come
        for number, payload in ((3, newer), (2, older)):
            channel = connected(self.path, ANSWER_S)
            try:
                channel.sendall(command(2, number, payload))
                return channel, struct.unpack("<Q", answer(channel)[:8])[0]
            except RefusedError as error:
                channel.close()
                if number == 2 or error.args[1:] != (UNKNOWN_COMMAND,):
                    raise
        raise AssertionError

    def finish(self):
        """Ask the runtime to end the session; it goes on sending until everything is told."""
        if self.stopper is None:
            self.stopper = connected(self.path, ANSWER_S)
            self.stopper.sendall(command(2, 1, struct.pack("<Q", self.id)))
            self.ends = time.monotonic() + RUNDOWN_S

    def take(self, size):
        """So many bytes; raises EOFError at the end."""
        parts, missing = [], size
        while missing > 0:
            if self.at == len(self.held):
                self.held, self.at = self.more(), 0
            part = self.held[self.at : self.at + missing]
            self.at += len(part)
            missing -= len(part)
            parts.append(part)
        self.position += size
        return b"".join(parts)

    def more(self):
        """What comes next, once it comes; raises EOFError at the end."""
        while True:
            left = self.ends - time.monotonic()
            if left <= 0 or self.position > STREAM_BYTES:
                if left <= 0 and self.stopper is not None:
                    raise EOFError
                self.finish()
                left = self.ends - time.monotonic()
            if not select.select([self.channel], [], [], max(left, 0))[0]:
                continue
            try:
                data = self.channel.recv(1 << 18)
            except OSError:
                raise EOFError
            if not data:
                raise EOFError
            return data

    def close(self):
        """End it, and read to its end: a runtime of .NET Core 3 can crash where nobody reads what it still sends."""
        interrupted = sys.exc_info()[0] is KeyboardInterrupt
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        try:
            self.finish()
            if interrupted:
                self.ends = time.monotonic() + ENDED_S
            while True:
                self.take(1 << 16)
        except (OSError, RefusedError, EOFError):
            pass
        for channel in (self.channel, self.stopper):
            if channel is not None:
                channel.close()
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.default_int_handler)


class Cursor:
    """Reads values from a piece of memory."""

    def __init__(self, data, at=0):
        self.data, self.at = data, at

    def get(self, form):
        """Values as struct.unpack has them."""
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values if len(values) > 1 else values[0]

    def varint(self):
        """A number of seven bits a byte."""
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128 or shift > 63:
                return value

    def text(self):
        """UTF-16 until a zero."""
        end = self.at
        while self.data[end : end + 2] not in (b"\0\0", b"", b"\0"):
            end += 2
        text = bytes(self.data[self.at : end]).decode("utf-16-le", "replace")
        self.at = end + 2
        return text


class Kind:
    """What an event is: its provider, number, name and fields."""

    def __init__(self, cursor):
        self.id = cursor.get("i")
        self.provider = cursor.text()
        self.number = cursor.get("i")
        self.name = cursor.text()
        cursor.get("qii")
        self.fields = self.read_fields(cursor, 0)

    def read_fields(self, cursor, depth):
        """Name and type code of each, and the fields of a structure."""
        fields = []
        for _ in range(cursor.get("i") if depth < 4 else 0):
            code = cursor.get("i")
            inner = self.read_fields(cursor, depth + 1) if code == 1 else None
            fields.append((cursor.text(), code, inner))
        return fields


FORMS = {3: "i", 4: "H", 5: "b", 6: "B", 7: "h", 8: "H", 9: "i", 10: "I", 11: "q", 12: "Q", 13: "f", 14: "d"}


def values_of(fields, cursor):
    """An event's fields by name, those of structures among them."""
    values = {}
    for name, code, inner in fields:
        if inner is not None:
            values.update(values_of(inner, cursor))
        elif code == 18:
            values[name] = cursor.text()
        elif code in FORMS:
            values[name] = cursor.get(FORMS[code])
        else:
            break
    return values


class Event:
    """One thing that happened."""

    def __init__(self, kind, thread, stack, at, payload):
        self.kind, self.thread, self.stack, self.at, self.payload = kind, thread, stack, at, payload


def events_of(session):
    """Every event of a session, as far as it came. Sets frequency: what `at` counts in a second."""
    try:
        if session.take(8) != b"Nettrace":
            raise RefusedError("its runtime sends events in a form that is not known here")
        session.take(struct.unpack("<i", session.take(4))[0] & 255)
        kinds, stacks = {}, {}
        while session.take(1)[0] == 5:
            session.take(10)
            name = session.take(struct.unpack("<i", session.take(4))[0] & 255)
            session.take(1)
            if name == b"Trace":
                session.frequency = struct.unpack("<q", session.take(48)[24:32])[0] or 1
            else:
                for event in block_of(session, name, kinds, stacks):
                    yield event
            session.take(1)
    except EOFError:
        return


def block_of(session, name, kinds, stacks):
    """The events of one block; kinds and stacks are remembered."""
    size = struct.unpack("<i", session.take(4))[0]
    session.take(-session.position % 4)
    if not 0 <= size <= BLOCK_BYTES:
        raise EOFError
    cursor = Cursor(session.take(size))
    try:
        if name == b"StackBlock":
            first, count = cursor.get("ii")
            for number in range(first, first + min(count, size)):
                length = cursor.get("i")
                stacks[number] = cursor.data[cursor.at : cursor.at + length]
                cursor.at += length
        elif name == b"SPBlock":
            stacks.clear()
        elif name == b"MetadataBlock":
            for _, _, _, _, payload in blobs_of(cursor):
                kind = Kind(Cursor(payload))
                kinds[kind.id] = kind
        elif name == b"EventBlock":
            for number, thread, stack, at, payload in blobs_of(cursor):
                if number in kinds:
                    yield Event(kinds[number], thread, stacks.get(stack, b""), at, payload)
    except (struct.error, IndexError):  # a block that is not as it should be; the next one may be
        return


def blobs_of(cursor):
    """Kind, thread, stack, time and payload of each entry of a block."""
    header, flags = cursor.get("hh")
    cursor.at = header
    kind = thread = stack = at = length = 0
    while cursor.at < len(cursor.data):
        if flags & 1:
            given = cursor.get("B")
            kind = cursor.varint() if given & 1 else kind
            if given & 2:
                cursor.varint(), cursor.varint(), cursor.varint()
            thread = cursor.varint() if given & 4 else thread
            stack = cursor.varint() if given & 8 else stack
            at = (at + cursor.varint()) % (1 << 64)  # it may go back
            cursor.at += 16 * bool(given & 16) + 16 * bool(given & 32)
            length = cursor.varint() if given & 128 else length
        else:
            start = cursor.at + 4
            size, kind, _, thread, _, _, stack, at = cursor.get("iiiqqiiq")
            cursor.at += 32
            length = cursor.get("i")
        if length > len(cursor.data) - cursor.at:
            return
        yield kind & 0x7FFFFFFF, thread, stack, at, cursor.data[cursor.at : cursor.at + length]
        cursor.at = cursor.at + length if flags & 1 else start + size + -(start + size) % 4
PYTHON
}

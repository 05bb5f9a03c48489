"""Secrets out of a byte stream, independent of how it was chunked.

The stream is worked through in blocks at fixed places, so the same bytes give the same output in any chunking. A block
is judged up to its last newline, or up to WINDOW_BYTES before its end where lines are longer, so that every candidate
is seen with its whole line or WINDOW_BYTES of it. Three positions move on: what was searched, what was written, and
what must be kept to look back. Memory stays below two blocks and two windows.

A value longer than the window (a 200 KB token, an endless key block) is not kept: its bytes go into the digest that
names it and are dropped until a byte comes that cannot belong to it (a blank or a quote; the closing quote where it
was quoted), and then one mask is written for all of it. One shape ends early: an endless key block whose lines each
carry a log's prefix is followed for the window only, four times the length of the longest real one.
"""

from __future__ import annotations

import hmac
import re
from collections import Counter

from bot.redact.finder import INNER_BYTES, MASK_DIGITS, Finder
from bot.redact.judge import LOOK_BACK_BYTES

BLOCK_BYTES = 64 * 1024
WINDOW_BYTES = 64 * 1024
SLACK_BYTES = 128  # a value that ends this near to the end of what has come may go on


class RedactionStream:
    """One output on its way to a store. Not shared between threads, but `feed` may run in one: re2 lets others work."""

    def __init__(
        self, finder: Finder, salt: bytes, *, block_bytes: int = BLOCK_BYTES, window_bytes: int = WINDOW_BYTES
    ) -> None:
        self.masked: Counter[str] = Counter()
        """How many secrets were masked, by kind; complete after `finish`."""
        self._finder = finder
        self._salt = salt
        self._block_bytes = block_bytes
        self._window_bytes = window_bytes
        self._waiting = bytearray()  # less than a block
        self._text = b"\n"  # what is kept of earlier blocks; a stream starts like a line
        self._written = 1  # text before this was written or masked
        self._searched = 0  # spots before this were judged
        self._endless: _Endless | None = None

    def feed(self, data: bytes) -> bytes:
        """Take *data*, return what is safe by now: often nothing, then up to a few blocks."""
        self._waiting += data
        size = self._block_bytes
        whole = len(self._waiting) - len(self._waiting) % size
        if not whole:
            return b""
        blocks = bytes(self._waiting[:whole])
        del self._waiting[:whole]
        return b"".join(self._advance(blocks[at : at + size], final=False) for at in range(0, whole, size))

    def finish(self) -> bytes:
        """Return the rest; call it at any end of the output, good or bad, and feed nothing after it."""
        rest, self._waiting = bytes(self._waiting), bytearray()
        return self._advance(rest, final=True)

    def _advance(self, block: bytes, *, final: bool) -> bytes:
        text = self._text + block
        out: list[bytes] = []
        if self._endless and not self._go_on(self._endless, text, out, final=final):
            return b""
        limit = len(text)
        if not final:
            limit = max(text.rfind(b"\n", self._searched), len(text) - self._window_bytes, self._searched)
        spans = self._finder.spans(text, self._searched, limit)
        for number, span in enumerate(spans):
            start = max(span.start, self._written)
            if span.end <= start:
                continue
            goes_on = not final and span.end > len(text) - SLACK_BYTES
            if start > limit or (goes_on and len(text) - span.spot <= self._window_bytes):
                # Seen again with more text, and with it all that comes behind it.
                limit = min(limit, *(min(later.spot, later.start) for later in spans[number:]))
                break
            if goes_on:
                out.append(text[self._written : start])
                self._endless = _Endless(span.kind, self._salt, text, start, span.end)
                self._keep(text, span.end, span.end - INNER_BYTES)
                return b"".join(out)
            if text[start : span.end].isspace():
                continue  # a key block that was cut before its body
            out += (text[self._written : start], self._mask(span.kind, text[start : span.end]))
            self._written = span.end
        if limit > self._written:
            out.append(text[self._written : limit])
        self._keep(text, max(self._written, limit), limit)
        return b"".join(out)

    def _go_on(self, endless: _Endless, text: bytes, out: list[bytes], *, final: bool) -> bool:
        """Take more of an endless value from *text*; True when it ended."""
        end = endless.take(text, self._written)
        if not final and end >= len(text) - 1:  # one byte short: an escape may be cut in two
            self._keep(text, end, end - INNER_BYTES)
            return False
        self._endless = None
        out.append(self._named(endless.kind, endless.digest))
        self._written = end
        self._searched = max(self._searched, end - INNER_BYTES)
        return True

    def _keep(self, text: bytes, written: int, searched: int) -> None:
        cut = max(0, min(written, searched) - LOOK_BACK_BYTES)
        self._text, self._written, self._searched = text[cut:], written - cut, searched - cut

    def _mask(self, kind: str, secret: bytes) -> bytes:
        return self._named(kind, hmac.new(self._salt, _essence(kind, secret), "sha256"))

    def _named(self, kind: str, digest: hmac.HMAC) -> bytes:
        self.masked[kind] += 1
        return f"[masked:{kind}:{digest.hexdigest()[:MASK_DIGITS]}]".encode()


class _Endless:
    """A value longer than the window, on its way to one mask."""

    def __init__(self, kind: str, salt: bytes, text: bytes, start: int, end: int) -> None:
        self.kind = kind
        self.digest = hmac.new(salt, _essence(kind, text[start:end]), "sha256")
        self._more = _MORE_OF.get(kind) or _MORE_AFTER.get(text[start - 1 : start], _MORE)

    def take(self, text: bytes, pos: int) -> int:
        more = self._more.match(text, pos)
        end = more.end() if more else pos
        self.digest.update(_essence(self.kind, text[pos:end]))
        return end


_MORE = re.compile(rb"[^ \t\r\n\0\"'<>`]*+")
_MORE_OF = {
    "private-key": re.compile(rb"(?:[A-Za-z0-9+/=\\]|[\r\n][ \t]*+)*+"),
    "cookie": re.compile(rb"[^\r\n\"']*+"),
    "authorization": re.compile(rb"[^\r\n\"']*+"),
}
_MORE_AFTER = {
    b'"': re.compile(rb"(?:[^\"\\\r\n]|\\[^\r\n])*+"),
    b"'": re.compile(rb"(?:[^'\\\r\n]|\\[^\r\n]|'')*+"),
    b"[": re.compile(rb"[^\]\r\n]*+"),
    b">": re.compile(rb"[^<\r\n]*+"),
}
_NOT_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="))


def _essence(kind: str, secret: bytes) -> bytes:
    """What two writings of one secret share: a key's lines may be joined, indented or escaped."""
    return secret.replace(b"\\n", b"").translate(None, _NOT_BASE64) if kind == "private-key" else secret

"""Private key blocks, which span lines: where the body ends."""

from __future__ import annotations

import re

from bot.redact.judge import Span

FULL_LINE = 32  # base64 characters; every line of a key but its last has 60 to 76
_HEADER_LINES = 12  # before the first full line; OpenPGP and PuTTY write a few

_END = re.compile(rb"-----? ?END [A-Z0-9 ]{0,40}PRIVATE KEY|Private-MAC: ")
_INLINE = re.compile(rb"(?:[A-Za-z0-9+/=]|\\[nrt]|[ \t](?=[A-Za-z0-9+/=]{16}|-----? ?END ))*+")
_REST = re.compile(rb"(?:\\[nr]|[\"'`,+|> \t\\\r])*+\n")  # how a line with a marker ends where the body follows below
_HEADER = re.compile(rb"(?:[^\n]{0,200}[ \t:])?[A-Z][A-Za-z-]{3,20}: [^\n]*+\n?|[\"'`,+ \t\r]*+\n?")
_TAIL = re.compile(rb"([A-Za-z0-9+/=]++)(?:\\[nr])*+[\"'`,+ \t\\\r]*+\n?\Z")
_CHECKSUM = re.compile(rb"[ \t]*+=[A-Za-z0-9+/]{4}[ \t\r]*+\n")  # OpenPGP's


def key_block(found: re.Match[bytes]) -> Span | None:
    """The body between the BEGIN line and the END line.

    A block without an end (a `head` of a file, a cut log) ends where lines stop looking like a key's. Reaches the end
    of the text when more of it is needed to tell; the stream then asks again with more.
    """
    text, start = found.string, found.end()
    inline = _INLINE.match(text, start)
    at = inline.end() if inline else start
    if at < len(text) and (rest := _REST.match(text, at)):
        at = _lines_end(text, rest.end())
    elif at < len(text) and not _END.match(text, at) and at - start < FULL_LINE:
        return None  # a BEGIN line that is only spoken of
    if at == len(text):
        return start, at
    while at > start and text[at - 1] in b"\r\n \t":  # the END line stays a line
        at -= 1
    while start < at and text[start] in b"\r\n \t":
        start += 1
    return (start, at) if start < at else None


def _lines_end(text: bytes, at: int) -> int:
    """Walk the lines from *at* while they look like a key's, with or without a log's prefix."""
    begun, headers = at, 0
    while at < len(text):
        after = _line_end(text, at)
        if _END.search(text, at, after):
            return at
        if text[after - 1] != ord("\n"):
            return after  # the rest of the line is still to come
        tail = _TAIL.search(text, max(at, after - 2 * FULL_LINE - 100), after)
        if tail and len(tail[1]) >= FULL_LINE:
            headers = _HEADER_LINES
        elif headers < _HEADER_LINES and _HEADER.fullmatch(text, at, after):
            headers += 1
        elif headers < _HEADER_LINES:
            return begun  # no body at all
        else:
            return _last_line_end(text, at, after) if tail else at
        at = after
    return at


def _last_line_end(text: bytes, at: int, after: int) -> int:
    """Whether the short line at *at* is the body's last: the END line follows, or nothing else is on it."""
    follows = _line_end(text, after)
    if after == len(text) or text[follows - 1] != ord("\n"):
        return len(text)
    if _CHECKSUM.fullmatch(text, after, follows):
        return follows
    pure = re.fullmatch(rb"[ \t]*+[A-Za-z0-9+/=]*+[ \t\r]*+\n", text[at:after])
    return after if pure or _END.search(text, after, follows) else at


def _line_end(text: bytes, at: int) -> int:
    newline = text.find(b"\n", at)
    return len(text) if newline < 0 else newline + 1

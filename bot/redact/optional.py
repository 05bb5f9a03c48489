"""What is masked on demand only, because an incident is often about it: people, addresses, values in SQL."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Generator, Iterator

from bot.model import Redaction
from bot.redact.judge import LOOK_BACK_BYTES, Span
from bot.redact.own import Noticed, Noticing, compiled
from bot.redact.patterns import Rule

# --- e-mail: a rule like any other, its spot is the @ --------------------------------------------

BEHIND_BYTES = 64  # how far before its spot a value may begin: the longest name before an @ (RFC 5321)

_NAME = re.compile(rb"[A-Za-z0-9][A-Za-z0-9_.%+-]*+\Z")


def _email(found: re.Match[bytes]) -> Span | None:
    at = found.start()
    start = max(0, at - BEHIND_BYTES)
    name = _NAME.search(found.string[start:at])
    return (start + name.start(), found.end()) if name else None


_EMAIL = Rule(
    "email",
    rb"@[A-Za-z0-9]",
    re.compile(rb"@(?:[A-Za-z0-9-]{1,63}+\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9])"),
    _email,
)

# --- addresses of the Internet protocol ----------------------------------------------------------

_BYTE = "(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
_V4 = rf"{_BYTE}(?:\.{_BYTE}){{3}}"
_PAIR = "[0-9A-Fa-f]{1,4}"
_V6 = (
    rf"(?:{_PAIR}:){{7}}{_PAIR}|(?:{_PAIR}(?::{_PAIR}){{0,6}})?::"
    rf"(?:(?:{_PAIR}:){{0,5}}{_V4}|{_PAIR}(?::{_PAIR}){{0,6}})?"
)
_ADDRESS = rf"(?:^|[^0-9A-Za-z_:.])({_V6}|{_V4})(?:[^0-9A-Za-z_.]|\.(?:[^0-9]|$)|$)"


class Addresses:
    """Addresses that name somebody: not the machine itself, not all of them."""

    kind = "address"

    def __init__(self) -> None:
        self._address = compiled(_ADDRESS)

    def spans(self, text: bytes, pos: int, limit: int) -> Iterator[Noticed]:
        """See `Noticing`."""
        while (found := self._address.search(text, pos)) and (at := found.start()) < limit:
            start, end = found.span(1)
            pos = max(at + 1, end)
            if not _is_nobody(text[start:end]):
                yield self.kind, start, end, at


def _is_nobody(value: bytes) -> bool:
    if b":" not in value:
        return value.startswith((b"127.", b"0.0.0.0"))
    known = ipaddress.ip_address(value.decode("ascii"))
    return known.is_loopback or known.is_unspecified


# --- values in SQL -------------------------------------------------------------------------------

_HEADS = r"(?:select|insert|update|delete|replace|call|values|where|having)[\s(]"
_GOES_ON = r"(?:and|or|set|in|like|between|on)[\s(]"  # at the start of a line
_STATEMENT = rf"(?i)(?:^|[^a-z_]){_HEADS}|^[ \t]*(?:{_GOES_ON}|[,(] ?['\"0-9])"
_LITERAL = re.compile(
    rb"\\{0,3}'((?:[^'\\\r\n]++|\\(?!')[^\r\n]|\\'(?![,)\s;]|\Z)|'')*+)\\{0,3}'?"
    rb"|\\{0,3}\"((?:[^\"\\\r\n]++|\\(?!\")[^\r\n]|\\\"(?![,)\s;]|\Z)|\"\")*+)\\{0,3}\"?"
    rb"|(?<![A-Za-z0-9_.`$@-])-?([0-9]{4,}+(?:\.[0-9]++)?)(?![A-Za-z_0-9])"
)
_END_OF_LINE = re.compile(rb"\n")
_END_OF_QUOTED = re.compile(rb"\n|(?<!\\)\"")  # in JSON
_QUOTE = re.compile(rb"(?<!\\)'")
_QUOTES_WITHIN_BYTES = 4096
_BEFORE_VALUE = frozenset({b" ", b"\t", b"=", b"(", b",", b"<", b">", b"\\"})
_SIGNS_OF_VALUES = 4  # so many quotes and commas make a piece of a very long line a list of values


class SqlLiterals:
    """Strings, and numbers of four digits or more, behind the words of a statement and up to the end of its line.

    In a line so long that its beginning is out of sight, text that looks like a list of values counts too.
    """

    kind = "sql-literal"

    def __init__(self) -> None:
        self._statement = compiled(_STATEMENT)

    def spans(self, text: bytes, pos: int, limit: int) -> Iterator[Noticed]:
        """See `Noticing`."""
        if self._is_within(text, pos):
            start = _behind_value(text, pos)
            if pos < start - 1:
                yield self.kind, pos, start - 1, pos
            pos = yield from self._literals(text, start, _END_OF_LINE)
        while (found := self._statement.search(text, pos)) and found.start() < limit:
            quoted = text[found.start() : found.start() + 1] == b'"'
            pos = yield from self._literals(text, found.end() - 1, _END_OF_QUOTED if quoted else _END_OF_LINE)

    def _literals(self, text: bytes, start: int, ending: re.Pattern[bytes]) -> Generator[Noticed, None, int]:
        """Yield the values from *start* on, return where the statement ends."""
        stop = ending.search(text, start)
        end = stop.start() if stop else len(text)
        for found in _LITERAL.finditer(text, start, end):
            first, last = found.span(found.lastindex or 0)
            if first < last:
                yield self.kind, first, last, found.start()
        return max(end, start + 1)

    def _is_within(self, text: bytes, pos: int) -> bool:
        back = text[max(0, pos - LOOK_BACK_BYTES) : pos]
        line = back.rfind(b"\n")
        if self._statement.search(back, line + 1):
            return True
        return line < 0 and len(back) == LOOK_BACK_BYTES and back.count(b"'") + back.count(b",") >= _SIGNS_OF_VALUES


def _behind_value(text: bytes, pos: int) -> int:
    """*pos*, or behind the quote that closes the value which *pos* lies in: every second quote opens, behind a sign or a blank."""
    quotes = [found.start() for found in _QUOTE.finditer(text, pos, pos + _QUOTES_WITHIN_BYTES)]
    opens = [text[quote - 1 : quote] in _BEFORE_VALUE for quote in quotes]
    return quotes[0] + 1 if sum(opens[1::2]) > sum(opens[::2]) else pos


KINDS = frozenset({_EMAIL.kind, Addresses.kind, SqlLiterals.kind})


def rules_of(redaction: Redaction) -> tuple[Rule, ...]:
    """The rows that *redaction* adds to those of `patterns`."""
    return (_EMAIL,) if redaction.emails else ()


def noticing(redaction: Redaction) -> tuple[Noticing, ...]:
    """What looks for the rest that *redaction* asks for."""
    return (
        *([Addresses()] if redaction.addresses else []),
        *([SqlLiterals()] if redaction.sql_literals else []),
    )

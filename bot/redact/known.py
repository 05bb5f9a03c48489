"""The secrets that the bot itself knows, in the forms in which they turn up in output."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Iterator
from urllib.parse import quote, quote_plus

KNOWN_KIND = "known-secret"  # in the mask
MIN_BYTES = 4  # a shorter secret is not looked for: it would be found in every line
MIN_FORM_BYTES = 6  # a shorter one is looked for as it is, not in other writings
MIN_LINE_BYTES = 8  # of a secret of several lines, each line from this length on is looked for
MIN_BASE64_CHARS = 8  # of base64, what does not depend on the neighbours must be at least this
PIECE_BYTES = 512  # a longer secret is looked for in pieces, so that a part of it is found too
_PERCENT = re.compile(rb"%[0-9A-F]{2}")


def literals(values: Collection[bytes]) -> list[bytes]:
    """Every byte string to look for, longest first."""
    found = {piece for value in values for line in _lines(value) for form in _forms(line) for piece in _pieces(form)}
    return sorted(found, key=lambda literal: (-len(literal), literal))


def _lines(value: bytes) -> list[bytes]:
    """A key file is looked for line by line: whoever prints it may indent it or put a time before each line."""
    if b"\n" not in value:
        return [value] if len(value) >= MIN_BYTES else []
    lines = [line.strip() for line in value.splitlines()]
    return [line for line in lines if len(line) >= MIN_LINE_BYTES and not line.startswith(b"-----")]


def _forms(value: bytes) -> Iterator[bytes]:
    yield value
    if len(value) < MIN_FORM_BYTES:
        return
    for quoted in (quote(value, safe=""), quote(value), quote_plus(value)):
        yield quoted.encode("ascii")
        yield _PERCENT.sub(lambda escape: escape[0].lower(), quoted.encode("ascii"))
    text = value.decode("utf-8", "surrogateescape")
    for ascii_only in (False, True):
        in_json = json.dumps(text, ensure_ascii=ascii_only)[1:-1].encode("utf-8", "surrogateescape")
        yield in_json
        yield in_json.replace(b"/", b"\\/")
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(value)
        for shift in range(3):
            if len(core := _base64_core(encode(bytes(shift) + value), shift, len(value))) >= MIN_BASE64_CHARS:
                yield core


def _base64_core(encoded: bytes, shift: int, length: int) -> bytes:
    """The characters that are the same whatever stands before and after the secret in the encoded text."""
    return encoded[(shift * 8 + 5) // 6 : (shift + length) * 8 // 6]


def _pieces(form: bytes) -> Iterator[bytes]:
    if len(form) < 2 * PIECE_BYTES:
        yield form
        return
    whole = len(form) // PIECE_BYTES - 1
    for piece in range(whole):
        yield form[piece * PIECE_BYTES : (piece + 1) * PIECE_BYTES]
    yield form[whole * PIECE_BYTES :]

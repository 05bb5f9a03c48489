"""The last word on candidates of command lines: whose option it is, and where its value ends."""

from __future__ import annotations

import re

from bot.redact.judge import LOOK_BACK_BYTES, PATH, PLAIN_BYTES, Span, harmless, to_nul, whole

_OPENS_OPTION = re.compile(rb"(?:.*[ \t\r\n\0\"'(\[,])?--?[A-Za-z0-9-]*+", re.DOTALL)
_PROSE = frozenset(
    b"a an and are as can for from if in is it may not of on or that the then to was when will with".split()
)
_ATTACHED = (b"mysql", b"mariadb", b"sshpass", b"xtrabackup", b"mariabackup", b"mydumper", b"innotop", b"7z")
_SEPARATE = {
    b"a": (b"redis-cli",),
    b"p": (b"sshpass", b"mongo", b"login", b"cqlsh", b"rabbitmqadmin", b"influx"),
    b"w": (b"ldap",),
    b"P": (b"sqlcmd", b"bcp"),
    b"u": (b"curl", b"wget"),
}


def _belongs_to(found: re.Match[bytes], programs: tuple[bytes, ...]) -> bool:
    """One of *programs* stands before the option on its line."""
    start = found.start()
    back = max(0, start - LOOK_BACK_BYTES)
    back = max(back, found.string.rfind(b"\n", back, start))
    return any(found.string.rfind(program, back, start) >= 0 for program in programs)


def option(found: re.Match[bytes]) -> Span | None:
    """``--password secret`` and its like, in a command line or an array of arguments."""
    text = found.string
    start, end = whole(found)
    value = text[start : min(end, start + PLAIN_BYTES + 1)]
    here = found.start() + 1
    if not _OPENS_OPTION.fullmatch(text, max(0, here - PLAIN_BYTES), here):
        return None
    word = text[found.start() : start].lower()
    if (
        harmless(value)
        or value in _PROSE
        or (b"key" in word and PATH.fullmatch(value))
        or (b"token" in word and value.isdigit())
    ):
        return None
    return start, (text[start - 1] == 0 and to_nul(text, end)) or end


def attached_option(found: re.Match[bytes]) -> Span | None:
    """``-psecret`` of the programs that know it."""
    return whole(found) if _belongs_to(found, _ATTACHED) else None


def short_option(found: re.Match[bytes]) -> Span | None:
    """``-p secret``, ``-a secret``, ``-u name:secret`` of the programs that know them."""
    letter = found[0].lstrip(b" \t\0\"'-")[:1]
    start, end = whole(found)
    if not _belongs_to(found, _SEPARATE[letter]):
        return None
    if letter == b"u":
        colon = found.string.find(b":", start, end)
        if colon < 0 or colon + 1 == end:
            return None
        start = colon + 1
    return None if harmless(found.string[start : min(end, start + PLAIN_BYTES + 1)]) else (start, end)


def openssl(found: re.Match[bytes]) -> Span | None:
    """``-passin pass:secret``."""
    return whole(found) if b"-pass" in found.string[max(0, found.start() - 16) : found.start()] else None

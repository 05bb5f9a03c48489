"""The last word on a candidate: where the secret starts and ends, or that it is none.

Each function takes the match of a rule's *value* pattern and returns the secret's span or None. Each looks at a bounded
piece of text around the match, so that a text full of candidates stays linear.
"""

from __future__ import annotations

import base64
import binascii
import re

Span = tuple[int, int]

LOOK_BACK_BYTES = 1024  # how far before a candidate its line is read: for the program that an option belongs to
PLAIN_BYTES = 64  # a longer value is never one of the harmless words
RANDOM_BYTES = 8  # a shorter value does not look drawn by lot
LINE_BYTES = 512  # a longer line is no line of a configuration file

# What stands where a secret would and is none: words, placeholders, references, other tools' masks.
_HARMLESS = re.compile(
    rb"(?:(?i:null|none|nil|undefined|unset|empty|true|false|yes|no|on|off|required|optional|disabled|enabled|unknown"
    rb"|invalid|incorrect|expired|missing|changed|accepted|failed|n/a|str|string|text|bytes|files|compat|sss|\\n)"
    rb"|[0-9]|[*xX.#?_=-]++|[\])}]++|\{{1,2}|[\[(<{]*+(?i:redacted|filtered|hidden|masked|removed)[\])>}]*+"
    rb"|(?:[A-Z]++[-_])*(?:PASSWORD|PASSWD|SECRET|TOKEN|KEY|FILE|STRING|VALUE)|:[a-z_]*(?:password|secret|token|key|value)"
    rb"|\$\{[A-Za-z0-9_.]++\}?|\$\([a-z]*+\)?|\$[A-Z_][A-Z0-9_]*+|%(?:\([a-z_]++\))?[a-z]|\{\{?[^}]++\}\}?|<[^>]++>"
    rb"|(?:env|file|vault|awssm):[^ ]*+)[)\]}.,;:!?]*+"
)
PATH = re.compile(rb"(?:/|\./|~/)[A-Za-z0-9_.~/-]*+")
_NUMBER = re.compile(rb"(?:0x[0-9a-fA-F]{1,16}|[0-9.,:-]++)[a-zA-Z%]{0,3}")
_COUNT = re.compile(rb"[0-9]{1,4}[.,:;]?")
_LETTER = re.compile(rb"[A-Za-z]")
_DIGIT = re.compile(rb"[0-9]")


def whole(found: re.Match[bytes]) -> Span:
    """Take the last group as it is."""
    return found.span(found.lastindex or 0)


def harmless(value: bytes) -> bool:
    """A word or a placeholder where a secret would stand."""
    return len(value) <= PLAIN_BYTES and _HARMLESS.fullmatch(value) is not None


def random_looking(found: re.Match[bytes]) -> Span | None:
    """Letters and digits mixed, as no word, number or path is."""
    value = found[found.lastindex or 0]
    if len(value) < RANDOM_BYTES or not _LETTER.search(value) or not _DIGIT.search(value):
        return None
    return None if PATH.fullmatch(value) or _NUMBER.fullmatch(value) or harmless(value) else whole(found)


# --- keys and their values ----------------------------------------------------------------------

_KEY_STARTS_LINE = re.compile(rb"[ \t]*+(?:export |set |declare -x |- |-{1,2})?[\"']?[A-Za-z0-9_.\[\]-]*+")
_PROGRAM = re.compile(rb"(?:/passwd['\"]?|[^A-Za-z0-9_.-]passwd): [A-Za-z]++ |\(passwd:")  # not a key: who speaks
_ENTRY = re.compile(rb"[^\0\r\n]*+")
_MORE_WORDS = re.compile(
    rb"(?:[ \t]++(?![#;]|[A-Za-z0-9_.\"'-]{1,64}(?:=|:[ \t\r\n]))[^ \t\0\r\n]++)*+(?=[\0\r\n]|[ \t]|\Z)"
)


def assigned(found: re.Match[bytes]) -> Span | None:
    """Whatever a password's or secret's key is given, but for harmless words.

    An unquoted value of several words is taken whole where the key opens its line, as in a configuration file.
    """
    text = found.string
    start, end = whole(found)
    if harmless(text[start : min(end, start + PLAIN_BYTES + 1)]):
        return None
    if text[found.start() - 2 : found.start()] == b"NO":  # sudo's NOPASSWD:
        return None
    if text[start - 1] in b"\"'`[>":
        return start, end
    if _PROGRAM.match(text, found.start() - 1):
        return None
    if _opens_line(found):
        if nul := to_nul(text, end):
            return start, nul
        more = _MORE_WORDS.match(text, end, min(len(text), end + LINE_BYTES))
        if more and more.end() < end + LINE_BYTES:
            return start, more.end()
    return start, end


def _opens_line(found: re.Match[bytes]) -> bool:
    """Nothing but the rest of the key, blanks and an `export` stand before the match on its line."""
    text, start = found.string, found.start() + (found[0][:1] in b"\n\0")
    before = max(0, start - LINE_BYTES)
    opened = max(text.rfind(b"\n", before, start), text.rfind(b"\0", before, start)) + 1
    return (opened > 0 or before == 0) and _KEY_STARTS_LINE.fullmatch(text, opened, start) is not None


def to_nul(text: bytes, end: int) -> int | None:
    """Where an entry of /proc/PID/environ or cmdline ends, which may hold blanks; None where no NUL ends it."""
    entry = _ENTRY.match(text, end, min(len(text), end + LINE_BYTES))
    return entry.end() if entry and text[entry.end() : entry.end() + 1] == b"\0" else None


def assigned_token(found: re.Match[bytes]) -> Span | None:
    """A token's key: anything that is quoted or in the environment; else, as code has variables, what is drawn by lot."""
    start, _ = whole(found)
    return assigned(found) if found.string[start - 1] in b"\"'" or found[0][:3].isupper() else random_looking(found)


def bare_pass(found: re.Match[bytes]) -> Span | None:
    """``pass=…`` and ``pwd=…``, but not the working directory, a count of tests or prose."""
    text = found.string
    start, end = whole(found)
    value = text[start : min(end, start + PLAIN_BYTES + 1)]
    before = text[found.start() - 1 : found.start()]
    if (value[:1] in b"/~" and before != b"_") or text[start - 1] == ord("`") or _COUNT.fullmatch(value):
        return None
    prose = text[start - 1] not in b"\"'" and b": " in text[found.start() : start]
    span = assigned(found)
    return None if span and prose and (b" " in text[slice(*span)] or not _opens_line(found)) else span


def basic(found: re.Match[bytes]) -> Span | None:
    """Base64 that reads as name:password."""
    start, end = whole(found)
    value = found.string[start:end]
    try:
        plain = base64.b64decode(value + b"=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        return None
    name, colon, _ = plain.partition(b":")
    return (start, end) if colon and name.isascii() and name.decode("ascii").isprintable() else None


_AUTHORIZATION_GROUPS_WITH_SCHEME = 2


def authorization(found: re.Match[bytes]) -> Span | None:
    """A header's credentials: anything after a known scheme, else only what looks drawn by lot."""
    if (found.lastindex or 0) > _AUTHORIZATION_GROUPS_WITH_SCHEME:
        return random_looking(found)
    start, end = whole(found)
    return None if harmless(found.string[start : min(end, start + PLAIN_BYTES + 1)]) else (start, end)


# --- shapes ---------------------------------------------------------------------------------------

_CARD = re.compile(
    rb"4[0-9]{15}|5[1-5][0-9]{14}|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}"
    rb"|3[47][0-9]{13}|6(?:011|5[0-9]{2}|4[4-9][0-9]|2[0-9]{2})[0-9]{12}|35(?:2[89]|[3-8][0-9])[0-9]{12}"
)
_GROUP_FOLLOWS = re.compile(rb"[ -]{1,2}[0-9]{4}")
_AZURE_START = re.compile(rb"[A-Za-z0-9_~.-]{3}")
_COUNTER = re.compile(
    rb"(?i:id|lsn|seq|offset|timer?|wait|pos|bytes|count|total|ns|ps|us|ino|inode|no|number|nr)[\"']?[ \t]*[=:][ \t]*[\"']?"
    rb"|(?i:offset|lsn|position|sequence(?: number)?)[ \t]+"
)


def card(found: re.Match[bytes]) -> Span | None:
    """A number of a card network with a right check digit.

    One in sixty numbers of 16 digits would pass, so a bare number in a column of a table or under a counter's name stays.
    """
    start, end = whole(found)
    text = found.string
    digits = text[start:end].translate(None, b" -")
    if not _CARD.fullmatch(digits) or not _luhn(digits):
        return None
    before = text[max(0, start - 24) : start]
    bare = len(digits) == end - start
    if not bare and (text[start - 2 : start - 1].isdigit() or _GROUP_FOLLOWS.match(text, end)):
        return None  # four of many columns
    counter = bare and (before.endswith(b"\t") or any(m.end() == len(before) for m in _COUNTER.finditer(before)))
    return None if counter else (start, end)


def _luhn(digits: bytes) -> bool:
    """The check digit of ISO/IEC 7812-1."""
    values = [digit - 48 for digit in reversed(digits)]
    return sum(values[0::2] + [(2 * value) // 10 + (2 * value) % 10 for value in values[1::2]]) % 10 == 0


def azure_secret(found: re.Match[bytes]) -> Span | None:
    """An Entra client secret: its mark is the fourth to sixth character."""
    start, end = found.start() - 3, found.end()
    return (start, end) if _AZURE_START.fullmatch(found.string, start, found.start()) else None


def whole_password(found: re.Match[bytes]) -> Span:
    """``name:pass:word@tcp(…)``: the password starts after the first colon of its run."""
    start, end = whole(found)
    run = re.search(rb"[^ \t\r\n\0\"'=]*+\Z", found.string[max(0, start - LINE_BYTES) : start])
    first = run[0].find(b":") if run else -1
    return (start - len(run[0]) + first + 1, end) if run and first >= 0 else (start, end)

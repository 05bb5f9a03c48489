"""The signs and words of a statement, cut as MySQL and MariaDB cut them in our sessions.

A session's `sql_mode` is set to one value before anything is asked (`mysql_connection.session_limits`), so that quotes,
backslashes and blanks mean one thing on every server. Parsers of SQL in general, sqlglot for one, read other dialects
and other comments than the server does; a guard must not understand more than the server, so it cuts by itself, and
whatever the two could cut differently is refused: signs outside of quotes that no reading statement needs, comments
with a meaning, and numbers that a word follows at once (``1.5INTO`` is a number and INTO to the server).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto


class Kind(Enum):
    """What a token is."""

    WORD = auto()  # a keyword, a bare name, a number
    NAME = auto()  # in backticks
    VALUE = auto()  # a string, or a parameter
    VARIABLE = auto()  # @@name of the server
    SIGN = auto()


@dataclass(frozen=True, slots=True)
class Token:
    """One piece of a statement, as it is written."""

    kind: Kind
    text: str

    @property
    def upper(self) -> str:
        """In upper case, as keywords are compared."""
        return self.text.upper()


class Unreadable(Exception):
    """A text that the server may read otherwise than we do."""

    def __init__(self, message: str, cure: str) -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure


_TOKEN = re.compile(
    r"""
      (?P<blank> [ \t\r\n]++ | --(?=[ \t\r\n]|\Z)[^\n]*+ | \#[^\n]*+ | /\*(?!M?!|\+)(?:[^*]|\*(?!/))*+\*/ )
    | (?P<VALUE> %\([^()\s]++\)s | '(?:[^'\\]|\\.|'')*+' | "(?:[^"\\]|\\.|"")*+" )
    | (?P<NAME> `(?:[^`]|``)*+` )
    | (?P<VARIABLE> @@[A-Za-z_][\w.$]*+ )
    | (?P<WORD> [A-Za-z0-9_$\x80-\U0010ffff]++ )
    | (?P<SIGN> [(),;.*+\-%<>=!|&^~] | /(?!\*) )
    """,
    re.VERBOSE | re.DOTALL,
)
_NUMBER = re.compile(r"[0-9]++(?:[eE][0-9]*+)?|0[xX][0-9A-Fa-f]++|0[bB][01]++")
_UNREADABLE: tuple[tuple[str, str, str], ...] = (
    ("/*!", "has a comment that the server executes (`/*!`)", "write the text of each flavour under its own key"),
    ("/*M!", "has a comment that the server executes (`/*M!`)", "write the text of each flavour under its own key"),
    (
        "/*+",
        "has a comment that changes how the server works (`/*+`)",
        "take it out: time and rows are limited already",
    ),
    ("/*", "has a quote or a comment that is never closed", "close it"),
    ("'", "has a quote or a comment that is never closed", "close it"),
    ('"', "has a quote or a comment that is never closed", "close it"),
    ("`", "has a quote or a comment that is never closed", "close it"),
    ("@", "uses a variable of the session (`@`)", "use a parameter, or a subquery"),
)


def tokens_of(text: str) -> Iterator[Token]:
    """Yield the tokens of *text*, without blanks and comments. Raises Unreadable at the first thing of doubt."""
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            raise _unreadable(text[at:])
        at = found.end()
        if found.lastgroup == "blank":
            continue
        token = Token(Kind[found.lastgroup], found[0])
        if token.kind is Kind.WORD and token.text[0].isdecimal() and not _NUMBER.fullmatch(token.text):
            raise Unreadable(
                f"has `{token.text[:40]}`, which begins like a number",
                "put a blank behind the number, or the name in backticks",
            )
        yield token


def _unreadable(rest: str) -> Unreadable:
    for start, message, cure in _UNREADABLE:
        if rest.startswith(start):
            return Unreadable(message, cure)
    return Unreadable(f"has the sign {rest[0]!a} outside of quotes", "take it out, or put it in quotes")

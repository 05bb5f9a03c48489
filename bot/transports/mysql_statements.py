"""Which statements a capture may send: reading ones, one at a time."""

from __future__ import annotations

import re
from itertools import pairwise

_HEADS = ("SELECT", "SHOW", "EXPLAIN", "WITH")
_VERBS = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "TABLE", "VALUES"})
_LOCKING = frozenset({("FOR", "UPDATE"), ("FOR", "SHARE"), ("LOCK", "IN")})
_TOKEN = re.compile(
    r"""(?P<quoted> '(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `[^`]*` )
      | (?P<comment> /\*.*?\*/ | \#[^\n]* | --(?=\s|$)[^\n]* )
      | (?P<word> [A-Za-z_@$][\w@$]* )
      | (?P<mark> [();] )""",
    re.VERBOSE | re.DOTALL,
)
_ONE_THING = re.compile(r"\s*SHOW\b.*\bSTATUS\s*", re.IGNORECASE | re.DOTALL)


def refusal(text: str) -> str:
    """Why *text* may not be sent, as a clause; "" when it may.

    The account's grants are the real barrier, and the read-only session the second. This one keeps a
    slip in a recipe from reaching the server at all.
    """
    words: list[tuple[str, int]] = []  # each with its depth in parentheses
    depth, ended = 0, False
    for found in _TOKEN.finditer(text):
        sign = found[0]
        if found["comment"]:
            if sign.startswith(("/*!", "/*M!")):
                return "comments that the server executes (/*! … */) are not allowed"
            continue
        if ended:
            return "only one statement is allowed"
        ended = sign == ";"
        depth += {"(": 1, ")": -1}.get(sign, 0)
        if found["word"]:
            words.append((sign.upper(), depth))
    head = words[0][0] if words else ""
    if head not in _HEADS:
        return f"it starts with {head or 'nothing'}, only {', '.join(_HEADS)} are allowed"
    verb = next((word for word, depth in words if depth == 0 and word in _VERBS), "SELECT")
    if head in ("WITH", "EXPLAIN") and verb != "SELECT":
        return f"{head} … {verb} is not allowed, only {head} … SELECT is"
    if head != "SHOW" and any(word == "INTO" for word, _ in words):
        return "SELECT … INTO is not allowed"
    if any((first, second) in _LOCKING for (first, _), (second, _) in pairwise(words)):
        return "a SELECT that takes locks is not allowed"
    return ""


def of_one_thing(text: str) -> bool:
    """Whether it is a ``SHOW … STATUS``, whose single row is a report about one thing rather than a table."""
    return bool(_ONE_THING.fullmatch(text.rstrip().removesuffix(";")))

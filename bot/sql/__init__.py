"""Which SQL a capture may send: one statement that only reads, waits for nothing and calls nothing of the user's.

The account's grants are the real barrier and the read-only session the second. This is the third: it is asked when a
file is loaded, and again about the whole text right before it is sent. What it does not understand it refuses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from bot.sql.functions import HARMFUL, READING, TAKE_PARENTHESES
from bot.sql.lexer import Kind, Token, Unreadable, tokens_of

__all__ = ["Kind", "Token", "Unreadable", "faults_of", "refusal", "tokens_of"]

Fault = tuple[str, str]  # message, cure

_HEADS = ("SELECT", "SHOW", "EXPLAIN", "DESCRIBE", "WITH")
_SHORT_HEADS = ("DESC",)
_WRITING = frozenset(
    {"CALL", "DELETE", "DUMPFILE", "INSERT", "INTO", "LOCK", "OUTFILE", "PROCEDURE", "REPLACE", "UPDATE"}
)
_ALSO_FUNCTIONS = frozenset({"INSERT", "REPLACE"})
_OF_SHOW = frozenset({"PROCEDURE"})  # SHOW PROCEDURE STATUS, SHOW CREATE PROCEDURE
_WRITING_PAIRS = frozenset({("FOR", "SHARE"), ("VALUE", "FOR")})  # a lock; the next value of a sequence
_ONLY_READS = "a recipe only reads"


def faults_of(text: str) -> Iterator[Fault]:
    """Yield what is wrong with *text*, and how to mend it; nothing where it may be sent.

    ``%(name)s`` stands for a value; what it names is not looked at.
    """
    try:
        tokens = list(tokens_of(text))
    except Unreadable as unreadable:
        yield unreadable.message, unreadable.cure
        return
    while tokens and tokens[-1].text == ";":
        tokens.pop()
    head = next((token.upper for token in tokens if token.text != "("), "")
    if head not in _HEADS and head not in _SHORT_HEADS:
        *most, last = (f"`{word}`" for word in _HEADS)
        yield f"does not begin with {', '.join(most)} or {last}", f"{_ONLY_READS}; take the statement out"
    elif word := _writing(tokens, head):
        yield f"holds `{word}`, which writes or locks", f"{_ONLY_READS}; a column of that name needs backticks"
    else:
        yield from dict.fromkeys(_calls(tokens))
    if any(token.text == ";" for token in tokens):
        yield "holds several statements (`;`)", "make each an entry of the list, with a name of its own"


def refusal(text: str) -> str:
    """Why *text* may not be sent, as a clause; "" when it may."""
    return next((f"it {message} — {cure}" for message, cure in faults_of(text)), "")


def _writing(tokens: Sequence[Token], head: str) -> str:
    """The first word, or pair of words, that writes or locks; "" where there is none."""
    for token, after in pairwise([*tokens, Token(Kind.SIGN, "")]):
        if token.kind is not Kind.WORD:
            continue
        if (token.upper, after.upper) in _WRITING_PAIRS:
            return f"{token.upper} {after.upper}"
        if (
            token.upper in _WRITING
            and not (token.upper in _ALSO_FUNCTIONS and after.text == "(")
            and not (token.upper in _OF_SHOW and head == "SHOW")
        ):
            return token.upper
    return ""


def _calls(tokens: Sequence[Token]) -> Iterator[Fault]:
    """Yield a fault for each function that is called and is none of the server's own that only read."""
    for place, (token, after) in enumerate(pairwise(tokens)):
        if after.text != "(" or token.kind not in (Kind.WORD, Kind.NAME):
            continue
        before = tokens[place - 1] if place else Token(Kind.SIGN, "")
        if before.upper == "AS" or _names_a_table(tokens, place + 1):
            continue
        if token.kind is Kind.NAME or before.text == ".":
            yield f"calls {token.text}, a function of somebody's own", "use the server's own functions, without quotes"
        elif token.upper in HARMFUL:
            yield f"calls `{token.upper}`, which {HARMFUL[token.upper]}", "take it out"
        elif token.upper not in READING and token.upper not in TAKE_PARENTHESES:
            yield (
                f"calls `{token.upper}`, which is none of the server's functions that only read",
                "what it does cannot be told; take it out, or put a comma or an operator before the parenthesis",
            )


def _names_a_table(tokens: Sequence[Token], opening: int) -> bool:
    """``name (columns) AS (…``, as in WITH: no call is ever followed so."""
    depth = 0
    for place in range(opening, len(tokens)):
        depth += {"(": 1, ")": -1}.get(tokens[place].text, 0)
        if depth == 0:
            rest = tokens[place + 1 : place + 3]
            return [token.upper for token in rest] == ["AS", "("]
    return False

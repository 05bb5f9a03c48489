"""Grants: the least that statements need of an account, and what an account has that is more than seeing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from bot.sql import Kind, Token, Unreadable, tokens_of
from bot.transports.mysql_errors import SEEING, Server

# EXECUTE shows only where its functions do, as those of sys.
_SEEING_THERE = {"EXECUTE": ("`sys`.*", "PROCEDURE `sys`.", "FUNCTION `sys`.")}
_PASSWORDS_IN = ("*.*", "`mysql`.*", "`mysql`.`user`", "`mysql`.`global_priv`")
_GRANT = re.compile(r"GRANT (?P<what>.+?) ON (?P<where>(?:(?:PROCEDURE|FUNCTION|TABLE) )?\S+) TO ")
_ROLE = re.compile(r"GRANT (?P<role>\S+(?:, ?\S+)*) TO ")

_ALL_OF = frozenset({"performance_schema", "sys"})
_FROM = frozenset({"FROM", "JOIN", "STRAIGHT_JOIN"})
_ENDS_FROM = frozenset({"WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "UNION", "WINDOW", "SELECT", "ON", "USING"})
_FROM_INSIDE = frozenset({"EXTRACT", "TRIM", "SUBSTRING", "SUBSTR", "MID"})  # SUBSTRING(x FROM 2)


def too_much(grants: Iterable[str]) -> list[str]:
    """The privileges in *grants* (lines of SHOW GRANTS) that let the account change something, each with where.

    Whatever is not known to show only counts.
    """
    found = []
    for grant in grants:
        if match := _GRANT.match(grant):
            where = match["where"]
            names = [name.strip() for name in re.sub(r"\([^()]*\)", "", match["what"]).split(",")]
            found += [f"{name} ON {where}" for name in names if not _only_shows(name.upper(), where)]
            if "WITH GRANT OPTION" in grant:
                found.append(f"GRANT OPTION ON {where}")
        elif role := _ROLE.match(grant):
            found.append(f"the role {role['role']}")
    return found


def passwords_in(grants: Iterable[str]) -> str:
    """The grant in *grants* that shows the password hashes of all accounts, "" where none does."""
    for grant in grants:
        match = _GRANT.match(grant)
        if match and match["where"] in _PASSWORDS_IN and re.search(r"\bSELECT\b|\bALL PRIVILEGES\b", match["what"]):
            return f"SELECT ON {match['where']}"
    return ""


def _only_shows(name: str, where: str) -> bool:
    return name in SEEING or where.startswith(_SEEING_THERE.get(name, ("nowhere",)))


def least(server: Server, texts: Iterable[str], *, database: str | None) -> list[str]:
    """The GRANTs with which *texts*, reading statements, run on *server*; names without a schema are of *database*.

    What lets an account do more than see is left out, whoever asks for it: SHOW REPLICAS wants such a right.
    """
    everywhere, tables = {"PROCESS"}, set()
    for text in texts:
        try:
            tokens = list(tokens_of(text))
        except Unreadable:
            continue
        everywhere |= set(_shown(server, tokens))
        tables |= set(_read(tokens, database))
    order = ("PROCESS", "REPLICATION CLIENT", "SLAVE MONITOR", "BINLOG MONITOR")
    names = [name for name in order if name in everywhere]
    return [
        f"GRANT {', '.join(names)} ON *.* TO {server.account}",
        *(f"GRANT SELECT ON {table} TO {server.account}" for table in sorted(tables)),
        *([f"GRANT EXECUTE ON sys.* TO {server.account}"] if "sys.*" in tables else []),
    ]


def _shown(server: Server, tokens: Sequence[Token]) -> Iterator[str]:
    """The privileges of the whole server that a SHOW needs."""
    words = [token.upper for token in tokens if token.kind is Kind.WORD]
    if not words or words[0] != "SHOW":
        return
    mariadb_10_5 = server.flavour == "mariadb" and server.version >= (10, 5, 2)
    if "STATUS" in words and {"REPLICA", "REPLICAS", "SLAVE", "SLAVES"} & set(words):
        yield "SLAVE MONITOR" if mariadb_10_5 else "REPLICATION CLIENT"
    elif {"BINLOG", "BINARY", "MASTER"} & set(words) and {"STATUS", "LOGS"} & set(words):
        yield "BINLOG MONITOR" if mariadb_10_5 else "REPLICATION CLIENT"


def _read(tokens: Sequence[Token], database: str | None) -> Iterator[str]:
    """What must be readable, as a GRANT names it."""
    named = {token.upper for place, token in enumerate(tokens) if _names_a_query(tokens, place)} | {"DUAL"}
    for place in _table_places(tokens):
        names = [token.text.strip("`") for token in tokens[place : place + 3]]
        if names[1:2] == ["."]:
            yield from _granted(names[0], names[2])
        elif database is not None and tokens[place].upper not in named:
            yield from _granted(database, names[0])


def _table_places(tokens: Sequence[Token]) -> Iterator[int]:
    """Where a table is named: behind FROM and JOIN, and behind the commas of a FROM."""
    opened = [("", False)]  # by depth: the word before the parenthesis, and whether a comma goes on with tables
    expected = False
    for place, token in enumerate(tokens):
        if expected and token.kind in (Kind.WORD, Kind.NAME):
            yield place
        expected = False
        word, listing = opened[-1]
        if token.text == "(":
            opened.append((tokens[place - 1].upper if place else "", False))
        elif token.text == ")" and len(opened) > 1:
            opened.pop()
        elif token.kind is Kind.WORD and token.upper in _FROM:
            expected = word not in _FROM_INSIDE
            opened[-1] = (word, expected)
        elif token.kind is Kind.WORD and token.upper in _ENDS_FROM:
            opened[-1] = (word, False)
        elif token.text == ",":
            expected = listing


def _names_a_query(tokens: Sequence[Token], place: int) -> bool:
    """``WITH name AS (``, ``, name AS (``, ``WITH name (columns) AS (``."""
    after = [token.upper for token in tokens[place + 1 : place + 3]]
    begins = place > 0 and tokens[place - 1].upper in ("WITH", "RECURSIVE")
    return after == ["AS", "("] or (begins and after[:1] == ["("])


def _granted(schema: str, table: str) -> Iterator[str]:
    """All of the schemas in which a server tells of itself, one table of any other."""
    if schema.lower() in _ALL_OF:
        yield f"{schema.lower()}.*"
    elif schema.lower() != "information_schema":  # which everybody may read
        yield f"{_quoted(schema)}.{_quoted(table)}"


def _quoted(name: str) -> str:
    return name if re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) else f"`{name.replace('`', '``')}`"

"""The chain: each row of the journal has a hash that depends on all rows before it.

The hash is SHA-256, in hex, over the hash of the row before (64 zeros before the first) as ASCII, and then these fields as
netstrings: ``seq`` in decimal, ``at``, ``type``, ``capture_id``, ``key`` and ``body``, each as the bytes that are stored.
A netstring is the length in bytes, a colon, the bytes and a comma; NULL is a bare minus with a comma. The last row's
number and hash stand in a table of their own, the head: a row that is cut off the end is missed, and whoever writes
takes the head's lock, so that several processes make one chain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, inspect, select, text, update

from bot.journal.tables import events, head

BEGINNING = "0" * 64
FIELDS = ("seq", "at", "type", "capture_id", "key", "body")
PAGE_ROWS = 1000  # read at once
_LOCK = 7_246_213  # of PostgreSQL's advisory locks, while tables are made

_newest = select(func.max(events.c.seq)).scalar_subquery()
_head = select(head.c.seq, head.c.hash, _newest.label("newest")).with_for_update()
_chain = update(events).where(events.c.seq == bindparam("of_seq")).values(hash=bindparam("its_hash"))
_advance = update(head).values(seq=bindparam("to_seq"), hash=bindparam("to_hash"))


@dataclass(frozen=True, slots=True)
class Head:
    """The last row's number and hash."""

    seq: int
    hash: str


def hash_of(before: str, row: Mapping[str, Any]) -> str:
    """The hash of a row that follows the one with the hash *before*; text may be given as its bytes."""
    digest = hashlib.sha256(before.encode())
    for field in FIELDS:
        digest.update(_netstring(row[field]))
    return digest.hexdigest()


def _netstring(value: bytes | str | int | None) -> bytes:
    if value is None:
        return b"-,"
    raw = value if isinstance(value, bytes) else str(value).encode()
    return b"%d:%b," % (len(raw), raw)


def lock(connection: Connection) -> tuple[Head, int]:
    """The head, which is this transaction's alone from now on, and the number of the next row.

    That is the one after the head's, unless somebody put rows behind the chain: those are stepped over, and found by `proof`.
    """
    row = connection.execute(_head).one()
    return Head(row.seq, row.hash), max(row.seq, row.newest or 0) + 1


def advance(connection: Connection, to: Head) -> None:
    """Let the chain end with *to*."""
    connection.execute(_advance, {"to_seq": to.seq, "to_hash": to.hash})


def prepare(connection: Connection) -> int | None:
    """Make the head where there is none; how many rows of an older version were chained as they were found, None for a head that was there."""
    there = {one["name"] for one in inspect(connection).get_columns("events")}
    if "hash" not in there:
        connection.execute(text("ALTER TABLE events ADD COLUMN hash VARCHAR(64)"))
    if connection.execute(select(head.c.seq)).first() is not None:
        return None
    last, rows = Head(0, BEGINNING), 0
    for page in _pages(connection):
        unchained: list[dict[str, Any]] = []
        for row in page:
            last = Head(row["seq"], row["hash"] or hash_of(last.hash, row))
            if row["hash"] is None:
                unchained.append({"of_seq": last.seq, "its_hash": last.hash})
        if unchained:
            connection.execute(_chain, unchained)
            rows += len(unchained)
    connection.execute(insert(head).values(id=1, seq=last.seq, hash=last.hash))
    return rows


def alone(connection: Connection) -> None:
    """Let no other process make tables in this transaction; SQLite's begins with its lock."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def _pages(connection: Connection) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Every row, in pages: what is read is changed on the way."""
    after = -1
    query = select(events).order_by(events.c.seq).limit(PAGE_ROWS)
    while page := connection.execute(query.where(events.c.seq > after)).mappings().all():
        yield list(map(dict, page))
        after = page[-1]["seq"]

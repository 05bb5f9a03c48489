"""Writes events into the journal, each chained to the one before, with all that follows from them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

from pydantic import Field, TypeAdapter
from sqlalchemy import Connection, insert

from bot.journal import chain
from bot.journal.chain import Head
from bot.journal.tables import derive, events, tables
from bot.model import Event, Sealed, capture_of, key_of

event_json: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="type")])
_insert = insert(events)


def prepare(connection: Connection, *, owner: str, now: datetime) -> None:
    """Make the tables where they are missing; chain the rows of an older version, and say so in an event."""
    chain.alone(connection)
    tables.create_all(connection)
    rows = chain.prepare(connection)
    if rows is not None and chain.lock(connection)[0].seq:
        write(connection, (Sealed(rows=rows, at=now),), owner=owner)


def write(connection: Connection, written: Iterable[Event], *, owner: str) -> int:
    """Write events and what follows from them; returns the number of the last. Raises IntegrityError for one that is there."""
    head, seq = chain.lock(connection)
    waiting = deque(written)
    while waiting:
        one = waiting.popleft()
        row = {
            "seq": seq,
            "at": one.at.isoformat(),
            "type": one.type,
            "capture_id": capture_of(one),
            "key": key_of(one),
            "body": event_json.dump_json(one).decode(),
        }
        head = Head(seq, chain.hash_of(head.hash, row))
        connection.execute(_insert, {**row, "hash": head.hash})
        waiting.extend(derive(connection, seq, one, owner=owner))
        seq += 1
    chain.advance(connection, head)
    return head.seq

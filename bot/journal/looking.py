"""Looks at a journal from outside, without a bot and without writing into it: all its rows as they were at one moment."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    Select,
    and_,
    cast,
    create_engine,
    func,
    inspect,
    literal,
    make_url,
    select,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from bot.errors import JournalError
from bot.journal.chain import FIELDS
from bot.journal.tables import events

PAGE_ROWS = 1000  # read at once
BUSY_TIMEOUT_S = 10.0


@contextmanager
def opened(url: str) -> Iterator[Connection]:
    """A connection to the journal at *url*, in one transaction that reads. Raises JournalError where there is none."""
    try:
        with _connected(url) as connection:
            columns = {one["name"] for one in inspect(connection).get_columns("events")}
            if "hash" not in columns:
                raise JournalError("This journal has no chain yet: start this version of capturebot on it once.")
            yield connection
    except (SQLAlchemyError, ImportError, UnicodeDecodeError) as error:  # the last of a damaged SQLite file
        raise JournalError(f"The journal cannot be read ({getattr(error, 'orig', None) or error}).") from error


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    made = make_url(url)
    if made.get_backend_name() != "sqlite":
        engine = create_engine(url, poolclass=NullPool, isolation_level="REPEATABLE READ")
        with engine.connect() as connection:
            yield connection
        return
    path = Path(made.database or "")
    if not path.is_file():
        raise JournalError(f"There is no journal at {path}.")

    def connect() -> sqlite3.Connection:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        return sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)

    with create_engine("sqlite://", creator=connect, poolclass=NullPool).connect() as connection:
        connection.exec_driver_sql("BEGIN")
        yield connection


def rows(connection: Connection, *, since: datetime | None = None) -> Iterator[Mapping[str, Any]]:
    """Every row from *since* on, in order.

    Text is given as the bytes that are stored; ``fits`` is false where something else than text is.
    """
    start, query = _before(connection, since), _raw(connection).order_by(events.c.seq)
    while page := connection.execute(query.where(events.c.seq > start).limit(PAGE_ROWS)).mappings().all():
        yield from map(dict, page)
        start = page[-1]["seq"]


def row(connection: Connection, seq: int) -> Mapping[str, Any] | None:
    """One row, as `rows` has it."""
    found = connection.execute(_raw(connection).where(events.c.seq == seq)).mappings().one_or_none()
    return None if found is None else dict(found)


def row_before(connection: Connection, seq: int) -> Mapping[str, Any] | None:
    """The row in front of one, as `rows` has it."""
    query = _raw(connection).where(events.c.seq < seq).order_by(events.c.seq.desc()).limit(1)
    found = connection.execute(query).mappings().one_or_none()
    return None if found is None else dict(found)


def _before(connection: Connection, since: datetime | None) -> int:
    """The number after which the rows from *since* on begin."""
    if since is None:
        return -(2**62)  # also what somebody numbered below the first
    newer = select(func.min(events.c.seq)).where(events.c.at >= since.astimezone(UTC).isoformat())
    found: int | None = connection.execute(newer).scalar()
    return found - 1 if found is not None else 2**62


def _raw(connection: Connection) -> Select[Any]:
    texts = [events.c[name] for name in (*FIELDS[1:], "hash")]
    if connection.dialect.name == "sqlite":
        raw = [cast(one, LargeBinary).label(one.name) for one in texts]
        kinds = [func.typeof(one).in_(["text", "null"] if one.nullable else ["text"]) for one in texts]
        fits: ColumnElement[bool] = and_(*kinds)
    else:
        raw = [func.convert_to(one, "UTF8").label(one.name) for one in texts]
        fits = literal(value=True)
    return select(events.c.seq, *raw, fits.label("fits"))

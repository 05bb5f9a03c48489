"""The database behind the journal: SQLite that survives the loss of power, or what its URL names."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from bot.errors import JournalError

BUSY_TIMEOUT_S = 10  # how long SQLite waits for another process's lock
_WRITES = "capturebot_writes"


def open_engine(url: str) -> Engine:
    """An engine for an SQLAlchemy *url*; nothing is opened yet. Raises JournalError for a URL that cannot be used."""
    try:
        if url in {"sqlite://", "sqlite:///:memory:"}:
            engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
        else:
            engine = create_engine(url, pool_pre_ping=True)
    except (SQLAlchemyError, ImportError) as error:
        raise JournalError(f"The journal's URL cannot be used: {error}") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _harden)
        event.listen(engine, "begin", _begin)
    return engine


def writes_of(engine: Engine) -> Engine:
    """The same engine, for transactions that write."""
    return engine.execution_options(**{_WRITES: True})


def _harden(connection: Any, _record: object) -> None:
    """Survive kill -9 and power loss, and wait for another process instead of failing."""
    connection.isolation_level = None  # `_begin` begins what is to be a transaction
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_S * 1000}")
    cursor.close()


def _begin(connection: Connection) -> None:
    """Take SQLite's lock before anything is read, so that what is written fits what was read."""
    if connection.get_execution_options().get(_WRITES):
        connection.exec_driver_sql("BEGIN IMMEDIATE")

"""The journal's tables: the events, and what is derived from them in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    and_,
    delete,
    insert,
    select,
    update,
)

from bot.model import Accepted, Event, Finished, Heard, Linked, Place, Shown

DELIVERIES_KEPT_S = 7 * 24 * 3600.0  # PagerDuty tries again for 48 hours

tables = MetaData()
# SQLite counts only INTEGER keys up by itself.
_Sequence = BigInteger().with_variant(Integer(), "sqlite")

events = Table(
    "events",
    tables,
    Column("seq", _Sequence, primary_key=True, autoincrement=True),
    Column("at", String(40), nullable=False),
    Column("type", String(20), nullable=False),
    Column("capture_id", String(20), index=True),
    Column("key", String(255), unique=True),
    Column("body", Text, nullable=False),
)
captures = Table(
    "captures",
    tables,
    Column("id", String(20), primary_key=True),
    Column("seq", _Sequence, nullable=False, index=True),
    Column("incident", String(255), index=True),
    Column("channel", String(64), index=True),
    Column("owner", String(255), nullable=False),
    Column("ended", Boolean, nullable=False, default=False),
)
links = Table(
    "links",
    tables,
    Column("channel", String(64), primary_key=True),
    Column("incident", String(255), nullable=False, index=True),
)
incidents = Table(
    "incidents",
    tables,
    Column("id", String(64), primary_key=True),
    Column("seq", _Sequence, nullable=False),  # of the event that happened last
    Column("at", Float, nullable=False),  # when that was, in seconds since the epoch
    Column("opened_at", Float),  # the last time that it was opened
)
deliveries = Table(
    "deliveries",
    tables,
    Column("id", String(255), primary_key=True),
    Column("at", Float, nullable=False, index=True),
)
memories = Table(
    "memories",
    tables,
    Column("reporter", String(64), primary_key=True),
    Column("topic", String(255), primary_key=True),
    Column("seq", _Sequence, nullable=False),
    Column("body", Text, nullable=False),
)
owners = Table(
    "owners",
    tables,
    Column("name", String(255), primary_key=True),
    Column("beat_at", Float, nullable=False),  # seconds since the epoch
)
keys = Table("keys", tables, Column("name", String(64), primary_key=True), Column("value", String(64), nullable=False))


def derive(connection: Connection, seq: int, one: Event, *, owner: str) -> list[Event]:
    """Keep what follows from an event; returns the events that follow from it too.

    Raises IntegrityError for a delivery that came before.
    """
    match one:
        case Accepted(capture=capture):
            channel = capture.place.channel if capture.place else None
            row = {"id": capture.id, "seq": seq, "incident": capture.incident, "channel": channel}
            connection.execute(insert(captures).values(**row, owner=owner, ended=False))
            beat(connection, owner, capture.at)
            if channel is None and (there := _channel_of(connection, capture.incident)):
                return [Shown(capture_id=capture.id, place=Place(channel=there), at=one.at)]
        case Finished(capture_id=capture_id):
            connection.execute(update(captures).where(captures.c.id == capture_id).values(ended=True))
        case Linked(channel=channel, incident=incident):
            put(connection, links, {"channel": channel, "incident": incident}, key=("channel",))
            homeless = (captures.c.incident == incident) & captures.c.channel.is_(None)
            rows = connection.execute(select(captures.c.id).where(homeless).order_by(captures.c.seq)).all()
            return [Shown(capture_id=row.id, place=Place(channel=channel), at=one.at) for row in rows]
        case Shown(capture_id=capture_id, place=place):
            connection.execute(update(captures).where(captures.c.id == capture_id).values(channel=place.channel))
        case Heard():
            _hear(connection, seq, one)
        case _:
            pass
    return []


def beat(connection: Connection, owner: str, at: datetime) -> None:
    """Keep that *owner* was alive."""
    put(connection, owners, {"name": owner, "beat_at": at.timestamp()}, key=("name",))


def put(connection: Connection, table: Table, row: Mapping[str, Any], *, key: tuple[str, ...]) -> None:
    """Update the row with the same *key*, or insert it; portable, and safe because one thread writes."""
    same = and_(*(table.c[name] == row[name] for name in key))
    if not connection.execute(update(table).where(same).values(**row)).rowcount:
        connection.execute(insert(table).values(**row))


def _channel_of(connection: Connection, incident: str | None) -> str | None:
    """A channel that is linked to *incident*."""
    query = select(links.c.channel).where(links.c.incident == incident).order_by(links.c.channel).limit(1)
    channel: str | None = connection.execute(query).scalar() if incident else None
    return channel


def _hear(connection: Connection, seq: int, heard: Heard) -> None:
    """Know the delivery again; let an incident stand as its last event has it, in whatever order they come."""
    at = heard.at.timestamp()
    connection.execute(delete(deliveries).where(deliveries.c.at < at - DELIVERIES_KEPT_S))
    connection.execute(insert(deliveries).values(id=heard.delivery, at=at))
    call = heard.call
    if not call.status:  # of a note, which says nothing of how the incident stands
        return
    happened = call.at.timestamp()
    known = connection.execute(select(incidents).where(incidents.c.id == call.incident)).one_or_none()
    row: dict[str, Any] = {"id": call.incident}
    if known is None or known.at <= happened:
        row |= {"seq": seq, "at": happened}
    if call.opens:
        row["opened_at"] = max(happened, (known.opened_at or 0.0) if known else 0.0)
    put(connection, incidents, row, key=("id",))

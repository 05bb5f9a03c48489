"""The journal's tables: the events, and what is derived from them in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter
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

from bot.model import (
    Accepted,
    ApprovalAsked,
    ApprovalRuled,
    Capture,
    Discarded,
    Event,
    Finished,
    Heard,
    Impact,
    Joined,
    Linked,
    MarkedGood,
    Met,
    Outcome,
    Place,
    Room,
    Settled,
    Shown,
    Source,
    State,
    StepFinished,
)

DELIVERIES_KEPT_S = 7 * 24 * 3600.0  # PagerDuty tries again for 48 hours

tables = MetaData()
room_json: TypeAdapter[Room] = TypeAdapter(Room)
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
    Column("hash", String(64)),  # see `bot.journal.chain`; a process of an older version writes none
)
head = Table(
    "head",
    tables,
    Column("id", Integer, primary_key=True),  # there is one row
    Column("seq", _Sequence, nullable=False),
    Column("hash", String(64), nullable=False),
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
joins = Table(
    "joins",
    tables,
    Column("seq", _Sequence, primary_key=True),  # of the event
    Column("capture_id", String(20), nullable=False, index=True),
    Column("incident", String(255), index=True),
    Column("channel", String(64)),
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
rooms = Table(
    "rooms",
    tables,
    Column("id", String(96), primary_key=True),
    Column("seq", _Sequence, nullable=False, index=True),
    Column("incident", String(64), index=True),
    Column("owner", String(255), nullable=False),
    Column("body", Text, nullable=False),
)
goods = Table(
    "goods",
    tables,
    Column("capture_id", String(20), primary_key=True),
    Column("target", String(64), primary_key=True),
    Column("recipe", String(64), nullable=False),
    Column("asked", String(64), nullable=False, index=True),
    Column("taken_at", Float, nullable=False),  # seconds since the epoch
    Column("by_schedule", Boolean, nullable=False),
    Column("who", String(255), nullable=False),
)
scheduled = Table(
    "scheduled",
    tables,
    Column("capture_id", String(20), primary_key=True),
    Column("recipe", String(64), nullable=False),
    Column("target", String(64), nullable=False, index=True),
    Column("discarded", Boolean, nullable=False, default=False),
)
spendings = Table(  # what a capture may take of each of its targets
    "spendings",
    tables,
    Column("capture_id", String(20), primary_key=True),
    Column("target", String(64), primary_key=True, index=True),
    Column("at", Float, nullable=False, index=True),  # seconds since the epoch, when it was accepted
    Column("who", String(255), nullable=False, index=True),  # id of the person; "" where nobody asked
    Column("who_name", String(255), nullable=False),
    Column("pauses", Boolean, nullable=False),
    Column("pause_s", Float),  # as measured before; None where it was not
    Column("stored_bytes", BigInteger, nullable=False),  # likewise, 0
    Column("settled", Boolean, nullable=False, default=False),  # what it took is known
)
spent = Table(  # what each of its steps took
    "spent",
    tables,
    Column("capture_id", String(20), primary_key=True),
    Column("target", String(64), primary_key=True),
    Column("step", String(64), primary_key=True),
    Column("pause_s", Float),  # None where it does not say
    Column("seconds", Float, nullable=False),
    Column("stored_bytes", BigInteger, nullable=False),
)
approvals = Table(
    "approvals",
    tables,
    Column("id", String(20), primary_key=True),
    Column("owner", String(255), nullable=False),  # the process that shows it
    Column("until", Float, nullable=False, index=True),  # seconds since the epoch
    Column("ruled", Boolean, nullable=False, default=False, index=True),
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
        case Accepted():
            return _accept(connection, seq, one, owner)
        case Finished(capture_id=capture_id):
            connection.execute(update(captures).where(captures.c.id == capture_id).values(ended=True))
            if one.state is not State.INTERRUPTED:
                connection.execute(update(spendings).where(spendings.c.capture_id == capture_id).values(settled=True))
        case Linked():
            return _link(connection, one)
        case Joined():
            return _join(connection, seq, one)
        case Heard():
            _hear(connection, seq, one)
        case Met():
            room = Room(place=one.place, at=one.at, text=one.text, linked_by=one.by)
            row = {"id": room.id, "seq": seq, "owner": owner, "body": room_json.dump_json(room).decode()}
            connection.execute(insert(rooms).values(row))
        case Settled():
            _settle(connection, one)
        case MarkedGood():
            _mark_good(connection, one)
        case Discarded(capture_id=capture_id):
            connection.execute(delete(goods).where(goods.c.capture_id == capture_id))
            connection.execute(update(scheduled).where(scheduled.c.capture_id == capture_id).values(discarded=True))
        case _:
            _guard(connection, one, owner)
    return []


def _guard(connection: Connection, one: Event, owner: str) -> None:
    """Keep what budgets and approvals are about."""
    match one:
        case StepFinished():
            _spend(connection, one)
        case ApprovalAsked(approval_id=approval_id, until=until):
            row = {"id": approval_id, "owner": owner, "until": until.timestamp()}
            connection.execute(insert(approvals).values(row))
        case ApprovalRuled(approval_id=approval_id):
            connection.execute(update(approvals).where(approvals.c.id == approval_id).values(ruled=True))
        case _:
            pass


def beat(connection: Connection, owner: str, at: datetime) -> None:
    """Keep that *owner* was alive."""
    put(connection, owners, {"name": owner, "beat_at": at.timestamp()}, key=("name",))


def put(connection: Connection, table: Table, row: Mapping[str, Any], *, key: tuple[str, ...]) -> None:
    """Update the row with the same *key*, or insert it; portable, and safe because one thread writes."""
    same = and_(*(table.c[name] == row[name] for name in key))
    if not connection.execute(update(table).where(same).values(**row)).rowcount:
        connection.execute(insert(table).values(**row))


def _accept(connection: Connection, seq: int, accepted: Accepted, owner: str) -> list[Event]:
    capture = accepted.capture
    there = capture.place.channel if capture.place else _channel_of(connection, capture.incident)
    row = {"id": capture.id, "seq": seq, "incident": capture.incident, "channel": there}
    connection.execute(insert(captures).values(**row, owner=owner, ended=False))
    if capture.source is Source.SCHEDULE:
        row = {"capture_id": capture.id, "recipe": capture.recipe, "target": capture.targets[0]}
        connection.execute(insert(scheduled).values(row))
    connection.execute(insert(spendings), [_reserved(capture, target) for target in capture.targets])
    beat(connection, owner, capture.at)
    return [_shown(capture.id, there, accepted)] if there and capture.place is None else []


def _reserved(capture: Capture, target: str) -> dict[str, Any]:
    price = capture.prices.get(target)
    asked = capture.source in {Source.SLACK, Source.TERMINAL}
    return {
        "capture_id": capture.id,
        "target": target,
        "at": capture.at.timestamp(),
        "who": capture.who.id if asked else "",
        "who_name": capture.who.name,
        "pauses": capture.impact is Impact.PAUSES,
        "pause_s": price.pause_s if price else None,
        "stored_bytes": price.stored_bytes if price else 0,
    }


def _spend(connection: Connection, finished: StepFinished) -> None:
    result = finished.result
    paused = [finding.paused_s for finding in result.findings if finding.paused_s is not None]
    row = {
        "capture_id": finished.capture_id,
        "target": result.target,
        "step": result.step,
        "pause_s": sum(paused) if paused or result.outcome is Outcome.SKIPPED else None,
        "seconds": result.seconds,
        "stored_bytes": sum(kept.size_bytes for kept in result.kept),
    }
    put(connection, spent, row, key=("capture_id", "target", "step"))


def _join(connection: Connection, seq: int, joined: Joined) -> list[Event]:
    there = joined.place.channel if joined.place else _channel_of(connection, joined.incident)
    row = {"seq": seq, "capture_id": joined.capture_id, "incident": joined.incident, "channel": there}
    connection.execute(insert(joins).values(row))
    return [_shown(joined.capture_id, there, joined)] if there and joined.place is None else []


def _link(connection: Connection, linked: Linked) -> list[Event]:
    """Let what the incident has without a channel be shown in this one."""
    put(connection, links, {"channel": linked.channel, "incident": linked.incident}, key=("channel",))
    own = select(captures.c.id).where(captures.c.incident == linked.incident, captures.c.channel.is_(None))
    joined = select(joins.c.capture_id).where(joins.c.incident == linked.incident, joins.c.channel.is_(None))
    homeless = select(captures.c.id).where(captures.c.id.in_(own.union(joined))).order_by(captures.c.seq)
    rows = connection.execute(homeless).all()
    for table in (captures, joins):
        still = (table.c.incident == linked.incident) & table.c.channel.is_(None)
        connection.execute(update(table).where(still).values(channel=linked.channel))
    return [_shown(row.id, linked.channel, linked) for row in rows]


def _shown(capture_id: str, channel: str, cause: Accepted | Joined | Linked) -> Shown:
    return Shown(capture_id=capture_id, place=Place(channel=channel), at=cause.at)


def _channel_of(connection: Connection, incident: str | None) -> str | None:
    """A channel that is linked to *incident*."""
    query = select(links.c.channel).where(links.c.incident == incident).order_by(links.c.channel).limit(1)
    channel: str | None = connection.execute(query).scalar() if incident else None
    return channel


def _mark_good(connection: Connection, marked: MarkedGood) -> None:
    for target in marked.targets:
        row = {
            "capture_id": marked.capture_id,
            "target": target,
            "recipe": marked.recipe,
            "asked": marked.asked,
            "taken_at": marked.taken_at.timestamp(),
            "by_schedule": marked.by_schedule,
            "who": marked.who.name,
        }
        put(connection, goods, row, key=("capture_id", "target"))


def _settle(connection: Connection, news: Settled) -> None:
    body = connection.execute(select(rooms.c.body).where(rooms.c.id == news.room)).scalar_one()
    room = room_json.validate_json(body).settled(news)
    row = {"id": room.id, "incident": room.incident or None, "body": room_json.dump_json(room).decode()}
    put(connection, rooms, row, key=("id",))


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

"""Which captures belong to an incident, which incidents to a capture, which are fresh, and what they took: queries."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, Select, Table, exists, func, literal, or_, outerjoin, select

from bot.journal.tables import captures, events, joins, links, owners, rooms, spendings, spent

ROOMS_KEPT_UP = 500  # the newest
USES_AT_MOST = 10_000  # rows that a budget counts, the newest
FRESH_CAPTURES = 50  # looked through for one that does what is asked for


def of_incident(incident: str) -> Select[Any]:
    """The ids of an incident's captures, oldest first: its own, those of channels linked to it, and what it joined."""
    linked = select(links.c.channel).where(links.c.incident == incident)

    def belongs(table: Table) -> ColumnElement[bool]:
        through = table.c.incident.is_(None) & table.c.channel.in_(linked)
        return or_(table.c.incident == incident, through)

    joined = captures.c.id.in_(select(joins.c.capture_id).where(belongs(joins)))
    return select(captures.c.id).where(belongs(captures) | joined).order_by(captures.c.seq)


def told_in(channel: str) -> ColumnElement[bool]:
    """Whether a capture was taken, or joined, in a channel."""
    return (captures.c.channel == channel) | captures.c.id.in_(
        select(joins.c.capture_id).where(joins.c.channel == channel)
    )


def rooms_of(*, incident: str | None, room: str | None) -> Select[Any]:
    """The newest rooms, with the process that keeps each; of an *incident*, or one."""
    kept = select(rooms, literal(value=False).label("ended"), owners.c.beat_at)
    query = kept.outerjoin(owners, owners.c.name == rooms.c.owner).order_by(rooms.c.seq.desc()).limit(ROOMS_KEPT_UP)
    if incident is not None:
        query = query.where(rooms.c.incident == incident)
    return query if room is None else query.where(rooms.c.id == room)


def incidents_of(capture_id: str) -> CompoundSelect[Any]:
    """The incidents that a capture belongs to: its own, or its channel's, and those that joined it."""

    def incident(table: Table, one: ColumnElement[bool]) -> Select[Any]:
        there = outerjoin(table, links, links.c.channel == table.c.channel)
        return select(func.coalesce(table.c.incident, links.c.incident)).select_from(there).where(one)

    return incident(captures, captures.c.id == capture_id).union(incident(joins, joins.c.capture_id == capture_id))


def fresh(since: datetime) -> Select[Any]:
    """The acceptance (*body*) of captures, newest first, that run or ended (*end*) after *since*; none that was stopped."""
    finished, stopped = events.alias(), events.alias()
    return (
        select(events.c.body, finished.c.body.label("end"))
        .join(captures, captures.c.seq == events.c.seq)
        .outerjoin(finished, (finished.c.capture_id == captures.c.id) & (finished.c.type == "finished"))
        .where(or_(finished.c.at.is_(None), finished.c.at > since.isoformat()))
        .where(~exists().where(stopped.c.capture_id == captures.c.id, stopped.c.type == "stop_asked"))
        .order_by(captures.c.seq.desc())
        .limit(FRESH_CAPTURES)
    )


def uses(since: datetime, *, target: str = "", who: str = "", incident: str = "") -> Select[Any]:
    """What captures took of each of their targets *since* then, newest first: those of a target, a person or an incident.

    ``pause_s`` and ``stored_bytes`` are what was measured before, ``known`` counts steps that say how long they paused.
    """
    query = select(*spendings.c).where(spendings.c.at > since.timestamp())
    if target:
        query = query.where(spendings.c.target == target)
    if who:
        query = query.where(spendings.c.who == who)
    if incident:
        query = query.where(spendings.c.capture_id.in_(of_incident(incident).order_by(None)))
    steps = (spent.c.capture_id == spendings.c.capture_id) & (spent.c.target == spendings.c.target)
    return (
        query.add_columns(
            func.count(spent.c.pause_s).label("known"),
            func.coalesce(func.sum(spent.c.pause_s), 0.0).label("paused_s"),
            func.coalesce(func.sum(spent.c.seconds), 0.0).label("seconds"),
            func.coalesce(func.sum(spent.c.stored_bytes), 0).label("kept_bytes"),
        )
        .outerjoin(spent, steps)
        .group_by(*spendings.c)
        .order_by(spendings.c.at.desc())
        .limit(USES_AT_MOST)
    )

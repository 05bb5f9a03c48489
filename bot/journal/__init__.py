"""The durable event log, and the little that is derived from it.

Every event is committed before anybody acts on it. The database is SQLite by default; any other
that SQLAlchemy reaches works by its URL. All access goes through one thread, so that a slow disk
never stops the event loop, and so that events have one order.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, Engine, Row, Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from bot.errors import JournalError
from bot.journal import belonging, writing
from bot.journal.engine import BUSY_TIMEOUT_S, open_engine, writes_of
from bot.journal.tables import (
    beat,
    captures,
    events,
    incidents,
    keys,
    links,
    memories,
    owners,
    put,
    room_json,
    rooms,
    scheduled,
)
from bot.journal.writing import event_json
from bot.model import (
    Accepted,
    Capture,
    Event,
    Finished,
    Heard,
    Room,
    Standing,
    State,
    key_of,
)
from bot.tasks import Tasks

OWNERS_KEPT_S = 24 * 3600.0
BEAT_LATE_S = 40.0  # a process that gave no sign of life for this long is dead
PAGE_ROWS = 500  # events read at once
RECENT_CAPTURES = 20  # what `status` looks back on

T = TypeVar("T")

log = structlog.get_logger()

_held = select(captures.c.id, captures.c.ended, captures.c.owner, owners.c.beat_at).outerjoin(
    owners, owners.c.name == captures.c.owner
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The process that sees a capture through and tells its story, and when it last said that it lives."""

    capture_id: str
    ended: bool
    owner: str
    beat_at: datetime

    def is_dead(self, now: datetime, is_gone: Callable[[str], bool]) -> bool:
        """Whether *is_gone* knows that the process of that name does not run, or it has been silent for too long."""
        return self.beat_at + timedelta(seconds=BEAT_LATE_S) < now or is_gone(self.owner)


class Journal:
    """The event log. *owner* names this process; it is kept with each capture that it accepts."""

    def __init__(self, engine: Engine, *, owner: str) -> None:
        self._engine = engine
        self._writes = writes_of(engine)
        self.owner = owner
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self.listeners: list[Callable[[Event], None]] = []  # told of each event once it is committed
        self._news = asyncio.Condition()
        self._appends = Tasks(lambda _name, _error: None)  # whoever appends gets its error
        self._last = 0

    @classmethod
    async def open(cls, url: str, *, owner: str) -> Journal:
        """Open the journal at an SQLAlchemy *url*, making its tables where they are missing.

        Raises JournalError when it cannot be opened.
        """
        engine = open_engine(url)
        journal = cls(engine, owner=owner)
        journal._last = await journal._do(journal._prepare)
        return journal

    async def close(self) -> None:
        """Finish what is being written, say that this process lives no longer, and release the database."""
        await self._appends.drain(BUSY_TIMEOUT_S)
        try:
            await self._do(self._retire)
        except JournalError as error:
            log.warning("the journal was left without a goodbye", reason=error.reason)
        self._thread.shutdown(wait=True)
        self._engine.dispose()

    # --- writing ------------------------------------------------------------------------------

    async def append(self, *events: Event) -> int:
        """Commit *events* together; return the sequence number of the last. Raises JournalError."""
        # Shielded: what is committed is told, whether or not the caller still waits for it.
        return await asyncio.shield(self._appends.start(self._append(events), name="append"))

    async def accept(self, accepted: Event, *others: Event) -> bool:
        """Commit what is to happen once and *others*; False, and nothing written, when one with its key is there already."""
        try:
            await self.append(accepted, *others)
        except IntegrityError:
            if key_of(accepted) is None:
                raise
            return False
        return True

    async def claim(self, capture_id: str, owner: str) -> bool:
        """Take a capture over from a dead *owner*; False when somebody else was quicker."""
        mine = update(captures).where(captures.c.id == capture_id, captures.c.owner == owner)
        return bool(await self._do(lambda connection: connection.execute(mine.values(owner=self.owner)).rowcount))

    async def beat(self, at: datetime) -> None:
        """Say that this process, the owner of what it accepted, is alive."""
        await self._do(lambda connection: beat(connection, self.owner, at))

    async def remember(self, reporter: str, topic: str, seq: int, memory: Mapping[str, Any]) -> None:
        """Keep what *reporter* remembers of *topic*, told up to *seq*."""
        row = {"reporter": reporter, "topic": topic, "seq": seq, "body": json.dumps(dict(memory))}
        await self._do(lambda connection: put(connection, memories, row, key=("reporter", "topic")))

    # --- reading ------------------------------------------------------------------------------

    @property
    def last(self) -> int:
        """The sequence number of the newest event that this process knows of."""
        return self._last

    async def wait_beyond(self, seq: int, *, within_s: float | None = None) -> int:
        """Return the newest sequence number as soon as it is greater than *seq*.

        Other processes' events are noticed when *within_s* seconds are over, and it returns in any case.
        """
        try:
            async with asyncio.timeout(within_s), self._news:
                await self._news.wait_for(lambda: self._last > seq)
        except TimeoutError:
            await self._tell(await self._ask(self._newest))
        return self._last

    async def after(self, seq: int, *, only: str | None = None) -> list[tuple[int, Event]]:
        """At most PAGE_ROWS events that follow *seq*, in order; *only* those of a type."""
        query = select(events.c.seq, events.c.body).where(events.c.seq > seq).order_by(events.c.seq)
        if only is not None:
            query = query.where(events.c.type == only)
        rows = await self._ask(lambda connection: connection.execute(query.limit(PAGE_ROWS)).all())
        return [(row.seq, event_json.validate_json(row.body)) for row in rows]

    async def events(self, capture_id: str) -> list[Event]:
        """All events of one capture, in order; empty when there is no such capture."""
        query = select(events.c.body).where(events.c.capture_id == capture_id).order_by(events.c.seq)
        rows = await self._ask(lambda connection: connection.execute(query).all())
        return [event_json.validate_json(row.body) for row in rows]

    async def keyed(self, key: str) -> Event | None:
        """The event that has *key*, if any."""
        query = select(events.c.body).where(events.c.key == key)
        body: str | None = await self._ask(lambda connection: connection.execute(query).scalar())
        return None if body is None else event_json.validate_json(body)

    async def rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        """What *query* finds, for rooms that have tables of their own in `bot.journal.tables`."""
        return await self._ask(lambda connection: connection.execute(query).all())

    async def recent(self, *, channel: str | None = None, most: int = RECENT_CAPTURES) -> list[str]:
        """The ids of the newest captures that somebody asked for, newest first."""
        asked = captures.c.id.not_in(select(scheduled.c.capture_id))
        query = select(captures.c.id).where(asked).order_by(captures.c.seq.desc()).limit(most)
        if channel is not None:
            query = query.where(belonging.told_in(channel))
        return [row.id for row in await self._ask(lambda connection: connection.execute(query).all())]

    async def unfinished(self) -> list[Holder]:
        """Who holds the captures that have no end yet, oldest capture first."""
        query = _held.where(~captures.c.ended).order_by(captures.c.seq)
        return [_holder(row) for row in await self._ask(lambda connection: connection.execute(query).all())]

    async def holder(self, capture_id: str) -> Holder:
        """Who accepted a capture, or took it over."""
        query = _held.where(captures.c.id == capture_id)
        return _holder(await self._ask(lambda connection: connection.execute(query).one()))

    async def of_incident(self, incident: str) -> list[str]:
        """The ids of an incident's captures, oldest first: its own, those of channels linked to it, and what it joined."""
        query = belonging.of_incident(incident)
        return [row.id for row in await self._ask(lambda connection: connection.execute(query).all())]

    async def incidents_of(self, capture_id: str) -> set[str]:
        """The incidents that a capture belongs to: its own, or its channel's, and those that joined it."""
        query = belonging.incidents_of(capture_id)
        found = await self._ask(lambda connection: connection.execute(query).scalars().all())
        return {one for one in found if one}

    async def fresh(self, since: datetime) -> list[tuple[Capture, State | None]]:
        """Captures, newest first, that run (None) or ended after *since*; not those that somebody stopped."""
        query = belonging.fresh(since)
        found = []
        for row in await self._ask(lambda connection: connection.execute(query).all()):
            accepted = event_json.validate_json(row.body)
            end = event_json.validate_json(row.end) if row.end else None
            if isinstance(accepted, Accepted):
                found.append((accepted.capture, end.state if isinstance(end, Finished) else None))
        return found

    async def incident_of(self, channel: str) -> str | None:
        """The incident that a channel was linked to, if any."""
        query = select(links.c.incident).where(links.c.channel == channel)
        incident: str | None = await self._ask(lambda connection: connection.execute(query).scalar())
        return incident

    async def keyed_from(self, prefix: str, *, most: int) -> list[Event]:
        """The *most* newest events whose key begins with *prefix*, oldest first."""
        query = select(events.c.body).where(events.c.key.startswith(prefix, autoescape=True))
        query = query.order_by(events.c.seq.desc()).limit(most)
        rows = await self._ask(lambda connection: connection.execute(query).scalars().all())
        return [event_json.validate_json(body) for body in reversed(rows)]

    async def channels_of(self, incident: str) -> list[str]:
        """The channels that are linked to an incident."""
        query = select(links.c.channel).where(links.c.incident == incident).order_by(links.c.channel)
        return list(await self._ask(lambda connection: connection.execute(query).scalars().all()))

    async def standing(self, incident: str) -> Standing | None:
        """How an incident stands as far as PagerDuty has told; None where it never called about it."""
        query = select(events.c.body, incidents.c.opened_at).join(incidents, incidents.c.seq == events.c.seq)
        query = query.where(incidents.c.id == incident)
        if (row := await self._ask(lambda connection: connection.execute(query).one_or_none())) is None:
            return None
        heard = event_json.validate_json(row.body)
        assert isinstance(heard, Heard)  # noqa: S101  nothing else writes that table
        opened_at = None if row.opened_at is None else datetime.fromtimestamp(row.opened_at, UTC)
        return Standing(last=heard.call, opened_at=opened_at)

    async def rooms(self, *, incident: str | None = None, room: str | None = None) -> dict[str, tuple[Room, Holder]]:
        """The newest rooms by id, each with the process that keeps it; of an *incident*, or one."""
        query = belonging.rooms_of(incident=incident, room=room)
        found = await self._ask(lambda connection: connection.execute(query).all())
        return {row.id: (room_json.validate_json(row.body), _holder(row)) for row in found}

    async def claim_room(self, room: str, owner: str) -> bool:
        """Take a room over from a dead *owner*; False when somebody else was quicker."""
        mine = update(rooms).where(rooms.c.id == room, rooms.c.owner == owner)
        return bool(await self._do(lambda connection: connection.execute(mine.values(owner=self.owner)).rowcount))

    async def memory(self, reporter: str, topic: str) -> tuple[int, dict[str, Any]] | None:
        """What *reporter* remembers of *topic*, after how far it was told."""
        query = select(memories).where(memories.c.reporter == reporter, memories.c.topic == topic)
        row = await self._ask(lambda connection: connection.execute(query).one_or_none())
        return (row.seq, json.loads(row.body)) if row else None

    async def salt(self) -> bytes:
        """32 random bytes, made once with the journal: the key of the masks that redaction writes."""
        return bytes.fromhex(await self._made_once("salt", 32))

    async def name(self) -> str:
        """A random name, made once with the journal: what its copies are known by."""
        return await self._made_once("name", 8)

    async def _made_once(self, name: str, size_bytes: int) -> str:
        def read_or_make(connection: Connection) -> str:
            value: str | None = connection.execute(select(keys.c.value).where(keys.c.name == name)).scalar()
            if value is None:
                value = secrets.token_hex(size_bytes)
                connection.execute(insert(keys).values(name=name, value=value))
            return value

        return await self._do(read_or_make)

    # --- inside the thread --------------------------------------------------------------------

    async def _append(self, events: tuple[Event, ...]) -> int:
        seq = await self._do(lambda connection: writing.write(connection, events, owner=self.owner))
        for one in events:
            for listener in self.listeners:
                try:
                    listener(one)
                except Exception:  # a listener's bug must not make a committed event look lost
                    log.exception("a listener broke", event_type=one.type)
        await self._tell(seq)
        return seq

    async def _do(self, work: Callable[[Connection], T]) -> T:
        """Let *work* write, in a transaction that has the journal to itself from its start."""
        return await self._in_thread(self._writes, work)

    async def _ask(self, work: Callable[[Connection], T]) -> T:
        """Let *work* read."""
        return await self._in_thread(self._engine, work)

    async def _in_thread(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        def transact() -> T:
            with engine.begin() as connection:
                return work(connection)

        try:
            # Shielded: a cancelled caller must not leave it unknown whether its event was written.
            return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, transact))
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or error)
            raise JournalError(
                f"The journal cannot be written or read ({reason}). "
                "Free space on its disk or mend its database; nothing new is accepted until then."
            ) from error

    def _prepare(self, connection: Connection) -> int:
        now = datetime.now(UTC)
        writing.prepare(connection, owner=self.owner, now=now)
        connection.execute(delete(owners).where(owners.c.beat_at < now.timestamp() - OWNERS_KEPT_S))
        beat(connection, self.owner, now)
        return self._newest(connection)

    def _newest(self, connection: Connection) -> int:
        return connection.execute(select(events.c.seq).order_by(events.c.seq.desc()).limit(1)).scalar() or 0

    def _retire(self, connection: Connection) -> None:
        connection.execute(update(owners).where(owners.c.name == self.owner).values(beat_at=0))

    async def _tell(self, seq: int) -> None:
        async with self._news:
            self._last = max(self._last, seq)
            self._news.notify_all()


def _holder(row: Any) -> Holder:
    beat_at = datetime.fromtimestamp(row.beat_at or 0, UTC)  # an owner that is not known any more is long dead
    return Holder(capture_id=row.id, ended=row.ended, owner=row.owner, beat_at=beat_at)

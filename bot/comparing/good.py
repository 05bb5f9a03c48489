"""Captures that show targets as they are when all is well: somebody says so, or no incident was open on schedule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Row, desc, select

from bot.errors import UserError
from bot.insights import words
from bot.journal import Journal
from bot.journal.tables import captures, events, goods, incidents
from bot.model import RESOLVED, Accepted, Capture, Heard, MarkedGood, Person, Service, Source, asked_of, good_key
from bot.story import Story

SETTLED = timedelta(minutes=15)  # an incident may begin so long before anybody hears of it
OPEN_AT_MOST = timedelta(days=14)  # an incident of which nothing was heard for so long is taken for over
QUIET = timedelta(hours=2)  # after a capture for an incident that PagerDuty tells nothing of
INCIDENTS_AT_MOST = 500  # that are looked at, the latest

_heard_json: TypeAdapter[Heard] = TypeAdapter(Heard)
_accepted_json: TypeAdapter[Accepted] = TypeAdapter(Accepted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Good:
    """A capture that shows a target as it is when all is well, and who thinks so."""

    capture_id: str
    taken_at: datetime
    by_schedule: bool
    who: str

    def words(self, capture: Capture) -> str:
        """What it is to *capture*."""
        before = words.duration(max((capture.at - self.taken_at).total_seconds(), 0.0))
        return f"{before} before, {'on schedule' if self.by_schedule else f'marked good by {self.who}'}"


class Goods:
    """Marks good captures and finds them again. Everything raises JournalError."""

    def __init__(self, *, journal: Journal, services: Mapping[str, Service], now: Callable[[], datetime]) -> None:
        self._journal = journal
        self._services = services
        self._now = now

    async def mark(self, told: Story, who: Person) -> MarkedGood:
        """Keep that *who* takes a capture for good; the first who said so stays. Raises UserError."""
        if not told.state.ended or not told.artifacts:
            raise UserError(
                f"`{told.capture.id}` {'kept nothing' if told.state.ended else 'has not ended yet'}.",
                cure="Mark one that is complete; `/capture status` lists the newest.",
            )
        capture = told.capture
        marked = MarkedGood(
            capture_id=capture.id,
            recipe=capture.recipe,
            targets=capture.targets,
            asked=asked_of(capture),
            taken_at=capture.at,
            who=who,
            by_schedule=capture.source is Source.SCHEDULE,
            at=self._now(),
        )
        await self._journal.accept(marked)
        known = await self._journal.keyed(good_key(capture.id))
        assert isinstance(known, MarkedGood)  # noqa: S101  nothing else has that key
        return known

    async def before(self, capture: Capture) -> dict[str, Good]:
        """The newest good captures from before *capture* that took the same, by target."""
        found = {}
        for target in capture.targets:
            query = select(goods).where(
                goods.c.target == target,
                goods.c.asked == asked_of(capture),
                goods.c.capture_id != capture.id,
                goods.c.taken_at < capture.at.timestamp(),
                ~goods.c.by_schedule | (goods.c.taken_at < (capture.at - SETTLED).timestamp()),
            )
            for row in await self._journal.rows(query.order_by(desc(goods.c.taken_at)).limit(1)):
                found[target] = _good(row)
        return found

    async def newest(self, recipe: str, target: str) -> Good | None:
        """The newest good capture that was taken on schedule."""
        query = select(goods).where(goods.c.recipe == recipe, goods.c.target == target, goods.c.by_schedule)
        rows = await self._journal.rows(query.order_by(desc(goods.c.taken_at)).limit(1))
        return next(map(_good, rows), None)

    async def trouble(self, target: str, *, since: datetime | None = None) -> str:
        """The id of an incident that *target* has now, or has had *since*; "" where none is known.

        That is one of a service with this target, or one that the target was captured for lately.
        """
        mine = {service.pagerduty for service in self._services.values() if target in service.targets} - {""}
        query = (
            select(events.c.body, incidents.c.opened_at)
            .join(incidents, incidents.c.seq == events.c.seq)
            .where(incidents.c.at >= (self._now() - OPEN_AT_MOST).timestamp())
        )
        over = set()
        for row in await self._journal.rows(query.order_by(desc(incidents.c.at)).limit(INCIDENTS_AT_MOST)):
            call = _heard_json.validate_json(row.body).call
            is_over = call.status == RESOLVED
            if call.service in mine and not (is_over and (since is None or (row.opened_at or 0.0) < since.timestamp())):
                return call.incident
            if is_over:
                over.add(call.incident)
        lately = (self._now() - QUIET).isoformat()
        taken = select(events.c.body).join(captures, captures.c.seq == events.c.seq)
        taken = taken.where(captures.c.incident.is_not(None), events.c.at >= lately).limit(INCIDENTS_AT_MOST)
        for row in await self._journal.rows(taken):
            capture = _accepted_json.validate_json(row.body).capture
            if target in capture.targets and capture.incident and capture.incident not in over:
                return capture.incident
        return ""


def _good(row: Row[Any]) -> Good:
    return Good(
        capture_id=row.capture_id,
        taken_at=datetime.fromtimestamp(row.taken_at, UTC),
        by_schedule=row.by_schedule,
        who=row.who,
    )

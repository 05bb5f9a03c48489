"""Takes baselines: captures on schedule, of targets that have no incident, to compare later ones with."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from bot.baselines.surplus import Surplus
from bot.comparing.good import Good
from bot.desk import Desk
from bot.errors import JournalError, UserError
from bot.model import Baseline, Person, Source, Trigger

LOOK_S = 5.0  # between two looks at the clock
LATE_S = 60.0  # what is due for longer is not made up for

SCHEDULE = Person(id="schedule", name="the schedule")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Slot:
    """A time at which a target is to be captured."""

    due: datetime
    recipe: str
    target: str
    keep: int

    @property
    def key(self) -> str:
        """Of its trigger, so that it is taken once, by whichever process."""
        return f"baseline {self.recipe} {self.target} {self.due.timestamp():.0f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A baseline, when it is next taken, and the newest good capture of each target that has one."""

    baseline: Baseline
    next_due: datetime
    newest: Mapping[str, Good]


def next_slot(baseline: Baseline, target: str, after: datetime) -> Slot:
    """The first slot later than *after*. Each target has a time of its own in the interval, always the same."""
    every = round(baseline.every_s)
    offset = zlib.crc32(f"{baseline.recipe} {target}".encode()) % every
    turns = (int(after.timestamp()) - offset) // every + 1
    return Slot(
        due=datetime.fromtimestamp(turns * every + offset, UTC),
        recipe=baseline.recipe,
        target=target,
        keep=baseline.keep,
    )


def due(plan: Iterable[Baseline], *, after: datetime, until: datetime) -> Iterator[Slot]:
    """Yield what is due later than *after* and not later than *until*; of each target at most one slot a recipe."""
    for baseline in plan:
        for target in baseline.targets:
            if (slot := next_slot(baseline, target, after)).due <= until:
                yield slot


class Schedule:
    """Takes the baselines of *plan* when they are due."""

    def __init__(self, desk: Desk, plan: Iterable[Baseline], *, surplus: Surplus, now: Callable[[], datetime]) -> None:
        self._desk = desk
        self._surplus = surplus
        self._plan = tuple(plan)
        self._now = now

    async def keep(self) -> None:
        """For ever: take what is due."""
        last = self._now()
        while True:
            await asyncio.sleep(LOOK_S)
            last = await self.look(last)

    async def look(self, last: datetime) -> datetime:
        """Take what came due since the *last* look; return the time of this one.

        What was missed, because nothing ran or the machine slept, stays missed.
        """
        until = self._now()
        if (until - last).total_seconds() <= LATE_S:
            for slot in sorted(due(self._plan, after=last, until=until)):
                await self.take(slot)
        return until

    async def planned(self) -> list[Planned]:
        """How each baseline stands. Raises JournalError."""
        found = []
        for baseline in self._plan:
            each = {target: await self._desk.goods.newest(baseline.recipe, target) for target in baseline.targets}
            newest = {target: good for target, good in each.items() if good}
            next_due = min(next_slot(baseline, target, self._now()).due for target in baseline.targets)
            found.append(Planned(baseline=baseline, next_due=next_due, newest=newest))
        return found

    async def take(self, slot: Slot) -> None:
        """Capture, unless the target has an incident or something is captured of it already."""
        skipped = log.bind(recipe=slot.recipe, target=slot.target)
        try:
            if slot.target in {target for one in self._desk.underway for target in one.capture.targets}:
                skipped.info("baseline skipped: another capture runs there")
            elif incident := await self._desk.goods.trouble(slot.target):
                skipped.info("baseline skipped: an incident is open", incident=incident)
            else:
                await self._desk.accept(self._trigger(slot))
                await self._surplus.discard(slot.recipe, slot.target, keep=slot.keep)
        except UserError as refusal:
            skipped.warning("baseline refused", reason=str(refusal))
        except JournalError as error:
            skipped.warning("baseline not taken", reason=error.reason)

    def _trigger(self, slot: Slot) -> Trigger:
        return Trigger(
            recipe=slot.recipe,
            targets=(slot.target,),
            parameters={},
            who=SCHEDULE,
            source=Source.SCHEDULE,
            at=self._now(),
            key=slot.key,
        )

"""Triggers in: accept, stop, link, drain; `recovery` gives those an end that break off.

`accept` checks everything that can be checked without touching a target, commits the acceptance to
the journal and returns at once; the capture then waits for a free place and runs.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

import structlog

from bot.catalogue import Catalogue
from bot.comparing.captures import Comparisons
from bot.comparing.good import Goods
from bot.errors import JournalError, UserError
from bot.joining import Joining, Taken
from bot.journal import Journal
from bot.measuring import Measurer
from bot.model import (
    Accepted,
    Capture,
    Followed,
    Joined,
    Linked,
    Offered,
    Person,
    Place,
    Recipe,
    Refused,
    Service,
    Source,
    State,
    StepHead,
    StopAsked,
    Target,
    Trigger,
)
from bot.offers import Offers, command
from bot.recipes import bind, nearest
from bot.recovery import Recovery
from bot.runner import Job, Runner
from bot.settings import Limits
from bot.stores import Store
from bot.stores.keys import folder_of
from bot.stores.spare import Told
from bot.tasks import Tasks

ID_ALPHABET = "23456789abcdefghjkmnpqrstvwxyz"  # nothing that is misread on a phone
ID_LENGTH = 6

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Underway:
    """A capture that this process runs or will run."""

    capture: Capture
    waiting: bool


class Desk(Catalogue):
    """Takes triggers in and sees captures through.

    *prefix* is put before every object's key; *bring_home* is `SpareStore.bring_home` where *store* is one.
    """

    def __init__(
        self,
        *,
        recipes: Mapping[str, Recipe],
        targets: Mapping[str, Target],
        journal: Journal,
        runner: Runner,
        measurer: Measurer,
        store: Store,
        limits: Limits,
        prefix: str,
        now: Callable[[], datetime],
        services: Mapping[str, Service] = MappingProxyType({}),
        bring_home: Callable[[Told], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(recipes=recipes, targets=targets, services=services)
        self._journal = journal
        self._runner = runner
        self._limits = limits
        self._prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self._now = now
        self._places = asyncio.Semaphore(limits.captures_at_once)
        self._underway: dict[str, Underway] = {}
        self._tasks = Tasks(_report)
        self._arrivals = Tasks(lambda _name, _error: None)  # whoever asked gets its error
        self._door = asyncio.Lock()  # one at a time: what is free is still free when it is taken
        self._closed = False
        self._joining = Joining(journal, cooldown_s=limits.cooldown_s, now=now)
        self.offers = Offers(journal=journal, measurer=measurer, now=now)
        self.goods = Goods(journal=journal, services=services, now=now)
        self.comparisons = Comparisons(journal=journal, store=store, goods=self.goods, now=now)
        self._recovery = Recovery(
            journal=journal, store=store, runs=self._underway.__contains__, bring_home=bring_home, now=now
        )

    # --- triggers -----------------------------------------------------------------------------

    async def offer(self, trigger: Trigger, *, join: bool = True) -> Offered | None:
        """What somebody must agree to before *trigger* is accepted, measured now.

        None where nothing needs to be, there is a capture to join, or this very delivery was accepted before. Agreed to, the offer's own trigger
        is accepted. Raises as `accept` does.
        """
        if await self._is_repeated(trigger):
            return None
        try:
            recipe, targets, parameters = self._read(trigger)
            if not recipe.asks_first:
                return None
            names = [target.name for target in targets]
            if join and len(await self._joining.find(trigger, recipe, names, parameters)) == len(names):
                return None
            self._check_room(targets, of_a_set=bool(trigger.service))
            return await self.offers.make(trigger, recipe, targets, parameters)
        except UserError as refusal:
            await self._journal.append(Refused(trigger=trigger, reason=str(refusal), at=self._now()))
            raise

    def check(self, trigger: Trigger) -> None:
        """Raise UserError where `accept` would refuse what *trigger* asks for, whatever runs; nothing of it is kept."""
        self._read(trigger)

    async def accept(self, trigger: Trigger) -> Capture | None:
        """Turn *trigger* into a capture and start it; None when this very delivery was accepted before.

        Raises UserError, with the refusal kept in the journal, when it cannot be done; JournalError
        when nothing can be promised.
        """
        return (await self.take(trigger, join=False)).capture

    async def take(self, trigger: Trigger, *, join: bool = True) -> Taken:
        """As `accept`, but what is being taken of a target already, or was just now, is joined instead."""
        # Shielded: whoever asked may go away, but what was accepted is run.
        return await asyncio.shield(self._arrivals.start(self._arrive(trigger, join=join), name="arrival"))

    async def stop(self, capture_id: str, who: Person) -> Capture:
        """Ask for the end of a capture; its thread tells when it is proved. Raises UserError."""
        if (underway := self._underway.get(capture_id)) is None:
            close = nearest(capture_id, self._underway)
            running = ", ".join(self._underway) or "none"
            raise UserError(
                f"There is no running capture `{capture_id}`.",
                cure=f"Did you mean `{close}`?" if close else f"Running now: {running}.",
            )
        await self._journal.append(StopAsked(capture_id=capture_id, who=who, at=self._now()))
        self._tasks.start(self._stop(capture_id, f"Stopped by {who.name}."), name=f"stop {capture_id}")
        return underway.capture

    async def link(self, channel: str, incident: str, who: Person) -> None:
        """Tie a channel to an incident; its captures, past ones too, are told in the incident's note."""
        await self._journal.append(Linked(channel=channel, incident=incident, who=who, at=self._now()))

    async def share(self, capture: Capture, incident: str, who: Person, place: Place) -> None:
        """Tell *capture* in the note of *incident* too, which it does not belong to; again without harm."""
        joined = Joined(
            capture_id=capture.id,
            targets=capture.targets,
            who=who,
            source=Source.SLACK,
            at=self._now(),
            place=place,
            incident=incident,
            key=f"send {capture.id} {incident}",
        )
        await self._journal.accept(joined)

    @property
    def underway(self) -> tuple[Underway, ...]:
        """What runs or waits here now, oldest first."""
        return tuple(self._underway.values())

    async def recover(self, *, is_gone: Callable[[str], bool]) -> int:
        """See `Recovery.recover`."""
        return await self._recovery.recover(is_gone=is_gone)

    async def keep_watch(self, *, is_gone: Callable[[str], bool]) -> None:
        """See `Recovery.keep_watch`."""
        await self._recovery.keep_watch(is_gone=is_gone)

    async def drain(self) -> None:
        """Accept nothing more, let captures end within the limit, then stop the rest and tell their ends."""
        self._closed = True
        async with self._door:  # who was at the door is in now
            pass
        if await self._tasks.drain(self._limits.drain_s):
            return
        reason = "Stopped because capturebot itself is being shut down."
        for capture_id in self._underway:
            self._tasks.start(self._stop(capture_id, reason), name=f"stop {capture_id}")
        if await self._tasks.drain(self._limits.drain_s):
            return
        left = [underway.capture for underway in self._underway.values()]
        await self._tasks.cancel(self._limits.drain_s)
        try:
            async with asyncio.timeout(self._limits.drain_s):
                for capture in left:
                    await self._bury(capture, state=State.INTERRUPTED, reason=reason)
        except TimeoutError:
            log.warning("the next start ends what is left", captures=[capture.id for capture in left])

    async def wait_for(self, capture_id: str) -> None:
        """Return when a capture of this process has ended."""
        for task in self._tasks.named(f"capture {capture_id}"):
            await asyncio.wait([task])

    # --- inside -------------------------------------------------------------------------------

    async def _arrive(self, trigger: Trigger, *, join: bool) -> Taken:
        async with self._door:
            if await self._is_repeated(trigger):
                return Taken()
            try:
                recipe, targets, parameters = self._read(trigger)
                names = [target.name for target in targets]
                found = await self._joining.find(trigger, recipe, names, parameters) if join else {}
                incident = await self._incident(trigger)
                job = None
                if rest := [target for target in targets if target.name not in found]:
                    self._check_room(rest, of_a_set=bool(trigger.service))
                    agreed = await self.offers.agreed(trigger, recipe)
                    job = self._job(trigger, recipe, rest, parameters, incident=incident, agreed=agreed)
            except UserError as refusal:
                await self._journal.append(Refused(trigger=trigger, reason=str(refusal), at=self._now()))
                raise
            key = None if job else trigger.key
            joins = self._joining.events(trigger, found, incident=incident, key=key)
            joined = tuple({capture.id: capture for capture in found.values()}.values())
            if job is None:
                news = _followed(trigger, joined[0].id, self._now())
                return Taken(joined=joined) if await self._journal.accept(*joins, *news) else Taken()
            return Taken(capture=job.capture, joined=joined) if await self._begin(trigger, job, joins) else Taken()

    async def _begin(self, trigger: Trigger, job: Job, joins: Sequence[Joined]) -> bool:
        """Keep the acceptance and start; False where the same delivery came in elsewhere meanwhile."""
        capture = job.capture
        # Before the journal has it, so that nobody takes it for one that its process forgot.
        self._underway[capture.id] = Underway(capture=capture, waiting=True)
        accepted = False
        try:
            acceptance = Accepted(capture=capture, at=capture.at, key=trigger.key)
            accepted = await self._journal.accept(acceptance, *joins, *_followed(trigger, capture.id, capture.at))
        finally:
            if not accepted:
                del self._underway[capture.id]
        if accepted:
            self._tasks.start(self._see_through(job), name=f"capture {capture.id}")
        return accepted

    async def _incident(self, trigger: Trigger) -> str | None:
        """Its own incident, or that of the channel it comes from."""
        if trigger.incident is None and trigger.place:
            return await self._journal.incident_of(trigger.place.channel)
        return trigger.incident

    async def _is_repeated(self, trigger: Trigger) -> bool:
        return bool(trigger.key and await self._journal.keyed(trigger.key))

    async def _stop(self, capture_id: str, reason: str) -> None:
        if capture_id in self._underway:  # else it ended by itself meanwhile
            await self._runner.stop(capture_id, reason)

    def _read(self, trigger: Trigger) -> tuple[Recipe, list[Target], dict[str, str | int]]:
        """What *trigger* asks for, where there is such a thing and the desk is open. Raises UserError."""
        if self._closed:
            raise UserError("capturebot is being restarted.", cure="Ask again in a minute.")
        return self.named(trigger)

    def _job(
        self,
        trigger: Trigger,
        recipe: Recipe,
        targets: Sequence[Target],
        parameters: Mapping[str, str | int],
        *,
        incident: str | None,
        agreed: str,
    ) -> Job:
        at, capture_id = self._now(), _new_id()
        capture = Capture(
            id=capture_id,
            recipe=recipe.name,
            recipe_title=recipe.title,
            recipe_digest=recipe.digest,
            impact=recipe.impact,
            targets=tuple(target.name for target in targets),
            steps=tuple(StepHead(id=step.id, title=step.title) for step in recipe.steps),
            parameters=parameters,
            given={one.name: parameters[one.name] for one in recipe.parameters if parameters[one.name] != one.default},
            who=trigger.who,
            source=trigger.source,
            at=at,
            prefix=f"{self._prefix}{folder_of(trigger.source, incident, at)}/{capture_id}/",
            place=trigger.place,
            incident=incident,
            cost=agreed,
            force=trigger.force,
        )
        steps = tuple(bind(step, parameters) for step in recipe.steps)
        return Job(capture=capture, recipe=recipe, steps=steps, targets=tuple(targets))

    def _check_room(self, targets: list[Target], *, of_a_set: bool) -> None:
        if sum(one.waiting for one in self._underway.values()) >= self._limits.captures_waiting:
            raise UserError(
                f"{self._limits.captures_waiting} captures are waiting already.",
                cure="See `/capture status`; stop one with `/capture stop ID`.",
            )
        for target in targets if not of_a_set else ():  # a set is as long as its operator wants it
            here = [one.capture.id for one in self._underway.values() if target.name in one.capture.targets]
            if len(here) >= self._limits.captures_per_target:
                raise UserError(
                    f"{len(here)} captures of `{target.name}` are under way already ({', '.join(here)}).",
                    cure=f"Follow those, or stop one with `/capture stop {here[0]}`.",
                )

    async def _see_through(self, job: Job) -> None:
        capture = job.capture
        try:
            async with self._places:
                self._underway[capture.id] = Underway(capture=capture, waiting=False)
                await self._runner.run(job)
        except Exception as error:  # a bug must not leave its thread waiting for ever
            error_id = secrets.token_hex(4)
            log.exception("capture broke", error_id=error_id, capture=capture.id)
            reason = f"Something broke on capturebot's side ({type(error).__name__})."
            await self._bury(capture, state=State.FAILED, reason=reason, error_id=error_id)
        finally:
            del self._underway[capture.id]

    async def _bury(self, capture: Capture, *, state: State, reason: str, error_id: str = "") -> None:
        try:
            await self._recovery.bury(capture, state=state, reason=reason, error_id=error_id)
        except JournalError as trouble:  # the watch, or the next process, ends it when the journal is back
            log.warning("the end of a capture could not be written", capture=capture.id, reason=trouble.reason)


def _followed(trigger: Trigger, capture_id: str, at: datetime) -> tuple[Followed, ...]:
    """News for the capture whose button was pressed."""
    if trigger.after is None:
        return ()
    what = command(trigger)
    return (
        Followed(capture_id=trigger.after, by=capture_id, what=what, key=trigger.key or "", who=trigger.who, at=at),
    )


def _new_id() -> str:
    return "".join(secrets.choice(ID_ALPHABET) for _ in range(ID_LENGTH))


def _report(name: str, error: BaseException) -> None:
    log.error("background task died", task=name, exc_info=error)

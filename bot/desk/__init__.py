"""Triggers in: accept, stop, link, drain; `recovery` gives those an end that break off.

`accept` checks everything that can be checked without touching a target, commits the acceptance to
the journal and returns at once; the capture then waits for a free place and runs.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType

import structlog

from bot.approvals import Approved, Requests
from bot.budgets.ledger import Ledger
from bot.catalogue import Catalogue
from bot.comparing.captures import Comparisons
from bot.comparing.good import Goods
from bot.desk.handing import Handing
from bot.desk.jobs import Wanted, new_job
from bot.desk.joining import Joining, Taken
from bot.desk.offers import Offers, command
from bot.desk.recovery import Recovery
from bot.desk.sealing import seal
from bot.errors import JournalError, UserError
from bot.journal import Journal
from bot.measuring import Measurer
from bot.model import (
    Accepted,
    ApprovalAsked,
    ApprovalRuled,
    Budgets,
    Capture,
    Followed,
    Joined,
    Linked,
    Met,
    Offered,
    Person,
    Place,
    Recipe,
    Refused,
    Service,
    Source,
    State,
    StopAsked,
    Target,
    Trigger,
    Verb,
)
from bot.permission import Asker, NeedsApproval, NotAllowed, Permission, about, about_capture
from bot.recipes import nearest
from bot.runner import Job, Runner
from bot.settings import Limits
from bot.stores import Store
from bot.stores.spare import Told
from bot.tasks import Tasks

NO_BUDGETS = Budgets()

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
        permission: Permission,
        services: Mapping[str, Service] = MappingProxyType({}),
        bring_home: Callable[[Told], Awaitable[None]] | None = None,
        budgets: Budgets = NO_BUDGETS,
    ) -> None:
        super().__init__(recipes=recipes, targets=targets, services=services)
        self.permission = permission
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
        self.requests = Requests(journal, permission, now=now)
        self.ledger = Ledger(journal, budgets, now=now)
        self.offers = Offers(journal=journal, measurer=measurer, ledger=self.ledger, now=now)
        self.handing = Handing(journal=journal, store=store, permission=permission, now=now)
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
        asker = await self._asker(trigger)
        try:
            what = self._allowed(trigger, asker)
            if not what.recipe.asks_first:
                return None
            if join and len(await self._joining.find(trigger, what)) == len(what.targets):
                return None
            self._check_room(what.targets, of_a_set=bool(trigger.service))
            incident = await self._incident(trigger)
            return await self.offers.make(
                trigger, what.recipe, what.targets, what.parameters, incident=incident, approval=bool(what.approval)
            )
        except UserError as refusal:
            await self._keep(trigger, refusal)
            raise

    async def check(self, trigger: Trigger) -> None:
        """Raise UserError where `accept` would refuse what *trigger* asks for, whatever runs; kept where rules refuse it."""
        asker = await self._asker(trigger)
        try:
            self._allowed(trigger, asker)
        except NotAllowed as refusal:
            await self._keep(trigger, refusal)
            raise

    async def accept(self, trigger: Trigger) -> Capture | None:
        """Turn *trigger* into a capture and start it; None when this very delivery was accepted before.

        Raises UserError, with the refusal kept in the journal, when it cannot be done; JournalError
        when nothing can be promised.
        """
        return (await self.take(trigger, join=False)).capture

    async def take(self, trigger: Trigger, *, join: bool = True, approved: Approved | None = None) -> Taken:
        """As `accept`, but what is being taken of a target already, or was just now, is joined instead.

        Where the rules want an approval, it is asked for; what was *approved* is taken, and its request ends with that.
        Raises Changed where that is not what there is now.
        """
        # Shielded: whoever asked may go away, but what was accepted is run.
        arriving = self._arrive(trigger, join=join and approved is None, approved=approved)
        return await asyncio.shield(self._arrivals.start(arriving, name="arrival"))

    async def stop(
        self, capture_id: str, who: Person, *, source: Source = Source.SLACK, place: Place | None = None
    ) -> Capture:
        """Ask for the end of a capture; its thread tells when it is proved. Raises UserError."""
        if (underway := self._underway.get(capture_id)) is None:
            close = nearest(capture_id, self._underway)
            running = ", ".join(self._underway) or "none"
            raise UserError(
                f"There is no running capture `{capture_id}`.",
                cure=f"Did you mean `{close}`?" if close else f"Running now: {running}.",
            )
        await self.permission.require(Verb.STOP, who, source, place, about_capture(underway.capture))
        await self._journal.append(StopAsked(capture_id=capture_id, who=who, at=self._now()))
        self._tasks.start(self._stop(capture_id, f"Stopped by {who.name}."), name=f"stop {capture_id}")
        return underway.capture

    async def link(self, channel: str, incident: str, who: Person) -> None:
        """Tie a channel to an incident; its captures, past ones too, are told in the incident's note.

        A channel that somebody links by hand is an incident's too, and is met with it. Raises UserError.
        """
        await self.permission.require(Verb.NOTE, who, Source.SLACK, Place(channel=channel))
        linked = Linked(channel=channel, incident=incident, who=who, at=self._now())
        if not await self._journal.accept(Met(place=Place(channel=channel), at=linked.at, by=who), linked):
            await self._journal.append(linked)  # it was met before

    async def share(self, capture: Capture, incident: str, who: Person, place: Place) -> None:
        """Tell *capture* in the note of *incident* too, which it does not belong to; again without harm. Raises UserError."""
        await self.permission.require(Verb.NOTE, who, Source.SLACK, place)
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

    async def _arrive(self, trigger: Trigger, *, join: bool, approved: Approved | None) -> Taken:
        asker = await self._asker(trigger)  # nobody waits for Slack at the door
        async with self._door:
            if await self._is_repeated(trigger):
                return Taken()
            try:
                what = self._allowed(trigger, asker)
                found = await self._joining.find(trigger, what) if join else {}
                incident = await self._incident(trigger)
                job = None
                if rest := tuple(target for target in what.targets if target.name not in found):
                    ready = await self._prepare(trigger, replace(what, targets=rest), incident, approved)
                    if isinstance(ready, ApprovalAsked):
                        return Taken(asked=ready)
                    job = ready
            except UserError as refusal:
                await self._keep(trigger, refusal)
                raise
            joins = self._joining.events(trigger, found, incident=incident, key=None if job else trigger.key)
            joined = tuple({capture.id: capture for capture in found.values()}.values())
            if job is None:
                news = _followed(trigger, joined[0].id, self._now())
                return Taken(joined=joined) if await self._journal.accept(*joins, *news) else Taken()
            ruled = [approved.ruled(job.capture.id)] if approved else []
            more: list[Joined | ApprovalRuled] = [*joins, *ruled]
            return Taken(capture=job.capture, joined=joined) if await self._begin(trigger, job, more) else Taken()

    async def _keep(self, trigger: Trigger, refusal: UserError) -> None:
        await self._journal.append(Refused(trigger=trigger, reason=str(refusal), at=self._now()))
        refusal.kept = True

    async def _prepare(
        self, trigger: Trigger, what: Wanted, incident: str | None, approved: Approved | None
    ) -> Job | ApprovalAsked:
        """What can run now; or the request of somebody's approval of it. Raises UserError."""
        self._check_room(what.targets, of_a_set=bool(trigger.service))
        agreed = approved.request.offered if approved else await self.offers.agreed(trigger, what.recipe)
        prices = agreed.prices if agreed else {}
        await self.ledger.check(trigger, what.recipe, what.names, incident=incident, prices=prices)
        if approved or what.approval:
            sealed = seal(what.recipe, what.targets, what.steps, what.parameters, incident)
            if approved:
                approved.ensure_same(sealed)
            elif what.approval:
                return (await self.requests.ask(trigger, sealed, what.recipe, what.approval, agreed)).asked
        consent = approved.consent if approved else None
        at, prefix = self._now(), self._prefix
        return new_job(trigger, what, incident=incident, agreed=agreed, consent=consent, prefix=prefix, at=at)

    async def _begin(self, trigger: Trigger, job: Job, more: Sequence[Joined | ApprovalRuled]) -> bool:
        """Keep the acceptance and start; False where the same delivery came in elsewhere meanwhile."""
        capture = job.capture
        # Before the journal has it, so that nobody takes it for one that its process forgot.
        self._underway[capture.id] = Underway(capture=capture, waiting=True)
        accepted = False
        try:
            acceptance = Accepted(capture=capture, at=capture.at, key=trigger.key)
            accepted = await self._journal.accept(acceptance, *more, *_followed(trigger, capture.id, capture.at))
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

    async def _asker(self, trigger: Trigger) -> Asker:
        return await self.permission.asker(trigger.who, trigger.source, trigger.place)

    def _allowed(self, trigger: Trigger, asker: Asker) -> Wanted:
        """What *trigger* asks for, where there is such a thing, *asker* may have it and the desk is open.

        Raises UserError.
        """
        if self._closed:
            raise UserError("capturebot is being restarted.", cure="Ask again in a minute.")
        recipe, targets, parameters = self.named(trigger)
        approval, what = None, about(recipe, [target.name for target in targets], parameters)
        try:
            self.permission.ensure(asker, Verb.CAPTURE, what)
        except NeedsApproval as wanted:
            approval = wanted.decision
        return Wanted(recipe=recipe, targets=tuple(targets), parameters=parameters, approval=approval)

    def _check_room(self, targets: Sequence[Target], *, of_a_set: bool) -> None:
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


def _report(name: str, error: BaseException) -> None:
    log.error("background task died", task=name, exc_info=error)

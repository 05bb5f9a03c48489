"""What people do with a request for an approval: approve, deny, take back, break the glass; and what time does with it.

Everything is checked anew when somebody presses: who they are, what would run, and what it costs by now.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from bot.approvals import Approved, Changed, Request
from bot.desk import Desk
from bot.desk.offers import HOLDS_S, command
from bot.errors import UserError
from bot.journal import Journal
from bot.model import (
    ApprovalMeasured,
    ApprovalRuled,
    Capture,
    Consent,
    Denied,
    Person,
    Place,
    Price,
    Ruling,
    Source,
    Verb,
)
from bot.permission import about
from bot.redact import Mask

WORSE_SHARE = 0.25  # by which a cost may have grown since it was asked for
WORSE_S, WORSE_BYTES = 1.0, 10_000_000  # what grew by less than this has not
REASON_CHARS = (10, 300)  # of why somebody breaks the glass, least and most


class Approving:
    """Answers requests."""

    def __init__(
        self,
        desk: Desk,
        journal: Journal,
        *,
        mask: Mask,
        ended_since: Callable[[str, datetime], Awaitable[bool]],
        now: Callable[[], datetime],
    ) -> None:
        """*ended_since*: whether an incident was resolved after that time."""
        self._desk = desk
        self._journal = journal
        self._mask = mask
        self._ended_since = ended_since
        self._now = now

    async def approve(self, approval_id: str, who: Person, place: Place) -> Capture:
        """Start what was asked for on the word of *who*. Raises UserError, with what they may not do kept; JournalError."""
        request = await self._open(approval_id, who, place)
        if who.id == request.asked.trigger.who.id:
            raise await self._denied(request, who, place, "You asked for it, so somebody else has to approve.")
        await self._may_approve(request, who, place)
        request = await self._measured(request, who)
        consent = Consent(approval_id=approval_id, who=who, at=self._now())
        return await self._run(Approved(request=request, ruling=Ruling.APPROVED, consent=consent))

    async def break_glass(self, approval_id: str, who: Person, place: Place, reason: str) -> Capture:
        """Start what *who* asked for without an approval, where the rules let them. Raises as `approve` does."""
        request = await self.breakable(approval_id, who, place)
        reason = " ".join(self._mask(reason, request.asked.seal.incident).split())
        least, most = REASON_CHARS
        if not least <= len(reason) <= most:
            raise UserError(
                f"The reason has {len(reason)} characters.", cure=f"Write {least} to {most}: everybody reads it."
            )
        request = await self._measured(request, who)
        consent = Consent(approval_id=approval_id, who=who, at=self._now(), reason=reason)
        return await self._run(Approved(request=request, ruling=Ruling.GLASS, consent=consent))

    async def breakable(self, approval_id: str, who: Person, place: Place) -> Request:
        """The request, where *who* may go without an approval. Raises UserError."""
        request = await self._open(approval_id, who, place)
        asked = request.asked
        if who.id != asked.trigger.who.id:
            said = f"Only {asked.trigger.who.name}, who asked for it, may break the glass."
            raise await self._denied(request, who, place, said)
        asker = await self._desk.permission.asker(who, Source.SLACK, place)
        recipe, _, parameters = self._desk.named(asked.trigger)
        decision = self._desk.permission.decide(asker, Verb.CAPTURE, about(recipe, asked.seal.targets, parameters))
        # A rule that was changed since counts as it is now.
        if not asked.break_glass or (decision.approval and not decision.approval.break_glass):
            raise await self._denied(request, who, place, "The rules do not let you go without an approval here.")
        return request

    async def deny(self, approval_id: str, who: Person, place: Place) -> Request:
        """End the request: its asker takes it back, whoever may approve denies it. Raises UserError."""
        request = await self._open(approval_id, who, place)
        ruling = Ruling.WITHDRAWN
        if who.id != request.asked.trigger.who.id:
            ruling = Ruling.DENIED
            await self._may_approve(request, who, place)
        ruled = ApprovalRuled(approval_id=approval_id, ruling=ruling, who=who, at=self._now())
        ended = await self._desk.requests.rule(request, ruled)
        if ended.ruled != ruled:
            raise ended_already(ended)
        return ended

    async def expire(self, approval_id: str) -> Request:
        """End the request if its time is over and nobody did; as it is now. Raises JournalError."""
        request = await self._desk.requests.find(approval_id)
        if request.ruled is None and self._now() >= request.asked.until:
            ruled = ApprovalRuled(approval_id=approval_id, ruling=Ruling.EXPIRED, at=request.asked.until)
            request = await self._desk.requests.rule(request, ruled)
        return request

    # --- inside -------------------------------------------------------------------------------

    async def _open(self, approval_id: str, who: Person, place: Place) -> Request:
        """A request that waits, and was made where it is answered, by who may ask for anything. Raises UserError."""
        await self._desk.permission.admit(who, Source.SLACK, place)
        request = await self.expire(approval_id)
        asked_in = request.asked.trigger.place
        if asked_in is None or asked_in.channel != place.channel:
            raise UserError("There is no such request in this channel.", cure="Ask for the capture anew.")
        if request.ruled:
            raise ended_already(request)
        if (incident := request.asked.seal.incident) and await self._ended_since(incident, request.asked.at):
            typed = f"What is wanted all the same can be typed: `{command(request.asked.trigger)}`."
            over = UserError(f"PagerDuty incident {incident} was resolved since it was asked for.", cure=typed)
            await self._void(request, over)
            raise over
        return request

    async def _void(self, request: Request, why: UserError) -> None:
        approval_id = request.asked.approval_id
        ruled = ApprovalRuled(approval_id=approval_id, ruling=Ruling.VOID, reason=why.message, at=self._now())
        await self._desk.requests.rule(request, ruled)

    async def _may_approve(self, request: Request, who: Person, place: Place) -> None:
        asked = request.asked
        recipe, _, parameters = self._desk.named(asked.trigger)
        what = about(recipe, list(asked.seal.targets), parameters)
        await self._desk.permission.require(Verb.APPROVE, who, Source.SLACK, place, what)

    async def _denied(self, request: Request, who: Person, place: Place, said: str) -> UserError:
        asked = request.asked
        denied = Denied(
            verb=Verb.APPROVE,
            who=who,
            place=place,
            recipe=asked.trigger.recipe,
            targets=asked.trigger.targets,
            reason=said,
            at=self._now(),
        )
        await self._journal.append(denied)
        may = ", ".join((await self._desk.permission.names(asked.approvers)).values())
        refused = UserError(said, cure=f"Those who may approve: {may}." if may else "")
        refused.kept = True
        return refused

    async def _measured(self, request: Request, who: Person) -> Request:
        """The request with a cost that still holds. Raises UserError where it grew, which is kept and shown."""
        now, asked = self._now(), request.asked
        if request.measured_at is None or now - request.measured_at <= timedelta(seconds=HOLDS_S):
            return request
        recipe, targets, parameters = self._desk.named(asked.trigger)
        before = request.offered
        after = await self._desk.offers.anew(before, recipe, targets, parameters, incident=asked.seal.incident or None)
        worse = is_worse(request.prices, after.prices)
        measured = ApprovalMeasured(
            approval_id=asked.approval_id,
            number=request.measurements + 1,
            who=who,
            cost=after.cost,
            prices=after.prices,
            worse=worse,
            at=after.at,
        )
        if not await self._journal.accept(measured):  # somebody else pressed in the same moment
            return await self._desk.requests.find(asked.approval_id)
        if worse:
            raise UserError(
                f"It costs more by now: it {after.cost}. It was asked for when it {before.cost}.",
                cure="Press again if that is all right.",
            )
        return replace(request, measured=measured, measurements=measured.number)

    async def _run(self, approved: Approved) -> Capture:
        request = approved.request
        trigger = replace(request.asked.trigger, at=self._now())
        try:
            taken = await self._desk.take(trigger, approved=approved)
        except Changed as changed:
            await self._void(request, changed)
            raise
        if taken.capture:
            return taken.capture
        request = await self._desk.requests.find(request.asked.approval_id)
        if request.ruled is None:  # the same button, pressed by somebody who needs nobody's approval
            over = UserError("It was started without this request meanwhile.", cure="See `/capture status`.")
            await self._void(request, over)
            raise over
        raise ended_already(request)


def ended_already(request: Request) -> UserError:
    """What is said to who comes too late."""
    return UserError(f"That request has ended: it {ending(request)}", cure="Ask for it anew where it is still wanted.")


def ending(request: Request) -> str:
    """How a request ended, completing "It …"; with its full stop."""
    ruled = request.ruled
    if ruled is None:
        return "is being answered."
    by = f" by {ruled.who.name}" if ruled.who and ruled.ruling is not Ruling.GLASS else ""
    why = f": {ruled.reason}" if ruled.reason and not ruled.ruling.runs else "."
    runs = f" It is `{ruled.capture_id}`." if ruled.capture_id else ""
    return f"{ruled.ruling.words}{by}{why}{runs}"


def is_worse(before: Mapping[str, Price], after: Mapping[str, Price]) -> bool:
    """Whether a target would pay more than WORSE_SHARE above what was asked for."""

    def grew(was: float, now: float, least: float) -> bool:
        return now > was * (1 + WORSE_SHARE) and now - was >= least

    none = Price()
    return any(
        grew(before.get(name, none).pause_s, price.pause_s, WORSE_S)
        or grew(before.get(name, none).stored_bytes, price.stored_bytes, WORSE_BYTES)
        for name, price in after.items()
    )

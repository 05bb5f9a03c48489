"""Requests for an approval: what is asked for exactly, who may approve of it, and what came of it.

A request is a fold of its events, found by their keys. It has one end, because the journal takes the key of one only once.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import func, select

from bot.errors import UserError
from bot.journal import Journal
from bot.journal.tables import approvals
from bot.model import (
    ApprovalAsked,
    ApprovalMeasured,
    ApprovalRuled,
    Consent,
    Event,
    Offered,
    Price,
    Recipe,
    Ruling,
    Seal,
    Trigger,
    approval_key,
)
from bot.permission import OURSELVES, Permission, about
from bot.policy import Decision

OPEN_AT_MOST = 100  # requests that nobody has answered, over all
ROUNDS_AT_MOST = 50  # times that one button can ask again after its request has ended
EVENTS_AT_MOST = 100  # of one request; its cost is measured at most every five minutes of the four hours that it lasts
ID_CHARS = 12


class Changed(UserError):
    """What was approved is not what there is now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as far as it has come."""

    asked: ApprovalAsked
    measured: ApprovalMeasured | None = None  # the last time
    measurements: int = 0
    ruled: ApprovalRuled | None = None

    @property
    def cost(self) -> str:
        """What it costs, as it was measured last; in the recipe's words where it is not measured."""
        return (self.measured or self.asked).cost or self.asked.impact.words

    @property
    def prices(self) -> Mapping[str, Price]:
        """That in numbers, by target."""
        return (self.measured or self.asked).prices

    @property
    def measured_at(self) -> datetime | None:
        """When that was; None where it is not measured."""
        return self.measured.at if self.measured else self.asked.measured_at

    @property
    def offered(self) -> Offered:
        """The cost as an offer that its asker agreed to."""
        asked = self.asked
        return Offered(
            offer_id=asked.trigger.offer or "",
            trigger=asked.trigger,
            recipe_digest=asked.seal.recipe_digest,
            at=self.measured_at or asked.at,
            cost=(self.measured or asked).cost,
            prices=self.prices,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """What lets the trigger of a request run, once."""

    request: Request
    ruling: Ruling
    consent: Consent

    def ensure_same(self, sealed: Seal) -> None:
        """Raise Changed where *sealed*, which would run now, is not what was approved."""
        if why := self.request.asked.seal.changed(sealed):
            raise Changed(why, cure="Ask for it anew.")

    def ruled(self, capture_id: str) -> ApprovalRuled:
        """The end of the request, which is kept together with what runs."""
        consent = self.consent
        return ApprovalRuled(
            approval_id=consent.approval_id,
            ruling=self.ruling,
            who=consent.who,
            at=consent.at,
            reason=consent.reason,
            capture_id=capture_id,
        )


def fold(events: Iterable[Event]) -> Request | None:
    """A request's events as one; None where it was never made."""
    request: Request | None = None
    for event in events:
        match event:
            case ApprovalAsked():
                request = Request(asked=event)
            case ApprovalMeasured() if request:
                request = replace(request, measured=event, measurements=event.number)
            case ApprovalRuled() if request:
                request = replace(request, ruled=event)
    return request


class Requests:
    """Makes requests, finds them and ends them."""

    def __init__(self, journal: Journal, permission: Permission, *, now: Callable[[], datetime]) -> None:
        self._journal = journal
        self._permission = permission
        self._now = now

    async def ask(
        self, trigger: Trigger, sealed: Seal, recipe: Recipe, decision: Decision, offered: Offered | None
    ) -> Request:
        """Ask for an approval, or find the request that this very press made before.

        Raises UserError where nobody could be asked, or could approve; JournalError.
        """
        if trigger.place is None:
            raise UserError(
                f"`{recipe.name}` needs an approval there, and nobody can be asked for one. {decision.because}",
                cure="Ask for it in Slack, or let a rule allow it.",
            )
        wanted, now = decision.approval, self._now()
        approvers = self._permission.approvers(about(recipe, sealed.targets, sealed.parameters))
        break_glass = bool(wanted and wanted.break_glass) and trigger.who != OURSELVES  # who can break none
        if not approvers and not break_glass:
            raise UserError(
                f"`{recipe.name}` needs an approval there, and no rule lets anybody give one. {decision.because}",
                cure="Whoever runs capturebot adds a rule that allows `approve`.",
            )
        approval_id, before = await self._round(trigger)
        if before:
            return before
        await self._check_room()
        asked = ApprovalAsked(
            approval_id=approval_id,
            trigger=replace(trigger, key=trigger.key or f"approval {approval_id}"),
            seal=sealed,
            impact=recipe.impact,
            because=decision.because,
            until=now + timedelta(minutes=wanted.minutes if wanted else 0.0),
            at=now,
            cost=offered.cost if offered else "",
            prices=offered.prices if offered else {},
            measured_at=offered.at if offered and recipe.cost else None,
            approvers=approvers,
            break_glass=break_glass,
        )
        await self._journal.accept(asked)  # False: another process was told of the same press, and made the same
        return await self.find(approval_id)

    async def find(self, approval_id: str) -> Request:
        """A request that was made. Raises UserError where there was none of that id."""
        if request := await self._known(approval_id):
            return request
        raise UserError("There is no such request for an approval.", cure="Ask for the capture anew.")

    async def waiting(self, channel: str) -> list[Request]:
        """The requests of a channel that can be answered now, the first to expire first."""
        still = (~approvals.c.ruled) & (approvals.c.until > self._now().timestamp())
        query = select(approvals.c.id).where(still).order_by(approvals.c.until).limit(OPEN_AT_MOST)
        found = [await self.find(row.id) for row in await self._journal.rows(query)]
        return [one for one in found if one.asked.trigger.place and one.asked.trigger.place.channel == channel]

    async def rule(self, request: Request, ruled: ApprovalRuled) -> Request:
        """End a request that nothing runs of; as it ended, which may be otherwise where somebody was quicker."""
        await self._journal.accept(ruled)
        return await self.find(request.asked.approval_id)

    async def owner(self, approval_id: str) -> str:
        """The process that took a request in, and shows it."""
        (row,) = await self._journal.rows(select(approvals.c.owner).where(approvals.c.id == approval_id))
        return str(row.owner)

    async def recent(self, since: datetime) -> dict[str, str]:
        """The requests that could be answered *since* then, ended or not, with the process that shows each."""
        query = select(approvals.c.id, approvals.c.owner).where(approvals.c.until > since.timestamp())
        return {row.id: row.owner for row in await self._journal.rows(query)}

    # --- inside -------------------------------------------------------------------------------

    async def _known(self, approval_id: str) -> Request | None:
        return fold(await self._journal.keyed_from(approval_key(approval_id), most=EVENTS_AT_MOST))

    async def _round(self, trigger: Trigger) -> tuple[str, Request | None]:
        """The id for a new request; or that of the one which waits, with it. One press asks once."""
        press = trigger.key or secrets.token_hex(ID_CHARS)
        for number in range(ROUNDS_AT_MOST):
            approval_id = hashlib.sha256(f"{press} {number}".encode()).hexdigest()[:ID_CHARS]
            before = await self._known(approval_id)
            if before is None or (before.ruled is None and self._now() < before.asked.until):
                return approval_id, before
        raise UserError("That was asked for too often.", cure="Type it anew.")

    async def _check_room(self) -> None:
        still = select(func.count()).select_from(approvals).where(~approvals.c.ruled)
        (row,) = await self._journal.rows(still.where(approvals.c.until > self._now().timestamp()))
        if row[0] >= OPEN_AT_MOST:
            raise UserError(
                f"{row[0]} requests wait for an approval already.", cure="Let some of them be answered first."
            )

"""What an incident starts: the first set of its service, each recipe over those of the targets that it is for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

import structlog

from bot.desk import Desk
from bot.desk.joining import Taken
from bot.errors import UserError
from bot.journal import Journal
from bot.model import Accepted, Call, Capture, Event, Heard, Joined, Person, Place, Room, Service, Source, Trigger
from bot.model.incidents import ASKED

AGAIN = frozenset({"incident.reopened", ASKED})  # each of them starts the set anew
CALLS = "pagerduty "  # what the keys of calls begin with
CALLS_READ = 200  # the newest
NEAR_S = 300.0  # an incident's channel opens that soon after it, or before
STALE_S = 30 * 60.0  # what was paged for so long ago is not evidence of its beginning any more

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """One recipe of a first set: what came of it, or why nothing did."""

    trigger: Trigger
    taken: Taken = field(default_factory=Taken)
    refusal: UserError | None = None


class FirstSets:
    """Starts what services say must run at once."""

    def __init__(self, desk: Desk, *, now: Callable[[], datetime]) -> None:
        self._desk = desk
        self._now = now

    def triggers(
        self,
        service: Service,
        *,
        who: Person,
        source: Source,
        key: str | None = None,
        place: Place | None = None,
        incident: str | None = None,
    ) -> tuple[Trigger, ...]:
        """What *service* runs at once, a trigger a recipe. With the same *key* each of them is accepted once.

        Raises UserError when that is nothing.
        """
        if not service.first:
            offered = ", ".join(f"`{name}`" for name in service.offer)
            raise UserError(
                f"`{service.name}` has no recipes that run at once.",
                cure=f"It offers: {offered}." if offered else "Add `first:` to the service in capturebot.yml.",
            )
        return tuple(
            Trigger(
                recipe=recipe,
                targets=self._desk.fitting(self._desk.recipes[recipe], service.targets),
                parameters={},
                who=who,
                source=source,
                at=self._now(),
                place=place,
                incident=incident,
                key=f"{key} {recipe}" if key else None,
                service=service.name,
            )
            for recipe in service.first
        )

    async def start(self, triggers: tuple[Trigger, ...], *, join: bool = True) -> list[Begun]:
        """Have all *triggers* taken; what is refused does not hold up the others. Raises JournalError.

        They *join* captures that there are, unless somebody waits for these.
        """
        take = partial(self._desk.take, join=join)
        begun = []
        for trigger in triggers:
            try:
                begun.append(Begun(trigger=trigger, taken=await take(trigger)))
            except UserError as refusal:
                begun.append(Begun(trigger=trigger, refusal=refusal))
        return begun


class Pages:
    """Starts the first set of a service that PagerDuty called about, once for each time that its incident was opened."""

    def __init__(self, desk: Desk, journal: Journal, *, now: Callable[[], datetime]) -> None:
        self._journal = journal
        self._now = now
        self._first_sets = FirstSets(desk, now=now)
        self._services = {service.pagerduty: service for service in desk.services.values() if service.pagerduty}

    async def hear(self, event: Event) -> None:
        """Act on a call that was heard; again without harm. Raises JournalError."""
        if not isinstance(event, Heard) or not event.call.starts:
            return
        call = event.call
        service = self._services.get(call.service)
        if service is None or not service.first:
            log.info("nothing is to run for that incident", incident=call.incident, service=call.service)
        elif why := await self._late(call):
            log.info("an incident starts nothing", incident=call.incident, service=service.name, reason=why)
        else:
            who = Person(id="pagerduty", name=f"PagerDuty incident {call.number or call.incident}")
            again = call.id if call.what in AGAIN else ""
            if not again and (captures := await self._begun(call, service)):
                await self._share(captures, call.incident, who)
                return
            triggers = self._first_sets.triggers(
                service,
                who=who,
                source=Source.PAGERDUTY,
                key=first_key(call.incident, service, again=again),
                incident=call.incident,
            )
            for begun in await self._first_sets.start(triggers):
                log.info("an incident starts", incident=call.incident, **_words(begun))

    async def _share(self, captures: Iterable[Capture], incident: str, who: Person) -> None:
        """Have what was started before the call told in the incident's note."""
        for capture in captures:
            shared = Joined(
                capture_id=capture.id,
                targets=capture.targets,
                who=who,
                source=Source.PAGERDUTY,
                at=self._now(),
                place=capture.place,
                incident=incident,
                key=f"send {capture.id} {incident}",
            )
            await self._journal.accept(shared)
            log.info("an incident began in its channel", incident=incident, capture=capture.id)

    async def _begun(self, call: Call, service: Service) -> list[Capture]:
        """What the opening of the incident's channel started before anybody called about it."""
        rooms = [room for room, _ in (await self._journal.rooms()).values() if _may_be(room, service, call)]
        own = [room for room in rooms if room.incident] or rooms
        if len(own) != 1:
            return []
        key = first_key(own[0].id, service)
        events = [await self._journal.keyed(f"{key} {recipe}") for recipe in service.first]
        return [event.capture for event in events if isinstance(event, Accepted)]

    async def _late(self, call: Call) -> str:
        """Why it is too late to start anything; "" where it is not."""
        if self._now() - call.at > timedelta(seconds=STALE_S):
            return f"it was opened more than {STALE_S / 60:.0f} minutes ago"
        standing = await self._journal.standing(call.incident)
        if standing and not standing.is_open:
            return "it is resolved"
        if standing and standing.opened_at and standing.opened_at > call.at:
            return "it was opened anew since"
        return ""


def _words(begun: Begun) -> dict[str, str]:
    if begun.refusal:
        return {"recipe": begun.trigger.recipe, "refused": str(begun.refusal)}
    ids = [capture.id for capture in (begun.taken.capture, *begun.taken.joined) if capture]
    return {"recipe": begun.trigger.recipe, "captures": ", ".join(ids) or "taken before"}


async def room_key(journal: Journal, room: Room, service: Service) -> str:
    """The key of the first set that the opening of a room starts. Raises JournalError.

    Its incident's; where that is not known, of the only one that PagerDuty called about for the service at that time.
    """
    if room.incident:
        return first_key(room.incident, service)
    called = [one.call for one in await journal.keyed_from(CALLS, most=CALLS_READ) if isinstance(one, Heard)]
    incidents = {call.incident for call in called if call.opens and _may_be(room, service, call)}
    return first_key(incidents.pop() if len(incidents) == 1 else room.id, service)


def _may_be(room: Room, service: Service, call: Call) -> bool:
    """Whether a room that was opened for a service may be the one of the incident that PagerDuty called about."""
    if room.incident or room.place.thread_ts:
        return room.incident == call.incident
    near = abs(room.at - call.at) <= timedelta(seconds=NEAR_S)
    return near and room.service in ("", service.name) and call.service == service.pagerduty


def first_key(incident: str, service: Service, *, again: str = "") -> str:
    """The key of the first set that *incident* starts, whoever comes first: a call, or the opening of a channel."""
    return f"first {incident} {service.name} {again}".rstrip()

"""What is done for one room: find out what it is about, start what must run at once, keep its messages true.

All of it is done again without harm, so that what one process left undone the next one does: a first set is started once
by its keys, a message is posted once by its mark.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from bot.announcing import guess
from bot.approvals.approving import ending
from bot.desk import Desk
from bot.errors import DeliveryFailed, UserError
from bot.incidents import STALE_S, FirstSets, first_key, room_key
from bot.journal import Journal
from bot.model import Accepted, Joined, Person, Room, Service, Settled, Source, Trigger, Verb, room_id
from bot.permission import OURSELVES
from bot.report.writing import stories_of
from bot.reporters.slack_announcement import Announcement, Choice, announce
from bot.reporters.slack_index import index
from bot.slack.board import Board, Posted
from bot.slack.ending import Endings
from bot.slack.lookout import Lookout
from bot.slack.presses import Press
from bot.story import Story, story

NAME = "rooms"  # what rooms are remembered under
FIRST_LOOK_S = 1.0  # then what is known by its name is announced: nobody waits for the rest
LOOK_S = 30.0
LOOKS_AFTER_S = (3.0, 15.0, 60.0, 240.0)  # tools set topics and post links after they opened a channel
ROOMS_KNOWN = 1000  # in memory

log = structlog.get_logger()


class Keeper:
    """Sees to rooms, one at a time each."""

    def __init__(
        self,
        desk: Desk,
        journal: Journal,
        *,
        board: Board,
        lookout: Lookout,
        endings: Endings,
        now: Callable[[], datetime],
        looks_after_s: tuple[float, ...] = LOOKS_AFTER_S,
    ) -> None:
        self._desk = desk
        self._journal = journal
        self._board = board
        self._lookout = lookout
        self._endings = endings
        self._now = now
        self._looks_after_s = looks_after_s
        self._first_sets = FirstSets(desk, now=now)
        self._shown: dict[str, Posted] = {}
        self._looks: dict[str, int] = {}  # done by this process

    async def see_to(self, key: str) -> float | None:
        """Do what is to be done for a room now; returns when to look again, None where only news is waited for.

        Raises DeliveryFailed and JournalError.
        """
        room, _ = (await self._journal.rooms(room=key))[key]
        _, remembered = await self._journal.memory(NAME, key) or (0, {})
        memory = dict(remembered)
        if not (room.place.thread_ts or memory.get("entered")):
            name = await self._lookout.enter(room)
            memory["entered"] = True
            if name not in ("", room.place.channel_name):
                renamed = Settled(room=key, at=self._now(), name=name)
                await self._journal.append(renamed)
                room = room.settled(renamed)
        room = await self._settle(room)
        try:
            try:
                await self._tell(room, memory)
            finally:  # evidence does not wait for Slack
                await self._start(room, memory)
            await self._tell(room, memory)
        finally:
            await self._journal.remember(NAME, key, self._journal.last, memory)
        return self._next_look(room)

    # --- presses --------------------------------------------------------------------------------

    async def offered(self, press: Press) -> Trigger:
        """What a press of an announcement's button asks for. Raises UserError."""
        room = await self._pressed(press)
        service = self._desk.services.get(room.service)
        recipe = self._desk.recipes.get(press.value)
        if service is None or recipe is None or recipe.name not in (*service.first, *service.offer):
            raise UserError("capturebot does not offer that any more.", cure="See `/capture list`.")
        return Trigger(
            recipe=recipe.name,
            targets=self._desk.fitting(recipe, service.targets),
            parameters={},
            who=press.who,
            source=Source.SLACK,
            at=self._now(),
            place=room.place,
            incident=room.incident or None,
            key=_offer_key(room, recipe.name),
        )

    async def choose(self, press: Press) -> str:
        """Settle which service a room is about, as somebody says; returns what to tell them. Raises UserError."""
        room = await self._pressed(press)
        await self._desk.permission.require(Verb.NOTE, press.who, Source.SLACK, press.place)
        if press.value not in self._desk.services:
            raise UserError("There is no such service any more.", cure="See `/capture list`.")
        key = f"service of {room.id}"
        chosen = Settled(room=room.id, at=self._now(), service=press.value, who=press.who, key=key)
        if room.service or not await self._journal.accept(chosen):
            event = await self._journal.keyed(key)
            service, who = (event.service, event.who) if isinstance(event, Settled) else (room.service, None)
            raise UserError(f"{who.name if who else 'capturebot'} settled that already: it is about `{service}`.")
        return f"It is about `{press.value}`. What that service runs at once is started now."

    async def _pressed(self, press: Press) -> Room:
        key = room_id(press.place.channel, press.place.thread_ts)
        if (found := (await self._journal.rooms(room=key)).get(key)) is None:
            raise UserError("capturebot does not know that button any more.", cure="Type `/capture help`.")
        room, _ = found
        if room.incident and not await self._endings.is_open(room.incident):
            raise UserError(
                f"{room.title or 'The incident'} is resolved, and its buttons ended with it.",
                cure="What is wanted all the same can be typed: `/capture RECIPE TARGET`.",
            )
        return room

    # --- what it is about -----------------------------------------------------------------------

    async def _settle(self, room: Room) -> Room:
        """The room with what can be found out now, which is kept."""
        news = await self._look(room)
        if news and news.incident:
            await self._link(room, news.incident)
        known = room.settled(news) if news else room
        if not known.service and (service := guess(known, self._desk.services)):
            news = replace(news or Settled(room=room.id, at=self._now()), service=service)
        if news:
            await self._journal.append(news)
        return room.settled(news) if news else room

    async def _link(self, room: Room, incident: str) -> None:
        channel = room.place.channel
        if not room.place.thread_ts and await self._journal.incident_of(channel) != incident:
            await self._desk.link(channel, incident, OURSELVES)

    async def _look(self, room: Room) -> Settled | None:
        if self._next_look(room) is None and not await self._is_linked_anew(room):
            return None
        looks = self._looks.get(room.id, 0)
        self._looks[room.id] = looks + 1
        _forget(self._looks)
        try:
            async with asyncio.timeout(LOOK_S if looks else FIRST_LOOK_S):
                return await self._lookout.look(room)
        except (DeliveryFailed, TimeoutError) as trouble:
            log.warning("an incident is not found out now", room=room.id, reason=str(trouble) or "no answer in time")
            return None

    def _next_look(self, room: Room) -> float | None:
        """In how many seconds more may be found out; None where all is known, or nothing will come any more."""
        looks = self._looks.get(room.id, 0)
        old = self._now() - room.at > timedelta(seconds=STALE_S)
        if (room.incident and room.service) or old or looks > len(self._looks_after_s):
            return None
        return self._looks_after_s[looks - 1] if looks else 0.0

    async def _is_linked_anew(self, room: Room) -> bool:
        linked = None if room.place.thread_ts else await self._journal.incident_of(room.place.channel)
        return linked is not None and linked != room.incident

    async def _is_open(self, room: Room) -> bool:
        standing = await self._journal.standing(room.incident) if room.incident else None
        return standing is None or standing.is_open

    # --- what it needs --------------------------------------------------------------------------

    async def _start(self, room: Room, memory: dict[str, Any]) -> None:
        """Start the service's first set, unless PagerDuty's call did."""
        service = self._desk.services.get(room.service)
        if service is None or "started" in memory or not await self._is_open(room):
            return
        old = self._now() - room.at > timedelta(seconds=STALE_S)
        over = bool(room.incident) and not await self._endings.is_open(room.incident)
        if not service.first or over or (room.chosen_by is None and (old or room.linked_by)):
            memory["started"] = False
            return
        memory["first"] = key = await room_key(self._journal, room, service)
        triggers = self._first_sets.triggers(
            service,
            who=room.chosen_by or OURSELVES,
            source=Source.SLACK,
            key=key,
            place=room.place,
            incident=room.incident or None,
        )
        begun = await self._first_sets.start(triggers)
        memory["started"] = True
        memory["held"] = {one.trigger.recipe: str(one.refusal) for one in begun if one.refusal}
        memory["asked"] = {one.trigger.recipe: one.taken.asked.approval_id for one in begun if one.taken.asked}

    async def _tell(self, room: Room, memory: dict[str, Any]) -> None:
        """Make the room's messages say how it stands."""
        shown = self._shown.setdefault(room.id, Posted.recall(memory))
        _forget(self._shown)
        try:
            if self._desk.services:
                told = await self._announcement(room, memory)
                await self._board.show(room, "announcement", announce(told), shown)
            channel = None if room.place.thread_ts else room.place.channel
            if channel and (stories := await stories_of(self._journal, channel=channel, incident=room.incident)):
                await self._board.show(room, "index", index(stories), shown, pin=True)
        finally:
            memory.update(shown.memory)

    async def _announcement(self, room: Room, memory: dict[str, Any]) -> Announcement:
        service = self._desk.services.get(room.service)
        started = memory.get("started", room.linked_by is None)
        return Announcement(
            room=room,
            service=service,
            services=list(self._desk.services),
            choices=await self._choices(room, service, started=started) if service else (),
            started=started,
            first=await self._first(room, service, memory) if service else (),
            held=await self._held(memory),
            is_open=await self._is_open(room),
        )

    async def _held(self, memory: Mapping[str, Any]) -> dict[str, str]:
        """Why recipes of the first set do not run."""
        held = {recipe: f"{recipe} did not start: {why}" for recipe, why in memory.get("held", {}).items()}
        for recipe, approval_id in memory.get("asked", {}).items():
            request = await self._desk.requests.find(approval_id)
            if request.ruled is None:
                held[recipe] = f"{recipe} waits for an approval, which is asked for here. {request.asked.because}"
            elif not request.ruled.ruling.runs:
                held[recipe] = f"{recipe} did not start: it {ending(request)}"
        return held

    async def _choices(self, room: Room, service: Service, *, started: bool) -> list[Choice]:
        choices = []
        for name in service.offer if started else dict.fromkeys((*service.first, *service.offer)):
            if recipe := self._desk.recipes.get(name):
                told, by = await self._became(_offer_key(room, name))
                targets = self._desk.fitting(recipe, service.targets)
                choices.append(Choice(recipe=recipe, targets=targets, started=told.capture if told else None, by=by))
        return choices

    async def _first(self, room: Room, service: Service, memory: Mapping[str, Any]) -> list[Story]:
        """What the first set became, whoever started it."""
        key = memory.get("first") or first_key(room.incident or room.id, service)
        became = [await self._became(f"{key} {recipe}") for recipe in service.first]
        return [told for told, _ in became if told]

    async def _became(self, key: str) -> tuple[Story | None, Person | None]:
        """What was started or joined with that *key*, and who asked for it."""
        match await self._journal.keyed(key):
            case Accepted(capture=capture):
                return story(await self._journal.events(capture.id)), capture.who
            case Joined(capture_id=capture_id, who=who):
                return story(await self._journal.events(capture_id)), who
            case _:
                return None, None


def _offer_key(room: Room, recipe: str) -> str:
    """Of the trigger that a press becomes: whoever presses, and however often, it is one."""
    return f"offered {room.id} {recipe}"


def _forget(known: dict[str, Any]) -> None:
    while len(known) > ROOMS_KNOWN:
        known.pop(next(iter(known)))

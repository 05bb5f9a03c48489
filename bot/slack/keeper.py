"""What is done for one room: find out what it is about, start what must run at once, keep its messages true.

All of it is done again without harm, so that what one process left undone the next one does: a first set is started once
by its keys, a message is posted once by its mark.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from bot.announcing import guess
from bot.desk import Desk
from bot.errors import DeliveryFailed, UserError
from bot.incidents import STALE_S, FirstSets, first_key
from bot.journal import Journal
from bot.model import Accepted, Capture, Joined, Person, Room, Service, Settled, Source, Trigger, room_id
from bot.report.writing import stories_of
from bot.reporters.slack_announcement import Announcement, Choice, announce
from bot.reporters.slack_index import index
from bot.slack.board import Board, Posted
from bot.slack.lookout import Lookout
from bot.slack.presses import Press
from bot.story import story

NAME = "rooms"  # what rooms are remembered under
OURSELVES = Person(id="capturebot", name="capturebot")
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
        now: Callable[[], datetime],
        looks_after_s: tuple[float, ...] = LOOKS_AFTER_S,
    ) -> None:
        self._desk = desk
        self._journal = journal
        self._board = board
        self._lookout = lookout
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
        if not await self._is_open(room):
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
        if not service.first or (room.chosen_by is None and (old or room.linked_by)):
            memory["started"] = False
            return
        triggers = self._first_sets.triggers(
            service,
            who=room.chosen_by or OURSELVES,
            source=Source.SLACK,
            key=first_key(room.incident or room.id, service),
            place=room.place,
            incident=room.incident or None,
        )
        begun = await self._first_sets.start(triggers)
        memory["started"] = True
        memory["refused"] = [f"{one.trigger.recipe} did not start: {one.refusal}" for one in begun if one.refusal]

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
            refused=memory.get("refused", []),
            is_open=await self._is_open(room),
        )

    async def _choices(self, room: Room, service: Service, *, started: bool) -> list[Choice]:
        choices = []
        for name in service.offer if started else dict.fromkeys((*service.first, *service.offer)):
            if recipe := self._desk.recipes.get(name):
                capture, by = await self._taken(room, name)
                targets = self._desk.fitting(recipe, service.targets)
                choices.append(Choice(recipe=recipe, targets=targets, started=capture, by=by))
        return choices

    async def _taken(self, room: Room, recipe: str) -> tuple[Capture | None, Person | None]:
        """What a press of that button became, and who pressed."""
        event = await self._journal.keyed(_offer_key(room, recipe))
        match event:
            case Accepted(capture=capture):
                return capture, capture.who
            case Joined(capture_id=capture_id, who=who):
                told = story(await self._journal.events(capture_id))
                return (told.capture if told else None), who
            case _:
                return None, None


def _offer_key(room: Room, recipe: str) -> str:
    """Of the trigger that a press becomes: whoever presses, and however often, it is one."""
    return f"offered {room.id} {recipe}"


def _forget(known: dict[str, Any]) -> None:
    while len(known) > ROOMS_KNOWN:
        known.pop(next(iter(known)))

"""Answers `/capture` and presses at the desk. No logic of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from bot.command import Ask, Help, Link, List, Status, Stop, Take, parse
from bot.desk import Desk
from bot.errors import DeliveryFailed, JournalError, UserError
from bot.incidents import Begun, FirstSets
from bot.journal import Journal
from bot.model import Accepted, Capture, Offered, Person, Place, Service, Source, Trigger
from bot.recipes import nearest
from bot.reporters import slack_buttons
from bot.reporters.suggestions import again_key, find
from bot.slack import answers, offers
from bot.slack.answers import Answer
from bot.slack.presses import Press
from bot.story import Story, story

Say = Callable[[Answer], Awaitable[None]]  # to whoever asked, and nobody else


class Incident(Protocol):
    """An incident as PagerDuty names it."""

    @property
    def id(self) -> str:
        """Its id, e.g. PABC123."""

    @property
    def title(self) -> str:
        """Its title."""


class Incidents(Protocol):
    """Where incidents are looked up."""

    async def incident(self, reference: str) -> Incident:
        """Find one by id, number or address. Raises DeliveryFailed."""


class Clerk:
    """Does what payloads of Slack ask for, and says to the asker alone what came of it."""

    def __init__(
        self,
        desk: Desk,
        journal: Journal,
        *,
        incidents: Incidents | None,
        untold: Callable[[], dict[str, str]],
        now: Callable[[], datetime],
    ) -> None:
        self._desk = desk
        self._first_sets = FirstSets(desk, now=now)
        self._journal = journal
        self._incidents = incidents
        self._untold = untold
        self._now = now

    async def command(self, body: dict[str, Any], say: Say) -> None:
        """Do what a slash command's payload asks for."""
        who = Person(id=body["user_id"], name=body.get("user_name") or body["user_id"])
        place = Place(channel=body["channel_id"], channel_name=body.get("channel_name", ""))
        await _told(self._serve(body.get("text", ""), who, place, key=body.get("trigger_id"), say=say), say)

    async def press(self, press: Press, say: Say) -> None:
        """Do what the press of a button asks for."""
        await _told(self._pressed(press, say), say)

    # --- commands -----------------------------------------------------------------------------

    async def _serve(self, text: str, who: Person, place: Place, *, key: str | None, say: Say) -> str | None:
        match parse(text):
            case Take(recipe=name) as ask if service := self._desk.services.get(name):
                return await self._first_set(service, ask, who, place, key=key)
            case Take() as ask:
                trigger = Trigger(
                    recipe=ask.recipe,
                    targets=ask.targets,
                    parameters=ask.parameters,
                    who=who,
                    source=Source.SLACK,
                    at=self._now(),
                    place=place,
                    key=f"slack {key}" if key else None,
                )
                return await self._take(trigger, say)
            case Stop(capture_id=capture_id):
                return answers.stopping(await self._desk.stop(capture_id, who))
            case Link(incident=reference):
                return await self._link(reference, who, place)
            case ask:
                return await self._inform(ask)

    async def _first_set(self, service: Service, ask: Take, who: Person, place: Place, *, key: str | None) -> str:
        if ask.targets or ask.parameters:
            raise UserError(
                f"`{service.name}` is a service, and takes no more words than that.",
                cure=f"Type `/capture {service.name}`, or a recipe with a target.",
            )
        key = f"slack {key}" if key else None
        triggers = self._first_sets.triggers(service, who=who, source=Source.SLACK, key=key, place=place)
        begun = await self._first_sets.start(triggers)
        return "\n".join([await self._said(one) for one in begun])

    async def _said(self, begun: Begun) -> str:
        if begun.refusal:
            return answers.refusal(begun.refusal)
        return await self._what_came_of(begun.trigger, begun.capture)

    async def _inform(self, ask: Ask) -> str:
        match ask:
            case Help(recipe=str() as name):
                return self._help(name)
            case List():
                return answers.listing(self._desk.recipes, self._desk.targets, self._desk.services)
            case Status():
                told = [story(await self._journal.events(capture_id)) for capture_id in await self._journal.recent()]
                return answers.status([one for one in told if one], untold=self._untold())
            case _:
                return answers.help_all(self._desk.recipes, self._desk.services)

    def _help(self, name: str) -> str:
        if recipe := self._desk.recipes.get(name):
            return answers.help_recipe(recipe, self._desk.targets.values())
        if service := self._desk.services.get(name):
            return answers.help_service(service)
        close = nearest(name, [*self._desk.recipes, *self._desk.services])
        raise UserError(
            f"There is no recipe `{name}`.", cure=f"Did you mean `{close}`?" if close else "See `/capture list`."
        )

    async def _link(self, reference: str, who: Person, place: Place) -> str:
        if self._incidents is None:
            raise UserError("PagerDuty is not set up.", cure="Whoever runs capturebot adds `pagerduty:` to its file.")
        try:
            incident = await self._incidents.incident(reference)
        except DeliveryFailed as failure:
            raise UserError(failure.reason, cure=failure.cure) from failure
        await self._desk.link(place.channel, incident.id, who)
        return answers.linked(incident.id, incident.title)

    # --- presses ------------------------------------------------------------------------------

    async def _pressed(self, press: Press, say: Say) -> str | None:
        match press.action:
            case slack_buttons.STOP:
                return await self._stop(press)
            case slack_buttons.AGAIN | slack_buttons.NEXT:
                return await self._take(await self._suggested(press), say)
            case offers.AGREE | offers.DECLINE | offers.CHOOSE:
                return await self._decide(press, say)
            case _:
                raise _unknown()

    async def _stop(self, press: Press) -> str:
        told = await self._story(press)
        if told.state.ended:
            raise UserError(f"`{told.capture.id}` has ended already.")
        if told.stop_asked_by:
            return answers.stopping(told.capture)
        return answers.stopping(await self._desk.stop(told.capture.id, press.who))

    async def _suggested(self, press: Press) -> Trigger:
        """What is to be run again, or next."""
        told = await self._story(press)
        capture = told.capture
        asked = Trigger(
            recipe=capture.recipe,
            targets=capture.targets,
            parameters={name: str(value) for name, value in capture.parameters.items()},
            who=press.who,
            source=Source.SLACK,
            at=self._now(),
            place=press.place,
            key=again_key(capture.id),
            after=capture.id,
        )
        if press.action == slack_buttons.AGAIN:
            return asked
        if (pick := find(told, press.value)) is None:
            raise _unknown()
        return replace(
            asked, recipe=pick.recipe, targets=(pick.target,), parameters=dict(pick.parameters), key=pick.key
        )

    async def _story(self, press: Press) -> Story:
        """The capture that a button belongs to, which must be one of the channel that it was pressed in."""
        told = story(await self._journal.events(press.value.partition(" ")[0]))
        if told is None or told.capture.place is None or told.capture.place.channel != press.place.channel:
            raise _unknown()
        return told

    async def _decide(self, press: Press, say: Say) -> str | None:
        offer_id, _, choice = press.value.partition(" ")
        offered = await self._desk.offers.find(offer_id)
        asked = offered.trigger
        if asked.place is None or asked.place.channel != press.place.channel:
            raise _unknown()
        if press.action == offers.DECLINE:
            await say(Answer(text=answers.declined(offered), instead=True))
        elif press.action == offers.AGREE:
            await say(Answer(text=await self._start(replace(asked, who=press.who, at=self._now())), instead=True))
        else:
            return await self._take(self._chosen(offered, choice, press), say, instead=True)
        return None

    def _chosen(self, offered: Offered, choice: str, press: Press) -> Trigger:
        if choice not in map(str, range(len(offered.choices))):
            raise _unknown()
        more = {name: str(value) for name, value in offered.choices[int(choice)].parameters.items()}
        key = " ".join([offered.trigger.key or "", *(f"{name}={value}" for name, value in more.items())])
        parameters = {**offered.trigger.parameters, **more}
        return replace(offered.trigger, parameters=parameters, key=key, offer=None, who=press.who, at=self._now())

    # --- captures -----------------------------------------------------------------------------

    async def _take(self, trigger: Trigger, say: Say, *, instead: bool = False) -> str | None:
        """Start a capture, or offer it where it has a cost to agree to."""
        recipe = self._desk.recipes.get(trigger.recipe)
        if recipe and recipe.asks_first and not await self._known(trigger):
            await say(Answer(text=answers.measuring(recipe, trigger.targets), instead=instead))
        if offered := await self._desk.offer(trigger):
            await say(offers.offer(offered))
            return None
        return await self._start(trigger)

    async def _start(self, trigger: Trigger) -> str:
        return await self._what_came_of(trigger, await self._desk.accept(trigger))

    async def _what_came_of(self, trigger: Trigger, capture: Capture | None) -> str:
        if capture:
            return answers.started(capture, trigger.place or Place(channel=""))
        known = await self._known(trigger)
        return answers.already(known.capture) if known else answers.refusal(_unknown())

    async def _known(self, trigger: Trigger) -> Accepted | None:
        """The acceptance of the same press, or of the same delivery."""
        event = await self._journal.keyed(trigger.key) if trigger.key else None
        return event if isinstance(event, Accepted) else None


def _unknown() -> UserError:
    return UserError("This button is not known here (any more).", cure="Type `/capture help` for what there is.")


async def _told(work: Awaitable[str | None], say: Say) -> None:
    """Say what came of *work*."""
    try:
        said = await work
    except UserError as error:
        said = answers.refusal(error)
    except JournalError as error:
        said = f"❌ {error.reason}"
    if said:
        await say(Answer(text=said))

"""Answers `/capture` and presses at the desk. No logic of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from bot.baselines.schedule import Planned
from bot.command import Compare, Link, MarkGood, Note, Report, Stop, Take, parse
from bot.desk import Desk
from bot.desk.joining import Taken
from bot.desk.offers import command
from bot.errors import DeliveryFailed, StoreError, UserError
from bot.incidents import Begun, FirstSets
from bot.journal import Journal
from bot.model import Accepted, Capture, Joined, Offered, Person, Place, Service, Source, Trigger, Verb
from bot.permission import about_capture
from bot.report.writing import Reports
from bot.reporters import slack_buttons
from bot.reporters.slack import SlackThread, message_of
from bot.reporters.slack_files import files, pages
from bot.reporters.suggestions import again_key, find
from bot.slack import answers, offers
from bot.slack.answering import Answering, Asking, Say, asking_of
from bot.slack.answers import Answer
from bot.slack.ending import Endings
from bot.slack.guide import Guide
from bot.slack.presses import Press
from bot.story import Story, story
from bot.tasks import Tasks

QUIET_S = 2.5  # what takes longer to be measured is said to be


class Incident(Protocol):
    """An incident as PagerDuty names it."""

    @property
    def id(self) -> str:
        """Its id, e.g. PABC123."""

    @property
    def title(self) -> str:
        """Its title."""

    @property
    def status(self) -> str:
        """Whether it is resolved."""

    @property
    def resolved_at(self) -> datetime | None:
        """Since when it is."""


class Incidents(Protocol):
    """Where incidents are looked up."""

    async def incident(self, reference: str) -> Incident:
        """Find one by id, number or address. Raises DeliveryFailed."""


class NoteTaker(Protocol):
    """Where words for PagerDuty's notes are taken."""

    async def command(self, text: str, who: Person, place: Place, key: str) -> str:
        """Take what stands behind `/capture note`; what becomes of it. Raises UserError and JournalError."""


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
        reports: Reports | None = None,
        notes: NoteTaker | None = None,
        planned: Callable[[], Awaitable[Sequence[Planned]]] | None = None,
    ) -> None:
        self._desk = desk
        self._first_sets = FirstSets(desk, now=now)
        self.home = ""  # address of the workspace, once Slack has told it
        self._journal = journal
        self._incidents = incidents
        self._endings = Endings(journal, incidents)
        self._offering = Tasks(lambda _name, _error: None)  # whoever asked gets its error
        self.untold = untold
        self._reports = reports
        self._guide = Guide(desk, recent=self.recent, untold=untold, planned=planned)
        self._now = now
        self._notes = notes
        self._answering = Answering(journal, now=now)

    async def command(self, body: dict[str, Any], say: Say) -> None:
        """Do what a slash command's payload asks for."""
        who = Person(id=body["user_id"], name=body.get("user_name") or body["user_id"])
        place = Place(channel=body["channel_id"], channel_name=body.get("channel_name", ""))
        await self.ask(body.get("text", ""), who, place, key=body.get("trigger_id"), say=say)

    async def ask(self, text: str, who: Person, place: Place, *, key: str | None, say: Say) -> None:
        """Do what *text* asks for, which stands behind `/capture` or a mention; *key* is of its delivery."""
        asking = Asking(who=who, place=place, what=f"/capture {text}".rstrip())
        await self._answering.answer(asking, self._serve(text, who, place, key=key, say=say), say)

    async def begin(self, trigger: Trigger, say: Say) -> None:
        """Start a capture that needs no agreement, or has it; say what came of it."""
        await self._answering.answer(_asking(trigger), self._start(trigger), say)

    async def take(self, trigger: Trigger, say: Say) -> None:
        """Start a capture, or offer it where it has a cost to agree to; say what came of it."""
        await self._answering.answer(_asking(trigger), self._take(trigger, say), say)

    async def recent(self) -> list[Story]:
        """The newest captures, newest first. Raises JournalError."""
        told = [story(await self._journal.events(capture_id)) for capture_id in await self._journal.recent()]
        return [one for one in told if one]

    async def press(self, press: Press, say: Say) -> None:
        """Do what the press of a button asks for."""
        await self._answering.answer(asking_of(press), self._pressed(press, say), say)

    # --- commands -----------------------------------------------------------------------------

    async def _serve(self, text: str, who: Person, place: Place, *, key: str | None, say: Say) -> str | None:
        asker = await self._desk.permission.admit(who, Source.SLACK, place)
        match parse(text):
            case Take(recipe=name) as ask if service := self._desk.services.get(name):
                return await self._first_set(service, ask, who, place, key=key)
            case Take() as ask:
                if not ask.targets and (recipe := self._desk.recipes.get(ask.recipe)):
                    self._guide.targets(recipe, asker)
                trigger = Trigger(
                    recipe=ask.recipe,
                    targets=ask.targets,
                    parameters=ask.parameters,
                    force=ask.force,
                    who=who,
                    source=Source.SLACK,
                    at=self._now(),
                    place=place,
                    key=f"slack {key}" if key else None,
                )
                return await self._take(trigger, say)
            case Stop(capture_id=capture_id):
                return answers.stopping(await self._desk.stop(capture_id, who, place=place))
            case Link(incident=reference):
                return await self._link(reference, who, place)
            case Report():
                await self._may_note(who, place)
                return await self._report(place, who)
            case Note(text=words):
                if self._notes is None:
                    raise _no_pagerduty()
                return await self._notes.command(words, who, place, key or "")
            case MarkGood(capture_id=capture_id):
                await self._may_note(who, place)
                told = await self._desk.comparisons.ended(capture_id)
                return answers.good(told.capture, await self._desk.goods.mark(told, who))
            case Compare(capture_id=capture_id, other_id=other_id):
                await self._may_note(who, place)  # it is told in the capture's thread
                for one in filter(None, (capture_id, other_id)):
                    await self._may_read(one, who, place)
                compared = await self._desk.comparisons.compare(capture_id, other_id)
                return answers.compared(compared, await self._desk.comparisons.ended(compared.capture_id))
            case ask:
                return await self._guide.tell(ask, asker)

    async def _may_note(self, who: Person, place: Place) -> None:
        await self._desk.permission.require(Verb.NOTE, who, Source.SLACK, place)

    async def _may_read(self, capture_id: str, who: Person, place: Place) -> None:
        told = await self._desk.comparisons.ended(capture_id)
        await self._desk.permission.require(Verb.FILES, who, Source.SLACK, place, about_capture(told.capture))

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
        return await self._what_came_of(begun.trigger, begun.taken)

    async def _link(self, reference: str, who: Person, place: Place) -> str:
        if self._incidents is None:
            raise _no_pagerduty()
        try:
            incident = await self._incidents.incident(reference)
        except DeliveryFailed as failure:
            raise UserError(failure.reason, cure=failure.cure) from failure
        await self._desk.link(place.channel, incident.id, who)
        return answers.linked(incident.id, incident.title)

    async def _report(self, place: Place, who: Person) -> str:
        if self._reports is None:
            raise UserError("No reports are written here.")
        try:
            return answers.reported(await self._reports.write(channel=place.channel, who=who))
        except StoreError as trouble:
            raise UserError(f"The report could not be stored. {trouble.reason}") from trouble

    # --- presses ------------------------------------------------------------------------------

    async def _pressed(self, press: Press, say: Say) -> str | None:
        await self._desk.permission.admit(press.who, Source.SLACK, press.place)
        match press.action:
            case slack_buttons.STOP:
                return await self._stop(press)
            case slack_buttons.AGAIN | slack_buttons.NEXT:
                return await self._take(await self._suggested(press), say)
            case slack_buttons.FILES:
                await say(await self._files(press))
                return None
            case slack_buttons.SEND:
                return await self._send(press)
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
        return answers.stopping(await self._desk.stop(told.capture.id, press.who, place=press.place))

    async def _files(self, press: Press) -> Answer:
        """A page of the files; the first one stands by itself, the others in place of the one before."""
        told, handing = await self._story(press), self._desk.handing
        raw = await handing.admit(told.capture, press.who, press.place)
        found = pages(told, raw=raw, link_chars=await handing.link_chars(told.files))
        _, _, page = press.value.partition(" ")
        if not told.state.ended or (page or "0") not in map(str, range(len(found))):
            raise _unknown()
        shown = found[int(page or "0")]
        handed = await handing.hand(told.capture, shown.files, press.who, press.place)
        message = files(told, replace(shown, links=handed.links, until=handed.until))
        return Answer(text=message.text, blocks=tuple(message.blocks), instead=bool(page))

    async def _send(self, press: Press) -> str:
        """The note tells it already where it belongs to an incident; else it is told in that of the channel's."""
        told = await self._story(press)
        if self._incidents is None:
            raise _no_pagerduty()
        belongs = await self._journal.incidents_of(told.capture.id)
        here = await self._journal.incident_of(press.place.channel)
        if here and here not in belongs:
            await self._desk.share(told.capture, here, press.who, press.place)
        elif not belongs:
            raise UserError(
                "This channel belongs to no incident, so there is no note to send it to.",
                cure="Type `/capture link INCIDENT`: everything that was captured here is then told in its note.",
            )
        incident = here or min(belongs)
        standing = await self._journal.standing(incident)
        url = standing.last.url if standing else ""
        return answers.sent(told, incident, url=url, new=incident not in belongs)

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
        if press.action == slack_buttons.NEXT:
            if (pick := find(told, press.value)) is None:
                raise _unknown()
            more = dict(pick.parameters)
            asked = replace(asked, recipe=pick.recipe, targets=(pick.target,), parameters=more, key=pick.key)
        await self._check_open(capture, asked)
        return asked

    async def _check_open(self, capture: Capture, asked: Trigger) -> None:
        """Buttons end with their incident; one that was pressed before still says what it started. Raises UserError."""
        place = capture.place.channel if capture.place else ""
        incident = capture.incident or await self._journal.incident_of(place)
        if incident and not await self._known(asked) and not await self._endings.is_open(incident):
            raise UserError(
                "The incident is resolved, and this button ended with it.",
                cure=f"What is wanted all the same can be typed: `{command(asked)}`.",
            )

    async def _story(self, press: Press) -> Story:
        """The capture that a button belongs to, which must be one of the channel that it was pressed in."""
        told = story(await self._journal.events(press.value.partition(" ")[0]))
        if told is None or press.place.channel not in {place.channel for place in told.places}:
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
        offering = self._offering.start(self._desk.offer(trigger), name="offer")
        recipe = self._desk.recipes.get(trigger.recipe)
        quick, _ = await asyncio.wait({offering}, timeout=QUIET_S)
        if not quick and recipe and recipe.asks_first:  # not at once: nothing takes these words away again
            await say(Answer(text=answers.measuring(trigger), instead=instead))
        if offered := await offering:
            await say(replace(offers.offer(offered), instead=instead))
        else:
            await say(Answer(text=await self._start(trigger), instead=instead))
        return None

    async def _start(self, trigger: Trigger) -> str:
        return await self._what_came_of(trigger, await self._desk.take(trigger))

    async def _what_came_of(self, trigger: Trigger, taken: Taken) -> str:
        if taken.asked:
            return answers.asked(taken.asked)
        said = [await self._joined(trigger, capture) for capture in taken.joined]
        if taken.capture:
            said.append(answers.started(taken.capture, trigger.place or Place(channel="")))
        if said:
            return "\n".join(said)
        known = await self._known(trigger)
        return answers.already(known) if known else answers.refusal(_unknown())

    async def _joined(self, trigger: Trigger, capture: Capture) -> str:
        """What is said of a capture that was there already, with the way to its thread."""
        place, thread = capture.place, ""
        if place and self.home:
            _, memory = await self._journal.memory(SlackThread.name, capture.id) or (0, {})
            if ts := message_of(memory, place.channel):
                thread = f"{self.home.rstrip('/')}/archives/{place.channel}/p{ts.replace('.', '')}"
        return answers.joined(trigger, capture, ago_s=(self._now() - capture.at).total_seconds(), thread=thread)

    async def _known(self, trigger: Trigger) -> Capture | None:
        """What became of the same press, or of the same delivery."""
        event = await self._journal.keyed(trigger.key) if trigger.key else None
        if isinstance(event, Joined) and (told := story(await self._journal.events(event.capture_id))):
            return told.capture
        return event.capture if isinstance(event, Accepted) else None


def _asking(trigger: Trigger) -> Asking:
    return Asking(who=trigger.who, place=trigger.place or Place(channel=""), what=command(trigger))


def _no_pagerduty() -> UserError:
    return UserError("PagerDuty is not set up.", cure="Whoever runs capturebot adds `pagerduty:` to its file.")


def _unknown() -> UserError:
    return UserError("This button is not known here (any more).", cure="Type `/capture help` for what there is.")

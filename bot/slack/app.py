"""Bolt listeners: acknowledge first, then hand over to the desk. No logic of their own."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltContext, AsyncRespond
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.web.async_client import AsyncWebClient

from bot.command import Ask, Help, Link, List, Status, Stop, Take, parse
from bot.desk import Desk
from bot.errors import DeliveryFailed, JournalError, UserError
from bot.journal import Journal
from bot.model import Person, Place, Source, Trigger
from bot.recipes import nearest
from bot.slack import answers
from bot.story import story

COMMAND = "/capture"

log = structlog.get_logger()


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
    """Answers `/capture` at the desk. What it returns is shown to the asker alone."""

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
        self._journal = journal
        self._incidents = incidents
        self._untold = untold
        self._now = now

    async def answer(self, body: dict[str, Any]) -> str | None:
        """Do what a slash command's payload asks for; None when nothing needs to be said."""
        who = Person(id=body["user_id"], name=body.get("user_name") or body["user_id"])
        place = Place(channel=body["channel_id"], channel_name=body.get("channel_name", ""))
        try:
            return await self._serve(parse(body.get("text", "")), who, place, key=body.get("trigger_id"))
        except UserError as error:
            return answers.refusal(error)
        except JournalError as error:
            return f"❌ {error.reason}"

    async def _serve(self, ask: Ask, who: Person, place: Place, *, key: str | None) -> str | None:
        match ask:
            case Help(recipe=None):
                return answers.help_all(self._desk.recipes)
            case Help(recipe=name):
                return self._help(name or "")
            case List():
                return answers.listing(self._desk.recipes, self._desk.targets)
            case Status():
                return await self._status()
            case Stop(capture_id=capture_id):
                return answers.stopping(await self._desk.stop(capture_id, who))
            case Link(incident=reference):
                return await self._link(reference, who, place)
            case Take():
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
                capture = await self._desk.accept(trigger)
                return answers.started(capture, channel=place.channel) if capture else None

    def _help(self, name: str) -> str:
        if recipe := self._desk.recipes.get(name):
            return answers.help_recipe(recipe, self._desk.targets.values())
        close = nearest(name, self._desk.recipes)
        raise UserError(
            f"There is no recipe `{name}`.", cure=f"Did you mean `{close}`?" if close else "See `/capture list`."
        )

    async def _status(self) -> str:
        told = [story(await self._journal.events(capture_id)) for capture_id in await self._journal.recent()]
        return answers.status([one for one in told if one], untold=self._untold())

    async def _link(self, reference: str, who: Person, place: Place) -> str:
        if self._incidents is None:
            raise UserError("PagerDuty is not set up.", cure="Whoever runs capturebot adds `pagerduty:` to its file.")
        try:
            incident = await self._incidents.incident(reference)
        except DeliveryFailed as failure:
            raise UserError(failure.reason, cure=failure.cure) from failure
        await self._desk.link(place.channel, incident.id, who)
        return answers.linked(incident.id, incident.title)


async def make_app(client: AsyncWebClient, clerk: Clerk) -> AsyncApp:
    """The Bolt app. Asks Slack who the bot is once, now, so that no command has to wait for it.

    Raises SlackApiError when Slack refuses the token.
    """
    me = await client.auth_test()

    async def authorize(**_: object) -> AuthorizeResult:
        return AuthorizeResult.from_auth_test_response(auth_test_response=me, bot_token=client.token)

    app = AsyncApp(client=client, authorize=authorize, ignoring_self_events_enabled=True)

    @app.command(COMMAND)
    async def capture(ack: AsyncAck, body: dict[str, Any], respond: AsyncRespond) -> None:
        await ack()
        if answer := await clerk.answer(body):
            await respond(text=answer, response_type="ephemeral", unfurl_links=False, unfurl_media=False)

    @app.error
    async def broke(error: Exception, body: dict[str, Any], context: AsyncBoltContext) -> None:
        error_id = secrets.token_hex(4)
        log.error("listener broke", error_id=error_id, kind=body.get("type", body.get("command")), exc_info=error)
        if isinstance(respond := context.get("respond"), AsyncRespond) and body.get("response_url"):
            await respond(text=f"❌ Something broke on capturebot's side (error {error_id}). Nothing was started.")

    return app

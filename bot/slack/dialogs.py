"""The dialog of a bare `/capture` and of the shortcut "Capture here": opens it, fills it, and takes it to the desk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

import aiohttp
import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncRespond
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.command import Help, Take, parse
from bot.desk import Desk
from bot.errors import JournalError, UserError
from bot.model import Offered, Person, Place, Recipe, Source, Target, Trigger
from bot.permission import Asker, NotAllowed
from bot.permission.menu import menu
from bot.recipes.parameters import fit
from bot.slack import answers, metadata, modal, offers
from bot.slack.answering import Say
from bot.slack.answers import Answer
from bot.slack.clerk import Clerk
from bot.slack.intake import Intake
from bot.slack.modal import Draft
from bot.slack.saying import beside, through

COMMAND = "/capture"
HERE = "capture_here"  # the shortcut's callback id
NEXT_TRIES = 8  # to replace a view that Slack may not have put there yet
NEXT_PAUSE_S = 0.25
TARGETS_COUNTED = 5  # whose budgets a dialog shows

log = structlog.get_logger()


class Dialogs:
    """Opens dialogs for whoever does not know by heart what to type."""

    def __init__(
        self, client: AsyncWebClient, desk: Desk, clerk: Clerk, *, intake: Intake, now: Callable[[], datetime]
    ) -> None:
        self._client = client
        self._intake = intake
        self._desk = desk
        self._clerk = clerk
        self._now = now

    def listen(self, app: AsyncApp) -> None:
        """Register with Bolt."""
        app.command(COMMAND, matchers=[self._leaves_open])(self._command)
        app.shortcut(HERE)(self._shortcut)
        app.options(modal.RECIPE)(self._recipes)
        app.options(modal.TARGETS)(self._targets)
        app.action(modal.RECIPE, matchers=[_in_a_view])(self._chosen)
        app.view(modal.CAPTURE)(self._submitted)
        app.view(modal.AGREE)(self._agreed)
        app.view(modal.CHOOSE)(self._narrowed)

    async def open(self, trigger_id: str, draft: Draft, who: Person) -> bool:
        """Show the dialog; False where Slack does not let it be shown any more, or *who* may run nothing of it."""
        asker = await self._asker(who, draft)
        recipe = self._recipe(draft.recipe)
        if not asker.member.membership.may_ask or (recipe and not self._fitting(recipe, asker)):
            return False
        try:
            await self._client.views_open(trigger_id=trigger_id, view=await self._form(draft, asker))
        except (SlackApiError, aiohttp.ClientError, TimeoutError) as error:
            log.warning("a dialog was not opened", error=str(error)[:200])
            return False
        return True

    # --- what opens it --------------------------------------------------------------------------

    async def _leaves_open(self, body: dict[str, Any]) -> bool:
        """Whether a command says too little to be run, and nothing wrong."""
        return self._draft(body) is not None

    def _draft(self, body: dict[str, Any]) -> Draft | None:
        text = body.get("text", "")
        place = Place(channel=body["channel_id"], channel_name=body.get("channel_name", ""))
        draft = Draft(place=place, answers_at=body.get("response_url", ""))
        try:
            asked = parse(text)
        except UserError:
            return None
        match asked:
            case Help(recipe=None) if not text.strip():
                return draft
            case Take(recipe=name, targets=(), parameters=given) if name in self._desk.recipes:
                variant = f" {given['name']}" if self._desk.recipes[name].variants and "name" in given else ""
                draft = replace(draft, recipe=name + variant, parameters=given)
                return draft if self._recipe(draft.recipe) else None
        return None

    async def _command(self, ack: AsyncAck, body: dict[str, Any], respond: AsyncRespond) -> None:
        await ack()
        draft, who = self._draft(body), Person(id=body["user_id"], name=body.get("user_name") or body["user_id"])
        if draft is None or not await self.open(body["trigger_id"], draft, who):
            await self._clerk.command(body, through(respond))

    async def _shortcut(self, ack: AsyncAck, body: dict[str, Any], respond: AsyncRespond) -> None:
        await ack()
        channel, message = body["channel"], body["message"]
        place = Place(
            channel=channel["id"],
            channel_name=channel.get("name", ""),
            thread_ts=message.get("thread_ts") or message["ts"],
        )
        draft, who = Draft(place=place, answers_at=body.get("response_url", "")), _person(body)
        if not await self.open(body["trigger_id"], draft, who):
            sorry = UserError("Slack did not let the dialog open.", cure="Choose the shortcut again.")
            try:
                await self._desk.permission.admit(who, Source.SLACK, place)
            except NotAllowed as refused:
                sorry = refused
            await through(respond)(Answer(text=answers.refusal(sorry)))

    # --- while it is filled in ------------------------------------------------------------------

    async def _recipes(self, ack: AsyncAck, payload: dict[str, Any], body: dict[str, Any]) -> None:
        asker = await self._asker(_person(body), modal.read(body["view"]))
        allowed = menu(self._desk, self._desk.permission, asker)
        typed = payload.get("value") or ""
        await ack(options=modal.recipe_options(allowed.recipes.values(), allowed.services.values(), typed))

    async def _targets(self, ack: AsyncAck, payload: dict[str, Any], body: dict[str, Any]) -> None:
        asker = await self._asker(_person(body), modal.read(body["view"]))
        fitting = self._fitting(self._recipe(modal.recipe_of(payload["block_id"])), asker)
        await ack(options=modal.target_options(fitting.values(), payload.get("value") or ""))

    async def _chosen(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        await ack()
        view = body["view"]
        draft = modal.read(view)
        kept = [report for block in view["state"]["values"].values() for report in block.values()]
        picked = [option["value"] for report in kept for option in report.get("selected_options") or []]
        draft = replace(draft, targets=tuple(dict.fromkeys(picked)))  # those that the new recipe is for stay chosen
        form = await self._form(draft, await self._asker(_person(body), draft))
        try:
            await self._client.views_update(view_id=view["id"], hash=view["hash"], view=form)
        except (SlackApiError, aiohttp.ClientError, TimeoutError) as error:
            log.warning("a dialog was not changed", error=str(error)[:200])  # closed, or chosen anew meanwhile

    # --- when it is sent ------------------------------------------------------------------------

    async def _submitted(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        draft = modal.read(body["view"])
        recipe = self._recipe(draft.recipe)
        who = _person(body)
        if draft.service in self._desk.services and draft.place:
            key = f"dialog {body['view']['id']}"
            say = self._saying(draft, who)
            await self._intake.first(self._clerk.ask(draft.service, who, draft.place, key=key, say=say))
            await ack()
            return
        if recipe is None or draft.place is None:
            await ack(response_action="update", view=await self._form(draft, await self._asker(who, draft)))
            return
        trigger = Trigger(
            recipe=draft.recipe.partition(" ")[0],
            targets=draft.targets,
            parameters=_meant(draft, recipe),
            who=who,
            source=Source.SLACK,
            at=self._now(),
            place=draft.place,
            key=f"slack {body['view']['id']}",
        )
        if faults := await self._faults(draft, recipe, trigger):
            await ack(response_action="errors", errors=faults)
        elif recipe.asks_first:
            await self._measure(ack, body, trigger, draft)
        else:
            await self._intake.first(self._clerk.begin(trigger, self._saying(draft, who)))
            await ack()

    async def _faults(self, draft: Draft, recipe: Recipe, trigger: Trigger) -> dict[str, str]:
        """What is wrong, by the block that it is to be read at."""
        faults = {}
        for parameter in recipe.parameters:
            try:
                if parameter.name in draft.parameters:
                    fit(parameter, draft.parameters[parameter.name])
            except UserError as error:
                faults[modal.parameter_block(draft.recipe, parameter.name)] = _unmarked(error)
        try:
            await self._desk.check(trigger)
        except UserError as error:
            if not faults:
                faults[modal.targets_block(draft.recipe)] = _unmarked(error)
        return faults

    async def _agreed(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        draft, who = modal.read(body["view"]), _person(body)
        await self._intake.first(self._begin_agreed(body, draft, who))
        await ack()

    async def _begin_agreed(self, body: dict[str, Any], draft: Draft, who: Person) -> None:
        say = self._saying(draft, who)
        try:
            offered = await self._desk.offers.find(modal.offer_of(body["view"]))
        except (UserError, JournalError) as error:
            await say(Answer(text=f"❌ {error}"))
            return
        await self._clerk.begin(replace(offered.trigger, who=who, at=self._now()), say)

    async def _narrowed(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        picked, who = modal.choice_of(body["view"]), _person(body)
        try:
            offered = await self._desk.offers.find(modal.offer_of(body["view"]))
        except (UserError, JournalError) as error:
            await ack(response_action="update", view=modal.said("Not captured", _unmarked(error)))
            return
        asked = offered.trigger
        if asked.who.id != who.id or picked not in map(str, range(len(offered.choices))):
            await ack(response_action="update", view=modal.said("Not captured", metadata.UNKNOWN))
            return
        more = {name: str(value) for name, value in offered.choices[int(picked)].parameters.items()}
        key = " ".join([asked.key or "", *(f"{name}={value}" for name, value in more.items())])
        parameters = {**asked.parameters, **more}
        trigger = replace(asked, parameters=parameters, key=key, offer=None, who=who, at=self._now())
        await self._measure(ack, body, trigger, modal.read(body["view"]))

    async def _measure(self, ack: AsyncAck, body: dict[str, Any], trigger: Trigger, draft: Draft) -> None:
        """Measure what it costs, with the dialog open, and ask there."""
        waiting = f"⏱️ Measuring what {trigger.recipe} would cost {', '.join(trigger.targets)} …"
        name = f"{body['view']['id']} {body['view']['hash']}"
        await ack(response_action="update", view={**modal.said("What it costs", waiting), "external_id": name})
        say = self._saying(draft, trigger.who)
        try:
            offered = await self._desk.offer(trigger)
        except UserError as error:
            shown, aside = modal.said("Not captured", _unmarked(error)), Answer(text=answers.refusal(error))
        except JournalError as error:
            shown, aside = modal.said("Not captured", error.reason), Answer(text=f"❌ {error.reason}")
        else:
            if offered is None:  # this very dialog was sent before
                await self._show_next(name, modal.said("What it costs", "That was agreed to, and is started."))
                await self._clerk.begin(trigger, say)
                return
            shown, aside = _asking(offered, draft), offers.offer(offered)
        if not await self._show_next(name, shown):
            await say(aside)  # whoever closed the dialog meanwhile is answered all the same

    # --- inside ---------------------------------------------------------------------------------

    def _recipe(self, chosen: str) -> Recipe | None:
        return next((one for value, one in modal.entries(self._desk.recipes.values()) if value == chosen), None)

    async def _asker(self, who: Person, draft: Draft) -> Asker:
        return await self._desk.permission.asker(who, Source.SLACK, draft.place, anywhere=draft.asks_place)

    def _fitting(self, recipe: Recipe | None, asker: Asker) -> dict[str, Target]:
        """The targets that *recipe* is for and *asker* may run it on."""
        if recipe is None:
            return {}
        names = self._desk.permission.may(asker, recipe, self._desk.fitting(recipe, self._desk.targets))
        return {name: self._desk.targets[name] for name in names}

    async def _form(self, draft: Draft, asker: Asker) -> dict[str, Any]:
        recipe = self._recipe(draft.recipe)
        service = self._desk.services.get(draft.service)
        left = ""
        if recipe:
            with suppress(JournalError):  # it is told when the dialog is sent
                left = await self._desk.ledger.left_here(asker.who, draft.place, draft.targets[:TARGETS_COUNTED])
        first = service.first if service else ()
        runs = {name: self._desk.fitting(self._desk.recipes[name], service.targets) for name in first if service}
        return modal.form(draft, recipe, self._fitting(recipe, asker), service=service, runs=runs, left=left)

    async def _show_next(self, name: str, view: dict[str, Any]) -> bool:
        """Replace the view that an acknowledgement has put there under *name*; False where it is closed.

        Slack may act on this call before it acts on the acknowledgement, and then knows no such view yet.
        """
        for _ in range(NEXT_TRIES):
            try:
                await self._client.views_update(external_id=name, view=view)
            except SlackApiError as error:
                if error.response.get("error") != "not_found":
                    log.warning("a dialog was not changed", error=str(error)[:200])
                    return False
            except (aiohttp.ClientError, TimeoutError) as error:
                log.warning("a dialog was not changed", error=str(error)[:200])
                return False
            else:
                return True
            await asyncio.sleep(NEXT_PAUSE_S)
        return False

    def _saying(self, draft: Draft, who: Person) -> Say:
        otherwise = through(AsyncRespond(response_url=draft.answers_at)) if draft.answers_at else None
        if draft.place is None or (otherwise and draft.place.thread_ts is None):
            return otherwise or _nowhere
        return beside(self._client, draft.place, who, otherwise=otherwise)


async def _in_a_view(body: dict[str, Any]) -> bool:
    return "view" in body


def _asking(offered: Offered, draft: Draft) -> dict[str, Any]:
    return modal.choice(offered, draft) if offered.choices else modal.agreement(offered, draft)


def _meant(draft: Draft, recipe: Recipe) -> dict[str, str]:
    """The parameters that are not what the recipe takes by itself: as somebody would type it."""
    usual = {parameter.name: str(parameter.default) for parameter in recipe.parameters}
    return {name: value for name, value in draft.parameters.items() if usual.get(name) != value}


def _person(body: dict[str, Any]) -> Person:
    user = body["user"]
    return Person(id=user["id"], name=user.get("name") or user.get("username") or user["id"])


def _unmarked(error: UserError | JournalError) -> str:
    """A refusal as plain text: dialogs show no markup."""
    return str(error).replace("`", "")


async def _nowhere(answer: Answer) -> None:
    log.warning("an answer has no place", text=answer.text[:200])

"""Presses under a request for an approval, and the dialog that asks why the glass is broken."""

from __future__ import annotations

import re
from typing import Any

import aiohttp
import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncRespond
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.approvals import Request
from bot.approvals.approving import REASON_CHARS, Approving, ending
from bot.model import Capture, Person, Place
from bot.reporters import slack_approval
from bot.reporters.slack_buttons import Block, plain
from bot.reporters.slack_message import escape
from bot.slack import metadata, modal
from bot.slack.answering import Answering, Asking, asking_of
from bot.slack.answers import Answer
from bot.slack.presses import Press, read
from bot.slack.saying import beside, through

ACTIONS = re.compile(f"(?:{slack_approval.APPROVE}|{slack_approval.DENY}|{slack_approval.GLASS})$")
VIEW = "capture-glass"  # callback id of the dialog
REASON = "reason"  # id of its field

log = structlog.get_logger()


class Approvals:
    """Acknowledges presses and has them done; says to whoever pressed what came of it."""

    def __init__(self, client: AsyncWebClient, approving: Approving, answering: Answering) -> None:
        self._client = client
        self._answering = answering
        self._approving = approving

    def listen(self, app: AsyncApp) -> None:
        """Register with Bolt."""
        app.action(ACTIONS)(self._pressed)
        app.view(VIEW)(self._reasoned)

    async def _pressed(self, ack: AsyncAck, body: dict[str, Any], respond: AsyncRespond) -> None:
        await ack()
        press = read(body)
        say = through(respond, thread_ts=press.place.thread_ts)
        await self._answering.answer(asking_of(press), self._do(press, body), say)

    async def _do(self, press: Press, body: dict[str, Any]) -> str:
        match press.action:
            case slack_approval.APPROVE:
                return _runs(await self._approving.approve(press.value, press.who, press.place))
            case slack_approval.DENY:
                return await self._deny(press)
            case _:
                request = await self._approving.breakable(press.value, press.who, press.place)
                return await self._ask_why(body["trigger_id"], request, press.place)

    async def _deny(self, press: Press) -> str:
        """End it, and say so to whoever asked too: an edited message calls nobody."""
        request = await self._approving.deny(press.value, press.who, press.place)
        said, asked = _ended(request), request.asked.trigger
        if asked.who.id != press.who.id and asked.place:
            await beside(self._client, asked.place, asked.who)(Answer(text=said))
        return said

    async def _ask_why(self, trigger_id: str, request: Request, place: Place) -> str:
        try:
            await self._client.views_open(trigger_id=trigger_id, view=_dialog(request, place))
        except (SlackApiError, aiohttp.ClientError, TimeoutError) as error:
            log.warning("a dialog was not opened", error=str(error)[:200])
            return "❌ Slack did not let the dialog open. Press again."
        return ""

    async def _reasoned(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        view, user = body["view"], body["user"]
        kept = metadata.read(view)
        if (place := kept.place) is None:
            await ack(response_action="update", view=modal.said("Break the glass", metadata.UNKNOWN))
            return
        who = Person(id=user["id"], name=user.get("name") or user.get("username") or user["id"])
        reason = str(view["state"]["values"].get(REASON, {}).get(REASON, {}).get("value") or "")
        least, most = REASON_CHARS
        if not least <= len(" ".join(reason.split())) <= most:
            await ack(
                response_action="errors", errors={REASON: f"Write {least} to {most} characters: everybody reads it."}
            )
            return
        await ack()
        asking = Asking(who=who, place=place, what=f"dialog {VIEW} {kept.approval}")
        await self._answering.answer(
            asking, self._break(kept.approval, who, place, reason), beside(self._client, place, who)
        )

    async def _break(self, approval_id: str, who: Person, place: Place, reason: str) -> str:
        return _runs(await self._approving.break_glass(approval_id, who, place, reason))


def _runs(capture: Capture) -> str:
    return f"🕓 `{capture.id}` runs: {escape(capture.recipe_title)} on {escape(', '.join(capture.targets))}."


def _ended(request: Request) -> str:
    what = f"{request.asked.trigger.recipe} on {', '.join(request.asked.seal.targets)}"
    icon = f"{request.ruled.ruling.icon} " if request.ruled else ""
    return f"{icon}{escape(what)} {escape(ending(request))}"


def _dialog(request: Request, place: Place) -> Block:
    """Asks for the reason; what it costs stands above, so that it is read again."""
    asked = request.asked
    least, most = REASON_CHARS
    what = f"{asked.trigger.recipe} on {', '.join(asked.seal.targets)}: {request.cost}."
    return {
        "type": "modal",
        "callback_id": VIEW,
        "title": plain("Break the glass", 24),
        "submit": plain("Capture now"),
        "close": plain("Cancel"),
        "private_metadata": metadata.write(metadata.Kept(place=place, approval=asked.approval_id)),
        "blocks": [
            {"type": "section", "text": plain(f"🚨 {what} Nobody has approved of it.", 2000)},
            {
                "type": "input",
                "block_id": REASON,
                "label": plain("Why it cannot wait for an approval"),
                "hint": plain("The channel, the incident's note and the journal keep it with your name.", 150),
                "element": {
                    "type": "plain_text_input",
                    "action_id": REASON,
                    "multiline": True,
                    "min_length": least,
                    "max_length": most,
                },
            },
        ],
    }

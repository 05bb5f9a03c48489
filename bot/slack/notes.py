"""What brings people's words into PagerDuty's notes: `/capture note`, a message's shortcut, a pin."""

from __future__ import annotations

import asyncio
import html
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import aiohttp
import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltContext
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.errors import JournalError, UserError
from bot.model import Person, Place
from bot.reporters.slack_buttons import Block, plain
from bot.reporters.slack_message import escape
from bot.slack import answers
from bot.slack.answers import Answer
from bot.slack.people import People
from bot.slack.saying import beside

SEND = "send_to_pagerduty"  # the shortcut's callback id, and that of its dialog
WORDS = "words"
NAMES_AT_MOST = 20  # looked up for one message
NAMES_S = 1.0  # before the dialog opens without them
INPUT_CHARS = 3000  # Slack's limit for what stands in an input

log = structlog.get_logger()

_REFERENCE = re.compile(r"<(?:(?P<kind>[@#!])(?P<id>[^|>]*)|(?P<address>[^|>]*))(?:\|(?P<label>[^>]*))?>")


class Taker(Protocol):
    """What takes words: `bot.notes.Exchange`."""

    async def incident(self, channel: str) -> str | None:
        """The incident whose notes take a channel's words."""

    async def renew(self, source: str, old: str, new: str) -> None:
        """Take the *new* words of what was noted in its *old* words. Raises JournalError."""

    async def note(
        self, text: str, *, source: str, who: Person, sender: Person, place: Place, said_at: datetime
    ) -> str:
        """Take words; what becomes of them, as a sentence. Raises UserError and JournalError."""


class Notes:
    """Reads what people want noted. *taker* is None where PagerDuty is not set up."""

    def __init__(
        self, client: AsyncWebClient, taker: Taker | None, people: People, *, now: Callable[[], datetime]
    ) -> None:
        self._client = client
        self._taker = taker
        self._people = people
        self._now = now

    def listen(self, app: AsyncApp) -> None:
        """Register with Bolt."""
        app.shortcut(SEND)(self._asked)
        app.view(SEND)(self._confirmed)
        app.event("pin_added")(self._pinned)
        app.event({"type": "message", "subtype": "message_changed"})(self._edited)

    async def command(self, text: str, who: Person, place: Place, key: str) -> str:
        """Take what stands behind `/capture note`; what becomes of it. Raises UserError and JournalError."""
        said = await self._there().note(
            await self._readable(text),
            source=f"{place.channel} {key}",
            who=who,
            sender=who,
            place=place,
            said_at=self._now(),
        )
        return f"📮 {escape(said)}"

    # --- the shortcut of a message ----------------------------------------------------------------

    async def _asked(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        await ack()
        message = _kept(body["channel"], body["message"])
        text = body["message"].get("text", "")
        try:
            async with asyncio.timeout(NAMES_S):
                text = await self._readable(text)
        except TimeoutError:
            log.info("names were not told in time")  # the dialog must be open three seconds after the press
        try:
            await self._client.views_open(trigger_id=body["trigger_id"], view=dialog(text, json.dumps(asdict(message))))
        except (SlackApiError, aiohttp.ClientError, TimeoutError) as error:
            log.warning("a dialog was not opened", error=str(error)[:200])
            sorry = UserError("Slack did not let the dialog open.", cure="Choose the shortcut again.")
            place = Place(channel=message.channel, thread_ts=message.thread_ts)
            await beside(self._client, place, _person(body))(Answer(text=answers.refusal(sorry)))

    async def _confirmed(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        await ack()
        view = body["view"]
        text = view["state"]["values"][WORDS][WORDS].get("value") or ""
        await self._take(text, _Kept(**json.loads(view["private_metadata"])), _person(body))

    # --- pins -------------------------------------------------------------------------------------

    async def _pinned(self, event: dict[str, Any], context: AsyncBoltContext) -> None:
        item = event.get("item") or {}
        message, channel = item.get("message"), str(event.get("channel_id") or item.get("channel"))
        if self._taker is None or not message or event.get("user") == context.bot_user_id:
            return
        if await self._taker.incident(channel) is None:
            return  # people pin for many reasons
        text = await self._readable(message.get("text", ""))
        await self._take(text, _kept({"id": channel}, message), await self._people.person(event["user"]))

    # --- edits ------------------------------------------------------------------------------------

    async def _edited(self, event: dict[str, Any]) -> None:
        message, before = event.get("message") or {}, event.get("previous_message") or {}
        texts = [str(one.get("text") or "") for one in (before, message)]
        if self._taker is None or "edited" not in message or texts[0] == texts[1]:
            return  # an app's own edits are no words of people
        if await self._taker.incident(event["channel"]) is None:
            return
        old, new = [await self._readable(text) for text in texts]
        await self._taker.renew(f"{event['channel']} {message['ts']}", old, new)

    # --- inside -----------------------------------------------------------------------------------

    def _there(self) -> Taker:
        if self._taker is None:
            raise UserError("PagerDuty is not set up.", cure="Whoever runs capturebot adds `pagerduty:` to its file.")
        return self._taker

    async def _take(self, text: str, message: _Kept, sender: Person) -> None:
        """Take the words of a message, and say to the sender alone what becomes of them."""
        where = Place(channel=message.channel, channel_name=message.channel_name)
        try:
            who = await self._people.person(message.user) if message.user else Person(id="", name=message.app)
            said = await self._there().note(
                text,
                source=f"{message.channel} {message.ts}",
                who=who,
                sender=sender,
                place=where,
                said_at=datetime.fromtimestamp(float(message.ts), UTC),
            )
            answer = f"📮 {escape(said)}"
        except UserError as error:
            answer = answers.refusal(error)
        except JournalError as error:
            answer = f"❌ {error.reason}"
        place = Place(channel=message.channel, thread_ts=message.thread_ts)
        await beside(self._client, place, sender)(Answer(text=answer))

    async def _readable(self, text: str) -> str:
        """A message's text as people read it: references become names, entities what they stand for."""
        found = {match["id"] for match in _REFERENCE.finditer(text) if match["kind"] == "@"}
        names = {user: (await self._people.person(user)).name for user in sorted(found)[:NAMES_AT_MOST]}
        return html.unescape(_REFERENCE.sub(lambda match: _named(match, names), text))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """What is needed of a message later: where it stands, and whose it is."""

    channel: str
    ts: str
    channel_name: str = ""
    thread_ts: str | None = None
    user: str = ""
    app: str = "an app"


def _kept(channel: Mapping[str, Any], message: Mapping[str, Any]) -> _Kept:
    return _Kept(
        channel=str(channel["id"]),
        channel_name=str(channel.get("name") or ""),
        ts=str(message["ts"]),
        thread_ts=message.get("thread_ts"),
        user=str(message.get("user") or ""),
        app=str(message.get("username") or "an app"),
    )


def _named(match: re.Match[str], names: Mapping[str, str]) -> str:
    label = match["label"] or ""
    if match["kind"] == "@":
        return f"@{names.get(match['id'], label or match['id'])}"
    if match["kind"] == "#":
        return f"#{label or match['id']}"
    if match["kind"] == "!":
        return label or f"@{match['id']}"
    return f"{label} ({match['address']})" if label and label not in match["address"] else match["address"]


def dialog(text: str, kept: str) -> Block:
    """The words of a message, to be sent as they are or changed first."""
    cut = len(text) > INPUT_CHARS
    element = {
        "type": "plain_text_input",
        "action_id": WORDS,
        "multiline": True,
        "max_length": INPUT_CHARS,
        "initial_value": text[:INPUT_CHARS],
    }
    hint = "With the name of whoever wrote it, and the time. Sent again, it replaces what stands there."
    more = f" Only the first {INPUT_CHARS:,} characters fit here." if cut else ""
    block = {
        "type": "input",
        "block_id": WORDS,
        "label": plain("A note of the incident"),
        "element": element,
        "hint": plain(hint + more, 200),
    }
    return {
        "type": "modal",
        "callback_id": SEND,
        "title": plain("Send to PagerDuty", 24),
        "submit": plain("Send"),
        "close": plain("Cancel"),
        "blocks": [block],
        "private_metadata": kept,
    }


def _person(body: Mapping[str, Any]) -> Person:
    user = body["user"]
    return Person(id=user["id"], name=user.get("name") or user.get("username") or user["id"])

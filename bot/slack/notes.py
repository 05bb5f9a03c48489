"""What brings people's words into PagerDuty's notes: `/capture note`, a message's shortcut, a pin."""

from __future__ import annotations

import asyncio
import html
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

import aiohttp
import structlog
from pydantic import TypeAdapter, ValidationError
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltContext
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.errors import JournalError, UserError
from bot.model import Person, Place, Source, Verb
from bot.permission import Permission
from bot.policy import Verdict
from bot.reporters.slack_buttons import Block, plain
from bot.reporters.slack_message import escape
from bot.slack import answers, metadata
from bot.slack.answers import Answer
from bot.slack.intake import Intake, done
from bot.slack.modal import said
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
        self, text: str, *, source: str, who: Person, sender: Person, place: Place, said_at: datetime, url: str = ""
    ) -> str:
        """Take words, which stand at *url*; what becomes of them, as a sentence. Raises UserError and JournalError."""


class Notes:
    """Reads what people want noted. *taker* is None where PagerDuty is not set up."""

    def __init__(
        self,
        client: AsyncWebClient,
        taker: Taker | None,
        people: People,
        *,
        intake: Intake,
        permission: Permission,
        now: Callable[[], datetime],
    ) -> None:
        self._permission = permission
        self._intake = intake
        self._client = client
        self._taker = taker
        self._people = people
        self._now = now

    def listen(self, app: AsyncApp) -> None:
        """Register with Bolt."""
        app.shortcut(SEND)(self._asked)
        app.view(SEND)(self._confirmed)

        async def pinned(
            event: dict[str, Any], context: AsyncBoltContext, next_: Callable[[], Awaitable[None]]
        ) -> None:
            await self._intake.first(self._pinned(event, context))
            await next_()

        async def edited(event: dict[str, Any], next_: Callable[[], Awaitable[None]]) -> None:
            await self._intake.first(self._edited(event))
            await next_()

        app.event("pin_added", middleware=[pinned])(done)
        app.event({"type": "message", "subtype": "message_changed"}, middleware=[edited])(done)

    async def command(self, text: str, who: Person, place: Place, key: str) -> str:
        """Take what stands behind `/capture note`; what becomes of it. Raises UserError and JournalError."""
        await self._permission.require(Verb.NOTE, who, Source.SLACK, place)
        said = await self._there().note(
            await self._readable(text),
            source=f"{place.channel} {key}",
            who=who,
            sender=who,
            place=await self._named(place),
            said_at=self._now(),
        )
        return f"📮 {escape(said)}"

    # --- the shortcut of a message ----------------------------------------------------------------

    async def _asked(self, ack: AsyncAck, body: dict[str, Any], context: AsyncBoltContext) -> None:
        await ack()
        message = _kept(body["channel"], body["message"], home=_home(context))
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
        view = body["view"]
        text = str(view["state"]["values"].get(WORDS, {}).get(WORDS, {}).get("value") or "")
        try:
            kept = _kept_json.validate_json(view.get("private_metadata") or "")
        except ValidationError:
            await ack(response_action="update", view=said("Not noted", metadata.UNKNOWN))
            return
        await self._intake.first(self._take(text, kept, _person(body)))
        await ack()

    # --- pins -------------------------------------------------------------------------------------

    async def _pinned(self, event: dict[str, Any], context: AsyncBoltContext) -> None:
        item = event.get("item") or {}
        message, channel = item.get("message"), str(event.get("channel_id") or item.get("channel"))
        if self._taker is None or not message or event.get("user") == context.bot_user_id:
            return
        if await self._taker.incident(channel) is None:
            return  # people pin for many reasons
        text = await self._readable(message.get("text", ""))
        kept = _kept({"id": channel}, message, home=_home(context))
        await self._take(text, kept, await self._people.person(event["user"]))

    # --- edits ------------------------------------------------------------------------------------

    async def _edited(self, event: dict[str, Any]) -> None:
        message, before = event.get("message") or {}, event.get("previous_message") or {}
        texts = [str(one.get("text") or "") for one in (before, message)]
        if self._taker is None or "edited" not in message or texts[0] == texts[1]:
            return  # an app's own edits are no words of people
        if await self._taker.incident(event["channel"]) is None:
            return
        editor, place = str(message["edited"].get("user") or ""), Place(channel=event["channel"])
        asker = await self._permission.asker(Person(id=editor, name=editor), Source.SLACK, place)
        if self._permission.decide(asker, Verb.NOTE).verdict is not Verdict.ALLOWED:
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
        where = await self._named(Place(channel=message.channel, channel_name=message.channel_name))
        try:
            await self._permission.require(Verb.NOTE, sender, Source.SLACK, where)
            who = await self._people.person(message.user) if message.user else Person(id="", name=message.app)
            said = await self._there().note(
                text,
                source=f"{message.channel} {message.ts}",
                who=who,
                sender=sender,
                place=where,
                said_at=datetime.fromtimestamp(float(message.ts), UTC),
                url=message.url,
            )
            answer = f"📮 {escape(said)}"
        except UserError as error:
            answer = answers.refusal(error)
        except JournalError as error:
            answer = f"❌ {error.reason}"
        place = Place(channel=message.channel, thread_ts=message.thread_ts)
        await beside(self._client, place, sender)(Answer(text=answer))

    async def _named(self, place: Place) -> Place:
        """With the name of the channel, which not every payload has."""
        if place.channel_name or (members := self._permission.members) is None:
            return place
        return replace(place, channel_name=await members.channel_name(place.channel))

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
    url: str = ""


_kept_json = TypeAdapter(_Kept)


def _kept(channel: Mapping[str, Any], message: Mapping[str, Any], *, home: str) -> _Kept:
    return _Kept(
        channel=str(channel["id"]),
        channel_name=str(channel.get("name") or ""),
        ts=str(message["ts"]),
        thread_ts=message.get("thread_ts"),
        user=str(message.get("user") or ""),
        app=str(message.get("username") or "an app"),
        url=str(message.get("permalink") or (address(home, channel["id"], message) if home else "")),
    )


def address(home: str, channel: str, message: Mapping[str, Any]) -> str:
    """Where a message opens in the workspace at *home*."""
    ts, thread = str(message["ts"]), str(message.get("thread_ts") or "")
    where = f"{home.rstrip('/')}/archives/{channel}/p{ts.replace('.', '')}"
    return f"{where}?thread_ts={thread}&cid={channel}" if thread not in ("", ts) else where


def _home(context: AsyncBoltContext) -> str:
    """The address of the workspace."""
    return str((context.authorize_result.url if context.authorize_result else None) or "")


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

"""Notes of PagerDuty as messages of the incident's channels, and words to one person about their own."""

from __future__ import annotations

from datetime import datetime

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.journal import Journal
from bot.model import Call, Person, Place, Room
from bot.reporters.slack_message import TEXT_CHARS, Message, escape
from bot.slack.answers import Answer
from bot.slack.board import Board, Posted
from bot.slack.saying import beside

REPORTER = "notes"  # under which what was shown is remembered
WHO_CHARS = 100

log = structlog.get_logger()


class Noticeboard:
    """Shows notes. *began* is when this process started: what is older may have been shown by another one."""

    def __init__(self, client: AsyncWebClient, journal: Journal, *, began: datetime) -> None:
        self._client = client
        self._journal = journal
        self._board = Board(client)
        self._began = began

    async def show(self, channel: str, call: Call) -> None:
        """See `bot.notes.Rooms.show`."""
        topic, piece = f"{channel} {call.note_id}", f"note {call.note_id}"
        _, memory = await self._journal.memory(REPORTER, topic) or (0, {})
        shown = Posted.recall(memory)
        if not memory:
            await self._enter(channel)
        room = Room(place=Place(channel=channel), at=min(call.at, self._began))
        await self._board.show(room, piece, message(call), shown)
        await self._journal.remember(REPORTER, topic, self._journal.last, shown.memory)

    async def tell(self, place: Place, who: Person, text: str) -> None:
        """See `bot.notes.Rooms.tell`."""
        await beside(self._client, place, who)(Answer(text=escape(text)))

    async def _enter(self, channel: str) -> None:
        """Be a member, where the channel is public; in a private one the bot is, or nobody can help it."""
        try:
            await self._client.conversations_join(channel=channel)
        except (SlackApiError, aiohttp.ClientError, TimeoutError) as error:
            log.info("a channel was not joined", channel=channel, error=str(error)[:200])


def message(call: Call) -> Message:
    """A note as the channel reads it: literal text, so that nothing in it is markup or calls anybody."""
    head = f"📝 {call.who[:WHO_CHARS] or 'Somebody'} noted in PagerDuty: "
    rest = "… the rest is in PagerDuty"
    text = "".join(c if c.isprintable() or c == "\n" else " " for c in call.note).strip()
    room = TEXT_CHARS - len(escape(head)) - len(rest)
    kept = _fitting(text, room)
    end = rest if call.trimmed or kept != text else ""
    spans = [{"type": "text", "text": head, "style": {"bold": True}}, {"type": "text", "text": kept + end or " "}]
    block = {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": spans}]}
    return Message(text=escape(head + kept + end), blocks=[block])


def _fitting(text: str, room: int) -> str:
    """As much of *text* as *room* characters hold once it is escaped."""
    kept = text[:room]
    while len(escape(kept)) > room:
        kept = kept[: len(kept) - max(1, (len(escape(kept)) - room) // 5)]
    return kept

"""The bot's own messages of a room, each kept current in its place. Every one carries its mark as metadata.

A post whose answer never came is found again by its mark, so that nothing is posted twice. What people delete stays away.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, field
from typing import Self

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.errors import DeliveryFailed
from bot.model import Room
from bot.reporters import Memory
from bot.reporters.slack import GONE, failure
from bot.reporters.slack_marks import find_marked, mark
from bot.reporters.slack_message import Message

AGAIN_S = 5.0  # after an answer that never came

log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class Posted:
    """What stands in a room, by piece. *unsure*: a post may have arrived although its answer did not."""

    ts: dict[str, str] = field(default_factory=dict)  # "" for one that people deleted
    told: dict[str, str] = field(default_factory=dict)  # digest of what it says
    pinned: list[str] = field(default_factory=list)  # pieces that are, or that cannot be
    unsure: bool = True

    @classmethod
    def recall(cls, memory: Memory) -> Self:
        """As it was remembered."""
        return cls(
            ts=dict(memory.get("ts", {})), told=dict(memory.get("told", {})), pinned=list(memory.get("pinned", []))
        )

    @property
    def memory(self) -> Memory:
        """To come back with."""
        return {"ts": self.ts, "told": self.told, "pinned": self.pinned}


class Board:
    """Posts, edits and pins."""

    def __init__(self, client: AsyncWebClient) -> None:
        self._client = client

    async def show(self, room: Room, piece: str, message: Message, shown: Posted, *, pin: bool = False) -> None:
        """Make the message of that *piece* say what it should; *shown* is changed with it. Raises DeliveryFailed."""
        try:
            await self._show(room, piece, message, shown)
            if pin and piece not in shown.pinned and shown.ts[piece]:
                await self._pin(room, shown.ts[piece])
                shown.pinned.append(piece)
        except SlackApiError as error:
            shown.unsure = shown.unsure or error.response.status_code >= 500
            raise failure(error) from error
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError) as error:
            shown.unsure = True
            raise DeliveryFailed(f"Slack did not answer ({type(error).__name__}).", retry_after=AGAIN_S) from error

    async def _show(self, room: Room, piece: str, message: Message, shown: Posted) -> None:
        digest = hashlib.sha256(json.dumps([message.text, list(message.blocks)]).encode()).hexdigest()
        if shown.told.get(piece) == digest or shown.ts.get(piece) == "":
            return
        if piece not in shown.ts and shown.unsure:
            await self._look_for_marks(room, shown)
        if piece not in shown.ts:
            shown.ts[piece] = await self._post(room, piece, message)
        else:
            await self._edit(room, piece, message, shown)
        shown.told[piece] = digest

    async def _post(self, room: Room, piece: str, message: Message) -> str:
        answer = await self._client.chat_postMessage(
            channel=room.place.channel,
            thread_ts=room.place.thread_ts,
            text=message.text,
            blocks=message.blocks,
            metadata=mark(piece, room=room.id),
            unfurl_links=False,
            unfurl_media=False,
        )
        return str(answer["ts"])

    async def _edit(self, room: Room, piece: str, message: Message, shown: Posted) -> None:
        try:
            await self._client.chat_update(
                channel=room.place.channel, ts=shown.ts[piece], text=message.text, blocks=message.blocks
            )
        except SlackApiError as error:
            if error.response.get("error") not in GONE:
                raise
            shown.ts[piece] = ""

    async def _pin(self, room: Room, ts: str) -> None:
        try:
            await self._client.pins_add(channel=room.place.channel, timestamp=ts)
        except SlackApiError as error:
            name = str(error.response.get("error"))
            if error.response.status_code == 429 or error.response.status_code >= 500:
                raise
            if name != "already_pinned":  # it is read without a pin, too
                log.warning("a message cannot be pinned", channel=room.place.channel, reason=name)

    async def _look_for_marks(self, room: Room, shown: Posted) -> None:
        """Find messages that were posted without being remembered, where the bot may read the channel."""
        place = room.place
        found = await find_marked(
            self._client, place.channel, since=room.at, thread=place.thread_ts or "", room=room.id
        )
        shown.ts = found | shown.ts
        shown.unsure = False

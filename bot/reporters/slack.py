"""The Slack thread: one message in the channel per capture, edited in place, details in its thread.

Every message carries its mark as metadata (capture id and piece), so that after a crash, or a post
whose answer never came, the reporter finds it again instead of posting twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.errors import DeliveryFailed
from bot.model import Capture, Place
from bot.reporters import Delivery, Memory
from bot.reporters.slack_marks import find_marked, mark
from bot.reporters.slack_message import Message, details, root
from bot.story import Story

EDIT_PAUSE_S = 1.2  # between two edits of one message
EDITS_PER_S = 36 / 60  # of the whole workspace; with the store below no more than the 50 a minute that Slack allows
EDITS_IN_STORE = 12  # that a quiet while leaves for a burst
EDITS_FOR_NEWS = 6  # of those, kept back from edits that only show progress
PROGRESS_PAUSE_S = 3.0  # how long a mere progress edit is held back when edits are short
KNOWN_AT_MOST = 1000  # threads

GONE = {"message_not_found", "thread_not_found", "cant_update_message", "edit_window_closed", "is_inactive"}
OUTSIDE = {"not_in_channel", "channel_not_found"}


@dataclass(slots=True)
class _Known:
    """What this process knows of one thread, ahead of what the journal remembers."""

    ts: dict[str, str] = field(default_factory=dict)  # piece → message; "" for one that people deleted
    told: dict[str, str] = field(default_factory=dict)  # piece → digest of what it says
    edited: dict[str, float] = field(default_factory=dict)  # piece → when
    headline: str = ""
    unsure: bool = False  # a post may have arrived although its answer did not


def message_of(memory: Memory, channel: str) -> str:
    """The message in *channel* that tells a capture, as `SlackThread` remembers it; "" where there is none yet."""
    return str(memory.get(channel, {}).get("ts", {}).get("root", ""))


class SlackThread:
    """Tells each capture in every channel that is to have it. *began* is when this process started.

    With *pagerduty* it can be sent there from each.
    """

    name = "slack"
    pause_s = 0.2

    def __init__(
        self, client: AsyncWebClient, *, began: datetime, clock: Callable[[], float], pagerduty: bool = False
    ) -> None:
        self._client = client
        self._pagerduty = pagerduty
        self._began = began
        self._clock = clock
        self._known: dict[tuple[str, str], _Known] = {}  # by capture and channel
        self._edits_left, self._edits_at = float(EDITS_IN_STORE), clock()

    def topic(self, capture: Capture, incident: str | None) -> str | None:  # noqa: ARG002  (the protocol's signature)
        """Every capture: one that has no place yet may be given one when a channel is linked to its incident."""
        return capture.id

    async def deliver(self, topic: str, stories: Sequence[Story], memory: Memory) -> Delivery:  # noqa: ARG002  (as above)
        """Post what is missing, edit what changed, in every place; progress waits when edits are short.

        Where one place fails the others are told all the same.
        """
        (story,) = stories
        held_back: list[float] = []
        failures: list[DeliveryFailed] = []
        remembered = {}
        for place in story.places:
            known = self._known_of(story, place, memory.get(place.channel, {}))
            try:
                held_back += await self._tell_there(story, place, known)
            except DeliveryFailed as trouble:
                failures.append(trouble)
            remembered[place.channel] = {"ts": known.ts, "told": known.told}
        if failures:
            raise min(failures, key=lambda trouble: math.inf if trouble.retry_after is None else trouble.retry_after)
        return Delivery(memory=remembered, again_after_s=min(held_back, default=None))

    def _known_of(self, story: Story, place: Place, memory: Memory) -> _Known:
        """What is known of a thread, the newer of what this process knows and what the journal remembers."""
        key = (story.capture.id, place.channel)
        if key not in self._known:
            known = _Known(ts=dict(memory.get("ts", {})), told=dict(memory.get("told", {})))
            # Another process told it so far, and may have died just after a post that it could not remember any more.
            known.unsure = bool(memory) or story.capture.at < self._began
            self._known[key] = known
        while len(self._known) > KNOWN_AT_MOST:
            self._known.pop(next(iter(self._known)))  # the journal remembers it too, if more slowly
        return self._known[key]

    async def _tell_there(self, story: Story, place: Place, known: _Known) -> list[float]:
        """Tell it in one place; returns after how many seconds what was held back is due."""
        try:
            return await self._tell(story, place, known)
        except SlackApiError as error:
            known.unsure = known.unsure or error.response.status_code >= 500
            raise failure(error) from error
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError) as error:
            known.unsure = True
            raise DeliveryFailed(f"Slack did not answer ({type(error).__name__}).", retry_after=5.0) from error

    async def _tell(self, story: Story, place: Place, known: _Known) -> list[float]:
        important = story.headline != known.headline or story.state.ended
        first = root(story, pagerduty=self._pagerduty)
        pieces = [("root", first), *((f"reply-{n}", reply) for n, reply in enumerate(details(story)))]
        held_back: list[float] = []
        for piece, message in pieces:
            if known.ts.get("root") == "":
                break  # people deleted the message: its thread is not theirs to be filled any more
            digest = hashlib.sha256(json.dumps([message.text, list(message.blocks)]).encode()).hexdigest()
            if known.told.get(piece) == digest or known.ts.get(piece) == "":
                continue
            if known.unsure and piece not in known.ts:
                await self._look_for_marks(story.capture, place, known)
            if piece not in known.ts:
                known.ts[piece] = await self._post(story.capture, place, piece, message, known)
            elif wait_s := self._must_wait(known, piece, important=important):
                held_back.append(wait_s)
                continue
            else:
                await self._edit(place, known, piece, message)
            known.told[piece] = digest
            known.edited[piece] = self._clock()
        if not held_back:  # else it stays news until it is told
            known.headline = story.headline
        return held_back

    # --- pacing -------------------------------------------------------------------------------

    def _must_wait(self, known: _Known, piece: str, *, important: bool) -> float:
        now = self._clock()
        due = known.edited.get(piece, -math.inf) + EDIT_PAUSE_S
        if now < due:
            return due - now
        self._edits_left = min(EDITS_IN_STORE, self._edits_left + (now - self._edits_at) * EDITS_PER_S)
        self._edits_at = now
        if not important and self._edits_left < EDITS_FOR_NEWS:
            return PROGRESS_PAUSE_S
        self._edits_left -= 1
        return 0.0

    # --- Slack's methods ----------------------------------------------------------------------

    async def _post(self, capture: Capture, place: Place, piece: str, message: Message, known: _Known) -> str:
        # Asked for in a thread, all of it stands there: a reply has no thread of its own.
        thread_ts = place.thread_ts or known.ts.get("root")
        arguments: dict[str, Any] = {
            "channel": place.channel,
            "text": message.text,
            "blocks": message.blocks,
            "thread_ts": thread_ts,
            "metadata": mark(piece, capture=capture.id),
            "unfurl_links": False,
            "unfurl_media": False,
        }
        try:
            answer = await self._client.chat_postMessage(**arguments)
        except SlackApiError as error:
            if error.response.get("error") != "not_in_channel":
                raise
            await self._client.conversations_join(channel=place.channel)
            answer = await self._client.chat_postMessage(**arguments)
        return str(answer["ts"])

    async def _edit(self, place: Place, known: _Known, piece: str, message: Message) -> None:
        try:
            await self._client.chat_update(
                channel=place.channel, ts=known.ts[piece], text=message.text, blocks=message.blocks
            )
        except SlackApiError as error:
            if error.response.get("error") not in GONE:
                raise
            known.ts[piece] = ""  # somebody deleted it, or Slack lets nobody edit it any more: leave it so

    async def _look_for_marks(self, capture: Capture, place: Place, known: _Known) -> None:
        """Find messages that were posted without being remembered, where the bot may read the channel."""
        if "root" not in known.ts and place.thread_ts is None:
            found = await find_marked(self._client, place.channel, since=capture.at, capture=capture.id)
            known.ts = found | known.ts
        if parent := place.thread_ts or known.ts.get("root"):
            found = await find_marked(self._client, place.channel, since=capture.at, thread=parent, capture=capture.id)
            known.ts = found | known.ts
        known.unsure = False


def failure(error: SlackApiError) -> DeliveryFailed:
    """What a refusal means, and when to try again."""
    answer = error.response
    if answer.status_code == 429:
        return DeliveryFailed("Slack asks to slow down.", retry_after=float(answer.headers.get("Retry-After", 1)))
    if answer.status_code >= 500:
        return DeliveryFailed(f"Slack answered {answer.status_code}.", retry_after=5.0)
    name = str(answer.get("error"))
    if name in OUTSIDE:
        return DeliveryFailed(
            "capturebot is not in that channel.", retry_after=30.0, cure="Type `/invite @capturebot` in it."
        )
    if name in {"internal_error", "fatal_error", "service_unavailable", "request_timeout"}:
        return DeliveryFailed(f"Slack answered {name}.", retry_after=5.0)
    if name in {"invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive", "missing_scope"}:
        return DeliveryFailed(
            f"Slack refuses the bot token ({name}).",
            retry_after=60.0,
            cure="`capturebot doctor` says what it lacks; one that is put where `slack.bot_token` points is used at once.",
        )
    return DeliveryFailed(f"Slack refuses the message ({name}).")

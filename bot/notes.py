"""What people say, both ways: words of a channel into PagerDuty's notes, notes of PagerDuty into the channel.

Everything is in the journal before it is carried over, and is carried over in the order in which it was said. Each side
has a mark by which it is found again, so that neither a restart nor an answer that never came makes a second one; and by
its mark the bot knows its own notes when PagerDuty tells of them, so that no words go round in circles.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol

import structlog

from bot.errors import DeliveryFailed, UserError
from bot.following import Follower
from bot.journal import Journal
from bot.model import (
    Call,
    Commented,
    Event,
    Heard,
    Linked,
    Mirrored,
    Noted,
    Person,
    Place,
    comments_key,
    mirrored_key,
    noted_key,
)
from bot.redact import Mask
from bot.reporters.pagerduty import NOTE_BYTES, OURS, Notes, last_line

TRIED_FOR_S = 24 * 3600.0  # after that, words that could not be carried over are given up
AGAIN_S = 30.0  # where a failure does not say when to try again
OTHERS_S = 60.0  # for so long another living process keeps what it took over
COMMENTS_AT_MOST = 100  # that a channel catches up with
LOOK_S = 2.0  # between two looks whether it is done with it

log = structlog.get_logger()


class Rooms(Protocol):
    """What is needed of Slack."""

    async def show(self, channel: str, call: Call) -> None:
        """Show a note of PagerDuty in a channel, in the place of what it said before. Raises DeliveryFailed."""

    async def tell(self, place: Place, who: Person, text: str) -> None:
        """Tell one person something; best effort."""


class Exchange:
    """Takes words of either side and carries them to the other.

    *mask* takes known secrets out of them.
    """

    def __init__(
        self,
        journal: Journal,
        notes: Notes,
        rooms: Rooms,
        *,
        mask: Mask,
        is_gone: Callable[[str], bool],
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._journal = journal
        self._notes = notes
        self._rooms = rooms
        self._mask = mask
        self._is_gone = is_gone
        self._now = now
        self._sleep = sleep

    def followers(self) -> list[Follower]:
        """What hands over to it what the journal has for it."""
        handlers = {"noted": self.send, "heard": self.hear, "commented": self.show, "linked": self.catch_up}
        return [
            Follower(self._journal, name=f"notes {kind}", kind=kind, handle=handle) for kind, handle in handlers.items()
        ]

    # --- words of Slack ---------------------------------------------------------------------------

    async def incident(self, channel: str) -> str | None:
        """The incident whose notes take a channel's words."""
        return await self._journal.incident_of(channel)

    async def note(
        self, text: str, *, source: str, who: Person, sender: Person, place: Place, said_at: datetime, url: str = ""
    ) -> str:
        """Take words, which stand at *url*, for the notes of the channel's incident; what becomes of them, as a sentence.

        Raises UserError where they cannot be taken, and JournalError.
        """
        incident = await self.incident(place.channel)
        if incident is None:
            raise UserError("This channel belongs to no incident yet.", cure="Type `/capture link INCIDENT` first.")
        text = self._mask(text, incident).strip()
        if not text:
            raise UserError("There are no words to be noted.", cure="Write `/capture note` and what is to be kept.")
        before = await self._newest(source)
        if before and (before.text, before.incident) == (text, incident):
            return _already(incident)
        noted = Noted(
            source=source,
            incident=incident,
            who=who,
            sender=sender,
            place=place,
            text=text,
            said_at=said_at,
            at=self._now(),
            owner=self._journal.owner,
            instead=before.key if before else "",
            url=url,
        )
        if (size := len(content(noted).encode())) > NOTE_BYTES:
            raise UserError(
                f"That is {size:,} bytes, and a note in PagerDuty has at most {NOTE_BYTES:,}.",
                cure="Note the part that matters.",
            )
        if not await self._journal.accept(noted):
            return _already(incident)
        return f"Goes into the notes of PagerDuty incident {incident}, as {who.name}'s."

    async def renew(self, source: str, old: str, new: str) -> None:
        """Follow an edit: what was noted in its *old* words, and not in words of its own, gets the *new* ones.

        Raises JournalError.
        """
        if (noted := await self._newest(source)) is None:
            return
        text = self._mask(new, noted.incident).strip()
        if noted.text != self._mask(old, noted.incident).strip() or not text:
            return
        renewed = replace(noted, text=text, at=self._now(), owner=self._journal.owner, instead=noted.key)
        if len(content(renewed).encode()) <= NOTE_BYTES:
            await self._journal.accept(renewed)

    async def _newest(self, source: str) -> Noted | None:
        """What was noted last of a message, if anything."""
        found = await self._journal.keyed_from(noted_key(source), most=1)
        return next((one for one in found if isinstance(one, Noted)), None)

    async def send(self, event: Event) -> None:
        """Carry words to PagerDuty; again without harm. Raises JournalError."""
        if not isinstance(event, Noted) or not await self._is_mine(event):
            return
        reason = await self._carried(event, partial(self._write, event))
        await self._journal.accept(Mirrored(of=event.key, at=self._now(), reason=reason))
        if reason:
            said = f"❌ Not in the notes of PagerDuty incident {event.incident}: {reason}"
            await self._rooms.tell(event.place, event.sender, said)

    async def _write(self, noted: Noted) -> None:
        wanted = content(noted)
        for note in await self._notes.list_notes(noted.incident):
            is_it = last_line(note.content) == last_line(wanted)
            if is_it and (
                note.content.strip() == wanted or await self._notes.edit_note(noted.incident, note.id, wanted)
            ):
                return
        await self._notes.create_note(noted.incident, wanted)

    # --- notes of PagerDuty -----------------------------------------------------------------------

    async def hear(self, event: Event) -> None:
        """Take a person's note that PagerDuty called about; again without harm. Raises JournalError."""
        if not isinstance(event, Heard) or event.call.what != "incident.annotated" or await self._is_ours(event):
            return
        await self._journal.accept(Commented(call=event.call, at=self._now(), owner=self._journal.owner))

    async def show(self, event: Event) -> None:
        """Carry a note into the channels of its incident; again without harm. Raises JournalError."""
        if not isinstance(event, Commented) or not await self._is_mine(event):
            return
        channels = [event.channel] if event.channel else await self._journal.channels_of(event.call.incident)
        reasons = [await self._carried(event, partial(self._rooms.show, one, event.call)) for one in channels]
        await self._journal.accept(Mirrored(of=event.key, at=self._now(), reason=" ".join(filter(None, reasons))))

    async def catch_up(self, event: Event) -> None:
        """Take for a channel that was linked now what people wrote before; again without harm. Raises JournalError."""
        if not isinstance(event, Linked):
            return
        said = await self._journal.keyed_from(comments_key(event.incident), most=COMMENTS_AT_MOST)
        newest = {one.call.note_id: one.call for one in said if isinstance(one, Commented)}
        for call in newest.values():
            taken = Commented(call=call, at=self._now(), owner=self._journal.owner, channel=event.channel)
            await self._journal.accept(taken)

    async def _is_ours(self, heard: Heard) -> bool:
        """Whether the bot wrote a note, by its last line, which PagerDuty leaves out of what is too long."""
        ends = [last_line(heard.call.note)]

        async def look() -> None:
            notes = await self._notes.list_notes(heard.call.incident)
            ends.extend(last_line(note.content) for note in notes if note.id == heard.call.note_id)

        if heard.call.trimmed:
            await self._carried(heard, look)
        return any(end.startswith(OURS) for end in ends)

    # --- both -------------------------------------------------------------------------------------

    async def _is_mine(self, event: Noted | Commented) -> bool:
        """Whether it is still to be done, by this process: what another one took over is its own while it lives."""
        while await self._journal.keyed(mirrored_key(event.key)) is None:
            late = self._now() - event.at > timedelta(seconds=OTHERS_S)
            if event.owner == self._journal.owner or late or self._is_gone(event.owner):
                return True
            await self._sleep(LOOK_S)
        return False

    async def _carried(self, event: Noted | Commented | Heard, carry: Callable[[], Awaitable[None]]) -> str:
        """Try until it is done; why it never will be, or ""."""
        while True:
            try:
                await carry()
            except DeliveryFailed as failure:
                late = self._now() - event.at > timedelta(seconds=TRIED_FOR_S)
                log.warning("words are not carried over", key=event.key, reason=failure.reason)
                if failure.retry_after is None or late:
                    return f"{failure.reason} {failure.cure}".strip()
                await self._sleep(failure.retry_after or AGAIN_S)
            else:
                return ""


def _already(incident: str) -> str:
    return f"That is in the notes of {incident} already, or on its way."


def content(noted: Noted) -> str:
    """The note as PagerDuty keeps it; its last line is our mark."""
    where = f" in #{noted.place.channel_name.lstrip('#')}" if noted.place.channel_name else " in Slack"
    by = f", sent by {noted.sender.name}" if noted.sender.id != noted.who.id else ""
    at = f"{noted.said_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    link = f"{noted.url}\n" if noted.url else ""
    return f"{noted.who.name}{where}, {at}{by}:\n{noted.text}\n{link}\n{OURS}{noted.source}"

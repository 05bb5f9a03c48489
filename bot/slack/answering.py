"""Says what came of what somebody asked, and keeps in the journal what was refused and nobody has kept yet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from bot.errors import JournalError, UserError
from bot.journal import Journal
from bot.model import Person, Place, Rejected
from bot.slack import answers
from bot.slack.answers import Answer
from bot.slack.presses import Press

WHAT_CHARS = 300  # of what was typed or pressed

Say = Callable[[Answer], Awaitable[None]]  # to whoever asked, and nobody else


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What somebody typed or pressed, as it came, and where."""

    who: Person
    place: Place
    what: str


def asking_of(press: Press) -> Asking:
    """The press of a button."""
    return Asking(who=press.who, place=press.place, what=f"button {press.action} {press.value}".rstrip())


class Answering:
    """Answers work that ends in a sentence or in an error for whoever asked."""

    def __init__(self, journal: Journal, *, now: Callable[[], datetime]) -> None:
        self._journal = journal
        self._now = now

    async def answer(self, asking: Asking, work: Awaitable[str | None], say: Say) -> None:
        """Say what comes of *work*."""
        try:
            said = await work
        except UserError as error:
            said = answers.refusal(error)
            if not error.kept:
                said = await self._keep(asking, error, said)
        except JournalError as error:
            said = f"❌ {error.reason}"
        if said:
            await say(Answer(text=said))

    async def _keep(self, asking: Asking, error: UserError, said: str) -> str:
        rejected = Rejected(
            who=asking.who, place=asking.place, what=asking.what[:WHAT_CHARS], reason=str(error), at=self._now()
        )
        try:
            await self._journal.append(rejected)
        except JournalError as trouble:
            return f"{said}\n❌ {trouble.reason}"
        return said

"""Whoever asks is answered, and what is refused is in the journal once: also what never became a trigger."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bot.errors import JournalError, UserError
from bot.journal import Journal
from bot.model import Rejected
from bot.slack.answering import WHAT_CHARS, Answering, Asking
from bot.slack.answers import Answer
from tests.fakes import ANA, AT, HERE, Clock

FORGED = Asking(who=ANA, place=HERE, what="button stop zzz999")


class Desk:
    """An answering window and what it says."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.said: list[str] = []
        self._answering = Answering(journal, now=Clock())

    async def ask(self, asking: Asking, *, error: Exception | None = None, said: str | None = None) -> None:
        """Ask for something that ends in an error, or in what is *said*."""

        async def work() -> str | None:
            if error:
                raise error
            return said

        async def say(answer: Answer) -> None:
            self.said.append(answer.text)

        await self._answering.answer(asking, work(), say)

    async def events(self) -> list[object]:
        """What the journal has."""
        return [event for _, event in await self.journal.after(0)]


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    """One with an empty journal."""
    journal = await Journal.open("sqlite://", owner="me")
    yield Desk(journal)
    await journal.close()


async def test_a_forged_button_is_answered_and_kept(desk: Desk) -> None:
    """With who pressed it, where, and what came with it."""
    await desk.ask(FORGED, error=UserError("This button is not known here (any more).", cure="Type `/capture help`."))

    assert desk.said == ["❌ This button is not known here (any more). Type `/capture help`."]
    reason = "This button is not known here (any more). Type `/capture help`."
    assert await desk.events() == [Rejected(who=ANA, place=HERE, what="button stop zzz999", reason=reason, at=AT)]


async def test_what_is_kept_already_is_not_kept_twice(desk: Desk) -> None:
    """A refusal of the desk or of the rules has an event of its own."""
    error = UserError("Not for you.")
    error.kept = True

    await desk.ask(FORGED, error=error)

    assert (desk.said, await desk.events()) == (["❌ Not for you."], [])


async def test_what_is_done_needs_no_other_event(desk: Desk) -> None:
    """It has its own; what only says something has none."""
    await desk.ask(FORGED, said="✋ Stopping.")
    await desk.ask(FORGED)

    assert (desk.said, await desk.events()) == (["✋ Stopping."], [])


async def test_however_much_is_typed_little_is_kept(desk: Desk) -> None:
    """The beginning tells what it was."""
    await desk.ask(Asking(who=ANA, place=HERE, what="x" * 40_000), error=UserError("What?"))

    (rejected,) = await desk.events()
    assert isinstance(rejected, Rejected)
    assert len(rejected.what) == WHAT_CHARS


async def test_a_journal_that_takes_nothing_is_told_with_the_refusal(desk: Desk) -> None:
    """Nobody waits for an answer in vain."""

    class Away(Journal):
        async def append(self, *events: object) -> int:
            raise JournalError("The journal cannot be written.")

    desk._answering = Answering(Away(desk.journal._engine, owner="me"), now=Clock())

    await desk.ask(FORGED, error=UserError("What?"))

    assert desk.said == ["❌ What?\n❌ The journal cannot be written."]

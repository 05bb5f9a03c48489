"""What Slack tells is in the journal before it is acknowledged, as long as that does not take too long."""

from __future__ import annotations

import asyncio

import pytest

from bot.errors import JournalError
from bot.slack.intake import Intake


async def test_what_is_accepted_at_once_is_waited_for() -> None:
    """Then it is acknowledged."""
    done: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0)
        done.append("accepted")

    await Intake(within_s=60).first(work())

    assert done == ["accepted"]


async def test_what_takes_long_goes_on_after_the_acknowledgement() -> None:
    """And the bot does not leave before it has ended."""
    go_on, done = asyncio.Event(), list[str]()

    async def work() -> None:
        await go_on.wait()
        done.append("accepted")

    intake = Intake(within_s=0.0)
    await intake.first(work())
    before = list(done)
    go_on.set()
    await intake.close(60)

    assert (before, done) == ([], ["accepted"])


async def test_what_cannot_be_accepted_is_not_acknowledged() -> None:
    """The error comes to Bolt, and Slack sends the event again."""

    async def work() -> None:
        raise JournalError("The journal is away.")

    with pytest.raises(JournalError):
        await Intake(within_s=60).first(work())


async def test_what_never_ends_is_ended_with_the_bot() -> None:
    """Within the time that there is."""
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    intake = Intake(within_s=0.0)
    await intake.first(work())
    await asyncio.sleep(0)
    await intake.close(0.01)

    assert ended.is_set()

"""People's words through the whole bot as a process: commands, signed calls, and kill -9 in between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from bot.playground.estate import INCIDENT, Estate, _listen, bot, estate

pytestmark = pytest.mark.live

WITHIN_S = 20.0


@asynccontextmanager
async def office(folder: Path) -> AsyncIterator[Estate]:
    """Everything but the bot, which PagerDuty is to call."""
    async with estate(folder, port=0, targets={"here": {"local": True}}) as here:
        config = yaml.safe_load(here.config.read_text())
        _listen(here, config)
        here.config.write_text(yaml.safe_dump(config))
        yield here


def notes(here: Estate, words: str) -> list[str]:
    """The incident's notes that say *words*."""
    return [note["content"] for note in here.pagerduty.notes(INCIDENT) if words in note["content"]]


def shown(here: Estate, words: str) -> list[str]:
    """The channel's messages that show a note of PagerDuty with these words."""
    told = here.workspace.messages(here.channel)
    return [one.text for one in told if "noted in PagerDuty" in one.text and words in one.text]


async def say(here: Estate, line: str, answer: str) -> None:
    """Type a command and read the answer to it."""
    before = len(here.workspace.ephemerals(here.channel, here.user))
    await here.workspace.command(here.channel, here.user, line)
    await here.workspace.wait_for(
        lambda: any(answer in one.text for one in here.workspace.ephemerals(here.channel, here.user)[before:]), WITHIN_S
    )


async def test_words_reach_the_other_side_once(tmp_path: Path) -> None:
    """Both ways, in a living bot and over its sudden end; none comes back to where it was said."""
    async with office(tmp_path) as here:
        async with bot(here) as process:
            await say(here, f"/capture link {INCIDENT}", "belongs to PagerDuty incident")
            await say(here, "/capture note the cache is cold", "Goes into the notes")
            await here.pagerduty.wait_for(lambda: bool(notes(here, "the cache is cold")), WITHIN_S)
            here.pagerduty.write_note(INCIDENT, "I restart the cache")
            await here.workspace.wait_for(lambda: shown(here, "I restart the cache"), WITHIN_S)
            process.kill()
            await process.wait()

        async with bot(here):
            await say(here, "/capture note it is warm again", "Goes into the notes")
            here.pagerduty.write_note(INCIDENT, "done")
            await here.workspace.wait_for(lambda: shown(here, "done"), WITHIN_S)
            await here.pagerduty.wait_for(lambda: bool(notes(here, "it is warm again")), WITHIN_S)

        assert [len(notes(here, words)) for words in ("the cache is cold", "it is warm again")] == [1, 1]
        assert [len(shown(here, words)) for words in ("I restart the cache", "done", "the cache is")] == [1, 1, 0]

"""Presses under an announcement: a recipe that is offered, or the service that a room is about."""

from __future__ import annotations

import re
from typing import Any

from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncRespond

from bot.errors import JournalError, UserError
from bot.reporters.slack_announcement import RUN, SERVICE
from bot.slack import answers
from bot.slack.answers import Answer
from bot.slack.clerk import Clerk, Say
from bot.slack.keeper import Keeper
from bot.slack.presses import Press, read
from bot.slack.saying import through

ACTIONS = re.compile(rf"(?:{RUN}|{SERVICE})(?:-\d+)?$")


class Choices:
    """Acknowledges presses, and has them done: by *keeper* what a room is about, by *clerk* what is to run."""

    def __init__(self, keeper: Keeper, clerk: Clerk) -> None:
        self._keeper = keeper
        self._clerk = clerk

    def listen(self, app: AsyncApp) -> None:
        """Hear of presses."""

        @app.action(ACTIONS)
        async def press(ack: AsyncAck, body: dict[str, Any], respond: AsyncRespond) -> None:
            await ack()
            pressed = read(body)
            await self.take(pressed, through(respond, thread_ts=pressed.place.thread_ts))

    async def take(self, press: Press, say: Say) -> None:
        """Do what was pressed, and say to whoever did what came of it."""
        try:
            if press.action == SERVICE:
                await say(Answer(text=await self._keeper.choose(press)))
            else:
                await self._clerk.take(await self._keeper.offered(press), say)
        except UserError as error:
            await say(Answer(text=answers.refusal(error)))
        except JournalError as error:
            await say(Answer(text=f"❌ {error.reason}"))

"""Presses under an announcement: a recipe that is offered, or the service that a room is about."""

from __future__ import annotations

import re
from typing import Any

from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncRespond

from bot.reporters.slack_announcement import RUN, SERVICE
from bot.slack.answering import Answering, Say, asking_of
from bot.slack.clerk import Clerk
from bot.slack.keeper import Keeper
from bot.slack.presses import Press, read
from bot.slack.saying import through

ACTIONS = re.compile(rf"(?:{RUN}|{SERVICE})(?:-\d+)?$")


class Choices:
    """Acknowledges presses, and has them done: by *keeper* what a room is about, by *clerk* what is to run."""

    def __init__(self, keeper: Keeper, clerk: Clerk, answering: Answering) -> None:
        self._answering = answering
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
        await self._answering.answer(asking_of(press), self._taken(press, say), say)

    async def _taken(self, press: Press, say: Say) -> str | None:
        if press.action == SERVICE:
            return await self._keeper.choose(press)
        await self._clerk.take(await self._keeper.offered(press), say)
        return None

"""`@capturebot db orders-db`: the words of `/capture`, where slash commands do not work: in threads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from slack_bolt.async_app import AsyncApp, AsyncBoltContext
from slack_sdk.web.async_client import AsyncWebClient

from bot.model import Place
from bot.slack.clerk import Clerk
from bot.slack.intake import Intake, done
from bot.slack.people import People
from bot.slack.saying import beside


class Mentions:
    """Has the clerk do what follows a mention of the bot, told in the thread that it stands in."""

    def __init__(self, client: AsyncWebClient, clerk: Clerk, people: People, intake: Intake) -> None:
        self._client = client
        self._intake = intake
        self._clerk = clerk
        self._people = people

    def listen(self, app: AsyncApp) -> None:
        """Register with Bolt."""

        async def keep(event: dict[str, Any], context: AsyncBoltContext, next_: Callable[[], Awaitable[None]]) -> None:
            await self._intake.first(self._mentioned(event, context))
            await next_()

        app.event("app_mention", middleware=[keep])(done)

    async def _mentioned(self, event: dict[str, Any], context: AsyncBoltContext) -> None:
        if not event.get("user") or event.get("bot_id"):  # another app's words start nothing
            return
        who = await self._people.person(event["user"])
        place = Place(channel=event["channel"], thread_ts=event.get("thread_ts"))
        said = words(event.get("text", ""), context.bot_user_id or "")
        key = f"mention {event['channel']} {event['ts']}"  # the same when Slack sends the event again
        await self._clerk.ask(said, who, place, key=key, say=beside(self._client, place, who))


def words(text: str, bot: str) -> str:
    """What follows the mention of *bot* on its line."""
    return text.partition(f"<@{bot}>")[2].partition("\n")[0].strip()

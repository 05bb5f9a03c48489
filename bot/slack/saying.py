"""How what one person asked for is answered to that person alone."""

from __future__ import annotations

import aiohttp
import structlog
from slack_bolt.async_app import AsyncRespond
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.model import Person, Place
from bot.slack.answering import Say
from bot.slack.answers import Answer

log = structlog.get_logger()


def through(respond: AsyncRespond, *, thread_ts: str | None = None) -> Say:
    """Answers through a payload's response URL: where that person is looking, also where the bot is no member."""

    async def say(answer: Answer) -> None:
        response = await respond(
            text=answer.text,
            blocks=answer.blocks or None,
            response_type="ephemeral",
            replace_original=answer.instead,
            thread_ts=None if answer.instead else thread_ts,
            unfurl_links=False,
            unfurl_media=False,
        )
        if response.status_code != 200:
            log.warning("an answer was not shown", status=response.status_code, said=response.body[:200])

    return say


def beside(client: AsyncWebClient, place: Place, who: Person, *, otherwise: Say | None = None) -> Say:
    """Answers in a channel or thread, where there is no response URL for it; *otherwise* where the bot may not."""

    async def say(answer: Answer) -> None:
        try:
            await client.chat_postEphemeral(
                channel=place.channel,
                user=who.id,
                text=answer.text,
                blocks=answer.blocks or None,
                thread_ts=place.thread_ts,
            )
        except (SlackApiError, aiohttp.ClientError, TimeoutError) as error:
            if otherwise:
                await otherwise(answer)
            else:  # the story itself still comes, by the reporter, which tries again
                log.warning("an answer was not shown", channel=place.channel, error=str(error)[:200])

    return say

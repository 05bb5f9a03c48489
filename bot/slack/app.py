"""Bolt listeners: acknowledge first, then hand over to the clerk."""

from __future__ import annotations

import re
import secrets
from typing import Any

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltContext, AsyncRespond
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.web.async_client import AsyncWebClient

from bot.slack.answers import Answer
from bot.slack.clerk import Clerk, Say
from bot.slack.presses import read

COMMAND = "/capture"
ANY_ACTION = re.compile("")

log = structlog.get_logger()


async def make_app(client: AsyncWebClient, clerk: Clerk) -> AsyncApp:
    """The Bolt app. Asks Slack who the bot is once, now, so that no command has to wait for it.

    Raises SlackApiError when Slack refuses the token.
    """
    me = await client.auth_test()

    async def authorize(**_: object) -> AuthorizeResult:
        return AuthorizeResult.from_auth_test_response(auth_test_response=me, bot_token=client.token)

    app = AsyncApp(client=client, authorize=authorize, ignoring_self_events_enabled=True)

    @app.command(COMMAND)
    async def command(ack: AsyncAck, body: dict[str, Any], respond: AsyncRespond) -> None:
        await ack()
        await clerk.command(body, _whispering(respond))

    @app.action(ANY_ACTION)  # one that nobody knows is answered too, and so not sent again
    async def press(ack: AsyncAck, body: dict[str, Any], respond: AsyncRespond) -> None:
        await ack()
        pressed = read(body)
        await clerk.press(pressed, _whispering(respond, thread_ts=pressed.place.thread_ts))

    @app.error
    async def broke(error: Exception, body: dict[str, Any], context: AsyncBoltContext) -> None:
        error_id = secrets.token_hex(4)
        log.error("listener broke", error_id=error_id, kind=body.get("type", body.get("command")), exc_info=error)
        if isinstance(respond := context.get("respond"), AsyncRespond) and body.get("response_url"):
            said = f"❌ Something broke on capturebot's side (error {error_id}). `/capture status` says what runs."
            await respond(text=said, response_type="ephemeral", replace_original=False)

    return app


def _whispering(respond: AsyncRespond, *, thread_ts: str | None = None) -> Say:
    """Answers through a payload's response URL: to one person, where that person is looking."""

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

"""Bolt listeners: acknowledge first, then hand over to the clerk."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltContext, AsyncRespond
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.web.async_client import AsyncWebClient

from bot.slack.clerk import Clerk
from bot.slack.directory import Directory, sender
from bot.slack.presses import read
from bot.slack.saying import through

COMMAND = "/capture"
ANY_ACTION = re.compile("")

Listener = Callable[[AsyncApp], None]  # registers what it wants to hear of

log = structlog.get_logger()


async def make_app(client: AsyncWebClient, clerk: Clerk, directory: Directory, *listeners: Listener) -> AsyncApp:
    """The Bolt app. Asks Slack who the bot is once, now, so that no command has to wait for it.

    *listeners* come before the clerk: what one of them takes, the clerk does not hear of.
    Raises SlackApiError when Slack refuses the token.
    """
    me = await client.auth_test()
    clerk.home = str(me.get("url") or "")
    directory.settle({name: me.get(name) for name in ("team_id", "enterprise_id")})

    async def authorize(**_: object) -> AuthorizeResult:
        return AuthorizeResult.from_auth_test_response(auth_test_response=me, bot_token=client.token)

    app = AsyncApp(client=client, authorize=authorize, ignoring_self_events_enabled=True)
    app.middleware(_hearing(directory))
    for listen in listeners:
        listen(app)

    @app.command(COMMAND)
    async def command(ack: AsyncAck, body: dict[str, Any], respond: AsyncRespond) -> None:
        await ack()
        await clerk.command(body, through(respond))

    @app.action(ANY_ACTION)  # one that nobody knows is answered too, and so not sent again
    async def press(ack: AsyncAck, body: dict[str, Any], respond: AsyncRespond) -> None:
        await ack()
        pressed = read(body)
        await clerk.press(pressed, through(respond, thread_ts=pressed.place.thread_ts))

    @app.error
    async def broke(error: Exception, body: dict[str, Any], context: AsyncBoltContext) -> None:
        error_id = secrets.token_hex(4)
        log.error("listener broke", error_id=error_id, kind=body.get("type", body.get("command")), exc_info=error)
        if isinstance(respond := context.get("respond"), AsyncRespond) and body.get("response_url"):
            said = f"❌ Something broke on capturebot's side (error {error_id}). `/capture status` says what runs."
            await respond(text=said, response_type="ephemeral", replace_original=False)

    return app


def _hearing(directory: Directory) -> Callable[..., Awaitable[None]]:
    async def hear(body: dict[str, Any], next_: Callable[[], Awaitable[None]]) -> None:
        directory.heard(*sender(body))
        await next_()

    return hear

"""`capturebot serve`: the bot as a service in Slack."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.assembly import Bot, assemble, background, now
from bot.errors import UserError
from bot.logs import open_log
from bot.pagerduty.client import PagerDutyClient
from bot.reporters import Reporter
from bot.reporters.pagerduty import PagerDutyNote
from bot.reporters.slack import SlackThread
from bot.reporters.telling import Teller
from bot.settings import Settings, Slack
from bot.slack.app import make_app
from bot.slack.clerk import Clerk
from bot.slack.sockets import Sockets
from bot.web import Web

SETTLE_S = 15.0  # how long the last messages may take when the process ends
FIRST_LOOK_S = 5.0  # how long the first commands and messages wait for that
CANCEL_S = 5.0  # how long background work may take to end
SLACK_TIMEOUT_S = 20
SWITCH_S = 0.0005  # how long a busy thread may keep the loop waiting, each time that it wants to go on

log = structlog.get_logger()


async def serve(
    settings: Settings, *, environ: Mapping[str, str], base: Path, stop: Callable[[], asyncio.Event]
) -> int:
    """Run the bot until *stop* is set; then take nothing more in, drain, tell the ends, and leave.

    Returns the exit status. Raises what `assemble` raises, and UserError when Slack does not let it in
    or the address of health and metrics is taken.
    """
    if settings.slack is None:
        raise UserError("There is no `slack:` in the configuration.", cure="Add it, or use `capturebot run`.")
    stopped = stop()
    async with AsyncExitStack() as stack:
        bot = await stack.enter_async_context(assemble(settings, environ=environ, base=base))
        open_log(as_json=not sys.stderr.isatty(), mask=bot.mask)
        client = await _slack_client(settings.slack, bot)
        pagerduty = PagerDutyClient(settings.pagerduty, bot.secrets) if settings.pagerduty else None
        reporters: list[Reporter] = [SlackThread(client, began=now(), clock=asyncio.get_running_loop().time)]
        if pagerduty:
            stack.push_async_callback(pagerduty.close)
            reporters.append(PagerDutyNote(pagerduty))
        teller = Teller(bot.journal, reporters, is_gone=bot.is_gone)
        stack.push_async_callback(teller.close)
        tasks = background()
        stack.push_async_callback(tasks.cancel, CANCEL_S)
        clerk = Clerk(bot.desk, bot.journal, incidents=pagerduty, untold=teller.untold, now=now)
        with _in_words(settings.slack):
            app = await make_app(client, clerk)
        sockets = Sockets(app, await bot.secrets.resolve(settings.slack.app_token), count=settings.slack.connections)
        stack.push_async_callback(sockets.close)
        if settings.web:
            web = Web(settings.web, ready=lambda: _readiness(sockets), registry=bot.metrics.registry)
            await web.open()
            stack.push_async_callback(web.close)
        # The dead get their ends first, so that the first that is told of them is the truth.
        looking = tasks.start(bot.desk.recover(is_gone=bot.is_gone), name="first look for the dead")
        await asyncio.wait({looking}, timeout=FIRST_LOOK_S)
        await teller.start()
        tasks.start(bot.desk.keep_watch(is_gone=bot.is_gone), name="desk watch")
        with _in_words(settings.slack):
            await sockets.open()
        tasks.start(sockets.watch(), name="socket watch")
        _favour_the_loop()
        log.info("serving", recipes=len(bot.desk.recipes), targets=len(settings.targets))
        await stopped.wait()
        log.info("draining", captures=len(bot.desk.underway))
        await sockets.close()
        await bot.desk.drain()
        if not await teller.settle(SETTLE_S):
            log.warning("not everything is told; the next start tells it", untold=teller.untold())
    return 0


def _favour_the_loop() -> None:
    """Keep acknowledgements quick: nothing of this process may hold the loop up for long."""
    sys.setswitchinterval(SWITCH_S)
    # What exists by now stays. Else every full collection would walk all of it again, for some 70 ms.
    gc.collect()
    gc.freeze()


async def _slack_client(settings: Slack, bot: Bot) -> AsyncWebClient:
    return AsyncWebClient(
        token=await bot.secrets.resolve(settings.bot_token),
        base_url=settings.api_url,
        timeout=SLACK_TIMEOUT_S,
        retry_handlers=[],  # the reporters retry by themselves, and look before they post again
    )


@contextmanager
def _in_words(settings: Slack) -> Iterator[None]:
    """Slack's refusals as words for the operator."""
    try:
        yield
    except SlackApiError as error:
        said = error.response.get("error") or error.response.status_code
        raise UserError(f"Slack does not let the bot in ({said}).", cure="Try `capturebot doctor slack`.") from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise UserError(
            f"{settings.api_url} does not answer ({type(error).__name__}).", cure="Check slack.api_url and the network."
        ) from error


async def _readiness(sockets: Sockets) -> str:
    return "" if await sockets.connected() else "no connection to Slack"

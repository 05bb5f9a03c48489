"""`capturebot serve`: the bot as a service in Slack."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot import __version__
from bot.approvals.approving import Approving
from bot.assembly import Bot, assemble, background, now, whoever_runs_this
from bot.errors import UserError
from bot.following import Follower
from bot.incidents import Pages
from bot.logs import open_log
from bot.model import Opened
from bot.notes import Exchange
from bot.pagerduty.client import PagerDutyClient
from bot.pagerduty.dedicated import DedicatedChannels
from bot.pagerduty.reception import Reception
from bot.reporters import Reporter
from bot.reporters.pagerduty import PagerDutyNote
from bot.reporters.slack import SlackThread
from bot.reporters.telling import Teller
from bot.settings import Settings, Slack
from bot.slack.answering import Answering
from bot.slack.app import Listener, make_app
from bot.slack.approvals import Approvals
from bot.slack.board import Board
from bot.slack.channels import Channels
from bot.slack.choices import Choices
from bot.slack.clerk import Clerk
from bot.slack.client import SlackClient
from bot.slack.dialogs import Dialogs
from bot.slack.directory import Directory
from bot.slack.ending import Endings
from bot.slack.home import Home
from bot.slack.intake import Intake
from bot.slack.keeper import Keeper
from bot.slack.lookout import Lookout
from bot.slack.mentions import Mentions
from bot.slack.notes import Notes
from bot.slack.noticeboard import Noticeboard
from bot.slack.people import People
from bot.slack.requests import RequestBoard
from bot.slack.rooms import Rooms
from bot.slack.sockets import Sockets
from bot.tasks import Tasks
from bot.web import Take, Web

SETTLE_S = 15.0  # how long the last messages may take when the process ends
FIRST_LOOK_S = 5.0  # how long the first commands and messages wait for that
CANCEL_S = 5.0  # how long background work may take to end
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
        await bot.journal.append(_opened(bot))
        service = await _make(stack, settings.slack, bot)
        following = background()
        stack.push_async_callback(following.cancel, CANCEL_S)
        for follower in service.followers:
            await follower.remember()
        await _open_web(stack, settings, bot, service.sockets)
        await _begin(settings.slack, bot, service, following)
        await _copy_journal(stack, bot)
        log.info("serving", recipes=len(bot.desk.recipes), targets=len(settings.targets))
        await stopped.wait()
        log.info("draining", captures=len(bot.desk.underway))
        await following.cancel(CANCEL_S)  # what is heard from now on, the next start acts on
        await service.sockets.close()
        await bot.desk.drain()
        if not await service.teller.settle(SETTLE_S):
            log.warning("not everything is told; the next start tells it", untold=service.teller.untold())
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Service:
    """What has a life of its own while the bot serves."""

    teller: Teller
    rooms: Rooms
    requests: RequestBoard
    sockets: Sockets
    followers: list[Follower]
    tasks: Tasks


async def _make(stack: AsyncExitStack, slack: Slack, bot: Bot) -> _Service:
    """Put everything together; *stack* ends it, the last first. Raises UserError when Slack does not let it in."""
    client = await SlackClient.open(slack, bot.secrets)
    pagerduty = PagerDutyClient(bot.settings.pagerduty, bot.secrets) if bot.settings.pagerduty else None
    reporters: list[Reporter] = [
        SlackThread(client, began=now(), clock=asyncio.get_running_loop().time, pagerduty=pagerduty is not None)
    ]
    if pagerduty:
        stack.push_async_callback(pagerduty.close)
        reporters.append(PagerDutyNote(pagerduty))
    teller = Teller(bot.journal, reporters, is_gone=bot.is_gone)
    stack.push_async_callback(teller.close)
    tasks = background()
    stack.push_async_callback(tasks.cancel, CANCEL_S)
    keeper, channels = _keeper(stack, client, bot, pagerduty)
    rooms = Rooms(bot.journal, keeper, now=now, is_gone=bot.is_gone)
    stack.push_async_callback(rooms.close)
    endings = Endings(bot.journal, pagerduty)
    approving = Approving(bot.desk, bot.journal, mask=bot.mask, ended_since=endings.ended_since, now=now)
    requests = RequestBoard(client, bot.desk, bot.journal, approving, mask=bot.mask, now=now, is_gone=bot.is_gone)
    stack.push_async_callback(requests.close)
    exchange, people, intake = _exchange(client, bot, pagerduty), People(client), Intake()
    stack.push_async_callback(intake.close, CANCEL_S)
    notes = Notes(client, exchange, people, intake=intake, permission=bot.desk.permission, now=now)
    clerk = Clerk(
        bot.desk,
        bot.journal,
        incidents=pagerduty,
        untold=lambda: {**teller.untold(), **rooms.untold(), **requests.untold()},
        now=now,
        notes=notes,
        planned=bot.schedule.planned,
        reports=bot.reports,
    )
    answering = Answering(bot.journal, now=now)
    listeners = [
        *_listeners(client, bot, clerk, people, intake),
        notes.listen,
        channels.listen,
        Choices(keeper, clerk, answering).listen,
        Approvals(client, approving, answering).listen,
    ]
    directory = Directory(client, groups=bot.settings.policy.groups, tasks=tasks, clock=asyncio.get_running_loop().time)
    bot.desk.permission.members = directory
    with _in_words(slack):
        app = await make_app(client, clerk, directory, *listeners)
    sockets = Sockets(app, client.app_token, count=slack.connections)
    stack.push_async_callback(sockets.close)
    return _Service(
        teller=teller, rooms=rooms, requests=requests, sockets=sockets, followers=_followers(bot, exchange), tasks=tasks
    )


async def _begin(slack: Slack, bot: Bot, service: _Service, following: Tasks) -> None:
    """Tell what is untold, and then let people in. Raises UserError when Slack does not."""
    tasks = service.tasks
    await _bury_the_dead(bot, tasks)
    await service.teller.start()
    await service.rooms.start()
    await service.requests.start()
    for follower in service.followers:
        following.start(follower.follow(), name=f"follow {follower.name}")
    tasks.start(bot.desk.keep_watch(is_gone=bot.is_gone), name="desk watch")
    tasks.start(bot.schedule.keep(), name="schedule")
    with _in_words(slack):
        await service.sockets.open()
    tasks.start(service.sockets.watch(), name="socket watch")
    _favour_the_loop()


def _opened(bot: Bot) -> Opened:
    """That this process serves from now on, and with which configuration."""
    document = bot.settings.document
    return Opened(
        owner=bot.journal.owner,
        who=whoever_runs_this(),
        version=__version__,
        config_sha256=document.sha256 if document else "",
        recipes_in_all=len(bot.desk.recipes),
        targets_in_all=len(bot.settings.targets),
        at=now(),
    )


async def _copy_journal(stack: AsyncExitStack, bot: Bot) -> None:
    """Copy the journal into S3 from now on, where that is asked for."""
    if (audit := bot.settings.audit) is None or bot.settings.s3 is None:
        return
    from bot.audit.copies import Copies, settings_of
    from bot.stores.bucket import Bucket  # its SDK takes as long to import as most of the rest together

    bucket = await Bucket.open(settings_of(audit, bot.settings.s3), bot.secrets)
    stack.push_async_callback(bucket.close)
    copies = Copies(bot.journal, bucket, audit, bot.settings.s3, now=now)
    stack.push_async_callback(copies.finish)
    tasks = background()
    stack.push_async_callback(tasks.cancel, CANCEL_S)  # before it is finished
    tasks.start(copies.keep(), name="journal's copy")


async def _bury_the_dead(bot: Bot, tasks: Tasks) -> None:
    """Give the dead their ends first, so that the first that is told of them is the truth."""
    looking = tasks.start(bot.desk.recover(is_gone=bot.is_gone), name="first look for the dead")
    await asyncio.wait({looking}, timeout=FIRST_LOOK_S)


def _followers(bot: Bot, exchange: Exchange | None) -> list[Follower]:
    """What acts on events of the journal, also on those that came while no process ran."""
    return [
        Follower(bot.journal, name="incidents", kind="heard", handle=Pages(bot.desk, bot.journal, now=now).hear),
        Follower(bot.journal, name="comparisons", kind="finished", handle=bot.desk.comparisons.heard),
        Follower(bot.journal, name="reports", kind="heard", handle=bot.reports.hear),
        *(exchange.followers() if exchange else ()),
    ]


def _exchange(client: AsyncWebClient, bot: Bot, pagerduty: PagerDutyClient | None) -> Exchange | None:
    """What carries people's words between Slack and PagerDuty, where that is set up."""
    if pagerduty is None:
        return None
    rooms = Noticeboard(client, bot.journal, began=now())
    return Exchange(bot.journal, pagerduty, rooms, mask=bot.mask, is_gone=bot.is_gone, now=now)


def _listeners(client: AsyncWebClient, bot: Bot, clerk: Clerk, people: People, intake: Intake) -> list[Listener]:
    """What hears of more than commands and presses."""
    dialogs = Dialogs(client, bot.desk, clerk, intake=intake, now=now)
    return [
        dialogs.listen,
        Home(client, bot.desk, clerk, dialogs).listen,
        Mentions(client, clerk, people, intake).listen,
    ]


async def _open_web(stack: AsyncExitStack, settings: Settings, bot: Bot, sockets: Sockets) -> None:
    """Answer about health and metrics, and take PagerDuty's calls, where the settings say so; until *stack* ends."""
    take = _reception(settings, bot)
    if settings.web:
        web = Web(settings.web, ready=lambda: _readiness(sockets), registry=bot.metrics.registry, take=take)
        await web.open()
        stack.push_async_callback(web.close)


def _keeper(
    stack: AsyncExitStack, client: AsyncWebClient, bot: Bot, pagerduty: PagerDutyClient | None
) -> tuple[Keeper, Channels]:
    """What is done for incidents' channels, and what hears of them; until *stack* ends."""
    settings, dedicated = bot.settings, None
    if pagerduty and settings.pagerduty and settings.pagerduty.user_token:
        user = PagerDutyClient(replace(settings.pagerduty, token=settings.pagerduty.user_token), bot.secrets)
        stack.push_async_callback(user.close)
        dedicated = DedicatedChannels(pagerduty, user)
    lookout = Lookout(
        client, bot.journal, incidents=pagerduty, services=settings.services, now=now, dedicated=dedicated
    )
    keeper = Keeper(
        bot.desk, bot.journal, board=Board(client), lookout=lookout, endings=Endings(bot.journal, pagerduty), now=now
    )
    announcements = settings.slack.announcements if settings.slack else ()
    return keeper, Channels(bot.journal, lookout, services=settings.services, announcements=announcements, now=now)


def _favour_the_loop() -> None:
    """Keep acknowledgements quick: nothing of this process may hold the loop up for long."""
    sys.setswitchinterval(SWITCH_S)
    # What exists by now stays. Else every full collection would walk all of it again, for some 70 ms.
    gc.collect()
    gc.freeze()


def _reception(settings: Settings, bot: Bot) -> Take | None:
    """What takes PagerDuty's calls, where they are expected. Raises UserError where they cannot come."""
    if settings.pagerduty is None or not settings.pagerduty.webhook_secrets:
        return None
    if settings.web is None:
        raise UserError(
            "PagerDuty's calls are expected (`pagerduty.webhook_secrets`), but nothing listens for them.",
            cure="Add `web:` to capturebot.yml, or use --web.",
        )
    secrets, count = settings.pagerduty.webhook_secrets, bot.metrics.called
    return Reception(bot.journal, bot.secrets, secrets, now=now, count=count).take


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

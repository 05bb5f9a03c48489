"""`capturebot doctor`: every configured part tried for real, with the cure for what is wrong.

The parts do not wait for each other, and a part that is broken never hides the state of another one.
"""

from __future__ import annotations

import asyncio
import http
import logging
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
from rich.console import Console
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.assembly import now, open_secrets, open_store, open_transports, whoever_runs_this
from bot.errors import JournalError, SecretMissing, StoreError, UserError
from bot.journal import Journal
from bot.logs import open_log
from bot.model import Event, Policy, Recipe, Target
from bot.pagerduty.client import PagerDutyClient
from bot.pagerduty.dedicated import DedicatedChannels
from bot.pagerduty.setup import SecretFile, arrived, set_up
from bot.pagerduty.setup import examine as examine_calls
from bot.pagerduty.subscriptions import Subscriptions
from bot.plugins import load_recipes
from bot.recipes import nearest
from bot.redact import Redactor
from bot.references import references_in
from bot.reporters.terminal import printable
from bot.retention import Audit
from bot.secrets import Secrets
from bot.settings import S3, PagerDuty, Settings, Slack
from bot.slack.directory import faults_of_groups
from bot.survey import Surveyor
from bot.tools import FetchedTool
from bot.transports import Transport
from bot.transports.mysql import MySqlTransport

SCOPES = {  # as in manifest.yml
    "bookmarks:read",
    "channels:read",
    "groups:read",
    "pins:read",
    "pins:write",
    "commands",
    "app_mentions:read",
    "users:read",
    "usergroups:read",
    "chat:write",
    "channels:join",
    "channels:history",
    "groups:history",
}
PARTS_AT_ONCE = 8
ICONS = {"ok": "✅", "warn": "⚠️ ", "fault": "❌"}
PART_S = 90.0  # for one part, however long each of its own tries may take

Examination = Callable[[], Awaitable[list[str]]]
"""Tries a part; returns lines of "ok: …", "warn: … — cure" or "fault: … — cure". May raise SecretMissing or JournalError."""


@dataclass(frozen=True, slots=True)
class Part:
    """Something that is configured, by the name that it is asked for."""

    name: str
    examine: Examination


async def examine(
    settings: Settings, *, environ: Mapping[str, str], base: Path, parts: Sequence[str], console: Console
) -> int:
    """Print a line for each thing tried; return 0 when nothing is at fault, else 1.

    *parts* are names; none means all. A target that is named is asked too which recipes will work there.
    Raises UserError for a part that is not configured, and ConfigError for recipes that cannot be read.
    """
    faults = 0
    async with AsyncExitStack() as stack:
        found = await stack.enter_async_context(open_secrets(settings, environ=environ, base=base))
        redactor = Redactor(found.known, salt=secrets.token_bytes(16))
        mask = redactor.text
        open_log(as_json=False, mask=mask, level=logging.ERROR)
        transports = await stack.enter_async_context(open_transports(found))
        surveyor = Surveyor(transports, redactor, now, await _witness(stack, settings), whoever_runs_this())
        chosen = _chosen([*_services(settings, found), *_targets(settings, transports, surveyor, parts)], parts)
        places = asyncio.Semaphore(PARTS_AT_ONCE)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        answers = [(part.name, group.create_task(_lines(part, places))) for part in chosen]
        for name, answer in answers:
            lines = await answer
            console.print(name, style="bold", markup=False)
            faults += _print(lines, mask, console)
    return 1 if faults else 0


async def set_up_calls(
    settings: Settings,
    *,
    environ: Mapping[str, str],
    base: Path,
    url: str,
    file: Path,
    renew: bool,
    console: Console,
) -> int:
    """Have PagerDuty call *url* about the configured services; print what came of each, and the status that calls for.

    Raises UserError where something is missing for it.
    """
    services = [service for service in settings.services.values() if service.pagerduty]
    if settings.pagerduty is None or not services:
        what = "`pagerduty:`" if settings.pagerduty is None else "service with a `pagerduty` id"
        raise UserError(f"There is no {what} in the configuration.", cure="Add it to capturebot.yml first.")
    async with open_secrets(settings, environ=environ, base=base) as found:
        mask = Redactor(found.known, salt=secrets.token_bytes(16)).text
        open_log(as_json=False, mask=mask, level=logging.ERROR)
        client = PagerDutyClient(settings.pagerduty, found)
        try:
            lines = await set_up(Subscriptions(client), services, url, SecretFile(file), renew=renew)
        finally:
            await client.close()
    if not settings.pagerduty.webhook_secrets:
        lines.append(f"warn: the bot does not know the secrets yet — add `webhook_secrets: [file:{file}]`")
    return 1 if _print(lines, mask, console) else 0


async def _witness(stack: AsyncExitStack, settings: Settings) -> Callable[[Event], Awaitable[object]]:
    """What keeps in the journal which commands ran; without a journal, they are tried all the same."""
    try:
        journal = await Journal.open(settings.journal, owner="doctor")
    except JournalError:  # its own part says why
        return _forget
    stack.push_async_callback(journal.close)

    async def keep(event: Event) -> None:
        with suppress(JournalError):
            await journal.append(event)

    return keep


async def _forget(_event: Event) -> None:
    return


def _print(lines: Sequence[str], mask: Callable[[str], str], console: Console) -> int:
    """Show *lines*; returns how many are faults."""
    faults = 0
    for line in lines:
        verdict, _, words = line.partition(": ")
        faults += verdict == "fault"
        console.print(f"  {ICONS.get(verdict, '')} {verdict}: {printable(mask(words))}", markup=False, highlight=False)
    return faults


def _services(settings: Settings, found: Secrets) -> list[Part]:
    parts = [Part("journal", partial(_journal, settings)), Part("store", partial(_store, settings, found))]
    if settings.audit and settings.s3:
        parts.append(Part("audit", partial(_audit, settings, settings.audit, settings.s3, found)))
    if settings.fetched_tools and settings.s3:
        parts.append(Part("tools", partial(_tools, settings.fetched_tools, settings.s3, found)))
    if settings.vault or settings.awssm:
        parts.insert(0, Part("secrets", partial(_secrets, settings, found)))
    if settings.slack:
        parts.append(Part("slack", partial(_slack, settings.slack, settings.policy, found)))
    if settings.pagerduty:
        parts.append(Part("pagerduty", partial(_pagerduty, settings, settings.pagerduty, found)))
    return parts


def _targets(
    settings: Settings, transports: Mapping[str, Transport], surveyor: Surveyor, named: Sequence[str]
) -> list[Part]:
    wanted = any(target.mysql or name in named for name, target in settings.targets.items())
    recipes = load_recipes(settings).values() if wanted else ()

    def part(target: Target) -> Part:
        survey = partial(surveyor.examine, target, recipes if target.name in named else ())
        return Part(target.name, partial(_target, target, transports, recipes, survey))

    return [part(target) for target in settings.targets.values()]


def _chosen(parts: Sequence[Part], names: Sequence[str]) -> list[Part]:
    known = list(dict.fromkeys(part.name for part in parts))
    for name in names:
        if name not in known:
            close = nearest(name, known)
            cure = f"Did you mean `{close}`?" if close else f"There are: {', '.join(known)}."
            raise UserError(f"`{name}` is not configured.", cure=cure)
    return [part for part in parts if not names or part.name in names]


async def _lines(part: Part, places: asyncio.Semaphore) -> list[str]:
    try:
        async with places, asyncio.timeout(PART_S):
            return await part.examine()
    except (SecretMissing, JournalError) as error:
        return [f"fault: {error.reason}"]
    except TimeoutError:
        return [f"fault: no answer within {PART_S:g} s — check the network to it"]


# --- the parts ------------------------------------------------------------------------------------


async def _secrets(settings: Settings, found: Secrets) -> list[str]:
    """The stores, and each reference by itself; none of the values is in any line."""
    lines = await found.check()
    references = list(dict.fromkeys(references_in(settings)))
    missing: list[str] = []
    for reference in references:
        try:
            await found.resolve(reference)
        except SecretMissing as error:
            missing.append(error.reason)
    lines.append(f"ok: {len(references) - len(missing)} of {len(references)} references lead to a secret")
    return [*lines, *(f"fault: {reason}" for reason in dict.fromkeys(missing))]


async def _journal(settings: Settings) -> list[str]:
    journal = await Journal.open(settings.journal, owner="doctor")
    try:
        await journal.beat(now())
        return [f"ok: takes writing, and has {journal.last} events"]
    finally:
        await journal.close()


async def _store(settings: Settings, found: Secrets) -> list[str]:
    store = await open_store(settings, found)
    try:
        return list(await store.check())
    finally:
        await store.close()


async def _audit(settings: Settings, audit: Audit, s3: S3, found: Secrets) -> list[str]:
    from bot.audit.copies import check  # its SDK takes as long to import as most of the rest together

    journal = await Journal.open(settings.journal, owner="doctor")
    try:
        return await check(journal, audit, s3, found)
    except StoreError as error:
        return [f"fault: {error.reason}"]
    finally:
        await journal.close()


async def _tools(tools: Sequence[FetchedTool], s3: S3, found: Secrets) -> list[str]:
    from bot.stores.tools import ToolFetcher  # its SDK takes as long to import as most of the rest together

    with TemporaryDirectory() as folder:
        return await ToolFetcher(tools, s3, found, Path(folder)).check()


async def _pagerduty(settings: Settings, access: PagerDuty, found: Secrets) -> list[str]:
    async with AsyncExitStack() as stack:
        client = PagerDutyClient(access, found)
        stack.push_async_callback(client.close)
        lines = await client.check()
        if access.user_token:
            user = PagerDutyClient(replace(access, token=access.user_token), found)
            stack.push_async_callback(user.close)
            lines += await DedicatedChannels(client, user).check()
        if access.webhook_secrets:
            for reference in access.webhook_secrets:
                await found.resolve(reference)
            services = [service for service in settings.services.values() if service.pagerduty]
            lines += await examine_calls(Subscriptions(client), services, arrived=partial(arrived, settings.web))
        return lines


async def _target(
    target: Target, transports: Mapping[str, Transport], recipes: Collection[Recipe], survey: Examination
) -> list[str]:
    ways = {
        "mysql": bool(target.mysql),
        "ssh": bool(target.ssh),
        "windows": bool(target.windows),
        "local": target.local,
    }
    lines = [line for way, there in ways.items() if there for line in await transports[way].check(target)]
    reached = any(line.startswith("ok") for line in lines)
    database = transports.get("mysql")
    if target.mysql and isinstance(database, MySqlTransport):  # another transport may not know grants
        lines += await database.grants(target, recipes)
    return lines + await survey() if reached else lines


async def _slack(settings: Slack, policy: Policy, found: Secrets) -> list[str]:
    client = AsyncWebClient(token=await found.resolve(settings.bot_token), base_url=settings.api_url)
    app_token = await found.resolve(settings.app_token)
    lines: list[str] = []
    try:
        bot = await client.auth_test()
        lines.append(f"ok: the bot token belongs to {bot.get('user')} in {bot.get('team')}")
        granted = {scope.strip() for scope in str(bot.headers.get("x-oauth-scopes", "")).split(",")}
        if missing := sorted(SCOPES - granted):
            lines.append(f"fault: scopes {', '.join(missing)} are missing — reinstall the app from manifest.yml")
        if "usergroups:read" not in missing:
            lines += [f"fault: {fault}" for fault in await faults_of_groups(client, policy)]
        await client.apps_connections_open(app_token=app_token)
        lines.append("ok: the app token opens Socket Mode connections")
    except SlackApiError as error:
        lines.append(_refusal(error, of="app token" if lines else "bot token"))
    except (aiohttp.ClientError, TimeoutError) as error:
        why = type(error).__name__
        lines.append(f"fault: {settings.api_url} does not answer ({why}) — check slack.api_url and the network")
    return lines


def _refusal(error: SlackApiError, *, of: str) -> str:
    status = error.response.status_code
    if status == http.HTTPStatus.TOO_MANY_REQUESTS or status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
        return f"fault: Slack answers {status} to the {of} — try again in a minute"
    cure = {"bot token": "reinstall the app from manifest.yml", "app token": "make one with connections:write"}[of]
    return f"fault: Slack refuses the {of} ({error.response.get('error')}) — {cure}"

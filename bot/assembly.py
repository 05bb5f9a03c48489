"""The composition root's workshop: settings into a running bot. Only here and in `cli` are implementations named."""

from __future__ import annotations

import getpass
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog
from sqlalchemy import make_url

from bot.alive import SignOfLife
from bot.baselines.schedule import Schedule
from bot.baselines.surplus import Surplus
from bot.desk import Desk
from bot.errors import JournalError, SecretMissing
from bot.insights.mysql.query import insight_of
from bot.journal import Journal
from bot.logs import keep_variables_out
from bot.measuring import Measurer
from bot.metrics import Metrics
from bot.model import Person
from bot.permission import Permission
from bot.plugins import load_insights, load_recipes, make_transports
from bot.redact import Mask, Redactor
from bot.references import references_in
from bot.report.writing import Reports
from bot.runner import Runner
from bot.secrets import Renewing, Resolver, Secrets
from bot.secrets.vault import VaultSecrets
from bot.settings import S3, Settings
from bot.stores import Store
from bot.stores.folder import FolderStore
from bot.stores.spare import SpareStore
from bot.tasks import Tasks
from bot.tools import FetchedTool
from bot.transports import Transport
from bot.transports.sshpool import SshPool

SPARE_RESERVE_BYTES = 500_000_000  # of the journal's disk, which nothing that S3 refuses may take

log = structlog.get_logger()


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bot:
    """Everything that runs, put together."""

    settings: Settings
    secrets: Secrets
    journal: Journal
    desk: Desk
    schedule: Schedule  # it takes nothing before it is kept
    metrics: Metrics
    reports: Reports
    is_gone: Callable[[str], bool]  # of an owner's name in the journal: its process is dead
    mask: Mask  # takes secrets out of a line of the log, and out of what people say


def background() -> Tasks:
    """Tasks whose errors are logged."""
    return Tasks(lambda name, error: log.error("background task died", task=name, exc_info=error))


def beside_journal(settings: Settings, ending: str) -> Path | None:
    """A path next to the journal where that is a file, else None."""
    journal = make_url(settings.journal)
    if journal.get_backend_name() != "sqlite" or journal.database in {None, "", ":memory:"}:
        return None
    return Path(f"{journal.database}.{ending}")


@asynccontextmanager
async def open_secrets(settings: Settings, *, environ: Mapping[str, str], base: Path) -> AsyncIterator[Secrets]:
    """Secrets of this machine and of the stores that the settings name, which are closed at the end."""
    secrets = Secrets(environ, base=base)
    if settings.vault:
        secrets.join("vault", VaultSecrets(settings.vault, secrets))
    if settings.awssm:
        from bot.secrets.aws import AwsProvider  # its SDK takes as long to import as most of the rest together

        secrets.join("awssm", AwsProvider(settings.awssm, secrets))
    try:
        yield secrets
    finally:
        await secrets.close()


async def open_store(settings: Settings, secrets: Renewing) -> Store:
    """The store that the settings name. Raises SecretMissing.

    What S3 refuses is kept beside the journal where that is a file; elsewhere there is no place for it.
    """
    if settings.s3 is None:
        return FolderStore(settings.folder or Path("artifacts"))
    from bot.stores.s3 import S3Store  # its SDK takes as long to import as most of the rest together

    s3: Store = await S3Store.open(settings.s3, secrets)
    if (folder := beside_journal(settings, "spare")) is None:
        return s3
    return SpareStore(s3, FolderStore(folder, reserve_bytes=SPARE_RESERVE_BYTES))


def place_for_tools(settings: Settings, stack: AsyncExitStack) -> Path | None:
    """A folder for tools from S3, removed with *stack*; None where there are none."""
    if not settings.fetched_tools:
        return None
    return Path(stack.enter_context(TemporaryDirectory(prefix="capturebot-tools-")))


async def fetch_tools(
    tools: Sequence[FetchedTool], s3: S3, secrets: Renewing, folder: Path, stack: AsyncExitStack
) -> None:
    """Fetch them now; those that S3 does not give now later on."""
    from bot.stores.tools import ToolFetcher  # its SDK takes as long to import as most of the rest together

    fetcher = ToolFetcher(tools, s3, secrets, folder)
    if not await fetcher.fetch():
        tasks = background()
        stack.push_async_callback(tasks.cancel, within_s=1.0)
        tasks.start(fetcher.fetch_until_all_are_there(), name="tools")


@asynccontextmanager
async def open_transports(secrets: Renewing) -> AsyncIterator[dict[str, Transport]]:
    """Every transport, on one pool of SSH connections; all are closed at the end."""
    async with AsyncExitStack() as stack:
        pool = SshPool(secrets)
        stack.push_async_callback(pool.close)
        transports = make_transports(secrets, pool)
        for transport in transports.values():
            stack.push_async_callback(transport.close)
        yield transports


@asynccontextmanager
async def assemble(settings: Settings, *, environ: Mapping[str, str], base: Path) -> AsyncIterator[Bot]:
    """Put a bot together and take it apart again at the end, in the reverse order.

    Raises ConfigError, SecretMissing or JournalError when it cannot be.
    """
    keep_variables_out()
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        fetched = place_for_tools(settings, stack)
        recipes = load_recipes(settings, fetched=fetched)
        secrets = await stack.enter_async_context(open_secrets(settings, environ=environ, base=base))
        alive, journal = await _open_journal(settings, stack)
        redactor = Redactor(secrets.known, salt=await journal.salt(), redaction=settings.redaction)
        mask = redactor.text
        await learn(settings, secrets)
        store = await open_store(settings, secrets)
        stack.push_async_callback(store.close)
        if fetched and settings.s3:
            await fetch_tools(settings.fetched_tools, settings.s3, secrets, fetched, stack)
        transports = await stack.enter_async_context(open_transports(secrets))
        journal.listeners.append(metrics.observe)
        runner = Runner(
            transports=transports,
            store=store,
            insights={**load_insights(), **{query.insight: insight_of(query) for query in settings.queries}},
            redactor=lambda capture: redactor.within(capture.incident or capture.id),
            emit=journal.append,
            limits=settings.limits,
            now=now,
        )
        desk = Desk(
            recipes=recipes,
            targets=settings.targets,
            journal=journal,
            runner=runner,
            measurer=Measurer(transports=transports, redactor=redactor, emit=journal.append, now=now),
            store=store,
            limits=settings.limits,
            prefix=settings.s3.prefix if settings.s3 else "",
            now=now,
            permission=Permission(settings.policy, settings.targets, journal, now=now),
            services=settings.services,
            budgets=settings.budgets,
            bring_home=store.bring_home if isinstance(store, SpareStore) else None,
        )
        yield Bot(
            settings=settings,
            secrets=secrets,
            journal=journal,
            desk=desk,
            schedule=Schedule(
                desk, settings.baselines, surplus=Surplus(journal=journal, store=store, now=now), now=now
            ),
            metrics=metrics,
            reports=Reports(journal, store, prefix=settings.s3.prefix if settings.s3 else "", mask=mask, now=now),
            is_gone=alive.is_gone,
            mask=mask,
        )


async def _open_journal(settings: Settings, stack: AsyncExitStack) -> tuple[SignOfLife, Journal]:
    """The journal, and what tells others on it that this process lives; until *stack* ends. Raises JournalError."""
    try:
        alive = SignOfLife(beside_journal(settings, "alive"))
    except OSError as error:
        raise JournalError(
            f"The journal cannot be opened: {error.filename}: {error.strerror}. Make its folder, for the bot's user."
        ) from error
    stack.callback(alive.close)
    journal = await Journal.open(settings.journal, owner=alive.name)
    stack.push_async_callback(journal.close)
    return alive, journal


def whoever_runs_this() -> Person:
    """The user of this process."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user that has no name
        name = f"user {os.getuid()}"
    return Person(id=str(os.getuid()), name=name)


async def learn(settings: Settings, secrets: Resolver) -> None:
    """Resolve every secret once: one target's output may show another target's secret, which the redactor must know."""
    for reference in references_in(settings):
        with suppress(SecretMissing):  # told where it is needed
            await secrets.resolve(reference)

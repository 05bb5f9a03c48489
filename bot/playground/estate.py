"""Everything the playground stands on, started on loopback under one folder, and ended again.

The bot itself is a process of its own, with a `capturebot.yml` of the same form as in production.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bot.errors import UserError
from bot.pagerduty.webhooks import EVENTS
from bot.playground import scenes
from bot.playground.mariadb import PrivateMariaDb, private_mariadb
from bot.playground.objects import Objects
from bot.playground.pagerduty import PagerDutyStandIn
from bot.playground.pagerduty_account import SERVICE
from bot.playground.s3 import PrivateS3, private_s3
from bot.playground.sshd import PrivateSshd, private_sshd
from bot.playground.workspace.app import App
from bot.playground.workspace.workspace import Workspace
from bot.settings import WEBHOOKS
from bot.tasks import Tasks

CHANNEL = "inc-1042-orders-slow"
INCIDENT = "PORDERS1042"
SENDER = "oncall-bot@example.com"
POLICY: Mapping[str, Any] = {
    "rules": [
        {"name": "who is on call captures", "allow": ["capture", "raw-files"], "who": ["@oncall"]},
        {"name": "leads approve", "allow": ["approve"], "who": ["@leads"]},
    ]
}
HERE: Mapping[str, Any] = {"about": "this machine", "local": True, "labels": {"env": "prod"}}
APPROVAL: Mapping[str, Any] = {
    "name": "dumps of production need an approval",
    "approval": {"minutes": 15, "break_glass": True},
    "recipes": ["core", "java-heap"],
    "labels": {"env": "prod"},
}
MANIFEST = Path(__file__).parent.parent.parent / "manifest.yml"
CONNECTIONS = 2  # of the bot to Slack
READY_S = 30.0  # for the bot to connect
LAST_LINES = 5  # of what the bot said, told when it does not connect
GOODBYE_S = 45.0  # for the bot to drain


@dataclass(slots=True, kw_only=True)
class Estate:
    """What is there. *database* and *host* are None where their programs are not installed; *missing* says which."""

    folder: Path
    workspace: Workspace
    s3: PrivateS3
    pagerduty: PagerDutyStandIn
    objects: Objects
    database: PrivateMariaDb | None = None
    host: PrivateSshd | None = None
    missing: list[UserError] = field(default_factory=list)
    channel: str = ""
    user: str = ""  # who is on call
    lead: str = ""
    guest: str = ""
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        """The bot's configuration file."""
        return self.folder / "capturebot.yml"


@asynccontextmanager
async def estate(
    folder: Path,
    *,
    port: int,
    targets: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> AsyncIterator[Estate]:
    """Start all but the bot. *port* is the page's; raises UserError when something does not start.

    *targets*, as capturebot.yml has them, with their secrets in *environ*, stand in for a database and a host of its own;
    *settings* is what else stands there.
    """
    async with AsyncExitStack() as stack:
        s3 = await stack.enter_async_context(private_s3(folder / "s3"))
        objects = await stack.enter_async_context(Objects.of(s3))
        pagerduty = await stack.enter_async_context(PagerDutyStandIn(sender=SENDER))
        workspace = Workspace(app=_app(), port=port, pages=[*objects.pages(), *scenes.pages()])
        try:
            await stack.enter_async_context(workspace)
        except OSError as error:
            raise UserError(f"Port {port} is taken.", cure="Choose another: --port N (0: any).") from error
        here = Estate(folder=folder, workspace=workspace, s3=s3, pagerduty=pagerduty, objects=objects)
        here.user = workspace.add_user("ana", "Ana Ferreira")
        here.lead = workspace.add_user("lea", "Lea Brandt")
        here.guest = workspace.add_user("gus", "Gus Okafor (guest)", is_guest=True)
        workspace.set_group("oncall", here.user)
        workspace.set_group("leads", here.lead)
        here.channel = workspace.add_channel(CHANNEL)
        page = pagerduty.add_incident(INCIDENT, 1042, "Orders are slow", "Orders")
        workspace.add_note("PagerDuty incident 1042", page)
        workspace.add_note("Stored files", f"{workspace.page_url}files/")
        if scenes.known():
            workspace.add_note("Scenes", f"{workspace.page_url}scenes/")
        if targets is None:
            await _populate(here, stack)
        await _configure(here, targets, environ or {}, settings or {})
        yield here


async def _populate(here: Estate, stack: AsyncExitStack) -> None:
    """Start a database and a host, as far as their programs are there."""
    folder = here.folder
    try:
        here.database = await stack.enter_async_context(private_mariadb(folder / "mariadb", tls_names=("127.0.0.1",)))
    except UserError as error:
        here.missing.append(error)
    try:
        here.host = await stack.enter_async_context(private_sshd(folder / "sshd"))
    except UserError as error:
        here.missing.append(error)


def _app() -> App:
    # The installed wheel has no manifest beside it; the tree, which `make run` runs from, has.
    return App.from_manifest(yaml.safe_load(MANIFEST.read_text())) if MANIFEST.exists() else App()


async def _configure(
    here: Estate, targets: Mapping[str, Any] | None, environ: Mapping[str, str], settings: Mapping[str, Any]
) -> None:
    """Write the bot's configuration; secrets go into its environment and key files, never into the file."""
    here.environ = {
        "SLACK_BOT_TOKEN": here.workspace.bot_token,
        "SLACK_APP_TOKEN": here.workspace.app_token,
        "PAGERDUTY_TOKEN": here.pagerduty.token,
        "S3_ACCESS_KEY": here.s3.access_key,
        "S3_SECRET_KEY": here.s3.secret_key,
        "ORDERS_DB_PASSWORD": secrets.token_urlsafe(18),
        **environ,
    }
    config: dict[str, Any] = {
        "journal": "sqlite:///journal.db",
        "slack": {
            "bot_token": "env:SLACK_BOT_TOKEN",
            "app_token": "env:SLACK_APP_TOKEN",
            "api_url": here.workspace.api_url,
            "connections": CONNECTIONS,
        },
        "pagerduty": {"token": "env:PAGERDUTY_TOKEN", "from": SENDER, "api_url": here.pagerduty.api_url},
        "s3": {
            "bucket": here.s3.bucket,
            "endpoint_url": here.s3.endpoint_url,
            "access_key": "env:S3_ACCESS_KEY",
            "secret_key": "env:S3_SECRET_KEY",
            "path_style": True,
            "browse_url": f"{here.workspace.page_url}files/{{key}}",
        },
        "targets": dict(targets or {"here": dict(HERE)}),
        "policy": dict(POLICY) if targets else {"rules": [*POLICY["rules"], dict(APPROVAL)]},
        **settings,
    }
    config["targets"] |= await _targets(here)
    if targets is None:
        _listen(here, config)
    here.config.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))


async def _targets(here: Estate) -> dict[str, Any]:
    """The database and the host, as far as there are such."""
    found: dict[str, Any] = {}
    if here.database:
        await here.database.create_observer("capture", here.environ["ORDERS_DB_PASSWORD"])
        found["orders-db"] = {
            "about": "the orders database",
            "mysql": {
                "host": here.database.host,
                "port": here.database.port,
                "user": "capture",
                "password": "env:ORDERS_DB_PASSWORD",
                "tls": "verify",
                "ca": str(here.database.authority),
            },
        }
    if here.host:
        found["app-1"] = {
            "about": "this machine again, through its private SSH server",
            "ssh": {
                "host": here.host.host,
                "port": here.host.port,
                "user": here.host.user,
                "key": f"file:{here.host.key}",
                "known_hosts": str(here.host.known_hosts),
            },
        }
    return found


def _listen(here: Estate, config: dict[str, Any]) -> None:
    """Let the bot be called about a service, which has what there is."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        config["web"] = f"127.0.0.1:{probe.getsockname()[1]}"
    url = f"http://{config['web']}{WEBHOOKS}"
    _, here.environ["PAGERDUTY_WEBHOOK_SECRET"] = here.pagerduty.hooks.subscribe(url, SERVICE, *EVENTS)
    config["pagerduty"]["webhook_secrets"] = ["env:PAGERDUTY_WEBHOOK_SECRET"]
    config.setdefault(
        "services",
        {
            "orders": {
                "about": "Orders",
                "pagerduty": SERVICE,
                "targets": [name for name in ("orders-db", "app-1", "here") if name in config["targets"]],
                "first": ["db", "host"] if here.database else ["host"],
                "offer": ["triage", "logs"],
                "channels": ["inc-.*orders.*"],
            }
        },
    )


@asynccontextmanager
async def bot(here: Estate) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `capturebot serve` until the context ends. Raises UserError with its own words when it does not connect."""
    log = here.folder / "bot.log"
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bot", "--config", str(here.config), "serve",
            env={**os.environ, **here.environ},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for the tour, which then ends it in order
        )  # fmt: skip
    try:
        await _connected(here, process, log)
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(GOODBYE_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def _connected(here: Estate, process: asyncio.subprocess.Process, log: Path) -> None:
    """Return once the bot has its connections; raise UserError with its last words when it has not."""
    tasks = Tasks(lambda _name, _error: None)  # what became of them is looked at below
    ended = tasks.start(process.wait(), name="the bot's end")
    connected = tasks.start(
        here.workspace.wait_for(lambda: len(here.workspace.sockets.numbers) >= CONNECTIONS, within_s=READY_S),
        name="the bot's connections",
    )
    try:
        await asyncio.wait({ended, connected}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await tasks.cancel(1.0)
    if connected.cancelled() or connected.exception():
        what = f"ended with status {process.returncode}" if ended.done() else f"did not connect within {READY_S:g} s"
        words = " ".join((await asyncio.to_thread(log.read_text)).splitlines()[-LAST_LINES:])
        raise UserError(f"The bot {what}.", cure=f"It said: {words}")

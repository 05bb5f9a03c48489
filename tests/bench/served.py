"""The bot as it is in production, in a process of its own, with a Slack workspace and an S3 server around it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from bot.journal import Journal
from bot.model import Event, State
from bot.playground.estate import SENDER, Estate, bot
from bot.playground.objects import Objects
from bot.playground.pagerduty import PagerDutyStandIn
from bot.playground.s3 import PrivateS3, private_s3
from bot.playground.sshd import PrivateSshd, private_sshd
from bot.playground.workspace import Limits, Message, Workspace

ENDS = tuple(state.icon for state in State if state.ended)


@dataclass(slots=True, kw_only=True)
class Served:
    """A bot that serves. *process* is its own; *journal* is its journal, read from here."""

    workspace: Workspace
    s3: PrivateS3
    host: PrivateSshd
    process: psutil.Process
    journal: Journal
    user: str
    channels: int = 0

    def new_channel(self) -> str:
        """Open a channel; Slack's bound on messages is one of channels."""
        self.channels += 1
        return self.workspace.add_channel(f"bench-{self.channels}")

    async def capture(self, command: str, *, within_s: float, channel: str = "") -> list[Event]:
        """Type *command* in a channel of its own, wait for the told end, and return the capture's events."""
        channel = channel or self.new_channel()
        answer = await self.workspace.command(channel, self.user, command)
        assert answer.acked_after_s is not None, answer.error
        await self.workspace.wait_for(lambda: self.root(channel, ended=True), within_s)
        (capture_id,) = await self.journal.recent(channel=channel)
        return await self.journal.events(capture_id)

    def root(self, channel: str, *, ended: bool = False) -> Message | None:
        """The capture's message in a channel that had one capture."""
        for message in self.workspace.messages(channel):
            if message.by_app and (not ended or message.text.split("\n")[1].startswith(ENDS)):
                return message
        return None


@asynccontextmanager
async def served(
    folder: Path,
    recipes: Mapping[str, Mapping[str, Any]],
    *,
    hosts: int = 1,
    limits: Mapping[str, int] | None = None,
    slack: Limits | None = None,
) -> AsyncIterator[Served]:
    """Run `capturebot serve` with *recipes*, the target `host` (over SSH) and `here-1` to `here-N` (this machine)."""
    folder.mkdir()
    for name, recipe in recipes.items():
        _write(folder / "recipes" / f"{name}.yml", {"about": "A benchmark.", "for": "host", "impact": "none", **recipe})
    async with AsyncExitStack() as stack:
        s3 = await stack.enter_async_context(private_s3(folder / "s3"))
        host = await stack.enter_async_context(private_sshd(folder / "sshd"))
        workspace = await stack.enter_async_context(Workspace(limits=slack))
        pagerduty = await stack.enter_async_context(PagerDutyStandIn(sender=SENDER))
        objects = await stack.enter_async_context(Objects.of(s3))
        estate = Estate(folder=folder, workspace=workspace, s3=s3, pagerduty=pagerduty, objects=objects)
        estate.environ = {
            "SLACK_BOT_TOKEN": workspace.bot_token,
            "SLACK_APP_TOKEN": workspace.app_token,
            "S3_ACCESS_KEY": s3.access_key,
            "S3_SECRET_KEY": s3.secret_key,
        }
        _write(estate.config, _settings(workspace, s3, host, hosts) | {"limits": {"cooldown_s": 0, **(limits or {})}})
        process = await stack.enter_async_context(bot(estate))
        journal = await Journal.open(f"sqlite:///{folder / 'journal.db'}", owner="bench")
        stack.push_async_callback(journal.close)
        yield Served(
            workspace=workspace,
            s3=s3,
            host=host,
            process=psutil.Process(process.pid),
            journal=journal,
            user=workspace.add_user("ana"),
        )


def _settings(workspace: Workspace, s3: PrivateS3, host: PrivateSshd, hosts: int) -> dict[str, Any]:
    ssh = {"host": host.host, "port": host.port, "user": host.user}
    return {
        "journal": "sqlite:///journal.db",
        "recipes": ["./recipes"],
        "slack": {
            "bot_token": "env:SLACK_BOT_TOKEN",
            "app_token": "env:SLACK_APP_TOKEN",
            "api_url": workspace.api_url,
        },
        "s3": {
            "bucket": s3.bucket,
            "endpoint_url": s3.endpoint_url,
            "access_key": "env:S3_ACCESS_KEY",
            "secret_key": "env:S3_SECRET_KEY",
            "path_style": True,
        },
        "targets": {
            "host": {"ssh": {**ssh, "key": f"file:{host.key}", "known_hosts": str(host.known_hosts)}},
            **{f"here-{number}": {"local": True} for number in range(1, hosts + 1)},
        },
    }


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False))

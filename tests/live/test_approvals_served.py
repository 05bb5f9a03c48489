"""Requests for an approval outlive the process: it is killed at every moment of one, and each has one message and one end."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.playground.workspace import Message
from tests.live.house import House, Nursery, World, house, nursery, until, worlds

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]

POLICY = {
    "rules": [
        {"name": "slow", "approval": {"minutes": 15, "break_glass": True}, "recipes": ["slow"]},
        {"name": "leads", "allow": ["approve"], "who": ["@leads"]},
    ]
}
CHANNEL = "inc-1"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """S3 and PagerDuty."""
    async with worlds(tmp_path) as made:
        yield made


class Desk:
    """A house in which slow captures need an approval, with ana who asks and ben who approves."""

    def __init__(self, here: House, bots: Nursery) -> None:
        self.here = here
        self.workspace = here.workspace
        self._bots = bots
        self.ben = here.workspace.add_user("ben")
        here.workspace.set_group("leads", self.ben)
        self.channel = here.workspace.add_channel(CHANNEL)
        config = yaml.safe_load(here.config.read_text())
        here.config.write_text(yaml.safe_dump({**config, "policy": POLICY}))

    async def begin(self, **plug: Any) -> int:
        """Start a bot that dies as *plug* says; its pid."""
        pid = await self._bots.raise_bot(self.here, plug)
        await self.here.connected(1)
        return pid

    async def killed(self, pid: int) -> None:
        """Wait until that bot has pulled its plug."""
        assert await self._bots.funeral(pid) == -signal.SIGKILL
        await self.here.connected(0)

    async def ask(self) -> None:
        """Ana asks for a slow capture; a bot that dies of it does not answer her."""
        await self.workspace.command(self.channel, self.here.user, "/capture slow here")

    def requests(self) -> list[Message]:
        """The messages of requests in the channel, oldest first."""
        found = self.workspace.messages(self.channel)
        return [one for one in found if one.metadata and "approval" in one.metadata["event_payload"].get("piece", "")]

    async def request(self, n: int, *words: str) -> Message:
        """The nth request's message, once it says all of *words*."""
        await until(lambda: len(self.requests()) > n and all(one in self.requests()[n].text for one in words))
        return self.requests()[n]

    async def runs(self, count: int) -> None:
        """Wait for so many captures to be told to their end."""
        await until(
            lambda: (
                sum("asked by ana" in one.text and "slow on here: complete" in one.text for one in self.told()) == count
            )
        )

    def told(self) -> list[Message]:
        """The captures' messages."""
        found = self.workspace.messages(self.channel)
        return [one for one in found if one.metadata and "capture" in one.metadata["event_payload"]]


async def test_a_request_outlives_the_process_at_every_moment(world: World) -> None:
    """Before it is kept there is none; from then on there is one message, one decision, and one capture."""
    async with nursery() as bots, house(world, "approvals", seconds=0.2) as here:
        desk = Desk(here, bots)

        # Killed before it is kept: ana has to ask again. Killed when it is posted and nobody knows: it is found.
        dying = await desk.begin(before="approval_asked")
        await desk.ask()
        await desk.killed(dying)
        dying = await desk.begin(before="approvals")
        assert desk.requests() == []
        await desk.ask()
        await desk.killed(dying)
        assert len(desk.requests()) == 1

        # Killed in the commit of what ben decided: nothing was decided, nothing runs, and he presses again.
        dying = await desk.begin(before="approval_ruled")
        request = await desk.request(0, "ana asks to capture slow on here")
        await desk.workspace.click(request.ts, "approve", desk.ben)
        await desk.killed(dying)
        assert here.rows("SELECT 1 FROM events WHERE type IN ('accepted', 'approval_ruled')") == []

        # The last bot has found the message, takes the press, and leaves in order.
        pid = await desk.begin()
        await desk.workspace.click((await desk.request(0)).ts, "approve", desk.ben)
        await desk.request(0, "was approved by ben")
        await desk.runs(1)

        assert len(desk.requests()) == 1
        assert "🔏 Approved by ben" in desk.told()[0].text
        os.kill(pid, signal.SIGTERM)
        assert await bots.funeral(pid) == 0


async def test_a_decision_that_nobody_could_tell_is_told_after_the_restart(world: World) -> None:
    """What was denied, or whose time was over meanwhile, says so."""
    async with nursery() as bots, house(world, "denials", seconds=0.2) as here:
        desk = Desk(here, bots)
        pid = await desk.begin()
        await desk.ask()
        request = await desk.request(0, "ana asks")
        os.kill(pid, signal.SIGTERM)
        assert await bots.funeral(pid) == 0

        dying = await desk.begin(before="approvals")  # the message tells it by then, and nobody knows
        await desk.workspace.click(request.ts, "deny", desk.ben)
        await desk.killed(dying)
        pid = await desk.begin()
        await desk.ask()
        await desk.request(1, "ana asks to capture slow")

        assert "was denied by ben" in (await desk.request(0)).text
        assert len(desk.requests()) == 2
        assert desk.told() == []
        os.kill(pid, signal.SIGTERM)
        assert await bots.funeral(pid) == 0

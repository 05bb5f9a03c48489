"""An incident in the playground: PagerDuty calls a real bot, captures run at once, and the channel that opens later has them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bot.playground.estate import Estate, bot, estate

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="module")]

INCIDENT = "PPAGED2001"
TOLD_S = 60.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Estate]:
    """The playground, as far as its programs are installed."""
    async with estate(tmp_path_factory.mktemp("incidents"), port=0) as made:
        yield made


async def command(here: Estate, *words: str) -> tuple[int | None, str]:
    """Run the command line with the playground's configuration; its status and what it says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "--config", str(here.config), *words),
        env={**os.environ, **here.environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(TOLD_S):
        said, _ = await process.communicate()
    return process.returncode, said.decode()


async def test_an_incident_starts_captures_and_its_channel_shows_them_later(here: Estate) -> None:
    """Before anybody opens Slack: in the note; once the channel is linked: there too, and once, across restarts."""
    pagerduty, workspace = here.pagerduty, here.workspace
    recipes = ["db", "host"] if here.database else ["host"]

    def note() -> str:
        return "".join(one["content"] for one in pagerduty.notes(INCIDENT))

    async with bot(here):
        pagerduty.trigger(INCIDENT, 2001, "Orders are slow", "Orders")
        await pagerduty.wait_for(lambda: note().count("- manifest.json (") == len(recipes), TOLD_S)
    channel = workspace.add_channel("war-room")

    def told() -> list[str]:
        mine = [
            one for one in workspace.messages(channel) if "capture" in (one.metadata or {}).get("event_payload", {})
        ]
        return [one.text for one in mine]

    async with bot(here):
        await workspace.command(channel, here.user, f"/capture link {INCIDENT}")
        await workspace.wait_for(lambda: len(told()) >= len(recipes), TOLD_S)
        pagerduty.change(INCIDENT, "acknowledged", status="acknowledged")
        pagerduty.change(INCIDENT, "resolved", status="resolved")
        await pagerduty.hooks.settle(TOLD_S)
        status, said = await command(here, "doctor", "pagerduty")
    async with bot(here):
        await workspace.command(channel, here.user, f"/capture link {INCIDENT}")
        await workspace.wait_for(lambda: len(workspace.ephemerals(channel, here.user)) >= 2, TOLD_S)

    assert status == 0, said
    assert "arrived, and its signature is right" in said
    tried = [(one.what, one.status) for one in pagerduty.hooks.tries]
    assert note().count("PagerDuty incident 2001: /capture") == len(recipes)
    assert [text for text in told() if "asked by PagerDuty incident 2001" in text] == told()
    assert len(told()) == len(recipes)
    assert {status for _, status in tried} <= {202, 0}
    assert {what for what, status in tried if status == 202} >= {"incident.triggered", "incident.resolved"}

"""The real bot in the playground, asked by people who may and people who may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.playground.estate import Estate, bot, estate

pytestmark = pytest.mark.live

WITHIN_S = 10.0


async def told(here: Estate, user: str, line: str) -> str:
    """What only *user* is told to a command."""
    before = len(here.workspace.ephemerals(here.channel, user))
    await here.workspace.command(here.channel, user, line)
    seen = await here.workspace.wait_for(lambda: here.workspace.ephemerals(here.channel, user)[before:], WITHIN_S)
    return seen[0].text


async def test_the_playgrounds_people_have_what_its_policy_says(tmp_path: Path) -> None:
    """Ana is on call, Lea leads, Gus is a guest; Sam comes from another workspace."""
    async with estate(tmp_path, port=0, targets={"here": {"local": True}}) as here:
        sam = here.workspace.add_user("sam", team="T0OTHER1")
        async with bot(here):
            said = {
                "lead, light": await told(here, here.lead, "/capture host here"),
                "lead, pauses": await told(here, here.lead, "/capture core here pid=1"),
                "lead, help": await told(here, here.lead, "/capture help"),
                "on call, help": await told(here, here.user, "/capture help"),
                "guest": await told(here, here.guest, "/capture host here"),
                "stranger": await told(here, sam, "/capture list"),
            }

    assert said["lead, light"].startswith("🕓")
    assert "`core` on `here`: What pauses the target needs a rule that allows it" in said["lead, pauses"]
    assert "`core`" not in said["lead, help"]
    assert "`core`" in said["on call, help"]
    assert said["guest"].startswith("❌ gus is a guest in this workspace.")
    assert said["stranger"].startswith("❌ sam belongs to another workspace.")

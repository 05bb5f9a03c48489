"""Every token and key of a bot that serves is replaced while a capture is under way: no restart, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from bot.playground.objects import Objects
from bot.playground.s3 import private_s3
from tests.live.house import LOOK_S, TOLD_S, House, World, house, serving, until, worlds

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

UNTOLD = "Slack refuses the bot token (token_revoked)"
HEAD = "about: For this test.\nfor: host\nimpact: none\n"
HELD = f"""
title: Held
{HEAD}steps:
  - {{id: held, title: Held, script: held.sh, timeout: 120, limit: 10 kB}}
"""
PRINT = f"""
title: Print
{HEAD}steps:
  - {{id: print, title: Secrets, run: [cat, "PRINTED"], timeout: 5, limit: 10 kB}}
"""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """S3 and PagerDuty."""
    async with worlds(tmp_path) as made:
        yield made


@pytest.fixture
async def here(world: World) -> AsyncIterator[House]:
    """A house whose bot reads its secrets from files."""
    async with house(world, "rotation", seconds=0.2) as made:
        folder, recipes = made.folder, made.folder / "recipes"
        (folder / "going").touch()
        (recipes / "held.yml").write_text(HELD)
        (recipes / "held.sh").write_text(f"touch {folder}/begun\nwhile [ -e {folder}/going ]; do sleep 0.1; done\n")
        (recipes / "print.yml").write_text(PRINT.replace("PRINTED", str(folder / "printed")))
        made.config.write_text(made.config.read_text().replace("env:", "file:"))
        put(made)
        yield made


def put(here: House) -> None:
    """Put the present secrets where the bot finds them, as an operator or an agent of Vault's does."""
    for name, value in here.environ.items():
        path = here.folder / f"{name}.new"
        path.touch(mode=0o600)
        path.write_text(value)
        path.rename(here.folder / name)


async def rotate(here: House, stack: AsyncExitStack) -> None:
    """Have all of them refused, and others issued and put in their place."""
    world = here.world
    port = int(world.s3.endpoint_url.rpartition(":")[2])
    here.workspace.rotate_tokens()
    world.pagerduty.token = "rotated-pagerduty-token"
    await world.stop_s3()
    keys = {"access_key": "rotated-access", "secret_key": "rotated-secret-of-s3"}
    world.s3 = await world.server.enter_async_context(private_s3(world.s3.folder, port=port, **keys))
    world.objects = await stack.enter_async_context(Objects.of(world.s3))
    put(here)


async def status(here: House, channel: str) -> str:
    """What somebody is shown who asks what runs."""
    seen = len(here.workspace.ephemerals(channel, here.user))
    await here.workspace.command(channel, here.user, "/capture status")
    said = await here.workspace.wait_for(lambda: here.workspace.ephemerals(channel, here.user)[seen:], TOLD_S)
    return said[-1].text


async def test_all_is_rotated_under_a_capture_that_goes_on(here: House) -> None:
    """It ends complete, told and stored; so do later ones, and what they print of the old and the new is masked."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serving(here))
        await here.connected(1)
        held = await here.take("held")
        await until((here.folder / "begun").exists)
        secrets = dict(here.environ)
        await rotate(here, stack)
        await here.workspace.sockets.disconnect("refresh_requested")
        await until(lambda: 1 not in here.workspace.sockets.numbers and here.workspace.sockets.numbers)
        await here.settle(await here.take("slow"))
        shown = [*secrets.values(), *here.environ.values()]
        (here.folder / "printed").write_text("\n".join(shown))
        await here.settle(printed := await here.take("print"))
        (here.folder / "going").unlink()
        await here.settle(held)
        await until(here.is_quiet, TOLD_S, "quiet")

        assert all(here.has(case, "finished") for case in here.cases)
        assert [await here.check(case) for case in here.cases] == ["complete"] * 3
        (key,) = [key for key in await here.world.objects.keys() if printed.id in key and "print" in key]
        kept = await here.world.objects.text(key)
        assert len(set(shown)) == 10
        assert [value for value in shown if value in kept] == []
        assert kept.count("[masked:") == 10
        log = (here.folder / "bot.log").read_text()
        assert [value for value in shown if len(value) > len("playground") and value in log] == []


async def test_tokens_that_nobody_replaced_are_told_in_the_status(here: House) -> None:
    """A command's answer needs no token; the capture itself ends and is kept."""
    async with serving(here):
        await here.connected(1)
        held = await here.take("held")
        await until((here.folder / "begun").exists)
        await until(lambda: bool(here.openings(held)))
        here.workspace.rotate_tokens()
        (here.folder / "going").unlink()
        await until(lambda: here.has(held, "finished"), TOLD_S, "its end")
        async with asyncio.timeout(TOLD_S):
            while UNTOLD not in await status(here, held.channel):  # noqa: ASYNC110  the state of another process
                await asyncio.sleep(LOOK_S)

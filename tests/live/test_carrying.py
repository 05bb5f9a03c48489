"""py-spy brought along to hosts that have none: over SSH and on this machine, through the recipes that use it."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bot.errors import UserError
from bot.insights import Reading
from bot.insights.python import threads
from bot.model import Step, Target
from bot.playground.sshd import private_sshd
from bot.recipes import bind, bind_parameters, builtin_folder, load_folder
from bot.transports import Transport
from bot.transports.local import ENVIRONMENT, LocalTransport
from bot.transports.ssh import SshTransport
from bot.transports.sshpool import SshPool
from tests.live.python_programs import LOCKED
from tests.live.test_python_apps import Launch, app, settled
from tests.steps import Files, keep, start
from tests.test_carrying import left

pytestmark = pytest.mark.live

__all__ = ["app"]  # a fixture


def step_of(recipe: str, pid: int) -> Step:
    """The only step of a recipe, for one process."""
    found = load_folder(builtin_folder())[recipe]
    return bind(found.steps[0], bind_parameters(found, {"pid": str(pid)}))


@asynccontextmanager
async def over(way: str, folder: Path) -> AsyncIterator[tuple[Transport, Target]]:
    """A way to this machine on which nothing of the bot's own environment is on the PATH."""
    if way == "local":
        yield LocalTransport(), Target(name="host", local=True)
        return
    try:
        async with private_sshd(folder) as server:
            pool = SshPool(Files())
            try:
                yield SshTransport(Files(), pool), Target(name="host", ssh=server.ssh)
            finally:
                await pool.close()
    except UserError as error:
        (pytest.fail if "CI" in os.environ else pytest.skip)(str(error))


@pytest.mark.parametrize("way", ["ssh", "local"])
@pytest.mark.parametrize("recipe", ["python-threads", "python-profile"])
async def test_a_host_without_py_spy_gets_it_for_the_step(recipe: str, way: str, app: Launch, tmp_path: Path) -> None:
    """Its stacks are read, the command says what was brought, and nothing stays."""
    if shutil.which("py-spy", path=ENVIRONMENT["PATH"]):
        pytest.skip("py-spy is installed for everybody here, so that nothing is brought along")
    if not (Path(sys.executable).parent / "py-spy").exists():
        pytest.skip("py-spy is not installed beside the bot: pip install py-spy")
    before = left("py-spy")
    async with app("orders_api.py", LOCKED) as pid, over(way, tmp_path / "sshd") as (transport, target):
        await settled(pid)
        step = step_of(recipe, pid)
        step = replace(step, timeout_s=40)

        execution = await start(transport, target, step)
        kept = await keep(execution)

    assert kept.reason == ""
    assert re.search(r"bash python-\w+\.sh  # with py-spy brought along, SHA-256 [0-9a-f]{64}$", execution.command)
    assert b"py-spy is not installed" not in kept.output
    assert left("py-spy") == before
    if recipe == "python-threads":
        first, *_ = threads(Reading(text=kept.output.decode(), target="host"))
        assert "worker threads of orders_api.py" in first.text

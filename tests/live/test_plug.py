"""The plug is pulled at every moment of a capture: after a restart its story has one beginning and a true end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.live.house import EVENTS, READY_S, TOLD_S, Nursery, World, house, leftovers, nursery, serving, until, worlds

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

CHAINS = 3


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """S3 and PagerDuty."""
    async with worlds(tmp_path) as made:
        yield made


async def pull(world: World, name: str, bots: Nursery, plugs: Sequence[dict[str, Any]]) -> None:
    """Let bots die one after the other; each tells first what the one before it left untold."""
    async with house(world, name) as here:
        for plug in plugs:
            pid = await bots.raise_bot(here, plug)
            await here.connected(1)
            if here.cases:
                await here.settle(here.cases[-1])
            case = await here.take()
            assert await bots.funeral(pid) == -signal.SIGKILL, plug
            assert here.has(case, "accepted")
            await here.connected(0)
        # The last bot lives, tells the last death, takes a whole capture and leaves in order.
        pid = await bots.raise_bot(here, {})
        await here.connected(1)
        await here.settle(here.cases[-1])
        whole = await here.take()
        await here.settle(whole)
        await until(here.is_quiet, TOLD_S, "quiet")
        assert here.has(whole, "finished")
        assert len(here.event_types(whole)) in {EVENTS - 1, EVENTS}  # a busy machine may tell both notes at once
        os.kill(pid, signal.SIGTERM)
        assert await bots.funeral(pid) == 0

        states = [await here.check(case) for case in here.cases]
        assert states[-1] == "complete"
        assert await here.open_uploads() == []
        await until(lambda: not leftovers(here.cases), READY_S, "the end of the steps' processes")


async def test_whenever_the_plug_is_pulled_the_story_is_told_once_and_to_a_true_end(world: World) -> None:
    """Killed after each event, and between what was done outside and what was remembered of it."""
    plugs: list[dict[str, Any]] = [{"after": n} for n in range(1, EVENTS + 1)]
    plugs += [{"before": "step_finished", "nth": n} for n in (1, 4)]
    plugs += [{"before": "slack"}, {"before": "slack reply"}]
    plugs += [{"before": "note_written", "nth": n} for n in (1, 2)]
    plugs += [{"before": "finished"}]

    async with nursery() as bots, asyncio.TaskGroup() as group:
        for chain in range(CHAINS):
            group.create_task(pull(world, f"chain-{chain}", bots, plugs[chain::CHAINS]))


async def test_a_shutdown_ends_what_runs_and_tells_it_before_it_leaves(world: World) -> None:
    """SIGTERM in the middle: the step is ended here, thread and note say so, and the status is 0."""
    async with house(world, "drained", seconds=45, drain_s=1) as here, serving(here) as bot:
        await here.connected(1)
        case = await here.take("slow")
        await until(lambda: here.has(case, "step_finished"))

        bot.send_signal(signal.SIGTERM)
        async with asyncio.timeout(TOLD_S):
            status = await bot.wait()

        assert status == 0
        assert here.is_told(case)
        assert await here.check(case) == "stopped"
        assert "capturebot itself is being shut down" in here.openings(case)[0].text
        assert leftovers([case]) == []


async def test_two_bots_on_one_journal_tell_each_story_once_and_inherit_from_each_other(world: World) -> None:
    """A second one that starts buries nothing that lives; when one is killed, the other tells its captures' ends."""
    async with house(world, "shared", seconds=6) as here, serving(here) as first:
        await here.connected(1)
        lived = await here.take("slow")
        await until(lambda: here.has(lived, "step_finished"))
        async with serving(here) as second:
            await here.connected(2)
            await here.settle(lived)
            died = await here.take("slow")
            await until(lambda: here.has(died, "step_finished"))
            ((owner,),) = here.rows("SELECT owner FROM captures WHERE id = ?", died.id)
            victim, heir = (first, second) if f"/{first.pid}/" in owner else (second, first)

            victim.kill()
            await victim.wait()
            await here.settle(died)
            await until(here.is_quiet, TOLD_S, "quiet")
            heir.send_signal(signal.SIGTERM)

            assert await heir.wait() == 0
            assert await here.check(lived) == "complete"
            assert await here.check(died) == "interrupted"
            await until(lambda: not leftovers(here.cases), READY_S, "the end of the steps' processes")

"""S3 goes away in the middle: captures go on, and what it refused comes home when it is back."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from bot.story import BROUGHT_HOME
from tests.live.house import TOLD_S, House, World, house, serving, until, worlds

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """S3 and PagerDuty."""
    async with worlds(tmp_path) as made:
        yield made


def waiting(here: House) -> list[int]:
    """The sizes in bytes of the files that wait for S3. Unlike Path.rglob, os.walk lets folders go while it looks."""
    walked = os.walk(here.folder / "journal.db.spare")
    sizes = []
    for path in (Path(folder) / name for folder, _, names in walked for name in names if name != ".lock"):
        with suppress(FileNotFoundError):
            sizes.append(path.stat().st_size)
    return sorted(sizes)


async def test_what_s3_refused_while_it_was_away_comes_home(world: World) -> None:
    """Killed while an upload is open; the next start after it is back moves everything, with the right checksums."""
    async with house(world, "away") as here:
        async with serving(here) as bot:
            await here.connected(1)
            cut_off = await here.take()
            await here.uploading()
            await world.stop_s3()
            await here.settle(cut_off)
            alone = await here.take()
            await here.settle(alone)
            told_away = here.openings(alone)[0].text
            waited = waiting(here)
            await world.start_s3()
            bot.send_signal(signal.SIGTERM)
            assert await bot.wait() == 0
        async with serving(here):
            await until(lambda: not waiting(here), TOLD_S, "the way home")
            await until(lambda: "💾" not in here.openings(alone)[0].text, TOLD_S, "the news of it")
            await until(lambda: BROUGHT_HOME in here.thread(alone)[0].text, TOLD_S, "the news of it in the thread")

            assert "💾 4 files wait on capturebot's own disk until the store takes them." in told_away
            assert waited[-1] > 20_000_000 > waited[-2]  # the long output, of the second capture
            for case in (cut_off, alone):
                assert here.has(case, "finished")
                assert await here.check(case) == "partial"
            assert "A long log — failed" in here.thread(cut_off)[0].text
            assert await here.open_uploads() == []

"""The scripts of the guide, run on this machine as the product runs them."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from bot.insights import Reading, sections
from bot.insights.difference import difference
from bot.model import Script, Target
from bot.recipes import bind, bind_parameters
from bot.transports.local import LocalTransport
from tests.steps import Kept, keep, start
from tests.test_guide import examples, write_examples

pytestmark = pytest.mark.live

HERE = Target(name="here", local=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the guide's examples."""
    write_examples(tmp_path)
    return tmp_path


async def run(recipe: str, folder: Path, **given: str) -> Kept:
    """What the only script of an example prints."""
    found = examples(folder)[recipe]
    step = next(step for step in found.steps if isinstance(step.action, Script))
    return await keep(await start(LocalTransport(), HERE, bind(step, bind_parameters(found, given))))


def parts(kept: Kept) -> list[str]:
    """The names of what came."""
    return [section.name for section in sections(kept.output.decode())]


async def test_a_script_that_is_sampled_shows_what_moved(folder: Path) -> None:
    """Its two looks are read by `difference`."""
    looks = [(await run("counters", folder)).output.decode() for _ in range(2)]

    assert all("LISTEN" in look or "ESTAB" in look for look in looks)
    first, last = (f"### sample at=2026-11-23T00:00:0{n}+00:00\n{look}probe {n}\n" for n, look in enumerate(looks))
    (finding,) = difference(Reading(text=first + last, target="here"))
    assert finding.text.startswith("Moved most in 1 s: ")


async def test_a_script_that_chooses_a_process_gets_its_pid(folder: Path) -> None:
    """Of any kind."""
    sleeper = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        chosen = await run("limits", folder, pid=str(sleeper.pid))
        several = await run("limits", folder)
    finally:
        sleeper.kill()
        await sleeper.wait()

    assert parts(chosen) == ["process", "limits"]
    assert b"Max open files" in chosen.output
    assert parts(several) == ["refused", "candidates"]


async def test_a_program_is_brought_along(folder: Path) -> None:
    """To look into a Python process."""
    if not (Path(sys.executable).parent / "py-spy").exists():
        pytest.skip("py-spy is not installed beside the bot: pip install py-spy")
    code = "import time\nprint(flush=True)\nwhile True: time.sleep(1)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    await process.stdout.readline()
    try:
        kept = await run("python-stacks", folder, pid=str(process.pid))
    finally:
        process.kill()
        await process.wait()

    assert parts(kept) == ["process", "stacks"]
    assert b"<module> (<string>:" in kept.output


async def test_a_whole_script_prints_its_parts(folder: Path) -> None:
    """Also where no web server runs."""
    kept = await run("web-stall", folder)

    assert kept.failure is None
    assert parts(kept) == ["workers", "files", "sockets"]
    assert sections(kept.output.decode())[0].rows()

"""captures/choose-process.sh on real processes: whom it takes, whom it lists, and what it says of them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from bot.insights import Section, sections
from bot.insights.choice import row_of, unchosen
from bot.model import Target
from bot.recipes import builtin_folder
from bot.transports.local import LocalTransport
from tests.steps import a_script, keep, start, until

pytestmark = pytest.mark.live

LIBRARY = (builtin_folder() / "choose-process.sh").read_text()
HERE = Target(name="here", local=True)
MARK = f"choosing-{os.getpid()}"
HOSTILE = "a\tb\\n\n### process at=2026-11-23T00:00:00+00:00\u202e"


@asynccontextmanager
async def processes(*argvs: Sequence[str]) -> AsyncIterator[list[int]]:
    """Programs that run, as their pids; each is in place of its launcher."""
    async with AsyncExitStack() as stack:
        pids = []
        for program, *arguments in argvs:
            process = await asyncio.create_subprocess_exec(program, *arguments, stdout=asyncio.subprocess.DEVNULL)
            stack.push_async_callback(process.wait)
            stack.callback(process.kill)
            pids.append(process.pid)
        assert await until(lambda: all(b"\0" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids))
        yield pids


async def choose(words: str, *, pid: int = 0, app: str = "") -> list[Section]:
    """What the script prints when it chooses by these words, and what it chose."""
    script = a_script(
        f'{LIBRARY}\nchoose {words}\nsection chosen "pid=$pid" "user=$user"\n', PARAM_PID=str(pid), PARAM_APP=app
    )
    kept = await keep(await start(LocalTransport(), HERE, script))
    assert kept.reason == ""
    return sections(kept.output.decode())


def said(parts: list[Section]) -> str:
    """The sentence about a choice that could not be made."""
    return next(finding.text for finding in unchosen(parts, "profile", "here"))


@pytest.mark.parametrize("by", ["pid", "app"])
async def test_one_that_fits_is_chosen(by: str) -> None:
    """By its pid or a part of its command line; of a kind, or of any."""
    async with processes(["sleep", "600.25"], ["sleep", "600.5"]) as (_, pid):
        given = {"pid": pid} if by == "pid" else {"app": "600.5"}

        for words in ("'' ''", "Sleeping '^sleep$'"):
            parts = await choose(words, **given)

            assert [part.name for part in parts] == ["process", "chosen"]
            assert row_of(parts)["command"] == "sleep 600.5"
            assert parts[1].facts["pid"] == str(pid)


async def test_an_interpreter_goes_by_its_script(tmp_path: Path) -> None:
    """So that two services of one interpreter can be told apart."""
    for name in ("orders.sh", "stock.sh"):
        (tmp_path / name).write_text("while read -r line <&3; do :; done 3< <(sleep 600)\n")
    async with processes(["bash", str(tmp_path / "orders.sh")], ["bash", "-x", str(tmp_path / "stock.sh")]) as (
        orders,
        stock,
    ):
        by_name, by_file = await choose("Bash '^bash$'", app="orders"), await choose("Bash '^bash$'", app="stock.sh")

    assert (row_of(by_name)["pid"], row_of(by_name)["app"]) == (str(orders), "orders.sh")
    assert (row_of(by_file)["pid"], row_of(by_file)["app"]) == (str(stock), "stock.sh")


async def test_several_are_listed_with_what_each_uses_now() -> None:
    """The busiest first, and each can be pressed."""
    busy = ["bash", "-c", "while :; do :; done", MARK]
    async with processes(["bash", "-c", "sleep 600; true", MARK], busy) as (idle, hog):
        parts = await choose("Bash '^bash$'", app=MARK)

    (finding,) = unchosen(parts, "profile", "here")
    assert finding.text.startswith(
        f"2 Bash processes match; name one: /capture profile here pid={hog} (bash -c), or pid={idle}"
    )
    assert [suggestion.parameters for suggestion in finding.next] == [{"pid": hog}, {"pid": idle}]
    assert finding.next[0].label.startswith(f"{hog} bash -c, ")
    assert finding.next[0].label.endswith(" % CPU")


async def test_none_that_fits_is_said_with_those_that_run() -> None:
    """A pid of another kind, one that is gone, an application that is not there, and a choice that has to be made."""
    async with processes(["sleep", "600"]) as (pid,):
        other = await choose("Bash '^bash$'", pid=pid)
        gone = await choose("Sleeping '^sleep$'", pid=4_194_304)
        absent = await choose("Sleeping '^sleep$'", app=f"{MARK}-none")
        unnamed = await choose("'' ''")
        barred = await choose("Sleeping '^sleep$' '' '^sleep$'", pid=pid)

    assert said(other).startswith(f"pid {pid} is sleep, no Bash process that ")
    assert said(gone).startswith("No process has pid 4194304 here any more; these run: ")
    assert said(absent).startswith(f"No Sleeping process matches app={MARK}-none; these run: ")
    assert said(unnamed).startswith("Name a process: pid=… or app=…; these run: ")
    assert said(barred).startswith(f"pid {pid} is sleep, no Sleeping process that ")


async def test_what_a_process_calls_itself_breaks_no_table() -> None:
    """Tabs, new lines, backslashes and headers in its arguments."""
    async with processes(["bash", "-c", "sleep 600; true", HOSTILE, MARK]) as (pid,):
        parts = await choose("'' ''", pid=pid)

    assert [part.name for part in parts] == ["process", "chosen"]
    assert row_of(parts)["pid"] == str(pid)
    assert "\\" not in parts[0].body


async def test_a_library_makes_a_program_of_another_name_one_where_it_is_named() -> None:
    """As a launcher of a JVM has one; nobody is searched through without having been named."""
    async with processes(["sleep", "600.75"]) as (pid,):
        named = await choose("Java '^java$' /libc.so", app="600.75")
        unnamed = await choose("Java '^java-none$' /libc.so")

    assert row_of(named)["pid"] == str(pid)
    assert said(unnamed).startswith("No Java process runs here")

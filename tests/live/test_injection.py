"""What people write into parameters, of every shipped recipe for hosts: refused, or looked at as text; never run."""

from __future__ import annotations

import asyncio
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from bot.errors import UserError
from bot.model import Recipe, Target, TargetKind
from bot.recipes import bind, bind_parameters, builtin_folder, load_folder
from bot.transports.local import LocalTransport
from tests.steps import keep

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

HERE = Target(name="here", local=True)
LIBRARY = {name: recipe for name, recipe in load_folder(builtin_folder()).items() if recipe.wants is TargetKind.HOST}
PARAMETERS = [(name, one.name) for name, recipe in LIBRARY.items() for one in recipe.parameters]
STEP_S = 8.0  # for what runs with a trick that a parameter lets through
OUTPUT_BYTES = 20_000_000
AT_ONCE = 3
# A quick way through recipes that would take their time with an ordinary value.
QUICK = {"seconds": "2", "count": "5", "size": "1"}
FEW = {"seconds": "2", "every": "1"}
IMPOSTER = """\
import os, socket, sys, time
open("/proc/self/comm", "w").write({name!r})
held = [open(each, "a") for each in os.listdir(".")]
listening = socket.socket(); listening.bind(("127.0.0.1", 0)); listening.listen()
print("ready", flush=True)
time.sleep(600)
"""
# "@" stands for a file that nobody may make.
TRICKS = (
    "; touch @",
    "x; touch @;",
    "&& touch @",
    "| touch @",
    "$(touch @)",
    "`touch @`",
    "${IFS}$(touch @)",
    "x\ntouch @",
    "x\r\ntouch @ #",
    "'; touch @; '",
    '"; touch @; "',
    "\\'; touch @; \\'",
    "a[$(touch @)]",  # what bash counts with, it runs
    "x=$(touch @)",
    "<(touch @)",
    "{touch,@}",
    '" system("touch @") "',  # awk
    "s/x/touch @/e",  # sed
    "%n%s%x",
    "-rf",
    "-rf /",
    "--help",
    "--",
    "-",
    "-z /usr/bin/touch",
    "-exec touch @ ;",
    "../../../../etc/shadow",
    "/etc/shadow",
    "/proc/self/environ",
    "/dev/zero",
    "file:///etc/shadow",
    "http://127.0.0.1:1/$(touch @)",
    "*",
    "?" * 60,
    "x\0touch @",
    "x" * 5_000,
    "\u202e\u2066ünïcode\U0001f600",
    "\ud800",
    "<!channel> <@U1> *x*",
    "\x1b[2J\x1b]0;x\x07",
    "99999999999999999999",
    "-1",
    "0x10",
    "1e3",
    "NaN",
)


@pytest.fixture
def canary() -> Path:
    """A file that is not there, with a name that is short enough for every parameter."""
    return Path("/tmp") / f"c{secrets.token_hex(3)}"


async def tried(recipe: Recipe, values: dict[str, str]) -> bytes:
    """All that the steps of *recipe* print with these *values*, one after the other, within a bound of time and bytes."""
    bound = bind_parameters(recipe, values)
    said = bytearray()
    for step in recipe.steps:
        quick = replace(bind(step, bound), timeout_s=min(step.timeout_s, STEP_S), carry=None)
        execution = await LocalTransport().start(HERE, quick, capture_id="c-injected")
        try:
            said += (await keep(execution)).output[:OUTPUT_BYTES]
        finally:
            await execution.stop()
    return bytes(said)


def accepted(recipe: Recipe, parameter: str, tricks: Sequence[str]) -> list[dict[str, str]]:
    """The values that the recipe's rules let through, beside those that make it quick."""
    found = []
    for trick in tricks:
        names = {one.name for one in recipe.parameters}
        values = {name: value for name, value in QUICK.items() if name in names} | {parameter: trick}
        with suppress(UserError):
            bind_parameters(recipe, values)
            found.append(values)
    return found


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS)
async def test_no_value_of_a_parameter_runs_anything(name: str, parameter: str, canary: Path) -> None:
    """Each trick is refused with a reason, or the recipe runs with it for real and does nothing else."""
    tricks = [trick.replace("@", str(canary)) for trick in TRICKS]
    places = asyncio.Semaphore(AT_ONCE)

    async def one(values: dict[str, str]) -> None:
        async with places:
            await tried(LIBRARY[name], values)

    async with asyncio.TaskGroup() as group:
        for values in accepted(LIBRARY[name], parameter, tricks):
            group.create_task(one(values))

    assert not made(canary)


@pytest.fixture
def imposter(canary: Path, tmp_path: Path) -> Iterator[int]:
    """A process whose names are all traps: of itself, its command line, its folder, its files, and what is in its log."""
    traps = [
        trick.replace("@", str(canary))
        for trick in TRICKS
        if "/" not in trick and "\0" not in trick and trick.isascii()
    ]
    folder = tmp_path / f"a[$(touch {canary.name})]\n### fake at=x"
    folder.mkdir()
    for number, trap in enumerate(traps[:40]):
        (folder / f"{trap[:180].replace('@', canary.name).replace('/', '_')}{number}.log").write_text(f"{trap}\n")
    code = IMPOSTER.format(name=f"$(touch {canary.name})"[:15])
    argv = [*traps, "<!channel> <@U1>", "### fake at=2026-11-23T00:00:00+00:00"]
    with subprocess.Popen([sys.executable, "-c", code, *argv], cwd=folder, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        yield process.pid
        process.kill()


@pytest.mark.parametrize("name", [name for name in LIBRARY if "pid" in {one.name for one in LIBRARY[name].parameters}])
async def test_no_name_on_a_host_runs_anything(name: str, imposter: int, canary: Path) -> None:
    """Processes, folders and files are called as somebody there likes; each recipe looks at one of those."""
    said = await tried(
        LIBRARY[name], {key: value for key, value in FEW.items() if key in _names(name)} | {"pid": str(imposter)}
    )

    headers = re.findall(rb"^### (\S+)", said, re.MULTILINE)
    assert not made(canary)
    assert b"fake" not in headers


def _names(recipe: str) -> set[str]:
    return {one.name for one in LIBRARY[recipe].parameters}


def made(canary: Path) -> bool:
    """Whether it is there, where it was asked for or where steps run."""
    return canary.exists() or Path(f"/{canary.name}").exists()

"""`dotnet` and `dotnet-heap` on real .NET processes: what is found, what is kept, and that nothing is harmed or left behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from bot.cost import Cost, read
from bot.model import Level, Script, State
from bot.recipes import load_folder
from bot.transports.local import ENVIRONMENT
from bot.transports.scratch import PLACES
from tests.live.taking import Taken, take
from tests.stage.dotnet import DEADLOCK, SHOP, application, dotnet, tidy_up
from tests.stage.machine import impossible
from tests.steps import lives

pytestmark = pytest.mark.live
CAPTURES = Path(__file__).parent.parent.parent / "captures"
RECIPES = load_folder(CAPTURES)
NOBODY = 65534


@pytest.fixture(autouse=True)
def _runtime() -> None:
    """It is there, and a compiler, or the tests are not."""
    if reason := dotnet():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where programs lie that other users run too."""
    folder = tmp_path / "app"
    folder.mkdir()
    for each in (folder, *folder.parents[:3]):
        each.chmod(each.stat().st_mode | 0o055)
    return folder


def left_behind() -> list[Path]:
    """Files of ours in any step's scratch folder."""
    names = {"its", "dump.core", "counters.csv"}
    return [path for place in PLACES for path in Path(place).glob("capturebot-*/*") if path.name in names]


def printed(script: str, parameters: Mapping[str, str | int], path: str = "") -> str:
    """What a script prints with these parameters, and with these folders as its PATH."""
    given = {"pid": 0, "app": "", "seconds": 2, "types": "no", "dump": "no", "gb": 8, **parameters}
    done = subprocess.run(
        ["/bin/bash", "-c", script],
        env={
            **ENVIRONMENT,
            **({"PATH": path} if path else {}),
            "LC_ALL": "C",
            "CAPTURE_SCRATCH": "/var/tmp",
            **{f"PARAM_{name.upper()}": str(value) for name, value in given.items()},
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout


def measured(change: tuple[str, str] = ("", ""), /, **parameters: str | int) -> Cost:
    """What the measure of `dotnet-heap` says, with a part of it replaced where one has to pretend."""
    cost = RECIPES["dotnet-heap"].cost
    assert cost
    assert change[0] in cost.script.text
    return read(printed(cost.script.text.replace(*change), parameters))


def texts(taken: Taken, level: Level) -> list[str]:
    """Its findings of one level."""
    return [each.finding.text for each in taken.story.findings if each.finding.level is level]


async def test_a_healthy_process_gives_no_warning(home: Path, tmp_path: Path) -> None:
    """What it is, is told all the same."""
    async with application(home, "shop", SHOP) as pid:
        taken = await take(tmp_path, "dotnet", app="shop", seconds=2)
        assert lives(pid)

    assert taken.story.state is State.COMPLETE
    (told,) = taken.story.findings
    assert told.finding.level is Level.INFO
    assert re.match(rf"shop \(pid {pid}\), \.NET 3\.1\.\d+: .+ of memory.*; pool of \d+ threads?, ", told.finding.text)


@pytest.mark.parametrize("kind", ["mini", "heap"])
async def test_a_dump_is_a_core_kept_apart_and_gone_from_the_host(home: Path, tmp_path: Path, kind: str) -> None:
    """The runtime writes it; what was measured before is near what came."""
    async with application(home, "shop", SHOP) as pid:
        cost = measured(pid=pid, dump=kind)
        taken = await take(tmp_path, "dotnet-heap", pid=pid, dump=kind, types="no")
        assert lives(pid)

    assert taken.story.state is State.COMPLETE
    (dump,) = taken.result("heap").files
    assert dump.binary
    kept = re.search(r"### dumped at=\S+ bytes=(\d+) seconds=\S+ of=(\w+) by=socket", taken.texts["heap"])
    assert kept
    assert kept[2] == kind
    assert 0.5 * int(kept[1]) < cost.numbers["writes_bytes"] < 4 * int(kept[1])
    data = unpacked(tmp_path / "artifacts" / dump.key)
    assert len(data) == int(kept[1])
    assert data.startswith(b"\x7fELF")
    assert data[16] == 4  # a core
    assert taken.line.startswith(f"Dump of shop (pid {pid}) ({kind}): ")
    assert left_behind() == []


def unpacked(path: Path) -> bytes:
    """A file that was compressed on the way, as it was."""
    argv = {".zst": ["zstd", "-dc"], ".gz": ["gzip", "-dc"]}.get(path.suffix, ["cat"])
    with path.open("rb") as file:
        return subprocess.run(argv, stdin=file, capture_output=True, check=True).stdout


async def test_another_users_process_is_asked_as_that_user(home: Path, tmp_path: Path) -> None:
    """By root; its file becomes ours."""
    if os.geteuid() != 0:
        pytest.skip("another user's process needs root")
    become = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--")
    async with application(home, "shop", SHOP, *become, env={"HOME": "/"}) as pid:
        looked = await take(tmp_path, "dotnet", pid=pid, seconds=2)
        dumped = await take(tmp_path, "dotnet-heap", pid=pid, dump="mini")

    assert [each.finding.level for each in looked.story.findings] == [Level.INFO]
    assert "by=socket" in dumped.texts["heap"]
    assert any(text.startswith(f"shop (pid {pid}) keeps ") for text in texts(dumped, Level.INFO))
    assert left_behind() == []


async def test_without_its_socket_createdump_takes_the_dump(home: Path, tmp_path: Path) -> None:
    """Which its runtime brings along; why nothing else is seen, is told."""
    async with application(home, "shop", SHOP, env={"COMPlus_EnableDiagnostics": "0"}) as pid:
        looked = await take(tmp_path, "dotnet", pid=pid, seconds=2)
        dumped = await take(tmp_path, "dotnet-heap", pid=pid, dump="mini", types="no")
        assert lives(pid)

    assert looked.line.startswith(f"shop (pid {pid}): Its diagnostic socket is switched off: it was started with ")
    assert "by=createdump" in dumped.texts["heap"]
    assert dumped.line.startswith(f"Dump of shop (pid {pid}) (mini): ")
    assert left_behind() == []


async def test_in_a_container_it_is_asked_and_not_dumped(home: Path, tmp_path: Path) -> None:
    """Its file would lie in there; it calls itself by another number there, too."""
    apart = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
    if reason := impossible():
        pytest.skip(reason)
    try:
        async with application(home, "stock", DEADLOCK, *apart):
            looked = await take(tmp_path, "dotnet", app="stock", seconds=2)
            cost = measured(app="stock", dump="mini")
    finally:
        tidy_up(1)  # its number in there

    assert looked.line.startswith("Probably a deadlock: 2 threads of stock (pid ")
    assert cost.refusals[0].startswith("it runs in a container, where its file would lie")


async def test_a_stopped_process_is_told_and_not_waited_for(home: Path, tmp_path: Path) -> None:
    """Nothing is asked of it."""
    async with application(home, "stock", DEADLOCK) as pid:
        os.kill(pid, signal.SIGSTOP)
        taken = await take(tmp_path, "dotnet", pid=pid)
        cost = measured(pid=pid, dump="heap")

    assert taken.line == f"stock (pid {pid}) is stopped (SIGSTOP or a debugger) and answers nobody"
    assert cost.refusals[0].startswith("It is stopped")


async def test_of_several_none_is_taken(home: Path, tmp_path: Path) -> None:
    """They are named, and offered."""
    async with application(home, "shop", SHOP) as shop, application(home, "stock", DEADLOCK) as stock:
        taken = await take(tmp_path, "dotnet")
        by_name = await take(tmp_path, "dotnet", app="stock", seconds=2)

    assert re.match(r"\d .NET processes match; name one: /capture dotnet here pid=", taken.line)
    offered = {each.parameters["pid"] for told in taken.story.findings for each in told.finding.next}
    assert {shop, stock} <= offered
    assert by_name.line.startswith(f"Probably a deadlock: 2 threads of stock (pid {stock}) wait ")


async def test_without_python_what_is_missing_is_told(home: Path, tmp_path: Path) -> None:
    """With the line that mends it; a dump is taken all the same."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in [
        "awk",
        "bash",
        "basename",
        "cat",
        "chmod",
        "chown",
        "cut",
        "date",
        "df",
        "du",
        "find",
        "getconf",
        "getent",
        "grep",
        "head",
        "id",
        "mkdir",
        "mv",
        "od",
        "ps",
        "readlink",
        "rm",
        "sed",
        "sleep",
        "sort",
        "stat",
        "tail",
        "timeout",
        "tr",
        "setpriv",
    ]:
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    async with application(home, "shop", SHOP) as pid:
        action = RECIPES["dotnet"].steps[0].action
        assert isinstance(action, Script)
        looked = printed(action.text, {"pid": pid}, str(tools))

    assert "kind=python\nNothing here can ask its runtime: there is no Python 3.6 or newer, and neither " in looked
    assert "apt-get install python3-minimal" in looked


async def test_a_dump_that_finds_no_room_is_refused_before_anything_stands_still(home: Path) -> None:
    """What would be written, and what is left."""
    async with application(home, "shop", SHOP) as pid:
        fits = measured(pid=pid, dump="full")
        large = measured(("total=3000000", "total=5000000000"), pid=pid, dump="full", gb=1)
        full = measured(("free=$(($1 * $2))", "free=1000000"), pid=pid, dump="full")

    assert fits.refusals == ()
    assert re.match(r"about 5\.\d GB would be written, more than gb=1 allows", large.refusals[0])
    assert re.match(r"about .+ would be written, and /var has 1\.0 MB of .+ left", full.refusals[0])


async def test_a_process_that_ends_meanwhile_is_told(home: Path, tmp_path: Path) -> None:
    """By number, once it is gone."""
    async with application(home, "shop", SHOP) as pid:
        pass
    taken = await take(tmp_path, "dotnet", pid=pid)

    assert taken.line.startswith(f"No process has pid {pid} here any more")

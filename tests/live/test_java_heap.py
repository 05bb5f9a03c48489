"""`java-heap` on real JVMs: what is found, what is kept, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from bot.cost import Cost, read
from bot.errors import StepFailed
from bot.model import File, Level, State, Target
from bot.recipes import load_folder
from bot.recipes.parameters import bind, bind_parameters
from bot.transports.local import ENVIRONMENT, LocalTransport
from bot.transports.scratch import PLACES
from tests.live.taking import take
from tests.stage.programs import jvm
from tests.steps import lives, start, until

pytestmark = pytest.mark.live

CAPTURES = Path(__file__).parent.parent.parent / "captures"
RECIPE = load_folder(CAPTURES)["java-heap"]
HERE = Target(name="here", local=True)
SERIAL = ("-Xmx64m", "-XX:+UseSerialGC")


@pytest.fixture(autouse=True)
def _jdk() -> None:
    """Its tools are there, or the tests are not."""
    if not shutil.which("javac") or not shutil.which("jcmd"):
        (pytest.fail if os.environ.get("CI") else pytest.skip)("there is no JDK: apt-get install default-jdk-headless")


def left_behind() -> list[Path]:
    """Files of ours in any step's scratch folder."""
    names = {"its", "heap.hprof", "recording.jfr"}
    return [path for place in PLACES for path in Path(place).glob("capturebot-*/*") if path.name in names]


def left_in(folder: Path) -> list[Path]:
    """What lies in a folder."""
    return list(folder.iterdir())


async def test_a_healthy_jvm_gives_no_warning_and_no_file(tmp_path: Path) -> None:
    """What fills its heap is told all the same; a recording was not asked for."""
    (tmp_path / "classes").mkdir()
    async with jvm(tmp_path / "classes", "Healthy") as pid:
        taken = await take(tmp_path, "java-heap", pid=pid, every=1)

    assert taken.story.state is State.COMPLETE
    assert [told.finding.level for told in taken.story.findings] == [Level.INFO]
    assert re.match(rf"Healthy \(pid {pid}\) has .+ of 67 MB of heap in use, most of all ", taken.line)
    assert [each.files for each in taken.story.results] == [(), ()]
    assert "### unasked" in taken.texts["recording"]


async def test_a_dump_and_a_recording_are_kept_apart_and_gone_from_the_host(tmp_path: Path) -> None:
    """What was measured before is near what came."""
    (tmp_path / "classes").mkdir()
    async with jvm(tmp_path / "classes", "Hoard", "60", "600000", options=SERIAL) as pid:
        cost = measured(pid=pid, dump="live", jfr=2)
        taken = await take(tmp_path, "java-heap", pid=pid, every=1, dump="live", jfr=2)
        assert lives(pid)

    assert taken.story.state is State.COMPLETE
    (dump,), (recording,) = taken.result("heap").files, taken.result("recording").files
    assert dump.binary
    assert recording.binary
    assert (tmp_path / "artifacts" / recording.key).read_bytes().startswith(b"FLR")
    kept = re.search(r"### dumped at=\S+ bytes=(\d+) ", taken.texts["heap"])
    assert kept
    assert 0.7 * int(kept[1]) < cost.numbers["writes_bytes"] < 1.5 * int(kept[1])
    infos = [each.finding.text for each in taken.story.findings if each.finding.level is Level.INFO]
    assert any(
        re.match(r"Hoard \(pid \d+\) has dumped .+ of its heap \(what is alive\) within ", text) for text in infos
    )
    assert left_behind() == []


async def test_a_recording_that_is_stopped_leaves_none_in_the_jvm(tmp_path: Path) -> None:
    """Neither running nor on the disk."""
    step = next(each for each in RECIPE.steps if each.id == "recording")
    async with jvm(tmp_path, "Healthy") as pid:
        bound = bind(step, bind_parameters(RECIPE, {"pid": str(pid), "jfr": "60"}))
        execution = await start(LocalTransport(), HERE, bound)

        async def drain() -> None:
            with suppress(StepFailed):
                async for _ in execution.output():
                    pass

        def recordings() -> str:
            return subprocess.run(["jcmd", str(pid), "JFR.check"], capture_output=True, text=True, check=False).stdout

        assert await until(lambda: "running" in recordings())
        await asyncio.gather(drain(), execution.stop())

        assert await until(lambda: "running" not in recordings())
    assert left_behind() == []


# --- what it would cost -----------------------------------------------------------------------


def printed(script: str, /, *, within: Path = Path("/var/tmp"), **parameters: str | int) -> str:
    """What a script prints with these parameters."""
    given = {"pid": 0, "app": "", "every": 1, "dump": "no", "jfr": 0, **parameters}
    done = subprocess.run(
        ["bash", "-c", script],
        env={
            **ENVIRONMENT,
            "LC_ALL": "C",
            "CAPTURE_SCRATCH": str(within),
            **{f"PARAM_{name.upper()}": str(value) for name, value in given.items()},
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout


def measured(*, pid: int, dump: str = "no", jfr: int = 0) -> Cost:
    """What the recipe's measure says."""
    assert RECIPE.cost
    return read(printed(RECIPE.cost.script.text, pid=pid, dump=dump, jfr=jfr))


async def test_a_look_costs_a_pause_only_and_a_stopped_jvm_is_refused(tmp_path: Path) -> None:
    """In numbers, or in words."""
    async with jvm(tmp_path, "Healthy") as pid:
        look = measured(pid=pid)
        os.kill(pid, signal.SIGSTOP)
        stopped = measured(pid=pid)

    assert look.what == f"Healthy (pid {pid})"
    assert 0 <= look.numbers["pause_s"] < 1
    assert "writes_bytes" not in look.numbers
    assert stopped.refusals == ("It is stopped (SIGSTOP or a debugger) and answers nobody.",)


async def test_a_dump_that_finds_no_room_is_not_begun(tmp_path: Path) -> None:
    """The numbers say why."""
    step = RECIPE.steps[0]
    assert isinstance(step.action, File)
    text = step.action.script.text.replace("DUMPED_PERCENT=130", "DUMPED_PERCENT=1000000000")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    async with jvm(tmp_path, "Healthy") as pid:
        said = printed(text, within=scratch, pid=pid, dump="all")

    assert re.search(r"No heap dump: about .+ TB would be written, and .+ has .+ of .+ left", said)
    assert left_in(scratch) == []


@pytest.mark.parametrize(
    ("said", "used"),
    [
        (" garbage-first heap   total 65536K, used 54081K [0x0, 0x1)\n Metaspace       used 88K, committed 320K", 54081 * 1024),
        ("garbage-first heap   total reserved 131072K, committed 131072K, used 70993K [0x0, 0x1)", 70993 * 1024),
        (" def new generation   total 39296K, used 15959K [0)\n  eden space 34944K,  33% used [0)\n tenured generation   total 8K, used 41K [0)", 16000 * 1024),
        (" PSYoungGen      total 38400K, used 19643K [0)\n  eden space 33280K, 43% used [0)\n ParOldGen       total 87552K, used 357K", 20000 * 1024),
        (" ZHeap           used 48M, capacity 128M, max capacity 128M", 48 * 1024 * 1024),
        ("Shenandoah Heap\n 128M max, 128M soft max, 128M committed, 58914K used", 58914 * 1024),
        ("java.lang.IllegalArgumentException: Unknown diagnostic command", 0),
    ],
)  # fmt: skip
def test_every_collector_says_how_much_is_used(said: str, used: int) -> None:
    """Each in its own words, from OpenJDK 17 and 25."""
    script = (CAPTURES / "java-size.sh").read_text() + "\nheap_of"
    done = subprocess.run(["bash", "-c", script], input=said, capture_output=True, text=True, check=True)

    assert done.stdout == f"{used}\n"

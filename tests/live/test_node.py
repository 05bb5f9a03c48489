"""`node` on Node.js processes that are blocked, full or well: what is found, and that nothing is harmed or left behind."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import psutil
import pytest

from bot.insights import sections
from bot.model import Script, State, Target
from bot.recipes import load_folder
from bot.transports.local import LocalTransport
from tests.live.taking import Taken, take
from tests.stage.javascript import BLOCKED, SHOP
from tests.stage.programs import program
from tests.steps import a_step, gone, keep_rest, lives, start, until

pytestmark = pytest.mark.live

CAPTURES = Path(__file__).parent.parent.parent / "captures"
INSPECTOR = 9229
SECRET = "made-up-0123456789"

Launch = Callable[..., AbstractAsyncContextManager[int]]


@pytest.fixture
def app(tmp_path: Path) -> Launch:
    """Runs a program in a folder of its own; gives its pid."""
    if not shutil.which("node"):
        (pytest.fail if os.environ.get("CI") else pytest.skip)("there is no node: apt-get install nodejs")
    (tmp_path / "app").mkdir(mode=0o777)

    @asynccontextmanager
    async def launch(name: str, code: str, *options: str, before: tuple[str, ...] = ()) -> AsyncIterator[int]:
        (tmp_path / "app" / name).write_text(code)
        argv = (*before, "node", *options, name)
        async with program(*argv, cwd=tmp_path / "app", env={"ORDERS_KEY": SECRET}, quiet=True) as pid:
            yield pid

    return launch


def reports(folder: Path) -> list[Path]:
    """Reports that lie about."""
    return list((folder / "app").glob("report*"))


def parts(taken: Taken) -> list[str]:
    """The names of what was kept."""
    return [section.name for section in sections(taken.texts["node"])]


async def test_a_report_is_read_without_its_environment_and_removed(app: Launch, tmp_path: Path) -> None:
    """A healthy process: its heap and handles as information, and no warning."""
    async with app("shop.js", SHOP, "--report-on-signal") as pid:
        taken = await take(tmp_path, "node", pid=pid)
        assert lives(pid)

    assert taken.story.state is State.COMPLETE
    assert taken.line == "Nothing unusual found"
    (told,) = taken.story.findings
    assert re.fullmatch(
        rf"shop\.js \(pid {pid}\), node v.+: heap .+ MB of .+, main thread .+, handles: .*tcp.*", told.finding.text
    )
    assert SECRET not in taken.texts["node"]
    assert reports(tmp_path) == []


async def test_a_compact_report_has_no_environment_either(app: Launch, tmp_path: Path) -> None:
    """It is one line, that takes a parser."""
    async with app("shop.js", SHOP, "--report-on-signal", "--report-compact") as pid:
        taken = await take(tmp_path, "node", pid=pid)

    assert '"usedMemory"' in taken.texts["node"]
    assert "ORDERS_KEY" not in taken.texts["node"]
    assert reports(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ((), SHOP),
        (("--report-on-signal",), SHOP + 'process.removeAllListeners("SIGUSR2")'),
    ],
)
async def test_a_process_that_a_signal_would_end_gets_none(
    options: tuple[str, ...], code: str, app: Launch, tmp_path: Path
) -> None:
    """Not started so, or it has changed its mind since."""
    async with app("shop.js", code, *options) as pid:
        taken = await take(tmp_path, "node", pid=pid, report="yes")
        assert lives(pid)

    assert "asked" not in parts(taken)
    assert "nothing was sent" in taken.texts["node"]


async def test_options_of_the_program_are_not_options_of_node(app: Launch, tmp_path: Path) -> None:
    """What stands behind the script's name is the script's business."""
    handler = 'process.on("SIGUSR2", () => process.exit(1))'
    async with app("shop.js", SHOP + handler) as _, app("shop2.js", SHOP + handler, "-r", "./shop.js") as pid:
        taken = await take(tmp_path, "node", pid=pid, report="yes")
        assert lives(pid)

    assert "asked" not in parts(taken)


async def test_a_blocked_event_loop_is_named_with_its_function_and_its_inspector_closed(
    app: Launch, tmp_path: Path
) -> None:
    """V8 interrupts what runs for each sample."""
    async with app("checkout.js", BLOCKED) as pid:
        assert await until(lambda: psutil.Process(pid).cpu_times().user > 0.2)
        seen = await take(tmp_path, "node", pid=pid)
        named = await take(tmp_path, "node", pid=pid, inspector="yes", seconds=1)
        listening = [each.laddr.port for each in psutil.Process(pid).net_connections("tcp")]

    assert re.match(
        rf"The event loop of checkout\.js \(pid {pid}\) hardly turns: its main thread uses \d+ % of a core", seen.line
    )
    assert [dict(each.parameters) for each in seen.story.findings[0].finding.next if not each.recipe] == [
        {"pid": pid, "inspector": "yes"}
    ]
    assert re.search(r"\d+ % of it in price \(checkout\.js:3\), called by checkout$", named.line)
    assert len(listening) == 1
    assert "asked" not in parts(seen)


async def test_root_reads_the_report_of_another_user_as_that_user(app: Launch, tmp_path: Path) -> None:
    """And removes it."""
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    for folder in (tmp_path, *tmp_path.parents):
        if folder == Path(tempfile.gettempdir()):
            break
        folder.chmod(0o755)
    (tmp_path / "app").chmod(0o777)
    nobody = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
    async with app("shop.js", SHOP, "--report-on-signal", before=nobody) as pid:
        taken = await take(tmp_path, "node", pid=pid, inspector="yes", seconds=1)

    assert {"report", "profile"} <= set(parts(taken))
    assert reports(tmp_path) == []


async def test_a_stop_in_the_middle_of_a_profile_closes_the_inspector(app: Launch) -> None:
    """The process runs on, and nothing of ours does."""
    step = load_folder(CAPTURES)["node"].steps[0]
    assert isinstance(step.action, Script)
    async with app("shop.js", SHOP) as pid:
        env = {
            "PARAM_PID": str(pid),
            "PARAM_APP": "",
            "PARAM_REPORT": "no",
            "PARAM_INSPECTOR": "yes",
            "PARAM_SECONDS": "20",
        }
        script = Script(name="node.sh", text=step.action.text, env=env)
        before = {each.pid for each in psutil.Process().children(recursive=True)}
        execution = await start(LocalTransport(), Target(name="here", local=True), a_step(script, timeout_s=60))

        def states() -> set[str]:
            """Of the inspector's sockets."""
            sockets = psutil.Process(pid).net_connections("tcp")
            return {each.status for each in sockets if each.laddr.port == INSPECTOR}

        assert await until(lambda: "ESTABLISHED" in states())
        ours = {each.pid for each in psutil.Process().children(recursive=True)} - before
        rest, proof = await asyncio.gather(keep_rest(execution.output()), execution.stop())

        assert "gone" in proof
        assert b"### threads" in rest.output
        assert await gone(*ours)
        assert await until(lambda: "LISTEN" not in states())
        assert lives(pid)


async def test_a_process_that_is_no_node_is_said_with_those_that_are(app: Launch, tmp_path: Path) -> None:
    """Each can be pressed."""
    async with app("shop.js", SHOP) as pid:
        taken = await take(tmp_path, "node", pid=os.getpid())

    assert taken.line.startswith(f"pid {os.getpid()} is ")
    assert pid in [each.parameters["pid"] for each in taken.story.findings[0].finding.next]

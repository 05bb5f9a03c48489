"""`java-threads` on JVMs that are really broken, through the product's own transport and runner."""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from bot.insights import sections
from bot.insights.java import threads
from bot.model import Event, Script, StepResult, Target
from bot.recipes import load_folder
from bot.recipes.parameters import bind, bind_parameters
from bot.redact import Redactor
from bot.runner import Job, Runner
from bot.settings import Limits
from bot.story import Story, story
from bot.transports.local import LocalTransport
from tests.fakes import MemoryStore, a_capture, accepted
from tests.steps import gone, lives, until

pytestmark = pytest.mark.live

TREE = Path(__file__).parent.parent.parent
RECIPE = load_folder(TREE / "captures")["java-threads"]
SCRIPT = next(step.action for step in RECIPE.steps if isinstance(step.action, Script))
HERE = Target(name="here", local=True)
READY_S = 30.0
NOBODY = pwd.getpwnam("nobody")
AS_NOBODY = ("setpriv", f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}", "--clear-groups")


def missing(reason: str) -> None:
    """Skip with the reason; where everything should be there, fail."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.fixture(scope="module")
def classes() -> Iterator[Path]:
    """The scenes, compiled; in a folder that other users may read."""
    if not shutil.which("javac"):
        missing("there is no javac: apt-get install default-jdk-headless")
    with tempfile.TemporaryDirectory(prefix="java-") as folder:
        Path(folder).chmod(0o755)
        sources = sorted((TREE / "tests/scenes/java/shop").glob("*.java"))
        subprocess.run(["javac", "-Xlint:-options", "--release", "11", "-d", folder, *sources], check=True)
        yield Path(folder)


@pytest.fixture
def port() -> Iterator[str]:
    """A service that takes connections, which the kernel does, and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield str(server.getsockname()[1])


@asynccontextmanager
async def jvm(
    classes: Path, scene: str, *arguments: str, options: tuple[str, ...] = (), user: str = ""
) -> AsyncIterator[int]:
    """The pid of a JVM that is as broken as it gets; it is gone at the end."""
    java = ["java", "-Xmx64m", *options, "-cp", str(classes), f"shop.{scene}", *arguments]
    if user:
        java = [*AS_NOBODY, *java]
    process = await asyncio.create_subprocess_exec(*java, stdout=subprocess.PIPE, cwd="/")
    try:
        assert process.stdout
        async with asyncio.timeout(READY_S):
            assert await process.stdout.readline() == b"ready\n"
        yield process.pid
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@dataclass(frozen=True)
class Taken:
    """A capture: its story, and what was kept."""

    story: Story
    text: str

    @property
    def result(self) -> StepResult:
        """How its only step ended."""
        return self.story.results[0]

    @property
    def parts(self) -> list[str]:
        """The names of what was kept, but for the times beside each dump."""
        return [section.name for section in sections(self.text) if section.name != "cpu"]


class Bench:
    """A runner on this machine that keeps its events and artifacts."""

    def __init__(self) -> None:
        self.capture = a_capture(recipe="java-threads", recipe_title=RECIPE.title, targets=(HERE.name,))
        self.events: list[Event] = [accepted(self.capture)]
        self.store = MemoryStore()
        self.runner = Runner(
            transports={"local": LocalTransport()},
            store=self.store,
            insights={"java-threads": threads},
            redactor=lambda _: Redactor(tuple, salt=b"salt"),
            emit=self.emit,
            limits=Limits(),
            now=lambda: datetime.now(UTC),
        )

    async def emit(self, event: Event) -> None:
        self.events.append(event)

    async def run(self, *, patience_s: int = 12, **given: object) -> Taken:
        values = bind_parameters(RECIPE, {"every": "1", **{name: str(value) for name, value in given.items()}})
        action = replace(SCRIPT, text=SCRIPT.text.replace("PATIENCE_S=12", f"PATIENCE_S={patience_s}"))
        steps = (bind(replace(RECIPE.steps[0], action=action), values),)
        await self.runner.run(Job(capture=self.capture, recipe=RECIPE, steps=steps, targets=(HERE,)))
        told = story(self.events)
        assert told
        kept = next((body for key, body in self.store.objects.items() if key.endswith("threads.txt")), b"")
        return Taken(told, kept.decode())


async def take(*, patience_s: int = 12, **given: object) -> Taken:
    """Run the recipe here."""
    return await Bench().run(patience_s=patience_s, **given)


# --- scenes -----------------------------------------------------------------------------------


async def test_a_deadlock_is_named_with_its_threads(classes: Path) -> None:
    """Two transfers in opposite order."""
    async with jvm(classes, "Transfers") as pid:
        taken = await take(pid=pid)

    assert taken.story.headline == (
        f"Deadlock in Transfers (pid {pid}): transfer-1 and transfer-2 wait for each other's locks (Object in Transfers.transfer:27)"
    )
    assert taken.parts == ["process", "dump", "dump", "dump", "peers"]


async def test_a_pool_that_a_slow_downstream_uses_up_is_named_with_its_peer(classes: Path, port: str) -> None:
    """Forty orders for eight threads, and a service that takes the connection only."""
    async with jvm(classes, "SlowDownstream", port, "40") as pid:
        taken = await take(pid=pid)

    assert taken.story.headline == (
        f"All 8 threads of pool orders-worker in SlowDownstream (pid {pid}) wait for an answer from 127.0.0.1:{port} in PaymentClient.charge:18"
    )


async def test_one_task_that_stands_still_is_named(classes: Path, port: str) -> None:
    """The pool has seven more; the same stack in all three dumps gives this one away."""
    async with jvm(classes, "SlowDownstream", port, "1") as pid:
        taken = await take(pid=pid)

    assert re.fullmatch(
        rf"orders-worker-\d in SlowDownstream \(pid {pid}\) stands still in all 3 dumps over \d+ s:"
        rf" waiting for an answer from 127\.0\.0\.1:{port} in PaymentClient\.charge:18",
        taken.story.headline,
    )


async def test_a_lock_that_many_wait_for_is_named_with_its_owner(classes: Path, port: str) -> None:
    """The owner itself waits for the network with the lock in its hand."""
    async with jvm(classes, "HotLock", port) as pid:
        taken = await take(pid=pid)

    assert taken.story.headline == (
        f"All 12 threads of pool http-exec in HotLock (pid {pid}) wait for a lock (HotLock$Ledger) that ledger-writer holds"
        f" while it waits for an answer from 127.0.0.1:{port} in PaymentClient.charge:18"
    )


async def test_a_thread_that_never_rests_is_named_with_its_method(classes: Path) -> None:
    """An endless loop beside an idle pool."""
    async with jvm(classes, "BusyLoop") as pid:
        taken = await take(pid=pid)

    assert re.fullmatch(
        rf"report-7 in BusyLoop \(pid {pid}\) never rests and uses \d+ % of a core(, all that it can get,)? in BusyLoop\.render:15",
        taken.story.headline,
    )


async def test_a_healthy_service_under_ordinary_load_gives_nothing(classes: Path) -> None:
    """It answers fifty requests a second, with a queue and consumers that wait for it."""
    async with jvm(classes, "Healthy") as pid:
        taken = await take(pid=pid)

    assert taken.story.headline == "Nothing unusual found"
    assert taken.story.findings == ()
    assert taken.parts.count("dump") == 3


async def test_long_dumps_stay_under_the_limit_and_are_read_all_the_same(classes: Path) -> None:
    """What is read comes first, with short stacks; what was shortened follows in full."""
    async with jvm(classes, "Crowd", "400") as pid:
        taken = await take(pid=pid)

    assert taken.story.headline.startswith(f"Deadlock in Crowd (pid {pid}): transfer-1 and transfer-2 wait ")
    assert taken.parts == ["process", "dump", "dump", "dump", "peers", "whole", "whole", "whole"]
    assert not taken.result.cut
    assert taken.text.index("### peers") < 2_000_000 < len(taken.text)


# --- which process ----------------------------------------------------------------------------


async def test_several_that_match_are_listed_and_none_is_dumped(classes: Path) -> None:
    """The sentence says what to type; typing it works."""
    mark = f"pair-{os.getpid()}"
    options = (f"-Dscene={mark}",)
    async with jvm(classes, "Transfers", options=options) as one, jvm(classes, "Healthy", options=options) as other:
        both = await take(app=mark)
        named = await take(app=mark, pid=other)
    async with jvm(classes, "Transfers", options=options) as single:
        alone = await take(app=mark)

    assert both.parts == ["candidates"]
    assert both.story.headline.startswith("2 Java processes match; name one: /capture java-threads here pid=")
    assert f"pid={one} (Transfers)" in both.story.headline
    assert f"pid={other} (Healthy)" in both.story.headline
    assert named.story.headline == "Nothing unusual found"
    assert f"(pid {single})" in alone.story.headline


async def test_a_process_that_is_no_jvm_or_gone_is_said_plainly() -> None:
    """A number mistyped."""
    no_process, no_jvm, none = await take(pid=4_194_304), await take(pid=os.getpid()), await take(app="no-such-service")

    assert no_process.story.headline.startswith("No process has pid 4194304 here any more")
    assert re.match(rf"pid {os.getpid()} is .+, no Java process that \S+ can see", no_jvm.story.headline)
    assert none.story.headline.startswith("No Java process matches app=no-such-service")


# --- whose JVM --------------------------------------------------------------------------------


def as_root() -> None:
    """Only root can be somebody else."""
    if os.geteuid() != 0:
        pytest.skip("only root can try what another user sees")


async def as_nobody(pid: int, *program: str, behind: str = "true") -> subprocess.CompletedProcess[str]:
    """What *program*, or the script, says to nobody, after *behind* in a mount namespace of its own."""
    argv = ["unshare", "-m", "sh", "-c", f'{behind} && exec "$@"', "sh", *AS_NOBODY]
    env = {"PARAM_PID": str(pid), "PARAM_APP": "", "PARAM_EVERY": "1", "PARAM_LOCKS": "yes"}
    done = await asyncio.to_thread(
        subprocess.run,
        [*argv, *(program or ("bash", "-c", SCRIPT.text))],
        env={"PATH": os.environ["PATH"], "LC_ALL": "C", **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd="/",
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    return done


def sudoers(folder: Path, line: str) -> None:
    """A folder as sudo wants it."""
    (folder / "capturebot").write_text(line + "\n")
    (folder / "capturebot").chmod(0o440)
    folder.chmod(0o755)


def left_by_tools(pid: int) -> list[Path]:
    """Calls to a JVM that nobody took back."""
    return [*Path("/").glob(f".attach_pid{pid}"), *Path("/tmp").glob(f".attach_pid{pid}")]


async def test_root_takes_the_dumps_as_the_jvms_own_user(classes: Path) -> None:
    """A JVM of nobody; older ones refuse root."""
    as_root()
    async with jvm(classes, "Transfers", user="nobody") as pid:
        taken = await take(pid=pid)

    assert taken.story.headline.startswith(f"Deadlock in Transfers (pid {pid})")


async def test_somebody_else_is_told_the_line_that_mends_it_and_it_does(classes: Path, tmp_path: Path) -> None:
    """Nobody asks about root's JVM, first without the line for sudoers and then with it, which allows no more than that."""
    as_root()
    if not shutil.which("sudo"):
        missing("there is no sudo: apt-get install sudo")
    async with jvm(classes, "Transfers") as pid:
        refused = await as_nobody(pid)
        (line,) = re.findall("^A line for sudoers: (.+)$", refused.stdout, re.MULTILINE)
        sudoers(tmp_path, line)
        mount = f"mount --bind {tmp_path} /etc/sudoers.d"
        allowed = await as_nobody(pid, behind=mount)
        timeout, jcmd = line.partition("NOPASSWD: ")[2].split()[0:5:4]
        abuse = (timeout, "-k", "2", "12", jcmd, "-J-agentpath:/tmp/any.so", str(pid), "Thread.print")
        abused = await as_nobody(pid, "sudo", "-n", "-u", "root", "--", *abuse, behind=mount)

    assert [section.name for section in sections(refused.stdout)] == ["process", "trouble"]
    assert f"It belongs to root, and {NOBODY.pw_name} may not act as root here." in refused.stdout
    assert allowed.stdout.count("Found 1 deadlock.") == 3
    assert allowed.stderr == ""
    assert abused.stderr == "sudo: a password is required\n"


# --- tools that fail --------------------------------------------------------------------------


async def test_jstack_is_used_where_jcmd_says_nothing(classes: Path) -> None:
    """A jcmd that does nothing and ends with 0, as it does after some failures."""
    as_root()
    async with jvm(classes, "Transfers", user="nobody") as pid:
        silent = "mount --bind /bin/true $(readlink -f $(command -v jcmd))"
        said = (await as_nobody(pid, behind=silent)).stdout

    assert said.count(" tool=jstack\n") == 3
    assert said.count("Found 1 deadlock.") == 3


async def test_a_stopped_jvm_is_named_at_once_and_left_as_it_is(classes: Path) -> None:
    """The tools would hang on it."""
    async with jvm(classes, "Transfers") as pid:
        os.kill(pid, signal.SIGSTOP)
        taken = await take(pid=pid)
        state = psutil.Process(pid).status()

    assert taken.story.headline == f"Transfers (pid {pid}) is stopped (SIGSTOP or a debugger) and answers nobody"
    assert f"kill -CONT {pid}" in taken.text
    assert state == psutil.STATUS_STOPPED
    assert taken.result.seconds < 5


async def test_a_jvm_that_a_request_would_end_is_not_asked(classes: Path) -> None:
    """With -Xrs it does not catch SIGQUIT; one with a socket can be asked all the same."""
    async with jvm(classes, "Transfers", options=("-Xrs",)) as listening:
        asked = await take(pid=listening)
        assert lives(listening)
    async with jvm(classes, "Transfers", options=("-Xrs", "-XX:+DisableAttachMechanism")) as deaf:
        spared = await take(pid=deaf)
        assert lives(deaf)

    assert asked.story.headline.startswith("Deadlock in Transfers")
    assert "does not catch SIGQUIT" in spared.story.headline


async def test_a_jvm_that_does_not_answer_costs_no_more_than_our_patience(classes: Path) -> None:
    """It reaches no safepoint; the tool that waits for one is ended, and what it left behind is removed."""
    options = ("-XX:+UseSerialGC", "-XX:-UseCountedLoopSafepoints", "-XX:LoopStripMiningIter=0")
    async with jvm(classes, "NoSafepoint", options=options) as pid:
        taken = await take(pid=pid, patience_s=2)
        assert lives(pid)

        assert left_by_tools(pid) == []
    assert taken.story.headline.startswith(f"NoSafepoint (pid {pid}) did not answer jcmd within 2 s: ")


async def test_a_capture_that_is_stopped_keeps_what_came_and_leaves_nothing(classes: Path) -> None:
    """Stopped between two dumps: the first is kept, the JVM goes on, no process of ours is left."""
    bench = Bench()
    me = psutil.Process()
    async with jvm(classes, "Transfers") as pid, asyncio.TaskGroup() as group:
        running = group.create_task(bench.run(pid=pid, every=10))

        def ours() -> dict[int, str]:
            found = {}
            for each in me.children(recursive=True):
                with suppress(psutil.NoSuchProcess):  # it ended while we looked
                    found[each.pid] = each.name()
            found.pop(pid, None)
            return found

        assert await until(lambda: "sleep" in ours().values())
        started = ours()
        await bench.runner.stop(bench.capture.id, "Ana stopped it.")
        taken = await running
        assert await gone(*started)
        assert lives(pid)

    assert taken.parts.count("dump") == 1
    assert taken.story.headline.startswith("Deadlock in Transfers")
    assert left_by_tools(pid) == []

r"""Steps on a Windows host. Here that is Wine behind an SSH server; what is real in it and what is not says tests/wine/host.py.

PowerShell itself is a stand-in, so these tests prove our side of the conversation, Windows' reading of command lines, and
processes, limits and files as far as Wine has them; not the text of the PowerShell programs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.errors import StepFailed
from bot.model import File, Log, Outcome, Script, Step, WindowsShell
from bot.transports import STOP_TIMEOUT_S, Execution
from bot.transports.argv import line_of
from bot.transports.execution import Patience
from bot.transports.sshpool import SshPool
from bot.transports.windows import WindowsTransport
from tests.steps import Files, Kept, a_run, a_step, first_line, keep, keep_rest, start, until
from tests.wine.host import Prefix, WindowsHost, windows_host, wine

pytestmark = pytest.mark.live

GRACE_S = 0.3
TRICKS = [
    "a b", "", '"', '""', "\\", "a\\", "a b\\", '\\"', "C:\\a b\\", "%OS%", "%%", "%cd:~,1%", "^", "^&", "& echo x", "|", "!OS!",
    "a\tb", "<>", "(a)", "ü€😀", "'", "`", "$x", "-", "--", "/c", "a\nb", ";id", "*", "\u202e", "a" * 5000,
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bench:
    """A host and a transport that reaches it."""

    host: WindowsHost
    windows: WindowsTransport

    @property
    def drive(self) -> Path:
        return self.host.prefix.drive

    async def start(self, step: Step) -> Execution:
        return await start(self.windows, self.host.target, step)

    async def keep(self, step: Step) -> Kept:
        return await keep(await start(self.windows, self.host.target, step))

    @property
    def folders(self) -> list[Path]:
        """Scratch folders that are there."""
        return list(self.host.temp.glob("capturebot-*"))


@pytest.fixture(scope="module")
def prefix() -> Iterator[Prefix]:
    """One Wine for all."""
    with wine() as made:
        yield made


@asynccontextmanager
async def bench(prefix: Prefix, folder: Path, shell: WindowsShell = WindowsShell.CMD) -> AsyncIterator[Bench]:
    """A host with that default shell."""
    pool = SshPool(Files())
    async with windows_host(prefix, folder, shell) as host:
        try:
            yield Bench(host, WindowsTransport(Files(), pool, patience=Patience(start_s=20, grace_s=GRACE_S)))
        finally:
            await pool.close()


@pytest.fixture
async def host(prefix: Prefix, tmp_path: Path) -> AsyncIterator[Bench]:
    """One whose default shell is cmd.exe, as Windows comes."""
    async with bench(prefix, tmp_path) as made:
        yield made


def a_file(name: str, *, timeout_s: float = 10.0) -> Step:
    r"""A step whose script leaves the file "left"; C:\standins\NAME.cmd stands for the script."""
    script = Script(name=name, text="", env={})
    return a_step(
        File(script=script, name="left", type="application/octet-stream", limit_bytes=10**9, compress=False),
        timeout_s=timeout_s,
    )


def probes(path: str) -> list[int]:
    """The probes that sleep and were given that file, as Linux sees them."""
    lines = {one.pid: one.info["cmdline"] or [] for one in psutil.process_iter(["cmdline"])}
    return [pid for pid, line in lines.items() if "pid" in line and path in line]


# --- what goes in comes out -------------------------------------------------------------------


@pytest.mark.parametrize("shell", [WindowsShell.CMD, WindowsShell.POWERSHELL])
async def test_a_program_gets_its_arguments_as_they_were(prefix: Prefix, tmp_path: Path, shell: WindowsShell) -> None:
    """Through SSH and the default shell, which is asked for once; whatever cmd.exe would have read in them."""
    async with bench(prefix, tmp_path, shell) as host:
        kept = await host.keep(a_run("probe", "args", *TRICKS))

        assert kept.failure is None
        assert kept.output.decode().replace("\r\n", "\n").split("\0")[:-1] == TRICKS


ARGUMENT = st.text(
    st.one_of(st.sampled_from(" \"\\\\\\\\%^&!|<>()\t'`$;/-=,"), st.characters(exclude_categories=["Cs", "Cc"])),
    max_size=12,
)
LISTS = st.lists(st.lists(ARGUMENT, max_size=6), min_size=50, max_size=50)


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine they take long to make
@given(LISTS)
def test_both_parsers_of_windows_read_argument_lists_back(prefix: Prefix, lists: list[list[str]]) -> None:
    """2,500 generated lists by Wine's CommandLineToArgvW, one by one, and by its C runtime, all in one command line."""
    path = prefix.drive / "lines"
    path.write_bytes("".join(f"probe {line_of(each)}\x01" for each in lists).encode("utf-16-le"))
    flat = [argument for each in lists for argument in each]

    by_line = prefix.run("C:\\windows\\probe.exe", "lines", "C:\\lines").decode()
    by_runtime = by_the_runtime(prefix, flat)

    assert [each.split("\0")[:-1] for each in by_line.split("\x01\0")[:-1]] == lists
    assert by_runtime == flat


def by_the_runtime(prefix: Prefix, arguments: list[str]) -> list[str]:
    """How a program's own start splits them; the line comes from a file, past Wine's quoting of what Linux starts."""
    (prefix.drive / "line").write_bytes(f"probe args {line_of(arguments)}".encode("utf-16-le"))
    return prefix.run("C:\\windows\\probe.exe", "raw", "C:\\line").decode().split("\0")[:-1]


# --- how steps end ----------------------------------------------------------------------------


async def test_output_complaints_and_status_come_as_they_are(host: Bench) -> None:
    """Text in UTF-8 with plain line ends, complaints in a section of their own, the status as Windows programs have it."""
    execution = await start(host.windows, host.host.target, a_run("probe", "say", "-1073741819", "grün\r\n"))

    kept = await keep(execution)

    assert kept.output.startswith("grün\n### stderr at=".encode())
    assert kept.output.endswith(b"\na complaint\n")
    assert execution.exit_status == -1073741819
    assert kept.reason == "probe ended with status 0xC0000005 on win1: a complaint."
    assert await execution.stop() == ""


async def test_bytes_of_an_old_code_page_are_replaced_and_said(host: Bench) -> None:
    """A program that does not ask the console writes them."""
    execution = await start(host.windows, host.host.target, a_run("probe", "ansi"))

    kept = await keep(execution)

    assert kept.output.decode() == "gr��e\n"
    assert execution.remark == "The output is not all UTF-8: what could not be read stands as “�” (2 places)."


async def test_a_program_that_is_not_there_skips_the_step(host: Bench) -> None:
    """And says which, whether the step runs it or only needs it."""
    with pytest.raises(StepFailed) as failed:
        await host.start(a_run("nosuch", "a"))
    with pytest.raises(StepFailed) as needed:
        await host.start(a_run("probe", "args", needs=("procdump",)))

    assert failed.value.outcome is needed.value.outcome is Outcome.SKIPPED
    assert failed.value.reason == "nosuch is not installed on win1."
    assert needed.value.reason == "procdump is not installed on win1."


async def test_a_batch_file_gets_no_arguments(host: Bench) -> None:
    """cmd.exe would read them, whatever they are quoted with."""
    (host.drive / "windows" / "batch.cmd").write_text("@echo %*\r\n")

    with pytest.raises(StepFailed, match=r"batch is a batch file on win1, which cmd.exe would read its arguments in"):
        await host.start(a_run("batch", "%OS%&ver"))


async def test_the_hosts_own_limit_ends_the_whole_tree(host: Bench, tmp_path: Path) -> None:
    """What came is kept."""
    kept = await host.keep(a_run("probe", "pid", "C:\\limited", timeout_s=1.0))

    assert kept.failure
    assert kept.failure.outcome is Outcome.TIMED_OUT
    assert kept.reason == "probe was ended on win1 by its time limit of 1 s; what had come is kept."
    assert kept.output.startswith(b"begun\n")
    assert await until(lambda: not probes("C:\\limited"))


async def test_stop_ends_the_tree_and_proves_it(host: Bench) -> None:
    """The program and the one that it had started."""
    execution = await start(host.windows, host.host.target, a_run("probe", "pid", "C:\\stopped", timeout_s=60))
    output = execution.output()
    await first_line(output)
    assert await until(lambda: len(probes("C:\\stopped")) == 2)

    async with asyncio.timeout(STOP_TIMEOUT_S):
        proof = await execution.stop()
    kept = await keep_rest(output)

    assert proof.startswith("process tree of ")
    assert proof.endswith(" gone (3 ended)")
    assert await until(lambda: not probes("C:\\stopped"))
    assert kept.failure
    assert kept.failure.outcome is Outcome.STOPPED
    assert await execution.stop() == proof


async def test_a_step_that_is_stopped_while_it_starts_is_ended(host: Bench) -> None:
    """It says its process's id a moment later, and is ended by that, long before its limit."""
    await host.keep(a_run("probe", "args"))  # there is a connection, and the shell is known
    before = len(host.host.children)

    async with asyncio.TaskGroup() as group:
        starting = group.create_task(host.start(a_run("probe", "pid", "C:\\early", timeout_s=60)))
        assert await until(lambda: len(host.host.children) > before)
        starting.cancel()

    assert await until(lambda: host.host.children[before].returncode is not None)
    assert not probes("C:\\early")


async def test_a_host_that_goes_away_is_lost_and_the_step_ends_there_by_itself(host: Bench) -> None:
    """As when it restarts halfway; what came is kept, and what could not be proved is said."""
    execution = await start(host.windows, host.host.target, a_run("probe", "pid", "C:\\lost", timeout_s=2))
    output = execution.output()
    await first_line(output)

    for connection in host.host.connections:
        connection.abort()
    kept = await keep_rest(output)

    assert kept.failure
    assert kept.failure.outcome is Outcome.LOST
    assert "was lost while probe ran, or it restarted; what had come is kept." in kept.reason
    assert await until(lambda: not probes("C:\\lost"))


async def test_endless_output_is_stopped_where_nobody_reads_on(host: Bench) -> None:
    """The store pulls, and the host waits."""
    execution = await start(host.windows, host.host.target, a_run("probe", "pour", timeout_s=60))
    output = execution.output()
    assert (await first_line(output)).startswith(b"more\n")

    proof = await execution.stop()
    await keep_rest(output)

    assert " gone" in proof


# --- scripts and the files that they leave ------------------------------------------------------


async def test_a_script_gets_its_parameters_as_data(host: Bench) -> None:
    """In its environment, where no shell reads them; cmd.exe stands for PowerShell here."""
    (host.drive / "standins" / "params.ps1.cmd").write_text("@set PARAM_\r\n")
    env = {"PARAM_PATH": 'C:\\a&b %OS% ^ !x! "q"\\', "PARAM_NAME": "grün"}

    kept = await host.keep(a_step(Script(name="params.ps1", text="", env=env)))

    assert kept.failure is None
    assert kept.output.decode("utf-8", "replace").splitlines()[1] == f"PARAM_PATH={env['PARAM_PATH']}"


async def test_a_file_comes_whole_and_is_deleted(host: Bench) -> None:
    """After the report, byte by byte as it was, also where it looks like text."""
    content = bytes(range(256)) * 20_000 + b"\r\n"
    (host.drive / "left.bin").write_bytes(content)
    (host.drive / "standins" / "leaves.ps1.cmd").write_text(
        "@echo made it\r\n@copy C:\\left.bin %CAPTURE_SCRATCH%\\left >nul\r\n"
    )
    execution = await start(host.windows, host.host.target, a_file("leaves.ps1"))

    kept = await keep(execution)

    assert kept.failure is None
    assert kept.output == b"made it\n"
    assert kept.head
    assert kept.head.name == "left"
    assert kept.whole
    assert kept.file == content
    assert host.folders == []
    assert execution.remark == ""


async def test_a_script_that_leaves_no_file_leaves_its_report(host: Bench) -> None:
    """And its reason."""
    (host.drive / "standins" / "fails.ps1.cmd").write_text("@echo looked\r\n@echo no such process 1>&2\r\n@exit 3\r\n")

    kept = await host.keep(a_file("fails.ps1"))

    assert kept.output.startswith(b"looked\n### stderr at=")
    assert kept.head is None
    assert kept.reason == "fails.ps1 ended with status 3 on win1: no such process."
    assert host.folders == []


async def test_a_stop_while_the_file_is_fetched_deletes_it(host: Bench) -> None:
    """The proof counts it."""
    (host.drive / "left.bin").write_bytes(b"x" * 30_000_000)
    (host.drive / "standins" / "large.ps1.cmd").write_text("@copy C:\\left.bin %CAPTURE_SCRATCH%\\left >nul\r\n")
    execution = await start(host.windows, host.host.target, a_file("large.ps1", timeout_s=60))
    output = execution.output()
    await anext(output)  # the file begins
    await anext(output)

    proof = await execution.stop()
    await keep_rest(output)

    assert " gone" in proof
    assert proof.endswith("1 temporary file removed")
    assert host.folders == []


async def test_what_a_dead_step_left_behind_is_removed_by_the_next_one(host: Bench) -> None:
    """And told; a folder is known by the process that made it."""
    left = host.host.temp / "capturebot-4711-133773377337-0123456789abcdef"
    left.mkdir()
    (left / "dump.dmp").write_bytes(b"x" * 2048)

    execution = await start(host.windows, host.host.target, a_run("probe", "args"))
    await keep(execution)

    assert not left.exists()
    assert execution.remark == "An earlier capture had left 1 temporary file on win1 (2.0 kB); now removed."


async def test_a_long_script_and_many_steps_at_once_get_through(host: Bench) -> None:
    """No limit of a command line is near, and they share one connection."""
    (host.drive / "standins" / "long.ps1.cmd").write_text("@echo %PARAM_N%\r\n")
    steps = [a_step(Script(name="long.ps1", text="# x\n" * 60_000, env={"PARAM_N": str(n)})) for n in range(10)]

    kept = await asyncio.gather(*map(host.keep, steps))

    assert [one.output for one in kept] == [f"{n}\n".encode() for n in range(10)]
    assert len(host.host.connections) == 1


# --- files ------------------------------------------------------------------------------------

ODD = "C:\\logs\\50% & ^more! 'grün'\\app log.txt"


def a_log(path: str, last: int | None = None) -> Step:
    """A step that reads a file."""
    return a_step(Log(path=path, last_bytes=last))


def write(host: Bench, path: str, content: bytes) -> None:
    """A file on the host's drive."""
    there = host.drive / path.removeprefix("C:\\").replace("\\", "/")
    there.parent.mkdir(parents=True, exist_ok=True)
    there.write_bytes(content)


async def test_a_log_is_read_whole_or_from_the_beginning_of_a_line(host: Bench) -> None:
    """At any path: blanks, signs that shells read, other alphabets, and deep folders."""
    deep = "C:\\logs\\" + "\\".join(["a folder with a long name"] * 12) + "\\app.log"
    for path in (ODD, deep):
        write(host, path, b"one\r\ntwo\r\nthree\r\n")

    whole = await host.keep(a_log(ODD))
    last = await host.keep(a_log(deep, 9))

    assert whole.output == b"one\ntwo\nthree\n"
    assert last.output == b"three\n"


async def test_a_log_in_utf16_is_kept_as_utf8(host: Bench) -> None:
    """SQL Server and others write such logs; a part of one is read right, too."""
    write(host, "C:\\logs\\wide.log", "\ufeffgrün\r\nschön\r\n".encode("utf-16-le"))
    execution = await start(host.windows, host.host.target, a_log("C:\\logs\\wide.log"))

    whole = await keep(execution)
    last = await host.keep(a_log("C:\\logs\\wide.log", 15))

    assert whole.output.decode() == "grün\nschön\n"
    assert last.output.decode() == "schön\n"
    assert execution.remark == "C:\\logs\\wide.log is UTF-16, kept as UTF-8."


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("C:\\logs\\nosuch.log", "win1: C:\\logs\\nosuch.log does not exist, or our account may not look there."),
        ("C:\\windows", "win1: C:\\windows is not a regular file."),
        (
            "\\\\server\\share\\a.log",
            "\\\\server\\share\\a.log names no drive; write the whole path, such as C:\\logs\\app.log.",
        ),
        ("Q:\\a.log", "win1: Q:\\a.log does not exist, or our account may not look there."),
    ],
)
async def test_a_log_that_cannot_be_read_says_why(host: Bench, path: str, says: str) -> None:
    """With the path as it was written."""
    with pytest.raises(StepFailed) as failed:
        await host.start(a_log(path))

    assert failed.value.reason == says


async def test_a_log_is_stopped_and_lost_like_any_step(host: Bench) -> None:
    """Nothing of it runs there."""
    write(host, "C:\\logs\\large.log", b"line\r\n" * 5_000_000)
    target = host.host.target
    stopped, lost = [await start(host.windows, target, a_log("C:\\logs\\large.log")) for _ in range(2)]
    outputs = [each.output() for each in (stopped, lost)]
    for output in outputs:
        await anext(output)

    proof = await stopped.stop()
    kept = await keep_rest(outputs[0])
    for connection in host.host.connections:
        connection.abort()
    gone = await keep_rest(outputs[1])

    assert proof == "nothing ran there but sshd's own file server"
    assert kept.failure
    assert kept.failure.outcome is Outcome.STOPPED
    assert gone.failure
    assert gone.failure.outcome is Outcome.LOST


# --- hosts ------------------------------------------------------------------------------------


async def test_the_doctor_says_who_we_are_there(host: Bench) -> None:
    """And which shell answered."""
    lines = await host.windows.check(host.host.target)

    assert lines[1:] == [
        "ok: its sshd hands commands to cmd",
        "ok: win1 runs commands as WINE\\capture, no administrator",
        "ok: win1 is Windows 6.1.7601 with PowerShell 5.1.0",
        "ok: our account there may read event logs",
        "ok: 40 GB of 128 GB free for what steps leave, in C:\\windows\\temp\\",
        "ok: programs are asked for UTF-8 there; its own code page is 850",
        "ok: win1 serves files over SFTP",
    ]


async def test_a_shell_that_is_set_is_not_asked_for(host: Bench) -> None:
    """Where it is set wrong, the step does not start, and says what the host said."""
    windows = host.host.target.windows
    assert windows
    target = replace(host.host.target, windows=replace(windows, shell=WindowsShell.POWERSHELL))

    with pytest.raises(StepFailed, match="win1 did not start the step: "):
        await start(host.windows, target, a_run("probe", "args"))

"""Scratch folders on a host: made for whoever needs one, gone afterwards, and looked for again where they stayed."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import StepFailed
from bot.model import File, Outcome, Script, Step, Target
from bot.transports import FileHead
from bot.transports.execution import Patience
from bot.transports.local import LocalTransport
from bot.transports.scratch import Tidied, read_tidied
from tests.steps import Kept, a_run, a_script, a_step, first_line, keep, keep_rest, start, until

pytestmark = pytest.mark.thorough

HERE = Target(name="here", local=True)
SPACE = re.sub(r"\D", "", str(Path("/proc/self/ns/pid").readlink()))
NOBODY = 4_194_304  # one more than the highest pid


def there(path: Path | str) -> bool:
    """Whether there is such a file."""
    return Path(path).exists()


def born(pid: int) -> str:
    """When a process started, in ticks since the boot."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()[19]


def state(pid: int) -> str:
    """What a process does now: T for stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0]


@contextmanager
def sleeper(**env: str) -> Iterator[int]:
    """A process that sleeps."""
    child = subprocess.Popen(["sleep", "60"], env={**os.environ, **env})
    try:
        yield child.pid
    finally:
        child.kill()
        child.wait()


def unpacked(tool: str, data: bytes) -> bytes:
    """What it was before."""
    return subprocess.run([tool, "-dc"], input=data, check=True, capture_output=True).stdout


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where scratch folders lie, of this test alone: steps of others tidy up too."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


@pytest.fixture
def local(place: Path) -> LocalTransport:
    """The transport under test, with a short grace."""
    return LocalTransport(patience=Patience(grace_s=0.1), places=("/nowhere", str(place)))


@pytest.fixture
def left(place: Path) -> Path:
    """What a dead step has left behind: 1 MB."""
    folder = place / f"capturebot-{SPACE}-{NOBODY}-77-0f"
    folder.mkdir(mode=0o700)
    (folder / "core").write_bytes(bytes(1_000_000))
    return folder


def a_file(text: str, *, compress: bool = False, timeout_s: float = 5.0) -> Step:
    """A step that leaves `out`."""
    script = Script(name="make.sh", text=text)
    action = File(script=script, name="out", type="application/x-out", limit_bytes=10**9, compress=compress)
    return a_step(action, timeout_s=timeout_s)


async def kept_of(local: LocalTransport, step: Step) -> Kept:
    """All that comes of it."""
    return await keep(await start(local, HERE, step))


# --- a file on its way ------------------------------------------------------------------------


async def test_a_file_follows_the_report(local: LocalTransport) -> None:
    """Complaints stand below the report; nothing of them, or of the frame, is in the file."""
    text = (
        'echo "$CAPTURE_SCRATCH"; echo; echo complaint >&2; printf "\\n\\n=x\\0y" >"$CAPTURE_SCRATCH/out"; printf end'
    )

    kept = await kept_of(local, a_file(text))

    folder, empty, end, complaints = kept.output.decode().split("\n", 3)
    assert kept.failure is None
    assert (empty, end) == ("", "end")
    assert re.fullmatch(r"### stderr at=\S+\ncomplaint\n", complaints)
    assert (kept.head, kept.file, kept.whole) == (FileHead(name="out", type="application/x-out"), b"\n\n=x\0y", True)
    assert not there(folder)


async def test_a_file_is_compressed_by_the_host(local: LocalTransport) -> None:
    """Its name and type say by what."""
    kept = await kept_of(local, a_file('seq 50000 >"$CAPTURE_SCRATCH/out"', compress=True))

    assert kept.head in (
        FileHead(name="out.zst", type="application/zstd"),
        FileHead(name="out.gz", type="application/gzip"),
    )
    assert kept.head is not None
    tool = "zstd" if kept.head.name.endswith(".zst") else "gzip"
    plain = unpacked(tool, kept.file)
    assert plain == b"".join(b"%d\n" % n for n in range(1, 50001))
    assert len(kept.file) < len(plain) / 2


async def test_a_script_that_fails_sends_what_it_left(local: LocalTransport) -> None:
    """All of it came; that the script failed is another thing."""
    kept = await kept_of(local, a_file('echo half >"$CAPTURE_SCRATCH/out"; echo broken pump >&2; exit 3'))

    assert (kept.file, kept.whole) == (b"half\n", True)
    assert kept.reason == "make.sh ended with status 3 on here: broken pump"


async def test_a_script_may_leave_no_file(local: LocalTransport) -> None:
    """A link in its place counts as none: it could lead anywhere."""
    nothing = await kept_of(local, a_file("echo three match"))
    link = await kept_of(local, a_file('ln -s /etc/passwd "$CAPTURE_SCRATCH/out"'))

    assert (nothing.output, nothing.head, nothing.failure) == (b"three match\n", None, None)
    assert (link.head, link.file, link.failure) == (None, b"", None)


async def test_a_stopped_script_may_still_give_what_it_has(local: LocalTransport) -> None:
    """INT comes first, as for programs that record until they are told to end."""
    text = 'trap : INT; echo packets >"$CAPTURE_SCRATCH/out"; echo on; sleep 60; echo over'
    execution = await start(local, HERE, a_file(text, timeout_s=60))
    output = execution.output()
    assert await first_line(output) == b"on\n"

    kept, proof = await asyncio.gather(keep_rest(output), execution.stop())

    assert (kept.output, kept.file, kept.whole) == (b"over\n", b"packets\n", True)
    assert re.fullmatch(r"process group \d+ gone, 1 temporary file removed", proof)
    assert kept.failure is not None
    assert kept.failure.outcome is Outcome.STOPPED


async def test_a_file_that_is_stopped_on_its_way_is_gone_on_the_host(local: LocalTransport) -> None:
    """What came of it is not all of it."""
    execution = await start(
        local, HERE, a_file('head -c 30000000 /dev/zero >"$CAPTURE_SCRATCH/out"; echo "$CAPTURE_SCRATCH"')
    )
    output = execution.output()
    folder = Path((await first_line(output)).decode().strip())
    async for piece in output:
        if isinstance(piece, FileHead):
            break

    proof = await execution.stop()
    kept = await keep_rest(output)

    assert not there(folder)
    assert re.fullmatch(
        r"process group \d+ gone(?: after \w+)?, (1 temporary file removed|no temporary file left)", proof
    )
    assert not kept.whole


async def test_the_time_limit_leaves_nothing(local: LocalTransport) -> None:
    """Neither the file nor anything beside it."""
    text = 'echo "$CAPTURE_SCRATCH"; touch "$CAPTURE_SCRATCH/other"; sleep 60'
    kept = await kept_of(local, a_file(text, timeout_s=0.3))

    assert kept.failure is not None
    assert kept.failure.outcome is Outcome.TIMED_OUT
    assert not there(kept.output.decode().strip())


# --- the folder -------------------------------------------------------------------------------


async def test_any_script_that_asks_for_a_folder_has_one(local: LocalTransport) -> None:
    """Of its own, that nobody else can look into; others have none."""
    asked = await kept_of(local, a_script('stat -c "%a %U %F" "$CAPTURE_SCRATCH"; touch "$CAPTURE_SCRATCH/x"'))
    others = await kept_of(local, a_run("env"))

    assert asked.output.decode().startswith("700 ")
    assert asked.output.decode().endswith(" directory\n")
    assert b"CAPTURE_SCRATCH" not in others.output


async def test_a_host_without_a_place_for_it_says_so() -> None:
    """And nothing runs."""
    nowhere = LocalTransport(places=("/nowhere", "/proc"))

    with pytest.raises(StepFailed, match="here has no folder for the step's own files: none in /nowhere or /proc"):
        await start(nowhere, HERE, a_file("echo ran"))


async def test_what_a_dead_step_left_is_removed_by_the_next_one(local: LocalTransport, left: Path) -> None:
    """Of any kind; and it is said."""
    execution = await start(local, HERE, a_run("true"))
    await keep(execution)

    assert not there(left)
    assert execution.remark == "An earlier capture had left 1 temporary file on here (1.0 MB); now removed."


async def test_what_is_not_ours_or_lives_is_left_alone(
    local: LocalTransport, left: Path, place: Path, tmp_path: Path
) -> None:
    """Links, folders of the living and of those whose children live, other names, other namespaces."""
    used, link = place / f"capturebot-{SPACE}-{NOBODY}-78-0c", place / f"capturebot-{SPACE}-{NOBODY}-79-0d"
    made = [
        used,
        place / f"capturebot-{SPACE}-{os.getpid()}-{born(os.getpid())}-0a",  # its owner lives
        place / f"capturebot-1{SPACE}-{NOBODY}-77-0b",  # its owner cannot be seen from here
        place / f"capturebot-notes-{os.getpid()}",
    ]
    for folder in made:
        folder.mkdir(mode=0o700)
    link.symlink_to(tmp_path)

    with sleeper(CAPTURE_SCRATCH=str(used)):
        await kept_of(local, a_run("true"))

    assert [folder for folder in (*made, link, tmp_path) if not there(folder)] == []
    assert not there(left)


async def test_an_old_folder_of_another_namespace_is_removed(local: LocalTransport, place: Path) -> None:
    """No step lives as long as that."""
    folder = place / f"capturebot-1{SPACE}-{NOBODY}-77-0e"
    folder.mkdir(mode=0o700)
    os.utime(folder, (1_700_000_000, 1_700_000_000))

    await kept_of(local, a_run("true"))

    assert not there(folder)


# --- a process that was stopped ---------------------------------------------------------------


async def test_a_process_that_a_step_left_stopped_runs_again(local: LocalTransport) -> None:
    """Also where the step ended well; it is said in both cases."""
    with sleeper() as pid:
        text = f'echo "{pid} {born(pid)}" >"$CAPTURE_SCRATCH/paused"; kill -STOP {pid}; echo on; '
        ended = await start(local, HERE, a_script(text))
        await keep(ended)
        assert await until(lambda: state(pid) == "S")
        assert ended.remark == f"Pid {pid} was left stopped and runs again."

        stopped = await start(local, HERE, a_script(text + "sleep 60", timeout_s=60))
        output = stopped.output()
        assert await first_line(output) == b"on\n"
        assert await until(lambda: state(pid) == "T")
        proof = await stopped.stop()
        await keep_rest(output)

        assert await until(lambda: state(pid) == "S")
        assert proof.endswith(f"gone, target running again (pid {pid}), no temporary file left")


@given(
    st.lists(
        st.lists(
            st.sampled_from(["removed", "swept", "stays", "target", "12", "T", "S", "again", "self", "", "/tmp"]),
            max_size=6,
        )
    )
)
def test_what_a_host_says_of_tidying_is_never_trusted_to_be_well_formed(remarks: list[list[str]]) -> None:
    """It is read, or left out."""
    tidied = read_tidied(remarks)

    assert isinstance(tidied.proof + tidied.trouble + tidied.found("here"), str)


def test_what_could_not_be_helped_is_said_with_its_cure() -> None:
    """In the proof of a stop as well as where there was none."""
    tidied = Tidied(stays=("/var/tmp/capturebot-1",), stopped=("812",))

    assert tidied.proof == (
        "pid 812 is still stopped: `kill -CONT 812` lets it go on, "
        "/var/tmp/capturebot-1 could not be removed: do it by hand"
    )
    assert tidied.trouble == (
        "Pid 812 is still stopped: `kill -CONT 812` lets it go on. "
        "/var/tmp/capturebot-1 could not be removed: do it by hand."
    )

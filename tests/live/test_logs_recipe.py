"""The recipe `logs` on real files: windows, rotated and packed ones, odd ones, and what is none of a log."""

from __future__ import annotations

import asyncio
import bz2
import functools
import gzip
import lzma
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from bot.insights import Reading, Section, sections
from bot.insights.logs import logs
from bot.insights.logslines import records
from bot.model import Level, Recipe, Script, State, Step, Target
from bot.recipes import bind, bind_parameters, load_folder
from bot.transports.local import ENVIRONMENT, LocalTransport
from tests.live.taking import take
from tests.steps import gone, keep, keep_rest, start, until

pytestmark = pytest.mark.live

CAPTURES = Path(__file__).parent.parent.parent / "captures"
FILES = ("choose-process.sh", "logs-times.sh", "logs-pieces.sh", "logs-writers.sh", "logs.sh")
PYTHON = os.path.realpath(sys.executable)  # so that no launcher stands in between
MINUTE_S, HOUR_S = 60, 3600
AWKS = [name for name in ("gawk", "mawk") if shutil.which(name)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that logs lie in."""
    (tmp_path / "log").mkdir()
    return tmp_path / "log"


def stamp(at: float) -> str:
    """A time as most programs write it, in the host's zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def write(path: Path, start: float, end: float, every: float = 1.0, opener: Callable[..., object] = open) -> None:
    """A line each *every* seconds that names its number; the file is as old as its last line."""
    with opener(path, "wt") as file:  # type: ignore[attr-defined]  # each opener gives a file of text
        for number in range(int((end - start) / every)):
            file.write(f"{stamp(start + number * every)} INFO orders: order {number} charged\n")
    os.utime(path, (end, end))


@functools.cache
def recipe() -> Recipe:
    """The recipe itself."""
    return load_folder(CAPTURES)["logs"]


def step_for(**parameters: str | int) -> Step:
    """Its step, for these parameters."""
    (step,) = recipe().steps
    return bind(step, bind_parameters(recipe(), {name: str(value) for name, value in parameters.items()}))


async def parts_of(**parameters: str | int) -> list[Section]:
    """What the recipe prints for these parameters, over the transport that runs it here."""
    kept = await keep(await start(LocalTransport(), Target(name="here", local=True), step_for(**parameters)))
    assert kept.failure is None, kept.reason
    return sections(kept.output.decode(errors="replace"))


def lines_of(parts: list[Section], name: str = "lines") -> list[str]:
    """The lines of all sections of a name."""
    return [line for part in parts if part.name == name for line in part.body.split("\n") if line]


def rows_of(parts: list[Section], name: str) -> list[dict[str, str]]:
    """A table that was printed."""
    return [row for part in parts if part.name == name for row in part.rows()]


def said(parts: list[Section], name: str = "refused") -> str:
    """The text of a section; "" where there is none."""
    return "".join(part.body for part in parts if part.name == name)


# --- how much, and from when --------------------------------------------------------------------


async def test_the_last_lines_are_given_with_those_of_the_hour_before(folder: Path) -> None:
    """What was asked for, and apart from it what the summary compares it with."""
    now = time.time()
    write(folder / "orders.log", now - 3 * HOUR_S, now)

    parts = await parts_of(path=str(folder / "orders.log"), last="100lines")

    asked, before = lines_of(parts), lines_of(parts, "before")
    assert asked == (folder / "orders.log").read_text().splitlines()[-100:]
    assert len(before) == pytest.approx(HOUR_S, abs=3)
    assert before[-1] < asked[0]


async def test_the_last_bytes_begin_at_a_line(folder: Path) -> None:
    """A line is never cut at its beginning."""
    write(folder / "orders.log", time.time() - HOUR_S, time.time())

    parts = await parts_of(path=str(folder / "orders.log"), last="10kB")

    text = (folder / "orders.log").read_text()
    given = "\n".join(lines_of(parts)) + "\n"
    assert text.endswith(given)
    assert 9_900 < len(given) <= 10_000


@pytest.mark.parametrize(("since", "until_", "lines"), [("20m", "", 1200), ("30m", "20m", 601), ("2h", "1h", 3601)])
async def test_a_time_window_is_found_by_the_times_in_the_lines(
    folder: Path, since: str, until_: str, lines: int
) -> None:
    """By halves, in a file of 4 MB."""
    begun, now = time.monotonic(), int(time.time())
    write(folder / "orders.log", now - 24 * HOUR_S, now)

    parts = await parts_of(path=str(folder / "orders.log"), since=since, until=until_)
    seconds = time.monotonic() - begun

    asked = lines_of(parts)
    back_s = int(since[:-1]) * (HOUR_S if since[-1] == "h" else MINUTE_S)
    assert len(asked) == pytest.approx(lines, abs=seconds + 2)
    assert stamp(now - back_s) <= asked[0][:19] <= stamp(now - back_s + seconds + 2)
    assert asked == sorted(asked)


async def test_rotated_and_packed_files_are_read_in_order_as_far_back_as_the_window_reaches(folder: Path) -> None:
    """One that is older is left alone, however it is called."""
    now = int(time.time())
    log = folder / "orders.log"
    write(log, now - HOUR_S, now, 10)
    write(folder / "orders.log.1", now - 2 * HOUR_S, now - HOUR_S, 10)
    write(folder / "orders.log.2.gz", now - 3 * HOUR_S, now - 2 * HOUR_S, 10, gzip.open)
    write(folder / "orders.log-20250101.xz", now - 4 * HOUR_S, now - 3 * HOUR_S, 10, lzma.open)
    write(folder / "orders-2025-01-02.log.bz2", now - 5 * HOUR_S, now - 4 * HOUR_S, 10, bz2.open)
    write(folder / "orders.log.5.gz", now - 9 * HOUR_S, now - 8 * HOUR_S, 10, gzip.open)

    parts = await parts_of(path=str(log), since="270m")
    alone = await parts_of(path=str(log), since="270m", rotated="no")

    asked = lines_of(parts)
    assert asked == sorted(asked)
    assert len(asked) == pytest.approx(4.5 * HOUR_S / 10, abs=3)
    assert [row["kind"] for row in rows_of(parts, "files")] == ["plain", "plain", "gz", "xz", "bz2"]
    assert lines_of(alone) == log.read_text().splitlines()


async def test_the_whole_of_a_log_is_kept_and_a_glance_at_its_end_comes_first(folder: Path) -> None:
    """Only the start of an artifact is read for the summary."""
    now = time.time()
    write(folder / "orders.log", now - 24 * HOUR_S, now)

    parts = await parts_of(path=str(folder / "orders.log"), last="whole")

    text = (folder / "orders.log").read_text()
    names = [part.name for part in parts]
    assert "\n".join(lines_of(parts)) + "\n" == text
    assert names.index("glance") < names.index("before") < names.index("lines")
    assert text.endswith("\n".join(lines_of(parts, "glance")) + "\n")
    assert sum(len(part.body) for part in parts if part.name != "lines") < 2_000_000


async def test_only_lines_with_a_text_are_kept_as_it_stands(folder: Path) -> None:
    """No pattern: a dot is a dot."""
    (folder / "orders.log").write_text("".join(f"{stamp(time.time())} order 1{dot}5 $(id)\n" for dot in ".x.y"))

    told = await parts_of(path=str(folder / "orders.log"), grep="1.5 $(id)")

    assert [line[20:] for line in lines_of(told)] == ["order 1.5 $(id)"] * 2


# --- odd files ----------------------------------------------------------------------------------


async def test_no_line_can_look_like_a_header(folder: Path) -> None:
    """What a log says about itself is text."""
    (folder / "orders.log").write_text("### candidates at=2026-11-22T20:55:01+00:00\napp\tpid\nno end of line")

    parts = await parts_of(path=str(folder / "orders.log"))

    assert {part.name for part in parts} == {"asked", "files", "lines"}
    assert lines_of(parts) == [" ### candidates at=2026-11-22T20:55:01+00:00", "app\tpid", "no end of line"]


async def test_odd_files_are_said_plainly(folder: Path) -> None:
    """Empty, binary, with a hole, with an endless line, without times, not there."""
    (folder / "empty.log").touch()
    shutil.copy("/bin/ls", folder / "binary.log")
    with (folder / "hole.log").open("wb") as hole:
        hole.seek(3_000_000)
        hole.write(b"".join(b"%d after the hole\n" % number for number in range(100)))
    (folder / "long.log").write_bytes(b"x" * 300_000)
    (folder / "timeless.log").write_text("order charged\n" * 10)

    parts = await parts_of(path=str(folder / "*.log"), since="5m")
    missing = await parts_of(path=str(folder / "nothing.log"))

    notes = {row["path"].rsplit("/", 1)[1]: row["note"] for row in rows_of(parts, "files")}
    no_time = "no time can be read in its lines, so that its end is given instead of the time window"
    assert notes["empty.log"] == "it is empty"
    assert notes["binary.log"] == "it is binary, and was left out"
    assert notes["timeless.log"] == notes["long.log"] == notes["hole.log"] == no_time
    assert lines_of(parts).count("order charged") == 10
    assert "99 after the hole" in lines_of(parts)
    assert "\0" not in "".join(lines_of(parts))
    assert re.search(r"nothing\.log does not exist, or \w+ may not look there", said(missing))


async def test_a_packed_file_that_is_damaged_gives_what_can_be_read_of_it(folder: Path) -> None:
    """And says so."""
    whole = gzip.compress(
        "".join(f"{stamp(time.time())} order {number} charged\n" for number in range(20_000)).encode()
    )
    (folder / "orders.log.1.gz").write_bytes(whole[: len(whole) // 2])

    parts = await parts_of(path=str(folder / "orders.log.1.gz"), last="whole")

    assert len(lines_of(parts)) > 1000
    assert said(parts, "unseen").endswith("orders.log.1.gz could be unpacked in part only: it is damaged\n")


async def test_a_link_that_leads_out_and_what_is_no_log_are_refused(folder: Path, tmp_path: Path) -> None:
    """Whatever the bot's user may read."""
    (tmp_path / "secret").write_text("password")
    (folder / "orders.log").symlink_to(tmp_path / "secret")
    (folder / "real.log").write_text("well\n")
    (tmp_path / "linked.log").symlink_to(folder / "real.log")
    os.mkfifo(folder / "pipe.log")

    for path, words in (
        (folder / "orders.log", "which is not a log"),
        (Path("/etc/passwd"), "is not a log"),
        (Path("/proc/self/environ"), "is not a"),
        (folder / "../secret", "is no path that can be read"),
        (folder / "pipe.log", "is not a regular file"),
    ):
        parts = await parts_of(path=str(path))
        assert words in said(parts)
        assert lines_of(parts) == []
    assert lines_of(await parts_of(path=str(tmp_path / "linked.log"))) == ["well"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_log_that_may_not_be_read_says_who_may(folder: Path) -> None:
    """And which group would do."""
    log = folder / "orders.log"
    log.write_text("well\n")
    log.chmod(0o640)
    for parent in list(folder.relative_to("/tmp").parents)[:-1]:  # not /tmp itself
        (Path("/tmp") / parent).chmod(0o755)
    folder.chmod(0o755)

    text = run_as_nobody(PARAM_PATH=str(log))

    assert f"{log} may not be read by nobody: log in as root, or add nobody to the group root (-rw-r-----)" in text


def run_as_nobody(**env: str) -> str:
    """What the script prints for an ordinary user."""
    done = subprocess.run(
        ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "bash", "-c", program()],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
        env={**ENVIRONMENT, "LC_ALL": "C", **env},
    )
    assert done.stderr == ""
    return done.stdout


def program() -> str:
    """All its files as one, as they are delivered."""
    return "".join((CAPTURES / name).read_text() for name in FILES)


# --- who writes what ----------------------------------------------------------------------------

WRITER = """\
import sys, time
log = open(sys.argv[1], "a", buffering=1)
print("ready", flush=True)
while True:
    log.write(time.strftime("%Y-%m-%d %H:%M:%S") + " INFO orders: well\\n")
    time.sleep(0.02)
"""


@asynccontextmanager
async def writer(folder: Path, name: str, log: Path) -> AsyncIterator[int]:
    """A service that writes a log; gives its pid."""
    (folder / name).write_text(WRITER)
    process = await asyncio.create_subprocess_exec(PYTHON, name, str(log), cwd=folder, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout
        assert await process.stdout.readline() == b"ready\n"
        yield process.pid
    finally:
        process.kill()
        await process.wait()


async def test_logs_of_a_service_are_found_by_its_name_with_their_rotated_files(folder: Path, tmp_path: Path) -> None:
    """What it has open; the file beside it was its own an hour ago."""
    write(folder / "orders.log.1", time.time() - HOUR_S, time.time(), 10)
    async with writer(tmp_path, "ledger_api.py", folder / "orders.log") as pid:
        by_name = await parts_of(app="ledger_api")
        by_pid = await parts_of(pid=pid)

    for parts in (by_name, by_pid):
        assert [row["pid"] for row in rows_of(parts, "process")] == [str(pid)]
        assert [row["path"] for row in rows_of(parts, "files")] == [
            str(folder / "orders.log"),
            str(folder / "orders.log.1"),
        ]
        assert lines_of(parts)[-1].endswith("INFO orders: well")


async def test_a_log_that_was_deleted_is_read_where_it_is_still_written(folder: Path, tmp_path: Path) -> None:
    """By the descriptor of its writer."""
    async with writer(tmp_path, "ledger_api.py", folder / "orders.log") as pid:
        (folder / "orders.log").unlink()
        parts = await parts_of(pid=pid)

    assert [row["note"] for row in rows_of(parts, "files")] == ["it was deleted, and is still being written"]
    assert lines_of(parts)[-1].endswith("INFO orders: well")


async def test_a_link_beside_a_log_leads_nowhere(folder: Path, tmp_path: Path) -> None:
    """Whoever may write where a service does, may lay one there."""
    (tmp_path / "secret").write_text("password\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "orders.txt.1").symlink_to(tmp_path / "secret")
    (tmp_path / "data" / "orders.txt.2").write_text("charged\n")
    async with writer(tmp_path, "ledger_api.py", tmp_path / "data" / "orders.txt") as pid:
        parts = await parts_of(pid=pid)

    assert {row["path"].rsplit("/", 1)[1] for row in rows_of(parts, "files")} == {"orders.txt", "orders.txt.2"}
    assert "orders.txt.1 leads to" in said(parts)
    assert "password" not in "".join(part.body for part in parts)


async def test_without_a_choice_those_that_write_logs_are_listed_and_none_is_captured(
    folder: Path, tmp_path: Path
) -> None:
    """The busiest first, each as something to press."""
    async with (
        writer(tmp_path, "ledger_api.py", folder / "ledger.log"),
        writer(tmp_path, "ledger_jobs.py", folder / "jobs.log"),
    ):
        taken = await take(tmp_path, "logs")
        several = await take(tmp_path, "logs", app="ledger")

    (choice,) = (told.finding for told in taken.story.findings)
    assert taken.story.state is State.COMPLETE
    assert re.match(r"\d+ programs write logs here; .* writes most, .*/s to .*: /capture logs here app=", taken.line)
    assert {"app": "ledger_api.py"} in [each.parameters for each in choice.next]
    assert re.fullmatch(r"2 programs match; name one: /capture logs here pid=\d+, pid=\d+", several.line)
    assert "### lines" not in taken.texts["logs"] + several.texts["logs"]


async def test_a_service_that_does_not_run_or_writes_no_log_is_said(tmp_path: Path) -> None:
    """In the first line."""
    sleeper = await asyncio.create_subprocess_exec("sleep", "60")
    silent = await take(tmp_path, "logs", pid=sleeper.pid)
    sleeper.kill()
    await sleeper.wait()
    ended = await take(tmp_path, "logs", pid=sleeper.pid)

    assert silent.line == "sleep has no log open: it may write to the journal (unit=), or elsewhere (path=)"
    assert ended.line.startswith(f"No process has pid {sleeper.pid} here any more")


async def test_a_unit_without_a_journal_is_said(tmp_path: Path) -> None:
    """Whatever the machine lacks."""
    taken = await take(tmp_path, "logs", unit="no-such-unit.service")

    assert re.match(r"The journal holds nothing of the unit no-such-unit\.service|There is no journal here", taken.line)


# --- through the product ------------------------------------------------------------------------


async def test_a_new_error_is_the_first_line_and_a_secret_in_it_is_not_kept(folder: Path, tmp_path: Path) -> None:
    """Since when, how often, and none before."""
    now = int(time.time())
    log = folder / "orders.log"
    write(log, now - HOUR_S, now, 5)
    with log.open("a") as file:
        for number in range(60):
            at = stamp(now - 60 + number)
            file.write(f"{at} ERROR orders: payments refused order {number}: Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJlLW9mLXRoaXM\n")  # fmt: skip

    taken = await take(tmp_path, "logs", path=str(log))

    assert re.match(rf"orders\.log: 'payments refused order …: .*' is new since {stamp(now - 60)[11:]}, ", taken.line)
    assert taken.line.endswith("; none in the 59 min before")
    assert "eyJzdWIi" not in taken.texts["logs"] + taken.line


async def test_an_ordinary_log_gives_no_warning(folder: Path, tmp_path: Path) -> None:
    """Nothing unusual."""
    write(folder / "orders.log", time.time() - 3 * HOUR_S, time.time())

    taken = await take(tmp_path, "logs", path=str(folder / "orders.log"))

    assert taken.line == "Nothing unusual found"
    assert [told for told in taken.story.findings if told.finding.level is not Level.INFO] == []


async def test_a_stop_in_the_middle_leaves_nothing_behind(folder: Path) -> None:
    """A packed file that would take a while is let go."""
    log = folder / "orders.log.1.gz"
    with gzip.open(log, "wb", compresslevel=1) as file:
        for _ in range(60):
            file.write(b"x" * 999_999 + b"\n")
    execution = await start(LocalTransport(), Target(name="here", local=True), step_for(path=str(log), last="whole"))
    assert await until(lambda: bool(unpackers(log)))
    pids = unpackers(log)

    await asyncio.gather(keep_rest(execution.output()), execution.stop())

    assert await gone(*pids)


async def test_a_log_that_is_rotated_while_it_is_read_stays_whole(folder: Path) -> None:
    """It was opened before, whatever its name means by now; and one that is emptied meanwhile is said to be."""
    rotated, emptied = folder / "rotated.log", folder / "emptied.log"
    for log in (rotated, emptied):
        write(log, time.time() - 72 * HOUR_S, time.time())
    text = rotated.read_text()
    kept = {}
    for log in (rotated, emptied):
        step = step_for(path=str(log), last="whole")
        output = (await start(LocalTransport(), Target(name="here", local=True), step)).output()
        begun = b""
        while b"### lines" not in begun:
            chunk = await anext(output)
            assert isinstance(chunk, bytes)
            begun += chunk
        if log is rotated:
            log.rename(folder / "rotated.log.1")
            log.write_text("a new one\n")
        else:
            os.truncate(log, 0)
        kept[log] = sections((begun + (await keep_rest(output)).output).decode())

    assert "\n".join(lines_of(kept[rotated])) + "\n" == text
    assert said(kept[emptied], "unseen") == f"{emptied} was cut while it was read\n"


def unpackers(log: Path) -> list[int]:
    """Processes of ours that have the log open."""
    found = []
    for process in psutil.process_iter(["name"]):
        if process.info["name"] in {"gzip", "bash"}:
            try:
                opened = [str(each.readlink()) for each in Path(f"/proc/{process.pid}/fd").iterdir()]
            except OSError:  # it has ended
                continue
            found += [process.pid] if str(log) in opened else []
    return found


# --- times: the script and the insight read the same --------------------------------------------

LINES = (
    "2026-11-22 20:55:01,123 INFO orders: charged",
    "2026-11-22T20:55:01.123456Z 8 [Warning] [MY-010055] slow",
    "2026-11-22  7:55:01 0 [Note] InnoDB: ready",
    '{"level":30,"msg":"well","ts":1795380901.25}',
    '{"level":30,"time":1795380901250,"msg":"well"}',
    "2026/11/22 20:55:01 [error] 812#812: *7 connect() failed",
    '10.0.0.1 - - [22/Nov/2026:20:55:01 +0000] "GET / HTTP/1.1" 200 5',
    "22-Nov-2026 20:55:01.123 INFO [main] org.apache.catalina.startup.Catalina.start Server startup",
    "[Sun Nov 22 20:55:01.123456 2026] [core:error] [pid 7] AH00037: link not allowed",
    "Nov  1 20:55:01 db1 sshd[811]: Accepted publickey",
    "<13>Nov 12 20:55:01 db1 app: hello",
    "E1101 20:55:01.123456   12 server.go:77] lost lease",
    "2024-02-29 23:59:59 leap",
    "1795380901.123    200 10.0.0.1 TCP_MISS/200 GET",
    "no time at all",
)


@pytest.mark.parametrize("awk", AWKS)
def test_awk_and_python_read_the_same_times(awk: str) -> None:
    """The script finds a window by them, the insight a beginning."""
    times = (CAPTURES / "logs-times.sh").read_text().replace("timed() { awk", f"timed() {{ {awk}")
    program = (
        times
        + """
while IFS= read -r line; do timed "$STAMP"'{printf "%.0f\\n", int(stamp($0))}' <<<"$line"; done"""
    )
    done = subprocess.run(
        ["bash", "-c", program],
        input="\n".join(LINES) + "\n",
        capture_output=True,
        text=True,
        check=True,
        env={**ENVIRONMENT, "LC_ALL": "C", "TZ": "UTC"},
    )
    now = datetime.now(UTC)

    read = [int(found[0].at) if (found := records(line, now)) and found[0].at else -1 for line in LINES]

    assert done.stderr == ""
    assert [int(line) for line in done.stdout.split()] == read
    assert read[:3] == [1795380901, 1795380901, 1795334101]
    assert read.count(-1) == 1


def test_the_insight_says_nothing_of_what_it_cannot_read() -> None:
    """An artifact that was cut in its first line."""
    assert list(logs(Reading(text="### asked at=2026", target="here"))) == []


def test_it_is_one_script() -> None:
    """Delivered whole, in this order."""
    action = recipe().steps[0].action

    assert isinstance(action, Script)
    assert action.text.index("choose() {") < action.text.index("add_log() {") < action.text.index("section asked")

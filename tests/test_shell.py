from __future__ import annotations

import asyncio
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import StepFailed
from bot.model import Log, Script, Sql
from bot.transports import shell
from bot.transports.pipe import BUFFER_BYTES, STDERR_BYTES, Pipe
from tests.steps import a_run, a_script, a_step

TOKEN = "0123456789abcdef"
REMARK = f"{TOKEN} group 8123 8100\n".encode()


class Tap:
    """A source that counts how often it was held back."""

    def __init__(self) -> None:
        self.paused = 0
        self.open = True

    def pause_reading(self) -> None:
        self.paused += 1
        self.open = False

    def resume_reading(self) -> None:
        self.open = True


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """*data* in pieces."""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


async def read(pipe: Pipe) -> bytes:
    """All of stdout."""
    return b"".join([chunk async for chunk in pipe.chunks()])


# --- what a host gets to read -----------------------------------------------------------------


def test_a_program_is_parsed_by_sh_before_any_of_it_runs(tmp_path: Path) -> None:
    """A program that breaks off anywhere runs nothing."""
    plan = shell.plan_of(a_script(f"touch {tmp_path}/ran\n" * 50))
    program = shell.step_program(plan, token=TOKEN, mark="MARK=1", limit_s=5)

    for length in range(0, len(program) - 3, 97):
        subprocess.run(["/bin/sh", "-s"], input=program[:length], check=False, capture_output=True)

    assert not (tmp_path / "ran").exists()


def test_a_timeout_that_is_not_gnus_will_not_do(tmp_path: Path) -> None:
    """BusyBox's leads no process group; the step is skipped before anything of it runs."""
    other = tmp_path / "timeout"
    other.write_text("#!/bin/sh\necho 'BusyBox v1.36' >&2\nexit 1\n")
    other.chmod(0o755)
    program = shell.step_program(shell.plan_of(a_run("echo", "ran")), token=TOKEN, mark="MARK=1", limit_s=5)

    done = subprocess.run(
        ["/bin/sh", "-s"], input=program, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=False, capture_output=True
    )

    assert (done.stdout, done.stderr) == (b"", f"{TOKEN} missing timeout\n".encode())


def test_a_command_in_the_manifest_can_be_repeated() -> None:
    """People read what ran, with its parameters, not how we wrapped it."""
    said = [
        shell.plan_of(step).said
        for step in (
            a_run("ps", "-o", "pid args"),
            a_script("true", PARAM_UNIT="a b"),
            a_step(Log(path="/var/log/my log", last_bytes=100)),
            a_step(Log(path="/var/log/x", last_bytes=None)),
            a_step(Log(unit="nginx.service", last_bytes=100)),
        )
    ]

    assert said == [
        "ps -o 'pid args'",
        "PARAM_UNIT='a b' bash probe.sh",
        "tail -c 100 '/var/log/my log'",
        "cat /var/log/x",
        "journalctl --unit=nginx.service | tail -c 100",
    ]


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (a_run("echo", "a\0b"), "echo was given a NUL byte, which no argument can hold"),
        (a_run("echo", "\ud800"), "echo was given text that is not Unicode"),
        (a_step(Script(name="big.sh", text="#" * 300_000)), "big.sh is longer than 256 KiB"),
        (a_step(Log()), "step probe names neither a path nor a unit"),
        (a_step(Sql(statements=())), "step probe holds SQL, which no host runs"),
    ],
)
def test_what_no_host_can_run_is_refused_before_it_is_sent(step: object, reason: str) -> None:
    """The reason says what is wrong with it."""
    with pytest.raises(StepFailed, match=reason):
        shell.step_program(shell.plan_of(step), token=TOKEN, mark="MARK=1", limit_s=5)  # type: ignore[arg-type]  # parametrized


# --- what comes back --------------------------------------------------------------------------


@given(
    banner=st.binary(max_size=50),
    words=st.binary(max_size=200).filter(lambda words: TOKEN.encode() not in words),
    cuts=st.lists(st.integers(min_value=0), max_size=8),
)
def test_the_remark_is_found_however_stderr_is_cut(banner: bytes, words: bytes, cuts: list[int]) -> None:
    """A login banner before it is dropped, the program's own words after it are kept."""

    async def check() -> None:
        pipe = Pipe(TOKEN)

        for piece in pieces(banner + REMARK + words, cuts):
            pipe.feed_stderr(piece)

        assert pipe.remark.result() == ["group", "8123", "8100"]
        assert pipe.stderr == words

    asyncio.run(check())


async def test_endless_stderr_keeps_only_its_end() -> None:
    """Memory is bounded, and what is kept starts at a line."""
    pipe = Pipe(TOKEN)
    pipe.feed_stderr(REMARK)

    for number in range(10_000):
        pipe.feed_stderr(f"complaint number {number}\n".encode())

    assert len(pipe.stderr) < STDERR_BYTES + 100
    assert pipe.stderr.startswith(b"-- only the end is kept\ncomplaint number ")
    assert pipe.complaint == "complaint number 9999"


async def test_garbage_in_place_of_the_remark_is_bounded() -> None:
    """A host that never says it costs no memory, and the end of its words is the reason."""
    pipe = Pipe(TOKEN)

    for _ in range(100):
        pipe.feed_stderr(b"\x1b[31m" + b"x" * 10_000)
    pipe.close()

    assert len(pipe.stderr) < STDERR_BYTES + 100
    assert pipe.remark.result() == []
    assert len(pipe.complaint) <= shell.WORDS_CHARS


async def test_output_that_nobody_reads_is_held_back() -> None:
    """The source is paused once, goes on when its output was read, and nothing is lost."""
    pipe, tap = Pipe(TOKEN), Tap()
    pipe.source = tap
    chunk = b"x" * (BUFFER_BYTES // 4)
    for _ in range(6):
        pipe.feed(chunk)
    held_back = not tap.open
    pipe.end(0)
    pipe.close()

    kept = await read(pipe)

    assert held_back
    assert tap.paused == 1
    assert tap.open
    assert kept == chunk * 6


@given(text=st.binary(max_size=2000))
def test_a_programs_last_words_fit_a_sentence(text: bytes) -> None:
    """Whatever a program writes, its words are short, printable and on one line."""
    words = shell.last_line(text)

    assert len(words) <= shell.WORDS_CHARS
    assert words.isprintable()
    assert "\n" not in words


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ([["gone", "INT"]], "process group 7 gone"),
        ([["gone", "KILL"]], "process group 7 gone after KILL"),
        ([["gone"]], "process group 7 was gone already"),
        (
            [["blind", "gone", "TERM"]],
            "process group 7 gone after TERM; processes that had left it could not be looked for, reading /proc hung",
        ),
        (
            [["left", "12", "D", "lsof"]],
            "process 12 (lsof) is still there in spite of KILL: it hangs in the kernel",
        ),
        (
            [["left", "12", "S", "my", "tool"]],
            "process 12 (my tool) is still there in spite of KILL: it may belong to another user",
        ),
    ],
)
def test_a_proof_is_a_sentence(answer: list[list[str]], sentence: str) -> None:
    """It says what was proved, or what is left and why."""
    end = shell.read_end(answer)

    assert end is not None
    assert end.sentence("process group 7") == sentence


def test_no_answer_proves_nothing() -> None:
    """A connection that broke while it was asked is not a proof."""
    assert shell.read_end([["something", "else"]]) is None


@pytest.mark.parametrize(
    ("status", "signal", "words", "sentence"),
    [
        (2, "", "cannot access /x", "ls ended with status 2 on db1: cannot access /x"),
        (3, "", "", "ls ended with status 3 on db1: it gave no reason."),
        (137, "", "", "ls was ended by signal KILL on db1: perhaps for lack of memory"),
        (139, "", "", "ls was ended by signal SEGV on db1: it gave no reason."),
        (255, "", "", "ls ended with status 255 on db1: it gave no reason."),
        (None, "TERM", "", "The shell around ls on db1 was ended by signal TERM."),
    ],
)
def test_a_bad_end_is_a_sentence(status: int | None, signal: str, words: str, sentence: str) -> None:
    """It names the program, how it ended, where, and its own last words."""
    assert shell.ending(shell.plan_of(a_run("ls")), status, signal, "db1", words) == sentence


def test_the_examination_names_what_is_missing() -> None:
    """Doctor's lines begin with ok or fault, and a fault has a cure."""
    good = shell.read_examination("db1", [["user", "capture", "1001"]])
    bad = shell.read_examination("db1", [["user", "capture", "1001"], ["missing", "timeout"]])

    assert good == [
        "ok: db1 runs commands as capture (uid 1001)",
        "ok: db1 has bash, GNU timeout and what else every step needs",
        "ok: no earlier capture has left anything on db1",
    ]
    assert bad[1].startswith("fault: db1 has no GNU timeout (package coreutils)")
    assert shell.read_examination("db1", []) == ["fault: db1 runs no /bin/sh for us — give the user a login shell"]

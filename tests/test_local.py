from __future__ import annotations

import asyncio
import shlex
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.errors import StepFailed
from bot.insights import sections
from bot.model import Log, Outcome, Target
from bot.transports.execution import Patience
from bot.transports.local import LocalTransport
from tests.steps import a_run, a_script, a_step, first_line, gone, keep, keep_rest, start

pytestmark = pytest.mark.thorough

HERE = Target(name="here", local=True)
# What an argument or an environment variable can hold: no NUL, nothing that UTF-8 cannot say.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
TRICKS = [
    "; id",
    "$(id)",
    "`id`",
    "a\nb",
    "'",
    '"',
    "\\",
    "\\\\n",
    "",
    " ",
    "-n",
    "--",
    "*",
    "~",
    "$0",
    "&",
    "|",
    "ü€😀",
    "%s",
]


@pytest.fixture
def local() -> LocalTransport:
    """The transport under test, with a short grace."""
    return LocalTransport(patience=Patience(grace_s=0.1))


async def test_output_and_complaints_are_kept_apart(local: LocalTransport) -> None:
    """Complaints stand in a section of their own below the output."""
    execution = await start(local, HERE, a_script("echo complaint >&2; printf result"))

    kept = await keep(execution)

    assert kept.failure is None
    assert kept.output.startswith(b"result\n### stderr at=")
    assert [(section.name, section.body) for section in sections(kept.output.decode())] == [("stderr", "complaint\n")]
    assert execution.exit_status == 0


async def test_stopping_what_has_ended_says_nothing(local: LocalTransport) -> None:
    """There was nothing to end."""
    execution = await start(local, HERE, a_run("true"))
    await keep(execution)

    assert await execution.stop() == ""


@pytest.mark.parametrize("trick", TRICKS)
async def test_a_trick_in_an_argument_is_only_text(local: LocalTransport, trick: str) -> None:
    """No shell reads it."""
    kept = await keep(await start(local, HERE, a_run("printf", "%s|", trick, "end")))

    assert kept.output.decode() == f"{trick}|end|"


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(arguments=st.lists(TEXT, min_size=1, max_size=20), value=TEXT)
def test_arguments_and_variables_arrive_as_they_are(arguments: list[str], value: str) -> None:
    """Whatever characters they hold, through sh, env, timeout, sh, nice and bash."""

    async def check() -> None:
        local = LocalTransport()
        step = a_script('printf "%s\\0" "$PARAM_VALUE"; exec "${BASH}" -c true', PARAM_VALUE=value)
        by_variable = await keep(await start(local, HERE, step))
        by_argument = await keep(await start(local, HERE, a_run("printf", "%s\\0", *arguments)))

        assert by_variable.output.decode() == value + "\0"
        assert by_argument.output.decode() == "".join(f"{argument}\0" for argument in arguments)

    asyncio.run(check())


async def test_a_script_reads_nothing_and_inherits_nothing(local: LocalTransport) -> None:
    """Its input is empty, and of its environment the bot gave nothing but what was meant."""
    kept = await keep(await start(local, HERE, a_script("cat; compgen -e", PARAM_TOP="5")))

    names = set(kept.output.decode().split())
    assert names - {"OLDPWD", "PWD", "SHLVL", "_"} == {
        "CAPTUREBOT_OWNER",
        "CAPTUREBOT_STEP",
        "LC_ALL",
        "PARAM_TOP",
        "PATH",
    }


async def test_a_long_script_arrives_whole(local: LocalTransport) -> None:
    """An argument could not hold it, nor a pipe at once."""
    kept = await keep(await start(local, HERE, a_script("# " + "x" * 250_000 + "\necho last line")))

    assert kept.output == b"last line\n"


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["ls", "/nosuch"], "ls ended with status 2 on here: ls: cannot access '/nosuch': No such file or directory"),
        (["sh", "-c", "kill -s SEGV $$"], "sh was ended by signal SEGV on here: it gave no reason."),
        (["sh", "-c", "kill -s KILL $$"], "sh was ended by signal KILL on here: perhaps for lack of memory"),
        (["timeout", "0.05", "sleep", "9"], "timeout ended with status 124 on here: it gave no reason."),
    ],
)
async def test_a_bad_end_has_its_reason(local: LocalTransport, argv: list[str], reason: str) -> None:
    """In the program's own words where it has some; a program's own 124 is not our time limit."""
    kept = await keep(await start(local, HERE, a_run(*argv)))

    assert kept.failure
    assert (kept.failure.outcome, kept.reason) == (None, reason)


async def test_the_time_limit_strikes_on_the_host(local: LocalTransport) -> None:
    """The bot need not do anything for it, and what came is kept."""
    execution = await start(local, HERE, a_script("echo $$; sleep 60", timeout_s=0.2))

    kept = await keep(execution)

    assert kept.failure
    assert kept.failure.outcome is Outcome.TIMED_OUT
    assert kept.reason == "probe.sh was ended on here by its time limit of 0.2 s; what had come is kept."
    assert await gone(int(kept.output))


async def test_a_program_that_is_needed_and_missing_skips_the_step(local: LocalTransport) -> None:
    """The reason names the package where that has another name."""
    with pytest.raises(StepFailed) as failed:
        await start(local, HERE, a_run("true", needs=("sh", "nosuch-tool")))

    assert failed.value.outcome is Outcome.SKIPPED
    assert failed.value.reason == "nosuch-tool is not installed on here."


async def test_a_stopped_step_leaves_nothing(local: LocalTransport) -> None:
    """Nor do its children outlive it, and what it said before is kept."""
    execution = await start(local, HERE, a_script("sleep 60 & echo $! $$; sleep 60", timeout_s=30))
    output = execution.output()
    line = await first_line(output)

    proof = await execution.stop()

    assert proof.startswith("process group ")
    assert " gone" in proof
    assert await gone(*map(int, line.split()))
    assert (await keep_rest(output)).reason == "probe.sh was stopped on here."
    assert await execution.stop() == proof


async def test_a_step_that_nobody_reads_can_be_stopped(local: LocalTransport) -> None:
    """Its output fills every buffer on the way, and it ends all the same."""
    execution = await start(local, HERE, a_run("yes", timeout_s=30))

    proof = await execution.stop()

    assert proof.startswith("process group ")
    assert proof.endswith(" gone")


async def test_a_shell_that_is_killed_from_outside_is_said(local: LocalTransport) -> None:
    """It is neither success nor a status of the program."""
    kept = await keep(await start(local, HERE, a_script('kill -s KILL "$(ps -o sid= $$)"; sleep 0.2', timeout_s=1)))

    assert kept.reason == f"The shell around probe.sh on here was ended by signal {signal.SIGKILL.name[3:]}."


# --- logs -------------------------------------------------------------------------------------


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.text("ab", max_size=40), max_size=8), last=st.integers(1, 200))
def test_the_end_of_a_log_starts_at_a_line(tmp_path: Path, lines: list[str], last: int) -> None:
    """Of the last bytes it keeps the whole lines, or all where no line ends in them."""
    text = "\n".join(lines).encode()
    path = tmp_path / "it's a log"
    path.write_bytes(text)

    kept = asyncio.run(_log(path, last))

    before_last, line_end, whole_lines = text[max(len(text) - last - 1, 0) :].partition(b"\n")
    cut = whole_lines if line_end else before_last[1:]
    assert kept == (cut if len(text) > last else text)


async def _log(path: Path, last: int | None) -> bytes:
    kept = await keep(await start(LocalTransport(), HERE, a_step(Log(path=str(path), last_bytes=last))))
    assert kept.failure is None
    return kept.output


async def test_a_log_that_grows_has_an_end(local: LocalTransport, tmp_path: Path) -> None:
    """The whole is what it was at the start."""
    path = tmp_path / "log"
    path.write_bytes(b"line\n" * 1_000_000)
    writer = await start(local, HERE, a_run("sh", "-c", f"exec yes grown >> {shlex.quote(str(path))}", timeout_s=30))

    try:
        kept = await _log(path, None)
    finally:
        await writer.stop()

    assert kept.startswith(b"line\n" * 1_000_000)
    assert len(kept) <= path.stat().st_size


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/nosuch/log", r"here: /nosuch/log does not exist, or \w+ may not look there"),
        ("/etc", "here: /etc is not a regular file"),
        ("/dev/zero", "here: /dev/zero is not a regular file"),
    ],
)
async def test_a_log_that_cannot_be_read_says_who_could_not(local: LocalTransport, path: str, reason: str) -> None:
    """The reason names the file and the user, or what the file is."""
    kept = await keep(await start(local, HERE, a_step(Log(path=path))))

    assert kept.failure
    assert kept.failure.outcome is None
    with pytest.raises(StepFailed, match=f"^{reason}$"):
        raise kept.failure


async def test_this_machine_is_examined(local: LocalTransport) -> None:
    """Doctor says who we are and that nothing is missing."""
    lines = await local.check(HERE)

    assert [line.partition(":")[0] for line in lines[:2]] == ["ok", "ok"]

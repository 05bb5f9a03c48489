"""Windows hosts without one: how arguments, texts and answers are read, and what recipes and settings may say of them."""

from __future__ import annotations

import base64
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import ConfigError, StepFailed
from bot.model import Log, Script, Sql, Step, Target, TargetKind, WindowsShell
from bot.recipes import load_all
from bot.settings import load
from bot.transports import powershell, way_of
from bot.transports.argv import line_of
from bot.transports.windows_execution import Report
from bot.transports.windows_files import sftp_path
from bot.transports.windows_plan import plan_of
from bot.transports.windows_text import Unifier
from tests.steps import a_run, a_script, a_step

TOKEN = "0123456789abcdef"

# --- arguments ----------------------------------------------------------------------------------


def split(line: str) -> list[str]:
    """What Microsoft documents of how programs split their command line, written down step by step."""
    arguments, at = [], 0
    while at < len(line):
        if line[at] in " \t":
            at += 1
            continue
        argument, quoted = "", False
        while at < len(line) and (quoted or line[at] not in " \t"):
            slashes = len(line[at:]) - len(line[at:].lstrip("\\"))
            at += slashes
            if line[at : at + 1] != '"':
                argument += "\\" * slashes
                if not slashes:
                    argument, at = argument + line[at], at + 1
                continue
            argument += "\\" * (slashes // 2)
            if slashes % 2:
                argument += '"'
            else:
                quoted = not quoted
            at += 1
        arguments.append(argument)
    return arguments


@given(
    st.lists(st.text(st.one_of(st.sampled_from('"\\ \t%^&!'), st.characters(exclude_categories=["Cs"])), max_size=10))
)
def test_arguments_are_read_back_by_the_documented_rules(arguments: list[str]) -> None:
    """Wine's own parsers are asked in tests/live/test_windows.py."""
    assert split(line_of(arguments)) == arguments


def test_what_needs_no_quotes_has_none() -> None:
    """So that a manifest reads as people would type it."""
    assert line_of(["-ano", "C:\\logs\\", "a b\\", ""]) == '-ano C:\\logs\\ "a b\\\\" ""'


# --- texts --------------------------------------------------------------------------------------


def unified(data: bytes, cuts: list[int], encoding: str | None = None) -> tuple[bytes, int]:
    """The text of *data* in pieces that end at *cuts*, and how much of it could not be read."""
    text = Unifier(encoding)
    ends = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    out = b"".join([text.feed(data[start:end]) for start, end in itertools.pairwise(ends)])
    return out + text.finish(), text.replaced


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=6))
def test_a_text_is_the_same_however_it_was_chunked(data: bytes, cuts: list[int]) -> None:
    """Any bytes, and always UTF-8 in the end."""
    whole = unified(data, [])

    assert unified(data, cuts) == whole
    whole[0].decode()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@given(text=st.text(st.one_of(st.sampled_from("\r\nä"), st.characters(exclude_categories=["Cs"])), max_size=30))
def test_every_encoding_of_windows_becomes_one(encoding: str, text: str) -> None:
    """With its mark or without, and with line ends of either kind."""
    plain = text.replace("\ufeff", "").replace("\ufffd", "")

    assert unified(plain.encode(encoding), []) == (plain.replace("\r\n", "\n").encode(), 0)


@given(st.binary(max_size=80), st.binary(max_size=40), st.lists(st.integers(0, 120), max_size=6))
def test_a_report_ends_at_its_mark_however_it_was_chunked(before: bytes, after: bytes, cuts: list[int]) -> None:
    """What comes behind the mark is no part of it."""
    mark = f"{TOKEN} end".encode()
    data = before + mark + after
    report = Report(mark)
    ends = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]

    out = b""
    for start, end in itertools.pairwise(ends):
        if not report.is_over:
            out += report.feed(data[start:end])

    assert report.is_over
    assert out == before


# --- the conversation ---------------------------------------------------------------------------


def test_what_the_default_shell_reads_is_constant_and_plain() -> None:
    """Nothing of a step is in it, no sign that a shell reads, and cmd.exe's limit is far away."""
    cmd, other = powershell.COMMANDS[WindowsShell.CMD], powershell.COMMANDS[WindowsShell.POWERSHELL]
    *_, option, program = cmd.split(" ")

    assert other == f"$input | {cmd}"
    assert option == "-EncodedCommand"
    assert base64.b64decode(program).decode("utf-16-le").startswith("$in = @($input); ")
    assert not set(cmd) & set("%^&|<>()!\"'`$;")
    assert len(cmd) < 1000


def test_a_step_travels_as_base64_alone() -> None:
    """Whatever is in its values: no code page, line end or quote comes near them."""
    value = "a&b %OS% ^ !x! \"q\" 'r' `s` ü€😀\n\r\n\\"

    program = powershell.step_program(plan_of(a_script("'x'", PARAM_A=value)), token=TOKEN, limit_s=5)

    lines = dict(line.split(" ") for line in program.decode("ascii").splitlines()[1:-1])
    assert base64.b64decode(lines["env.PARAM_A"]).decode() == value
    assert base64.b64decode(lines["milliseconds"]) == b"5000"


def test_a_plan_says_what_people_would_type() -> None:
    """The program and its arguments, or the script with its values."""
    run, script = (plan_of(step) for step in (a_run("netstat", "-a b"), a_script("", PARAM_TOP="5 5")))

    assert (run.said, run.needs) == ('netstat "-a b"', ("netstat",))
    assert script.said == "PARAM_TOP='5 5' powershell probe.sh"
    assert plan_of(a_script("$env:CAPTURE_SCRATCH")).scratch


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (a_run("x", "a" * 40_000), "x was given more than 32000 characters of arguments."),
        (a_run("x", "a\0b"), "x was given a NUL byte, which no argument can hold."),
        (a_script("#" * 300_000), "probe.sh is longer than 256 KiB; shorten it or split the step."),
        (a_step(Sql(statements=())), "step probe holds SQL, which no host runs; it needs a target with `mysql:`."),
        (a_step(Log(path="C:\\a")), "step probe reads a file, which needs no program there."),
    ],
)
def test_what_cannot_run_there_says_why(step: Step, says: str) -> None:
    """Before anything is sent."""
    with pytest.raises(StepFailed) as failed:
        plan_of(step)

    assert failed.value.reason == says


def test_text_that_is_not_unicode_is_refused() -> None:
    """It could not travel."""
    with pytest.raises(StepFailed, match=r"probe.sh was given text that is not Unicode"):
        powershell.step_program(plan_of(a_script("", PARAM_A="\ud800")), token=TOKEN, limit_s=5)


@pytest.mark.parametrize(
    ("answer", "shell"),
    [
        ("Windows_NT $PSHOME\r\n", WindowsShell.CMD),
        ("%OS%\r\nC:\\Windows\\System32\\WindowsPowerShell\\v1.0\r\n", WindowsShell.POWERSHELL),
        ("%OS%\r\nC:\\Program Files\\PowerShell\\7\r\n", WindowsShell.POWERSHELL),
        ("%OS%\n", None),  # a shell of Unix
        ("", None),
    ],
)
def test_a_shell_is_known_by_what_it_replaces(answer: str, shell: WindowsShell | None) -> None:
    """In the one line that it is asked."""
    assert powershell.shell_of(answer) is shell


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("gone 0", "process 8 was gone already"),
        ("gone 1", "process 8 gone"),
        ("gone 4", "process tree of 8 gone (4 ended)"),
        ("blind gone 1", "process 8 gone; whether it had started others could not be seen, WMI does not answer"),
        ("left 12 sql server", "process 12 (sql server) is still there: it may belong to another user"),
        ("nonsense", ""),
    ],
)
def test_what_the_end_proved_is_a_sentence(answer: str, says: str) -> None:
    """And nothing that it did not say."""
    assert powershell.read_end([answer.split()], 8) == says


@pytest.mark.parametrize(
    ("status", "says"), [(0, "0"), (87, "87"), (-1073741819, "0xC0000005"), (3221225477, "0xC0000005")]
)
def test_a_status_is_written_as_people_look_it_up(status: int, says: str) -> None:
    """The system's own codes are hexadecimal in every list of them."""
    assert powershell.status_words(status) == says


def test_a_path_is_spelt_as_the_file_server_has_it() -> None:
    """Whatever is in its names."""
    assert sftp_path("C:\\50% & ^x!\\a'b\\ü.log") == "/C:/50% & ^x!/a'b/ü.log"
    assert sftp_path("d:/mixed\\way.log") == "/d:/mixed/way.log"


# --- recipes and settings -----------------------------------------------------------------------


def problems_of(folder: Path, step: str, script: str = "'x'\n") -> list[str]:
    """What is wrong with a recipe for Windows that has this step."""
    (folder / "probe.ps1").write_text(script, newline="")
    (folder / "probe.sh").write_text("exit 0\n")
    text = (
        "title: A\nabout: B.\nfor: windows\nimpact: light\n"
        'parameters: {top: {type: text, about: How many, default: "5", pattern: ".*"}}\n'
        f"steps: [{{id: a, title: A, timeout: 5, limit: 1 kB, {step}}}]\n"
    )
    (folder / "win-probe.yml").write_text(text)
    try:
        load_all([folder], insights=())
    except ConfigError as error:
        return [
            f"{problem.message} — {problem.cure}" for problem in error.problems if "used by no" not in problem.message
        ]
    return []


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ("script: probe.ps1", ""),
        ("run: [netstat, -ano]", ""),
        ("log: {path: 'C:\\inetpub\\logs\\u_ex.log'}", ""),
        ("file: {script: probe.ps1, name: a.dmp, limit: 1 GB}", ""),
        ("script: probe.sh", "`probe.sh` is no PowerShell script — a recipe for windows runs those that end in `.ps1`"),
        ("log: {path: /var/log/syslog}", "is no path of Windows — write for example `C:\\logs\\app.log`"),
        ("log: {unit: nginx.service}", "is systemd's, and Windows has none — read event logs in a script"),
        ("script: probe.ps1, carry: {tool: x}", ""),
        ("run: [netstat], carry: {tool: x}", "is for scripts on Windows — write a script that runs the program"),
        ("run: [cmd.exe, /c, dir, '{top}']", "gives a shell or interpreter its code on the command line"),
        ("run: ['C:\\x\\PowerShell.exe', -NoProfile, -Command, '{top}']", "gives a shell or interpreter its code"),
    ],
)
def test_a_recipe_for_windows_says_what_windows_has(tmp_path: Path, step: str, problem: str) -> None:
    """PowerShell scripts, drives and files; and no shell reads a parameter."""
    found = problems_of(tmp_path, step)

    assert found == [] if not problem else found[0].startswith(problem)


def test_a_script_may_be_saved_as_windows_saves_it(tmp_path: Path) -> None:
    """With a mark at its beginning and carriage returns."""
    assert problems_of(tmp_path, "script: probe.ps1", "\ufeff$env:PARAM_TOP\r\n") == []
    (step,) = load_all([tmp_path], insights=())["win-probe"].steps
    assert isinstance(step.action, Script)
    assert step.action.text == "$env:PARAM_TOP\r\n"


def test_recipes_of_two_systems_are_not_mixed(tmp_path: Path) -> None:
    """Their steps could not run in one place."""
    (tmp_path / "mixed.yml").write_text("title: A\nabout: B.\nfor: windows\nimpact: light\nuse: [linux]\n")
    (tmp_path / "linux.yml").write_text(
        "title: A\nabout: B.\nfor: host\nimpact: light\nsteps: [{id: a, title: A, run: [ps], timeout: 5, limit: 1 kB}]\n"
    )

    with pytest.raises(ConfigError) as wrong:
        load_all([tmp_path], insights=())

    assert [each.message for each in wrong.value.problems] == ["`linux` is for host, and this recipe is for windows"]


def a_target(folder: Path, text: str) -> Target:
    """The target of a configuration that says *text* of it."""
    (folder / "capturebot.yml").write_text(f"folder: a\ntargets:\n  web-1:\n    {text}\n")
    return load(folder / "capturebot.yml").targets["web-1"]


def test_a_target_is_reached_as_its_settings_say(tmp_path: Path) -> None:
    """By its own transport, for recipes of its own kind and no others."""
    target = a_target(tmp_path, "windows: {host: 10.0.0.8, user: capture, key: env:KEY, shell: powershell}")

    assert target.windows
    assert (target.windows.ssh.host, target.windows.shell) == ("10.0.0.8", WindowsShell.POWERSHELL)
    assert target.kinds == {TargetKind.WINDOWS}
    assert way_of(target, a_run("x"), TargetKind.WINDOWS) == "windows"
    assert way_of(target, a_run("x"), TargetKind.MYSQL) == ""


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("C:\\My Tools & more", ""),
        ("C:\\a;D:\\b", "must be a folder of Windows"),
        ("/opt/tools", "must be a folder of Windows"),
        ("tools", "must be a folder of Windows"),
    ],
)
def test_a_targets_own_tools_are_one_folder(tmp_path: Path, given: str, says: str) -> None:
    """It is put behind the PATH there."""
    text = f"windows: {{host: a, user: b, tools: '{given}'}}"
    if says:
        with pytest.raises(ConfigError, match=says):
            a_target(tmp_path, text)
    else:
        windows = a_target(tmp_path, text).windows
        assert windows
        assert windows.tools == given


@pytest.mark.parametrize("other", ["local: true", "ssh: {host: a, user: b}"])
def test_a_target_is_one_machine(tmp_path: Path, other: str) -> None:
    """Two ways to run programs would leave open where they run."""
    with pytest.raises(ConfigError, match="and programs can run in one place only"):
        a_target(tmp_path, f"{{windows: {{host: a, user: b}}, {other}}}")


@pytest.mark.parametrize("given", ["paths: [/var/log/**]", "become: sudo"])
def test_what_is_for_linux_is_not_said_of_windows(tmp_path: Path, given: str) -> None:
    """It would promise what nobody keeps."""
    with pytest.raises(ConfigError, match="is for Linux, and this machine runs Windows — take it out"):
        a_target(tmp_path, f"{{windows: {{host: a, user: b}}, {given}}}")

"""What `capturebot doctor TARGET` says of the recipes: what each lacks, and the line that mends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bot.features import FEATURES, windows
from bot.model import Event, Impact, MySql, Probed, Recipe, Ssh, Step, Target, TargetKind, Windows
from bot.redact import Redactor
from bot.survey import Lack, Surveyor, installing, lacks_of, told
from tests.fakes import ANA, AT, Script, ScriptedTransport
from tests.steps import a_script

ROOT = {"uid": "0", "user": "root", "family": "debian"}
CAPTURE = {"uid": "990", "user": "capture", "family": "rhel", "ptrace": "1", "perf": "2", "can journal": "no"}


def a_recipe(*steps: Step) -> Recipe:
    """A recipe for hosts."""
    return Recipe(
        name="trace", title="T", about="A.", wants=TargetKind.HOST, impact=Impact.LIGHT, steps=steps, digest=""
    )


def a_step(*, needs: Sequence[str] = (), wants: Sequence[str] = ()) -> Step:
    """A step that needs and wants something of its host."""
    step = a_script("true")
    return Step(
        id="a",
        title="Who asks",
        action=step.action,
        timeout_s=1,
        limit_bytes=1,
        needs=tuple(needs),
        wants=tuple(wants),
    )


def test_sudo_takes_the_place_of_being_root() -> None:
    """Where its rules have the step's program; else the one line says what mends it, instead of one a wish."""
    step = a_step(wants=["root", "perf-events"])
    program = "/usr/local/lib/capturebot/probe-0123456789ab"

    refused = list(lacks_of(step, CAPTURE, root=program, cure="capturebot sudoers"))
    allowed = list(lacks_of(step, {**CAPTURE, f"root {program}": "yes"}, root=program, cure="capturebot sudoers"))

    assert [(lack.sentence, lack.cure) for lack in refused] == [
        (f"sudo does not let {CAPTURE['user']} run {program}", "capturebot sudoers")
    ]
    assert allowed == []


def test_a_recipe_that_lacks_nothing_works() -> None:
    """One line says so."""
    facts = {**ROOT, "program ss": "/usr/bin/ss"}
    step = a_step(needs=["ss"], wants=["root", "ptrace", "packets", "perf-events", "bpf"])

    assert told(a_recipe(step), list(lacks_of(step, facts))) == ["ok: trace works"]


def test_a_program_that_is_missing_is_told_with_the_line_that_installs_it() -> None:
    """A step that needs it does not run; one that wants it keeps less."""
    needs, wants = a_step(needs=["ss"]), a_step(wants=["gdb"])

    assert told(a_recipe(needs), list(lacks_of(needs, ROOT))) == [
        "warn: trace will not work: without “Who asks”: ss is not installed — apt-get install iproute2"
    ]
    assert told(a_recipe(wants), list(lacks_of(wants, CAPTURE))) == [
        "warn: trace works, but with less: gdb is not installed — dnf install gdb"
    ]


@pytest.mark.parametrize(
    ("feature", "said"),
    [
        ("root", "what belongs to other users stays unseen"),
        ("ptrace", "no process may be looked into"),
        ("journal", "there is no journal that may be read"),
        ("packets", "packets may not be read"),
        ("perf-events", "the kernel's part of a profile, and other users' processes, stay unseen"),
        ("bpf", "nothing may be counted in the kernel"),
        ("kernel-log", "the kernel's messages may not be read"),
    ],
)
def test_a_feature_that_is_missing_is_told_with_its_cure(feature: str, said: str) -> None:
    """For an ordinary user on a host that is set up as hosts are."""
    (lack,) = lacks_of(a_step(wants=[feature]), CAPTURE)

    assert lack == Lack(sentence=said, cure=lack.cure, fatal=False)
    assert lack.cure
    assert "{" not in lack.cure


def test_what_even_root_lacks_is_told_without_a_cure() -> None:
    """A host without systemd has no journal for anybody."""
    (lack,) = lacks_of(a_step(wants=["journal"]), {**ROOT, "can journal": "no"})

    assert lack == Lack(sentence="there is no journal that may be read", cure="", fatal=False)


def test_every_feature_has_its_case_above() -> None:
    """So that none is told without a cure."""
    assert set(FEATURES) == {"root", "ptrace", "journal", "packets", "perf-events", "bpf", "kernel-log"}


def test_the_same_lack_of_several_steps_is_told_once() -> None:
    """Whatever the number of steps."""
    steps = (a_step(wants=["root"]), a_step(wants=["root"]))

    assert len(told(a_recipe(*steps), [lack for step in steps for lack in lacks_of(step, CAPTURE)])) == 1


WINDOWS = {"family": "windows", "user": "WEB-1\\capture", "tools": "C:\\Sysinternals"}


@pytest.mark.parametrize(
    ("feature", "said", "cure"),
    [
        ("administrator", "command lines and owners of other users' processes stay unseen", "Add-LocalGroupMember -SID S-1-5-32-544 -Member 'WEB-1\\capture'"),
        ("debug-privilege", "processes of other users may not be opened", "Add-LocalGroupMember -SID S-1-5-32-544 -Member 'WEB-1\\capture'; or the privilege alone: docs/windows.md, “Debug programs”"),
        ("event-log", "event logs may not be read", "Add-LocalGroupMember -SID S-1-5-32-573 -Member 'WEB-1\\capture'"),
        ("performance-counters", "counters of the network and of other users' processes stay unseen", "Add-LocalGroupMember -SID S-1-5-32-558 -Member 'WEB-1\\capture'"),
        ("procdump", "procdump is not installed", "put procdump.exe into C:\\Sysinternals there, or below `tools:` of capturebot.yml here"),
        ("dotnet-dump", "dotnet-dump is not installed", "dotnet tool install dotnet-dump --tool-path C:\\Sysinternals"),
    ],
)  # fmt: skip
def test_what_a_windows_host_lacks_is_told_with_its_commands(feature: str, said: str, cure: str) -> None:
    """Groups by their numbers, which no language of Windows changes."""
    step = a_step(wants=[feature])

    assert list(lacks_of(step, WINDOWS)) == [Lack(sentence=said, cure=cure, fatal=False)]
    assert list(lacks_of(step, {**WINDOWS, f"can {feature}": "yes", f"program {feature}": "x"})) == []


def test_every_feature_of_windows_has_its_case() -> None:
    """Names of theirs mean nothing on Linux, and the other way round."""
    assert set(windows.FEATURES) == {"administrator", "debug-privilege", "event-log", "performance-counters"}
    assert not set(windows.FEATURES) & set(FEATURES)


async def test_a_windows_host_is_asked_by_its_own_script() -> None:
    """Also for the tools in its folder; what a database's recipe runs on Linux hosts is left out there."""
    facts = b"family\twindows\nsystem\tWindows Server 2019\nprogram procdump\t\ncan event-log\tyes\nend\tyes\n"
    transport = ScriptedTransport({"survey": Script(pieces=(facts,))})

    async def emit(_event: Event) -> None:
        pass

    surveyor = Surveyor({"windows": transport}, Redactor(tuple, salt=b"salt"), lambda: AT, emit, ANA)
    ssh = Ssh(host="10.0.0.8", user="capture", known_hosts=Path("known_hosts"))
    target = Target(name="web-1", windows=Windows(ssh=ssh), mysql=MySql(host="10.0.0.8", user="capture"))
    recipe = replace(a_recipe(a_step(wants=["event-log", "procdump"])), wants=TargetKind.WINDOWS)
    mixed = replace(a_recipe(a_step(wants=["root"])), name="db", wants=TargetKind.MYSQL)

    assert await surveyor.examine(target, [recipe, mixed]) == [
        "ok: web-1 is Windows Server 2019",
        "warn: trace works, but with less: procdump is not installed — put procdump.exe into a folder of its PATH there, or below `tools:` of capturebot.yml here",
        "warn: db works, but with less: without “Who asks”, which is for Linux",
    ]


@pytest.mark.parametrize(
    ("family", "line"),
    [
        ("debian", "apt-get install procps"),
        ("rhel", "dnf install procps-ng"),
        ("suse", "zypper install procps-ng"),
        ("alpine", "apk add procps"),
    ],
)
def test_a_package_is_named_as_the_host_knows_it(family: str, line: str) -> None:
    """By the family that its os-release tells."""
    assert installing("ps", {"family": family}) == line


async def test_what_the_doctor_runs_on_a_target_is_kept() -> None:
    """As a command outside of any capture, with who wanted to know."""
    kept: list[Event] = []

    async def emit(event: Event) -> None:
        kept.append(event)

    facts = b"uid\t0\nsystem\tDebian\nprogram ps\t/bin/ps\nend\tyes\n"
    transport = ScriptedTransport({"survey": Script(pieces=(facts,))})
    surveyor = Surveyor({"local": transport}, Redactor(tuple, salt=b"salt"), lambda: AT, emit, ANA)

    lines = await surveyor.examine(Target(name="app-1", local=True), [a_recipe(a_step(needs=["ps"]))])

    assert lines == ["ok: app-1 is Debian", "ok: trace works"]
    (probed,) = kept
    assert isinstance(probed, Probed)
    assert (probed.target, probed.command, probed.who, probed.exit_status) == ("app-1", "survey on app-1", ANA, 0)

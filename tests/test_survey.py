"""What `capturebot doctor TARGET` says of the recipes: what each lacks, and the line that mends it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bot.model import Impact, Recipe, Step, TargetKind
from bot.survey import FEATURES, Lack, installing, lacks_of, told
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

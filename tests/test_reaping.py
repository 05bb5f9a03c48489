"""Steps that lost their bot: which they are, how they are ended, and how that is told."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bot.model import Target
from bot.transports import shell
from bot.transports.execution import Patience
from bot.transports.local import LocalTransport
from bot.transports.reaping import CONTACTS_KEPT, LOST_KEPT, MARK, OWNER, Contacts, read_reaped
from tests.steps import a_script, keep, start
from tests.test_scratch import SPACE, born

pytestmark = pytest.mark.thorough

HERE = Target(name="here", local=True)


@contextmanager
def step_of(step: str, owner: int) -> Iterator[subprocess.Popen[bytes]]:
    """What runs of a step whose shell was started by *owner*."""
    env = {**os.environ, MARK: step, OWNER: f"{SPACE}-{owner}-{born(owner)}"}
    with subprocess.Popen(["sleep", "60"], env=env, start_new_session=True) as running:
        yield running
        running.kill()


def examined(*lost: str) -> list[str]:
    """What doctor reads of this machine, where these steps were given up."""
    program = shell.examine_program("abc123", places=("/nowhere",), lost=lost)
    said = subprocess.run(["sh", "-s"], input=program, capture_output=True, text=True, check=True).stdout
    lines = shell.read_examination("db1", [line.split()[1:] for line in said.splitlines()])
    return [line for line in lines if "c-20261" in line]  # other tests may leave something, too


def test_a_step_that_was_given_up_is_ended_and_told() -> None:
    """Though its owner lives: sshd holds on to connections that are cut."""
    with step_of("c-20261123-0f", os.getpid()) as running:
        lines = examined("c-20261123-0f")
        status = running.wait(5)

    assert status < 0
    (line,) = lines
    said = (
        f"warn: Capture c-20261123 was cut off from db1 and had left a step running: process group {running.pid} gone"
    )
    assert line.removeprefix(said) in {".", " after TERM."}  # a busy machine may be slow to end by INT


def test_a_step_whose_owner_lives_is_left_alone() -> None:
    """It belongs to another bot, or to another capture of this one."""
    with step_of("c-20261124-0f", os.getpid()) as running:
        lines = examined("c-20261124-0e")

        assert running.poll() is None
    assert lines == []


@pytest.mark.parametrize(
    ("remark", "sentence"),
    [
        ("reaped c-1-0f 8123 INT 2", "process group 8123 gone, 2 temporary files removed."),
        ("reaped c-1-0f 8123 KILL 0", "process group 8123 gone after KILL."),
        ("unreaped c-1-0f 7 8 9 10", "processes 7, 8, 9 are still there in spite of KILL."),
    ],
)
def test_what_was_found_is_a_sentence(remark: str, sentence: str) -> None:
    """It names the capture, and what became of its step."""
    assert read_reaped([remark.split()], "db1") == [
        f"Capture c-1 was cut off from db1 and had left a step running: {sentence}"
    ]


def test_a_capture_looks_once_and_again_after_a_step_was_given_up() -> None:
    """What is looked for is known only where the bot itself gave it up."""
    contacts = Contacts()

    assert contacts.meet("db1", "c1") == ()
    assert contacts.meet("db1", "c1") is None
    assert contacts.meet("db2", "c1") == ()
    contacts.lose("db1", "c1-0f")
    assert contacts.meet("db1", "c1") == ("c1-0f",)
    contacts.missed("db1", "c1")
    assert contacts.meet("db1", "c1") == ("c1-0f",)
    contacts.settle("db1", ("c1-0f",))
    assert contacts.meet("db1", "c2") == ()


def test_what_is_remembered_is_bounded() -> None:
    """However many captures and lost steps there were."""
    contacts = Contacts()
    for number in range(2 * CONTACTS_KEPT):
        contacts.meet("db1", f"c{number}")
        contacts.lose("db2", f"c{number}-0f")

    assert contacts.meet("db1", "c0") == ()
    assert contacts.meet("db1", f"c{2 * CONTACTS_KEPT - 1}") is None
    assert len(contacts.meet("db2", "c0") or ()) == LOST_KEPT


async def test_an_end_by_the_time_limit_is_proved_too(tmp_path: Path) -> None:
    """The group is looked for, and what the step had put aside is gone."""
    local = LocalTransport(patience=Patience(grace_s=0.1), places=(str(tmp_path),))
    script = 'touch "$CAPTURE_SCRATCH/a" "$CAPTURE_SCRATCH/b"; sleep 60'
    execution = await start(local, HERE, a_script(script, timeout_s=0.2))

    kept = await keep(execution)
    proof = await execution.stop()

    assert "by its time limit of 0.2 s" in kept.reason
    assert re.fullmatch(r"process group \d+ was gone already, 2 temporary files removed", proof)
    assert os.listdir(tmp_path) == []  # noqa: PTH208  pathlib's is refused in coroutines

"""`capturebot sudoers`, on a host with an account called capture: what it lets that see and do, and what it does not."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, cast

import pytest

from bot.recipes import builtin_folder, load_folder
from bot.sudoers import grants
from tests.stage.machine import impossible

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

OWN = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
RAN = {"a path around", "BASH_ENV", "a function", "LD_PRELOAD"}  # the program itself, which its input ended at once
REFUSED = {1, 2}  # by sudo, by the program


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    """What `tests.live.as_capture` found."""
    lacks = impossible() or ("" if shutil.which("visudo", path="/usr/sbin:/usr/bin") else "apt-get install sudo")
    if lacks:
        (pytest.fail if "CI" in os.environ else pytest.skip)(lacks)
    with tempfile.TemporaryDirectory(prefix="capture-") as folder:  # pytest's own is for its owner alone
        done = subprocess.run(
            [*OWN, sys.executable, "-m", "tests.live.as_capture", folder],
            capture_output=True, text=True, check=False, timeout=200,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return cast("dict[str, Any]", json.loads(done.stdout))


def test_the_rules_are_what_visudo_takes(facts: dict[str, Any]) -> None:
    """Installed whole, each program with its checksum and without arguments; nothing that could become more."""
    lines = [line for line in facts["rules"].splitlines() if line.startswith("Cmnd_Alias") and "sha256" in line]
    rules = "\n".join(line for line in facts["rules"].splitlines() if not line.startswith("#"))

    assert facts["installed"] == f"ok: {len(lines)} of root's programs may be run by capture\n"
    assert "/etc/sudoers.d/capturebot: parsed OK" in facts["check"]
    assert all(
        re.fullmatch(r'Cmnd_Alias \w+ = sha256:[0-9a-f]{64} /usr/local/lib/capturebot/[\w-]+ ""', one) for one in lines
    )
    assert not re.search(r"\*|ALL *$|\bSETENV|/(ba)?sh\b|tcpdump|gdb", rules.replace("ALL=(root)", ""))


def test_every_step_that_sees_more_as_root_runs_as_root(facts: dict[str, Any]) -> None:
    """Over a real sshd, as an account without any right of its own; none says that it had to do without."""
    names = {f"{grant.users[0].partition(':')[0]}" for grant in grants(load_folder(builtin_folder()).values(), None)}

    assert {name.partition(".")[0] for name in facts["runs"]} == names
    for name, run in facts["runs"].items():
        assert run["root"]["remark"] == "", name
        assert run["root"]["reason"] == "", name
        assert run["root"]["text"], name


def test_root_sees_what_the_account_does_not(facts: dict[str, Any]) -> None:
    """Whose socket it is that another user's process listens on."""
    sockets = facts["runs"]["host.sockets"]

    assert sockets["root"]["victim"]
    assert not sockets["alone"]["victim"]


def test_without_the_rules_a_step_runs_alone_and_says_so(facts: dict[str, Any]) -> None:
    """It keeps what the account may see."""
    assert facts["refused"]["reason"] == ""
    assert facts["refused"]["text"] > 0
    assert facts["refused"]["remark"].startswith("It ran without root: sudo on db1 does not let us run /usr/local/lib/")


def test_doctor_prints_what_mends_it_and_is_content_afterwards(facts: dict[str, Any]) -> None:
    """One line a recipe before, with the command; none after."""
    before, after = facts["before"][1:], facts["after"][1:]

    assert all("sudo does not let capture run /usr/local/lib/capturebot/" in line for line in before)
    assert all(line.endswith(" — capturebot sudoers --target db1 --install | ssh root@127.0.0.1 sh") for line in before)
    assert after == ["ok: files works", "ok: logs works"]


@pytest.mark.parametrize(("how", "outcome"), [("stopped", "stopped"), ("overran", "timed_out")])
def test_what_runs_as_root_is_ended_and_proved_like_any_step(facts: dict[str, Any], how: str, outcome: str) -> None:
    """Though the account may send no signal to it; its folder is gone too."""
    ended = facts[how]

    assert ended["outcome"] == outcome
    assert ended["pids"] > 1
    assert re.fullmatch(r"process group \d+ (gone|was gone already)( after \w+)?", ended["proof"])
    assert ended["gone"]
    assert ended["left"] == []


def test_no_way_leads_from_the_rules_to_a_shell(facts: dict[str, Any]) -> None:
    """Each is refused, or ends as the program that it is, and nothing else was run."""
    ways = cast("dict[str, dict[str, Any]]", facts["escapes"]["ways"])

    assert not facts["escapes"]["canary"]
    assert {name for name, way in ways.items() if way["status"] not in REFUSED} <= RAN
    assert all(way["said"] for name, way in ways.items() if name not in RAN)


def test_the_folder_is_roots(tmp_path: Path) -> None:
    """What is printed installs with an owner and a mode that nobody else may write."""
    done = subprocess.run(
        [sys.executable, "-m", "bot", "sudoers", "--install"], capture_output=True, text=True, check=True
    )
    program = tmp_path / "install.sh"
    program.write_text(done.stdout)

    checked = subprocess.run(["sh", "-n", program], capture_output=True, text=True, check=False)

    assert checked.stderr == ""
    assert "install -o root -g root -m 555" in done.stdout

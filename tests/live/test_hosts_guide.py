"""docs/hosts.md says nothing that does not work: its commands are run on a host of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, cast

import pytest

from bot.model import Target, TargetKind
from bot.recipes import builtin_folder, load_folder
from bot.settings import load
from bot.transports.becoming import program_of
from bot.transports.sshpool import SESSIONS
from tests.live.guided import GUIDE, blocks
from tests.live.test_sudoers import OWN
from tests.stage.machine import impossible

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    """What `tests.live.guided` found."""
    missing = [
        name
        for name in ("useradd", "setcap", "tcpdump")
        if not shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    ]
    lacks = impossible() or (f"{missing} missing: apt-get install passwd libcap2-bin tcpdump" if missing else "")
    if lacks:
        (pytest.fail if "CI" in os.environ else pytest.skip)(lacks)
    with tempfile.TemporaryDirectory(prefix="guided-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)  # the account goes through it
        done = subprocess.run(
            [*OWN, sys.executable, "-m", "tests.live.guided", folder],
            capture_output=True, text=True, check=False, timeout=100,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return cast("dict[str, Any]", json.loads(done.stdout))


def test_the_account_is_made_and_logs_in_as_the_guide_says(facts: dict[str, Any]) -> None:
    """With a key that may do nothing else, and a step runs as it."""
    assert facts["errors"] == []
    assert facts["sshd"] == ""
    assert facts["doctor"][1] == f"ok: db1 runs commands as capture (uid {facts['doctor'][1].split('uid ')[1]}"
    assert facts["ran"] == "capture\n"


def test_groups_and_capabilities_are_what_the_guide_gives(facts: dict[str, Any]) -> None:
    """Each line of its table, and the one for tcpdump."""
    assert facts["lines"] == 2
    assert set(facts["groups"]) == {"capture", "systemd-journal", "adm", "pcap"}
    assert "cap_net_admin,cap_net_raw=eip" in facts["capabilities"]


def test_every_recipe_that_gains_by_root_is_in_the_guide() -> None:
    """In its table, or in the list of those that leave a file."""
    library = load_folder(builtin_folder()).values()
    gaining = {recipe.name for recipe in library for step in recipe.steps if program_of(step, None)}
    files = {
        recipe.name
        for recipe in library
        if recipe.wants is TargetKind.HOST and recipe.name in {"tcpdump", "core", "java-heap", "dotnet-heap"}
    }

    assert all(f"`{name}`" in GUIDE for name in gaining | files)
    assert f"{SESSIONS} steps" in GUIDE.replace("eight steps", "8 steps")


def test_the_settings_in_the_guide_are_settings(tmp_path: Path) -> None:
    """`paths` and `become`, as they stand there."""
    targets = [load_settings(tmp_path, text) for text in blocks("yaml")]

    assert [bool(target.paths) for target in targets] == [True, False]
    assert [target.become for target in targets] == [False, True]


def load_settings(folder: Path, text: str) -> Target:
    """The target in a part of capturebot.yml."""
    config = folder / "capturebot.yml"
    config.write_text(f"folder: artifacts\n{text}")
    return load(config).targets["orders-db"]

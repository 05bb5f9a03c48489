"""Runs `leftovers_alone` where no other test's bot can see what it leaves: each bot ends what it finds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.test_sudoers import OWN
from tests.stage.machine import impossible

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

ALONE = Path(__file__).parent / "leftovers_alone.py"


def test_what_is_left_on_a_host_is_ended_and_told_at_the_next_contact(tmp_path: Path) -> None:
    """By a killed bot, over a cut network, over a lost connection; what still has its bot is left alone."""
    if lacks := impossible():
        (pytest.fail if "CI" in os.environ else pytest.skip)(lacks)
    pytest_inside = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--basetemp={tmp_path}/in",
        str(ALONE),
    ]

    done = subprocess.run([*OWN, *pytest_inside], capture_output=True, text=True, check=False, timeout=220)

    assert done.returncode == 0, done.stdout

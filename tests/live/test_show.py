"""`make run SCENE=NAME`: a scene in the playground, looked at through its door, and ended by Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import httpx
import psutil
import pytest

from tests.stage.machine import impossible

pytestmark = pytest.mark.live

SHOW = (sys.executable, "-m", "tests.stage.show")
PLAYED_S = 90.0
SCENE = "host-deleted-log"


@pytest.fixture
def private() -> None:
    """A private machine can be made here."""
    if why := impossible():
        pytest.skip(why)


@pytest.fixture
def shown(private: None) -> Iterator[subprocess.Popen[str]]:
    """A scene in the playground, left open."""
    with subprocess.Popen([*SHOW, SCENE, "--port", "0"], stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def lines_until(process: subprocess.Popen[str], wanted: str) -> list[str]:
    """What was printed, up to the line that holds *wanted*."""
    assert process.stdout
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if wanted in line:
            return lines
    pytest.fail("it ended after: " + "".join(lines))


@pytest.mark.timeout(PLAYED_S)
def test_a_scene_can_be_looked_at_and_leaves_nothing(shown: subprocess.Popen[str]) -> None:
    """Its page answers outside of its machine; Ctrl-C ends everything in there."""
    said = lines_until(shown, "The page:")
    (address,) = re.findall(r"http://127\.0\.0\.1:\d+/", said[-1])
    page, scenes = httpx.get(address), httpx.get(f"{address}scenes/")
    children = psutil.Process(shown.pid).children(recursive=True)
    os.kill(shown.pid, signal.SIGINT)
    status = shown.wait(PLAYED_S)

    assert any("✓ The first line names what is broken" in line for line in said)
    assert page.status_code == 200
    assert f"make run SCENE={SCENE}" in scenes.text
    assert status == 130
    assert len(children) > 3  # the machine, the bot and its servers
    assert psutil.wait_procs(children, timeout=5)[1] == []


def told(*arguments: str) -> tuple[int, str]:
    """Status and words of a show that does not come to pass."""
    done = subprocess.run([*SHOW, *arguments], capture_output=True, text=True, timeout=PLAYED_S, check=False)
    return done.returncode, done.stdout


def test_a_scene_that_is_not_there_is_told_with_the_nearest() -> None:
    """And nothing is started."""
    assert told("host-deleted-logs") == (2, f"There is no scene host-deleted-logs. Did you mean {SCENE}?\n")


def test_a_port_that_is_taken_is_told_with_its_cure(private: None) -> None:
    """Before anything is broken."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, words = told(SCENE, "--port", str(port))

    assert status == 2
    assert words == f"Port {port} is taken; choose another with ARGS='--port N' (0: any).\n"

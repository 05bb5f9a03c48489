"""The scripts of `captures/host.yml`, run here for real: they end in time, stay small, and see what is broken on purpose."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from bot.insights import Insight, Reading, sections
from bot.insights.disk import disk
from bot.insights.files import files
from bot.insights.kernel import kernel
from bot.insights.pressure import pressure
from bot.insights.processes import cpu, memory
from bot.insights.sockets import sockets
from bot.insights.units import units
from bot.model import Finding, Level

pytestmark = pytest.mark.live

CAPTURES = Path(__file__).parent.parent.parent / "captures"
STEPS = yaml.safe_load((CAPTURES / "host.yml").read_text())["steps"]
SIZES = {"kB": 1000, "MB": 1_000_000}
INSIGHTS: dict[str, Insight] = {
    "cpu": cpu, "memory": memory, "pressure": pressure, "disk": disk, "sockets": sockets, "files": files, "kernel": kernel, "units": units
}  # fmt: skip
READY_S = 10.0
SPENT_SHARE = 0.5  # of a step's timeout that a run on a busy machine may take


def missing(reason: str) -> None:
    """Skip with the reason; where everything should be there, fail."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def run(script: str, *, user: str | None = None) -> str:
    """Run one script and return what it printed; complaints of a program in it are a failure."""
    for program in ("bash", "ps", "top", "ss"):
        if not shutil.which(program):
            missing(f"{program} is not installed: apt-get install bash procps iproute2")
    text = (CAPTURES / script).read_text()
    done = subprocess.run(
        ["bash", "-c", text],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=True,
        text=True,
        cwd="/",
        user=user,
        group=pwd.getpwnam(user).pw_gid if user else None,
        extra_groups=[] if user else None,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
    )
    assert done.stderr == ""
    return done.stdout


def read(name: str, text: str) -> list[Finding]:
    """What the insight of a step says of its output."""
    return list(INSIGHTS[name](Reading(text=text, target="here")))


@contextmanager
def program(code: str) -> Iterator[subprocess.Popen[str]]:
    """A Python program that says "ready" when it has broken something; it dies with the test."""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout
            assert child.stdout.readline() == "ready\n"
            yield child
        finally:
            child.kill()


def until(seen: Callable[[], bool]) -> None:
    """Wait for something to be so, within bounds."""
    ends = time.monotonic() + READY_S
    while not seen():
        assert time.monotonic() < ends
        time.sleep(0.05)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: str(step["id"]))
@pytest.mark.parametrize("user", [None, "nobody"])
def test_a_script_ends_in_time_and_is_read(step: dict[str, Any], user: str | None) -> None:
    """As ourselves and as nobody; what nobody may not see is said and no failure."""
    if user and os.geteuid() != 0:
        pytest.skip("only root can try what another user sees")
    began = time.monotonic()

    text = run(step["script"], user=user)

    amount, unit = step["limit"].split()
    assert time.monotonic() - began < step["timeout"] * SPENT_SHARE
    assert len(text.encode()) < int(amount) * SIZES[unit]
    assert sections(text)
    assert all(finding.text.isprintable() for finding in read(step["id"], text))


@pytest.mark.parametrize("script", ["host-sockets.sh", "host-files.sh"])
def test_an_ordinary_user_is_told_what_cannot_be_seen(script: str) -> None:
    """A list that is not whole says so."""
    if os.geteuid() != 0:
        pytest.skip("only root can try what another user sees")

    (unseen,) = (section for section in sections(run(script, user="nobody")) if section.name == "unseen")

    assert unseen.body.startswith("not shown without root: ")


def test_a_cpu_hog_is_named() -> None:
    """A process that never rests is found among the first, by its pid."""
    hog = "import os\nprint('ready', flush=True)\nwhile os.getppid() != 1: pass"
    with program(hog) as child:
        (frame,) = (section for section in sections(run("host-cpu.sh")) if section.name == "top")

    leaders = [line.split()[0] for line in frame.body.split("\n") if re.match(r" *\d+ ", line)][:5]
    assert str(child.pid) in leaders


def test_a_descriptor_leak_is_named_with_its_limit() -> None:
    """A process that has nearly used up what it may open."""
    leak = (
        "import resource, time\nresource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))\n"
        "kept = [open('/dev/null') for _ in range(500)]\nprint('ready', flush=True)\ntime.sleep(60)"
    )
    with program(leak) as child:
        found = [finding for finding in read("files", run("host-files.sh")) if f"(pid {child.pid}," in finding.text]

    assert [finding.level for finding in found] == [Level.BAD]
    assert " of 512 files open, " in found[0].text


def test_a_full_file_system_is_named(tmp_path: Path) -> None:
    """A tmpfs of 8 MB with not a byte left."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a tmpfs")
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", tmp_path], capture_output=True, check=False
    ).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with suppress(OSError), (tmp_path / "fill").open("wb", buffering=0) as fill:
            for _ in range(9):
                fill.write(bytes(1 << 20))
        text = run("host-disk.sh")
    finally:
        subprocess.run(["umount", tmp_path], check=True)

    assert any(
        finding.level is Level.BAD and " is full: 100 % of 8.4 MB used" in finding.text
        for finding in read("disk", text)
    )


def test_sockets_that_are_never_closed_are_named() -> None:
    """The other side has closed 120 connections, the process has not."""
    leak = (
        "import socket, time\nserver = socket.create_server(('127.0.0.1', 0), backlog=200)\n"
        "ours = [socket.create_connection(server.getsockname()) for _ in range(120)]\n"
        "theirs = [server.accept()[0] for _ in ours]\n[each.close() for each in theirs]\nprint('ready', flush=True)\ntime.sleep(60)"
    )
    with program(leak) as child:
        process = psutil.Process(child.pid)
        until(lambda: sum(c.status == psutil.CONN_CLOSE_WAIT for c in process.net_connections("tcp")) == 120)

        found = [finding for finding in read("sockets", run("host-sockets.sh")) if f"(pid {child.pid})" in finding.text]

    assert [finding.level for finding in found] == [Level.WARN]
    assert "holds 120 sockets in CLOSE-WAIT" in found[0].text


def test_a_hostile_process_name_breaks_no_table() -> None:
    """A name with tabs, newlines and an escape sequence stays one cell, and one line for people."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = (
            "import socket, time, sys, resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))\n"
            "open('/proc/self/comm', 'w').write('a\\tb\\n\\x1b[31m)\"(')\n"
            f"kept = [socket.create_connection(('127.0.0.1', {port}))] + [open('/dev/null') for _ in range(500)]\n"
            "print('ready', flush=True)\ntime.sleep(60)"
        )
        with program(code) as child:
            found = [finding for finding in read("files", run("host-files.sh")) if f"(pid {child.pid}," in finding.text]
            text = run("host-sockets.sh")

    assert len(found) == 1
    assert found[0].text.isprintable()
    assert all(finding.text.isprintable() for finding in read("sockets", text))

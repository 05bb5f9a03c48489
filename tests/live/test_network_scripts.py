"""The scripts of `captures/net.yml` and `captures/files.yml`, run for real; each in a network of its own, where nothing is sent outside."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from bot.errors import UserError
from bot.insights import Reading, sections
from bot.insights.files import files
from bot.insights.network import interfaces, names, routes
from bot.insights.sockets import peers
from bot.model import Finding, Level, Script, Step, Target
from bot.recipes import load_folder
from bot.recipes.parameters import bind, bind_parameters
from bot.transports.local import LocalTransport
from tests.steps import first_line, gone, keep_rest

pytestmark = pytest.mark.live

CAPTURES = Path(__file__).parent.parent.parent / "captures"
RECIPES = load_folder(CAPTURES)
INSIGHTS = {
    "net-sockets": peers,
    "net-interfaces": interfaces,
    "net-names": names,
    "net-routes": routes,
    "host-files": files,
}
SS = sorted((Path(__file__).parent / "ss").glob("*.txt"))
FAKE_SS = """\
#!/bin/sh
case $* in -Htanpi) cat {folder}/first ;; -Htni) sed 's/ users:.*//' {folder}/second ;; esac
"""
HERE = Target(name="here", local=True)
SECONDS = "2"
STEPS = [(name, step.id) for name in ("net", "files") for step in RECIPES[name].steps]


def bound(recipe: str, step: str, **given: str) -> Step:
    """A step with its parameters."""
    values = bind_parameters(RECIPES[recipe], {"seconds": SECONDS, **given})
    return next(bind(each, values) for each in RECIPES[recipe].steps if each.id == step)


def run(recipe: str, step: str, *, user: str = "root", path: str = "", **given: str) -> str:
    """What a script prints, alone in its network; complaints of a program in it are a failure."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a network of its own, and try what another user sees")
    action = bound(recipe, step, **given).action
    assert isinstance(action, Script)
    become = ("setpriv", "--reuid", user, "--regid", "nogroup" if user == "nobody" else user, "--clear-groups")
    argv = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *become, "bash", "-c", action.text)
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        text=True,
        cwd="/",
        check=False,
        env={"PATH": f"{path}{os.environ['PATH']}:/usr/sbin:/sbin", "LC_ALL": "C", **action.env},
    )
    if done.stderr.startswith("unshare:"):
        pytest.skip(f"there can be no network of its own here: {done.stderr.strip()}")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def read(recipe: str, step: str, text: str) -> list[Finding]:
    """What the insight of a step says of its output."""
    insight = bound(recipe, step).insight
    assert insight is not None
    return list(INSIGHTS[insight](Reading(text=text, target="here")))


@contextmanager
def program(code: str, *arguments: str) -> Iterator[int]:
    """A Python program that says "ready" and stays; it dies with the test."""
    with subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout
            assert child.stdout.readline() == "ready\n"
            yield child.pid
        finally:
            child.kill()


IDLE = "import time\nkept = [open('/dev/null') for _ in range(20)]\nprint('ready', flush=True)\ntime.sleep(60)"
LEAK = """\
import time
kept = [open('/dev/null') for _ in range(150)]
print('ready', flush=True)
while True:
    kept.append(open('/dev/null'))
    time.sleep(0.02)
"""


# --- all of them ------------------------------------------------------------------------------


@pytest.mark.parametrize(("recipe", "step"), STEPS)
@pytest.mark.parametrize("user", ["root", "nobody"])
def test_a_script_ends_in_time_and_is_read(recipe: str, step: str, user: str) -> None:
    """As root and as nobody; that a list is not whole for nobody is said, and no failure."""
    began = time.monotonic()

    text = run(recipe, step, user=user)

    one = bound(recipe, step)
    assert time.monotonic() - began < one.timeout_s / 2
    assert len(text.encode()) < one.limit_bytes
    assert sections(text)
    said = read(recipe, step, text)
    assert all(finding.text.isprintable() for finding in said)
    unseen = [finding.level for finding in said if "not shown without root" in finding.text]
    assert unseen == [Level.INFO] * (user == "nobody" and step in {"sockets", "files"})


# --- sockets ----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", SS, ids=lambda path: str(path.stem))
def test_retransmissions_are_found_in_what_any_version_of_ss_prints(version: Path, tmp_path: Path) -> None:
    """Two looks at a connection that sent fifty of 500 segments again in between."""
    printed = version.read_text()
    (tmp_path / "first").write_text(printed.replace("@SEGMENTS@", "1000").replace("@AGAIN@", "100"))
    (tmp_path / "second").write_text(printed.replace("@SEGMENTS@", "1500").replace("@AGAIN@", "150"))
    (tmp_path / "ss").write_text(FAKE_SS.format(folder=tmp_path))
    (tmp_path / "ss").chmod(0o755)

    text = run("net", "sockets", path=f"{tmp_path}:")

    said = [each for each in read("net", "sockets", text) if "not in this; " not in each.text]
    assert [finding.text.replace("[::ffff:10.0.0.7]", "10.0.0.7") for finding in said] == [
        "orders-api (pid 812) sends 10 % of its segments to 10.0.0.7:5432 again: packets are lost on that way",
        "orders-api (pid 812) has 1 connection to 10.0.0.7:5432, the most of all",
    ]
    assert "50 of 500 segments again, on 1 connection, round trip 0.431 ms" in said[0].evidence[0]
    assert [each.parameters.get("host") for each in said[0].next] == [None, "10.0.0.7"]


# --- names ------------------------------------------------------------------------------------


def test_a_name_that_looks_like_an_option_is_none() -> None:
    """A parameter is matched before it reaches a program."""
    with pytest.raises(UserError, match="name"):
        bound("net", "names", name="-v")


# --- files ------------------------------------------------------------------------------------


def test_one_process_is_told_by_what_it_has_open() -> None:
    """Named by a part of its command line, though it is well."""
    mark = f"orders-{os.getpid()}"
    with program(IDLE, mark) as pid:
        text = run("files", "files", app=mark)

    (finding,) = read("files", "files", text)
    assert finding.level is Level.INFO
    assert re.search(rf"\(pid {pid}, user root\) has 2\d of [\d,]+ files open, as many as 2 s before$", finding.text)
    assert re.search(rf"^{pid}\t2[01]\tfile\t/dev/null$", text, re.MULTILINE)


def test_several_that_match_are_offered_and_none_is_looked_at() -> None:
    """A button for each."""
    mark = f"orders-{os.getpid()}"
    with program(IDLE, mark) as one, program(IDLE, mark) as other:
        text = run("files", "files", app=mark)

    (finding,) = read("files", "files", text)
    assert finding.level is Level.WARN
    assert finding.text.startswith("2 processes match; name one: /capture files here pid=")
    assert {each.parameters["pid"] for each in finding.next} == {one, other}
    assert [section.name for section in sections(text)] == ["candidates"]


def test_a_process_that_is_gone_is_said_plainly() -> None:
    """A number mistyped."""
    (finding,) = read("files", "files", run("files", "files", pid="4194304"))

    assert finding.text.startswith("No process has pid 4194304 here any more")


def test_files_that_may_not_be_seen_are_not_called_well() -> None:
    """Nobody asks for a process of root."""
    with program(IDLE) as pid:
        (finding, _) = read("files", "files", run("files", "files", user="nobody", pid=str(pid)))

    assert finding.level is Level.WARN
    assert finding.text.endswith(f"(pid {pid}) has open cannot be seen: it belongs to root, or has ended")


def test_a_leak_is_told_with_its_rate_whoever_looks() -> None:
    """Fifty files a second, seen by their own user too, without lsof on the path."""
    with program(LEAK) as pid:
        text = run("files", "files", pid=str(pid))

    (finding,) = read("files", "files", text)
    assert re.search(rf"\(pid {pid}, user root\) opens [2-5]\d files a second more than it closes: ", finding.text)
    assert finding.text.endswith("; most: /dev/null")


# --- stopping ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("recipe", "step"), [("net", "sockets"), ("net", "interfaces"), ("files", "files")])
async def test_stopped_halfway_it_leaves_nothing_and_keeps_what_came(recipe: str, step: str) -> None:
    """While it sleeps between two looks."""
    execution = await LocalTransport().start(HERE, bound(recipe, step, seconds="30"), capture_id="c1")
    output = execution.output()
    first = await first_line(output)
    children = await asyncio.to_thread(_children)

    proof = await execution.stop()

    kept = await keep_rest(output)
    assert first.startswith(b"### ")
    assert "gone" in proof
    assert kept.reason.endswith("was stopped on here.")
    assert children
    assert await gone(*children)


def _children() -> list[int]:
    """Processes below this one."""
    return [child.pid for child in psutil.Process().children(recursive=True)]

"""Which files may be read as logs: judged on the host, on the file that was opened, whatever its name leads to."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.model import Log, Script, Step, Target, TargetKind
from bot.recipes import bind, bind_parameters, builtin_folder, load_folder
from bot.settings import load
from bot.transports.local import LocalTransport
from bot.transports.reading import expression
from tests.steps import Kept, a_step, keep, start

pytestmark = pytest.mark.thorough

SECRET = "root:x:secret"
GOOD = "an ordinary line"
# Turns a name and a folder's name from one thing into another, as fast as it can, until its input ends.
RACER = """
import os, sys, threading
name, folder, good, bad = sys.argv[1:]
going = True
def race():
    n = 0
    while going:
        n += 1
        for link, end in ((name, good), (folder, os.path.dirname(good))), ((name, bad), (folder, os.path.dirname(bad))):
            for each, to in (link, end):
                os.symlink(to, each + ".new")
                os.replace(each + ".new", each)
thread = threading.Thread(target=race)
thread.start()
print("racing", flush=True)
sys.stdin.read()
going = False
thread.join()
"""


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A folder that may be read, with a log; beside it one that may not, with a file that is like one."""
    for name, text in (("logs", GOOD), ("etc", SECRET)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "app.log").write_text(f"{text}\n")
    return tmp_path / "logs"


def target_of(logs: Path) -> Target:
    """The machine here, where only those logs may be read."""
    return Target(name="here", local=True, paths=(f"{logs}/**",))


async def log_step(logs: Path, path: object) -> Kept:
    """What a step `log: {path: …}` gives."""
    return await keep(await start(LocalTransport(), target_of(logs), a_step(Log(path=str(path), last_bytes=None))))


async def logs_recipe(logs: Path, path: object) -> str:
    """What `/capture logs path=…` gives."""
    recipe = load_folder(builtin_folder())["logs"]
    step = bind(recipe.steps[0], bind_parameters(recipe, {"path": str(path)}))
    kept = await keep(await start(LocalTransport(), target_of(logs), step))
    return kept.output.decode() + kept.reason


# --- the expression -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("/var/log/**", ["/var/log/a", "/var/log/a/b.log"], ["/var/log", "/var/logs/a", "/x/var/log/a"]),
        (
            "/srv/*/logs/*.log",
            ["/srv/a/logs/b.log"],
            ["/srv/a/b/logs/c.log", "/srv/a/logs/d/e.log", "/srv/a/logs/flog"],
        ),
        ("/srv/**/logs/a", ["/srv/logs/a", "/srv/x/y/logs/a"], ["/srv/xlogs/a"]),
        ("/a.b+c", ["/a.b+c"], ["/axb+c", "/a.bbc"]),
        ("/a/b?", ["/a/b1"], ["/a/b/", "/a/b"]),
    ],
)
def test_a_pattern_means_what_it_looks_like(pattern: str, matching: list[str], others: list[str]) -> None:
    """A star stays within a name, two cross folders; grep and bash agree."""
    regex = expression([pattern])
    asked = "\n".join([*matching, *others])
    grep = subprocess.run(["grep", "-E", "-e", regex], input=asked, capture_output=True, text=True, check=False)
    bash = subprocess.run(
        ["bash", "-c", 'while IFS= read -r each; do [[ ! $each =~ $0 ]] || echo "$each"; done', regex],
        input=f"{asked}\n", capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert grep.stdout.splitlines() == matching
    assert bash.stdout.splitlines() == matching


@given(st.lists(st.text("abc.+-_@ %=,:~/", min_size=1, max_size=12).map(lambda text: f"/{text}"), min_size=1))
def test_what_is_no_pattern_matches_only_itself(paths: list[str]) -> None:
    """No character of a path means anything to the expression."""
    regex = re.compile(expression(paths))

    assert all(regex.fullmatch(path) for path in paths)
    assert not any(regex.fullmatch(path + "x") for path in paths if path + "x" not in paths)


def test_paths_are_settings_of_a_target(tmp_path: Path) -> None:
    """None where nobody wrote any."""
    config = tmp_path / "capturebot.yml"
    config.write_text("targets: {a: {local: true, paths: [/var/log/**]}, b: {local: true}}\nfolder: x\n")

    targets = load(config).targets

    assert (targets["a"].paths, targets["b"].paths) == (("/var/log/**",), None)


# --- what is refused ------------------------------------------------------------------------------


@contextmanager
def laid(logs: Path, kind: str) -> Iterator[Path]:
    """A trap below the folder that may be read."""
    trap, secret = logs / "trap.log", logs.parent / "etc" / "app.log"
    match kind:
        case "traversal":
            trap = logs / ".." / "etc" / "app.log"
        case "outside":
            trap = secret
        case "link":
            trap.symlink_to(secret)
        case "linked folder":
            (logs / "more").symlink_to(secret.parent)
            trap = logs / "more" / "app.log"
        case "link to /proc":
            trap.symlink_to("/proc/self/environ")
        case "hard link":
            trap.hardlink_to(secret)
        case "fifo":
            os.mkfifo(trap)
        case "device":
            trap.symlink_to("/dev/zero")
        case "folder":
            trap.mkdir()
        case "odd name":
            trap = logs / "trap\n.log"
            trap.write_text(SECRET)
    yield trap


REFUSALS = {
    "traversal": "is not among the paths that may be read here: add it to paths: of this target",
    "outside": "is not among the paths that may be read here",
    "link": "leads to ",
    "linked folder": "is not among the paths that may be read here",
    "link to /proc": "is not ",
    "hard link": "has 2 names (hard links), so that it may belong elsewhere",
    "fifo": "is not a regular file",
    "device": "is not a regular file",
    "folder": "is not a regular file",
}


@pytest.mark.parametrize(("kind", "reason"), [*REFUSALS.items(), ("odd name", "has a control character in its name")])
async def test_a_log_step_reads_nothing_beside_its_paths(logs: Path, kind: str, reason: str) -> None:
    """Each trap is refused with a sentence."""
    with laid(logs, kind) as trap:
        kept = await log_step(logs, trap)

    assert reason in kept.reason
    assert SECRET.encode() not in kept.output


@pytest.mark.parametrize(("kind", "reason"), [(kind, REFUSALS[kind]) for kind in REFUSALS if kind != "traversal"])
async def test_the_logs_recipe_reads_nothing_beside_its_paths(logs: Path, kind: str, reason: str) -> None:
    """Whatever a person names in the chat."""
    with laid(logs, kind) as trap:
        said = await logs_recipe(logs, trap)

    assert reason in said
    assert SECRET not in said


async def test_what_may_be_read_is_read(logs: Path) -> None:
    """Also over a link that stays within."""
    (logs / "current.log").symlink_to(logs / "app.log")

    step = await log_step(logs, logs / "current.log")
    recipe = await logs_recipe(logs, logs / "current.log")

    assert step.output.decode() == f"{GOOD}\n"
    assert GOOD in recipe


@pytest.fixture
def race(logs: Path) -> Iterator[None]:
    """A process that swaps a file and a folder of the logs for others, again and again."""
    ends = [str(logs / "app.log"), str(logs.parent / "etc" / "app.log")]
    racer = subprocess.Popen(
        [sys.executable, "-c", RACER, str(logs / "swap.log"), str(logs / "swap"), *ends],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert racer.stdout
    assert racer.stdout.readline() == b"racing\n"
    yield
    racer.communicate()


@pytest.mark.usefixtures("race")
async def test_a_link_that_changes_all_the_time_gives_nothing_away(logs: Path) -> None:
    """What was judged is what is read: it is the log, or it is refused."""
    kept = [await log_step(logs, logs / name) for _ in range(12) for name in ("swap.log", "swap/app.log")]
    said = [await logs_recipe(logs, logs / "swap.log") for _ in range(3)]

    outputs = [each.output.decode() for each in kept]
    assert not any(SECRET in text for text in [*outputs, *said])
    assert all(text == f"{GOOD}\n" or "is not among the paths" in text for text in outputs)
    assert len(set(outputs)) > 1


def test_only_scripts_that_read_what_people_name_are_told_the_paths() -> None:
    """Every recipe for Linux that opens a file by a parameter knows CAPTURE_PATHS; a Windows target has no `paths:`."""
    library = load_folder(builtin_folder())
    told = {
        name for name, recipe in library.items() for step in recipe.steps if "CAPTURE_PATHS" in _text(step)
    }  # fmt: skip

    assert told == {
        name
        for name, recipe in library.items()
        if recipe.wants is not TargetKind.WINDOWS and {"path", "file"} & {one.name for one in recipe.parameters}
    }


def _text(step: Step) -> str:
    return step.action.text if isinstance(step.action, Script) else ""

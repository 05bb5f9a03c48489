"""`capturebot run` as a process of its own: signals in the middle, and progress in a real terminal."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import sys
from pathlib import Path

import psutil
import pytest
import yaml

from tests.faults import until

pytestmark = pytest.mark.live

WITHIN_S = 30.0
STEP = {"title": "Waiting", "timeout": 120, "limit": "10 kB"}


def lay_out(folder: Path) -> None:
    """A configuration with a recipe that says who it is and then waits, and one that is quick."""
    (folder / "mine").mkdir()
    head = {"title": "Probe", "about": "For tests.", "for": "host", "impact": "none"}
    (folder / "mine/slow.sh").write_text(f"echo $$ >{folder}/pid.new\nmv {folder}/pid.new {folder}/pid\nsleep 300\n")
    slow = {**head, "steps": [{**STEP, "id": "slow", "script": "slow.sh"}]}
    quick = {**head, "steps": [{**STEP, "id": "quick", "run": ["sleep", "0.5"]}]}
    (folder / "mine/dear-cost.sh").write_text("echo pause_s=3\n")
    cost = {"script": "dear-cost.sh", "timeout": 5}
    dear = {**head, "impact": "pauses", "cost": cost, "steps": [{**STEP, "id": "dear", "run": ["uptime"]}]}
    (folder / "mine/dear.yml").write_text(yaml.safe_dump(dear))
    (folder / "mine/slow.yml").write_text(yaml.safe_dump(slow))
    (folder / "mine/quick.yml").write_text(yaml.safe_dump(quick))
    config = {
        "recipes": ["mine"],
        "folder": "artifacts",
        "journal": "sqlite:///journal.db",
        "targets": {"here": {"local": True}},
    }
    (folder / "capturebot.yml").write_text(yaml.safe_dump(config))


async def started(
    folder: Path, *words: str, stdout: int = asyncio.subprocess.PIPE, stdin: int = asyncio.subprocess.DEVNULL
) -> asyncio.subprocess.Process:
    """`capturebot run` in *folder*."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "--config", str(folder / "capturebot.yml"), "run", *words),
        stdin=stdin,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
        # Who runs the tests in the background has them ignore Ctrl-C, and they would pass that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_in_the_middle_ends_the_step_and_proves_it(tmp_path: Path, sign: signal.Signals) -> None:
    """Ctrl-C, a service manager, a closed terminal: the end is told, the status is 130, and nothing is left."""
    lay_out(tmp_path)
    process = await started(tmp_path, "slow", "here", "--json")
    await until((tmp_path / "pid").exists, within_s=WITHIN_S)
    script = psutil.Process(int((tmp_path / "pid").read_text()))
    left = [script, *script.children(recursive=True)]

    process.send_signal(sign)
    process.send_signal(sign)  # whoever presses twice does no harm
    out, err = await process.communicate()

    told = json.loads(out)
    assert (process.returncode, err) == (130, b"")
    assert (told["state"], told["results"][0]["outcome"]) == ("stopped", "stopped")
    assert re.fullmatch(r"process group \d+ gone( after TERM)?", told["results"][0]["stop_proof"])
    assert [one for one in left if one.is_running()] == []


async def test_a_terminal_shows_progress_and_then_the_whole_story(tmp_path: Path) -> None:
    """The drawing is gone at the end, and the cursor is back."""
    lay_out(tmp_path)
    ours, theirs = pty.openpty()
    process = await started(tmp_path, "quick", "here", stdout=theirs)
    os.close(theirs)

    shown = await asyncio.to_thread(read_all, ours)
    await process.wait()

    assert process.returncode == 0
    assert "⏳ quick on here: running" in shown
    assert shown.count("✅ quick on here: complete") == 1
    assert shown.rfind("\033[?25h") > shown.rfind("\033[?25l") > -1


@pytest.mark.parametrize(("answer", "status", "end"), [(b"y\n", 0, "✅ dear on here: complete"), (b"\n", 2, "")])
async def test_a_terminal_is_asked_to_agree_to_a_cost(tmp_path: Path, answer: bytes, status: int, end: str) -> None:
    """The question comes after the measured cost; anything but a yes is a no."""
    lay_out(tmp_path)
    ours, theirs = pty.openpty()
    process = await started(tmp_path, "dear", "here", stdout=theirs, stdin=theirs)
    os.close(theirs)
    os.write(ours, answer)  # the terminal keeps it until somebody reads

    shown = await asyncio.to_thread(read_all, ours)
    _, err = await process.communicate()

    assert "⚖️ dear on here: stops the process for about 3 s." in shown
    assert "Capture now? [y/N]" in shown
    assert process.returncode == status
    assert (end in shown, err) == (True, b"" if end else b"Nothing was captured.\n")


async def test_a_question_can_be_broken_off(tmp_path: Path) -> None:
    """Ctrl-C is a no too."""
    lay_out(tmp_path)
    ours, theirs = pty.openpty()
    process = await started(tmp_path, "dear", "here", stdout=theirs, stdin=theirs)
    os.close(theirs)
    shown = b""
    while b"[y/N]" not in shown:
        shown += await asyncio.to_thread(os.read, ours, 65536)

    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()

    assert (process.returncode, err) == (130, b"")
    assert not (tmp_path / "artifacts").exists()
    os.close(ours)


def read_all(terminal: int) -> str:
    """Everything that is written to a terminal until its other side is closed."""
    shown = bytearray()
    try:
        while piece := os.read(terminal, 65536):
            shown += piece
    except OSError:  # EIO: the last writer is gone
        pass
    finally:
        os.close(terminal)
    return shown.decode()

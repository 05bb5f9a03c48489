"""Who is dead is known at once, and nobody who lives is taken for dead."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bot.alive import SignOfLife

CHILD = """
import sys, pathlib, bot.alive
sign = bot.alive.SignOfLife(pathlib.Path(sys.argv[1]))
print(sign.name, flush=True)
sys.stdin.read()
"""


def test_who_lives_is_not_gone_and_who_left_is(tmp_path: Path) -> None:
    """Also in the eyes of the same process."""
    one, two = SignOfLife(tmp_path), SignOfLife(tmp_path)

    alive = one.is_gone(two.name), one.is_gone(one.name)
    two.close()

    assert alive == (False, False)
    assert one.is_gone(two.name)
    one.close()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_is_gone_before_its_parent_has_looked(tmp_path: Path) -> None:
    """Its entry in the table of processes may stay for long."""
    mine = SignOfLife(tmp_path)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout
    name = child.stdout.readline().strip()
    alive = mine.is_gone(name)

    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    assert not alive
    assert mine.is_gone(name)
    assert mine.is_gone(name)
    child.communicate()
    mine.close()


def test_a_child_of_a_dead_process_does_not_keep_it_alive(tmp_path: Path) -> None:
    """A step that still runs inherits no sign of life."""
    sign, mine = SignOfLife(tmp_path), SignOfLife(tmp_path)
    step = subprocess.Popen(["sleep", "60"], close_fds=False)

    os.close(sign._lock)  # as the kernel does it
    gone = mine.is_gone(sign.name)

    step.kill()
    step.wait()
    assert gone
    mine.close()


def test_one_that_is_taken_for_dead_while_it_is_born_makes_its_sign_anew(tmp_path: Path) -> None:
    """Between its file and its lock somebody else may look."""
    mine = SignOfLife(tmp_path)
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            for path in tmp_path.iterdir():
                mine.is_gone(path.name.replace("+", "/"))

    looking = threading.Thread(target=look)
    looking.start()
    born = [SignOfLife(tmp_path) for _ in range(100)]
    stop.set()
    looking.join()

    assert not any(mine.is_gone(one.name) for one in born)
    for one in [mine, *born]:
        one.close()


def test_without_a_folder_nothing_is_known() -> None:
    """A journal on another machine has no place for locks: only silence tells."""
    assert not SignOfLife(None).is_gone("somebody/1/abcd")


def test_a_folder_that_may_not_be_used_says_so(tmp_path: Path) -> None:
    """Where there is no folder for it at all."""
    with pytest.raises(OSError, match="missing"):
        SignOfLife(tmp_path / "missing" / "alive")

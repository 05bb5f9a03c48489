"""A nursery of bots that die on purpose: run as `python -m tests.live.dying_bot`, and fed a line of JSON a bot.

Each bot is the real `capturebot serve` in a process of its own, forked from here, because loading
all of it anew takes seconds. It pulls its own plug (SIGKILL, so nothing of it gets to say goodbye)
at an exact place of what it writes to the journal, which it watches through SQLAlchemy's events:

- ``{"after": 4}``: the fourth event of the captures that it accepted itself is committed;
- ``{"before": "step_finished", "nth": 2}``: that event is about to be written for the second time.
  The step's output is stored by then, and nobody knows;
- ``{"before": "slack", "nth": 1}``: what that reporter remembers of such a capture is about to be
  written. Slack has its messages by then, and nobody knows; ``slack reply``: one in the thread, too;
- ``{"before": "approval_ruled"}``, ``{"before": "approvals"}``: the same of any request for an approval.

For each bot its pid is printed, and once more with its exit status (negative: the signal) when it is dead.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import uvloop  # noqa: F401  loaded here, once, as is the next
from sqlalchemy import Engine, event
from sqlalchemy.pool import Pool

import bot.serving  # noqa: F401
from bot import cli


@dataclass
class Plug:
    """Counts what is written, and pulls itself."""

    after: int = 0
    before: str = ""
    nth: int = 1
    own: set[str] = field(default_factory=set)  # captures that were accepted by this process
    events: int = 0
    is_armed: bool = False

    def insert(self) -> None:
        """Watch every statement, and every end of a transaction."""
        event.listen(Engine, "before_cursor_execute", self.see)
        event.listen(Pool, "checkin", self.see_committed)

    def see(self, _connection: Any, _cursor: Any, statement: str, _values: Any, context: Any, _many: bool) -> None:  # noqa: FBT001  SQLAlchemy's signature
        """Look at a statement before it is sent."""
        if not statement.startswith(("INSERT INTO events", "UPDATE memories")):
            return
        (row,) = context.compiled_parameters
        if statement.startswith("INSERT"):
            if row["type"] == "accepted":
                self.own.add(row["capture_id"])
            if row["capture_id"] in self.own:
                self.events += 1
                self.is_armed = self.events == self.after
                self.count(row["type"])
            elif row["type"].startswith("approval"):
                self.count(row["type"])
        elif row["topic"] in self.own or row["reporter"] == "approvals":
            self.count(row["reporter"])
            if "reply-0" in row["body"]:
                self.count("slack reply")

    def see_committed(self, _connection: Any, _record: Any) -> None:
        """The transaction is over."""
        if self.is_armed:
            os.kill(os.getpid(), signal.SIGKILL)

    def count(self, what: str) -> None:
        """Something is about to be written."""
        if what == self.before:
            self.nth -= 1
            if self.nth == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def live(job: dict[str, Any]) -> int:
    """Be the bot that *job* describes, as long as it lasts."""
    os.environ.update(job["environ"])
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(log, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    Plug(**job["plug"]).insert()
    return cli.main(["--config", job["config"], "serve"])


def report_dead(*_: object) -> None:
    """Print the pid and the exit status of every bot that died."""
    with suppress(ChildProcessError):  # none is left
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            os.write(1, f"{found[0]} {os.waitstatus_to_exitcode(found[1])}\n".encode())


def main() -> None:
    """Raise a bot for each line."""
    signal.signal(signal.SIGCHLD, report_dead)
    for line in sys.stdin:
        if (pid := os.fork()) == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os._exit(live(json.loads(line)))
        os.write(1, f"{pid}\n".encode())


if __name__ == "__main__":
    main()

"""The journal in a real PostgreSQL: one chain of several processes' rows, and an older journal that is sealed."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from bot.errors import JournalError
from bot.journal import Journal
from bot.journal.looking import opened
from bot.journal.proof import Proof, prove
from bot.model import Started
from tests.fakes import AT, a_capture, accepted

pytestmark = pytest.mark.live

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
START_S = 30.0
PROCESSES, EVENTS = 3, 40


def as_user(folder: Path) -> list[str]:
    """What to put before a command: PostgreSQL does not run as root."""
    if os.getuid() != 0:
        return []
    user = pwd.getpwnam("nobody")
    for one in (folder, *folder.rglob("*")):
        os.chown(one, user.pw_uid, user.pw_gid)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server of our own, which listens on a socket in its folder only."""
    if importlib.util.find_spec("psycopg") is None:  # who keeps the journal there installs it; few do
        pytest.skip("this test needs PostgreSQL's driver: pip install 'psycopg[binary]'")
    if not BINARIES:
        reason = "this test needs PostgreSQL: apt-get install postgresql"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    folder = Path("/tmp/capturebot-postgresql") / str(os.getpid())  # a socket's path may have some 100 characters
    with ExitStack() as stack:
        folder.mkdir(parents=True, mode=0o755)
        stack.callback(shutil.rmtree, folder)
        before = as_user(folder)
        made = [
            *before,
            str(BINARIES[0] / "initdb"),
            "-D",
            str(folder / "data"),
            "-U",
            "bot",
            "--no-sync",
            "-A",
            "trust",
        ]
        subprocess.run(made, check=True, capture_output=True, cwd=folder)
        command = [
            str(BINARIES[0] / "postgres"),
            "-D",
            str(folder / "data"),
            "-k",
            str(folder),
            "-c",
            "listen_addresses=",
        ]
        process = subprocess.Popen([*before, *command, "-F"], cwd=folder, stderr=subprocess.DEVNULL)
        stack.callback(process.wait, 20)
        stack.callback(process.terminate)
        ready = [str(BINARIES[0] / "pg_isready"), "-q", "-h", str(folder)]
        deadline = time.monotonic() + START_S
        while subprocess.run(ready, check=False, capture_output=True).returncode:
            assert process.poll() is None, "it ended"
            assert time.monotonic() < deadline, "it is not ready"
            time.sleep(0.05)
        yield f"postgresql+psycopg://bot@/postgres?host={folder}"


@pytest.fixture
def url(server: str) -> str:
    """An empty database there."""
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS journal"))
        connection.execute(text("CREATE DATABASE journal"))
    engine.dispose()
    return server.replace("/postgres?", "/journal?")


def proof_of(url: str) -> Proof:
    """What looking at the journal finds."""
    with opened(url) as connection:
        return prove(connection)


def touch(url: str, *statements: str) -> None:
    """Do to a journal what capturebot never does."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


async def test_several_processes_open_and_write_one_chain(url: str) -> None:
    """However their first moments and their rows come between each other; a capture is accepted once."""
    journals = await asyncio.gather(*(Journal.open(url, owner=f"p{n}") for n in range(PROCESSES)))

    async with asyncio.TaskGroup() as group:
        for n in range(EVENTS):
            for journal in journals:
                group.create_task(journal.append(Started(capture_id=f"abc2{n:02}", at=AT)))
    accepts = [journal.accept(accepted(a_capture(f"new22{n}"), key="slack 1")) for n, journal in enumerate(journals)]
    taken = await asyncio.gather(*accepts)

    for journal in journals:
        await journal.close()
    proof = proof_of(url)
    assert sum(taken) == 1
    assert (proof.rows, proof.faults) == (PROCESSES * EVENTS + 1, [])


async def test_a_change_is_located(url: str) -> None:
    """In whatever column; and so is a row that is taken out."""
    journal = await Journal.open(url, owner="me")
    await journal.append(*[Started(capture_id=f"abc23{n}", at=AT) for n in range(6)])
    await journal.close()

    touch(
        url,
        "UPDATE events SET body = replace(body, 'abc232', 'abc299') WHERE seq = 3",
        "DELETE FROM events WHERE seq = 5",
    )

    assert [fault.seq for fault in proof_of(url).faults] == [3, 5]


async def test_a_journal_of_an_older_version_is_sealed(url: str) -> None:
    """With the gaps that a database's own numbers leave."""
    journal = await Journal.open(url, owner="me")
    await journal.append(*[Started(capture_id=f"abc23{n}", at=AT) for n in range(6)])
    await journal.close()
    touch(url, "ALTER TABLE events DROP COLUMN hash", "DROP TABLE head", "DELETE FROM events WHERE seq IN (2, 3)")

    journal = await Journal.open(url, owner="me")
    await journal.append(Started(capture_id="abc240", at=AT))
    await journal.close()

    proof = proof_of(url)
    assert (proof.rows, proof.faults, [seq for seq, _ in proof.seals]) == (6, [], [7])


async def test_a_database_that_is_not_there_is_told(server: str) -> None:
    """In one sentence."""
    with pytest.raises(JournalError, match="cannot be read"), opened(server.replace("/postgres?", "/nowhere?")):
        pass

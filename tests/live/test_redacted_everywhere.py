"""Secrets planted where captures look, with a real host and a real database: nothing that is kept or told shows one."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import yaml

from bot.errors import UserError
from tests.stage.database import Cursor, Database, database

pytestmark = pytest.mark.live

BURNS_S = 60  # the most that the process which is looked at may live
RUN_S = 90.0
# As the first word of a secret, so that the files of these tests hold none.
GITHUB = "gh" + "p_"


def drawn() -> str:
    """A value that is nowhere else."""
    return "a7" + secrets.token_hex(17)


@contextmanager
def burning(folder: Path, planted: dict[str, str]) -> Iterator[None]:
    """A process at work whose arguments, environment and open files have secrets in them."""
    opened = folder / f"upload?token={planted['in a file name']}.log"
    program = (
        f"import sys, time\nfile = open(sys.argv[1], 'w')\nend = time.time() + {BURNS_S}\nwhile time.time() < end: pass"
    )
    arguments = [str(opened), "--password", planted["an argument"], planted["a bare argument"]]
    environment = {**os.environ, "DB_PASSWORD": planted["an environment"]}
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], env=environment)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@asynccontextmanager
async def reporting(orders: Database, planted: dict[str, str]) -> AsyncIterator[None]:
    """A client whose long statements have secrets in their values and comments."""
    heavy = "COUNT(*) FROM orders a JOIN orders b ON a.total < b.total WHERE a.reference = '{}' OR b.note = 'y'"
    statement = f"SELECT /* password={planted['a comment']} */ {heavy.format(planted['a statement'])}"

    async def report(cursor: Cursor) -> None:
        await cursor.execute(statement)

    async with orders.clients("analyst", 1, report):
        await orders.until(
            "SELECT COUNT(*) FROM information_schema.processlist WHERE user='analyst' AND time_ms > 1200"
        )
        yield


async def captured(config: Path, environ: dict[str, str], *words: str) -> bytes:
    """All that `capturebot run` says, whatever becomes of it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "--config", str(config), "run", *words, "--json"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **environ},
    )
    try:
        async with asyncio.timeout(RUN_S):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return said


def lay_out(folder: Path, planted: dict[str, str]) -> None:
    """A log that an application wrote secrets into, and a recipe that keeps it, and all that processes show of themselves."""
    log = folder / "app.log"
    lines = (
        f"ERROR login of app failed: password={planted['a log']} key {planted['a token in a log']}\n",
        f"ERROR upstream refused 'Authorization: Bearer {planted['a header']}'\n",
    )
    log.write_text("".join(f"2026-11-22T20:55:{second:02}Z {line}" for second in range(60) for line in lines))
    step = {"title": "Look", "timeout": 20, "limit": "2 MB"}
    recipe = {
        "title": "Application",
        "about": "For tests.",
        "for": "host",
        "impact": "none",
        "steps": [
            {**step, "id": "log", "log": {"path": str(log), "whole": True}, "insight": "logs"},
            {**step, "id": "environ", "script": "environ.sh"},
        ],
    }
    (folder / "mine").mkdir()
    (folder / "mine" / "app.yml").write_text(yaml.safe_dump(recipe))
    (folder / "mine" / "environ.sh").write_text(
        "for pid in $(pgrep -f 'time.time'); do cat /proc/$pid/environ /proc/$pid/cmdline; ls -l /proc/$pid/fd; done\n"
        "ps axeww\n"
    )


def configured(folder: Path, mysql: dict[str, object]) -> Path:
    """One target: this machine and the database."""
    config = folder / "capturebot.yml"
    target = {"local": True, "mysql": mysql}
    settings = {
        "folder": "artifacts",
        "journal": "sqlite:///journal.db",
        "recipes": ["mine"],
        "targets": {"here": target},
    }
    config.write_text(yaml.safe_dump(settings))
    return config


def kept(folder: Path) -> bytes:
    """Every byte that the captures left: artifacts, manifests, and the journal's files."""
    places = (*(folder / "artifacts").rglob("*"), *folder.glob("journal.db*"))
    return b"".join(path.read_bytes() for path in places if path.is_file())


async def test_nothing_that_is_kept_or_told_shows_a_planted_secret(tmp_path: Path) -> None:
    """Artifacts, manifests, the journal's rows and the terminal, from processes, files, logs and statements.

    Slack, PagerDuty and the report show what is in the journal.
    """
    keyed = ("an argument", "an environment", "a comment", "in a file name", "a log", "a header")
    bare = ("a bare argument", "a statement", "a token in a log")
    planted = {**{place: drawn() for place in keyed}, **{place: GITHUB + drawn() for place in bare}}
    lay_out(tmp_path, planted)
    try:
        async with database(tmp_path / "orders") as orders:
            broken = orders.broken("")
            config = configured(tmp_path, broken.target["mysql"])
            with burning(tmp_path, planted):
                async with reporting(orders, planted):
                    said = [
                        await captured(config, dict(broken.environ), name, "here") for name in ("db", "host", "app")
                    ]
    except UserError as trouble:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(trouble))

    everything = b"".join(said) + kept(tmp_path)
    assert [place for place, secret in planted.items() if secret.encode() in everything] == []
    assert b"analyst" in everything
    assert b"DB_PASSWORD=[masked:password:" in everything
    assert b"upload?token=[masked:token:" in everything
    assert everything.count(b"[masked:github-token:") > 3

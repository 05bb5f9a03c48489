"""The whole trail in the playground: files by links that end, the journal copied into S3, proved and exported by the command line."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from bot.errors import UserError
from bot.playground.estate import Estate, bot, estate
from bot.playground.workspace import Message

pytestmark = pytest.mark.live

END_S = 60.0
AUDIT = {"bucket": "incident-evidence", "prefix": "audit", "every": "1 minute"}
RECIPE = {
    "title": "Two files",
    "about": "What it prints, and a file.",
    "for": "host",
    "impact": "light",
    "steps": [{"id": "says", "title": "Says", "run": ["echo", "hello"], "timeout": 5, "limit": "1 kB"}],
}


def links(message: Message) -> dict[str, str]:
    """Where the links of a message lead, by what stands on them."""
    spans = message.blocks[0]["elements"][0]["elements"]
    return {span["text"]: span["url"] for span in spans if span["type"] == "link"}


async def captured(here: Estate) -> Message:
    """Take a capture; its message in the channel, at its end."""
    workspace = here.workspace
    await workspace.command(here.channel, here.user, "/capture two here")

    def ended() -> Message | None:
        found = [one for one in workspace.messages(here.channel) if "two on here: complete" in one.text]
        return found[0] if found else None

    found = await workspace.wait_for(ended, END_S)
    assert found
    return found


async def files(here: Estate, root: Message) -> Message:
    """What the presser of “Get files” sees."""
    await here.workspace.click(root.ts, "files", here.user)

    def listed() -> Message | None:
        return next((one for one in here.workspace.ephemerals(here.channel, here.user) if "📁" in one.text), None)

    found = await here.workspace.wait_for(listed, END_S)
    assert found
    return found


async def audit(here: Estate, *words: str) -> tuple[int, str]:
    """Run `capturebot audit`: its status and what it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "--config", str(here.config), "audit", *words,
        env={**os.environ, **here.environ},
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def test_who_got_which_files_is_proved_long_after_their_links_ended(tmp_path: Path) -> None:
    """A capture, its files, the journal's copy; then somebody changes the journal."""
    targets: dict[str, Any] = {"here": {"local": True}}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/two.yml").write_text(yaml.safe_dump(RECIPE))
    try:
        async with estate(tmp_path, port=0, targets=targets, settings={"audit": AUDIT, "recipes": ["mine"]}) as here:
            async with bot(here):
                root = await captured(here)
                page = await files(here, root)
                shown = json.dumps([one.blocks for one in here.workspace.thread(here.channel, root.ts)])

            found = links(page)
            async with httpx.AsyncClient() as client:
                got = {name: await client.get(url) for name, url in found.items()}
            status, said = await audit(here, "verify")
            _, exported = await audit(here, "export")
            spoil(here.folder / "journal.db")
            spoilt, why = await audit(here, "verify")
    except UserError as missing:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(missing))

    assert set(found) == {"says.txt", "manifest.json"}
    assert "X-Amz-" not in shown + (tmp_path / "bot.log").read_text() + exported
    assert all("X-Amz-Expires=600" in url for url in found.values())
    assert "https://" not in page.text
    assert "http://" not in page.text
    assert got["says.txt"].content == b"hello\n"
    assert {one.headers["content-disposition"].partition(";")[0] for one in got.values()} == {"attachment"}
    assert (status, said.count("ok: ")) == (0, 2)
    assert "0 rows are not copied yet" in said
    records = [json.loads(line) for line in exported.splitlines()]
    actions = [one["action"] for one in records]
    assert actions[0] == "opened"
    assert {"accepted", "step_finished", "finished", "given"} <= set(actions)
    (given,) = [one for one in records if one["action"] == "given"]
    assert [one["key"].rpartition("/")[2] for one in given["objects"]] == ["says.txt", "manifest.json"]
    (step,) = [one for one in records if one["action"] == "step_finished"]
    assert (step["command"], step["exit_status"], step["who"]["name"]) == ("echo hello", 0, "ana")
    assert not [secret for secret in here.environ.values() if secret in exported]
    assert spoilt == 1
    assert f"fault: row {given['seq']} (" in why
    assert "; as it was: audit/" in why


def spoil(path: Path) -> None:
    """Let somebody else have got the files."""
    with closing(sqlite3.connect(path)) as journal, journal:
        journal.execute("UPDATE events SET body = replace(body, 'says.txt', 'none.txt') WHERE type = 'given'")

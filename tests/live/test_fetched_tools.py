"""Programs that an operator keeps in S3: fetched by a real server's leave, compared, and there for steps to carry."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from io import BytesIO, StringIO
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from bot.assembly import assemble, open_secrets
from bot.doctor import examine
from bot.errors import UserError
from bot.playground.s3 import private_s3
from bot.settings import Settings, load
from bot.stores.bucket import Bucket
from bot.stores.tools import ToolFetcher

pytestmark = pytest.mark.live

PROGRAM = b"MZ a program"
SHA256 = hashlib.sha256(PROGRAM).hexdigest()
KEY = "sysinternals/procdump64.exe"


@dataclass(frozen=True, slots=True)
class Shelf:
    """A bucket with one program in it, and the settings that say so."""

    folder: Path
    bucket: str
    environ: dict[str, str]
    s3: dict[str, str | bool]

    def settings(self, sha256: str = SHA256, key: str = KEY) -> Settings:
        """With the tool as an operator writes it down."""
        tool = {"from": f"s3://{self.bucket}/{key}", "sha256": sha256}
        config = self.folder / "capturebot.yml"
        config.write_text(
            yaml.safe_dump({"s3": self.s3, "fetched_tools": [tool], "targets": {"here": {"local": True}}})
        )
        return replace(load(config), journal="sqlite://")


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncIterator[Shelf]:
    """On an rclone server, which verifies signatures."""
    try:
        async with private_s3(tmp_path) as s3:
            ways: dict[str, str | bool] = {"bucket": s3.bucket, "endpoint_url": s3.endpoint_url, "path_style": True}
            keys: dict[str, str | bool] = {"access_key": "env:ACCESS", "secret_key": "env:SECRET"}
            environ = {"ACCESS": s3.access_key, "SECRET": s3.secret_key}
            made = Shelf(tmp_path, s3.bucket, environ, {**ways, **keys})
            settings = made.settings().s3
            assert settings
            async with open_secrets(made.settings(), environ=environ, base=tmp_path) as secrets:
                bucket = await Bucket.open(settings, secrets)
                await bucket.call("put_object", Key=KEY, Body=BytesIO(PROGRAM))
                await bucket.close()
            yield made
    except UserError as error:
        (pytest.fail if "CI" in os.environ else pytest.skip)(str(error))


def file_in(folder: Path) -> bytes:
    """The tool there; nothing where there is none."""
    path = folder / "procdump64.exe"
    return path.read_bytes() if path.exists() else b""


async def test_a_tool_is_there_for_the_steps_that_carry_it(shelf: Shelf) -> None:
    """As soon as the bot is put together; the folder goes with the bot."""
    async with assemble(shelf.settings(), environ=shelf.environ, base=shelf.folder) as bot:
        (step,) = bot.desk.recipes["procdump"].steps
        assert step.carry
        found = [place for place in step.carry.places if file_in(place)]
        content = [file_in(place) for place in found]

    assert content == [PROGRAM]
    assert [file_in(place) for place in found] == [b""]


@pytest.mark.parametrize(
    ("sha256", "key", "says"),
    [
        ("0" * 64, KEY, f"has the checksum {SHA256}, not that of `fetched_tools` — correct `sha256` in capturebot.yml"),
        (SHA256, "sysinternals/nosuch.exe", "nosuch.exe: "),
    ],
)
async def test_what_is_not_it_is_not_kept(shelf: Shelf, sha256: str, key: str, says: str) -> None:
    """And `capturebot doctor` says why."""
    settings = shelf.settings(sha256, key)
    folder = shelf.folder / "tools"
    folder.mkdir()
    assert settings.s3
    console = Console(file=StringIO(), width=500)
    status = await examine(settings, environ=shelf.environ, base=shelf.folder, parts=["tools"], console=console)
    async with open_secrets(settings, environ=shelf.environ, base=shelf.folder) as secrets:
        fetcher = ToolFetcher(settings.fetched_tools, settings.s3, secrets, folder)

        whole = await fetcher.fetch()

    said = console.file.getvalue()  # type: ignore[attr-defined]  # it is a StringIO
    assert status == 1
    assert f"fault: s3://{shelf.bucket}/" in said
    assert says in said
    assert not whole
    assert list(folder.iterdir()) == []

"""Evidence on real S3 servers: links that end, tags, keys and locked copies; rclone verifies signatures, moto keeps versions."""

from __future__ import annotations

import asyncio
import io
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from bot.audit.anchors import anchors
from bot.audit.copies import Copies, check, settings_of
from bot.auditing import verify
from bot.errors import StoreError
from bot.journal import Journal
from bot.journal.chain import BEGINNING, hash_of
from bot.model import NoteFailed, SecretRef, Target
from bot.retention import Audit, Lock
from bot.settings import S3, Settings
from bot.stores import lifecycle
from bot.stores.bucket import Bucket
from bot.stores.intake import once
from bot.stores.s3 import S3Store
from tests.fakes3 import BUCKET
from tests.live.test_s3 import Literal, end_moto, private_settings, serving, start_moto

pytestmark = pytest.mark.live

LONG = bytes(9 * 1024 * 1024)  # two parts
KEYS = {"S3_KEY": "testing"}  # what moto is content with
AUDIT = Audit(bucket="evidence-audit", prefix="audit", every_s=60.0, lock=Lock(mode="compliance", days=365))


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Whatever a test opened is closed after it."""
    async with AsyncExitStack() as opened:
        yield opened


@pytest.fixture(scope="module")
def moto_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server of moto's for all tests of this file."""
    process, url = start_moto(tmp_path_factory.mktemp("moto") / "log")
    yield url
    end_moto(process)


async def on_moto(stack: AsyncExitStack, url: str, name: str, **arguments: Any) -> tuple[Bucket, S3]:
    """Make a bucket."""
    key = SecretRef("env:S3_KEY")
    settings = S3(bucket=name, endpoint_url=url, access_key=key, secret_key=key, path_style=True)
    bucket = await Bucket.open(settings, Literal())
    stack.push_async_callback(bucket.close)
    await bucket.call("create_bucket", **arguments)
    return bucket, settings


# --- links ------------------------------------------------------------------------------------


async def fetched(url: str) -> httpx.Response:
    """What whoever has the address gets."""
    async with httpx.AsyncClient() as client:
        return await client.get(url)


async def test_a_link_gives_the_file_until_its_time_is_over(stack: AsyncExitStack, tmp_path: Path) -> None:
    """As a download; then the server itself refuses it, and it never was for another file, nor for nobody's signature."""
    server = await serving(stack, await private_settings(stack, tmp_path / "s3"))
    artifact = await server.store.put("c/ps.txt", once(b"who is it"))
    await server.store.put("c/other.txt", once(b"other"))
    link = await server.store.link(artifact, seconds=600)
    brief = await server.store.link(artifact, seconds=1)

    answer = await fetched(link)

    assert (answer.status_code, answer.content) == (200, b"who is it")
    assert answer.headers["content-disposition"] == 'attachment; filename="ps.txt"'
    assert (await fetched(link.replace("ps.txt?", "other.txt?"))).status_code == 403
    assert (await fetched(link.replace("Expires=600", "Expires=6000"))).status_code == 403
    assert (await fetched(link.partition("?")[0])).status_code in {400, 403}

    async with asyncio.timeout(10):
        while (await fetched(brief)).status_code == 200:  # noqa: ASYNC110  its end is the server's own clock
            await asyncio.sleep(0.1)
    assert (await fetched(brief)).status_code in {400, 403}


async def test_the_doctor_sees_that_a_bucket_is_closed(stack: AsyncExitStack, tmp_path: Path) -> None:
    """By trying it without credentials."""
    server = await serving(stack, await private_settings(stack, tmp_path / "s3"))

    lines = await server.store.check()

    assert any("closed to requests without credentials" in line for line in lines)


async def test_the_doctor_sees_that_a_bucket_is_open(stack: AsyncExitStack, moto_url: str) -> None:
    """Whatever opens it, a request without a signature tells."""
    bucket, settings = await on_moto(stack, moto_url, "open-to-all")
    allow = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::open-to-all/*"}
    await bucket.call("put_bucket_policy", Policy=json.dumps({"Version": "2012-10-17", "Statement": [allow]}))

    lines = await S3Store(bucket, settings).check()

    assert [line for line in lines if line.startswith("fault: anybody can read s3://open-to-all without credentials")]


# --- tags and keys ----------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"x", LONG], ids=["small", "in parts"])
async def test_tags_and_keys_arrive(stack: AsyncExitStack, moto_url: str, data: bytes) -> None:
    """On the objects themselves, and the rules that go with them are taken by S3 and read back by the doctor."""
    bucket, settings = await on_moto(stack, moto_url, f"tags-{len(data)}")
    settings = replace(settings, retention={"text": 90}, keys={"shop": "alias/pci"})
    store = S3Store(bucket, settings)

    await store.put("capturebot/a/shop/ps.txt", once(data))

    head = await bucket.call("head_object", Key="capturebot/a/shop/ps.txt")
    assert head["ServerSideEncryption"] == "aws:kms"
    assert "alias/pci" in head["SSEKMSKeyId"]
    tags = (await bucket.call("get_object_tagging", Key="capturebot/a/shop/ps.txt"))["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"capturebot:kind": "text", "capturebot:retain": "90d"}
    await bucket.call("put_bucket_lifecycle_configuration", LifecycleConfiguration=lifecycle.wanted(settings))
    assert "ok: lifecycle rules see to what is kept how long (text 90 days)" in await store.check()


# --- locked copies of the journal -------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Vault:
    """A journal with copies in a bucket that has object lock."""

    path: Path
    journal: Journal
    bucket: Bucket
    copies: Copies
    settings: Settings

    async def write(self, count: int) -> None:
        """Let something happen, and copy it."""
        now = datetime.now(UTC)
        events = [
            NoteFailed(capture_id="abc234", incident="P", reason=f"x{n}", final=False, at=now) for n in range(count)
        ]
        await self.journal.append(*events)
        await self.copies.copy()

    async def verified(self) -> tuple[int, list[str]]:
        """What `capturebot audit verify` says."""
        said: list[str] = []
        status = await verify(self.settings, environ=KEYS, base=self.path.parent, since=None, say=said.append)
        return status, said

    def rewrite(self, seq: int) -> None:
        """Change a row, and mend the whole chain behind it."""
        with closing(sqlite3.connect(self.path)) as journal, journal:
            journal.row_factory = sqlite3.Row
            journal.execute("UPDATE events SET body = replace(body, 'x', 'y') WHERE seq = ?", (seq,))
            before = BEGINNING
            for row in journal.execute("SELECT * FROM events ORDER BY seq").fetchall():
                before = hash_of(before, dict(row))
                journal.execute("UPDATE events SET hash = ? WHERE seq = ?", (before, row["seq"]))
            journal.execute("UPDATE head SET hash = ?", (before,))


@pytest.fixture
async def vault(stack: AsyncExitStack, moto_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Vault:
    """With three copies."""
    name = f"audit-{abs(hash(request.node.nodeid))}"
    bucket, settings = await on_moto(stack, moto_url, name, ObjectLockEnabledForBucket=True)
    audit, s3 = replace(AUDIT, bucket=name), replace(settings, bucket="evidence")
    path = tmp_path / "journal.db"
    journal = await Journal.open(f"sqlite:///{path}", owner="me")
    stack.push_async_callback(journal.close)
    made = Vault(
        path=path,
        journal=journal,
        bucket=bucket,
        copies=Copies(journal, bucket, audit, s3, now=lambda: datetime.now(UTC)),
        settings=Settings(
            targets={"here": Target(name="here", local=True)}, journal=f"sqlite:///{path}", s3=s3, audit=audit
        ),
    )
    for _ in range(3):
        await made.write(3)
    return made


async def test_copies_are_locked_and_the_journal_agrees_with_them(vault: Vault) -> None:
    """Nobody can remove one before its time, and the doctor says so."""
    page = await vault.bucket.call("list_object_versions", Prefix="audit/")
    one = page["Versions"][0]

    status, said = await vault.verified()

    head = await vault.bucket.call("head_object", Key=one["Key"])
    assert head["ObjectLockMode"] == "COMPLIANCE"
    assert (head["ObjectLockRetainUntilDate"] - datetime.now(UTC)).days in {364, 365}
    with pytest.raises(StoreError, match="S3 refused deleting"):
        await vault.bucket.call("delete_object", Key=one["Key"], VersionId=one["VersionId"])
    assert (status, len(said)) == (0, 2)
    assert "3 copies in" in said[1]
    assert "up to row 9 of" in said[1]
    assert vault.settings.audit
    assert vault.settings.s3
    lines = await check(vault.journal, vault.settings.audit, vault.settings.s3, Literal())
    assert lines[:2] == ["ok: rows up to 9 of 9 are copied", "ok: copies are locked for 365 days (compliance)"]


async def test_a_journal_that_was_rewritten_whole_is_found_although_its_copies_were_deleted(vault: Vault) -> None:
    """A deletion hides a locked object and does not remove it; what is put over it is another version."""
    await asyncio.to_thread(vault.rewrite, 5)
    found = await anchors(vault.bucket, settings_of(AUDIT, BUCKET), await vault.journal.name())
    for anchor in found:
        await vault.bucket.call("put_object", Key=anchor.key, Body=io.BytesIO(b"nothing"))
    await vault.bucket.call("delete_object", Key=found[0].key)

    status, said = await vault.verified()

    assert status == 1
    assert said[0].startswith("ok: 9 rows")
    assert "note: somebody deleted the copy" in said[1]
    assert "fault: row 5 (" in said[2]
    assert "it is not as it was when it was copied to audit/" in said[2]


async def test_the_copy_that_has_a_wrong_row_as_it_was_is_named(vault: Vault) -> None:
    """So that it can be looked at."""
    with closing(sqlite3.connect(vault.path)) as journal, journal:
        journal.execute("UPDATE events SET body = replace(body, 'x', 'y') WHERE seq = 5")

    status, said = await vault.verified()

    assert status == 1
    key = said[0].rpartition("as it was: ")[2].partition(" of ")[0]
    copied = await vault.bucket.fetch(key, limit_bytes=10_000)
    assert [row["seq"] for row in map(json.loads, copied.splitlines())] == [4, 5, 6]


async def test_a_bucket_without_object_lock_refuses_locked_copies(
    stack: AsyncExitStack, moto_url: str, tmp_path: Path
) -> None:
    """The doctor says how it is mended."""
    bucket, settings = await on_moto(stack, moto_url, "unlocked")
    audit = replace(AUDIT, bucket="unlocked")
    journal = await Journal.open(f"sqlite:///{tmp_path}/journal.db", owner="me")
    stack.push_async_callback(journal.close)
    await journal.append(NoteFailed(capture_id="abc234", incident="P", reason="x", final=False, at=datetime.now(UTC)))

    with pytest.raises(StoreError, match="S3 refused storing"):
        await Copies(journal, bucket, audit, settings, now=lambda: datetime.now(UTC)).copy()

    lines = await check(journal, audit, settings, Literal())
    assert lines[0] == "ok: nothing is copied yet; `capturebot serve` does it"
    assert lines[1].startswith("fault: unlocked has no object lock, so copies can be removed — make the bucket anew")

"""The S3 store on real servers: rclone's verifies signatures, moto's honours conditions and keeps encryption headers."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bot.errors import StepFailed, StoreError, UserError
from bot.model import SecretRef
from bot.playground.s3 import private_s3
from bot.settings import S3
from bot.stores.bucket import Bucket
from bot.stores.intake import once
from bot.stores.s3 import S3Store
from bot.stores.uploads import IN_FLIGHT, PART_BYTES
from tests.faults import ALWAYS, FaultyWay, faulty_way, refusing_url, until

pytestmark = pytest.mark.live

MIB = 1024 * 1024
MOTO_START_S = 30.0
PIECE = os.urandom(100_000)


class Literal:
    """Resolves a reference to its own text."""

    async def resolve(self, ref: SecretRef) -> str:
        return ref.text

    def forget(self, ref: SecretRef) -> None:
        """Nothing is kept."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A store on a server of its own, or on the way to one, and a second look at the same bucket."""

    store: S3Store
    bucket: Bucket
    settings: S3

    async def open_uploads(self) -> list[str]:
        """Return the keys of uploads that are open."""
        page = await self.bucket.page("list_multipart_uploads", Prefix="")
        return [upload["Key"] for upload in page.get("Uploads", [])]

    async def keys(self) -> list[str]:
        """Return the keys of all objects."""
        return [item["Key"] for item in (await self.bucket.call("list_objects_v2")).get("Contents", [])]

    async def bytes_of(self, key: str) -> bytes:
        """Return a whole object, however long."""
        return await self.bucket.fetch(key, limit_bytes=sys.maxsize)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Whatever a test opened is closed after it."""
    async with AsyncExitStack() as opened:
        yield opened


async def serving(stack: AsyncExitStack, settings: S3, *, by: str | None = None) -> Server:
    """Open a store on the server of *settings*; its requests go to the address *by* instead if there is one."""
    bucket = await Bucket.open(settings, Literal())
    stack.push_async_callback(bucket.close)
    store = await S3Store.open(replace(settings, endpoint_url=by or settings.endpoint_url), Literal())
    stack.push_async_callback(store.close)
    return Server(store=store, bucket=bucket, settings=settings)


async def private_settings(stack: AsyncExitStack, folder: Path) -> S3:
    """Start an rclone server with one bucket."""
    try:
        server = await stack.enter_async_context(private_s3(folder))
    except UserError as error:
        if "CI" in os.environ:
            pytest.fail(str(error))
        pytest.skip(str(error))
    return S3(
        bucket=server.bucket,
        endpoint_url=server.endpoint_url,
        access_key=SecretRef(server.access_key),
        secret_key=SecretRef(server.secret_key),
        path_style=True,
    )


async def on_moto(stack: AsyncExitStack, url: str, test: str) -> Server:
    """Make a bucket for one test on moto's server, and a store on it."""
    key = SecretRef("testing")
    bucket = hashlib.sha256(test.encode()).hexdigest()[:20]
    server = await serving(stack, S3(bucket=bucket, endpoint_url=url, access_key=key, secret_key=key, path_style=True))
    await server.bucket.call("create_bucket")
    return server


def start_moto(log: Path, *arguments: str) -> tuple[subprocess.Popen[bytes], str]:
    """Run moto's server on a free port, and return it with its address."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0", *arguments]
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
    deadline = time.monotonic() + MOTO_START_S
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(r"Running on (https?://127\.0\.0\.1:\d+)", log.read_text()):
            return process, found.group(1)
        time.sleep(0.05)
    end_moto(process)
    pytest.fail(f"moto's server did not start: {log.read_text()[-500:]}")


def end_moto(process: subprocess.Popen[bytes]) -> None:
    """End it and wait for its end."""
    process.terminate()
    process.wait(timeout=10)


@pytest.fixture(scope="module")
def moto_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server of moto's for all tests of this file."""
    process, url = start_moto(tmp_path_factory.mktemp("moto") / "log")
    yield url
    end_moto(process)


@pytest.fixture
async def moto(moto_url: str, stack: AsyncExitStack, request: pytest.FixtureRequest) -> Server:
    """A store on a bucket of its own there."""
    return await on_moto(stack, moto_url, request.node.nodeid)


@pytest.fixture
async def private(tmp_path: Path, stack: AsyncExitStack) -> S3:
    """A server of rclone's."""
    return await private_settings(stack, tmp_path / "s3")


@pytest.fixture
async def rclone(private: S3, stack: AsyncExitStack) -> Server:
    """A store on it."""
    return await serving(stack, private)


@pytest.fixture(params=["rclone", "moto"])
async def server(request: pytest.FixtureRequest, tmp_path: Path, moto_url: str, stack: AsyncExitStack) -> Server:
    """A store on the one, then on the other."""
    if request.param == "moto":
        return await on_moto(stack, moto_url, request.node.nodeid)
    return await serving(stack, await private_settings(stack, tmp_path / "s3"))


@pytest.fixture
async def way(private: S3, stack: AsyncExitStack) -> FaultyWay:
    """A way to it that can be made to misbehave."""
    assert private.endpoint_url
    return await stack.enter_async_context(faulty_way(private.endpoint_url))


@pytest.fixture
async def behind(private: S3, way: FaultyWay, stack: AsyncExitStack) -> Server:
    """A store whose requests take that way."""
    return await serving(stack, private, by=way.url)


async def stream(size: int, *, end: Exception | None = None) -> AsyncIterator[bytes]:
    """Yield *size* bytes in pieces that no part is a multiple of, then fail with *end* if there is one."""
    for start in range(0, size, len(PIECE)):
        yield PIECE[: size - start]
    if end:
        raise end


def sum_of(size: int) -> str:
    """Return the SHA-256 of the first *size* bytes of `stream`."""
    whole, rest = divmod(size, len(PIECE))
    return hashlib.sha256(PIECE * whole + PIECE[:rest]).hexdigest()


# --- both servers -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, 64 * MIB + 1])
async def test_what_is_read_back_is_what_was_sent(server: Server, size: int) -> None:
    """The artifact's checksum is that of the stored bytes, and no upload stays open."""
    artifact = await server.store.put("c/t/ps.txt", stream(size))

    assert artifact.size_bytes == size
    assert artifact.sha256 == sum_of(size)
    assert hashlib.sha256(await server.bytes_of("c/t/ps.txt")).hexdigest() == artifact.sha256
    assert await server.open_uploads() == []


@pytest.mark.parametrize("size", [10, PART_BYTES + 1])
async def test_an_existing_key_is_not_overwritten(server: Server, size: int) -> None:
    """Also on a server that ignores the condition on the write."""
    await server.store.put("c/ps.txt", once(b"the first"))

    artifact = await server.store.put("c/ps.txt", stream(size))

    assert artifact.key == "c/ps.2.txt"
    assert await server.store.read("c/ps.txt") == b"the first"
    assert hashlib.sha256(await server.bytes_of("c/ps.2.txt")).hexdigest() == sum_of(size)


async def test_the_sweep_leaves_whole_objects_and_no_open_uploads(server: Server) -> None:
    """What a killed bot left below one prefix; others are not touched."""
    await server.store.put("one/b.txt", once(b"b"))
    await server.store.put("one/a.txt", stream(PART_BYTES + 1))
    for key in ("one/c.txt", "one/d.txt", "two/running.txt"):
        await server.bucket.call("create_multipart_upload", Key=key)

    swept = await server.store.sweep("one/")

    assert [(artifact.key, artifact.size_bytes) for artifact in swept] == [
        ("one/a.txt", PART_BYTES + 1),
        ("one/b.txt", 1),
    ]
    assert swept[0].sha256 == sum_of(PART_BYTES + 1)
    assert swept[1].sha256 == hashlib.sha256(b"b").hexdigest()
    assert await server.open_uploads() == ["two/running.txt"]


async def test_the_doctor_finds_nothing_wrong(server: Server) -> None:
    """And its check leaves nothing; that no rule removes open uploads, or none blocks the public, is worth a warning."""
    lines = await server.store.check()

    assert lines[0] == f"ok: s3://{server.settings.bucket} takes and returns objects"
    assert "ok: objects are encrypted (AES256)" in lines
    assert [line for line in lines if line.startswith("fault")] == []
    assert lines[-1].startswith("warn: no lifecycle rule")
    assert await server.keys() == []


# --- moto: headers and conditions -------------------------------------------------------------


async def test_the_headers_arrive(moto: Server) -> None:
    """A link opens in the browser, the server encrypts with the key it was told."""
    settings = replace(moto.settings, encryption="aws:kms", kms_key="alias/evidence")
    store = S3Store(moto.bucket, settings)

    for key, size in (("c/short.txt", 10), ("c/long.txt", PART_BYTES + 1)):
        await store.put(key, stream(size))
        head = await moto.bucket.call("head_object", Key=key)

        assert head["ContentType"] == "text/plain; charset=utf-8"
        assert head["ContentDisposition"] == f'inline; filename="{key[2:]}"'
        assert head["CacheControl"] == "private, no-store"
        assert head["ServerSideEncryption"] == "aws:kms"
        assert "alias/evidence" in head["SSEKMSKeyId"]


@pytest.mark.parametrize("size", [10, PART_BYTES + 1])
async def test_the_server_refuses_to_overwrite(moto: Server, size: int) -> None:
    """Where a write slips in between the look and the write, the condition holds."""
    await moto.store.put("c/ps.txt", once(b"the first"))
    blind = _BlindStore(moto.bucket, moto.settings)

    if size < PART_BYTES:
        assert (await blind.put("c/ps.txt", stream(size))).key == "c/ps.2.txt"
    else:
        with pytest.raises(StoreError, match="theirs was kept"):
            await blind.put("c/ps.txt", stream(size))

    assert await moto.store.read("c/ps.txt") == b"the first"
    assert await moto.open_uploads() == []


class _BlindStore(S3Store):
    """Looks before it writes, but always a moment too early."""

    async def _is_taken(self, name: str) -> bool:
        return False


async def test_the_lifecycle_rule_is_seen(moto: Server) -> None:
    """With it, the doctor is content."""
    rule = {
        "ID": "open",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
    }
    await moto.bucket.call("put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": [rule]})

    lines = await moto.store.check()

    assert lines[-1] == "ok: a lifecycle rule removes uploads that stayed open"


async def test_a_certificate_that_nobody_signed_is_refused(stack: AsyncExitStack, tmp_path: Path) -> None:
    """The sentence names the variable that names the authority."""
    process, url = await asyncio.to_thread(start_moto, tmp_path / "log", "-s")
    stack.callback(end_moto, process)
    key = SecretRef("testing")
    server = await serving(stack, S3(bucket="b", endpoint_url=url, access_key=key, secret_key=key, path_style=True))

    with pytest.raises(StoreError, match=r"certificate .* was not accepted .*AWS_CA_BUNDLE"):
        await server.store.put("c/ps.txt", once(b"x"))


# --- rclone: credentials ----------------------------------------------------------------------


async def test_wrong_credentials_are_told(private: S3, stack: AsyncExitStack) -> None:
    """Which of the two is wrong, and where it is set."""
    for wrong, cure in (
        (replace(private, secret_key=SecretRef("guessed")), "s3.secret_key"),
        (replace(private, access_key=SecretRef("guessed")), "s3.access_key"),
        (replace(private, bucket="nowhere"), "s3.bucket"),
    ):
        server = await serving(stack, wrong)

        with pytest.raises(StoreError, match=cure):
            await server.store.put("c/ps.txt", once(b"x"))


# --- trouble on the way -----------------------------------------------------------------------


async def test_a_cancelled_upload_leaves_no_upload_and_no_task(behind: Server, way: FaultyWay) -> None:
    """The first fault of the SDK's own uploader: it went on in the background."""
    before = asyncio.all_tasks()
    way.hold()
    task = asyncio.get_running_loop().create_task(behind.store.put("c/log.txt", stream(64 * MIB)))
    await until(lambda: way.held == IN_FLIGHT)
    assert await behind.open_uploads() == ["c/log.txt"]

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    way.release()

    assert await behind.open_uploads() == []
    assert await behind.keys() == []
    await until(lambda: not [left for left in asyncio.all_tasks() - before if left.get_name() != "connection"])


async def test_a_slow_server_slows_the_source(behind: Server, way: FaultyWay) -> None:
    """The second: it read on into memory. Here the source is never more than a few parts ahead."""
    pulled_bytes = most_ahead_bytes = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal pulled_bytes, most_ahead_bytes
        async for chunk in stream(96 * MIB):
            pulled_bytes += len(chunk)
            most_ahead_bytes = max(most_ahead_bytes, pulled_bytes - way.passed_bytes)
            yield chunk

    way.hold()
    task = asyncio.get_running_loop().create_task(behind.store.put("c/log.txt", counted()))
    await until(lambda: way.held == IN_FLIGHT)
    way.release()
    artifact = await task

    assert artifact.size_bytes == 96 * MIB
    assert most_ahead_bytes <= (IN_FLIGHT + 1) * PART_BYTES + len(PIECE)


async def test_parts_that_are_all_refused_end_the_upload(behind: Server, way: FaultyWay) -> None:
    """The third: with its queue full it hung for ever."""
    way.answer("PUT .*partNumber", 403, code="AccessDenied", times=ALWAYS)

    async with asyncio.timeout(20):
        with pytest.raises(StoreError, match=r"\(403 AccessDenied\).*s3:PutObject"):
            await behind.store.put("c/log.txt", stream(200 * MIB))

    assert await behind.open_uploads() == []
    assert await behind.keys() == []


async def test_a_source_that_fails_midway_leaves_nothing(rclone: Server) -> None:
    """Its own error goes through."""
    with pytest.raises(StepFailed, match="lost"):
        await rclone.store.put("c/log.txt", stream(30 * MIB, end=StepFailed("connection lost")))

    assert await rclone.open_uploads() == []
    assert await rclone.keys() == []


@pytest.mark.parametrize("size", [1 * MIB, 20 * MIB])
async def test_two_errors_of_the_server_are_survived(behind: Server, way: FaultyWay, size: int) -> None:
    """It answered 500 twice, then did its work."""
    way.answer("PUT ", 500, times=2)

    artifact = await behind.store.put("c/log.txt", stream(size))

    assert hashlib.sha256(await behind.bytes_of("c/log.txt")).hexdigest() == artifact.sha256 == sum_of(size)


@pytest.mark.parametrize("size", [1 * MIB, 20 * MIB])
async def test_a_connection_that_is_reset_midway_is_survived(behind: Server, way: FaultyWay, size: int) -> None:
    """The body is sent again from its start."""
    way.cut("PUT ", after_bytes=300_000)

    artifact = await behind.store.put("c/log.txt", stream(size))

    assert hashlib.sha256(await behind.bytes_of("c/log.txt")).hexdigest() == artifact.sha256 == sum_of(size)


@pytest.mark.parametrize(("size", "last"), [(1 * MIB, "PUT "), (20 * MIB, "POST .*uploadId=")])
async def test_an_answer_that_was_lost_makes_no_second_object(
    behind: Server, way: FaultyWay, size: int, last: str
) -> None:
    """The server had stored it; the repeated call finds that out."""
    way.lose_answer(last)

    artifact = await behind.store.put("c/log.txt", stream(size))

    assert way.seen(last) == 2
    assert await behind.keys() == ["c/log.txt"]
    assert hashlib.sha256(await behind.bytes_of("c/log.txt")).hexdigest() == artifact.sha256 == sum_of(size)
    assert await behind.open_uploads() == []


async def test_errors_without_end_are_told(behind: Server, way: FaultyWay) -> None:
    """After a few attempts."""
    way.answer("PUT ", 503, code="SlowDown", times=ALWAYS)

    with pytest.raises(StoreError, match=r"\(503 SlowDown\)\. It answered so each time"):
        await behind.store.put("c/log.txt", once(b"x"))

    assert way.seen("PUT ") == 4


async def test_nobody_there_is_told(private: S3, stack: AsyncExitStack) -> None:
    """With the address that was tried."""
    with refusing_url() as url:
        server = await serving(stack, private, by=url)

        with pytest.raises(StoreError, match=rf"no connection to {url}\. Check s3\.endpoint_url"):
            await server.store.put("c/log.txt", once(b"x"))


async def test_the_private_server_keeps_its_key_out_of_the_process_list(tmp_path: Path) -> None:
    """And ends with its block."""
    async with private_s3(tmp_path, secret_key="not-for-ps") as server:
        command_line = await asyncio.to_thread(Path(f"/proc/{server.pid}/cmdline").read_bytes)

        assert b"not-for-ps" not in command_line

    assert not await asyncio.to_thread(Path(f"/proc/{server.pid}").exists)

"""What the S3 store does with the answers it gets; the real servers are in tests/live/test_s3.py."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from botocore import exceptions as boto

from bot.errors import StoreError
from bot.settings import S3
from bot.stores import Store, words
from bot.stores.bucket import Bucket
from bot.stores.intake import once
from bot.stores.s3 import READ_BYTES, S3Store
from tests.fakes3 import BUCKET, FakeS3, Hook, Kept, refused

LONG = bytes(range(256)) * (9 * 1024 * 4)  # 9 MiB: two parts


def a_store(fake: FakeS3, settings: S3 = BUCKET) -> S3Store:
    """Make a store on the fake bucket."""
    return S3Store(Bucket(fake, settings), settings)


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    """Yield *data* in the sizes that a transport has."""
    for start in range(0, len(data), 100_000):
        yield data[start : start + 100_000]


def refusing(*refusals: tuple[str, int, str], times: int = 1) -> Hook:
    """Make a hook that refuses these operations *times* times each."""
    left = {operation: times for operation, _, _ in refusals}

    async def hook(operation: str, _arguments: dict[str, Any]) -> None:
        for refused_operation, status, code in refusals:
            if operation == refused_operation and left[operation]:
                left[operation] -= 1
                raise refused(operation, status, code)

    return hook


def test_it_is_a_store() -> None:
    """The type checker holds it against the protocol."""
    store: Store = a_store(FakeS3())

    assert store


@pytest.mark.parametrize("data", [b"", b"a", LONG], ids=["empty", "small", "in parts"])
async def test_what_is_stored_is_what_came(data: bytes) -> None:
    """The checksum, the size and the link are of the stored bytes."""
    fake = FakeS3()

    artifact = await a_store(fake).put("c/ps.txt", pieces(data))

    assert fake.objects["c/ps.txt"].data == data
    assert (artifact.key, artifact.size_bytes) == ("c/ps.txt", len(data))
    assert artifact.sha256 == hashlib.sha256(data).hexdigest()


async def test_an_object_opens_in_a_browser_and_is_encrypted() -> None:
    """Its headers say what it is, how to show it and who encrypts it, for both kinds of upload."""
    settings = replace(BUCKET, encryption="aws:kms", kms_key="alias/evidence")
    fake = FakeS3()
    store = a_store(fake, settings)

    await store.put("c/orders db/pś.txt", pieces(b"x"))
    await store.put("c/long.json", pieces(LONG), content_type="application/json")

    small, long = fake.objects["c/orders db/pś.txt"].headers, fake.objects["c/long.json"].headers
    assert small["ContentType"] == "text/plain; charset=utf-8"
    assert small["ContentDisposition"] == 'inline; filename="p_.txt"'
    assert small["Metadata"]["sha256"] == hashlib.sha256(b"x").hexdigest()
    assert long["ContentType"] == "application/json"
    for headers in (small, long):
        assert headers["CacheControl"] == "private, no-store"
        assert (headers["ServerSideEncryption"], headers["SSEKMSKeyId"]) == ("aws:kms", "alias/evidence")


async def test_a_file_that_could_not_be_redacted_is_no_page_and_says_so() -> None:
    """A browser saves it; its metadata and its key tell what it is."""
    fake = FakeS3()
    store = a_store(fake)
    key = "evidence/abc234/binary/db1/core/core.zst"

    kept = await store.put(key, pieces(b"x"), content_type="application/zstd")

    headers = fake.objects[key].headers
    assert headers["ContentType"] == "application/zstd"
    assert headers["ContentDisposition"] == 'attachment; filename="core.zst"'
    assert headers["Metadata"]["capturebot-redacted"] == "no"
    assert kept.binary
    assert [artifact.binary for artifact in await store.sweep("evidence/abc234/")] == [True]


@pytest.mark.parametrize(("endpoint_url", "checksum"), [(None, "CRC32"), ("http://127.0.0.1:9", None)])
async def test_aws_checks_each_part_and_other_servers_are_not_asked_to(
    endpoint_url: str | None, checksum: str | None
) -> None:
    """An upload to AWS is opened with the checksum's name and closed with that of each part, or AWS refuses it."""
    fake = FakeS3()

    await a_store(fake, replace(BUCKET, endpoint_url=endpoint_url)).put("c/long.txt", pieces(LONG))

    assert fake.objects["c/long.txt"].headers.get("ChecksumAlgorithm") == checksum


async def test_without_encryption_no_header_asks_for_it() -> None:
    """The bucket's own default rules then."""
    fake = FakeS3()

    await a_store(fake, replace(BUCKET, encryption=None)).put("c/ps.txt", pieces(b"x"))

    assert "ServerSideEncryption" not in fake.objects["c/ps.txt"].headers


async def test_a_taken_key_gets_a_number_and_keeps_its_bytes() -> None:
    """Nothing is overwritten, however often the same key is asked for."""
    fake = FakeS3()
    store = a_store(fake)

    keys = [(await store.put("c/ps.txt", pieces(data))).key for data in (b"first", LONG, b"third")]

    assert keys == ["c/ps.txt", "c/ps.2.txt", "c/ps.3.txt"]
    assert [fake.objects[key].data for key in keys] == [b"first", LONG, b"third"]


async def test_a_key_that_is_taken_between_look_and_write_gets_a_number_too() -> None:
    """The server's condition guards what the look could not see."""
    fake = FakeS3()

    async def somebody_is_quicker(operation: str, arguments: dict[str, Any]) -> None:
        if operation == "put_object" and arguments["Key"] == "c/ps.txt":
            fake.objects["c/ps.txt"] = Kept(data=b"theirs", headers={"Metadata": {}})

    fake.before = somebody_is_quicker

    artifact = await a_store(fake).put("c/ps.txt", pieces(b"ours"))

    assert artifact.key == "c/ps.2.txt"
    assert fake.objects["c/ps.txt"].data == b"theirs"


async def test_a_long_object_that_loses_such_a_race_says_so() -> None:
    """Its bytes are gone, so there is nothing to send again; the other's object stays as it is."""
    fake = FakeS3()

    async def somebody_is_quicker(operation: str, _arguments: dict[str, Any]) -> None:
        if operation == "complete_multipart_upload":
            fake.objects["c/log.txt"] = Kept(data=b"theirs", headers={"Metadata": {}})

    fake.before = somebody_is_quicker

    with pytest.raises(StoreError, match="Somebody else stored this key at the same time; theirs was kept"):
        await a_store(fake).put("c/log.txt", pieces(LONG))

    assert fake.objects["c/log.txt"].data == b"theirs"
    assert fake.uploads == {}


@pytest.mark.parametrize("data", [b"small", LONG], ids=["small", "in parts"])
async def test_a_success_whose_answer_was_lost_is_a_success(data: bytes) -> None:
    """The SDK calls again, and S3 refuses the second call because of the first: the object is ours all the same."""
    fake = FakeS3()

    async def lose_the_answer(operation: str, _arguments: dict[str, Any]) -> None:
        if operation == "put_object":
            raise refused(operation, 412, "PreconditionFailed")
        if operation == "complete_multipart_upload":
            raise refused(operation, 404, "NoSuchUpload")

    fake.after = lose_the_answer

    artifact = await a_store(fake).put("c/ps.txt", pieces(data))

    assert artifact.key == "c/ps.txt"
    assert list(fake.objects) == ["c/ps.txt"]


@pytest.mark.parametrize("data", [b"small", LONG], ids=["small", "in parts"])
async def test_a_server_without_conditional_writes_is_asked_without_from_then_on(data: bytes) -> None:
    """It says 501 once; the look before each write still keeps what is there."""
    fake = FakeS3()

    async def conditions_are_unknown(_operation: str, arguments: dict[str, Any]) -> None:
        if "IfNoneMatch" in arguments:
            raise refused("put_object", 501, "NotImplemented")

    fake.before = conditions_are_unknown
    store = a_store(fake)

    keys = [(await store.put("c/ps.txt", pieces(data))).key for _ in range(2)]

    assert keys == ["c/ps.txt", "c/ps.2.txt"]
    assert [kept.data for kept in fake.objects.values()] == [data, data]
    assert fake.calls["put_object"] + fake.calls["complete_multipart_upload"] == 3


@pytest.mark.parametrize("data", [b"small", LONG], ids=["small", "in parts"])
async def test_a_server_that_lies_is_noticed(data: bytes) -> None:
    """What lies there is looked at, and removed when it is not what was sent."""
    fake = FakeS3()

    async def lose_a_byte(operation: str, arguments: dict[str, Any]) -> None:
        if operation in {"put_object", "complete_multipart_upload"}:
            kept = fake.objects[arguments["Key"]]
            fake.objects[arguments["Key"]] = replace(kept, data=kept.data[:-1])

    fake.after = lose_a_byte

    with pytest.raises(StoreError, match=rf"{len(data) - 1} bytes instead of {len(data)}"):
        await a_store(fake).put("c/ps.txt", pieces(data))

    assert fake.objects == {}


async def test_credentials_that_may_only_write_are_enough() -> None:
    """S3 refuses their looks; the answer to the write has to do."""
    fake = FakeS3(before=refusing(("head_object", 403, "403"), times=100))

    artifact = await a_store(fake).put("c/ps.txt", pieces(b"x"))

    assert fake.objects[artifact.key].data == b"x"


async def test_a_sweep_aborts_open_uploads_and_reports_what_is_whole() -> None:
    """Only below its prefix, over all pages, sorted by key."""
    fake = FakeS3()
    store = a_store(fake)
    for name in ("b", "a", "e", "d", "c"):
        await store.put(f"one/{name}.txt", pieces(name.encode()))
    await store.put("two/other.txt", pieces(b"x"))
    for number in range(5):
        await fake.create_multipart_upload(Bucket="evidence", Key=f"one/{number}.txt")
    await fake.create_multipart_upload(Bucket="evidence", Key="two/running.txt")

    swept = await store.sweep("one/")

    assert [artifact.key for artifact in swept] == [f"one/{name}.txt" for name in "abcde"]
    assert [artifact.sha256 for artifact in swept] == [hashlib.sha256(name.encode()).hexdigest() for name in "abcde"]
    assert [headers["Key"] for headers, _ in fake.uploads.values()] == ["two/running.txt"]


async def test_a_sweep_reports_objects_that_it_may_not_look_up() -> None:
    """Without their checksums."""
    fake = FakeS3()
    store = a_store(fake)
    await store.put("one/a.txt", pieces(b"a"))
    fake.before = refusing(("head_object", 403, "403"))

    (artifact,) = await store.sweep("one/")

    assert (artifact.key, artifact.size_bytes, artifact.sha256) == ("one/a.txt", 1, "")


async def test_an_object_is_removed_and_a_refusal_is_told() -> None:
    """Of a key that has none, nothing is said."""
    fake = FakeS3()
    store = a_store(fake)
    await store.put("baselines/a.txt", pieces(b"a"))
    await store.put("baselines/b.txt", pieces(b"b"))

    await store.remove("baselines/a.txt")
    await store.remove("baselines/a.txt")
    fake.before = refusing(("delete_object", 403, "AccessDenied"))

    assert list(fake.objects) == ["baselines/b.txt"]
    with pytest.raises(StoreError, match=r"s3://evidence/baselines/b.txt .*s3:DeleteObject"):
        await store.remove("baselines/b.txt")


async def test_only_short_objects_are_read_whole() -> None:
    """A manifest, not a dump."""
    fake = FakeS3()
    store = a_store(fake)
    await store.put("c/manifest.json", pieces(b"{}"))
    fake.objects["c/long.txt"] = Kept(data=bytes(READ_BYTES + 1), headers={})

    assert await store.read("c/manifest.json") == b"{}"
    with pytest.raises(StoreError, match="only objects of up to"):
        await store.read("c/long.txt")
    with pytest.raises(StoreError, match=r"reading s3://evidence/c/nothing.txt .* no such object"):
        await store.read("c/nothing.txt")


async def test_the_doctor_finds_nothing_wrong() -> None:
    """Six things are looked at, and nothing stays."""
    fake = FakeS3()

    lines = await a_store(fake).check()

    assert [line.partition(":")[0] for line in lines] == ["ok"] * 6
    assert fake.objects == {}


DOCTOR = [
    ("put_object", 403, "AccessDenied", "fault: S3 refused storing"),
    ("get_object", 403, "AccessDenied", "fault: S3 refused reading"),
    ("delete_object", 403, "AccessDenied", "warn: S3 refused deleting"),
    ("list_objects_v2", 403, "AccessDenied", "fault: S3 refused listing"),
    ("list_multipart_uploads", 403, "AccessDenied", "fault: S3 refused listing open uploads"),
    ("list_multipart_uploads", 501, "NotImplemented", ""),
    ("get_bucket_lifecycle_configuration", 403, "AccessDenied", "warn: S3 refused reading the lifecycle rules"),
    ("get_bucket_lifecycle_configuration", 404, "NoSuchLifecycleConfiguration", "warn: no lifecycle rule"),
    ("get_bucket_lifecycle_configuration", 501, "NotImplemented", ""),
    ("get_public_access_block", 403, "AccessDenied", "warn: S3 refused reading the public access block"),
    ("get_public_access_block", 404, "NoSuchPublicAccessBlockConfiguration", "warn: public access to evidence is not"),
    ("get_public_access_block", 501, "NotImplemented", ""),
]


@pytest.mark.parametrize(("operation", "status", "code", "line"), DOCTOR)
async def test_the_doctor_tells_what_is_refused(operation: str, status: int, code: str, line: str) -> None:
    """A fault where captures would suffer, a warning where not, nothing where a server has no such thing."""
    lines = await a_store(FakeS3(before=refusing((operation, status, code), times=9))).check()

    wrong = [told for told in lines if not told.startswith("ok: ")]
    assert len(wrong) == (1 if line else 0)
    assert all(told.startswith(line) for told in wrong)


@pytest.mark.parametrize(
    ("asked", "found", "line"),
    [
        ("aws:kms", "AES256", "fault: objects are encrypted with AES256 instead of aws:kms"),
        ("AES256", None, "ok: AES256 encryption is accepted; this server does not report what it encrypts"),
        (None, "AES256", "ok: the bucket's own encryption rules (AES256)"),
        (None, None, "ok: the bucket's own encryption rules (it reports none)"),
    ],
)
async def test_the_doctor_tells_who_encrypts(asked: str | None, found: str | None, line: str) -> None:
    """What the server reports is held against what was asked for."""
    fake = FakeS3()

    async def encrypt_otherwise(operation: str, arguments: dict[str, Any]) -> None:
        if operation == "put_object":
            fake.objects[arguments["Key"]].headers["ServerSideEncryption"] = found

    fake.after = encrypt_otherwise

    lines = await a_store(fake, replace(BUCKET, encryption=asked)).check()

    assert any(told.startswith(line) for told in lines)


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        (
            S3(bucket="evidence", region="eu-west-1"),
            "https://eu-west-1.console.aws.amazon.com/s3/object/evidence?region=eu-west-1&prefix=c/db%201/ps.txt",
        ),
        (
            S3(bucket="evidence", region="cn-north-1"),
            "https://console.amazonaws.cn/s3/object/evidence?region=cn-north-1&prefix=c/db%201/ps.txt",
        ),
        (S3(bucket="evidence", endpoint_url="http://127.0.0.1:9"), "s3://evidence/c/db 1/ps.txt"),
        (
            S3(
                bucket="evidence", endpoint_url="http://127.0.0.1:9", browse_url="https://files.test/{bucket}/?at={key}"
            ),
            "https://files.test/evidence/?at=c/db%201/ps.txt",
        ),
    ],
    ids=["aws", "aws in China", "a clone", "a browser of its own"],
)
async def test_an_artifact_has_a_link_for_people(settings: S3, url: str) -> None:
    """The console of AWS, the operator's own page, or the name of the place where there is no page."""
    artifact = await a_store(FakeS3(), settings).put("c/db 1/ps.txt", pieces(b"x"))

    assert artifact.url == url


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../x", "c/../x", "c//x", "c/./x", "c/", "c/\x00x", "c/\nx", "c" * 1025]
)
async def test_a_key_that_leads_elsewhere_is_refused(key: str) -> None:
    """Before anything is sent."""
    fake = FakeS3()

    with pytest.raises(StoreError):
        await a_store(fake).put(key, once(b"x"))

    assert not fake.calls


ANSWERS = [
    (403, "AccessDenied", "s3:PutObject"),
    (404, "NoSuchBucket", "no such bucket"),
    (301, "PermanentRedirect", "another region"),
    (400, "AuthorizationHeaderMalformed", "s3.region"),
    (403, "RequestTimeTooSkewed", "clock"),
    (400, "ExpiredToken", "expired"),
    (403, "InvalidAccessKeyId", "s3.access_key"),
    (403, "SignatureDoesNotMatch", "s3.secret_key"),
    (507, "InsufficientStorage", "full"),
    (507, "507", "full"),
    (503, "SlowDown", "recovered"),
    (502, "502", "recovered"),
    (400, "KMS.DisabledException", "encryption key is disabled"),
    (400, "SomethingNew", "S3 says so"),
]


@pytest.mark.parametrize(("status", "code", "cure"), ANSWERS, ids=[code for _, code, _ in ANSWERS])
async def test_a_refusal_is_told_with_its_cure(status: int, code: str, cure: str) -> None:
    """The sentence names the object, what S3 said and what to do."""
    fake = FakeS3(before=refusing(("put_object", status, code), times=9))

    with pytest.raises(StoreError) as told:
        await a_store(fake).put("c/ps.txt", pieces(b"x"))

    assert told.value.reason.startswith(f"S3 refused storing s3://evidence/c/ps.txt ({status}")
    assert cure in told.value.reason
    assert "{" not in told.value.reason


WAYS: list[tuple[Exception, str]] = [
    (boto.NoCredentialsError(), "no credentials"),
    (boto.SSLError(endpoint_url="https://s3.test", error="certificate verify failed"), "AWS_CA_BUNDLE"),
    (boto.ReadTimeoutError(endpoint_url="https://s3.test"), "did not answer in time"),
    (boto.ConnectTimeoutError(endpoint_url="https://s3.test"), "did not answer in time"),
    (TimeoutError(), "did not answer in time (at most 90 s)"),
    (boto.EndpointConnectionError(endpoint_url="https://s3.test"), "s3.endpoint_url"),
    (boto.ConnectionClosedError(endpoint_url="https://s3.test"), "broke, more than once"),
    (boto.ParamValidationError(report="no bucket name"), "no bucket name"),
]


@pytest.mark.parametrize(("error", "cure"), WAYS, ids=[type(error).__name__ for error, _ in WAYS])
async def test_trouble_on_the_way_is_told_with_its_cure(error: Exception, cure: str) -> None:
    """Where S3 said nothing at all."""

    async def fail(operation: str, _arguments: dict[str, Any]) -> None:
        if operation == "put_object":
            raise error

    with pytest.raises(StoreError) as told:
        await a_store(FakeS3(before=fail)).put("c/ps.txt", pieces(b"x"))

    assert told.value.reason.startswith("Storing s3://evidence/c/ps.txt failed:")
    assert cure in told.value.reason


async def test_a_call_that_hangs_ends_in_time() -> None:
    """Whatever the SDK's own limits miss, such as a server that stops reading."""

    async def hang(_operation: str, _arguments: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    with pytest.raises(StoreError, match=r"did not answer in time \(at most 0 s\)"):
        await Bucket(FakeS3(before=hang), BUCKET).call("head_object", Key="x", within_s=0.01)


def test_each_call_has_words_of_its_own() -> None:
    """An operation without an entry would fail while it tells of a failure."""
    called = {name for name in vars(FakeS3) if not name.startswith("_")} - {"generate_presigned_url"}  # calls nobody

    assert called == set(words.OPERATIONS)

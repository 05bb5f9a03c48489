"""How the S3 store tags, encrypts and links what it keeps, and what the doctor says of a bucket's rules and openness."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from bot.settings import S3
from bot.stores import lifecycle
from bot.stores.bucket import Bucket
from bot.stores.intake import once
from bot.stores.keys import kind_of, target_of
from bot.stores.s3 import S3Store
from tests.fakes3 import BUCKET, FakeS3

LONG = bytes(9 * 1024 * 1024)  # two parts
PREFIX = "capturebot/2026/11/22/adhoc/abc234/"
TEXT, BINARY = f"{PREFIX}shop/ps.txt", f"{PREFIX}binary/shop/core/core.zst"
MANIFEST, REPORT = f"{PREFIX}manifest.json", "capturebot/2026/11/22/P1/report-P1.md"
KEPT = replace(BUCKET, retention={"text": 90, "binary": 14})
KEYED = replace(BUCKET, keys={"shop": "alias/pci"})


def a_store(fake: FakeS3, settings: S3) -> S3Store:
    """Make a store on the fake bucket."""
    return S3Store(Bucket(fake, settings), settings)


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    """Yield *data* whole."""
    yield data


@pytest.mark.parametrize(
    ("key", "kind", "target"),
    [(TEXT, "text", "shop"), (BINARY, "binary", "shop"), (MANIFEST, "manifest", ""), (REPORT, "report", "")],
)
def test_a_key_tells_what_it_is_and_where_it_comes_from(key: str, kind: str, target: str) -> None:
    """Manifests and reports are of several targets."""
    assert (kind_of(key), target_of(key)) == (kind, target)
    if kind == "manifest":
        assert kind_of(key.replace(".json", ".2.json")) == kind


@pytest.mark.parametrize(
    ("key", "data", "tags"),
    [
        (TEXT, b"x", {"capturebot:kind": ["text"], "capturebot:retain": ["90d"]}),
        (TEXT, LONG, {"capturebot:kind": ["text"], "capturebot:retain": ["90d"]}),
        (BINARY, LONG, {"capturebot:kind": ["binary"], "capturebot:retain": ["14d"]}),
        (MANIFEST, b"{}", {"capturebot:kind": ["manifest"], "capturebot:retain": ["forever"]}),
    ],
)
async def test_objects_are_tagged_with_how_long_they_are_kept(
    key: str, data: bytes, tags: dict[str, list[str]]
) -> None:
    """When they are made, whole or in parts."""
    fake = FakeS3()

    await a_store(fake, KEPT).put(key, pieces(data))

    assert parse_qs(fake.objects[key].headers["Tagging"]) == tags


async def test_without_retention_nothing_is_tagged() -> None:
    """Tags need a permission of their own, and some servers know none."""
    fake = FakeS3()

    await a_store(fake, BUCKET).put(TEXT, pieces(b"x"))

    assert "Tagging" not in fake.objects[TEXT].headers


@pytest.mark.parametrize("data", [b"x", LONG], ids=["small", "in parts"])
async def test_what_comes_from_a_labelled_target_has_its_own_key(data: bytes) -> None:
    """Its files too; what is of several targets, and other targets', have the bucket's."""
    fake = FakeS3()
    store = a_store(fake, KEYED)
    other = TEXT.replace("shop", "wiki")

    for key in (TEXT, BINARY, MANIFEST, other):
        await store.put(key, pieces(data))

    found = {
        key: (kept.headers["ServerSideEncryption"], kept.headers.get("SSEKMSKeyId"))
        for key, kept in fake.objects.items()
    }
    own, general = ("aws:kms", "alias/pci"), ("AES256", None)
    assert found == {TEXT: own, BINARY: own, MANIFEST: general, other: general}


async def test_a_link_saves_a_file_and_ends_by_itself() -> None:
    """Whatever it is, no browser opens it, and nothing keeps a copy."""
    store = a_store(FakeS3(), BUCKET)
    artifact = await store.put("c/p's 1.txt", once(b"x"))

    link = await store.link(artifact, seconds=600)

    asked = parse_qs(urlsplit(link).query)
    assert asked["for"] == ["600"]
    assert asked["ResponseContentDisposition"] == ['attachment; filename="p_s_1.txt"']
    assert asked["ResponseContentType"] == ["application/octet-stream"]
    assert asked["ResponseCacheControl"] == ["private, no-store"]


def test_the_rules_go_by_the_tags() -> None:
    """One for each length of time, and one for uploads that stayed open."""
    settings = replace(KEPT, retention={"text": 90, "manifest": 90, "binary": 14})

    rules = lifecycle.wanted(settings)["Rules"]

    assert [rule["ID"] for rule in rules] == ["capturebot-14d", "capturebot-90d", "capturebot-open-uploads"]
    assert rules[0]["Filter"] == {
        "And": {"Prefix": "capturebot/", "Tags": [{"Key": "capturebot:retain", "Value": "14d"}]}
    }
    assert lifecycle.missing(settings, rules) == []
    assert lifecycle.missing(settings, rules[1:]) == [14]
    assert lifecycle.missing(settings, [{**rules[0], "Status": "Disabled"}, rules[1]]) == [14]


async def test_the_doctor_prints_the_rules_that_are_missing() -> None:
    """As they are given to the AWS command line."""
    lines = await a_store(FakeS3(), KEPT).check()

    (line,) = [line for line in lines if "is tagged to be kept" in line]
    assert line.startswith("warn: no lifecycle rule of evidence removes what is tagged to be kept for 14 days, 90 days")
    assert json.loads(line.split("'")[1]) == lifecycle.wanted(KEPT)


async def test_the_doctor_is_content_with_the_rules_that_it_printed() -> None:
    """In whatever form S3 gives them back."""
    fake = FakeS3()
    fake.rules = lifecycle.wanted(KEPT)["Rules"]

    lines = await a_store(fake, KEPT).check()

    assert "ok: lifecycle rules see to what is kept how long (text 90 days, binary 14 days)" in lines
    assert [line for line in lines if not line.startswith("ok")] == []


async def test_the_doctor_tries_each_key_of_a_target() -> None:
    """And leaves nothing."""
    fake = FakeS3()

    lines = await a_store(fake, KEYED).check()

    assert "ok: what comes from shop is encrypted with arn:aws:kms:::alias/pci" in lines
    assert fake.objects == {}


OPEN: list[tuple[dict[str, Any], bool, str]] = [
    ({}, False, "ok: public access to the bucket is blocked"),
    (
        {"BlockPublicPolicy": False},
        False,
        "warn: public access to evidence is not blocked (BlockPublicPolicy) — aws s3api",
    ),
    ({"BlockPublicPolicy": False}, True, "fault: the policy of evidence is public — correct it"),
]


@pytest.mark.parametrize(("unblocked", "is_public", "line"), OPEN)
async def test_the_doctor_warns_of_a_bucket_that_is_open(unblocked: dict[str, Any], is_public: bool, line: str) -> None:  # noqa: FBT001  a table's column
    """What S3 says of it is told with the cure."""
    fake = FakeS3()
    fake.unblocked, fake.is_public = unblocked, is_public

    lines = await a_store(fake, BUCKET).check()

    assert [told for told in lines if told.startswith(line)]

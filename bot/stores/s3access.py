"""Whether anybody at all may read what lies in a bucket: what S3 says of it, and one try without credentials."""

from __future__ import annotations

from http import HTTPStatus

import aiohttp

from bot.errors import StoreError
from bot.settings import S3
from bot.stores.bucket import Bucket
from bot.stores.words import S3Refusal

TRY_S = 10.0
BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
NO_BLOCK = "NoSuchPublicAccessBlockConfiguration"


async def lines(bucket: Bucket, settings: S3, key: str) -> list[str]:
    """What is told of public access; *key* is of an object that is there."""
    if await _is_open(bucket, key):
        told = f"fault: anybody can read s3://{settings.bucket} without credentials"
        return [f"{told} — take the policy or ACL away that allows it, and block public access."]
    return [await _blocked(bucket, settings)]


async def _is_open(bucket: Bucket, key: str) -> bool:
    """Whether a request without a signature gets the object."""
    url, _, _ = (await bucket.presign(key, seconds=60)).partition("?")
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TRY_S), trust_env=True) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            return answer.status == HTTPStatus.OK
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False  # the way to the bucket has been tried before, with the SDK's own trust


async def _blocked(bucket: Bucket, settings: S3) -> str:
    lacking = list(BLOCKS)
    try:
        answer = await bucket.call("get_public_access_block")
        found = answer.get("PublicAccessBlockConfiguration") or {}
        if not found.keys() & set(BLOCKS):  # a server that does not know the question answers another one
            return "ok: the bucket is closed to requests without credentials; this server tells no more of it"
        lacking = [name for name in BLOCKS if not found.get(name)]
    except S3Refusal as refusal:
        if refusal.status == HTTPStatus.FORBIDDEN:
            return f"warn: {refusal.reason} Whether public access is blocked cannot be checked."
        if refusal.code != NO_BLOCK:
            return "ok: the bucket is closed to requests without credentials; this server tells no more of it"
    except StoreError as error:
        return f"warn: {error.reason}"
    if not lacking:
        return "ok: public access to the bucket is blocked"
    if await _has_public_policy(bucket):
        return (
            f"fault: the policy of {settings.bucket} is public — correct it, and block public access: {_cure(settings)}"
        )
    return f"warn: public access to {settings.bucket} is not blocked ({', '.join(lacking)}) — {_cure(settings)}"


async def _has_public_policy(bucket: Bucket) -> bool:
    try:
        status = (await bucket.call("get_bucket_policy_status")).get("PolicyStatus", {})
    except StoreError:
        return False  # there is none, or it may not be read; that it is not blocked is told all the same
    return bool(status.get("IsPublic"))


def _cure(settings: S3) -> str:
    wanted = ",".join(f"{name}=true" for name in BLOCKS)
    return f"aws s3api put-public-access-block --bucket {settings.bucket} --public-access-block-configuration {wanted}"

"""What `capturebot doctor` says of a bucket."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from bot.errors import StoreError
from bot.settings import S3
from bot.stores import Store
from bot.stores.bucket import Bucket
from bot.stores.intake import once
from bot.stores.words import S3Refusal


async def lines(store: Store, bucket: Bucket, settings: S3) -> list[str]:
    """Write, read back and remove one small object, and look at what the bot relies on beside that."""
    sent = uuid4().hex.encode()
    try:
        artifact = await store.put(f"{settings.prefix}/.check/{sent.decode()}.txt".lstrip("/"), once(sent))
        back = await store.read(artifact.key)
        head = await bucket.call("head_object", Key=artifact.key)
    except StoreError as error:
        return [f"fault: {error.reason}"]
    if back != sent:
        return [f"fault: s3://{settings.bucket} returned other bytes than it was given — check the store's health."]
    return [
        f"ok: s3://{settings.bucket} takes and returns objects",
        await _removal(bucket, artifact.key),
        _encryption(head, settings),
        await _listing(bucket, settings),
        await _lifecycle(bucket, settings),
    ]


async def _removal(bucket: Bucket, key: str) -> str:
    try:
        await bucket.call("delete_object", Key=key)
    except StoreError as error:
        return f"warn: {error.reason} Captures do without it; each check leaves one small object."
    return "ok: objects can be removed (only checks and damaged uploads are)"


def _encryption(head: dict[str, Any], settings: S3) -> str:
    asked, found = settings.encryption, head.get("ServerSideEncryption")
    if asked is None:
        return f"ok: the bucket's own encryption rules ({found or 'it reports none'})"
    if found is None:
        return f"ok: {asked} encryption is accepted; this server does not report what it encrypts"
    if found != asked:
        return (
            f"fault: objects are encrypted with {found} instead of {asked} — correct s3.encryption in capturebot.yml."
        )
    return f"ok: objects are encrypted ({found})"


async def _listing(bucket: Bucket, settings: S3) -> str:
    try:
        await bucket.page("list_objects_v2", Prefix=settings.prefix, MaxKeys=1)
        await bucket.page("list_multipart_uploads", Prefix=settings.prefix, MaxUploads=1)
    except StoreError as error:
        return f"fault: {error.reason} Without it, a capture that a restart interrupted cannot be cleaned up."
    return "ok: what an interrupted capture left can be found"


async def _lifecycle(bucket: Bucket, settings: S3) -> str:
    try:
        rules = (await bucket.call("get_bucket_lifecycle_configuration")).get("Rules", [])
    except S3Refusal as refusal:
        if refusal.status == 403:
            return f"warn: {refusal.reason} The rule that removes open uploads cannot be checked."
        if refusal.code != "NoSuchLifecycleConfiguration":
            return "ok: this server has no lifecycle rules; the bot removes open uploads itself when it restarts"
        rules = []
    except StoreError as error:
        return f"warn: {error.reason}"
    if any(rule.get("Status") == "Enabled" and "AbortIncompleteMultipartUpload" in rule for rule in rules):
        return "ok: a lifecycle rule removes uploads that stayed open"
    return (
        f"warn: no lifecycle rule of {settings.bucket} removes uploads that stayed open, and they cost money unseen "
        "— add a rule with AbortIncompleteMultipartUpload, DaysAfterInitiation 1."
    )

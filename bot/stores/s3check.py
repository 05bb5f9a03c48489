"""What `capturebot doctor` says of a bucket."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from bot.errors import StoreError
from bot.settings import S3
from bot.stores import Store, lifecycle, s3access
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
    access = await s3access.lines(bucket, settings, artifact.key)
    return [
        f"ok: s3://{settings.bucket} takes and returns objects",
        await _removal(bucket, artifact.key),
        _encryption(head, settings),
        *await _own_keys(store, bucket, settings),
        *access,
        await _listing(bucket, settings),
        *await _lifecycle(bucket, settings),
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


async def _own_keys(store: Store, bucket: Bucket, settings: S3) -> list[str]:
    """One object for each key that is some targets' own."""
    told = []
    for kms_key in dict.fromkeys(settings.keys.values()):
        target = next(name for name, its in settings.keys.items() if its == kms_key)
        key = f"{settings.prefix}/.check/{target}/{uuid4().hex}.txt".lstrip("/")
        try:
            artifact = await store.put(key, once(b"check"))
            head = await bucket.call("head_object", Key=artifact.key)
            await bucket.call("delete_object", Key=artifact.key)
        except StoreError as error:
            told.append(f"fault: {error.reason} Nothing of {target} can be kept with its own key {kms_key}.")
            continue
        found = head.get("ServerSideEncryption")
        if found in {"aws:kms", None}:
            told.append(f"ok: what comes from {target} is encrypted with {head.get('SSEKMSKeyId') or kms_key}")
        else:
            told.append(f"fault: what comes from {target} is encrypted with {found} instead of {kms_key}.")
    return told


async def _listing(bucket: Bucket, settings: S3) -> str:
    try:
        await bucket.page("list_objects_v2", Prefix=settings.prefix, MaxKeys=1)
        await bucket.page("list_multipart_uploads", Prefix=settings.prefix, MaxUploads=1)
    except StoreError as error:
        return f"fault: {error.reason} Without it, a capture that a restart interrupted cannot be cleaned up."
    return "ok: what an interrupted capture left can be found"


async def _lifecycle(bucket: Bucket, settings: S3) -> list[str]:
    try:
        rules = (await bucket.call("get_bucket_lifecycle_configuration")).get("Rules", [])
    except S3Refusal as refusal:
        if refusal.status == 403:
            return [f"warn: {refusal.reason} The rules that remove objects and open uploads cannot be checked."]
        if refusal.code != "NoSuchLifecycleConfiguration":
            said = "this server has no lifecycle rules; the bot removes open uploads itself when it restarts"
            if settings.retention:
                return [f"warn: {said}, and `s3.retention` removes nothing here — remove old objects in another way."]
            return [f"ok: {said}"]
        rules = []
    except StoreError as error:
        return [f"warn: {error.reason}"]
    return [*_retention(rules, settings), _open_uploads(rules, settings)]


def _retention(rules: list[dict[str, Any]], settings: S3) -> list[str]:
    if not settings.retention:
        return []
    if days := lifecycle.missing(settings, rules):
        for_days = ", ".join(f"{one} days" for one in days)
        lack = f"no lifecycle rule of {settings.bucket} removes what is tagged to be kept for {for_days}"
        cure = f"aws s3api put-bucket-lifecycle-configuration --bucket {settings.bucket} --lifecycle-configuration"
        return [f"warn: {lack} — {cure} '{lifecycle.as_json(settings)}' (it replaces all rules that there are)"]
    kinds = ", ".join(f"{kind} {days} days" for kind, days in settings.retention.items())
    return [f"ok: lifecycle rules see to what is kept how long ({kinds})"]


def _open_uploads(rules: list[dict[str, Any]], settings: S3) -> str:
    if any(rule.get("Status") == "Enabled" and "AbortIncompleteMultipartUpload" in rule for rule in rules):
        return "ok: a lifecycle rule removes uploads that stayed open"
    return (
        f"warn: no lifecycle rule of {settings.bucket} removes uploads that stayed open, and they cost money unseen "
        "— add a rule with AbortIncompleteMultipartUpload, DaysAfterInitiation 1."
    )

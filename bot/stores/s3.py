"""Artifacts in S3, or in anything that speaks its protocol."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Self
from urllib.parse import quote
from uuid import uuid4

from bot.errors import StoreError
from bot.model import Artifact
from bot.secrets import Renewing
from bot.settings import S3
from bot.stores import s3check
from bot.stores.bucket import Bucket, has_checksums
from bot.stores.intake import Intake
from bot.stores.keys import all_taken, checked, is_binary, names, target_of
from bot.stores.lifecycle import tagging
from bot.stores.uploads import Uploader, part_bytes
from bot.stores.words import S3Refusal

READ_BYTES = 16 * 1024 * 1024  # the longest object that `read` returns
LISTED = 10_000  # objects, and open uploads, that a sweep looks at
LOOKED_UP = 8  # objects at once
HASHED_BYTES = 256 * 1024 * 1024  # the longest object that is read to learn its checksum

# Metadata of every object: which write made it, and its checksum where that was known before it was sent.
MARK, SHA256 = "capturebot-write", "sha256"
REDACTED = "capturebot-redacted"  # "no" of files that could not be

TAKEN = {409, 412}  # another write of the same key was quicker
GONE = {404, 412}  # also what a repeated call is told whose first attempt had worked

CONSOLES = {"cn-": "console.amazonaws.cn", "us-gov-": "console.amazonaws-us-gov.com"}


class S3Store:
    """Keeps artifacts as objects. One serves the whole process: its memory is bounded for all uploads together."""

    def __init__(self, bucket: Bucket, settings: S3) -> None:
        self._bucket = bucket
        self._settings = settings
        self._uploader = Uploader(bucket)

    @classmethod
    async def open(cls, settings: S3, secrets: Renewing) -> Self:
        """Resolve the credentials and make the client. Raises SecretMissing and StoreError; sends nothing."""
        return cls(await Bucket.open(settings, secrets), settings)

    async def put(
        self, key: str, chunks: AsyncIterator[bytes], *, content_type: str = "text/plain; charset=utf-8"
    ) -> Artifact:
        """See `bot.stores.Store.put`. A cancellation during the very last call may find the object stored."""
        checked(key)
        intake = Intake(chunks)
        first = await intake.block(part_bytes(1))
        for name in names(key):
            if await self._is_taken(name):
                continue
            mark = uuid4().hex
            if await self._write(name, first, intake, mark=mark, content_type=content_type):
                await self._confirm(name, intake.size_bytes, mark)
                return self._artifact(name, intake.size_bytes, intake.sha256)
        raise all_taken(key)

    async def sweep(self, prefix: str) -> tuple[Artifact, ...]:
        """See `bot.stores.Store.sweep`. Objects of one part have their checksum with them, others are read."""
        await self._abort_open(prefix)
        found = await self._list("list_objects_v2", "Contents", prefix)
        swept: list[Artifact] = []
        for start in range(0, len(found), LOOKED_UP):
            some = found[start : start + LOOKED_UP]
            sums = await asyncio.gather(*(self._checksum(item["Key"], item["Size"]) for item in some))
            swept += [
                self._artifact(item["Key"], item["Size"], sha256) for item, sha256 in zip(some, sums, strict=True)
            ]
        return tuple(sorted(swept, key=lambda artifact: artifact.key))

    async def read(self, key: str) -> bytes:
        """See `bot.stores.Store.read`."""
        return await self._bucket.fetch(checked(key), limit_bytes=READ_BYTES)

    async def link(self, artifact: Artifact, *, seconds: int) -> str:
        """See `bot.stores.Store.link`: a presigned address, which S3 itself refuses when its time is over."""
        name = artifact.key.rpartition("/")[2]
        return await self._bucket.presign(
            checked(artifact.key),
            seconds=seconds,
            ResponseContentDisposition=f'attachment; filename="{_plain(name)}"',
            ResponseContentType="application/octet-stream",
            ResponseCacheControl="private, no-store",
        )

    async def remove(self, key: str) -> None:
        """See `bot.stores.Store.remove`."""
        await self._bucket.call("delete_object", Key=checked(key))

    async def check(self) -> list[str]:
        """See `bot.stores.Store.check`. A line of "warn: …" is about something the bot can do without."""
        return await s3check.lines(self, self._bucket, self._settings)

    async def close(self) -> None:
        """Let aborts that are under way end, then close the connections."""
        await self._uploader.close()
        await self._bucket.close()

    # --- writing ------------------------------------------------------------------------------

    async def _write(self, name: str, first: io.BytesIO, rest: Intake, *, mark: str, content_type: str) -> bool:
        """Make the object; False when another writer took *name* meanwhile and *first* is all there is."""
        small = rest.ended
        headers = self._headers(name, content_type, {MARK: mark} | ({SHA256: rest.sha256} if small else {}))
        try:
            if small:
                await self._bucket.create("put_object", Key=name, Body=first, **headers)
            else:
                await self._uploader.upload(name, first, rest, headers)
        except S3Refusal as refusal:
            # A broken connection hides that the first attempt worked; the second is then refused.
            if refusal.status in GONE and await self._is_ours(name, mark):
                return True
            if small and refusal.status in TAKEN:
                return False
            raise
        return True

    def _headers(self, name: str, content_type: str, metadata: dict[str, str]) -> dict[str, Any]:
        binary = is_binary(name)
        shown = "attachment" if binary else "inline"
        headers: dict[str, Any] = {
            "ContentType": content_type,
            "ContentDisposition": f'{shown}; filename="{_plain(name.rpartition("/")[2])}"',
            "CacheControl": "private, no-store",  # evidence does not belong into the caches of browsers and proxies
            "Metadata": metadata | ({REDACTED: "no"} if binary else {}),
        }
        if has_checksums(self._settings):
            # AWS refuses parts with a checksum whose upload was not opened with its name.
            headers["ChecksumAlgorithm"] = "CRC32"
        if key := self._settings.keys.get(target_of(name)):
            headers |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}
        elif self._settings.encryption:
            headers["ServerSideEncryption"] = self._settings.encryption
            if self._settings.kms_key:
                headers["SSEKMSKeyId"] = self._settings.kms_key
        if self._settings.retention:
            headers["Tagging"] = tagging(name, self._settings)
        return headers

    async def _confirm(self, name: str, size_bytes: int, mark: str) -> None:
        """Look at what was stored, and remove it when it is not what was sent."""
        try:
            head = await self._head(name)
        except S3Refusal as refusal:
            if refusal.status == 403:
                return  # credentials that may only write: the answer to the write has to do
            raise
        if head is not None and head["ContentLength"] == size_bytes and _mark_of(head) in {mark, None}:
            return
        if head is not None and _mark_of(head) == mark:
            with suppress(StoreError):
                await self._bucket.call("delete_object", Key=name)
        raise StoreError(
            f"s3://{self._settings.bucket}/{name} was accepted, but what lies there is not what was sent "
            f"({head['ContentLength'] if head else 'no'} bytes instead of {size_bytes}). Check the store's health."
        )

    # --- looking ------------------------------------------------------------------------------

    async def _is_taken(self, name: str) -> bool:
        try:
            return await self._head(name) is not None
        except S3Refusal as refusal:
            # S3 says 403 of an absent object to those who may not list; the condition on the write guards then.
            # Any other fault of the credentials is told better by the write's own answer.
            if refusal.status == 403:
                return False
            raise

    async def _is_ours(self, name: str, mark: str) -> bool:
        head = await self._head(name)
        return head is not None and _mark_of(head) == mark

    async def _head(self, name: str) -> dict[str, Any] | None:
        try:
            return await self._bucket.call("head_object", Key=name)
        except S3Refusal as refusal:
            if refusal.status == 404:
                return None
            raise

    async def _checksum(self, name: str, size_bytes: int) -> str:
        try:
            head = await self._head(name)
            if head is None or (known := head["Metadata"].get(SHA256)) is None:
                return await self._bucket.digest(name, size_bytes) if head and size_bytes <= HASHED_BYTES else ""
            return str(known)
        except StoreError:
            return ""  # the object is listed, and so reported, without it

    async def _list(self, operation: str, field: str, prefix: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        place: dict[str, Any] = {}
        while len(found) < LISTED:
            page = await self._bucket.page(operation, Prefix=prefix, **place)
            found += page.get(field, [])
            if not page.get("IsTruncated"):
                break
            # NextContinuationToken, NextKeyMarker and NextUploadIdMarker say where to go on.
            place = {name.removeprefix("Next"): page[name] for name in page if name.startswith("Next")}
        return found[:LISTED]

    async def _abort_open(self, prefix: str) -> None:
        for upload in await self._list("list_multipart_uploads", "Uploads", prefix):
            try:
                await self._bucket.call("abort_multipart_upload", Key=upload["Key"], UploadId=upload["UploadId"])
            except S3Refusal as refusal:
                if refusal.status != 404:
                    raise

    def _artifact(self, name: str, size_bytes: int, sha256: str) -> Artifact:
        return Artifact(key=name, url=self._url(name), size_bytes=size_bytes, sha256=sha256, binary=is_binary(name))

    def _url(self, name: str) -> str:
        settings = self._settings
        bucket, key = quote(settings.bucket, safe=""), quote(name)
        if settings.browse_url:
            return settings.browse_url.replace("{bucket}", bucket).replace("{key}", key)
        if settings.endpoint_url:
            return f"s3://{settings.bucket}/{name}"
        console = next(
            (host for start, host in CONSOLES.items() if settings.region.startswith(start)),
            f"{settings.region}.console.aws.amazon.com",
        )
        return f"https://{console}/s3/object/{bucket}?region={settings.region}&prefix={key}"


def _plain(name: str) -> str:
    """A file's name as a header can have it."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)


def _mark_of(head: dict[str, Any]) -> str | None:
    mark: str | None = head["Metadata"].get(MARK)  # some servers keep no metadata
    return mark

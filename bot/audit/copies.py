"""Copies the journal into S3 while the bot runs: segments of JSON lines, each a row as it is stored, with its hash.

A segment's key is ``PREFIX/JOURNAL/FIRST-LAST-HASH.jsonl``: the journal's own name, the numbers of its first and last row,
and the beginning of the last one's hash. With object lock nobody can change or remove it, and as that hash depends on all rows
before it, the key alone holds the whole journal up to there.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import select

from bot.errors import JournalError, StoreError
from bot.journal import Journal
from bot.journal.chain import FIELDS
from bot.journal.tables import events
from bot.retention import Audit
from bot.secrets import Renewing
from bot.settings import S3
from bot.stores.bucket import Bucket
from bot.stores.words import S3Refusal

NAME, TOPIC = "audit", "copied"  # what the journal remembers of how far it was copied
PAGE_ROWS = 200  # read at once
SEGMENT_BYTES = 4 * 1024 * 1024  # after which a segment ends
FINISH_S = 10.0
HASH_CHARS = 16  # of the last row's, in a key
FORBIDDEN = 403
THERE = 412  # an earlier try, or another process, has written this very segment

log = structlog.get_logger()


def settings_of(audit: Audit, s3: S3) -> S3:
    """The bucket of the copies, reached as the other one."""
    return replace(s3, bucket=audit.bucket, prefix=audit.prefix, retention={}, keys={})


class Copies:
    """Copies what is new, and goes on where any process of this journal left off."""

    def __init__(
        self,
        journal: Journal,
        bucket: Bucket,
        audit: Audit,
        s3: S3,
        *,
        now: Callable[[], datetime],
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self._segment_bytes = segment_bytes
        self._journal = journal
        self._bucket = bucket
        self._audit = audit
        self._s3 = s3
        self._now = now

    async def keep(self) -> None:
        """For ever: copy what is new, at once and then again and again."""
        while True:
            try:
                await self.copy()
            except (StoreError, JournalError) as error:
                log.warning("the journal is not copied", bucket=self._audit.bucket, reason=error.reason)
            await asyncio.sleep(self._audit.every_s)

    async def finish(self) -> None:
        """Copy the last rows of this process, within FINISH_S; what is left is copied by the next one."""
        try:
            async with asyncio.timeout(FINISH_S):
                await self.copy()
        except (StoreError, JournalError, TimeoutError) as error:
            log.warning("the last rows of the journal are not copied yet", bucket=self._audit.bucket, reason=str(error))

    async def copy(self) -> int:
        """Copy all rows that are new; returns the last one's number. Raises StoreError and JournalError."""
        copied, _ = await self._journal.memory(NAME, TOPIC) or (0, {})
        name = await self._journal.name()
        rows: list[Mapping[str, Any]] = []
        size_bytes = 0
        while page := await self._page(rows[-1]["seq"] if rows else copied):
            rows += page
            size_bytes += sum(len(row["body"]) for row in page)
            if size_bytes >= self._segment_bytes:
                copied, rows, size_bytes = await self._put(name, rows), [], 0
        return await self._put(name, rows) if rows else copied

    async def _page(self, after: int) -> list[Mapping[str, Any]]:
        query = select(events).where(events.c.seq > after).order_by(events.c.seq).limit(PAGE_ROWS)
        return [{name: getattr(row, name) for name in (*FIELDS, "hash")} for row in await self._journal.rows(query)]

    async def _put(self, name: str, rows: Sequence[Mapping[str, Any]]) -> int:
        last: int = rows[-1]["seq"]
        key = segment_key(self._audit.prefix, name, rows[0]["seq"], last, rows[-1]["hash"] or "")
        body = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        try:
            await self._bucket.create("put_object", Key=key, Body=io.BytesIO(body), **self._headers())
        except S3Refusal as refusal:
            if refusal.status != THERE:
                raise
        await self._journal.remember(NAME, TOPIC, last, {"key": key})
        return last

    def _headers(self) -> dict[str, Any]:
        headers: dict[str, Any] = {
            "ContentType": "application/x-ndjson",
            "CacheControl": "private, no-store",
            "ChecksumAlgorithm": "SHA256",  # S3 takes nothing under lock without one
        }
        if self._s3.encryption:
            headers["ServerSideEncryption"] = self._s3.encryption
            if self._s3.kms_key:
                headers["SSEKMSKeyId"] = self._s3.kms_key
        if lock := self._audit.lock:
            headers["ObjectLockMode"] = lock.mode.upper()
            headers["ObjectLockRetainUntilDate"] = self._now() + timedelta(days=lock.days)
        return headers


async def check(journal: Journal, audit: Audit, s3: S3, secrets: Renewing) -> list[str]:
    """What `capturebot doctor` says of the copies: "ok: …", "warn: … — cure" or "fault: … — cure". Raises StoreError.

    Nothing is written: it could not be removed again.
    """
    copied, memory = await journal.memory(NAME, TOPIC) or (0, {})
    bucket = await Bucket.open(settings_of(audit, s3), secrets)
    try:
        await bucket.page("list_objects_v2", Prefix=audit.prefix, MaxKeys=1)
        lines = [f"ok: {_progress(copied, journal.last)}", await _locked(bucket, audit)]
        if key := memory.get("key"):
            await bucket.call("head_object", Key=key)
            lines.append(f"ok: the newest copy is there: {key}")
        return lines
    finally:
        await bucket.close()


def _progress(copied: int, last: int) -> str:
    return (
        f"rows up to {copied} of {last} are copied" if copied else "nothing is copied yet; `capturebot serve` does it"
    )


async def _locked(bucket: Bucket, audit: Audit) -> str:
    """Whether what is written stays; a lock that is asked for of a bucket without any is refused."""
    cure = "make the bucket anew with object lock: aws s3api create-bucket --object-lock-enabled-for-bucket"
    try:
        found = (await bucket.call("get_object_lock_configuration")).get("ObjectLockConfiguration", {})
    except S3Refusal as refusal:
        if refusal.status == FORBIDDEN:
            return f"warn: {refusal.reason} Whether copies are locked cannot be checked."
        found = {}
    if found.get("ObjectLockEnabled") != "Enabled":
        fault = "fault" if audit.lock else "warn"
        return f"{fault}: {audit.bucket} has no object lock, so copies can be removed — {cure}"
    if audit.lock:
        return f"ok: copies are locked for {audit.lock.days} days ({audit.lock.mode})"
    rule = found.get("Rule", {}).get("DefaultRetention", {})
    if not rule:
        return f"warn: neither `audit.lock` nor {audit.bucket} says for how long copies are locked — add `lock`"
    return f"ok: the bucket's own rule locks copies ({rule.get('Mode', '')}, {rule.get('Days', rule.get('Years'))})"


def segment_key(prefix: str, name: str, first: int, last: int, row_hash: str) -> str:
    """The key of a segment."""
    folder = folder_key(prefix, name)
    return f"{folder}{first:012d}-{last:012d}-{row_hash[:HASH_CHARS]}.jsonl"


def folder_key(prefix: str, name: str) -> str:
    """What the keys of one journal's segments begin with."""
    return f"{prefix.strip('/')}/{name}/".lstrip("/")

"""Holds the journal against its copies in S3: what was rewritten, or cut off its end, cannot agree with them."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from bot.audit.copies import folder_key
from bot.journal.looking import row as row_of
from bot.journal.proof import Fault
from bot.settings import S3
from bot.stores.bucket import Bucket
from bot.stores.words import S3Refusal

LISTED = 1_000_000  # copies that are looked at
READ_BYTES = 256 * 1024 * 1024  # the longest copy that is read
NO_VERSIONS = {400, 404, 405, 501}  # of servers that do not know of them
_KEY = re.compile(r"(?P<first>\d{12,})-(?P<last>\d{12,})-(?P<hash>[0-9a-f]*)\.jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A copy of some rows: its key says how the journal stood when it was made."""

    key: str
    first: int
    last: int
    hash: str  # the beginning of the last row's
    at: datetime
    hidden: bool = False  # somebody deleted it, and the bucket kept it

    def __str__(self) -> str:
        return f"{self.key} of {self.at:%Y-%m-%d %H:%M} UTC"


Fetch = Callable[[Anchor], Awaitable[bytes]]


async def anchors(bucket: Bucket, settings: S3, name: str) -> list[Anchor]:
    """The copies of the journal that has this *name*, in the order of their rows. Raises StoreError."""
    folder = folder_key(settings.prefix, name)
    try:
        deleted = {item["Key"] async for item in _all(bucket, "list_object_versions", "DeleteMarkers", folder)}
        found = [_anchor(item) async for item in _all(bucket, "list_object_versions", "Versions", folder)]
    except S3Refusal as refusal:
        if refusal.status not in NO_VERSIONS:
            raise
        deleted = set()
        found = [_anchor(item) async for item in _all(bucket, "list_objects_v2", "Contents", folder)]
    oldest: dict[str, Anchor] = {}  # of each key: a later version is what somebody put over it
    for one in found:
        if one and (one.key not in oldest or one.at < oldest[one.key].at):
            oldest[one.key] = replace(one, hidden=one.key in deleted)
    return sorted(oldest.values(), key=lambda anchor: (anchor.last, anchor.at))


async def _all(bucket: Bucket, operation: str, field: str, folder: str) -> AsyncIterator[dict[str, Any]]:
    place: dict[str, Any] = {}
    seen = 0
    while seen < LISTED:
        page = await bucket.call(operation, Prefix=folder, **place)
        for item in page.get(field, []):
            yield item
        seen += len(page.get(field, [])) + 1
        if not page.get("IsTruncated"):
            return
        # NextContinuationToken, NextKeyMarker and NextVersionIdMarker say where to go on.
        place = {name.removeprefix("Next"): page[name] for name in page if name.startswith("Next")}


def _anchor(item: dict[str, Any]) -> Anchor | None:
    if (match := _KEY.fullmatch(item["Key"].rpartition("/")[2])) is None:
        return None
    first, last = int(match["first"]), int(match["last"])
    return Anchor(key=item["Key"], first=first, last=last, hash=match["hash"], at=item["LastModified"])


async def hold_against(connection: Connection, found: Sequence[Anchor], fetch: Fetch) -> Fault | None:
    """The first row that is not as it was copied; None where all copies agree. Raises what *fetch* raises."""
    for anchor in found:
        row = row_of(connection, anchor.last)
        if row is None or not (row["hash"] or b"").decode("ascii", "replace").startswith(anchor.hash):
            return _located(connection, anchor, await fetch(anchor))
    return None


def _located(connection: Connection, anchor: Anchor, body: bytes) -> Fault:
    """The first row of a copy that the journal has otherwise, or not at all."""
    for copied in _lines(body):
        row = row_of(connection, copied["seq"])
        if row is None:
            return Fault(copied["seq"], copied["at"], f"it is in the copy {anchor}, and not in the journal any more")
        if (row["hash"] or b"").decode("ascii", "replace") != copied["hash"]:
            return Fault(copied["seq"], copied["at"], f"it is not as it was when it was copied to {anchor}")
    return Fault(anchor.last, "", f"it is not as it was when it was copied to {anchor}")


def _lines(body: bytes) -> Iterator[dict[str, Any]]:
    """The rows of a copy, as far as it is one: where the bucket keeps no versions, anything may lie in its place."""
    for line in body.decode("utf-8", "replace").splitlines():
        try:
            copied = json.loads(line)
        except ValueError:
            return
        if (
            not isinstance(copied, dict)
            or not isinstance(copied.get("seq"), int)
            or not {"at", "hash"} <= copied.keys()
        ):
            return
        yield copied


def covering(found: Sequence[Anchor], seq: int) -> Anchor | None:
    """The first copy that holds a row."""
    return next((anchor for anchor in found if anchor.first <= seq <= anchor.last), None)

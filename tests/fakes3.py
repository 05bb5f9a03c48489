"""A fake of the S3 client's calls, in memory. What a test wants to go wrong, it puts into a hook."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from botocore.exceptions import ClientError

from bot.settings import S3
from bot.stores.s3access import BLOCKS

AT = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
BUCKET = S3(bucket="evidence", region="eu-west-1")

AUDIT_BUCKET = "evidence-audit"
NOWHERE = "http://127.0.0.1:9"  # nothing listens there
Hook = Callable[[str, dict[str, Any]], Awaitable[None]]  # operation, arguments


def refused(operation: str, status: int, code: str = "") -> ClientError:
    """Make the error that the client raises when S3 answers with one."""
    answer = {"Error": {"Code": code or str(status), "Message": "S3 says so"}}
    return ClientError({**answer, "ResponseMetadata": {"HTTPStatusCode": status}}, operation)


async def nothing(_operation: str, _arguments: dict[str, Any]) -> None:
    """Let every call through."""


@dataclass(kw_only=True)
class Kept:
    data: bytes
    headers: dict[str, Any]
    at: datetime = AT


@dataclass
class Body:
    """What `get_object` answers with: to be read once, then closed."""

    data: bytes

    async def read(self) -> bytes:
        return self.data

    def close(self) -> None:
        self.data = b""


class FakeS3:
    """One bucket. *before* runs before each call and may wait or raise, *after* when its work is done."""

    def __init__(self, *, before: Hook = nothing, after: Hook = nothing) -> None:
        self.before, self.after = before, after
        self.objects: dict[str, Kept] = {}
        self.uploads: dict[str, tuple[dict[str, Any], dict[int, bytes]]] = {}  # open ones
        self.calls: Counter[str] = Counter()
        self.rules: list[dict[str, Any]] = [
            {"Status": "Enabled", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}
        ]
        self.unblocked: dict[str, bool] = {}  # parts of the public access block
        self.is_public = False  # its policy
        self.lock_rule: dict[str, Any] | None = {}  # the bucket's own; None: it has no object lock
        self.deleted: list[str] = []  # keys of objects that the bucket hides and keeps
        self.parts: list[int] = []  # sizes, by number, of the last upload that was completed

    async def create_multipart_upload(self, **arguments: Any) -> dict[str, Any]:
        await self._begin("create_multipart_upload", arguments)
        upload = uuid4().hex
        self.uploads[upload] = (arguments, {})
        await self.after("create_multipart_upload", arguments)
        return {"UploadId": upload}

    async def upload_part(self, **arguments: Any) -> dict[str, Any]:
        await self._begin("upload_part", arguments)
        number = arguments["PartNumber"]
        self._parts("upload_part", arguments)[number] = arguments["Body"].read()
        return {"ETag": f'"{number}"'} | ({"ChecksumCRC32": f"sum {number}"} if self._has_sums(arguments) else {})

    async def complete_multipart_upload(self, **arguments: Any) -> dict[str, Any]:
        await self._begin("complete_multipart_upload", arguments)
        parts = self._parts("complete_multipart_upload", arguments)
        self._condition("complete_multipart_upload", arguments)
        named = [part["PartNumber"] for part in arguments["MultipartUpload"]["Parts"]]
        assert named == sorted(parts), "parts are named in order, none left out"
        # AWS refuses an upload that was opened with checksums when one is missing here.
        sums = [f"sum {number}" if self._has_sums(arguments) else None for number in named]
        assert [part.get("ChecksumCRC32") for part in arguments["MultipartUpload"]["Parts"]] == sums
        headers, _ = self.uploads.pop(arguments["UploadId"])
        self.objects[arguments["Key"]] = Kept(data=b"".join(parts[n] for n in named), headers=headers)
        self.parts = [len(parts[n]) for n in named]
        await self.after("complete_multipart_upload", arguments)
        return {"ETag": '"whole"'}

    async def abort_multipart_upload(self, **arguments: Any) -> dict[str, Any]:
        await self._begin("abort_multipart_upload", arguments)
        self._parts("abort_multipart_upload", arguments)
        del self.uploads[arguments["UploadId"]]
        return {}

    async def put_object(self, **arguments: Any) -> dict[str, Any]:
        await self._begin("put_object", arguments)
        self._condition("put_object", arguments)
        body: io.BytesIO = arguments["Body"]
        self.objects[arguments["Key"]] = Kept(data=body.read(), headers=arguments)
        await self.after("put_object", arguments)
        return {"ETag": '"one"'}

    async def head_object(self, **arguments: Any) -> dict[str, Any]:
        await self._begin("head_object", arguments)
        if arguments["Key"] not in self.objects:
            raise refused("head_object", 404)
        kept = self.objects[arguments["Key"]]
        answer = {"ContentLength": len(kept.data), "Metadata": kept.headers["Metadata"]}
        encryption = kept.headers.get("ServerSideEncryption")
        key = kept.headers.get("SSEKMSKeyId")
        return (
            answer
            | ({"ServerSideEncryption": encryption} if encryption else {})
            | ({"SSEKMSKeyId": f"arn:aws:kms:::{key}"} if key else {})
        )

    async def get_object(self, **arguments: Any) -> dict[str, Any]:
        await self._begin("get_object", arguments)
        if arguments["Key"] not in self.objects:
            raise refused("get_object", 404, "NoSuchKey")
        data = self.objects[arguments["Key"]].data
        return {"ContentLength": len(data), "Body": Body(data)}

    async def get_bucket_lifecycle_configuration(self, **arguments: Any) -> dict[str, Any]:
        await self._begin("get_bucket_lifecycle_configuration", arguments)
        return {"Rules": self.rules}

    async def get_public_access_block(self, **arguments: Any) -> dict[str, Any]:
        await self._begin("get_public_access_block", arguments)
        return {"PublicAccessBlockConfiguration": dict.fromkeys(BLOCKS, True) | self.unblocked}

    async def get_bucket_policy_status(self, **arguments: Any) -> dict[str, Any]:
        await self._begin("get_bucket_policy_status", arguments)
        return {"PolicyStatus": {"IsPublic": self.is_public}}

    async def get_object_lock_configuration(self, **arguments: Any) -> dict[str, Any]:
        await self._begin("get_object_lock_configuration", arguments)
        if self.lock_rule is None:
            raise refused("get_object_lock_configuration", 404, "ObjectLockConfigurationNotFoundError")
        rule = {"Rule": {"DefaultRetention": self.lock_rule}} if self.lock_rule else {}
        return {"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled", **rule}}

    async def list_object_versions(self, **arguments: Any) -> dict[str, Any]:
        await self._begin("list_object_versions", arguments)
        here = {key: kept for key, kept in sorted(self.objects.items()) if key.startswith(arguments["Prefix"])}
        versions = [
            {"Key": key, "VersionId": "null", "LastModified": kept.at, "Size": len(kept.data)}
            for key, kept in here.items()
        ]
        return {"Versions": versions, "DeleteMarkers": [{"Key": key} for key in self.deleted], "IsTruncated": False}

    async def generate_presigned_url(self, operation: str, *, Params: dict[str, Any], ExpiresIn: int) -> str:  # noqa: N803  boto's names
        return f"{NOWHERE}/{Params['Key']}?{urlencode({'for': ExpiresIn, **Params})}"

    async def delete_object(self, **arguments: Any) -> dict[str, Any]:
        await self._begin("delete_object", arguments)
        self.objects.pop(arguments["Key"], None)
        return {}

    async def list_multipart_uploads(self, **arguments: Any) -> dict[str, Any]:
        await self._begin("list_multipart_uploads", arguments)
        found = [(headers["Key"], upload) for upload, (headers, _) in self.uploads.items()]
        here = sorted(pair for pair in found if pair[0].startswith(arguments["Prefix"]))
        left = [pair for pair in here if pair > (arguments.get("KeyMarker", ""), arguments.get("UploadIdMarker", ""))]
        page, more = left[:2], left[2:]  # two a page
        answer = {"Uploads": [{"Key": key, "UploadId": upload} for key, upload in page], "IsTruncated": bool(more)}
        return answer | ({"NextKeyMarker": page[-1][0], "NextUploadIdMarker": page[-1][1]} if more else {})

    async def list_objects_v2(self, **arguments: Any) -> dict[str, Any]:
        await self._begin("list_objects_v2", arguments)
        here = sorted(key for key in self.objects if key.startswith(arguments["Prefix"]))
        left = [key for key in here if key > arguments.get("ContinuationToken", "")]
        page, more = left[:2], left[2:]
        answer = {"Contents": [{"Key": key, "Size": len(self.objects[key].data), "LastModified": AT} for key in page]}
        return {**answer, "IsTruncated": bool(more)} | ({"NextContinuationToken": page[-1]} if more else {})

    async def _begin(self, operation: str, arguments: dict[str, Any]) -> None:
        assert arguments["Bucket"] in {BUCKET.bucket, AUDIT_BUCKET}
        self.calls[operation] += 1
        await self.before(operation, arguments)

    def _parts(self, operation: str, arguments: dict[str, Any]) -> dict[int, bytes]:
        if arguments["UploadId"] not in self.uploads:
            raise refused(operation, 404, "NoSuchUpload")
        return self.uploads[arguments["UploadId"]][1]

    def _has_sums(self, arguments: dict[str, Any]) -> bool:
        headers, _ = self.uploads[arguments["UploadId"]]
        return "ChecksumAlgorithm" in headers

    def _condition(self, operation: str, arguments: dict[str, Any]) -> None:
        if arguments.get("IfNoneMatch") == "*" and arguments["Key"] in self.objects:
            raise refused(operation, 412, "PreconditionFailed")

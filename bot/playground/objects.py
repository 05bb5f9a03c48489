"""The stored objects as a person reads them: a list and each file, read from the S3 server with its own key."""

from __future__ import annotations

import hashlib
import html
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote

import aioboto3
from aiobotocore.config import AioConfig
from aiohttp import web
from botocore.exceptions import ClientError

from bot.playground.s3 import PrivateS3

LISTED = 1000  # objects
PIECE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One object as the server has it."""

    key: str
    size_bytes: int
    sha256: str  # of the bytes that were read back


class Objects:
    """Reads the playground's bucket."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    @classmethod
    @asynccontextmanager
    async def of(cls, s3: PrivateS3) -> AsyncIterator[Self]:
        """A reader of that server's bucket."""
        session = aioboto3.Session(
            aws_access_key_id=s3.access_key, aws_secret_access_key=s3.secret_key, region_name="us-east-1"
        )
        config = AioConfig(s3={"addressing_style": "path"})
        async with session.client("s3", endpoint_url=s3.endpoint_url, config=config) as client:
            yield cls(client, s3.bucket)

    async def keys(self, prefix: str = "") -> list[str]:
        """At most LISTED keys, sorted."""
        answer = await self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, MaxKeys=LISTED)
        return sorted(item["Key"] for item in answer.get("Contents", []))

    async def read_back(self, key: str) -> Stored:
        """Read one object whole and measure it."""
        answer = await self._client.get_object(Bucket=self._bucket, Key=key)
        digest, size = hashlib.sha256(), 0
        async for piece in answer["Body"].iter_chunks(PIECE_BYTES):
            digest.update(piece)
            size += len(piece)
        return Stored(key=key, size_bytes=size, sha256=digest.hexdigest())

    async def text(self, key: str) -> str:
        """One small object as text."""
        answer = await self._client.get_object(Bucket=self._bucket, Key=key)
        body: bytes = await answer["Body"].read()
        return body.decode("utf-8", "replace")

    def pages(self) -> list[web.AbstractRouteDef]:
        """Routes for the playground's page: `/files/` and `/files/KEY`."""
        return [web.get("/files/", self._list), web.get("/files/{key:.+}", self._file)]

    async def _list(self, _request: web.Request) -> web.Response:
        rows = "".join(
            f'<li><a href="/files/{quote(key)}">{html.escape(key)}</a></li>' for key in reversed(await self.keys())
        )
        page = (
            "<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'>"
            "<title>Stored files</title><style>body{font:16px/1.6 system-ui;margin:1rem;overflow-wrap:anywhere;"
            "color-scheme:light dark}li{margin:.3rem 0}</style>"
            f"<h1>Stored files</h1><ul>{rows or '<li>nothing yet</li>'}</ul>"
        )
        return web.Response(text=page, content_type="text/html")

    async def _file(self, request: web.Request) -> web.StreamResponse:
        try:
            answer = await self._client.get_object(Bucket=self._bucket, Key=request.match_info["key"])
        except ClientError:
            return web.Response(status=404, text="There is no such file.\n")
        response = web.StreamResponse(
            headers={
                "Content-Type": answer["ContentType"],
                "Content-Disposition": answer.get("ContentDisposition", "inline"),
            }
        )
        await response.prepare(request)
        async for piece in answer["Body"].iter_chunks(PIECE_BYTES):
            await response.write(piece)
        await response.write_eof()
        return response

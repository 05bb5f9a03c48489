"""One bucket behind one shared client: every call is bounded in time, every error is a sentence."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import io
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Any, Self, TypeVar

import aiohttp
from aiobotocore.config import AioConfig
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from bot.errors import SecretMissing, StoreError
from bot.secrets import Renewing
from bot.secrets.rotating import Rotating
from bot.secrets.signing import keys_of, session_of
from bot.settings import S3
from bot.stores import words

CONNECT_S = 5.0
SILENT_S = 60.0  # how long an answer may take once everything was sent
CALL_S = 90.0  # one call with all its attempts
SLOWEST_BYTES_PER_S = 64 * 1024  # a body that is sent more slowly is given up
PIECE_BYTES = 256 * 1024  # read at once
ATTEMPTS = 4  # for 5xx, 429 and broken connections, with growing pauses
CONNECTIONS = 64  # more than there are calls at once: parts of an upload crawl behind a smaller pool

NO_ANSWER = (BotoCoreError, ResponseParserError, aiohttp.ClientError, OSError)  # TimeoutError is an OSError

T = TypeVar("T")


class Bucket:
    """Calls of *client* with the bucket filled in. Raises S3Refusal for S3's errors, StoreError for all others.

    What is refused for its *keys* is sent once more if there are others meanwhile.
    """

    def __init__(
        self, client: Any, settings: S3, *, closing: AsyncExitStack | None = None, keys: Rotating | None = None
    ) -> None:
        self._client = client
        self._settings = settings
        self._keys = keys
        self._closing = closing or AsyncExitStack()
        self._knows_conditions = True

    @classmethod
    async def open(cls, settings: S3, secrets: Renewing) -> Self:
        """Make the client, which takes 0.2 s; nothing is sent yet. Keys that are missing now are told now."""
        closing = AsyncExitStack()
        keys = keys_of(secrets, settings.access_key, settings.secret_key)
        if keys:
            await keys.now()
        try:
            session = session_of(keys, region=settings.region)
            client = await closing.enter_async_context(
                session.client("s3", endpoint_url=settings.endpoint_url, config=_config(settings))
            )
        except (BotoCoreError, ValueError) as error:
            raise StoreError(f"The s3 section of capturebot.yml cannot be used: {error}.") from error
        return cls(client, settings, closing=closing, keys=keys)

    async def call(self, operation: str, *, within_s: float = CALL_S, **arguments: Any) -> dict[str, Any]:
        """Call the client's *operation* and return S3's answer; a ``Body`` adds the time that it may take to *within_s*."""
        body: io.BytesIO | None = arguments.get("Body")
        if body:
            within_s += len(body.getbuffer()) / SLOWEST_BYTES_PER_S

        async def ask() -> dict[str, Any]:
            if body:
                body.seek(0)
            answer: dict[str, Any] = await getattr(self._client, operation)(Bucket=self._settings.bucket, **arguments)
            return answer

        place = arguments.get("Key", arguments.get("Prefix", ""))
        return await self._told(ask, operation=operation, place=place, within_s=within_s)

    async def create(self, operation: str, **arguments: Any) -> None:
        """Call an *operation* that makes an object, on the condition that there is none of that key.

        Servers that do not know the condition say so once and are then asked without; some ignore it
        silently. A caller therefore looks the key up first and takes this for a guard against races.
        """
        if self._knows_conditions:
            try:
                await self.call(operation, IfNoneMatch="*", **arguments)
            except words.S3Refusal as refusal:
                if refusal.status != 501:
                    raise
                self._knows_conditions = False
            else:
                return
        await self.call(operation, **arguments)

    async def page(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """Call a listing *operation*; {} where nothing can be listed."""
        try:
            return await self.call(operation, **arguments)
        except words.S3Refusal as refusal:
            # rclone says so of a bucket that never had an upload, other servers that they keep no list.
            if refusal.code in {"NoSuchUpload", "NotImplemented"}:
                return {}
            raise

    async def fetch(self, key: str, *, limit_bytes: int, **version: str) -> bytes:
        """Return an object whole; raises StoreError when it is longer than *limit_bytes*."""

        async def whole() -> bytes:
            answer = await self._client.get_object(Bucket=self._settings.bucket, Key=key, **version)
            body = answer["Body"]
            try:
                if answer["ContentLength"] > limit_bytes:
                    raise StoreError(
                        f"{key} has {answer['ContentLength']} bytes; only objects of up to {limit_bytes} are read whole."
                    )
                data: bytes = await body.read()
                return data
            finally:
                body.close()

        return await self._told(whole, operation="get_object", place=key, within_s=CALL_S)

    async def first_version(self, key: str, *, limit_bytes: int) -> bytes:
        """The object as it was when it was stored first, also where somebody deleted it or put another over it."""
        try:
            listed = await self.call("list_object_versions", Prefix=key)
        except words.S3Refusal:  # a server without versions
            return await self.fetch(key, limit_bytes=limit_bytes)
        # The newest comes first; of one second, then, the last is the oldest.
        versions = [item for item in reversed(listed.get("Versions", [])) if item["Key"] == key]
        oldest = min(versions, key=lambda item: item["LastModified"], default={"VersionId": "null"})
        version = {"VersionId": oldest["VersionId"]} if oldest["VersionId"] != "null" else {}
        return await self.fetch(key, limit_bytes=limit_bytes, **version)

    async def presign(self, key: str, *, seconds: int, **answered: str) -> str:
        """An address that gives the object to whoever has it for *seconds*, with the headers *answered*; nothing is sent."""
        parameters = {"Bucket": self._settings.bucket, "Key": key, **answered}

        async def make() -> str:
            return str(await self._client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=seconds))

        return await self._told(make, operation="get_object", place=key, within_s=CALL_S)

    async def digest(self, key: str, size_bytes: int) -> str:
        """The SHA-256, hex, of an object of that size, which is read in pieces."""

        async def read() -> str:
            body = (await self._client.get_object(Bucket=self._settings.bucket, Key=key))["Body"]
            digest = hashlib.sha256()
            try:
                while piece := await body.read(PIECE_BYTES):
                    digest.update(piece)
            finally:
                body.close()
            return digest.hexdigest()

        within_s = CALL_S + size_bytes / SLOWEST_BYTES_PER_S
        return await self._told(read, operation="get_object", place=key, within_s=within_s)

    async def close(self) -> None:
        """Close the client's connections."""
        await self._closing.aclose()

    async def _told(self, ask: Callable[[], Awaitable[T]], *, operation: str, place: str, within_s: float) -> T:
        asked = functools.partial(self._asked, ask, operation=operation, place=place, within_s=within_s)
        if self._keys is None:
            return await asked()
        try:
            used = await self._keys.now()
            try:
                return await asked()
            except words.S3Refusal as refusal:
                if not await self._are_replaced(self._keys, used, refusal):
                    raise
            return await asked()
        except SecretMissing as missing:
            raise words.of_keys(missing, operation=operation, place=place, settings=self._settings) from missing

    async def _asked(self, ask: Callable[[], Awaitable[T]], *, operation: str, place: str, within_s: float) -> T:
        try:
            async with asyncio.timeout(within_s):
                return await ask()
        except ClientError as error:
            raise words.of_answer(error, operation=operation, place=place, settings=self._settings) from error
        except NO_ANSWER as error:
            raise words.of_way(
                error, operation=operation, place=place, within_s=within_s, settings=self._settings
            ) from error

    async def _are_replaced(self, keys: Rotating, used: tuple[str, ...], refusal: words.S3Refusal) -> bool:
        """Whether there are keys that *refusal* does not speak of. Where it may be about permissions, no store is asked anew."""
        about_keys = refusal.code in words.KEYS_REFUSED
        if not about_keys and refusal.status != HTTPStatus.FORBIDDEN:
            return False
        try:
            return await keys.replaced(used, anew=about_keys)
        except SecretMissing as missing:
            why = f"{refusal.reason} Whether there are newer keys is not known: {missing.reason}"
            raise words.S3Refusal(why, status=refusal.status, code=refusal.code) from None


def has_checksums(settings: S3) -> bool:
    """Say whether bodies carry a CRC32 that the server checks.

    AWS does. Many other servers do not know it; they get a signed SHA-256 of the body instead, which
    botocore sends wherever it sends no checksum.
    """
    return settings.endpoint_url is None


def _config(settings: S3) -> AioConfig:
    checksums = "when_supported" if has_checksums(settings) else "when_required"
    return AioConfig(
        signature_version="s3v4",  # the older one, which botocore still presigns with in some regions, KMS refuses
        s3={"addressing_style": "path" if settings.path_style else "auto"},
        request_checksum_calculation=checksums,
        response_checksum_validation=checksums,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        connect_timeout=CONNECT_S,
        read_timeout=SILENT_S,
        max_pool_connections=CONNECTIONS,
    )

"""Long objects into S3: in parts, several at once, in bounded memory, and never left half done.

The SDK's own `upload_fileobj` is not used: with a slow server it holds the whole object in memory,
cancelled it goes on uploading and leaves the upload open, and when every part is refused it hangs.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping
from typing import Any

import structlog

from bot.errors import StoreError
from bot.stores.bucket import Bucket
from bot.stores.intake import Intake
from bot.stores.words import S3Refusal
from bot.tasks import Tasks

MIB = 1024 * 1024
PART_BYTES = 8 * MIB
LATER_PART_BYTES = 16 * MIB
SMALLER_PARTS = 1_000  # after them come the larger ones
PARTS = 10_000  # S3's own limit
LONGEST_BYTES = SMALLER_PARTS * PART_BYTES + (PARTS - SMALLER_PARTS) * LATER_PART_BYTES  # 148 GiB

IN_FLIGHT = 3  # parts under way at once, of all uploads together; more cost memory and gain nothing
COMPLETE_S = 300.0  # putting thousands of parts together may take a server minutes
ABORT_S = 20.0  # how long a failed upload waits for its own removal

log = structlog.get_logger()


def part_bytes(number: int) -> int:
    """Return the size of the part with this *number*, counted from 1."""
    return PART_BYTES if number <= SMALLER_PARTS else LATER_PART_BYTES


def _report(task: str, error: BaseException) -> None:
    # A StoreError reaches the upload that waits for the task. Anything else is a bug.
    if not isinstance(error, StoreError):
        log.error("a task of an upload died", task=task, exc_info=error)


class Uploader:
    """Uploads to one bucket. Holds one block for each upload and IN_FLIGHT more for all of them."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._room = asyncio.Semaphore(IN_FLIGHT)
        self._tasks = Tasks(on_error=_report)

    async def upload(self, key: str, first: io.BytesIO, rest: Intake, headers: Mapping[str, Any]) -> None:
        """Store *first*, which is a whole part, and the *rest* under *key*.

        On any other exit than success the upload is aborted before the error goes on, within ABORT_S;
        what a cancellation during the very last call leaves is nothing or the whole object. Raises
        S3Refusal, StoreError and whatever *rest* raises.
        """
        opening = self._tasks.start(
            self._bucket.call("create_multipart_upload", Key=key, **headers), name=f"open {key}"
        )
        try:
            # Shielded, because an upload whose opening was abandoned half-way could not be aborted.
            upload = {"Key": key, "UploadId": (await asyncio.shield(opening))["UploadId"]}
            parts = await self._send_all(upload, first, rest)
            await self._bucket.create(
                "complete_multipart_upload", **upload, MultipartUpload={"Parts": parts}, within_s=COMPLETE_S
            )
        except BaseException:
            aborting = self._tasks.start(self._abort(key, opening), name=f"abort {key}")
            await asyncio.wait({aborting}, timeout=ABORT_S)
            raise

    async def close(self) -> None:
        """Let aborts that are under way end."""
        if not await self._tasks.drain(ABORT_S):
            await self._tasks.cancel(ABORT_S)

    async def _send_all(self, upload: Mapping[str, Any], block: io.BytesIO, rest: Intake) -> list[dict[str, Any]]:
        sending: list[asyncio.Task[dict[str, Any]]] = []
        try:
            # A part that fails ends the group, and with it the wait for the next block.
            async with asyncio.TaskGroup() as group:
                while block.getbuffer():
                    if len(sending) == PARTS:
                        raise StoreError(
                            f"The output is longer than the {LONGEST_BYTES >> 30} GiB that fit into one object. "
                            "Lower the step's limit."
                        )
                    await self._room.acquire()
                    task = group.create_task(self._send(upload, len(sending) + 1, block))
                    task.add_done_callback(lambda _: self._room.release())  # also of one that never ran
                    sending.append(task)
                    block = await rest.block(part_bytes(len(sending) + 1))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None  # the first is the cause, the others follow from it
        return [task.result() for task in sending]

    async def _send(self, upload: Mapping[str, Any], number: int, block: io.BytesIO) -> dict[str, Any]:
        answer = await self._bucket.call("upload_part", **upload, PartNumber=number, Body=block)
        block.close()  # its memory is free, whoever still holds it
        sums = {name: answer[name] for name in answer if name.startswith("Checksum") and name != "ChecksumType"}
        return {"PartNumber": number, "ETag": answer["ETag"], **sums}

    async def _abort(self, key: str, opening: asyncio.Task[dict[str, Any]]) -> None:
        try:
            upload = (await opening)["UploadId"]
        except StoreError:
            return  # nothing was opened
        try:
            await self._bucket.call("abort_multipart_upload", Key=key, UploadId=upload)
        except StoreError as error:
            if not (isinstance(error, S3Refusal) and error.status == 404):
                # The bucket's lifecycle rule or the next sweep removes it.
                log.warning("an upload stays open", key=key, reason=error.reason)

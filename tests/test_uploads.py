"""Long objects in parts: whole or nothing, in bounded memory."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import StepFailed, StoreError
from bot.stores.bucket import Bucket
from bot.stores.intake import Intake
from bot.stores.uploads import IN_FLIGHT, LONGEST_BYTES, PART_BYTES, PARTS, Uploader, part_bytes
from tests.fakes3 import BUCKET, FakeS3, nothing, refused

pytestmark = pytest.mark.thorough

MIB = 1024 * 1024
FIVE_MIB = bytes(range(256)) * (5 * MIB // 256)


async def source(count: int, *, end: Exception | None = None) -> AsyncIterator[bytes]:
    """Yield *count* chunks of 5 MiB, then fail with *end* if there is one."""
    for _ in range(count):
        yield FIVE_MIB
    if end:
        raise end


async def in_pieces(data: bytes, cuts: list[int]) -> AsyncIterator[bytes]:
    """Yield *data*, cut at these places."""
    for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
        yield data[start:stop]


async def upload(
    fake: FakeS3, chunks: AsyncIterator[bytes], uploader: Uploader | None = None, *, key: str = "log.txt"
) -> Intake:
    """Upload what comes, which is at least one part, and return what was counted."""
    intake = Intake(chunks)
    uploader = uploader or Uploader(Bucket(fake, BUCKET))
    await uploader.upload(key, await intake.block(part_bytes(1)), intake, {"Metadata": {}})
    return intake


@given(data=st.binary(max_size=2000), cuts=st.lists(st.integers(0, 2000), max_size=20), size=st.integers(1, 700))
def test_blocks_do_not_depend_on_how_the_bytes_arrived(data: bytes, cuts: list[int], size: int) -> None:
    """Any chunking gives the same blocks, all of one size but the last, the same sum and the same count."""
    places = sorted(min(cut, len(data)) for cut in cuts)

    async def read() -> tuple[Intake, list[bytes]]:
        intake = Intake(in_pieces(data, places))
        blocks = []
        while block := (await intake.block(size)).read():
            blocks.append(block)
        return intake, blocks

    intake, blocks = asyncio.run(read())

    assert blocks == [data[start : start + size] for start in range(0, len(data), size)]
    assert (intake.sha256, intake.size_bytes, intake.ended) == (hashlib.sha256(data).hexdigest(), len(data), True)


def test_parts_grow_so_that_their_number_never_runs_out() -> None:
    """Every part is one that S3 takes, and ten thousand of them are the longest object."""
    sizes = [part_bytes(number) for number in range(1, PARTS + 1)]

    assert min(sizes) >= 5 * MIB
    assert sizes == sorted(sizes)
    assert list(accumulate(sizes))[-1] == LONGEST_BYTES


async def test_an_object_arrives_whole_and_in_order() -> None:
    """Parts of equal size, and the rest in the last one."""
    fake = FakeS3()

    intake = await upload(fake, source(5))

    assert fake.objects["log.txt"].data == FIVE_MIB * 5
    assert fake.parts == [PART_BYTES] * 3 + [MIB]
    assert (intake.size_bytes, intake.sha256) == (25 * MIB, hashlib.sha256(FIVE_MIB * 5).hexdigest())
    assert fake.uploads == {}


@pytest.mark.parametrize(
    "operation", ["create_multipart_upload", "upload_part", "complete_multipart_upload"], ids=lambda name: name
)
async def test_a_refusal_anywhere_ends_the_upload_and_leaves_nothing(operation: str) -> None:
    """With every part refused and the pipeline full, the upload ends at once and is aborted."""
    fake = FakeS3()

    async def refuse(called: str, _arguments: dict[str, Any]) -> None:
        if called == operation:
            raise refused(called, 403, "AccessDenied")

    fake.before = refuse
    uploader = Uploader(Bucket(fake, BUCKET))

    async with asyncio.timeout(5):
        with pytest.raises(StoreError, match=r"Access denied.*s3:PutObject"):
            await upload(fake, source(20), uploader)

    assert (fake.uploads, fake.objects) == ({}, {})
    fake.before = nothing
    await upload(fake, source(5), uploader)  # there is room again for all parts
    assert fake.parts == [PART_BYTES] * 3 + [MIB]


async def test_a_refused_part_does_not_wait_for_a_source_that_is_silent() -> None:
    """A log that says nothing for hours must not hide that its first part was refused."""
    closed = asyncio.Event()

    async def silent() -> AsyncIterator[bytes]:
        try:
            yield FIVE_MIB
            yield FIVE_MIB
            await asyncio.Event().wait()
        finally:
            closed.set()

    async def refuse(operation: str, _arguments: dict[str, Any]) -> None:
        if operation == "upload_part":
            raise refused(operation, 403, "AccessDenied")

    fake = FakeS3(before=refuse)

    async with asyncio.timeout(5):
        with pytest.raises(StoreError, match="Access denied"):
            await upload(fake, silent())

    assert closed.is_set()
    assert fake.uploads == {}


async def test_a_source_that_fails_is_told_as_it_is_and_nothing_stays() -> None:
    """The error of the source goes through unchanged."""
    fake = FakeS3()

    with pytest.raises(StepFailed, match="connection lost"):
        await upload(fake, source(4, end=StepFailed("connection lost")))

    assert (fake.uploads, fake.objects) == ({}, {})


@pytest.mark.parametrize("operation", ["create_multipart_upload", "upload_part", "complete_multipart_upload"])
async def test_a_cancelled_upload_is_aborted_wherever_it_stood(operation: str) -> None:
    """Also while the server opens it: the answer is waited for, because without it nothing could be aborted."""
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def wait(called: str, _arguments: dict[str, Any]) -> None:
        if called == operation:
            reached.set()
            await go_on.wait()

    fake = FakeS3(before=wait)
    task = asyncio.get_running_loop().create_task(upload(fake, source(20)))
    await reached.wait()

    task.cancel()
    asyncio.get_running_loop().call_later(0.01, go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (fake.uploads, fake.objects) == ({}, {})
    assert len(asyncio.all_tasks()) == 1


async def test_an_abort_goes_on_when_its_waiter_is_cancelled_too() -> None:
    """Closing the uploader waits for it."""
    aborting, go_on = asyncio.Event(), asyncio.Event()

    async def wait(operation: str, _arguments: dict[str, Any]) -> None:
        if operation == "abort_multipart_upload":
            aborting.set()
            await go_on.wait()

    fake = FakeS3(before=wait)
    uploader = Uploader(Bucket(fake, BUCKET))
    task = asyncio.get_running_loop().create_task(upload(fake, source(4, end=StepFailed("lost")), uploader))
    await aborting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(fake.uploads) == 1

    go_on.set()
    await uploader.close()

    assert fake.uploads == {}


async def test_a_slow_server_slows_the_source_instead_of_filling_memory() -> None:
    """All uploads together have a few parts under way, and each has read one block ahead."""
    under_way = most_under_way = pulled_bytes = acknowledged_bytes = most_ahead_bytes = 0

    async def slow(operation: str, arguments: dict[str, Any]) -> None:
        nonlocal under_way, most_under_way, acknowledged_bytes
        if operation == "upload_part":
            under_way += 1
            most_under_way = max(most_under_way, under_way)
            await asyncio.sleep(0.005)
            under_way -= 1
            acknowledged_bytes += len(arguments["Body"].getbuffer())

    async def counted() -> AsyncIterator[bytes]:
        nonlocal pulled_bytes, most_ahead_bytes
        async for chunk in source(10):
            pulled_bytes += len(chunk)
            most_ahead_bytes = max(most_ahead_bytes, pulled_bytes - acknowledged_bytes)
            yield chunk

    fake = FakeS3(before=slow)
    uploader = Uploader(Bucket(fake, BUCKET))

    async with asyncio.TaskGroup() as group:
        for name in ("one.txt", "two.txt"):
            group.create_task(upload(fake, counted(), uploader, key=name))

    assert most_under_way == IN_FLIGHT
    assert most_ahead_bytes <= (IN_FLIGHT + 2) * PART_BYTES + 2 * len(FIVE_MIB)
    assert {len(kept.data) for kept in fake.objects.values()} == {50 * MIB}

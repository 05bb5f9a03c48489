"""Artifacts in a folder: whole or not there, never overwritten, nobody else's to read."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import os
import resource
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.errors import StepFailed, StoreError
from bot.stores import Store
from bot.stores.folder import PART, READ_BYTES, FolderStore
from bot.stores.intake import once

MIB = 1024 * 1024


async def pieces(data: bytes, *, end: Exception | None = None) -> AsyncIterator[bytes]:
    """Yield *data* in the sizes that a transport has, then fail with *end* if there is one."""
    for start in range(0, len(data), 100_000):
        yield data[start : start + 100_000]
    if end:
        raise end


def files_of(folder: Path) -> list[str]:
    """Return all files below *folder*, hidden ones too."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def modes_of(folder: Path) -> tuple[set[int], set[int]]:
    """Return the modes of all folders from *folder* on, and of all files below it."""
    below = list(folder.rglob("*"))
    folders = {path.stat().st_mode & 0o777 for path in [folder, *below] if path.is_dir()}
    return folders, {path.stat().st_mode & 0o777 for path in below if path.is_file()}


def make(folder: Path, *, mode: int = 0o700) -> None:
    """Make *folder*."""
    folder.mkdir(mode=mode)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder that does not exist yet."""
    return tmp_path / "artifacts"


def test_it_is_a_store(root: Path) -> None:
    """The type checker holds it against the protocol."""
    store: Store = FolderStore(root)

    assert store


@pytest.mark.parametrize("size", [0, 1, 3 * MIB + 17])
async def test_what_is_stored_is_what_came(root: Path, size: int) -> None:
    """The checksum, the size and the link are of the file's bytes."""
    data = os.urandom(size)
    store = FolderStore(root)

    artifact = await store.put("c/orders db/ps.txt", pieces(data))

    assert (root / "c/orders db/ps.txt").read_bytes() == data
    assert await store.read(artifact.key) == data
    assert (artifact.size_bytes, artifact.sha256) == (size, hashlib.sha256(data).hexdigest())
    assert artifact.url == f"file://{root}/c/orders%20db/ps.txt"
    assert files_of(root) == ["c/orders db/ps.txt"]


async def test_only_the_bots_user_may_read_it(root: Path) -> None:
    """Every file and every folder, whatever the umask allows."""
    before = os.umask(0)
    try:
        await FolderStore(root).put("c/t/ps.txt", once(b"x"))
    finally:
        os.umask(before)

    assert modes_of(root) == ({0o700}, {0o600})


async def test_a_taken_key_gets_a_number_and_keeps_its_bytes(root: Path) -> None:
    """Also when many write it at the same time."""
    store = FolderStore(root)

    artifacts = await asyncio.gather(*(store.put("c/ps.txt", once(str(number).encode())) for number in range(5)))

    assert {artifact.key for artifact in artifacts} == {"c/ps.txt", *(f"c/ps.{number}.txt" for number in range(2, 6))}
    assert sorted([(root / artifact.key).read_bytes() for artifact in artifacts]) == [b"0", b"1", b"2", b"3", b"4"]


async def test_nothing_is_there_until_everything_came(root: Path) -> None:
    """A reader of the folder never sees half an artifact."""
    half, go_on = asyncio.Event(), asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        yield b"a" * 2 * MIB
        half.set()
        await go_on.wait()
        yield b"b"

    store = FolderStore(root)
    async with asyncio.TaskGroup() as group:
        group.create_task(store.put("c/ps.txt", source()))
        await half.wait()

        assert not (root / "c/ps.txt").exists()
        assert await store.sweep("c/") == ()  # and a sweep leaves a living writer alone
        go_on.set()

    assert (root / "c/ps.txt").stat().st_size == 2 * MIB + 1


async def test_a_source_that_fails_leaves_nothing(root: Path) -> None:
    """Its own error goes through unchanged, even one that looks like the disk's."""
    store = FolderStore(root)

    with pytest.raises(StepFailed, match="lost"):
        await store.put("c/ps.txt", pieces(b"a" * 2 * MIB, end=StepFailed("connection lost")))
    with pytest.raises(ConnectionResetError):
        await store.put("c/ps.txt", pieces(b"a" * 2 * MIB, end=ConnectionResetError()))

    assert files_of(root) == []


async def test_a_cancelled_write_leaves_nothing(root: Path) -> None:
    """Wherever it stood."""
    started = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"a" * MIB
            started.set()

    task = asyncio.get_running_loop().create_task(FolderStore(root).put("c/ps.txt", endless()))
    await started.wait()

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert files_of(root) == []


@pytest.fixture
def tiny_files() -> Iterator[None]:
    """Let no file of this process grow beyond 3 MiB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 * MIB, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.usefixtures("tiny_files")
async def test_a_disk_that_is_full_leaves_nothing(root: Path) -> None:
    """The error says what to do; a write that the disk takes half of is not mistaken for a whole one."""
    store = FolderStore(root)

    with pytest.raises(StoreError, match=rf"{root} is full\. Free space"):
        await store.put("c/ps.txt", pieces(b"a" * (3 * MIB + 1)))
    whole = await store.put("c/ps.txt", pieces(b"a" * 3 * MIB))

    assert whole.size_bytes == 3 * MIB
    assert files_of(root) == ["c/ps.txt"]


async def test_a_sweep_removes_a_dead_writers_leavings_and_reports_what_is_whole(root: Path) -> None:
    """The lock of a writer that was killed is gone, a living one's is not."""
    store = FolderStore(root)
    for name in ("b", "a"):
        await store.put(f"one/t/{name}.txt", once(name.encode()))
    await store.put("two/t/other.txt", once(b"x"))
    for name in ("one/t/.dead.part", "one/t/.living.part", "two/t/.dead.part"):
        (root / name).write_bytes(b"half")

    with (root / "one/t/.living.part").open("rb") as living:
        fcntl.flock(living, fcntl.LOCK_EX)
        swept = await store.sweep("one/")

    assert [(artifact.key, artifact.size_bytes, artifact.sha256) for artifact in swept] == [
        (f"one/t/{name}.txt", 1, hashlib.sha256(name.encode()).hexdigest()) for name in ("a", "b")
    ]
    left = ["one/t/.living.part", "one/t/a.txt", "one/t/b.txt", "two/t/.dead.part", "two/t/other.txt"]
    assert files_of(root) == left


async def test_a_sweep_of_what_never_was_finds_nothing(root: Path) -> None:
    """A capture that died before its first artifact."""
    assert await FolderStore(root).sweep("one/") == ()


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../x", "c/../../x", "c//x", "c/./x", "c/", "c/\x00x", "c" * 1025])
async def test_a_key_that_leads_out_is_refused(root: Path, key: str) -> None:
    """For writing, reading and sweeping."""
    store = FolderStore(root)

    with pytest.raises(StoreError):
        await store.put(key, once(b"x"))
    with pytest.raises(StoreError):
        await store.read(key)

    assert files_of(root.parent) == []


async def test_a_sweep_cannot_lead_out(root: Path) -> None:
    """Its prefix is held to the same rules."""
    with pytest.raises(StoreError):
        await FolderStore(root).sweep("../")


async def test_a_symbolic_link_leads_nowhere(root: Path, tmp_path: Path) -> None:
    """Not out of the folder."""
    make(root)
    (root / "c").symlink_to(tmp_path)

    with pytest.raises(StoreError, match="symbolic link"):
        await FolderStore(root).put("c/ps.txt", once(b"x"))

    assert files_of(tmp_path) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(key=st.text(alphabet=st.sampled_from("ab./\\~\x00é… "), max_size=12))
def test_no_key_leads_out(tmp_path: Path, key: str) -> None:
    """Whatever it is made of: it is refused, or its file lies below the folder."""
    store = FolderStore(tmp_path / "in" / "here")

    try:
        artifact = asyncio.run(store.put(key, once(b"x")))
    except StoreError:
        return

    assert (tmp_path / "in/here" / artifact.key).resolve().is_relative_to(tmp_path / "in/here")


async def test_reading_is_for_small_files_that_are_there(root: Path) -> None:
    """A manifest, not a dump."""
    store = FolderStore(root)
    await store.put("c/ps.txt", once(b"x"))
    os.truncate(root / "c/ps.txt", READ_BYTES + 1)

    with pytest.raises(StoreError, match="only files of up to"):
        await store.read("c/ps.txt")
    with pytest.raises(StoreError, match="There is no"):
        await store.read("c/nothing.txt")


async def test_the_doctor_is_told_that_it_works(root: Path) -> None:
    """And the check leaves nothing."""
    lines = await FolderStore(root).check()

    assert lines[0] == f"ok: {root} takes, returns and removes files"
    assert files_of(root) == []


async def test_the_doctor_is_told_what_is_wrong(root: Path, tmp_path: Path) -> None:
    """A folder that others can read, and one that cannot be made."""
    make(root, mode=0o755)
    (tmp_path / "file").write_text("in the way")

    open_lines = await FolderStore(root).check()
    blocked_lines = await FolderStore(tmp_path / "file" / "below").check()

    assert f"fault: {root} is open to other users of this machine — chmod 700 {root}" in open_lines
    assert blocked_lines == [f"fault: The folder {tmp_path}/file/below cannot be used: {os.strerror(errno.ENOTDIR)}."]


async def test_what_waits_in_a_folder_can_be_taken_out(root: Path) -> None:
    """Named without unfinished files, read in blocks, removed with the folders that it leaves empty."""
    store = FolderStore(root)
    await store.put("one/a/b.txt", once(b"x" * 3_000_000))
    await store.put("one/c.txt", once(b"c"))
    (root / "one" / f".unfinished{PART}").touch()
    async with store.alone():
        assert await store.keys() == ("one/a/b.txt", "one/c.txt")

    assert sum([len(block) async for block in store.chunks("one/a/b.txt")]) == 3_000_000
    await store.remove("one/a/b.txt")

    assert await store.keys() == ("one/c.txt",)
    assert not (root / "one" / "a").exists()
    assert [artifact.key for artifact in await store.sweep("one/")] == ["one/c.txt"]


async def test_taking_out_does_not_get_into_the_way_of_putting_in(root: Path) -> None:
    """A folder that is empty for a moment may go away under a file that is about to be made in it."""
    store = FolderStore(root)

    async def in_and_out(number: int) -> None:
        for n in range(20):
            key = f"one/two/{number}-{n}.txt"
            await store.put(key, once(b"x"))
            await store.remove(key)

    async with asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(in_and_out(number))

    assert await store.keys() == ()


async def test_only_one_process_takes_things_out(root: Path) -> None:
    """The second is told so; a folder that was never used has nothing to take out."""
    async with FolderStore(root).alone() as nothing:
        assert not nothing
    await FolderStore(root).put("one/a.txt", once(b"a"))

    async with FolderStore(root).alone() as first, FolderStore(root).alone() as second:
        assert (first, second) == (True, False)
    async with FolderStore(root).alone() as third:
        assert third

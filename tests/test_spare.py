"""What the store refuses is kept on capturebot's own disk, says so, and comes home."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import StoreError
from bot.model import Artifact
from bot.stores.folder import FolderStore
from bot.stores.intake import Intake, once
from bot.stores.spare import SPARE_BYTES, SpareStore
from tests.fakes import MemoryStore

KEY = "evidence/abc234/app-1/ps.txt"
PIECE = b"x" * 65_536


class FickleStore(MemoryStore):
    """Is given so much of an artifact before it is asked, as S3 is given a first part."""

    def __init__(self, *, reads_bytes: int = 0, away: bool = True) -> None:
        super().__init__(away=away)
        self.reads_bytes = reads_bytes
        self.asked = 0

    async def put(
        self, key: str, chunks: AsyncIterator[bytes], *, content_type: str = "text/plain; charset=utf-8"
    ) -> Artifact:
        self.asked += 1
        intake = Intake(chunks)
        first = await intake.block(self.reads_bytes) if self.reads_bytes else None
        self._must_be_here()

        async def all_of_it() -> AsyncIterator[bytes]:
            yield first.getvalue() if first else b""
            while more := (await intake.block(1_000_000)).getvalue():
                yield more

        return await super().put(key, all_of_it(), content_type=content_type)


class Homes:
    """Remembers what was told to have come home; breaks off where it is told to."""

    def __init__(self, *, breaks: bool = False) -> None:
        self.told: dict[str, Artifact] = {}
        self.breaks = breaks

    async def __call__(self, key: str, artifact: Artifact) -> None:
        if self.breaks:
            raise ConnectionError("the plug is pulled")
        self.told[key] = artifact


async def pieces(count: int, *, piece: bytes = PIECE) -> AsyncGenerator[bytes, None]:
    """An output in pieces."""
    for _ in range(count):
        yield piece


def files(root: Path) -> list[Path]:
    """All files below *root*, unfinished ones too."""
    return [path for path in root.rglob("*") if path.is_file()]


@pytest.fixture
def folder(tmp_path: Path) -> FolderStore:
    """The spare."""
    return FolderStore(tmp_path / "spare")


async def test_what_the_store_takes_is_only_there(folder: FolderStore) -> None:
    """And has no trouble."""
    primary = FickleStore(away=False)

    artifact = await SpareStore(primary, folder).put(KEY, pieces(3))

    assert (artifact.trouble, artifact.size_bytes) == ("", 3 * len(PIECE))
    assert await folder.keys() == ()


@pytest.mark.parametrize("reads_bytes", [0, 1, 100_000, SPARE_BYTES])
async def test_what_the_store_refuses_lies_whole_on_the_own_disk_and_says_so(
    folder: FolderStore, reads_bytes: int
) -> None:
    """However much of it the store had read, up to its first part, and however long it is."""
    count = SPARE_BYTES // len(PIECE) + 40

    artifact = await SpareStore(FickleStore(reads_bytes=reads_bytes), folder).put(KEY, pieces(count))

    assert artifact.trouble == "The store is away. It is kept on capturebot's own disk until the store takes it."
    assert artifact.url.startswith("file://")
    assert artifact.sha256 == hashlib.sha256(PIECE * count).hexdigest()
    assert await folder.keys() == (KEY,)


async def test_what_cannot_be_repeated_is_refused_with_the_stores_reason(folder: FolderStore) -> None:
    """When more was read than is held back, the beginning is gone."""
    store = SpareStore(FickleStore(reads_bytes=SPARE_BYTES + 1), folder)

    with pytest.raises(StoreError, match=r"^The store is away.$"):
        await store.put(KEY, pieces(SPARE_BYTES // len(PIECE) + 1))

    assert await folder.keys() == ()


async def test_a_source_that_broke_is_not_taken_for_one_that_ended(folder: FolderStore) -> None:
    """A store that breaks off its wait for the next piece leaves no source that could be repeated."""
    asked = asyncio.Event()

    async def slow() -> AsyncGenerator[bytes, None]:
        yield b"the beginning"
        asked.set()
        await asyncio.sleep(60)

    class Impatient(MemoryStore):
        async def put(
            self, key: str, chunks: AsyncIterator[bytes], *, content_type: str = "text/plain; charset=utf-8"
        ) -> Artifact:
            await anext(chunks)
            try:
                async with asyncio.timeout(None) as patience, asyncio.TaskGroup() as group:
                    waiting = group.create_task(_next(chunks))
                    await asked.wait()
                    patience.reschedule(0)
                    await waiting
            except TimeoutError:
                raise StoreError("The store lost its patience.") from None
            raise AssertionError

    with pytest.raises(StoreError, match=r"^The store lost its patience.$"):
        await SpareStore(Impatient(), folder).put(KEY, slow())


async def _next(chunks: AsyncIterator[bytes]) -> bytes:
    return await anext(chunks)


async def test_when_both_refuse_both_reasons_are_told(tmp_path: Path) -> None:
    """A full disk here, an absent store there."""
    full = FolderStore(tmp_path, reserve_bytes=1 << 62)

    with pytest.raises(
        StoreError, match=r"The store is away\. capturebot's own disk could not keep it either: .* full"
    ):
        await SpareStore(FickleStore(), full).put(KEY, pieces(1))

    assert files(tmp_path) == []


async def test_a_store_that_refused_is_left_alone_for_a_while(folder: FolderStore) -> None:
    """Its own tries would hold up every step; meanwhile even the longest output goes to the spare whole."""
    primary = FickleStore(reads_bytes=SPARE_BYTES + 1)
    store = SpareStore(primary, folder)
    await store.put("evidence/a.txt", pieces(1))

    artifact = await store.put("evidence/b.txt", pieces(SPARE_BYTES // len(PIECE) + 10))

    assert primary.asked == 1
    assert artifact.trouble.startswith("The store refused another file just now and was not asked again: The store is")


async def test_what_waits_comes_home(folder: FolderStore) -> None:
    """Each is told with its true place, the spare is empty, and the store is asked again at once."""
    primary, homes = FickleStore(), Homes()
    store = SpareStore(primary, folder)
    for name in ("a.txt", "manifest.json"):
        await store.put(f"evidence/{name}", once(name.encode()))
    primary.away = False

    await store.bring_home(homes)

    assert homes.told["evidence/a.txt"].url == "memory://evidence/a.txt"
    assert primary.objects == {"evidence/a.txt": b"a.txt", "evidence/manifest.json": b"manifest.json"}
    assert await folder.keys() == ()
    assert (await store.put("evidence/c.txt", once(b"c"))).trouble == ""


async def test_as_long_as_the_store_is_away_everything_waits(folder: FolderStore) -> None:
    """Nothing is lost by trying."""
    store, homes = SpareStore(FickleStore(), folder), Homes()
    await store.put(KEY, once(b"x"))

    await store.bring_home(homes)

    assert homes.told == {}
    assert await folder.keys() == (KEY,)


async def test_a_move_that_was_broken_off_is_done_again_and_makes_no_second_object(folder: FolderStore) -> None:
    """The plug is pulled between the store's answer and the moment in which somebody knows."""
    primary, homes = FickleStore(), Homes(breaks=True)
    store = SpareStore(primary, folder)
    await store.put(KEY, once(b"x"))
    primary.away = False
    with pytest.raises(ConnectionError):
        await store.bring_home(homes)

    homes.breaks = False
    await store.bring_home(homes)

    assert list(homes.told) == list(primary.objects) == [KEY]
    assert await folder.keys() == ()


async def test_a_store_that_shows_nothing_is_moved_to_all_the_same(folder: FolderStore) -> None:
    """Credentials that may only write are enough."""

    class WriteOnly(FickleStore):
        async def sweep(self, prefix: str) -> tuple[Artifact, ...]:
            raise StoreError("Access denied.")

    primary, homes = WriteOnly(), Homes()
    store = SpareStore(primary, folder)
    await store.put(KEY, once(b"x"))
    primary.away = False

    await store.bring_home(homes)

    assert primary.objects == {KEY: b"x"}


async def test_another_object_of_the_same_key_is_not_overwritten(folder: FolderStore) -> None:
    """What came home lies beside it, and its new key is told."""
    primary, homes = FickleStore(), Homes()
    store = SpareStore(primary, folder)
    await store.put(KEY, once(b"new"))
    primary.away = False
    primary.objects[KEY] = b"old"

    await store.bring_home(homes)

    assert primary.objects == {KEY: b"old", homes.told[KEY].key: b"new"}


async def test_two_processes_do_not_move_the_same_thing(folder: FolderStore) -> None:
    """While one of them is at it, the other leaves it to it."""
    primary, homes = FickleStore(), Homes()
    store = SpareStore(primary, folder)
    await store.put(KEY, once(b"x"))
    primary.away = False

    async with folder.alone() as alone:
        await store.bring_home(homes)

    assert alone
    assert homes.told == {}


async def test_one_that_is_refused_for_ever_does_not_hold_up_the_others(folder: FolderStore) -> None:
    """The next round goes on behind it."""
    primary, homes = FickleStore(), Homes()
    store = SpareStore(primary, folder)
    for name in ("a", "b", "c"):
        await store.put(f"evidence/{name}.txt", once(name.encode()))
    primary.away, primary.refuses = False, {"a.txt": "Never."}

    await store.bring_home(homes)
    await store.bring_home(homes)

    assert list(homes.told) == ["evidence/b.txt", "evidence/c.txt"]


async def test_a_sweep_covers_both_and_says_what_lies_where(folder: FolderStore) -> None:
    """What a dead bot left is found wherever it is."""
    primary = FickleStore()
    store = SpareStore(primary, folder)
    await store.put("evidence/here.txt", once(b"x"))
    primary.away = False
    primary.objects["evidence/there.txt"] = b"y"

    swept = await store.sweep("evidence/")

    assert [(artifact.key, bool(artifact.trouble)) for artifact in swept] == [
        ("evidence/here.txt", True),
        ("evidence/there.txt", False),
    ]
    assert await store.read("evidence/here.txt") == b"x"
    assert await store.read("evidence/there.txt") == b"y"


async def test_a_sweep_that_cannot_see_the_store_says_so(folder: FolderStore) -> None:
    """Half a list is not taken for a whole one."""
    with pytest.raises(StoreError, match="The store is away"):
        await SpareStore(FickleStore(), folder).sweep("evidence/")


async def test_the_doctor_looks_at_both_and_counts_what_waits(folder: FolderStore) -> None:
    """An operator sees that the disk fills up."""
    store = SpareStore(FickleStore(), folder)
    await store.put(KEY, once(b"x"))

    lines = await store.check()

    assert lines[0] == "ok: memory"
    assert any("takes, returns and removes files" in line for line in lines)
    assert lines[-1].startswith("warn: 1 refused artifacts wait")


async def test_the_disk_is_not_filled_up(tmp_path: Path) -> None:
    """A part of it is left to the journal."""
    with pytest.raises(StoreError, match="full"):
        await FolderStore(tmp_path, reserve_bytes=1 << 62).put(KEY, once(b"x"))


async def test_what_is_held_back_of_all_artifacts_together_is_bounded(folder: FolderStore) -> None:
    """Where there is no room left, an artifact cannot be repeated; the room comes back at its end."""
    store = SpareStore(FickleStore(reads_bytes=1_000_000), folder)
    store._room.left_bytes = len(PIECE)

    with pytest.raises(StoreError, match=r"^The store is away.$"):
        await store.put(KEY, pieces(3))

    assert store._room.left_bytes == len(PIECE)


@given(
    sizes=st.lists(st.integers(min_value=0, max_value=40), max_size=12),
    reads=st.integers(min_value=0, max_value=200),
    held=st.integers(min_value=1, max_value=100),
)
def test_the_spare_never_keeps_anything_but_the_whole(sizes: list[int], reads: int, held: int) -> None:
    """Whatever comes in whatever pieces, and however far the store read: all of it is kept, or none."""
    data = bytes(range(256)) * 3
    cuts = [sum(sizes[:n]) for n in range(len(sizes) + 1)]

    async def run() -> bytes | None:
        async def source() -> AsyncGenerator[bytes, None]:
            for start, end in pairwise(cuts):
                yield data[start:end]

        second = MemoryStore()
        try:
            await SpareStore(FickleStore(reads_bytes=reads), second, held_bytes=held).put(KEY, source())
        except StoreError:
            return None
        return second.objects[KEY]

    kept = asyncio.run(run())

    assert kept in (None, data[: cuts[-1]])
    if reads <= held:
        assert kept is not None

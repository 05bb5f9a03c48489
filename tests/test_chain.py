"""The journal's rows are chained: whatever is changed, taken out, put in or cut off afterwards is found and located."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import JournalError
from bot.journal import Journal
from bot.journal.looking import opened, rows
from bot.journal.proof import Proof, prove
from bot.model import Event, Finished, Refused, Sealed, Started, State
from tests.fakes import AT, a_capture, a_trigger, accepted

CAPTURES = 5
ROWS = 4 * CAPTURES
CHANGED = "what it holds is not what was written"

Change = tuple[str, tuple[object, ...]]


def some_events() -> list[Event]:
    """What happened, a minute after the other."""
    found: list[Event] = []
    for n in range(CAPTURES):
        capture, at = a_capture(f"abc23{n}", at=AT + timedelta(minutes=n)), AT + timedelta(minutes=n)
        found += [
            accepted(capture, key=f"slack {n}"),
            Refused(trigger=a_trigger(), reason="Not now: ümläut.", at=at),
            Started(capture_id=capture.id, at=at),
            Finished(capture_id=capture.id, state=State.COMPLETE, at=at),
        ]
    return found


async def written(path: Path, *events: Event) -> None:
    """Let a bot write *events* into the journal at *path*."""
    journal = await Journal.open(f"sqlite:///{path}", owner="me")
    for event in events:
        await journal.append(event)
    await journal.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal that nobody touched."""
    path = tmp_path_factory.mktemp("whole") / "journal.db"
    asyncio.run(written(path, *some_events()))
    return path


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    """A copy to be touched."""
    return Path(shutil.copy(whole, tmp_path / "journal.db"))


def touch(path: Path, *changes: Change) -> None:
    """Do to a journal what capturebot never does."""
    with closing(sqlite3.connect(path)) as journal, journal:
        for statement, values in changes:
            journal.execute(statement, values)


def proof_of(path: Path) -> Proof:
    """What looking at it finds."""
    with opened(f"sqlite:///{path}") as connection:
        return prove(connection)


def first_fault(path: Path) -> str:
    """The first thing that is wrong."""
    return str(proof_of(path).faults[0])


def test_an_untouched_journal_proves_itself(whole: Path) -> None:
    """Every row fits, and the last one is known."""
    proof = proof_of(whole)

    assert (proof.rows, proof.faults, proof.seals) == (ROWS, [], [])
    assert proof.last
    assert proof.last.seq == ROWS


@pytest.mark.thorough
@settings(max_examples=100)
@given(data=st.data())
def test_one_changed_byte_of_a_row_is_located(
    data: st.DataObject, whole: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whichever column, row and byte it is, and whatever it becomes."""
    path = Path(shutil.copy(whole, tmp_path_factory.mktemp("touched") / "journal.db"))
    seq = data.draw(st.integers(1, ROWS))
    column = data.draw(st.sampled_from(["at", "type", "capture_id", "key", "body", "hash"]))
    with closing(sqlite3.connect(path)) as journal:
        (old,) = journal.execute(f"SELECT CAST({column} AS BLOB) FROM events WHERE seq = {seq}").fetchone()  # noqa: S608  names of ours
    if old is None:
        new = data.draw(st.binary(min_size=1, max_size=3))
    else:
        place, byte = data.draw(st.integers(0, len(old) - 1)), data.draw(st.integers(1, 255))
        new = old[:place] + bytes([old[place] ^ byte]) + old[place + 1 :]
    touch(path, (f"UPDATE events SET {column} = CAST(? AS TEXT) WHERE seq = {seq}", (new,)))  # noqa: S608  names of ours

    proof = proof_of(path)

    assert proof.faults[0].seq == seq
    if column == "hash" and seq < ROWS:
        assert proof.faults[0].what.startswith("its hash was changed")
        assert proof.faults_in_all == 1


@pytest.mark.thorough
@settings(max_examples=150)
@given(place=st.integers(0, 10**9), flips=st.integers(1, 255))
def test_one_changed_byte_of_the_file_is_found_where_rows_read_differently(
    place: int, flips: int, whole: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A byte that belongs to no row may stay unfound; one that changes what the log says never."""
    body = bytearray(whole.read_bytes())
    body[place % len(body)] ^= flips
    path = tmp_path_factory.mktemp("touched") / "journal.db"
    path.write_bytes(body)

    assert said(path) == said(whole) or is_refuted(path)


def said(path: Path) -> object:
    """All that the rows hold, or that they cannot be read."""
    try:
        with opened(f"sqlite:///{path}") as connection:
            return list(rows(connection))
    except JournalError:
        return None


def is_refuted(path: Path) -> bool:
    """Whether looking at it finds fault, or cannot even look."""
    try:
        return bool(proof_of(path).faults)
    except JournalError:
        return True


CUTS: dict[str, tuple[list[Change], str]] = {
    "a row is taken out": ([("DELETE FROM events WHERE seq = 7", ())], "row 7 (2026-11-22T03:01:00+00:00): row 7 is missing, or what row 8 holds is not what was written"),
    "several rows are taken out": ([("DELETE FROM events WHERE seq BETWEEN 7 AND 9", ())], "row 7 (2026-11-22T03:01:00+00:00): rows 7 to 9 are missing, or what row 10 holds is not what was written"),
    "the first rows are taken out": ([("DELETE FROM events WHERE seq < 4", ())], "row 1: rows 1 to 3 are missing, or what row 4 holds is not what was written"),
    "the end is cut off": ([("DELETE FROM events WHERE seq > 17", ())], "row 18 (2026-11-22T03:04:00+00:00): the rows up to 20 were cut off the end"),
    "everything is taken out": ([("DELETE FROM events", ())], "row 1: the rows up to 20 were cut off the end"),
    "two rows change places": (
        [("UPDATE events SET seq = ? WHERE seq = ?", (to, seq)) for seq, to in ((3, 99), (4, 3), (99, 4))],
        f"row 3 (2026-11-22T03:00:00+00:00): {CHANGED}",
    ),
    "a row is taken out and the gap closed": (
        [("DELETE FROM events WHERE seq = 19", ()), ("UPDATE events SET seq = 19 WHERE seq = 20", ())],
        f"row 19 (2026-11-22T03:04:00+00:00): {CHANGED}",
    ),
    "a row is put in front": (
        [("INSERT INTO events (seq, at, type, body, hash) SELECT 0, at, type, body, hash FROM events WHERE seq = 2", ())],
        f"row 0 (2026-11-22T03:00:00+00:00): {CHANGED}",
    ),
    "a row is put behind": (
        [("INSERT INTO events (seq, at, type, body) SELECT 21, at, type, body FROM events WHERE seq = 2", ())],
        "row 21 (2026-11-22T03:00:00+00:00): it has no hash, so it was not written by this version of capturebot",
    ),
    "the end is forgotten": ([("DELETE FROM head", ())], "row 20 (2026-11-22T03:04:00+00:00): the end of the chain is not recorded any more"),
    "the end is another": ([("UPDATE head SET hash = '0'", ())], "row 20 (2026-11-22T03:04:00+00:00): the recorded end of the chain has another hash than this last row"),
    "text becomes bytes": ([("UPDATE events SET body = CAST(body AS BLOB) WHERE seq = 5", ())], "row 5 (2026-11-22T03:01:00+00:00): its text is not stored as text any more"),
}  # fmt: skip


@pytest.mark.parametrize("case", CUTS)
def test_what_is_taken_out_put_in_moved_or_cut_off_is_named(case: str, copied: Path) -> None:
    """By the row's number, when it was written, and what is wrong."""
    changes, fault = CUTS[case]

    touch(copied, *changes)

    assert first_fault(copied) == fault


async def test_a_row_behind_the_chain_is_found_although_the_bot_goes_on(copied: Path) -> None:
    """It is stepped over, and neither stops the bot nor becomes part of the chain."""
    touch(copied, ("INSERT INTO events (seq, at, type, body) SELECT 21, at, type, body FROM events WHERE seq = 2", ()))

    await written(copied, Started(capture_id="abc230", at=AT))

    proof = proof_of(copied)
    assert [fault.seq for fault in proof.faults] == [21]
    assert proof.last
    assert proof.last.seq == ROWS + 2


async def test_a_cut_end_stays_found_although_the_bot_goes_on(copied: Path) -> None:
    """What is written next follows what was cut off."""
    touch(copied, ("DELETE FROM events WHERE seq > 17", ()))

    await written(copied, Started(capture_id="abc230", at=AT))

    assert first_fault(copied).startswith("row 18 (2026-11-22T03:04:00+00:00): rows 18 to 20 are missing")


async def test_a_journal_of_an_older_version_is_sealed_as_it_was_found(copied: Path) -> None:
    """Its rows are chained, one entry says how many they are, and from then on all is as ever."""
    touch(
        copied,
        ("ALTER TABLE events DROP COLUMN hash", ()),
        ("DROP TABLE head", ()),
        ("DELETE FROM events WHERE seq = 5", ()),
    )

    await written(copied, Started(capture_id="abc230", at=AT))

    proof = proof_of(copied)
    assert (proof.rows, proof.faults, [seq for seq, _ in proof.seals]) == (ROWS + 1, [], [ROWS + 1])
    touch(copied, ("UPDATE events SET body = replace(body, 'Not now', 'Go on') WHERE seq = 2", ()))
    assert first_fault(copied) == f"row 2 (2026-11-22T03:00:00+00:00): {CHANGED}"


async def test_the_seal_is_an_event_like_any_other(copied: Path) -> None:
    """It comes back, and there is no second one."""
    touch(copied, ("ALTER TABLE events DROP COLUMN hash", ()), ("DROP TABLE head", ()))
    await written(copied)

    await written(copied)

    journal = await Journal.open(f"sqlite:///{copied}", owner="me")
    sealed = [event for _, event in await journal.after(0, only="sealed")]
    await journal.close()
    assert [one.rows for one in sealed if isinstance(one, Sealed)] == [ROWS]


async def test_processes_on_one_journal_make_one_chain(tmp_path: Path) -> None:
    """However their rows come between each other."""
    url = f"sqlite:///{tmp_path}/journal.db"
    both = [await Journal.open(url, owner=owner) for owner in ("one", "two")]

    async with asyncio.TaskGroup() as group:
        for n in range(20):
            for journal in both:
                group.create_task(journal.append(Started(capture_id=f"abc2{n:02}", at=AT)))

    for journal in both:
        await journal.close()
    proof = proof_of(tmp_path / "journal.db")
    assert (proof.rows, proof.faults) == (40, [])


def test_only_what_came_since_can_be_looked_at(copied: Path) -> None:
    """The row before is believed; what was changed before it is not looked for."""
    touch(copied, ("UPDATE events SET body = '{}' WHERE seq IN (2, 14)", ()))

    with opened(f"sqlite:///{copied}") as connection:
        proof = prove(connection, since=AT + timedelta(minutes=2))

    assert (proof.rows, [fault.seq for fault in proof.faults]) == (12, [14])


def test_looking_writes_nothing(whole: Path) -> None:
    """The file is the same afterwards, and nothing lies beside it."""
    before = whole.read_bytes()

    proof_of(whole)

    assert whole.read_bytes() == before
    assert whole.stat().st_size == len(before)


def test_where_there_is_no_journal_nothing_is_made(tmp_path: Path) -> None:
    """The path is named."""
    with pytest.raises(JournalError, match="There is no journal at"), opened(f"sqlite:///{tmp_path}/none.db"):
        pass

    assert list(tmp_path.iterdir()) == []

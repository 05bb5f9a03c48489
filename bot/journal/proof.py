"""Whether the journal is what was written: follows the chain and names the first row that does not fit it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.exc import SQLAlchemyError

from bot.journal.chain import BEGINNING, Head, hash_of
from bot.journal.looking import row as row_of
from bot.journal.looking import row_before, rows
from bot.journal.tables import head

FAULTS_KEPT = 20
DAMAGE_LINES = 3  # of what SQLite says of its file


@dataclass(frozen=True, slots=True)
class Fault:
    """Something is not as it was written: from which row on, when that row says it was written, and what."""

    seq: int
    at: str
    what: str

    def __str__(self) -> str:
        return f"row {self.seq}{f' ({self.at})' if self.at else ''}: {self.what}"


@dataclass(slots=True)
class Proof:
    """What was found: the first *faults*, and how many there are in all."""

    rows: int = 0
    last: Head | None = None  # the last row that is there
    last_at: str = ""
    faults: list[Fault] = field(default_factory=list)
    faults_in_all: int = 0
    seals: list[tuple[int, str]] = field(default_factory=list)  # rows before which there were some without a chain

    def add(self, seq: int, at: str, what: str) -> None:
        """Keep a fault."""
        self.faults_in_all += 1
        if len(self.faults) < FAULTS_KEPT:
            self.faults.append(Fault(seq, at, what))


def prove(connection: Connection, *, since: datetime | None = None) -> Proof:
    """Follow the chain from its beginning, or from the row before *since*, which is then believed."""
    proof = Proof()
    try:
        _follow(proof, rows(connection, since=since), connection, believes=since is not None)
        _end(proof, connection)
        _damage(proof, connection)
    except (SQLAlchemyError, UnicodeDecodeError) as error:  # the latter of a damaged SQLite file
        reason = getattr(error, "orig", None) or error
        proof.add((proof.last.seq if proof.last else 0) + 1, "", f"nothing can be read from here on ({reason})")
    return proof


def _follow(proof: Proof, found: Iterator[Mapping[str, Any]], connection: Connection, *, believes: bool) -> None:
    before: tuple[str, ...] = (BEGINNING,)  # hashes that the next row may follow
    first = True
    for row in found:
        seq, at, stored = row["seq"], _text(row["at"]), _text(row["hash"])
        if first and believes and (earlier := row_before(connection, seq)):
            before, proof.last = (_text(earlier["hash"]),), Head(earlier["seq"], _text(earlier["hash"]))
        first = False
        expected = [hash_of(one, row) for one in before]
        if len(before) > 1 and stored == expected[1]:
            # The row before holds what its follower was chained to.
            last = proof.faults[-1]
            proof.faults[-1] = Fault(last.seq, last.at, "its hash was changed; what it holds is as it was written")
        if not stored:
            proof.add(seq, at, "it has no hash, so it was not written by this version of capturebot")
        elif stored in expected:
            before = (stored,)
            if not row["fits"]:
                proof.add(seq, at, "its text is not stored as text any more")
        else:
            gap = _gap(proof.last, seq)
            proof.add(gap or seq, proof.last_at if gap else at, _wrong(gap, seq))
            # Only a fault that is kept can be told better afterwards.
            before = (stored, expected[0]) if len(proof.faults) == proof.faults_in_all else (stored,)
        if row["type"] == b"sealed":
            proof.seals.append((seq, at))
        proof.rows, proof.last, proof.last_at = proof.rows + 1, Head(seq, stored), at


def _gap(last: Head | None, seq: int) -> int | None:
    """The first number that is missing before *seq*."""
    following = last.seq + 1 if last else 1
    return following if seq > following else None


def _wrong(gap: int | None, seq: int) -> str:
    if gap is None:
        return "what it holds is not what was written"
    missing = f"rows {gap} to {seq - 1} are" if seq - 1 > gap else f"row {gap} is"
    return f"{missing} missing, or what row {seq} holds is not what was written"


def _end(proof: Proof, connection: Connection) -> None:
    """Hold the last row against the head."""
    last = proof.last or Head(0, BEGINNING)
    kept = connection.execute(select(head.c.seq, head.c.hash)).first()
    if kept is None:
        proof.add(last.seq, proof.last_at, "the end of the chain is not recorded any more")
    elif kept.seq > last.seq:
        proof.add(last.seq + 1, proof.last_at, f"the rows up to {kept.seq} were cut off the end")
    elif kept.seq < last.seq:
        added = row_of(connection, kept.seq + 1)
        proof.add(kept.seq + 1, _text(added["at"]) if added else "", "it was added behind the end of the chain")
    elif kept.hash != last.hash:
        proof.add(last.seq, proof.last_at, "the recorded end of the chain has another hash than this last row")


def _damage(proof: Proof, connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        said = list(connection.exec_driver_sql(f"PRAGMA integrity_check({DAMAGE_LINES})").scalars())
        if said != ["ok"]:
            proof.add(0, "", f"SQLite finds its file damaged: {'; '.join(said)}")


def _text(raw: bytes | None) -> str:
    return raw.decode("utf-8", "replace") if raw else ""

"""The journal for auditors: records with stable fields, and copies in S3 that the journal is held against."""

from __future__ import annotations

import asyncio
import io
import json
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest

from bot.audit.anchors import Anchor, anchors, hold_against
from bot.audit.copies import Copies, settings_of
from bot.audit.records import record
from bot.auditing import export, verify
from bot.cli import main
from bot.errors import StoreError
from bot.journal import Journal
from bot.journal.chain import BEGINNING, hash_of
from bot.journal.looking import opened
from bot.journal.proof import Fault
from bot.model import Event, Given, NoteFailed, Outcome, Probed, Refused, Target
from bot.retention import Audit, Lock
from bot.settings import Settings, load
from bot.stores.bucket import Bucket
from tests.fakes import ANA, AT, HERE, Script, a_capture, a_trigger
from tests.fakes3 import AUDIT_BUCKET, BUCKET, FakeS3, Kept, refused
from tests.office import office

pytestmark = pytest.mark.thorough

AUDIT = Audit(bucket=AUDIT_BUCKET, prefix="audit", lock=Lock(mode="compliance", days=365))
FIELDS = {
    *("seq", "at", "action", "who", "source", "channel", "incident", "capture", "recipe", "targets", "parameters"),
    *("what", "outcome", "reason", "command", "exit_status", "objects", "hash"),
}


class Environment:
    """Settings with a journal in a folder, and secrets from a made-up environment."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "journal.db"
        self.settings = Settings(
            targets={"app-1": Target(name="app-1", local=True)}, journal=f"sqlite:///{self.path}", folder=folder
        )
        self.folder = folder

    async def exported(self, *, since: datetime | None = None, until: datetime | None = None) -> list[dict[str, Any]]:
        """The records."""
        out = io.StringIO()
        await export(self.settings, environ={}, base=self.folder, since=since, until=until, out=out)
        return [json.loads(line) for line in out.getvalue().splitlines()]

    async def verified(self) -> tuple[int, list[str]]:
        """The exit status and what is said."""
        said: list[str] = []
        status = await verify(self.settings, environ={}, base=self.folder, since=None, say=said.append)
        return status, said


@pytest.fixture
async def used(tmp_path: Path) -> Environment:
    """The journal of a bot that took a capture, refused another and gave somebody files."""
    here = Environment(tmp_path)
    journal = await Journal.open(here.settings.journal, owner="me")
    bot = office(journal, {"ps": Script()})
    taken = await bot.desk.accept(a_trigger())
    assert taken
    await bot.desk.wait_for(taken.id)
    await journal.append(
        Refused(trigger=a_trigger("nothing", parameters={"pid": "7"}), reason="There is no such recipe.", at=AT)
    )
    until = AT + timedelta(minutes=10)
    await journal.append(Given(capture_id=taken.id, who=ANA, place=HERE, keys=("a/ps.txt",), until=until, at=AT))
    await journal.append(
        Probed(
            what="the cost of offer 7", target="app-1", command="sh cost.sh", outcome=Outcome.OK, exit_status=0, at=AT
        )
    )
    await bot.desk.drain()
    await journal.close()
    return here


# --- records ----------------------------------------------------------------------------------


async def test_everything_that_happened_is_a_record_with_the_same_fields(used: Environment) -> None:
    """In order, each with who, where and what came of it."""
    records = await used.exported()

    assert [set(one) for one in records] == [FIELDS] * len(records)
    assert [one["seq"] for one in records] == list(range(1, len(records) + 1))
    assert [one["action"] for one in records] == [
        *("accepted", "started", "step_started", "step_finished", "finished", "refused", "given", "probed")
    ]


async def test_a_command_is_recorded_with_who_asked_and_what_it_left(used: Environment) -> None:
    """Although only the acceptance has the person, and only the step the command."""
    (step,) = [one for one in await used.exported() if one["action"] == "step_finished"]

    assert (step["who"], step["source"], step["channel"]) == ({"id": "U1", "name": "ana"}, "slack", "C1")
    assert (step["command"], step["exit_status"], step["outcome"]) == ("ps on app-1", 0, "ok")
    assert [set(one) for one in step["objects"]] == [{"key", "size_bytes", "sha256"}]


async def test_a_refusal_is_recorded_with_what_was_asked(used: Environment) -> None:
    """And why."""
    (refusal,) = [one for one in await used.exported() if one["action"] == "refused"]

    assert (refusal["recipe"], refusal["targets"], refusal["parameters"]) == ("nothing", ["app-1"], {"pid": "7"})
    assert (refusal["outcome"], refusal["reason"]) == ("refused", "There is no such recipe.")


async def test_files_that_were_given_are_recorded_with_until_when(used: Environment) -> None:
    """By their keys."""
    (given,) = [one for one in await used.exported() if one["action"] == "given"]

    assert given["objects"] == [{"key": "a/ps.txt"}]
    assert (given["who"]["name"], given["what"]) == ("ana", "links until 2026-11-22T03:10:00+00:00")


async def test_only_what_happened_in_a_time_is_exported(used: Environment) -> None:
    """From its beginning to before its end."""
    assert await used.exported(since=AT + timedelta(hours=1)) == []
    assert await used.exported(until=AT) == []
    assert len(await used.exported(since=AT, until=AT + timedelta(seconds=1))) == 8


async def test_a_known_secret_is_masked_in_an_export(tmp_path: Path) -> None:
    """Wherever it stands; people type strange things."""
    (tmp_path / "capturebot.yml").write_text(
        "folder: a\njournal: sqlite:///journal.db\n"
        "targets: {db: {mysql: {host: 10.0.0.5, user: u, password: 'file:secret'}}}\n"
    )
    secret = tmp_path / "secret"
    secret.write_text("corr3ct-horse-battery")
    secret.chmod(0o600)
    journal = await Journal.open(f"sqlite:///{tmp_path}/journal.db", owner="me")
    asked = a_trigger(parameters={"x": "corr3ct-horse-battery"})
    await journal.append(Refused(trigger=asked, reason="corr3ct-horse-battery is no number.", at=AT))
    await journal.close()
    out = io.StringIO()

    await export(load(tmp_path / "capturebot.yml"), environ={}, base=tmp_path, since=None, until=None, out=out)

    assert "horse" not in out.getvalue()
    assert json.loads(out.getvalue())["action"] == "refused"


async def test_a_row_that_cannot_be_read_is_not_left_out(used: Environment) -> None:
    """Else an export would hide that something was done to the journal."""
    touch(used.path, "UPDATE events SET body = '{' WHERE seq = 6")

    records = await used.exported()

    assert (records[5]["action"], records[5]["what"]) == ("unreadable", "run `capturebot audit verify`")
    assert len(records) == 8


def test_every_kind_of_event_fits_its_column() -> None:
    """PostgreSQL refuses what is longer."""
    types = [one.__dataclass_fields__["type"].default for one in get_args(Event)]

    assert [name for name in types if len(name) > 20] == []
    assert len(set(types)) == len(types)


def made_of(kind: Any) -> Any:
    """Some value of a type: of a dataclass with every field set, of others the plainest that is not empty."""
    origin, inner = get_origin(kind), get_args(kind)
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        return kind(**{field.name: made_of(hints[field.name]) for field in fields(kind) if field.name != "type"})
    if origin in {Union, UnionType}:
        return made_of(inner[0])
    if origin is tuple:
        return tuple(made_of(one) for one in inner if one is not ...)
    if origin is not None and issubclass(origin, Mapping):
        return {made_of(inner[0]): made_of(inner[1])}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next(iter(kind))
    return AT if kind is datetime else kind(1)


@pytest.mark.parametrize("kind", get_args(Event), ids=lambda kind: kind.__name__)
def test_every_kind_of_event_has_a_record(kind: type) -> None:
    """With all fields, in JSON, and who did it wherever the event knows."""
    event = made_of(kind)

    found = record(7, "f" * 64, event, lambda _: a_capture())

    assert set(found) == FIELDS
    assert json.loads(json.dumps(found))["action"] == event.type
    person = getattr(event, "who", None) or (event.trigger.who if hasattr(event, "trigger") else None)
    if person:
        assert found["who"] == {"id": person.id, "name": person.name}


def test_every_kind_of_event_is_documented() -> None:
    """Auditors read what an action is, not code."""
    page = (Path(__file__).parent.parent / "docs/evidence.md").read_text()
    types = [one.__dataclass_fields__["type"].default for one in get_args(Event)]

    assert [name for name in types if f"`{name}`" not in page and not name.startswith("approval_")] == []
    assert [field for field in FIELDS if f"`{field}`" not in page] == []


# --- proving ----------------------------------------------------------------------------------


def touch(path: Path, statement: str) -> None:
    """Do to a journal what capturebot never does."""
    with closing(sqlite3.connect(path)) as journal, journal:
        journal.execute(statement)


async def test_a_journal_that_is_whole_is_said_to_be(used: Environment) -> None:
    """With its last row, which can be written down elsewhere."""
    status, said = await used.verified()

    assert (status, len(said)) == (0, 1)
    assert said[0].startswith(
        "ok: 8 rows, each chained to the one before; the last is row 8 (2026-11-22T03:00:00+00:00), "
    )


async def test_the_first_row_that_is_wrong_is_named(used: Environment) -> None:
    """The others follow."""
    touch(used.path, "UPDATE events SET body = replace(body, 'app-1', 'app-2') WHERE seq IN (4, 6)")

    status, said = await used.verified()

    assert status == 1
    assert said == [
        "fault: row 4 (2026-11-22T03:00:00+00:00): what it holds is not what was written",
        "then: row 6 (2026-11-22T03:00:00+00:00): what it holds is not what was written",
    ]


def test_the_command_line_proves_and_exports(used: Environment, capsys: pytest.CaptureFixture[str]) -> None:
    """Statuses 0 and 1; times are read as they are commonly written."""
    config = used.folder / "capturebot.yml"
    config.write_text("targets: {here: {local: true}}\nfolder: a\njournal: sqlite:///journal.db\n")
    audit = ["--config", str(config), "audit"]

    assert main([*audit, "verify"]) == 0
    assert main([*audit, "export", "--since", "2026-11-22T03:00", "--until", "2026-11-23"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 8
    touch(used.path, "DELETE FROM events WHERE seq = 3")
    assert main([*audit, "verify"]) == 1
    assert "row 3 is missing" in capsys.readouterr().out
    assert main([*audit, "verify", "--until", "2026-11-23"]) == 2
    with pytest.raises(SystemExit):
        main([*audit, "export", "--since", "yesterday"])


# --- copies -----------------------------------------------------------------------------------


class Vault:
    """A journal that is copied into a bucket in memory."""

    def __init__(self, path: Path, journal: Journal) -> None:
        self.path = path
        self.journal = journal
        self.s3 = FakeS3()
        self.bucket = Bucket(self.s3, settings_of(AUDIT, BUCKET))
        self.copies = Copies(journal, self.bucket, AUDIT, BUCKET, now=lambda: AT)

    async def write(self, count: int, *, size: int = 10) -> None:
        """Let something happen."""
        await self.journal.append(
            *[
                NoteFailed(capture_id="abc234", incident="P", reason="x" * size, final=False, at=AT)
                for _ in range(count)
            ]
        )

    async def found(self) -> list[Anchor]:
        """The copies."""
        return await anchors(self.bucket, settings_of(AUDIT, BUCKET), await self.journal.name())

    async def fault(self) -> Fault | None:
        """What holding the journal against them finds."""
        found = await self.found()

        async def fetch(anchor: Anchor) -> bytes:
            return await self.bucket.first_version(anchor.key, limit_bytes=10**8)

        with opened(f"sqlite:///{self.path}") as connection:
            return await hold_against(connection, found, fetch)


@pytest.fixture
async def vault(tmp_path: Path) -> AsyncIterator[Vault]:
    """One with an empty journal."""
    path = tmp_path / "journal.db"
    journal = await Journal.open(f"sqlite:///{path}", owner="me")
    yield Vault(path, journal)
    await journal.close()


async def test_what_is_new_is_copied_once_and_locked(vault: Vault) -> None:
    """As rows with their hashes, which anybody can follow without capturebot."""
    await vault.write(3)
    await vault.copies.copy()
    await vault.copies.copy()
    await vault.write(2)
    await vault.copies.copy()

    name = await vault.journal.name()
    assert [key.rpartition("-")[0] for key in vault.s3.objects] == [
        f"audit/{name}/000000000001-000000000003",
        f"audit/{name}/000000000004-000000000005",
    ]
    lines = b"".join(kept.data for kept in vault.s3.objects.values()).splitlines()
    before = BEGINNING
    for row in map(json.loads, lines):
        assert row["hash"] == hash_of(before, row)
        before = row["hash"]
    for kept in vault.s3.objects.values():
        assert kept.headers["ObjectLockMode"] == "COMPLIANCE"
        assert kept.headers["ObjectLockRetainUntilDate"] == AT + timedelta(days=365)
        assert kept.headers["ChecksumAlgorithm"] == "SHA256"


async def test_another_process_goes_on_where_the_last_one_left_off(vault: Vault) -> None:
    """Also where the segment was written, and that was not remembered any more."""
    await vault.write(3)
    await vault.copies.copy()
    await vault.journal.remember("audit", "copied", 0, {})
    before = dict(vault.s3.objects)

    assert await Copies(vault.journal, vault.bucket, AUDIT, BUCKET, now=lambda: AT).copy() == 3

    assert vault.s3.objects == before


async def test_long_journals_are_copied_in_segments(vault: Vault) -> None:
    """None of which is much longer than its bound."""
    await vault.write(450, size=100)

    await Copies(vault.journal, vault.bucket, AUDIT, BUCKET, now=lambda: AT, segment_bytes=30_000).copy()

    assert [(one.first, one.last) for one in await vault.found()] == [(1, 200), (201, 400), (401, 450)]
    assert await vault.fault() is None


async def test_a_bucket_that_refuses_delays_the_copy(vault: Vault) -> None:
    """Nothing is taken for copied that is not."""
    await vault.write(3)

    async def away(operation: str, _arguments: dict[str, Any]) -> None:
        if operation == "put_object":
            raise refused(operation, 403, "AccessDenied")

    vault.s3.before = away
    with pytest.raises(StoreError, match="S3 refused storing"):
        await vault.copies.copy()
    vault.s3.before = FakeS3().before

    assert await vault.copies.copy() == 3


async def test_a_journal_agrees_with_its_copies(vault: Vault) -> None:
    """With what is not copied yet, too."""
    for _ in range(3):
        await vault.write(2)
        await vault.copies.copy()
    await vault.write(1)

    assert await vault.fault() is None
    assert [(one.first, one.last) for one in await vault.found()] == [(1, 2), (3, 4), (5, 6)]


def rewrite(path: Path, seq: int, old: str, new: str) -> None:
    """Change a row, and mend the whole chain behind it, as somebody would who has read this code."""
    with closing(sqlite3.connect(path)) as journal, journal:
        journal.row_factory = sqlite3.Row
        journal.execute("UPDATE events SET body = replace(body, ?, ?) WHERE seq = ?", (old, new, seq))
        before = BEGINNING
        for row in journal.execute("SELECT * FROM events ORDER BY seq").fetchall():
            before = hash_of(before, dict(row))
            journal.execute("UPDATE events SET hash = ? WHERE seq = ?", (before, row["seq"]))
        journal.execute("UPDATE head SET hash = ?", (before,))


async def test_a_journal_that_was_rewritten_with_its_chain_is_found_and_located(vault: Vault) -> None:
    """The chain itself is whole again; the copies know better."""
    for _ in range(3):
        await vault.write(3)
        await vault.copies.copy()

    await asyncio.to_thread(rewrite, vault.path, 5, "xxxxxxxxxx", "yyyyyyyyyy")

    fault = await vault.fault()
    assert fault
    assert (fault.seq, fault.at) == (5, AT.isoformat())
    assert "it is not as it was when it was copied to audit/" in fault.what


async def test_an_end_that_was_cut_off_cleanly_is_found(vault: Vault) -> None:
    """Although the head was set back too."""
    await vault.write(6)
    await vault.copies.copy()

    touch(vault.path, "DELETE FROM events WHERE seq > 4")
    touch(vault.path, "UPDATE head SET seq = 4, hash = (SELECT hash FROM events WHERE seq = 4)")

    fault = await vault.fault()
    assert fault
    assert fault.seq == 5
    assert "and not in the journal any more" in fault.what


async def test_a_copy_that_somebody_deleted_still_counts(vault: Vault) -> None:
    """A bucket with object lock hides it and keeps it."""
    await vault.write(2)
    await vault.copies.copy()
    vault.s3.deleted = list(vault.s3.objects)

    (one,) = await vault.found()

    assert one.hidden


async def test_a_server_without_versions_is_asked_for_what_there_is(vault: Vault) -> None:
    """Its copies can be removed, and are held against the journal all the same."""
    await vault.write(2)
    await vault.copies.copy()

    async def unknown(operation: str, _arguments: dict[str, Any]) -> None:
        if operation == "list_object_versions":
            raise refused(operation, 501, "NotImplemented")

    vault.s3.before = unknown

    assert len(await vault.found()) == 1
    assert await vault.fault() is None


async def test_what_else_lies_in_the_bucket_is_nothing_to_us(vault: Vault) -> None:
    """Names that are not ours are passed over."""
    await vault.write(2)
    await vault.copies.copy()
    vault.s3.objects[f"audit/{await vault.journal.name()}/readme.txt"] = Kept(data=b"", headers={})

    assert len(await vault.found()) == 1

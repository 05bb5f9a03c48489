"""`capturebot audit`: proves that the journal is as it was written, and exports it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TextIO

from pydantic import ValidationError
from sqlalchemy import Connection, select

from bot.assembly import learn, open_secrets
from bot.audit.anchors import READ_BYTES, Anchor, anchors, covering, hold_against
from bot.audit.copies import settings_of
from bot.audit.records import masked, record
from bot.errors import SecretMissing, StoreError
from bot.journal.looking import opened, rows
from bot.journal.proof import Proof, prove
from bot.journal.tables import events, keys
from bot.journal.writing import event_json
from bot.logs import open_log
from bot.model import Accepted, Capture
from bot.redact import Redactor
from bot.retention import Audit
from bot.settings import S3, Settings
from bot.stores.bucket import Bucket

CAPTURES_KEPT = 10_000  # in memory, to say who asked for what ran

Say = Callable[[str], object]


async def verify(
    settings: Settings, *, environ: Mapping[str, str], base: Path, since: datetime | None, say: Say
) -> int:
    """Follow the chain, hold it against the copies in S3 where there are any, and say what was found; 0 where all is well.

    Raises JournalError where there is no journal to look at.
    """
    with opened(settings.journal) as connection:
        proof = prove(connection, since=since)
        found: list[Anchor] = []
        lines: list[str] = []
        if settings.audit and settings.s3:
            async with open_secrets(settings, environ=environ, base=base) as secrets:
                open_log(as_json=False, mask=Redactor(secrets.known, salt=b"verify").text, level=logging.ERROR)
                try:
                    bucket = await Bucket.open(settings_of(settings.audit, settings.s3), secrets)
                    try:
                        found, lines = await _held(connection, bucket, settings.audit, settings.s3, proof)
                    finally:
                        await bucket.close()
                except (StoreError, SecretMissing) as error:
                    lines = [f"fault: the copies could not be looked at. {error.reason}"]
    lines = [*_told(proof, found), *lines]
    for line in lines:
        say(line)
    return 1 if any(line.startswith("fault") for line in lines) else 0


def _told(proof: Proof, found: list[Anchor]) -> Iterator[str]:
    last = f"row {proof.last.seq} ({proof.last_at}), {proof.last.hash}" if proof.last else "no row"
    if not proof.faults:
        yield f"ok: {proof.rows} rows, each chained to the one before; the last is {last}"
    for fault in proof.faults[:1]:
        copy = covering(found, fault.seq)
        yield f"fault: {fault}{f'; as it was: {copy}' if copy else ''}"
    for fault in proof.faults[1:]:
        yield f"then: {fault}"
    if (more := proof.faults_in_all - len(proof.faults)) > 0:
        yield f"then: {more} more"
    for seq, at in proof.seals:
        yield f"note: rows before row {seq} were chained on {at}, as they were found then"


async def _held(
    connection: Connection, bucket: Bucket, audit: Audit, s3: S3, proof: Proof
) -> tuple[list[Anchor], list[str]]:
    name = connection.execute(select(keys.c.value).where(keys.c.name == "name")).scalar()
    where = f"s3://{audit.bucket}/{audit.prefix}"
    if not name:
        return [], [f"note: nothing was copied to {where} yet"]
    found = await anchors(bucket, settings_of(audit, s3), name)

    async def fetch(anchor: Anchor) -> bytes:
        return await bucket.first_version(anchor.key, limit_bytes=READ_BYTES)

    fault = await hold_against(connection, found, fetch)
    lines = [f"note: somebody deleted the copy {one}; the bucket has kept it" for one in found if one.hidden]
    if fault:
        return found, [*lines, f"fault: {fault}"]
    if not found:
        return found, [*lines, f"note: there is no copy of this journal in {where}"]
    left = (proof.last.seq if proof.last else 0) - found[-1].last
    until = f"up to row {found[-1].last} of {found[-1].at:%Y-%m-%d %H:%M} UTC; {left} rows are not copied yet"
    return found, [*lines, f"ok: {len(found)} copies in {where} agree, {until}"]


async def export(
    settings: Settings,
    *,
    environ: Mapping[str, str],
    base: Path,
    since: datetime | None,
    until: datetime | None,
    out: TextIO,
) -> int:
    """Write the records of all events of that time to *out*, one a line, with known secrets masked. Raises JournalError."""
    async with open_secrets(settings, environ=environ, base=base) as secrets:
        await learn(settings, secrets)
        with opened(settings.journal) as connection:
            salt = connection.execute(select(keys.c.value).where(keys.c.name == "salt")).scalar()
            mask = Redactor(secrets.known, salt=bytes.fromhex(salt or "00")).text
            out.writelines(
                json.dumps(masked(one, mask), ensure_ascii=False) + "\n" for one in _records(connection, since, until)
            )
    return 0


def _records(connection: Connection, since: datetime | None, until: datetime | None) -> Iterator[dict[str, object]]:
    @lru_cache(maxsize=CAPTURES_KEPT)
    def capture(capture_id: str) -> Capture | None:
        query = select(events.c.body).where(events.c.capture_id == capture_id, events.c.type == "accepted")
        body = connection.execute(query.order_by(events.c.seq).limit(1)).scalar()
        with suppress(ValidationError):
            accepted = event_json.validate_json(body or "")
            return accepted.capture if isinstance(accepted, Accepted) else None
        return None

    for row in rows(connection, since=since):
        seq, row_hash = row["seq"], (row["hash"] or b"").decode("ascii", "replace")
        try:
            event = event_json.validate_json(row["body"])
        except ValidationError:  # changed, or of a newer version: an auditor must see that there is something
            at = row["at"].decode("utf-8", "replace")
            yield {
                "seq": seq,
                "at": at,
                "action": "unreadable",
                "what": "run `capturebot audit verify`",
                "hash": row_hash,
            }
            continue
        if (since is None or event.at >= since) and (until is None or event.at < until):
            yield record(seq, row_hash, event, capture)

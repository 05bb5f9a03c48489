"""Open files: processes near their limit or on the way to it, space held by deleted files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from bot.insights import Reading, sections, words
from bot.insights.choice import row_of, spoken, unchosen
from bot.insights.leaks import Opener, leaking
from bot.insights.onward import explaining
from bot.model import Finding, Level

LIMIT_WARN = 0.80  # of a process's limit; a leak that is here is at its end soon
LIMIT_BAD = 0.95
SYSTEM_WARN = 0.80  # of the whole system's limit
LEAST_OPEN = 200.0  # fewer are no leak: some programs set themselves a tight limit
DELETED_WARN_BYTES = 5e9
DELETED_SHARE = 0.10  # of a disk that is nearly full: deleted files are why
FULL = 0.90  # of a disk
PATH_CHARS = 60
RECIPE = "files"


def files(reading: Reading) -> Iterator[Finding]:
    """Name processes that run out of file descriptors, and those that hold deleted files."""
    parts = sections(reading.text)
    tables = {section.name: section for section in parts}
    rows = {name: section.rows() for name, section in tables.items()}
    yield from unchosen(parts, RECIPE, reading.target)
    seconds = words.number(tables["processes"].facts.get("seconds")) if "processes" in tables else 0.0
    alone = "process" in tables
    for row in rows.get("processes", []):
        opener = Opener(row=row, seconds=seconds, names=rows.get("names", []))
        told = [*leaking(opener, alone=alone)] or [*_near(opener, alone=alone)]
        yield from told or _as_asked(opener, alone=alone)
    if alone and not rows.get("processes"):
        text = f"What {spoken(row_of(parts))} has open cannot be seen: it belongs to {words.clean(row_of(parts).get('user', '?'))}, or has ended"
        yield Finding(level=Level.WARN, text=text, weight=0.4)
    for row in rows.get("system", []):
        share = words.number(row.get("allocated")) / (words.number(row.get("most")) or float("inf"))
        if share >= SYSTEM_WARN:
            text = f"The system has {words.percent(share)} of all open files that it can ({words.count(words.number(row['allocated']))})"
            yield Finding(level=Level.BAD, text=text, weight=0.8)
    yield from _deleted(rows.get("deleted", []))
    if "unseen" in tables and tables["unseen"].body.strip():
        yield Finding(level=Level.INFO, text=f"Open files: {words.clean(tables['unseen'].body, 100)}", weight=0.1)


def _near(opener: Opener, *, alone: bool) -> Iterator[Finding]:
    if opener.share < LIMIT_WARN or opener.opened < LEAST_OPEN:
        return
    text = f"{opener.who} has {words.count(opener.opened)} of {words.count(opener.limit)} files open, {opener.mostly}"
    yield Finding(
        level=Level.BAD if opener.share >= LIMIT_BAD else Level.WARN,
        text=text,
        weight=min(opener.share, 1.0) * 0.85,
        evidence=opener.evidence,
        next=explaining(opener.process, opener.pid, *([] if alone else [RECIPE])),
    )


def _as_asked(opener: Opener, *, alone: bool) -> Iterator[Finding]:
    """What somebody asked for by its name is told, though it is well."""
    if alone:
        grown = (
            f"{abs(opener.grown):.0f} {'more' if opener.grown > 0 else 'fewer'} than" if opener.grown else "as many as"
        )
        text = f"{opener.who} has {words.count(opener.opened)} of {words.count(opener.limit)} files open, {grown} {words.duration(opener.seconds)} before"
        yield Finding(level=Level.INFO, text=text, weight=0.3, evidence=opener.evidence)


def _deleted(rows: list[dict[str, str]]) -> Iterator[Finding]:
    """Space that nobody finds: told by the disk that it is missing on, else in all."""
    by_disk: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        by_disk[row.get("mount", "")].append(row)
    told = False
    for mount, held in by_disk.items():
        most, free = words.number(held[0].get("disk_bytes")), words.number(held[0].get("disk_free"))
        full = 1 - free / most if most else 0.0
        if mount and full >= FULL and _bytes(held) >= DELETED_SHARE * most:
            told = True
            text = f"{_holder(held)} keeps {words.size(_bytes(held))} of deleted files open on {words.clean(mount, PATH_CHARS)}, which is {words.percent(full)} full"
            yield Finding(level=Level.BAD, text=text, weight=0.97, evidence=_evidence(held))
    if not told and _bytes(rows) >= DELETED_WARN_BYTES:
        file = words.clean(max(rows, key=lambda row: words.number(row.get("bytes"))).get("file", "?"), PATH_CHARS)
        text = (
            f"Deleted files that are still open hold {words.size(_bytes(rows))}; {_holder(rows)} holds most, in {file}"
        )
        yield Finding(level=Level.WARN, text=text, weight=0.4, evidence=_evidence(rows))


def _bytes(rows: list[dict[str, str]]) -> float:
    return sum(words.number(row.get("bytes")) for row in rows)


def _holder(rows: list[dict[str, str]]) -> str:
    """The process that holds most."""
    by_process: dict[tuple[str, str, str], float] = defaultdict(float)
    for row in rows:
        by_process[row.get("process", "?"), row.get("pid", "?"), row.get("user", "?")] += words.number(row.get("bytes"))
    process, pid, user = max(by_process, key=lambda each: by_process[each])
    return f"{words.clean(process)} (pid {words.clean(pid)}, user {words.clean(user)})"


def _evidence(rows: list[dict[str, str]]) -> tuple[str, ...]:
    return words.evidence(*(" ".join(row.values()) for row in rows))

"""Open files: processes near their limit, space held by deleted files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from bot.insights import Reading, sections, words
from bot.model import Finding, Level

LIMIT_WARN = 0.80  # of a process's limit; a leak that is here is at its end soon
LIMIT_BAD = 0.95
SYSTEM_WARN = 0.80  # of the whole system's limit
LEAST_OPEN = 200.0  # fewer are no leak: some programs set themselves a tight limit
DELETED_WARN_BYTES = 5e9
DELETED_SHARE = 0.10  # of a disk that is nearly full: deleted files are why
FULL = 0.90  # of a disk
PATH_CHARS = 60
KINDS = (
    ("sockets", "sockets"),
    ("pipes", "pipes"),
    ("anonymous", "anonymous descriptors (epoll, eventfd)"),
    ("files", "files"),
)


def files(reading: Reading) -> Iterator[Finding]:
    """Name processes that run out of file descriptors, and those that hold deleted files."""
    tables = {section.name: section for section in sections(reading.text)}
    rows = {name: section.rows() for name, section in tables.items()}
    for row in rows.get("processes", []):
        yield from _process(row)
    for row in rows.get("system", []):
        share = words.number(row.get("allocated")) / (words.number(row.get("most")) or float("inf"))
        if share >= SYSTEM_WARN:
            text = f"The system has {words.percent(share)} of all open files that it can ({words.count(words.number(row['allocated']))})"
            yield Finding(level=Level.BAD, text=text, weight=0.8)
    yield from _deleted(rows.get("deleted", []))
    if "unseen" in tables and tables["unseen"].body.strip():
        yield Finding(level=Level.INFO, text=f"Open files: {words.clean(tables['unseen'].body, 100)}", weight=0.1)


def _process(row: dict[str, str]) -> Iterator[Finding]:
    opened, limit = words.number(row.get("open")), words.number(row.get("limit"))
    if limit <= 0 or opened < LEAST_OPEN or opened / limit < LIMIT_WARN:
        return
    kind, name = max(KINDS, key=lambda each: words.number(row.get(each[0])))
    most = words.number(row.get(kind))
    folder = f" in {words.clean(row.get('folder', ''), PATH_CHARS)}" if kind == "files" and row.get("folder") else ""
    who = f"{words.clean(row.get('process', '?'))} (pid {words.clean(row.get('pid', '?'))}, user {words.clean(row.get('user', '?'))})"
    text = f"{who} has {words.count(opened)} of {words.count(limit)} files open, {words.count(most)} of them {name}{folder}"
    level = Level.BAD if opened / limit >= LIMIT_BAD else Level.WARN
    yield Finding(
        level=level, text=text, weight=min(opened / limit, 1.0) * 0.85, evidence=words.evidence(" ".join(row.values()))
    )


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

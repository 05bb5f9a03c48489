"""Who blocks whom in a database: row locks, metadata locks, transactions left open."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from bot.insights import Reading, sections, words
from bot.model import Finding, Level

Row = Mapping[str, str]

WAIT_S = 1.0  # shorter waits for a lock are everyday life
BAD_WAIT_S = 5.0  # people notice
BAD_WAITERS = 5
IDLE_S = 60.0  # a transaction idle for longer waits for a person or a bug, not for its application
CHANGE = re.compile(r"\s*(alter|create|drop|truncate|rename|optimize|lock)\b", re.IGNORECASE)
OLD_S = 600.0  # a transaction this old keeps the server from purging what it might still read


def locks(reading: Reading) -> Iterator[Finding]:
    """Name the root of each queue for a lock, then the transaction that was left open."""
    tables: dict[str, list[dict[str, str]]] = defaultdict(list)
    for section in sections(reading.text):
        if not {"skipped", "error"} & section.facts.keys():
            tables[section.name] += section.rows()
    blockers = list(_row_locks(tables["lock_waits"] + tables["data_lock_waits"]))
    yield from blockers
    waits = [row for row in tables["metadata_waits"] if words.number(row.get("wait_s")) >= WAIT_S]
    if waits:
        yield _metadata_lock(waits, tables["metadata_locks"], tables["transactions"])
    if not waits and not blockers:
        yield from _left_open(tables["transactions"])


def _who(row: Row, prefix: str = "") -> str:
    """A session as people find it again: "app@10.0.0.4 (thread 77)"."""
    user, host = row.get(f"{prefix}user", ""), row.get(f"{prefix}host", "")
    head, colon, port = host.rpartition(":")
    host = head if colon and port.isdigit() else host
    at = f"@{words.clean(host)}" if host not in {"", "NULL"} else ""
    return f"{words.clean(user)}{at} (thread {words.clean(row.get(f'{prefix}thread', '?'))})"


# --- row locks --------------------------------------------------------------------------------


def _row_locks(rows: list[dict[str, str]]) -> Iterator[Finding]:
    """One finding for each session that blocks others and waits for nobody, most blocked first."""
    behind: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        behind[row.get("blocking_thread", "")].add(row.get("waiting_thread", ""))
    waiting = {row.get("waiting_thread", ""): words.number(row.get("wait_s")) for row in rows}
    roots = {thread: _all_behind(thread, behind) for thread in behind if thread not in waiting}
    for thread in sorted(roots, key=lambda each: -len(roots[each])):
        longest = max(waiting.get(each, 0.0) for each in roots[thread])
        if longest >= WAIT_S:
            row = next(row for row in rows if row.get("blocking_thread", "") == thread)
            yield _blocks(row, len(roots[thread]), longest)


def _all_behind(thread: str, behind: Mapping[str, set[str]]) -> set[str]:
    """Everybody who waits for *thread*, directly or not."""
    found: set[str] = set()
    ahead = [thread]
    while ahead:
        new = behind.get(ahead.pop(), set()) - found - {thread}
        found |= new
        ahead += new
    return found


def _blocks(row: Row, waiters: int, longest_s: float) -> Finding:
    idle = row.get("blocking_command") == "Sleep"
    busy_s = words.number(row.get("blocking_time_s"))
    table = words.clean(row.get("locked_table", "").replace("`", ""))
    if idle:
        doing = f"has been idle for {words.duration(busy_s)}"
    else:
        statement = row.get("blocking_statement", "")
        running = words.spoken(statement) if statement not in {"", "NULL"} else "its statement"
        doing = f"has been running {running} for {words.duration(busy_s)}"
    others = f"{words.counted(waiters, 'other')} on {table}" if table else words.counted(waiters, "other")
    return Finding(
        level=Level.BAD if longest_s >= BAD_WAIT_S or waiters >= BAD_WAITERS else Level.WARN,
        text=f"Transaction of {_who(row, 'blocking_')} {doing} and blocks {others}, the longest for {words.duration(longest_s)}",
        weight=0.95 if idle else 0.85,
        evidence=words.evidence(_line(row)),
    )


def _line(row: Row) -> str:
    """A row without the data in its statements."""
    return " ".join(words.shape(value) if key.endswith("statement") else value for key, value in row.items())


# --- metadata locks ---------------------------------------------------------------------------


def _metadata_lock(
    waits: list[dict[str, str]], held: list[dict[str, str]], transactions: list[dict[str, str]]
) -> Finding:
    # MySQL counts whole seconds: of those that came in the same one, the change of a table is what the others queue behind.
    waits = sorted(
        waits, key=lambda row: (-words.number(row.get("wait_s")), not CHANGE.match(row.get("statement", "")))
    )
    first, longest = waits[0], words.number(waits[0].get("wait_s"))
    queue = "1 session waits" if len(waits) == 1 else f"{len(waits)} sessions wait"
    statement = f"{words.spoken(first.get('statement', ''), most=40)} (thread {words.clean(first.get('thread', '?'))})"
    holder = _holder({row.get("thread", "") for row in waits}, longest, held, transactions)
    by = ""
    if holder:
        idle = "idle in its transaction" if holder.get("command") == "Sleep" else "at work"
        sure = "held by" if holder in held else "probably held by"
        by = f"; {sure} {_who(holder)}, {idle} for {words.duration(words.number(holder.get('time_s')))}"
    return Finding(
        level=Level.BAD if longest >= BAD_WAIT_S or len(waits) >= BAD_WAITERS else Level.WARN,
        text=f"{queue} for a metadata lock, first {statement}, for {words.duration(longest)}{by}",
        weight=0.9,
        evidence=words.evidence(*(_line(row) for row in ([holder] if holder else []) + waits)),
    )


def _holder(
    waiting: set[str], longest_s: float, held: list[dict[str, str]], transactions: list[dict[str, str]]
) -> dict[str, str] | None:
    """Who holds what the others wait for; without a list of metadata locks the oldest transaction that began before."""
    wanted = {_object(row) for row in held if row.get("lock_status") == "PENDING"}
    for row in held:
        if row.get("lock_status") == "GRANTED" and _object(row) in wanted and row.get("thread") not in waiting:
            return row
    older = (
        row for row in transactions if words.number(row.get("age_s")) + 1 > longest_s
    )  # its age is in whole seconds
    return next(
        (row for row in older if row.get("thread") not in waiting and row.get("trx_state") != "LOCK WAIT"), None
    )


def _object(row: Row) -> tuple[str, str]:
    return row.get("object_schema", ""), row.get("object_name", "")


# --- open transactions ------------------------------------------------------------------------


def _left_open(transactions: list[dict[str, str]]) -> Iterator[Finding]:
    """The oldest transaction that idles with locks in its hands, or that is too old to be healthy."""
    for row in sorted(transactions, key=lambda each: -words.number(each.get("age_s"))):
        age, idle = words.number(row.get("age_s")), words.number(row.get("time_s"))
        touched = words.number(row.get("rows_locked")) + words.number(row.get("rows_modified"))
        sleeps = row.get("command") == "Sleep"
        if age < OLD_S and not (sleeps and idle >= IDLE_S and touched):
            continue
        doing = f"idle for {words.duration(idle)}" if sleeps else f"running {words.spoken(row.get('statement', ''))}"
        changed = words.counted(words.number(row.get("rows_modified")), "row")
        text = f"Transaction of {_who(row)} has been open for {words.duration(age)}, {doing}, with {changed} changed"
        yield Finding(level=Level.WARN, text=text, weight=0.4, evidence=words.evidence(_line(row)))
        return

"""Who blocks whom in a database: row locks, metadata locks, transactions left open."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from bot.insights import Reading, sections, words
from bot.insights.mysql.sessions import PHONE_CHARS, Row, Tables, line_of, tables_of, who
from bot.model import Finding, Level, Suggestion

WAIT_S = 1.0  # shorter waits for a lock are everyday life
BAD_WAIT_S = 5.0  # people notice
BAD_WAITERS = 5
IDLE_S = 60.0  # a transaction idle for longer waits for a person or a bug, not for its application
CHANGE = re.compile(r"\s*(alter|create|drop|truncate|rename|optimize|lock)\b", re.IGNORECASE)
OLD_S = 600.0  # a transaction this old keeps the server from purging what it might still read
BRANCH = "└ "  # before a session that waits, once for each that stands between it and nobody


def locks(reading: Reading) -> Iterator[Finding]:
    """Name the root of each queue for a lock, then the transaction that was left open."""
    parts = sections(reading.text)
    tables = tables_of(parts)
    # The recipe `locks` asks for this, and nobody needs to be sent there from itself.
    deep = any(part.name == "last_statements" for part in parts)
    deeper = () if deep else (Suggestion(label="Who waits for whom", recipe="locks"),)
    blockers = list(_row_locks(tables, deeper))
    yield from blockers
    waits = [row for row in tables["metadata_waits"] if words.number(row.get("wait_s")) >= WAIT_S]
    if waits:
        yield _metadata_lock(waits, tables, deeper)
    if not waits and not blockers:
        yield from _left_open(tables["transactions"], deeper)


# --- row locks --------------------------------------------------------------------------------


def _row_locks(tables: Tables, deeper: tuple[Suggestion, ...]) -> Iterator[Finding]:
    """One finding for each session that blocks others and waits for nobody, most blocked first."""
    rows = _waits(tables)
    behind: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        behind[row.get("blocking_thread", "")].add(row.get("waiting_thread", ""))
    waiting = {row.get("waiting_thread", ""): words.number(row.get("wait_s")) for row in rows}
    roots = {thread: _all_behind(thread, behind) for thread in behind if thread not in waiting}
    for thread in sorted(roots, key=lambda each: -len(roots[each])):
        longest = max(waiting.get(each, 0.0) for each in roots[thread])
        if longest >= WAIT_S:
            row = next(row for row in rows if row.get("blocking_thread", "") == thread)
            yield _blocks(row, len(roots[thread]), longest, tables, deeper)


def _waits(tables: Tables) -> list[dict[str, str]]:
    return tables["lock_waits"] + tables["data_lock_waits"]


def _all_behind(thread: str, behind: Mapping[str, set[str]]) -> set[str]:
    """Everybody who waits for *thread*, directly or not."""
    found: set[str] = set()
    ahead = [thread]
    while ahead:
        new = behind.get(ahead.pop(), set()) - found - {thread}
        found |= new
        ahead += new
    return found


def _blocks(row: Row, waiters: int, longest_s: float, tables: Tables, deeper: tuple[Suggestion, ...]) -> Finding:
    thread = row.get("blocking_thread", "")
    idle = row.get("blocking_command") == "Sleep"
    busy_s = words.number(row.get("blocking_time_s"))
    table = words.clean(row.get("locked_table", "").replace("`", ""))
    if idle:
        last = _last(thread, tables)
        after = f" after {words.spoken(last, most=45)}" if last else ""
        doing = f"has been idle for {words.duration(busy_s)}{after}"
    else:
        statement = row.get("blocking_statement", "")
        running = words.spoken(statement) if statement not in {"", "NULL"} else "its statement"
        doing = f"has been running {running} for {words.duration(busy_s)}"
    others = f"{words.counted(waiters, 'other')} on {table}" if table else words.counted(waiters, "other")
    blocked = f"blocks {others}, the longest for {words.duration(longest_s)}"
    return Finding(
        level=Level.BAD if longest_s >= BAD_WAIT_S or waiters >= BAD_WAITERS else Level.WARN,
        text=words.clean(f"Transaction of {who(row, 'blocking_')} {doing} and {blocked}", PHONE_CHARS),
        weight=0.95 if idle else 0.85,
        evidence=words.evidence(_root(row, tables), *_tree(thread, _waits(tables), depth=1, seen={thread})),
        next=deeper,
    )


def _last(thread: str, tables: Tables) -> str:
    """What a session did last, "" where the server does not keep it."""
    return next((row.get("statement", "") for row in tables["last_statements"] if row.get("thread") == thread), "")


def _root(row: Row, tables: Tables) -> str:
    """The session that all of a queue wait for, with what is known of its client."""
    thread = row.get("blocking_thread", "")
    doing = "idle" if row.get("blocking_command") == "Sleep" else f"at {words.shape(row.get('blocking_statement', ''))}"
    client = [
        f"{each.get('attr_name', '').strip('_')} {each.get('attr_value', '')}"
        for each in tables["programs"]
        if each.get("thread") == thread
    ]
    session = f"thread {thread} {row.get('blocking_user', '')}@{row.get('blocking_host', '')}"
    age_s, changed = row.get("blocking_age_s", "?"), row.get("blocking_rows_modified", "?")
    parts = [
        f"{session}: {doing} for {row.get('blocking_time_s', '?')} s, its transaction {age_s} s old, {changed} rows changed"
    ]
    if last := _last(thread, tables):
        parts.append(f"last {words.shape(last)}")
    return ", ".join([*parts, *client])


def _tree(thread: str, rows: list[dict[str, str]], *, depth: int, seen: set[str]) -> Iterator[str]:
    """A line for everybody who waits for *thread*, each below the one it waits for; nobody twice."""
    for row in rows:
        waiter = row.get("waiting_thread", "")
        if row.get("blocking_thread", "") != thread or waiter in seen or depth > words.EVIDENCE_LINES:
            continue
        seen.add(waiter)
        yield (
            f"{BRANCH * depth}thread {waiter} {row.get('waiting_user', '')}@{row.get('waiting_host', '')}: waits "
            f"{row.get('wait_s', '?')} s for {row.get('lock_mode', '?')} on {row.get('locked_table', '?')} "
            f"({row.get('locked_index', '?')}), {words.shape(row.get('waiting_statement', ''))}"
        )
        yield from _tree(waiter, rows, depth=depth + 1, seen=seen)


# --- metadata locks ---------------------------------------------------------------------------


def _metadata_lock(waits: list[dict[str, str]], tables: Tables, deeper: tuple[Suggestion, ...]) -> Finding:
    # MySQL counts whole seconds: of those that came in the same one, the change of a table is what the others queue behind.
    waits = sorted(
        waits, key=lambda row: (-words.number(row.get("wait_s")), not CHANGE.match(row.get("statement", "")))
    )
    first, longest = waits[0], words.number(waits[0].get("wait_s"))
    queue = "1 session waits" if len(waits) == 1 else f"{len(waits)} sessions wait"
    statement = f"{words.spoken(first.get('statement', ''), most=40)} (thread {words.clean(first.get('thread', '?'))})"
    waiting = {row.get("thread", "") for row in waits}
    known = _known_holder(waiting, first.get("thread", ""), tables)
    holder = known or _likely_holder(waiting, longest, tables["transactions"])
    by = ""
    if holder:
        idle = "idle in its transaction" if holder.get("command") == "Sleep" else "at work"
        sure = "held by" if known else "probably held by"
        by = f"; {sure} {who(holder)}, {idle} for {words.duration(words.number(holder.get('time_s')))}"
    return Finding(
        level=Level.BAD if longest >= BAD_WAIT_S or len(waits) >= BAD_WAITERS else Level.WARN,
        text=words.clean(
            f"{queue} for a metadata lock, first {statement}, for {words.duration(longest)}{by}", PHONE_CHARS
        ),
        weight=0.9,
        evidence=words.evidence(*(line_of(row) for row in ([holder] if holder else []) + waits)),
        next=deeper,
    )


def _known_holder(waiting: set[str], first: str, tables: Tables) -> dict[str, str] | None:
    """Who holds what the others wait for, where the server lists metadata locks."""
    held = tables["metadata_locks"]
    wanted = {_object(row) for row in held if row.get("lock_status") == "PENDING"}
    for row in held:
        if row.get("lock_status") == "GRANTED" and _object(row) in wanted and row.get("thread") not in waiting:
            return row
    # MariaDB's plugin lists what is held only: the first in the queue holds a weaker lock of the table that it wants.
    info = tables["metadata_lock_info"]
    wanted = {_object(row) for row in info if row.get("thread") == first and row.get("object_name")}
    return next((row for row in info if _object(row) in wanted and row.get("thread") not in waiting), None)


def _likely_holder(waiting: set[str], longest_s: float, transactions: list[dict[str, str]]) -> dict[str, str] | None:
    """Without a list of metadata locks: the oldest transaction that began before."""
    older = (
        row for row in transactions if words.number(row.get("age_s")) + 1 > longest_s
    )  # its age is in whole seconds
    return next(
        (row for row in older if row.get("thread") not in waiting and row.get("trx_state") != "LOCK WAIT"), None
    )


def _object(row: Row) -> tuple[str, str]:
    return row.get("object_schema", ""), row.get("object_name", "")


# --- open transactions ------------------------------------------------------------------------


def _left_open(transactions: list[dict[str, str]], deeper: tuple[Suggestion, ...]) -> Iterator[Finding]:
    """The oldest transaction that idles with locks in its hands, or that is too old to be healthy."""
    for row in sorted(transactions, key=lambda each: -words.number(each.get("age_s"))):
        age, idle = words.number(row.get("age_s")), words.number(row.get("time_s"))
        touched = words.number(row.get("rows_locked")) + words.number(row.get("rows_modified"))
        sleeps = row.get("command") == "Sleep"
        if age < OLD_S and not (sleeps and idle >= IDLE_S and touched):
            continue
        doing = f"idle for {words.duration(idle)}" if sleeps else f"running {words.spoken(row.get('statement', ''))}"
        changed = words.counted(words.number(row.get("rows_modified")), "row")
        text = f"Transaction of {who(row)} has been open for {words.duration(age)}, {doing}, with {changed} changed"
        yield Finding(level=Level.WARN, text=text, weight=0.4, evidence=words.evidence(line_of(row)), next=deeper)
        return

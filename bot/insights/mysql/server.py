"""The vital signs of a database server: its counters, and InnoDB's report."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from bot.insights import Reading, sections, words
from bot.insights.mysql.deadlock import deadlock_of, finding_of, report_of
from bot.model import Finding, Level, Suggestion

CONNECTED_WARN = 0.85  # of max_connections; a burst away from refusing
CONNECTED_BAD = 0.95
HOLDER_SHARE = 0.5  # of the connections in use; a client with more is the one to name
FAILED_LOGINS = 1.0  # per second
RUNNING = 64.0  # statements at once; few servers have the cores for it
DISK_TABLES = 50.0  # temporary tables on disk per second; our own look makes about four
LOCK_TIME = 1.0  # seconds waited for row locks per second
DEADLOCKS = 1.0  # per second
HISTORY_WARN = 100_000.0  # undo records that purge has not caught up with
HISTORY_BAD = 1_000_000.0
SEMAPHORE_WARN_S = 5.0
SEMAPHORE_BAD_S = 60.0  # InnoDB ends the server itself after 600 (innodb_fatal_semaphore_wait_threshold)

WHO_WAITS = (Suggestion(label="Transactions and locks", recipe="locks"),)


# --- counters ---------------------------------------------------------------------------------


def status(reading: Reading) -> Iterator[Finding]:
    """What the counters did between the first and the last sample, and how full the connections are."""
    looks = [s for s in sections(reading.text) if s.name == "status"]
    values = [{row.get("Variable_name", ""): words.number(row.get("Value")) for row in look.rows()} for look in looks]
    limits = {
        r.get("Variable_name", ""): r.get("Value", "")
        for s in sections(reading.text)
        if s.name == "limits"
        for r in s.rows()
    }
    if not values:
        return
    clients = next((s.rows() for s in reversed(sections(reading.text)) if s.name == "clients"), [])
    yield from _connections(values[-1], words.number(limits.get("max_connections")), clients)
    if len(values) < 2:
        return
    first, last = values[0], values[-1]
    if 0 < last.get("Uptime", 0) < first.get("Uptime", 0):
        text = f"The server restarted while it was looked at: it has been up for {words.duration(last['Uptime'])}"
        yield Finding(level=Level.BAD, text=text, weight=1.0)
        return
    seconds = max((looks[-1].at - looks[0].at).total_seconds(), 0.001)
    yield from _rates({name: (value - first.get(name, value)) / seconds for name, value in last.items()}, seconds)


def _connections(now: Mapping[str, float], most: float, clients: list[dict[str, str]]) -> Iterator[Finding]:
    used, running = now.get("Threads_connected", 0), now.get("Threads_running", 0)
    if most and used / most >= CONNECTED_WARN:
        text = f"{words.count(min(used, most))} of {words.counted(most, 'connection')} are in use"
        first = max(clients, key=lambda row: words.number(row.get("connections")), default={})
        held = words.number(first.get("connections"))
        if held >= HOLDER_SHARE * used:
            who = f"{words.clean(first.get('user', '?'))} from {words.clean(first.get('client', '?'))}"
            text += f": {who} holds {words.count(held)}, {words.count(words.number(first.get('asleep')))} of them idle"
        yield Finding(
            level=Level.BAD if used / most >= CONNECTED_BAD else Level.WARN,
            text=text,
            weight=min(used / most, 1.0) * 0.7,
            evidence=words.evidence(*(" ".join(row.values()) for row in clients)),
        )
    if running >= RUNNING:
        text = f"{words.counted(running, 'statement')} run at once"
        yield Finding(level=Level.WARN, text=text, weight=0.4)


def _rates(per_second: Mapping[str, float], seconds: float) -> Iterator[Finding]:
    """*per_second* holds by how much each counter grew in a second."""

    def of(name: str) -> float:
        return per_second.get(name, 0.0)

    if refused := of("Connection_errors_max_connections") * seconds:
        text = f"{words.counted(refused, 'connection')} were refused in {words.duration(seconds)}: max_connections is reached"
        yield Finding(level=Level.BAD, text=text, weight=0.9)
    elif of("Aborted_connects") >= FAILED_LOGINS:
        text = f"{words.counted(of('Aborted_connects'), 'login')} a second fail: wrong user, password or host"
        yield Finding(level=Level.WARN, text=text, weight=0.5)
    if of("Created_tmp_disk_tables") >= DISK_TABLES:
        text = f"{words.counted(of('Created_tmp_disk_tables'), 'temporary table')} a second go to disk"
        yield Finding(level=Level.WARN, text=text, weight=0.3)
    if of("Innodb_row_lock_time") / 1000 >= LOCK_TIME:
        text = f"Sessions waited {of('Innodb_row_lock_time') / 1000:.1f} s a second for row locks"
        yield Finding(level=Level.WARN, text=text, weight=0.4, next=WHO_WAITS)
    if of("Innodb_deadlocks") >= DEADLOCKS:
        text = f"{words.counted(of('Innodb_deadlocks'), 'deadlock')} a second"
        yield Finding(level=Level.WARN, text=text, weight=0.4, next=WHO_WAITS)
    if of("Innodb_buffer_pool_wait_free") > 0:
        text = "Statements wait for free pages: the buffer pool is too small for this load, or the disk too slow"
        yield Finding(level=Level.WARN, text=text, weight=0.4)


# --- InnoDB -----------------------------------------------------------------------------------

_HISTORY = re.compile(r"^History list length (\d{1,15})", re.MULTILINE)
_SEMAPHORE = re.compile(r"^--Thread (\d+) has waited at (\S+) line (\d+) for (\d+(?:\.\d+)?) seconds", re.MULTILINE)


def innodb(reading: Reading) -> Iterator[Finding]:
    """Purge that lags, threads that wait for each other inside the server, the last deadlock."""
    text = report_of(reading.text)
    if (history := _HISTORY.search(text)) and (length := words.number(history[1])) >= HISTORY_WARN:
        says = (
            f"InnoDB's history list holds {words.count(length)} entries: purge lags, look for an old open transaction"
        )
        yield Finding(
            level=Level.BAD if length >= HISTORY_BAD else Level.WARN,
            text=says,
            weight=0.5,
            evidence=words.evidence(history[0]),
            next=WHO_WAITS,
        )
    waits = sorted(_SEMAPHORE.findall(text), key=lambda wait: -words.number(wait[3]))
    if waits and (longest := words.number(waits[0][3])) >= SEMAPHORE_WARN_S:
        where = f"{words.clean(waits[0][1])} line {waits[0][2]}"
        has = "thread waits" if len(waits) == 1 else "threads wait"
        says = f"{len(waits)} {has} inside InnoDB, the longest for {words.duration(longest)} at {where}"
        yield Finding(level=Level.BAD if longest >= SEMAPHORE_BAD_S else Level.WARN, text=says, weight=0.8)
    yield from finding_of(deadlock_of(text), Level.INFO)

"""How far a replica is behind, why, and whether it catches up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from bot.insights import Reading, sections, words
from bot.insights.mysql.gtids import missing
from bot.insights.mysql.sessions import PHONE_CHARS, Row, Tables, line_of, looks_of, waits_for_lock, who
from bot.model import Finding, Level, Suggestion

LAG_WARN_S = 30.0
LAG_BAD_S = 300.0
STEADY = 0.25  # seconds of lag gained or lost per second; servers count whole seconds, so less is nothing over a few
APPLYING_S = 2.0  # in one transaction; what ends sooner is not what the lag is made of
MANY_BYTES = 10e6  # of relay log, read and not yet applied
PURGED = "1236"  # the primary cannot send what is asked for: purged, or GTIDs that do not fit
HOLES_NAMED = 3
WHO_HOLDS = (Suggestion(label="Who holds the lock", recipe="locks"),)
ERROR_CHARS = 2000  # of a server's message that are looked at

# How servers wrap the reason: "… Could not execute Write_rows_v1 event on table T; REASON, Error_code: …".
_ROW_EVENT = re.compile(r"Could not execute \S+ event on table ([^;]+); ([^;]+)")
_WRAPPED = re.compile(
    r"(?:Error |Got fatal error \d+ from \w+ when reading data from binary log: )'(.*)'(?: on query)?", re.DOTALL
)
_PURGED = re.compile(r"fatal error 1236|purged")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One connection to a primary, at the last look; *before* is the look before it, {} where there was one only."""

    name: str  # of the connection or channel, mostly ""
    row: Row
    before: Row
    window_s: float
    tables: Tables

    @property
    def words(self) -> str:
        """What it is called in a sentence."""
        name = f" {words.clean(self.name)}" if self.name else ""
        return f"Replication{name} from {words.clean(self.row.get('Source_Host', '?'))}"

    @property
    def lag_s(self) -> float:
        """Seconds behind, without those that are wanted (SQL_Delay)."""
        return words.number(self.row.get("Seconds_Behind_Source")) - words.number(self.row.get("SQL_Delay"))

    @property
    def slope(self) -> float | None:
        """Seconds that it falls back in a second, negative where it catches up; None where that is not known."""
        if self.before.get("Seconds_Behind_Source", "NULL") == "NULL" or self.window_s < 1:
            return None
        return (
            words.number(self.row.get("Seconds_Behind_Source")) - words.number(self.before["Seconds_Behind_Source"])
        ) / self.window_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why a replica lags, as a clause."""

    text: str
    evidence: tuple[str, ...] = ()
    next: tuple[Suggestion, ...] = ()


def replication(reading: Reading) -> Iterator[Finding]:
    """Replication that stopped, with the server's own words, or that lags, with the reason for it."""
    looks = looks_of(reading.text)
    if not looks:
        return
    (first_at, first), (last_at, last) = looks[0], looks[-1]
    before = {_name(row): _renamed(row) for row in first["replica"]} if len(looks) > 1 else {}
    # The recipe `replication` asks for the appliers, and nobody needs to be sent there from itself.
    deep = any(section.name == "appliers" for section in sections(reading.text))
    deeper = () if deep else (Suggestion(label="Why it lags", recipe="replication"),)
    for row in last["replica"]:
        replica = Replica(
            name=_name(row),
            row=_renamed(row),
            before=before.get(_name(row), {}),
            window_s=last_at - first_at,
            tables=last,
        )
        yield from _stopped(replica, deeper)
        yield from _lagging(replica, deeper, deep=deep)
        yield from _holes(replica)


def _name(row: Row) -> str:
    return row.get("Connection_name") or row.get("Channel_Name") or ""


def _renamed(row: Row) -> dict[str, str]:
    """MySQL 8.0.22 renamed Slave to Replica and Master to Source; MariaDB keeps the old names."""
    return {name.replace("Slave", "Replica").replace("Master", "Source"): value for name, value in row.items()}


# --- stopped ----------------------------------------------------------------------------------


def _stopped(replica: Replica, deeper: tuple[Suggestion, ...]) -> Iterator[Finding]:
    row, what = replica.row, replica.words
    stopped = [thread for thread in ("IO", "SQL") if row.get(f"Replica_{thread}_Running") == "No"]
    errors = {thread: row.get(f"Last_{thread}_Errno", "0") for thread in stopped}
    for thread in (thread for thread, number in errors.items() if number not in {"0", ""}):
        number, error = _worker_error(replica, thread) or (errors[thread], row.get(f"Last_{thread}_Error", ""))
        text = f"{what} has stopped ({thread} thread): error {words.clean(number)}, {_reason(error)}"
        if number == PURGED or _PURGED.search(error):
            text = f"{words.clean(text, 150)}; what it needs is gone there, set it up anew"
        evidence = words.evidence(_reason(error), *_positions(row))
        yield Finding(level=Level.BAD, text=words.clean(text, PHONE_CHARS), weight=0.8, evidence=evidence, next=deeper)
    if stopped and not any(number not in {"0", ""} for number in errors.values()):
        text = f"{what} is stopped ({' and '.join(stopped)} thread) without an error: somebody stopped it"
        yield Finding(level=Level.WARN, text=text, weight=0.6, next=deeper)
    if not stopped and row.get("Replica_IO_Running") == "Connecting":
        number, error = row.get("Last_IO_Errno", "0"), _reason(row.get("Last_IO_Error", "") or "no error yet")
        text = f"{what} cannot connect: {f'error {words.clean(number)}, ' if number not in {'0', ''} else ''}{error}"
        yield Finding(level=Level.BAD, text=text, weight=0.8, evidence=words.evidence(error), next=deeper)


def _worker_error(replica: Replica, thread: str) -> tuple[str, str] | None:
    """The error of the worker that broke; the coordinator of several only says that one of them did."""
    if thread != "SQL":
        return None
    for worker in replica.tables["workers"]:
        if worker.get("channel_name") == replica.name and worker.get("last_error_number", "0") not in {"0", "", "NULL"}:
            return worker["last_error_number"], worker.get("last_error_message", "")
    return None


def _reason(error: str) -> str:
    """What went wrong, without the statement that it went wrong with: that one holds data."""
    error = error[:ERROR_CHARS]
    error = re.split(r"[ .,;]* (?:Query:|Error_code:|Default database:)", error, maxsplit=1)[0]
    error = error.partition("message: ")[2] or error
    if row := _ROW_EVENT.search(error):
        error = f"{row[2]} on {row[1]}"
    elif wrapped := _WRAPPED.fullmatch(error):
        error = wrapped[1]
    return words.clean(error, 110)


def _positions(row: Row) -> tuple[str, ...]:
    names = ("Relay_Source_Log_File", "Exec_Source_Log_Pos", "Gtid_IO_Pos", "Executed_Gtid_Set")
    return tuple(f"{name} {row[name]}" for name in names if row.get(name, "") not in {"", "NULL"})


# --- lagging ----------------------------------------------------------------------------------


def _lagging(replica: Replica, deeper: tuple[Suggestion, ...], *, deep: bool) -> Iterator[Finding]:
    row, what, lag = replica.row, replica.words, replica.lag_s
    if lag >= LAG_WARN_S:
        cause = _cause(replica)
        text = f"{what} is {words.duration(lag)} behind{_trend(replica)}{f': {cause.text}' if cause.text else ''}"
        level = Level.BAD if lag >= LAG_BAD_S else Level.WARN
        yield Finding(
            level=level,
            text=words.clean(text, PHONE_CHARS),
            weight=0.6,
            evidence=words.evidence(*cause.evidence, *_positions(row)),
            next=(*deeper, *cause.next),
        )
    elif deep and {row.get("Replica_IO_Running"), row.get("Replica_SQL_Running")} == {"Yes"}:
        text = f"{what} runs, {words.duration(max(lag, 0.0))} behind"
        yield Finding(level=Level.INFO, text=text, weight=0.2)


def _trend(replica: Replica) -> str:
    slope = replica.slope
    if slope is None:
        return ""
    if slope < -STEADY:
        return f" and catches up, level in about {words.duration(max(replica.lag_s, 0.0) / -slope)}"
    return " and falls further behind" if slope > STEADY else " and does not catch up"


def _cause(replica: Replica) -> Cause:
    """What holds it up; without words where nothing shows."""
    tables = replica.tables
    if waits := tables["lock_waits"] + tables["data_lock_waits"]:
        doing = "idle" if waits[0].get("blocking_command") == "Sleep" else "at work"
        busy = words.duration(words.number(waits[0].get("blocking_time_s")))
        text = f"it waits for a row lock of {who(waits[0], 'blocking_')}, {doing} for {busy}"
        return Cause(text=text, evidence=tuple(" ".join(wait.values()) for wait in waits), next=WHO_HOLDS)
    for applier in tables["appliers"]:
        if waits_for_lock(state := applier.get("state", "")):
            text = f"it waits for a lock of the server ({words.clean(state)})"
            return Cause(text=text, evidence=(line_of(applier),), next=WHO_HOLDS)
    if "enough relay log space" in replica.row.get("Replica_IO_State", ""):
        return Cause(text="its relay log is as large as it may be (relay_log_space_limit), and nothing more is fetched")
    return _applying(tables) or Cause(text=_many(replica))


def _applying(tables: Tables) -> Cause | None:
    """The transaction that has been applied for long."""
    ages = [(words.number(each.get("age_s")), each) for each in tables["appliers"]]
    age, applier = max(ages, key=lambda pair: pair[0], default=(0.0, {}))
    if age < APPLYING_S:
        return None
    statement, state = applier.get("statement", ""), applier.get("state", "")
    doing = words.spoken(statement, most=50) if statement not in {"", "NULL"} else "one transaction"
    text = f"it has been applying {doing} for {words.duration(age)}"
    if changed := words.number(applier.get("rows_modified")):
        text += f", {words.counted(changed, 'row')} so far"
    if "find_row" in state or "row changes" in state:
        text += _row_by_row(tables)
    return Cause(text=text, evidence=(line_of(applier), *(" ".join(row.values()) for row in tables["tables_in_use"])))


def _row_by_row(tables: Tables) -> str:
    """Which tables without a primary key there are, whose rows are looked for one by one."""
    keyless = [row.get("name", "").replace("/", ".") for row in tables["keyless"]]
    used = [f"{row.get('Database', '?')}.{row.get('Table', '?')}" for row in tables["tables_in_use"]]
    likely = [table for table in keyless if table in used] or keyless  # few accounts may see which tables are in use
    if len(likely) == 1:
        return f" on {words.clean(likely[0])}, which has no primary key"
    return f", and {len(likely)} tables have no primary key, {words.clean(likely[0])} for one" if likely else ""


def _many(replica: Replica) -> str:
    """Many small transactions: how fast they are applied, or how much waits."""
    row, before = replica.row, replica.before
    waiting = words.number(row.get("Read_Source_Log_Pos")) - words.number(row.get("Exec_Source_Log_Pos"))
    same = row.get("Source_Log_File", "") == row.get("Relay_Source_Log_File", "-")
    counters = ("Replica_Transactional_Groups", "Replica_Non_Transactional_Groups")
    applied = sum(words.number(row.get(name)) - words.number(before.get(name)) for name in counters) if before else 0
    if applied > 0 and replica.window_s >= 1:
        return f"it applies {words.counted(max(applied / replica.window_s, 1), 'transaction')} a second"
    return f"{words.size(waiting)} of its relay log wait" if same and waiting >= MANY_BYTES else ""


# --- GTIDs ------------------------------------------------------------------------------------


def _holes(replica: Replica) -> Iterator[Finding]:
    """Transactions of the primary that were never applied here though later ones were, in both looks."""
    source = replica.row.get("Source_UUID", "").lower()
    if not source or not replica.before:
        return
    then = set(missing(replica.before.get("Executed_Gtid_Set", ""), source))
    lasting = [hole for hole in missing(replica.row.get("Executed_Gtid_Set", ""), source) if hole in then]
    if lasting:
        spans = ", ".join(str(low) if low == high else f"{low}–{high}" for low, high in lasting[:HOLES_NAMED])
        more = f" and {len(lasting) - HOLES_NAMED} more gaps" if len(lasting) > HOLES_NAMED else ""
        text = f"{replica.words} has a hole: transactions {spans}{more} of {source[:8]}… were never applied, later ones were"
        yield Finding(level=Level.WARN, text=words.clean(text, PHONE_CHARS), weight=0.5)

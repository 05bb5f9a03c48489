"""What the list of a database's connections shows at a glance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from bot.insights import Reading, sections, words
from bot.insights.mysql.sessions import host_of, line_of, waits_for_lock
from bot.model import Finding, Level

LONG_S = 60.0  # a statement that runs longer is no request of a web page
SAME_STATE = 10  # sessions in one state, where each should pass through in a moment
LOGINS = 20  # connections that have not logged in yet
SYSTEM_USERS = {"system user", "event_scheduler", "unauthenticated user", ""}
PASSING_STATES = (
    "Opening tables",
    "Opening table",
    "Closing tables",
    "statistics",
    "Statistics",
    "Waiting for query cache lock",
)
WORKING = {"Query", "Execute"}


def processlist(reading: Reading) -> Iterator[Finding]:
    """The longest statement, the state that sessions pile up in, logins that hang."""
    rows = [row for section in sections(reading.text) if section.name == "processlist" for row in section.rows()]
    at_work = [row for row in rows if row.get("command") in WORKING and row.get("user") not in SYSTEM_USERS]
    yield from _longest(at_work)
    for state, count in Counter(row.get("state", "") for row in at_work).most_common(1):
        if count >= SAME_STATE and state in PASSING_STATES:
            text = f"{words.counted(count, 'session')} are stuck in the state “{words.clean(state)}”, that should pass in a moment"
            yield Finding(level=Level.WARN, text=text, weight=0.5)
    logins = sum(row.get("user") == "unauthenticated user" for row in rows)
    if logins >= LOGINS:
        text = f"{words.counted(logins, 'connection')} hang in their login: name resolution or authentication is slow"
        yield Finding(level=Level.WARN, text=text, weight=0.6)


def _longest(rows: list[dict[str, str]]) -> Iterator[Finding]:
    """The statement that has run longest, unless it waits for a lock: then the lock's holder is the news."""
    running = [row for row in rows if not waits_for_lock(row.get("state", ""))]
    row = max(running, key=lambda each: words.number(each.get("time_s")), default={})
    seconds = words.number(row.get("time_s"))
    if seconds < LONG_S:
        return
    who = f"{words.clean(row.get('user', ''))} from {words.clean(host_of(row.get('host', '')))} (thread {words.clean(row.get('id', ''))})"
    text = f"{who} has been running {words.spoken(row.get('statement', ''))} for {words.duration(seconds)}"
    yield Finding(level=Level.WARN, text=text, weight=0.45, evidence=words.evidence(line_of(row)))

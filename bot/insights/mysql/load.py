"""What the clients of a database server did in the sampled seconds.

The measure is *statement time*: seconds spent inside statements, summed over connections. Two seconds of
it per second mean that two connections were at work all the time.

Where performance_schema is ON, it is exact: counters hold the statements that ended, the process list the
ones that have not, so their sum at the end less their sum at the start is the time in between. Where it
is OFF, several looks at the process list estimate it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from bot.insights import Section, sections, words
from bot.insights.mysql.sessions import Row, line_of, waits_for_lock

Key = TypeVar("Key", bound=Hashable)

OURS = "capturebot"  # stands in a comment of every statement of our own
ACCOUNT_ROWS = 500  # the LIMIT of the recipe: a list this long was cut
PICOSECOND = 1e-12
WRAP = 2**64  # counters of performance_schema have 64 bits: 213 days of statement time in picoseconds
COUNTERS = ("statements", "busy_ps", "rows_examined", "without_index")


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A user at a host; *host* is "" for a user at all hosts together."""

    user: str
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look at the server: the sections by name, and the rows of those that have some."""

    at: float  # in seconds; only differences mean something
    sections: Mapping[str, Section]
    tables: Mapping[str, list[dict[str, str]]]

    def rows(self, name: str) -> list[dict[str, str]]:
        """The rows of one statement; none where it was skipped or failed."""
        return self.tables.get(name, [])


@dataclass(slots=True, kw_only=True)
class Work:
    """The statements of one shape in the sampled seconds."""

    texts: set[str] = field(default_factory=set)
    schema: str = ""
    busy_s: float = 0.0
    times: float = 0.0
    rows_examined: float = 0.0
    without_index: float = 0.0
    seen: Counter[Client] = field(default_factory=Counter)  # how often it was seen running
    elapsed_s: float = 0.0  # of the longest that had not ended
    line: str = ""

    def add(self, text: str, schema: str, line: str) -> None:
        """Remember one text of this shape and where it was read."""
        self.texts.add(text)
        self.schema = self.schema or schema.replace("NULL", "")
        self.line = self.line or line


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What all clients did, our own left out."""

    window_s: float
    looks: int
    exact: bool  # from counters and not from looks
    busy: Mapping[Client, float]  # statement seconds
    connections: Mapping[Client, float]
    seen: Mapping[Client, float]  # statements seen running, over all looks
    waiting: Mapping[Client, float]  # … of them waiting for a lock
    work: Mapping[str, Work]  # by shape
    programs: Mapping[Client, frozenset[str]]
    hosts: Mapping[str, int]  # by user

    @property
    def total(self) -> float:
        """Statement seconds of all clients."""
        return sum(self.busy.values())


def samples_of(text: str) -> list[Sample]:
    """The samples that came far enough to hold the running statements."""
    groups: list[dict[str, Section]] = []
    for section in sections(text):
        if section.name == "sample" or not groups:
            groups.append({})
        groups[-1][section.name] = section
    return [
        Sample(
            at=group["running"].at.timestamp(),
            sections=group,
            tables={name: s.rows() for name, s in group.items() if not {"skipped", "error"} & s.facts.keys()},
        )
        for group in groups
        if "running" in group
    ]


def load_of(samples: list[Sample]) -> Load:
    """Measure; *samples* must be at least two."""
    own = _own(samples)
    exact = all("accounts" in sample.tables for sample in samples)
    window_s = max(samples[-1].at - samples[0].at, 0.001)
    busy = _busy_counted(samples) if exact else _busy_seen(samples, window_s)
    connections: dict[Client, float] = defaultdict(float)
    programs: dict[Client, frozenset[str]] = defaultdict(frozenset)
    seen: Counter[Client] = Counter()
    waiting: Counter[Client] = Counter()
    for sample in samples:
        for row in sample.rows("clients"):
            connections[_client(row)] = max(connections[_client(row)], words.number(row.get("connections")))
        for row in sample.rows("programs"):
            programs[_client(row)] |= {row.get("program", "")}
        blocked = {row.get("id") for row in sample.rows("waiting")}
        for client, row in _running(sample):
            seen[client] += 1
            waiting[client] += row.get("id") in blocked or waits_for_lock(row.get("state", ""))
    busy = {client: spent for client, spent in busy.items() if client not in own and spent > 0}
    return Load(
        window_s=window_s,
        looks=len(samples),
        exact=exact,
        busy=busy,
        connections=connections,
        seen=seen,
        waiting=waiting,
        work=_work(samples),
        programs=programs,
        hosts=Counter(client.user for client in busy),
    )


def merged_by_user(load: Load) -> Load:
    """The same load with the hosts of each user together."""
    programs: dict[Client, frozenset[str]] = defaultdict(frozenset)
    for client, names in load.programs.items():
        programs[_anywhere(client)] |= names
    return replace(
        load,
        busy=_merged(load.busy),
        connections=_merged(load.connections),
        seen=_merged(load.seen),
        waiting=_merged(load.waiting),
        programs=programs,
        work={shape: replace(work, seen=Counter(_merged(work.seen))) for shape, work in load.work.items()},
    )


def grown(before: float | None, after: float, *, counting: bool) -> float:
    """By how much a counter grew; *counting* says that the number of statements beside it did not fall.

    A counter that fell ran over its 64 bits, or was emptied in between (TRUNCATE, a restart) and holds what came since.
    """
    if before is None or after >= before:
        return after - (before or 0.0)
    return after - before + WRAP if counting and before > WRAP / 2 else after


def _anywhere(client: Client) -> Client:
    return Client(user=client.user, host="")


def _merged(values: Mapping[Client, float]) -> dict[Client, float]:
    merged: dict[Client, float] = defaultdict(float)
    for client, value in values.items():
        merged[_anywhere(client)] += value
    return merged


def _client(row: Row) -> Client:
    """Whose row it is; a port behind the host is left out."""
    host = row.get("client") or row.get("host", "")
    head, colon, port = host.rpartition(":")
    return Client(user=row.get("user", ""), host=head if colon and port.isdigit() and "client" not in row else host)


def _running(sample: Sample) -> list[tuple[Client, dict[str, str]]]:
    """The statements under way that are not our own."""
    return [(_client(row), row) for row in sample.rows("running") if OURS not in row.get("statement", "")]


def _own(samples: Iterable[Sample]) -> set[Client]:
    """Our own account, unless somebody else is at work under it too."""
    rows = (row for sample in samples for row in sample.rows("server"))
    own = {Client(user=row.get("own_user", ""), host=row.get("own_host", "")) for row in rows}
    return own - {client for sample in samples for client, _ in _running(sample)}


def _busy_seen(samples: list[Sample], window_s: float) -> dict[Client, float]:
    """Statement seconds by client, from how many of its connections were at work when looked at."""
    busy: dict[Client, float] = defaultdict(float)
    for sample in samples:
        for row in sample.rows("clients"):
            busy[_client(row)] += words.number(row.get("at_work")) / len(samples) * window_s
    return busy


def _busy_counted(samples: list[Sample]) -> dict[Client, float]:
    """Statement seconds by client: what ended in the window, and what of the running ones lies in it."""
    busy: dict[Client, float] = defaultdict(float)
    for client, _, grew in _changes(samples, "accounts", _client):
        busy[client] += grew["busy_ps"] * PICOSECOND
    for sign, sample in ((1, samples[-1]), (-1, samples[0])):
        for client, row in _running(sample):
            busy[client] += sign * words.number(row.get("time_ms")) / 1000
    return busy


def _changes(
    samples: list[Sample], name: str, key_of: Callable[[Row], Key]
) -> Iterator[tuple[Key, Row, dict[str, float]]]:
    """By how much the counters of each row grew, sample after sample."""
    last: dict[Key, dict[str, float]] = {}
    for n, sample in enumerate(samples):
        rows = sample.rows(name)
        cut = len(rows) >= ACCOUNT_ROWS
        for row in rows:
            key = key_of(row)
            now = {counter: words.number(row.get(counter)) for counter in COUNTERS}
            before = last.get(key)
            if n and (before or _began_since(row, sample.at - samples[0].at, cut=cut)):
                then = before or {}
                counting = now["statements"] >= then.get("statements", 0.0)
                yield key, row, {c: grown(then.get(c), now[c], counting=counting) for c in COUNTERS}
            last[key] = now


def _began_since(row: Row, sampled_s: float, *, cut: bool) -> bool:
    """Whether a row that was not there before began to count in the sampled seconds, so that all of it is news."""
    return words.number(row["known_s"]) <= sampled_s if "known_s" in row else not cut


def _work(samples: list[Sample]) -> dict[str, Work]:
    """Statements by shape: the counted ones, and the running ones that no counter has yet."""
    work: dict[str, Work] = defaultdict(Work)
    for _, row, grew in _changes(samples, "digests", lambda row: (row.get("schema_name", ""), row.get("digest", ""))):
        if grew["statements"]:
            one = work[words.shape(row.get("statement", ""))]
            one.add(row.get("statement", ""), row.get("schema_name", ""), line_of(row))
            one.busy_s += grew["busy_ps"] * PICOSECOND
            one.times += grew["statements"]
            one.rows_examined += grew["rows_examined"]
            one.without_index += grew["without_index"]
    for sample in samples:
        sign = (sample is samples[-1]) - (sample is samples[0])
        for client, row in _running(sample):
            one = work[words.shape(row.get("statement", ""))]
            one.add(row.get("statement", ""), row.get("db", ""), line_of(row))
            elapsed = words.number(row.get("time_ms")) / 1000
            one.seen[client] += 1
            one.busy_s += sign * elapsed
            if sign > 0:
                one.elapsed_s = max(one.elapsed_s, elapsed)
    return work

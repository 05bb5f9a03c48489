"""The nouns of the product, frozen. No input or output happens here.

What was *said* (Trigger) and what was *allowed* (Capture) are different types on purpose.
Times are timezone-aware UTC; durations end in ``_s`` (seconds), sizes in ``_bytes``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum
from pathlib import Path
from typing import Literal

# --- enums that decide wording, icons and exit statuses ---------------------------------------


class Impact(StrEnum):
    """What a recipe costs its target, stated by the recipe's author."""

    NONE = "none"
    LIGHT = "light"
    PAUSES = "pauses"
    HEAVY = "heavy"

    @property
    def words(self) -> str:
        """The cost as a responder reads it before pressing."""
        return {
            Impact.NONE: "no load on the target",
            Impact.LIGHT: "light load on the target for a few seconds",
            Impact.PAUSES: "pauses the target while it runs",
            Impact.HEAVY: "heavy load on the target",
        }[self]


class Level(Enum):
    """How bad a finding is; the order is the order of the summary."""

    INFO = 0
    WARN = 1
    BAD = 2

    @property
    def icon(self) -> str:
        """A glyph that is always followed by words."""
        return ("•", "⚠️", "🔴")[self.value]


class Outcome(StrEnum):
    """How one step ended. Whether its output was cut at a limit is a fact of its own (StepResult.cut)."""

    OK = "ok"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    LOST = "lost"
    SKIPPED = "skipped"
    STOPPED = "stopped"

    @property
    def icon(self) -> str:
        """A glyph that is always followed by `words`."""
        return {"ok": "✅", "failed": "❌", "timed_out": "⏱️", "lost": "🔌", "skipped": "➖", "stopped": "✋"}[self]

    @property
    def words(self) -> str:
        """The outcome in a sentence's place."""
        return {
            "ok": "done",
            "failed": "failed",
            "timed_out": "ran out of time",
            "lost": "connection lost",
            "skipped": "skipped",
            "stopped": "stopped",
        }[self]


class State(StrEnum):
    """Where a capture stands. The last six are ends."""

    ACCEPTED = "accepted"
    RUNNING = "running"
    COMPLETE = "complete"
    PARTIAL = "partial"
    FAILED = "failed"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"

    @property
    def ended(self) -> bool:
        """Nothing more will come."""
        return self not in (State.ACCEPTED, State.RUNNING)

    @property
    def icon(self) -> str:
        """A glyph that is always followed by `words`."""
        return {
            "accepted": "🕓",
            "running": "⏳",
            "complete": "✅",
            "partial": "🟡",
            "failed": "❌",
            "stopped": "✋",
            "interrupted": "⚡",
        }[self]

    @property
    def words(self) -> str:
        """The state as a responder reads it."""
        return {
            "accepted": "waiting for a free place",
            "running": "running",
            "complete": "complete",
            "partial": "complete, with gaps",
            "failed": "failed",
            "stopped": "stopped",
            "interrupted": "interrupted",
        }[self]

    @property
    def exit_status(self) -> int:
        """What `capturebot run` exits with (2 is a usage or configuration error, as everywhere)."""
        return {"complete": 0, "partial": 3, "failed": 1, "stopped": 130, "interrupted": 4}.get(self, 1)


class Source(StrEnum):
    """Which way in a trigger came."""

    SLACK = "slack"
    TERMINAL = "terminal"
    PAGERDUTY = "pagerduty"


# --- targets ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret lies (``env:NAME``, ``file:/path``), never the secret itself."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ssh:
    """How to reach a machine over SSH. The host key is always verified against *known_hosts*."""

    host: str
    user: str
    known_hosts: Path
    port: int = 22
    key: SecretRef | None = None  # a private key's text
    password: SecretRef | None = None


class Tls(StrEnum):
    """How the connection to a database is protected."""

    VERIFY = "verify"  # certificate and name are checked
    REQUIRED = "required"  # encrypted, certificate not checked
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class MySql:
    """How to reach a MySQL or MariaDB server; *via* is an SSH jump host."""

    host: str
    user: str
    password: SecretRef | None = None
    port: int = 3306
    database: str | None = None
    tls: Tls = Tls.VERIFY
    ca: Path | None = None
    via: Ssh | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Something a capture can be taken of. At least one way to reach it is set."""

    name: str
    about: str = ""
    mysql: MySql | None = None
    ssh: Ssh | None = None
    local: bool = False

    @property
    def kinds(self) -> frozenset[TargetKind]:
        """What recipes can want of it."""
        kinds = set()
        if self.mysql:
            kinds.add(TargetKind.MYSQL)
        if self.ssh or self.local:
            kinds.add(TargetKind.HOST)
        return frozenset(kinds)


class TargetKind(StrEnum):
    """What a recipe is for."""

    HOST = "host"
    MYSQL = "mysql"


# --- recipes ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One SQL statement; the text of the server's flavour is run, *both* where they agree.

    Parameters appear as ``%(name)s`` and are bound, never pasted.
    """

    name: str
    both: str | None = None
    mariadb: str | None = None
    mysql: str | None = None
    needs_performance_schema: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sql:
    """Statements run one after the other on one connection."""

    statements: tuple[Statement, ...]
    arguments: Mapping[str, str | int] = field(default_factory=dict)
    row_limit: int = 1000  # rows per statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One program; each element stays one element, no shell reads it."""

    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A bash script delivered whole; parameters arrive as environment variables."""

    name: str
    text: str
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """A file on the host, or a systemd unit's journal: its last bytes, or all of it when *last_bytes* is None."""

    path: str | None = None
    unit: str | None = None
    last_bytes: int | None = 5_000_000


Action = Sql | Run | Script | Log


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Run the step *times* times, *every_s* seconds from start to start, into one artifact."""

    times: int
    every_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing a recipe keeps. Becomes one artifact ``ID.txt``."""

    id: str
    title: str
    action: Action
    timeout_s: float
    limit_bytes: int
    insight: str | None = None
    needs: tuple[str, ...] = ()  # programs the host must have; missing ones skip the step
    sampling: Sampling | None = None


class ParameterType(StrEnum):
    """What a parameter's text must read as."""

    INTEGER = "integer"
    TEXT = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A value a responder may give as ``name=value``: typed, bounded, matched before use."""

    name: str
    about: str
    type: ParameterType
    default: str | int
    minimum: int | None = None
    maximum: int | None = None
    pattern: str | None = None  # the whole value must match
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What `/capture NAME` does."""

    name: str
    title: str
    about: str
    wants: TargetKind
    impact: Impact
    steps: tuple[Step, ...]
    digest: str  # SHA-256 over the recipe file and its scripts, hex
    parameters: tuple[Parameter, ...] = ()


# --- asking and allowing ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who asked: *id* as their own system knows them, *name* as people do."""

    id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in Slack a trigger was given, and so where its story is told."""

    channel: str
    channel_name: str = ""
    thread_ts: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """What somebody asked; nothing in it is verified."""

    recipe: str
    targets: tuple[str, ...]
    parameters: Mapping[str, str]
    who: Person
    source: Source
    at: datetime
    place: Place | None = None
    incident: str | None = None
    key: str | None = None  # the same key twice is the same delivery, accepted once


@dataclass(frozen=True, slots=True, kw_only=True)
class StepHead:
    """What the story needs to know of a step before it ran."""

    id: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """An accepted trigger."""

    id: str
    recipe: str
    recipe_title: str
    recipe_digest: str
    impact: Impact
    targets: tuple[str, ...]
    steps: tuple[StepHead, ...]
    parameters: Mapping[str, str | int]
    who: Person
    source: Source
    at: datetime
    prefix: str  # of every object it stores, ends with "/"
    place: Place | None = None
    incident: str | None = None

    @property
    def command(self) -> str:
        """What to type to run it again."""
        given = "".join(f" {name}={value}" for name, value in self.parameters.items())
        return f"/capture {self.recipe} {','.join(self.targets)}{given}"


# --- results ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """Something kept: *key* inside the store, *url* for people, *sha256* hex of the stored bytes."""

    key: str
    url: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One sentence that names a process, user, query, file or peer with its number.

    *weight* (0 to 1) ranks findings of one level: the share of the trouble that it explains.
    """

    level: Level
    text: str
    weight: float = 0.5
    evidence: tuple[str, ...] = ()  # lines of the artifact it was read from, at most 10


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """How one step on one target ended, and what was kept of it."""

    target: str
    step: str
    outcome: Outcome
    started_at: datetime
    seconds: float
    command: str = ""  # what ran, secrets masked
    reason: str = ""  # a sentence; empty when the outcome is OK and nothing was cut
    exit_status: int | None = None
    cut: bool = False
    artifact: Artifact | None = None
    masked: Mapping[str, int] = field(default_factory=dict)  # secrets masked, by kind
    findings: tuple[Finding, ...] = ()
    stop_proof: str = ""  # what ending it on the target left behind, where it had to be ended


# --- events -----------------------------------------------------------------------------------
# The journal keeps these and nothing else; all that people see is a fold of them.


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A trigger became a capture."""

    capture: Capture
    at: datetime
    key: str | None = None
    type: Literal["accepted"] = "accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A trigger did not become a capture, and why."""

    trigger: Trigger
    reason: str
    at: datetime
    type: Literal["refused"] = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The runner took the capture up."""

    capture_id: str
    at: datetime
    type: Literal["started"] = "started"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted:
    """A step is under way on a target."""

    capture_id: str
    target: str
    step: str
    at: datetime
    type: Literal["step_started"] = "step_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished:
    """A step ended, well or badly."""

    capture_id: str
    result: StepResult
    at: datetime
    type: Literal["step_finished"] = "step_finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class StopAsked:
    """Somebody (or a shutdown) asked for the end of a capture."""

    capture_id: str
    who: Person
    at: datetime
    type: Literal["stop_asked"] = "stop_asked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A capture reached an end. *manifest* is None where it could not be kept; *reason* then says why."""

    capture_id: str
    state: State
    at: datetime
    manifest: Artifact | None = None
    reason: str = ""
    error_id: str = ""  # set when the end is a bug of ours; the log has it too
    saved: tuple[Artifact, ...] = ()  # found in the store by the sweep after an interruption
    type: Literal["finished"] = "finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteWritten:
    """The incident's note in PagerDuty now tells this capture's story up to here."""

    capture_id: str
    incident: str
    note_id: str
    at: datetime
    type: Literal["note_written"] = "note_written"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteFailed:
    """The note could not be written; it is kept and tried again while *final* is False."""

    capture_id: str
    incident: str
    reason: str
    final: bool
    at: datetime
    type: Literal["note_failed"] = "note_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """A channel was tied to a PagerDuty incident."""

    channel: str
    incident: str
    who: Person
    at: datetime
    type: Literal["linked"] = "linked"


Event = (
    Accepted | Refused | Started | StepStarted | StepFinished | StopAsked | Finished | NoteWritten | NoteFailed | Linked
)


def capture_of(event: Event) -> str | None:
    """The id of the capture that *event* belongs to, or None for one that belongs to none."""
    match event:
        case Accepted(capture=capture):
            return capture.id
        case Refused() | Linked():
            return None
        case _:
            return event.capture_id

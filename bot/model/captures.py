"""Asking, allowing, and what came of it.

What was *said* (Trigger) and what was *allowed* (Capture) are different types on purpose.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from bot.model.budgets import Price
from bot.model.verdicts import Impact, Level, Outcome, Source


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
    offer: str | None = None  # the id of the measured cost that somebody agreed to
    after: str | None = None  # the id of the capture whose button asked for this one
    service: str = ""  # whose first set it belongs to
    force: str = ""  # why another one is to be taken where there is one already


@dataclass(frozen=True, slots=True, kw_only=True)
class StepHead:
    """What the story needs to know of a step before it ran."""

    id: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """Whose word a capture runs on that needs somebody's: an approver's, or its asker's own with a *reason*."""

    approval_id: str
    who: Person
    at: datetime
    reason: str = ""  # why the asker broke the glass; "" where somebody else approved

    @property
    def words(self) -> str:
        """Who, for its thread and the note."""
        if self.reason:
            return f"🚨 Without approval: {self.who.name} broke the glass, because: {self.reason}"
        return f"🔏 Approved by {self.who.name}"


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
    cost: str = ""  # what its cost was measured to be before somebody agreed to it
    prices: Mapping[str, Price] = field(default_factory=dict)  # that cost in numbers, by target
    consent: Consent | None = None  # where the rules want somebody's
    force: str = ""  # why it was taken although there was one already
    given: Mapping[str, str | int] | None = None  # of the parameters those that are not the recipe's own defaults

    @property
    def unusual(self) -> Mapping[str, str | int]:
        """The parameters that have to be named to run it again; all of them, where it is not known which."""
        return self.parameters if self.given is None else self.given

    @property
    def command(self) -> str:
        """What to type to run it again."""
        given = "".join(" " + shlex.quote(f"{name}={value}") for name, value in self.unusual.items())
        return f"/capture {self.recipe} {','.join(self.targets)}{given}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """Something kept: *key* inside the store, *url* for people, *sha256* hex of the stored bytes.

    *trouble* is a sentence while it lies elsewhere than it belongs; *url* then leads there. *binary* marks a file
    from a host that could not be redacted, *cut* one of which only the first part came.
    """

    key: str
    url: str
    size_bytes: int
    sha256: str
    trouble: str = ""
    binary: bool = False
    cut: bool = False

    @property
    def caution(self) -> str:
        """What to know before opening it; "" where there is nothing."""
        return ", ".join(["cut"] * self.cut + ["not redacted: may hold secrets"] * self.binary)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """What is worth running next on the same target, as a person would type it; *recipe* "" is the one that ran.

    *label* is what a button says, at most 60 characters. The desk checks it anew when somebody asks for it.
    """

    label: str
    recipe: str = ""
    parameters: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One sentence that names a process, user, query, file or peer with its number.

    *weight* (0 to 1) ranks findings of one level: the share of the trouble that it explains.
    """

    level: Level
    text: str
    weight: float = 0.5
    evidence: tuple[str, ...] = ()  # lines of the artifact it was read from, at most 10
    next: tuple[Suggestion, ...] = ()  # cheap before dear, at most 10
    answer: bool = False  # to a question that a person put: told first, however ordinary it is
    paused_s: float | None = None  # how long the step stopped something on the target, where it says so


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
    files: tuple[Artifact, ...] = ()  # left by the step beside its output, not redacted
    masked: Mapping[str, int] = field(default_factory=dict)  # secrets masked, by kind
    findings: tuple[Finding, ...] = ()
    stop_proof: str = ""  # what ending it on the target left behind, where it had to be ended
    remark: str = ""  # what else came to light there: leftovers of an earlier capture, and what became of them

    @property
    def kept(self) -> tuple[Artifact, ...]:
        """Its output, where there was any, and its files."""
        return (self.artifact, *self.files) if self.artifact else self.files

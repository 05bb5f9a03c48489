"""Enums that decide wording, icons and exit statuses: an outcome is a value, never a text to match."""

from __future__ import annotations

from enum import Enum, StrEnum


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
    SCHEDULE = "schedule"

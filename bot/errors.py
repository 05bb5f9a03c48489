"""Every error that is raised on purpose, split by who is told.

    CapturebotError
    ├── UserError         the person who asked: what is wrong, and how to mend it
    ├── ConfigError       the operator: file, line, key and cure, all problems at once
    ├── SecretMissing     the operator: a reference that leads to no secret; names it, never its value
    ├── StepFailed        the result: a step that ended badly is data, never the end of a capture
    ├── StoreError        the result too: an artifact that could not be kept
    ├── JournalError      the operator and whoever asked: nothing can be promised without the journal
    └── DeliveryFailed    the reporter: a message that could not be delivered now, or ever

Anything else is a bug: it is logged once with an id, and the person sees that id.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bot.model import Outcome


class CapturebotError(Exception):
    """Never raised itself."""


class UserError(CapturebotError):
    """Something a person asked for cannot be done; *message* says what, *cure* says what to do instead."""

    def __init__(self, message: str, *, cure: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure
        self.kept = False  # the journal has it already

    def __str__(self) -> str:
        return f"{self.message} {self.cure}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong in a file: where, what, and how to mend it."""

    file: str
    line: int  # 1-based; 0 when the file as a whole is meant
    key: str  # dotted path inside the file, e.g. "steps.2.timeout"; "" for the whole file
    message: str
    cure: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        key = f" {self.key}:" if self.key else ""
        cure = f" — {self.cure}" if self.cure else ""
        return f"{where}:{key} {self.message}{cure}"


class ConfigError(CapturebotError):
    """A configuration or recipe file is wrong; carries every problem found, not only the first."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class SecretMissing(CapturebotError):
    """A secret reference leads nowhere; *reason* names the reference and how to mend it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class StepFailed(CapturebotError):
    """A step ended badly.

    *reason* is a sentence for the responder, free of secrets and of "see logs";
    *outcome* says which kind of bad end it was.
    """

    def __init__(self, reason: str, *, outcome: Outcome | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.outcome = outcome  # None reads as Outcome.FAILED


class StoreError(CapturebotError):
    """An artifact could not be kept; *reason* is a sentence for the responder."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class JournalError(CapturebotError):
    """The journal could not be read or written; *reason* says why and what to do."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DeliveryFailed(CapturebotError):
    """A reporter could not deliver.

    *retry_after* is in seconds and None when trying again cannot help;
    *reason* and *cure* are shown where other reporters tell the story.
    """

    def __init__(self, reason: str, *, retry_after: float | None = None, cure: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after
        self.cure = cure

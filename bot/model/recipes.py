"""What a capture does: steps, each with one action, and the parameters that people may give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from bot.model.targets import TargetKind
from bot.model.verdicts import Impact


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

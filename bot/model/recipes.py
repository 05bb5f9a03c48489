"""What a capture does: steps, each with one action, and the parameters that people may give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from bot.model.targets import TargetKind
from bot.model.verdicts import Impact


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One SQL statement; the text of the server's flavour is run, *both* where they agree.

    Parameters appear as ``%(name)s`` and are bound, never pasted. ``%(longest.id)s`` is the column *id* in the
    first row of the statement *longest*, which stands before it; without that row the statement is skipped.
    """

    name: str
    both: str | None = None
    mariadb: str | None = None
    mysql: str | None = None
    needs_performance_schema: bool = False
    optional: bool = False  # where the server refuses it, its section says why, and the step is well all the same


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


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A script that prints a report and leaves a file in ``$CAPTURE_SCRATCH``, a folder of its own on the host.

    The report is redacted like any output. The file cannot be: it is streamed away as it is, kept apart,
    marked so, and deleted there on every path.
    """

    script: Script
    name: str  # of the file in that folder; compressing adds an ending
    type: str  # the media type of the file as it lies there
    limit_bytes: int  # of what is kept of it
    compress: bool = True  # on the way, where the host has zstd or gzip


Action = Sql | Run | Script | Log | File


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Run the step *times* times, *every_s* seconds from start to start, into one artifact."""

    times: int
    every_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Carry:
    """A program that is brought along where the host has none: run from the step's scratch folder, never installed.

    *places* are files, or folders that hold it; the first one that is built for the host's machine is taken. Where
    there are *sha256* (hex, by machine as ``uname -m`` says it), it must be that one.
    """

    tool: str
    places: tuple[Path, ...]
    sha256: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing a recipe keeps. Becomes one artifact ``ID.txt``; the file of a File becomes a second one."""

    id: str
    title: str
    action: Action
    timeout_s: float
    limit_bytes: int
    insight: str | None = None
    needs: tuple[str, ...] = ()  # programs the host must have; missing ones skip the step
    wants: tuple[str, ...] = ()  # programs and features without which it keeps less, for `capturebot doctor`
    sampling: Sampling | None = None
    carry: Carry | None = None
    passed: Mapping[str, Passed] = field(default_factory=dict)  # by a recipe that uses the one it is from


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
class Passed:
    """What a parameter of a step gets from the recipe that uses it: the value of *source*, or *value* where that is None.

    The value must suit all of *suits*, the parameters that it goes through, innermost first. Where both are None it
    gets nothing.
    """

    suits: tuple[Parameter, ...]
    source: str | None = None
    value: str | int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """How a recipe's cost is measured on a target before anybody is asked to agree to it; `bot.cost` reads the output.

    The script only looks: it is run without a question.
    """

    script: Script
    timeout_s: float
    passed: Mapping[str, Passed] = field(default_factory=dict)


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
    targets: tuple[str, ...] = ()  # the only ones that it is for; none named: all that have what it wants
    variants: Mapping[str, Recipe] = field(
        default_factory=dict
    )  # by the parameter `name`; one of them runs in its place
    cost: Measure | None = None  # how that which it costs is measured first

    @property
    def asks_first(self) -> bool:
        """Somebody must agree to its cost before it runs."""
        return self.cost is not None or self.impact in {Impact.PAUSES, Impact.HEAVY}

"""How long and under which key objects are kept, and where the journal is copied to: what `s3:` and `audit:` say of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from bot.errors import Problem
from bot.model import Target
from bot.policy.shape import LabelName, LabelValue
from bot.shapes import Shape, wrong
from bot.values import Matches, Text
from bot.yamlfile import Document

KINDS = ("text", "binary", "manifest", "report")  # of objects
LONGEST_DAYS = 36_500
_DAYS = r"([0-9]{1,5}) ?(?:d|days?)"
_MINUTES = r"([0-9]{1,4}) ?(?:min|minutes?)"

BucketName = Annotated[
    str,
    Matches(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "a bucket's name: 3 to 63 lower-case letters, digits, `-` and `.`"),
]
Prefix = Annotated[
    str,
    Matches(
        r"(?:[A-Za-z0-9_=-][A-Za-z0-9._=-]*(?:/[A-Za-z0-9_=-][A-Za-z0-9._=-]*)*)?",
        "letters, digits, `.`, `_`, `=`, `-`, and `/` between parts",
    ),
    Field(max_length=200),
]


def _days(value: Any) -> int:
    """Days, from text such as `90 days`."""
    match = re.fullmatch(_DAYS, value) if isinstance(value, str) else None
    if match is None:
        wrong("is not a number of days", "write for example `90 days`")
    if not 1 <= int(match[1]) <= LONGEST_DAYS:
        wrong(f"must be from 1 to {LONGEST_DAYS} days", "")
    return int(match[1])


def _every(value: Any) -> float:
    """Seconds, from text such as `5 minutes`."""
    match = re.fullmatch(_MINUTES, value) if isinstance(value, str) else None
    if match is None:
        wrong("is not an interval", "write for example `5 minutes`")
    if not 1 <= int(match[1]) <= 24 * 60:
        wrong("must be from 1 minute to 1440 minutes", "")
    return int(match[1]) * 60.0


Days = Annotated[int, PlainValidator(_days), WithJsonSchema({"type": "string", "pattern": f"^(?:{_DAYS})$"})]
Every = Annotated[float, PlainValidator(_every), WithJsonSchema({"type": "string", "pattern": f"^(?:{_MINUTES})$"})]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """How long copies of the journal cannot be removed; in the mode `compliance` not even by the account's owner."""

    mode: Literal["governance", "compliance"]
    days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Where the journal is copied to while the bot runs; credentials, region and server are those of `s3`."""

    bucket: str
    prefix: str = "capturebot-audit"
    every_s: float = 300.0
    lock: Lock | None = None


class LockShape(Shape):
    """How long copies cannot be removed."""

    mode: Literal["governance", "compliance"] = Field(
        description="compliance: by nobody; governance: only by who may bypass it", examples=["compliance"]
    )
    days: Annotated[int, Field(ge=1, le=LONGEST_DAYS)] = Field(
        description="for how many days each copy is locked", examples=[365]
    )


class AuditShape(Shape):
    """A copy of the journal in S3, with the credentials, the region and the server of `s3`."""

    bucket: BucketName = Field(description="a bucket of its own, with object lock", examples=["incident-audit"])
    prefix: Prefix = Field("capturebot-audit", description="begins every key", examples=["capturebot-audit"])
    every: Every = Field(300.0, description="minutes from one copy to the next", examples=["5 minutes"])
    lock: LockShape | None = Field(None, description="object lock; left out: the bucket's own rule")


class RetentionShape(Shape):
    """For how long each kind of object is kept. What is left out is kept for ever."""

    text: Days | None = Field(None, description="redacted output", examples=["90 days"])
    binary: Days | None = Field(None, description="files that could not be redacted", examples=["14 days"])
    manifest: Days | None = Field(None, description="what ran and what came of it", examples=["400 days"])
    report: Days | None = Field(None, description="reports of incidents", examples=["400 days"])


class KeyShape(Shape):
    """An encryption key for what comes from some targets."""

    labels: Annotated[dict[LabelName, LabelValue], Field(min_length=1, max_length=20)] = Field(
        description="labels that a target must have", examples=[{"pci": "yes"}]
    )
    kms_key: Text = Field(description="key for what comes from them", examples=["alias/evidence-pci"])


def read_audit(shape: AuditShape | None) -> Audit | None:
    """The copy that is asked for."""
    if shape is None:
        return None
    lock = Lock(mode=shape.lock.mode, days=shape.lock.days) if shape.lock else None
    return Audit(bucket=shape.bucket, prefix=shape.prefix, every_s=shape.every, lock=lock)


def read_retention(shape: RetentionShape | None) -> dict[str, int]:
    """Days by kind of object."""
    return {kind: days for kind, days in shape or () if days is not None}


def read_keys(
    document: Document, shapes: Sequence[KeyShape], targets: Mapping[str, Target], problems: list[Problem]
) -> dict[str, str]:
    """The key of each target that has one of its own: the first that fits. What is wrong is added to *problems*."""
    found: dict[str, str] = {}
    for position, shape in enumerate(shapes):
        fitting = [one.name for one in targets.values() if _has(one, shape.labels)]
        if not fitting:
            where = ("s3", "keys", position, "labels")
            problems.append(document.problem(where, "are on no target", "correct them, or label the targets"))
        for name in fitting:
            found.setdefault(name, shape.kms_key)
    return found


def _has(target: Target, labels: Mapping[str, str]) -> bool:
    return all(
        fnmatchcase(target.labels.get(name, ""), value) and name in target.labels for name, value in labels.items()
    )

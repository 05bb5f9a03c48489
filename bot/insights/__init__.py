"""Recorded output into findings: pure functions, one file a subject.

An insight reads the redacted text of one artifact, exactly as it was stored, and says what a tired
person should know: one sentence that names the culprit with its number. It says nothing when there
is nothing to say. It never raises on any text; `read` makes sure that a bug in one does not harm.

Steps that hold several parts (SQL statements, samples, sections of a script) write each part under
a header line of its own::

    ### NAME at=2026-11-22T20:55:01.123456+00:00 [key=value …]

`sections` reads that back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from bot.model import Finding

HEAD_BYTES = 2 * 1024 * 1024  # how much of an artifact an insight gets to see
FILE_BYTES = 4 * 1024 * 1024  # and of the file that a step left


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What an insight is given: *text* is the artifact's redacted start, at most HEAD_BYTES.

    *file* is the start of the file that its step left, at most FILE_BYTES, as it came: what an insight says of it is redacted
    afterwards.
    """

    text: str
    target: str
    file: bytes = b""
    cut: bool = False  # True when the artifact or this start of it is not the whole output


Insight = Callable[[Reading], Iterable[Finding]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of an artifact."""

    name: str
    at: datetime
    body: str
    facts: Mapping[str, str] = field(default_factory=dict)  # the header's other key=value pairs

    def rows(self) -> list[dict[str, str]]:
        r"""The body as a tab-separated table: the first line names the columns; ``\t \n \r \\`` are escaped, NULL is ``\N``."""
        lines = [line for line in self.body.removesuffix("\n").split("\n") if not line.startswith("-- ")]
        if not lines:
            return []
        columns = lines[0].split("\t")
        return [
            dict(zip(columns, map(_unescape, values), strict=True))
            for values in (line.split("\t") for line in lines[1:])
            if len(values) == len(columns)  # a line cut at a limit is not a row
        ]


_HEADER = re.compile(r"^### ([a-z0-9][a-z0-9_-]*) at=(\S+)((?: [a-z_]+=\S+)*)$", re.MULTILINE)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


def header(name: str, at: datetime, **facts: str | float) -> str:
    """The line that opens a section, newline included; *facts* must hold no blanks."""
    return f"### {name} at={at.isoformat()}" + "".join(f" {key}={value}" for key, value in facts.items()) + "\n"


def sections(text: str) -> list[Section]:
    """Split an artifact at its header lines; text before the first header is dropped."""
    found = []
    matches = list(_HEADER.finditer(text))
    ends = [*(match.start() for match in matches[1:]), len(text)]
    for match, end in zip(matches, ends, strict=False):  # without a header there is nothing to pair
        try:
            at = datetime.fromisoformat(match[2])
        except ValueError:
            continue
        body = text[match.end() + 1 : end]
        facts = dict(pair.split("=", 1) for pair in match[3].split())
        found.append(Section(name=match[1], at=at, body=body, facts=facts))
    return found


def _unescape(value: str) -> str:
    if value == r"\N":
        return "NULL"
    return _ESCAPE.sub(lambda match: {"t": "\t", "n": "\n", "r": "\r"}.get(match[1], match[1]), value)

"""What the health answer of an application blames, in the words of the frameworks that people use.

Spring Boot ("components", before its version 2.2 "details"), MicroProfile Health and the IETF's health+json draft ("checks"),
ASP.NET ("entries") and others that look alike.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bot.insights import words

WHY_CHARS = 60  # of what an answer says of a part
SEEN_CHARS = 1000  # of what it says
PARTS_SEEN = 1000
DEPTH = 8

_PACKAGE = re.compile(r"\b(?:[a-z]\w*\.)+(?=[A-Z])")  # before the name of an exception
_BAD = frozenset({"DOWN", "OUT_OF_SERVICE", "FAIL", "FAILED", "ERROR", "UNHEALTHY", "CRITICAL"})
_PARTS = ("components", "details", "checks", "entries", "results")
_WHY = ("error", "output", "description", "exception", "message", "reason", "data", "details")


@dataclass(frozen=True, slots=True)
class Part:
    """A part that is not well; all of it clean."""

    name: str
    status: str
    why: str

    @property
    def text(self) -> str:
        """It in a sentence: "db is DOWN (connection refused)"."""
        return f"{self.name} is {self.status}" + (f" ({self.why})" if self.why else "")


def blamed_in(body: str) -> list[Part]:
    """Read the innermost parts that are not well; none where *body* is no such answer."""
    if not body.lstrip().startswith("{"):
        return []
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):  # cut, or no JSON after all
        return []
    return list(_walk("it", answer, DEPTH)) if isinstance(answer, dict) else []


def _walk(name: str, thing: Mapping[str, Any], depth: int) -> Iterator[Part]:
    status = thing.get("status", thing.get("state"))
    is_bad = isinstance(status, str) and status.upper() in _BAD
    inner = [found for child, part in _children(thing) for found in _walk(child, part, depth - 1)] if depth else []
    if inner:
        yield from inner
    elif is_bad:
        yield Part(words.clean(name) or "a part", words.clean(str(status), 20), _why(thing))


def _children(thing: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key in _PARTS:
        parts = thing.get(key)
        if isinstance(parts, list):
            parts = {str(each.get("name", key)): each for each in parts[:PARTS_SEEN] if isinstance(each, dict)}
        if not isinstance(parts, dict):
            continue
        for name, part in list(parts.items())[:PARTS_SEEN]:
            for each in part if isinstance(part, list) else [part]:  # the IETF's draft has a list for each
                if isinstance(each, dict):
                    yield name, each


def _why(thing: Mapping[str, Any]) -> str:
    """The first text that explains, some levels down."""
    for key in _WHY:
        value = thing.get(key)
        if isinstance(value, dict):
            value = next((value[inner] for inner in _WHY if isinstance(value.get(inner), str)), None)
        if isinstance(value, str) and words.clean(value):
            return words.clean(_PACKAGE.sub("", value[:SEEN_CHARS]), WHY_CHARS)
    return ""

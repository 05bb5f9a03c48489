"""What every answer of the PagerDuty stand-in is made of."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request, as far as an answer needs it."""

    method: str
    path: str
    parts: Mapping[str, str]  # of the path
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    body: bytes


class Refusal(Exception):
    """An error in the documented shape."""

    def __init__(self, status: int, code: int, message: str, *errors: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "code": code, **({"errors": list(errors)} if errors else {})}}


Reply = tuple[int, Any]  # status and JSON
Answer = Callable[[Ask], Reply]


def body_of(ask: Ask, name: str) -> dict[str, Any]:
    """What a request's body holds under *name*; empty where it is not as documented."""
    try:
        found = json.loads(ask.body)[name]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def whole(ask: Ask, name: str, default: int, *, most: int) -> int:
    """A number of the query, or *default*."""
    value = dict(ask.query).get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,6}", value) or int(value) > most:
        raise Refusal(400, 2001, "Invalid Input Provided", f"{name} must be a number of at most {most}")
    return int(value)

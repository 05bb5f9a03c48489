"""Small checks that add up to the description of a JSON object, with Slack's wording of what is wrong.

A check gets a value, its JSON pointer and the list that it adds complaints to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Json = dict[str, Any]
Check = Callable[[Any, str, list[str]], None]

COMPLAINTS = 20  # enough to mend something by; a hostile payload does not get a longer answer


def complain(found: list[str], sentence: str, pointer: str) -> None:
    """Add one complaint in the form that Slack puts into response_metadata.messages."""
    if len(found) < COMPLAINTS:
        found.append(f"[ERROR] {sentence} [json-pointer:{pointer}]")


def anything(_value: Any, _pointer: str, _found: list[str]) -> None:
    """A field whose content is not looked at."""


def string(most: int, least: int = 1) -> Check:
    """A string of *least* to *most* characters."""

    def check(value: Any, pointer: str, found: list[str]) -> None:
        if not isinstance(value, str):
            complain(found, "must be a string", pointer)
        elif len(value) > most:
            complain(found, f"must be less than {most + 1} characters", pointer)
        elif len(value) < least:
            complain(found, f"must be more than {least - 1} characters", pointer)

    return check


def boolean(value: Any, pointer: str, found: list[str]) -> None:
    """True or false."""
    if not isinstance(value, bool):
        complain(found, "must be a boolean", pointer)


def number(value: Any, pointer: str, found: list[str]) -> None:
    """A JSON number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        complain(found, "must be a number", pointer)


def choice(*allowed: str | int) -> Check:
    """One of a few values."""

    def check(value: Any, pointer: str, found: list[str]) -> None:
        if isinstance(value, bool) or value not in allowed:
            complain(found, "must be one of: " + ", ".join(map(str, allowed)), pointer)

    return check


def array(each: Check, most: int, least: int = 1) -> Check:
    """A list of *least* to *most* items."""

    def check(value: Any, pointer: str, found: list[str]) -> None:
        if not isinstance(value, list):
            complain(found, "must be an array", pointer)
            return
        if len(value) > most:
            complain(found, f"no more than {most} items allowed", pointer)
            return
        if len(value) < least:
            complain(found, f"no less than {least} items allowed", pointer)
        for index, item in enumerate(value):
            each(item, f"{pointer}/{index}", found)

    return check


def shape(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """An object with these fields and no others; `type` may always be there."""
    known: dict[str, Check] = {"type": anything, **required, **(optional or {})}

    def check(value: Any, pointer: str, found: list[str]) -> None:
        if not isinstance(value, dict):
            complain(found, "must be an object", pointer)
            return
        for name in required:
            if name not in value:
                complain(found, f"missing required field: {name}", pointer)
        for name, content in value.items():
            if name in known:
                known[name](content, f"{pointer}/{name}", found)
            else:
                complain(found, f"invalid additional property: {str(name)[:60]}", pointer)

    return check


def by_type(kinds: Mapping[str, Check], word: str = "type") -> Check:
    """An object that its `type` field says the shape of."""

    def check(value: Any, pointer: str, found: list[str]) -> None:
        if not isinstance(value, dict):
            complain(found, "must be an object", pointer)
            return
        kind = value.get("type")
        if not isinstance(kind, str) or kind not in kinds:
            complain(found, f"unsupported {word}: {str(kind)[:60]}", f"{pointer}/type")
            return
        kinds[kind](value, pointer, found)

    return check


def exactly_one(first: str, second: str, then: Check) -> Check:
    """An object that has one of two fields, and is otherwise as *then* says."""

    def check(value: Any, pointer: str, found: list[str]) -> None:
        if isinstance(value, dict) and (first in value) == (second in value):
            complain(found, f"exactly one of {first} and {second} is required", pointer)
        then(value, pointer, found)

    return check

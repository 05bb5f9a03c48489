"""What a person chose or typed, in the forms that Slack reports it: `actions` entries and `state.values`."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from bot.playground.workspace.blocks import elements_of
from bot.playground.workspace.shapes import Json

Given = Mapping[str, Mapping[str, Any]]  # block_id, action_id: a text, or a list of texts where several can be chosen

_ONE_OPTION = {"static_select", "external_select", "radio_buttons", "overflow"}
_SEVERAL_OPTIONS = {"checkboxes", "multi_static_select", "multi_external_select"}
_ONE_ID = {
    "users_select": "user",
    "channels_select": "channel",
    "conversations_select": "conversation",
    "datepicker": "date",
    "timepicker": "time",
}
_SEVERAL_IDS = {
    "multi_users_select": "users",
    "multi_channels_select": "channels",
    "multi_conversations_select": "conversations",
}
_WRITTEN = {"plain_text_input", "email_text_input", "url_text_input", "number_input"}
_TEXT_CHARS = 3_000


class BadInput(Exception):
    """What was given does not fit the element; the sentence says why."""


def named(blocks: Sequence[Any]) -> list[Json]:
    """*blocks* with the block_id and action_id that Slack makes up where the app gave none."""
    made = []
    for block in blocks:
        copy = {**block, "block_id": block.get("block_id") or secrets.token_urlsafe(4)}
        match copy:
            case {"type": "actions", "elements": elements}:
                copy["elements"] = [_with_action_id(element) for element in elements]
            case {"type": "section", "accessory": accessory}:
                copy["accessory"] = _with_action_id(accessory)
            case {"type": "input", "element": element}:
                copy["element"] = _with_action_id(element)
        made.append(copy)
    return made


def find_element(blocks: Sequence[Json], action_id: str, block_id: str | None = None) -> tuple[Json, Json] | None:
    """The block and element of an action id; without *block_id* the first that has it."""
    for block in blocks:
        for element in elements_of(block):
            if element.get("action_id") == action_id and block_id in (None, block.get("block_id")):
                return block, element
    return None


def chosen(element: Json, given: Any) -> Json:
    """How Slack reports *given* (None: nothing, or the initial value) for an element. Raises BadInput."""
    kind = element["type"]
    if kind in _ONE_OPTION:
        option = _option(element, given) if given else element.get("initial_option")
        return {"selected_option": option}
    if kind in _SEVERAL_OPTIONS:
        return {"selected_options": [_option(element, one) for one in _several(element, "options", given)]}
    if kind in _ONE_ID:
        return {f"selected_{_ONE_ID[kind]}": _text(given) or element.get(f"initial_{_ONE_ID[kind]}")}
    if kind in _SEVERAL_IDS:
        name = _SEVERAL_IDS[kind]
        return {f"selected_{name}": [_text(one) for one in _several(element, name, given)]}
    if kind == "datetimepicker":
        return {"selected_date_time": _whole(given) if given else element.get("initial_date_time")}
    if kind in _WRITTEN:
        return {"value": _written(element, given)}
    if kind == "button":
        return {"value": element["value"]} if "value" in element else {}
    return {}


def state_of(blocks: Sequence[Json], given: Given) -> Json:
    """`state.values`: every element that holds a value, with what was given or its initial value. Raises BadInput."""
    values: Json = {}
    for block in blocks:
        for element in elements_of(block):
            if element["type"] in ("button", "workflow_button", "overflow"):
                continue
            entered = given.get(block["block_id"], {}).get(element["action_id"])
            report = {"type": element["type"], **chosen(element, entered)}
            values.setdefault(block["block_id"], {})[element["action_id"]] = report
    return values


def missing(blocks: Sequence[Json], values: Json) -> dict[str, str]:
    """The required inputs that are still empty, by block id, as Slack's own form says it."""
    gaps = {}
    for block in blocks:
        if block["type"] == "input" and not block.get("optional"):
            report = values.get(block["block_id"], {}).get(block["element"]["action_id"], {})
            if not any(value for name, value in report.items() if name != "type"):
                gaps[block["block_id"]] = "Please complete this required field."
    return gaps


def _with_action_id(element: Json) -> Json:
    if element["type"] == "image" or element.get("action_id"):
        return element
    return {**element, "action_id": secrets.token_urlsafe(4)}


def _several(element: Json, name: str, given: Any) -> list[Any]:
    """What was given, or the initial choice, as values."""
    if given is None:
        initial = element.get(f"initial_{name}", [])
        return [option["value"] for option in initial] if name == "options" else list(initial)
    if not isinstance(given, list):
        raise BadInput("a list is expected")
    return given


def _option(element: Json, value: Any) -> Json:
    groups = [group["options"] for group in element.get("option_groups", [])]
    for options in [element.get("options", []), *groups]:
        for option in options:
            if option["value"] == value:
                return dict(option)
    raise BadInput(f"{str(value)[:80]!r} is not one of the options")


def _text(given: Any) -> str | None:
    if given is not None and not isinstance(given, str):
        raise BadInput("a text is expected")
    return given[:_TEXT_CHARS] if given else None


def _whole(given: Any) -> int:
    try:
        return int(given)
    except (ValueError, TypeError, OverflowError) as error:
        raise BadInput("Please enter a whole number.") from error


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError as error:
        raise BadInput("Please enter a number.") from error
    if not math.isfinite(number):
        raise BadInput("Please enter a number.")
    return number


def _written(element: Json, given: Any) -> str | None:
    value = _text(element.get("initial_value") if given is None else given)
    if value is None:
        return None
    if len(value) < element.get("min_length", 0):
        raise BadInput(f"Please enter at least {element['min_length']} characters.")
    if len(value) > element.get("max_length", _TEXT_CHARS):
        raise BadInput(f"Please enter at most {element['max_length']} characters.")
    if element["type"] == "number_input":
        number = _number(value)
        if not number.is_integer() and not element["is_decimal_allowed"]:
            raise BadInput("Please enter a whole number.")
        if not _number(element.get("min_value", value)) <= number <= _number(element.get("max_value", value)):
            raise BadInput("This number is out of range.")
    return value

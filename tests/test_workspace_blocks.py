"""Block validation: no valid payload is refused, no published limit is passed over, no JSON breaks it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import slackblocks
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.playground.workspace.blocks import check_blocks, spoken
from bot.playground.workspace.inputs import BadInput, chosen, named, state_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
TYPES = st.sampled_from(
    [
        "section",
        "actions",
        "context",
        "header",
        "image",
        "input",
        "rich_text",
        "table",
        "markdown",
        "divider",
        "plan",
        "task_card",
        "card",
        "alert",
        "button",
        "static_select",
        "overflow",
        "mrkdwn",
        "plain_text",
        "rich_text_section",
    ]
)
FIELDS = st.sampled_from(
    ["text", "elements", "element", "accessory", "fields", "rows", "label", "block_id", "action_id", "options", "tasks"]
)
NEARLY = st.recursive(
    st.builds(lambda kind: {"type": kind}, TYPES) | st.text(max_size=5) | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.builds(
            lambda kind, rest: {"type": kind, **rest}, TYPES, st.dictionaries(FIELDS, inner, min_size=1, max_size=4)
        )
    ),
    max_leaves=15,
)


def plain(text: str) -> dict[str, str]:
    """A plain_text object."""
    return {"type": "plain_text", "text": text}


def option(value: str = "v") -> dict[str, Any]:
    """An option."""
    return {"text": plain("t"), "value": value}


def button(**more: Any) -> dict[str, Any]:
    """A button."""
    return {"type": "button", "text": plain("Stop"), **more}


def actions(*elements: dict[str, Any]) -> dict[str, Any]:
    """An actions block."""
    return {"type": "actions", "elements": list(elements)}


def section(text: str) -> dict[str, Any]:
    """A section."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


CELL: dict[str, Any] = {"type": "raw_text", "text": "x"}
TABLE: dict[str, Any] = {"type": "table", "rows": [[CELL, {"type": "raw_number", "value": 1, "text": "1"}]]}

# block, and how its published limit is passed by one
LIMITS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "section text": (section("x" * 3_000), section("x" * 3_001)),
    "header": ({"type": "header", "text": plain("x" * 150)}, {"type": "header", "text": plain("x" * 151)}),
    "context": (
        {"type": "context", "elements": [plain("x")] * 10},
        {"type": "context", "elements": [plain("x")] * 11},
    ),
    "fields": (
        {"type": "section", "fields": [plain("x" * 2_000)] * 10},
        {"type": "section", "fields": [plain("x")] * 11},
    ),
    "field text": (
        {"type": "section", "fields": [plain("x" * 2_000)]},
        {"type": "section", "fields": [plain("x" * 2_001)]},
    ),
    "actions": (actions(*[button()] * 25), actions(*[button()] * 26)),
    "button text": (actions(button(text=plain("x" * 75))), actions(button(text=plain("x" * 76)))),
    "button value": (actions(button(value="x" * 2_000)), actions(button(value="x" * 2_001))),
    "button url": (actions(button(url="x" * 3_000)), actions(button(url="x" * 3_001))),
    "action id": (actions(button(action_id="x" * 255)), actions(button(action_id="x" * 256))),
    "block id": ({"type": "divider", "block_id": "x" * 255}, {"type": "divider", "block_id": "x" * 256}),
    "confirm": (
        actions(button(confirm={"title": plain("x" * 100), "text": plain("x" * 300), "confirm": plain("x" * 30)})),
        actions(button(confirm={"text": plain("x"), "deny": plain("x" * 31)})),
    ),
    "options": (
        actions({"type": "static_select", "options": [option()] * 100}),
        actions({"type": "static_select", "options": [option()] * 101}),
    ),
    "option value": (
        actions({"type": "static_select", "options": [option("x" * 150)]}),
        actions({"type": "static_select", "options": [option("x" * 151)]}),
    ),
    "overflow": (
        actions({"type": "overflow", "options": [option()] * 5}),
        actions({"type": "overflow", "options": [option()] * 6}),
    ),
    "table rows": ({**TABLE, "rows": TABLE["rows"] * 100}, {**TABLE, "rows": TABLE["rows"] * 101}),
    "table cells": ({**TABLE, "rows": [[CELL] * 20]}, {**TABLE, "rows": [[CELL] * 21]}),
    "table text": (
        {**TABLE, "rows": [[{**CELL, "text": "x" * 10_000}]]},
        {**TABLE, "rows": [[{**CELL, "text": "x" * 10_001}]]},
    ),
    "markdown": ({"type": "markdown", "text": "x" * 12_000}, {"type": "markdown", "text": "x" * 12_001}),
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_published_limit_is_kept_to_the_character(name: str) -> None:
    """The longest that Slack takes is taken, one more is not, and the complaint says where."""
    longest, longer = LIMITS[name]

    assert check_blocks([longest], "message") == []
    (complaint, *_) = check_blocks([longer], "message")
    assert complaint.startswith("[ERROR] ")
    assert "[json-pointer:/blocks" in complaint


@pytest.mark.parametrize(
    ("blocks", "complaint"),
    [
        ([{"type": "sections"}], "unsupported type: sections"),
        ([{"type": "section"}], "missing required field: text"),
        ([{"type": "divider", "colour": "red"}], "invalid additional property: colour"),
        ([{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}], "unsupported text type: mrkdwn"),
        ([section("")], "must be more than 0 characters"),
        ([actions()], "no less than 1 items allowed"),
        ([actions({"type": "multi_static_select", "options": [option()]})], "unsupported element: multi_static_select"),
        ([actions({"type": "static_select"})], "exactly one of options and option_groups"),
        ([actions(button(style="loud"))], "must be one of: primary, danger"),
        ([actions(button(action_id="a"), button(action_id="a"))], "`action_id` `a` already exists"),
        ([{"type": "divider", "block_id": "b"}, {"type": "divider", "block_id": "b"}], "`block_id` `b` already exists"),
        ([TABLE, TABLE], "only_one_table_allowed"),
        ([{"type": "divider"}] * 51, "no more than 50 items allowed"),
        ([{"type": "alert", "text": plain("x")}], "unsupported type: alert"),
        ([{"type": "image", "alt_text": "x"}], "exactly one of image_url and slack_file"),
        ("blocks", "must be an array"),
        (["block"], "must be an object"),
    ],
)
def test_what_slack_refuses_is_refused_in_its_words(blocks: Any, complaint: str) -> None:
    """Types, required and unknown fields, names used twice, counts."""
    assert any(complaint in found for found in check_blocks(blocks, "message"))


@pytest.mark.parametrize(
    "build",
    [
        lambda: slackblocks.SectionBlock("*x*", fields=["a", "b"], accessory=slackblocks.Button("Go", "go")),
        lambda: slackblocks.HeaderBlock("x"),
        slackblocks.DividerBlock,
        lambda: slackblocks.ContextBlock([slackblocks.Text("x")]),
        lambda: slackblocks.ActionsBlock([slackblocks.Button("Go", "go", value="1", style="danger")]),
        lambda: slackblocks.ImageBlock("https://example.com/x.png", alt_text="x"),
        lambda: slackblocks.RichTextBlock(slackblocks.RichTextSection(slackblocks.RichText("x", bold=True))),
    ],
    ids=["section", "header", "divider", "context", "actions", "image", "rich_text"],
)
def test_what_another_library_builds_is_taken(build: Callable[[], Any]) -> None:
    """The library slackblocks encodes Slack's rules on its own: its blocks must pass here."""
    assert check_blocks([build()._resolve()], "message") == []


@settings(deadline=None)
@given(st.lists(JSON, max_size=3) | JSON)
def test_no_json_breaks_the_check(blocks: Any) -> None:
    """Any value at all gets complaints or none, never an exception."""
    check_blocks(blocks, "message")


@settings(deadline=None)
@given(st.lists(NEARLY, max_size=4))
def test_nearly_right_blocks_do_not_break_the_check(blocks: Any) -> None:
    """And what passes the check can be named, read aloud and turned into state."""
    for surface in ("message", "modal", "home"):
        if not check_blocks(blocks, surface):
            made = named(blocks)
            spoken(made)
            state_of(made, {})


SELECT = {"type": "static_select", "action_id": "a", "options": [option("one"), option("two")]}
NUMBER = {"type": "number_input", "action_id": "a", "is_decimal_allowed": False, "min_value": "1", "max_value": "9"}


@pytest.mark.parametrize(
    ("element", "given_value", "report"),
    [
        (SELECT, "two", {"selected_option": option("two")}),
        (SELECT, None, {"selected_option": None}),
        ({**SELECT, "initial_option": option("one")}, None, {"selected_option": option("one")}),
        ({**SELECT, "type": "multi_static_select"}, ["one"], {"selected_options": [option("one")]}),
        ({"type": "users_select", "action_id": "a"}, "U1", {"selected_user": "U1"}),
        ({"type": "datepicker", "action_id": "a", "initial_date": "2026-11-22"}, None, {"selected_date": "2026-11-22"}),
        ({"type": "plain_text_input", "action_id": "a"}, "x", {"value": "x"}),
        ({"type": "plain_text_input", "action_id": "a"}, "", {"value": None}),
        (NUMBER, "9", {"value": "9"}),
    ],
)
def test_a_choice_is_reported_as_slack_does(element: dict[str, Any], given_value: Any, report: dict[str, Any]) -> None:
    """By the element's type; an initial value counts until it is changed."""
    assert chosen(element, given_value) == report


@pytest.mark.parametrize(
    ("element", "given_value"),
    [
        (SELECT, "three"),
        ({**SELECT, "type": "checkboxes"}, "one"),
        ({"type": "plain_text_input", "action_id": "a", "min_length": 3}, "x"),
        ({"type": "plain_text_input", "action_id": "a", "max_length": 3}, "xxxx"),
        (NUMBER, "10"),
        (NUMBER, "1.5"),
        (NUMBER, "nan"),
        (NUMBER, "many"),
        ({"type": "datetimepicker", "action_id": "a"}, "soon"),
    ],
)
def test_what_does_not_fit_an_element_is_refused(element: dict[str, Any], given_value: Any) -> None:
    """With a sentence."""
    with pytest.raises(BadInput):
        chosen(element, given_value)

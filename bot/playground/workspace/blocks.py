"""Block Kit as Slack checks it: what a message, a modal and a home tab may hold, and how long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from bot.playground.workspace.elements import (
    IDENTIFIER,
    IMAGE_BLOCK_FIELDS,
    IN_ACTIONS,
    IN_CONTEXT,
    IN_INPUT,
    IN_SECTION,
    URL,
    plain,
    text,
)
from bot.playground.workspace.limits import MARKDOWN_CHARS, MESSAGE_BLOCKS, TABLE_CHARS, VIEW_BLOCKS
from bot.playground.workspace.shapes import (
    Check,
    Json,
    array,
    boolean,
    by_type,
    choice,
    complain,
    exactly_one,
    number,
    shape,
    string,
)

Surface = Literal["message", "modal", "home"]

_LONG = 100_000  # where Slack publishes no length of its own
_ID: Mapping[str, Check] = {"block_id": IDENTIFIER}
_STYLE: Mapping[str, Check] = {
    "style": shape({}, dict.fromkeys(("bold", "italic", "strike", "code", "underline", "highlight", "unlink"), boolean))
}

_RICH_LEAF = by_type(
    {
        "text": shape({"text": string(_LONG)}, _STYLE),
        "link": shape({"url": URL}, {**_STYLE, "text": string(_LONG), "unsafe": boolean}),
        "user": shape({"user_id": IDENTIFIER}, _STYLE),
        "channel": shape({"channel_id": IDENTIFIER}, _STYLE),
        "usergroup": shape({"usergroup_id": IDENTIFIER}, _STYLE),
        "team": shape({"team_id": IDENTIFIER}, _STYLE),
        "broadcast": shape({"range": choice("here", "channel", "everyone")}, _STYLE),
        "emoji": shape({"name": string(100)}, {**_STYLE, "unicode": string(100), "url": URL}),
        "color": shape({"value": string(20)}, _STYLE),
        "date": shape({"timestamp": number, "format": string(200)}, {**_STYLE, "fallback": string(500), "url": URL}),
    },
    "element",
)
_RICH_SECTION = shape({"elements": array(_RICH_LEAF, 1_000, 0)})
_BORDERED = shape({"elements": array(_RICH_LEAF, 1_000, 0)}, {"border": choice(0, 1)})
_RICH_TEXT = shape(
    {
        "elements": array(
            by_type(
                {
                    "rich_text_section": _RICH_SECTION,
                    "rich_text_preformatted": _BORDERED,
                    "rich_text_quote": _BORDERED,
                    "rich_text_list": shape(
                        {
                            "elements": array(by_type({"rich_text_section": _RICH_SECTION}), 1_000),
                            "style": choice("bullet", "ordered"),
                        },
                        {"indent": number, "border": choice(0, 1), "offset": number},
                    ),
                },
                "element",
            ),
            1_000,
        )
    },
    _ID,
)
_CELL = by_type(
    {
        "raw_text": shape({"text": string(_LONG, 0)}),
        "raw_number": shape({"value": number, "text": string(_LONG)}),
        "rich_text": _RICH_TEXT,
    },
    "cell",
)
_TABLE = shape(
    {"rows": array(array(_CELL, 20), 100)},
    {
        **_ID,
        "column_settings": array(shape({}, {"align": choice("left", "center", "right"), "is_wrapped": boolean}), 20, 0),
    },
)
_SECTION = shape(
    {},
    {
        **_ID,
        "text": text(3_000),
        "fields": array(text(2_000), 10),
        "accessory": IN_SECTION,
        "expand": boolean,
    },
)
_TASK = shape(
    {
        "task_id": IDENTIFIER,
        "title": string(_LONG),
        "status": choice("pending", "in_progress", "complete", "error"),
    },
    {
        **_ID,
        "details": by_type({"rich_text": _RICH_TEXT}),
        "output": by_type({"rich_text": _RICH_TEXT}),
        "sources": array(shape({"url": URL, "text": string(_LONG)}), 100),
    },
)


def _section(value: Any, pointer: str, found: list[str]) -> None:
    _SECTION(value, pointer, found)
    if "text" not in value and "fields" not in value:
        complain(found, "missing required field: text", pointer)


def _known(*required: str) -> Check:
    """A block that this workspace accepts and does not draw: only its required fields are checked."""

    def check(value: Any, pointer: str, found: list[str]) -> None:
        for name in required:
            if name not in value:
                complain(found, f"missing required field: {name}", pointer)
        if "block_id" in value:
            IDENTIFIER(value["block_id"], f"{pointer}/block_id", found)

    return check


_EVERYWHERE: Mapping[str, Check] = {
    "section": _section,
    "actions": shape({"elements": array(IN_ACTIONS, 25)}, _ID),
    "context": shape({"elements": array(IN_CONTEXT, 10)}, _ID),
    "divider": shape({}, _ID),
    "header": shape({"text": plain(150)}, {**_ID, "level": number}),
    "image": exactly_one("image_url", "slack_file", shape({"alt_text": string(2_000)}, IMAGE_BLOCK_FIELDS)),
    "input": shape(
        {"label": plain(2_000), "element": IN_INPUT},
        {**_ID, "hint": plain(2_000), "optional": boolean, "dispatch_action": boolean},
    ),
    "rich_text": _RICH_TEXT,
    "video": _known("alt_text", "thumbnail_url", "title", "video_url"),
    "card": _known(),
}
_SURFACES: Mapping[Surface, Mapping[str, Check]] = {
    "message": {
        **_EVERYWHERE,
        "markdown": shape({"text": string(MARKDOWN_CHARS)}, _ID),
        "table": _TABLE,
        "plan": shape({"title": string(_LONG)}, {**_ID, "tasks": array(by_type({"task_card": _TASK}), 50, 0)}),
        "task_card": _TASK,
        "file": _known("external_id", "source"),
        "context_actions": _known("elements"),
        "carousel": _known("elements"),
        "container": _known("child_blocks"),
        "data_table": _known("caption", "rows"),
        "data_visualization": _known(),
    },
    "modal": {
        **_EVERYWHERE,
        "alert": shape({"text": text(200)}, {**_ID, "level": choice("default", "info", "warning", "error", "success")}),
    },
    "home": {
        **_EVERYWHERE,
        "carousel": _known("elements"),
        "container": _known("child_blocks"),
        "data_table": _known("caption", "rows"),
        "data_visualization": _known(),
    },
}
_CHECKS: Mapping[Surface, Check] = {
    "message": array(by_type(_SURFACES["message"]), MESSAGE_BLOCKS, 0),
    "modal": array(by_type(_SURFACES["modal"]), VIEW_BLOCKS, 0),
    "home": array(by_type(_SURFACES["home"]), VIEW_BLOCKS, 0),
}


def check_blocks(blocks: Any, surface: Surface, pointer: str = "/blocks") -> list[str]:
    """What Slack would complain about in *blocks*; empty when it would take them."""
    found: list[str] = []
    _CHECKS[surface](blocks, pointer, found)
    if not found:
        _check_together(blocks, pointer, found)
    return found


def elements_of(block: Json) -> Iterator[Json]:
    """The interactive elements of one block (anything with an action_id, and what may get one)."""
    match block.get("type"):
        case "actions":
            yield from block["elements"]
        case "section" if "accessory" in block and block["accessory"].get("type") != "image":
            yield block["accessory"]
        case "input":
            yield block["element"]


def spoken(blocks: Sequence[Json]) -> str:
    """The text that Slack makes for notifications when a message has blocks and no text."""
    words: list[str] = []
    for block in blocks:
        match block:
            case {"text": {"text": str(said)}} | {"type": "markdown", "text": str(said)}:
                words.append(said)
            case {"type": "context", "elements": list(elements)}:
                words += [element["text"] for element in elements if isinstance(element.get("text"), str)]
    return " ".join(words)


def _check_together(blocks: list[Json], pointer: str, found: list[str]) -> None:
    """What no block can be blamed for alone: names used twice, totals of the whole payload."""
    names: set[str] = set()
    for index, block in enumerate(blocks):
        if (name := block.get("block_id")) is not None:
            if name in names:
                complain(found, f"`block_id` `{name}` already exists", f"{pointer}/{index}/block_id")
            names.add(name)
        actions = [element["action_id"] for element in elements_of(block) if "action_id" in element]
        for action in sorted({action for action in actions if actions.count(action) > 1}):
            complain(found, f"`action_id` `{action}` already exists for this block", f"{pointer}/{index}")
    if sum(len(block["text"]) for block in blocks if block["type"] == "markdown") > MARKDOWN_CHARS:
        complain(found, f"markdown text must be less than {MARKDOWN_CHARS + 1} characters in all", pointer)
    tables = [block for block in blocks if block["type"] == "table"]
    if len(tables) > 1:
        complain(found, "only_one_table_allowed", pointer)
    for table in tables:
        if sum(_length(cell) for row in table["rows"] for cell in row) > TABLE_CHARS:
            complain(found, f"table must be less than {TABLE_CHARS + 1} characters in all", pointer)


def _length(cell: Any) -> int:
    """How many characters a table cell shows."""
    if isinstance(cell, dict):
        return len(cell["text"]) if isinstance(cell.get("text"), str) else sum(map(_length, cell.get("elements", [])))
    return 0

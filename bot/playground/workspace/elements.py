"""The interactive elements and small objects of Block Kit: their fields and their published lengths."""

from __future__ import annotations

from collections.abc import Mapping

from bot.playground.workspace.shapes import (
    Check,
    anything,
    array,
    boolean,
    by_type,
    choice,
    exactly_one,
    number,
    shape,
    string,
)

_ID_CHARS = 255
_URL_CHARS = 3_000
_PLACEHOLDER_CHARS = 150
_OPTIONS = 100


def plain(most: int) -> Check:
    """A plain_text object."""
    return by_type({"plain_text": shape({"text": string(most)}, {"emoji": boolean})}, "text type")


def text(most: int) -> Check:
    """A plain_text or mrkdwn object."""
    return by_type(
        {
            "plain_text": shape({"text": string(most)}, {"emoji": boolean}),
            "mrkdwn": shape({"text": string(most)}, {"verbatim": boolean}),
        },
        "text type",
    )


IDENTIFIER = string(_ID_CHARS)
URL = string(_URL_CHARS)

CONFIRM = shape(
    {"text": text(300)},
    {"title": plain(100), "confirm": plain(30), "deny": plain(30), "style": choice("primary", "danger")},
)


def _option(words: Check) -> Check:
    return shape({"text": words, "value": string(150)}, {"description": words, "url": URL})


PLAIN_OPTION = _option(plain(75))
TEXT_OPTION = _option(text(75))

OPTIONS = array(PLAIN_OPTION, _OPTIONS, 0)  # that an app suggests for an external select

_COMMON: Mapping[str, Check] = {"action_id": IDENTIFIER, "confirm": CONFIRM, "focus_on_load": boolean}
_PLACEHOLDER: Mapping[str, Check] = {"placeholder": plain(_PLACEHOLDER_CHARS)}
_SELECT: Mapping[str, Check] = {**_COMMON, **_PLACEHOLDER}
_MULTI: Mapping[str, Check] = {**_SELECT, "max_selected_items": number}
_TYPED: Mapping[str, Check] = {
    "action_id": IDENTIFIER,
    "focus_on_load": boolean,
    "dispatch_action_config": shape(
        {}, {"trigger_actions_on": array(choice("on_enter_pressed", "on_character_entered"), 2)}
    ),
    **_PLACEHOLDER,
}


def _static(fields: Mapping[str, Check]) -> Check:
    options = array(PLAIN_OPTION, _OPTIONS)
    groups = array(shape({"label": plain(75), "options": options}), _OPTIONS)
    return exactly_one("options", "option_groups", shape({}, {**fields, "options": options, "option_groups": groups}))


_BUTTON = shape(
    {"text": plain(75)},
    {
        "action_id": IDENTIFIER,
        "confirm": CONFIRM,
        "value": string(2_000),
        "url": URL,
        "style": choice("primary", "danger"),
        "accessibility_label": string(75),
        "visible_to_user_ids": array(string(_ID_CHARS), 10),
        "agent_prompt": string(4_000),
    },
)
_FILTER = shape(
    {}, {"include": array(anything, 4), "exclude_external_shared_channels": boolean, "exclude_bot_users": boolean}
)
_CONVERSATION: Mapping[str, Check] = {"default_to_current_conversation": boolean, "filter": _FILTER}
_RESPONSE_URL: Mapping[str, Check] = {"response_url_enabled": boolean}

_PICKERS: Mapping[str, Check] = {
    "static_select": _static({**_SELECT, "initial_option": PLAIN_OPTION}),
    "external_select": shape({}, {**_SELECT, "initial_option": PLAIN_OPTION, "min_query_length": number}),
    "users_select": shape({}, {**_SELECT, "initial_user": IDENTIFIER}),
    "channels_select": shape({}, {**_SELECT, **_RESPONSE_URL, "initial_channel": IDENTIFIER}),
    "conversations_select": shape(
        {}, {**_SELECT, **_RESPONSE_URL, **_CONVERSATION, "initial_conversation": IDENTIFIER}
    ),
    "checkboxes": shape({"options": array(TEXT_OPTION, 10)}, {**_COMMON, "initial_options": array(TEXT_OPTION, 10)}),
    "radio_buttons": shape({"options": array(TEXT_OPTION, 10)}, {**_COMMON, "initial_option": TEXT_OPTION}),
    "datepicker": shape({}, {**_SELECT, "initial_date": string(10)}),
    "timepicker": shape({}, {**_SELECT, "initial_time": string(5), "timezone": string(100)}),
    "datetimepicker": shape({}, {**_COMMON, "initial_date_time": number}),
}
_MULTI_PICKERS: Mapping[str, Check] = {
    "multi_static_select": _static({**_MULTI, "initial_options": array(PLAIN_OPTION, _OPTIONS)}),
    "multi_external_select": shape(
        {}, {**_MULTI, "initial_options": array(PLAIN_OPTION, _OPTIONS), "min_query_length": number}
    ),
    "multi_users_select": shape({}, {**_MULTI, "initial_users": array(IDENTIFIER, _OPTIONS)}),
    "multi_channels_select": shape({}, {**_MULTI, "initial_channels": array(IDENTIFIER, _OPTIONS)}),
    "multi_conversations_select": shape(
        {}, {**_MULTI, **_CONVERSATION, "initial_conversations": array(IDENTIFIER, _OPTIONS)}
    ),
}
_PRESSED: Mapping[str, Check] = {
    "button": _BUTTON,
    "workflow_button": shape(
        {"text": plain(75), "workflow": anything},
        {
            "action_id": IDENTIFIER,
            "confirm": CONFIRM,
            "style": choice("primary", "danger"),
            "accessibility_label": string(75),
        },
    ),
    "overflow": shape({"options": array(PLAIN_OPTION, 5)}, {"action_id": IDENTIFIER, "confirm": CONFIRM}),
}
_RICH_INPUT: Mapping[str, Check] = {
    "rich_text_input": shape({}, {**_TYPED, "initial_value": anything, "min_lines": number, "max_lines": number})
}
_WRITTEN: Mapping[str, Check] = {
    "plain_text_input": shape(
        {},
        {
            **_TYPED,
            "initial_value": string(3_000, 0),
            "multiline": boolean,
            "min_length": number,
            "max_length": number,
        },
    ),
    "email_text_input": shape({}, {**_TYPED, "initial_value": string(3_000, 0)}),
    "url_text_input": shape({}, {**_TYPED, "initial_value": string(3_000, 0)}),
    "number_input": shape(
        {"is_decimal_allowed": boolean},
        {**_TYPED, "initial_value": string(100), "min_value": string(100), "max_value": string(100)},
    ),
    "file_input": shape({}, {"action_id": IDENTIFIER, "filetypes": array(string(50), 100), "max_files": number}),
}

_FILE_REFERENCE = exactly_one("id", "url", shape({}, {"id": IDENTIFIER, "url": URL}))
IMAGE_ELEMENT = exactly_one(
    "image_url",
    "slack_file",
    shape({"alt_text": string(2_000)}, {"image_url": URL, "slack_file": _FILE_REFERENCE}),
)
IMAGE_BLOCK_FIELDS: Mapping[str, Check] = {
    "image_url": URL,
    "slack_file": _FILE_REFERENCE,
    "title": plain(2_000),
    "block_id": IDENTIFIER,
}

# multi-selects are refused in an actions block, although Slack's TypeScript types list them
IN_ACTIONS = by_type({**_PRESSED, **_PICKERS, **_RICH_INPUT}, "element")
IN_SECTION = by_type(
    {
        **_PRESSED,
        **{kind: check for kind, check in _PICKERS.items() if kind != "datetimepicker"},
        **_MULTI_PICKERS,
        "image": IMAGE_ELEMENT,
    },
    "element",
)
IN_INPUT = by_type({**_PICKERS, **_MULTI_PICKERS, **_WRITTEN, **_RICH_INPUT}, "element")
IN_CONTEXT = by_type(
    {
        "image": IMAGE_ELEMENT,
        "plain_text": shape({"text": string(3_000)}, {"emoji": boolean}),
        "mrkdwn": shape({"text": string(3_000)}, {"verbatim": boolean}),
    },
    "element",
)

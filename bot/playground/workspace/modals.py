"""Modals as a person has them open: a stack of at most three views, checked as Slack checks them."""

from __future__ import annotations

import json
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from bot.playground.workspace.blocks import check_blocks
from bot.playground.workspace.changes import Change, Changes
from bot.playground.workspace.elements import plain
from bot.playground.workspace.inputs import named
from bot.playground.workspace.limits import VIEW_BYTES, VIEW_STACK
from bot.playground.workspace.nouns import APP_ID, BOT_ID, TEAM_ID
from bot.playground.workspace.shapes import Json, anything, boolean, choice, shape, string
from bot.playground.workspace.wire import Refusal

_STACKS = 200  # people with an open modal; whose is longest open loses it
_FRAME = {
    "callback_id": string(255, 0),
    "private_metadata": string(3_000, 0),
    "external_id": string(255, 0),
}
_MODAL = shape(
    {"type": choice("modal"), "title": plain(24), "blocks": anything},
    {
        **_FRAME,
        "submit": plain(24),
        "close": plain(24),
        "clear_on_close": boolean,
        "notify_on_close": boolean,
        "submit_disabled": boolean,
    },
)
_HOME = shape({"type": choice("home"), "blocks": anything}, _FRAME)


@dataclass(slots=True, kw_only=True)
class View:
    """One open view; *body* is what the app sent, *values* what the person has entered so far."""

    id: str
    root_id: str
    user: str
    body: Json
    previous_id: str | None = None
    hash: str = ""
    values: Json = field(default_factory=dict)
    suggested: dict[tuple[str, str], dict[str, Json]] = field(default_factory=dict)  # by block, action and value

    def fillable(self) -> list[Json]:
        """The blocks, where what the app suggested for an external select stands as its options."""
        return [self._offered(block) if block["type"] == "input" else block for block in self.body["blocks"]]

    def _offered(self, block: Json) -> Json:
        element = block["element"]
        if not element["type"].endswith("external_select"):
            return block
        first = [element["initial_option"]] if "initial_option" in element else element.get("initial_options", [])
        offered = self.suggested.get((block["block_id"], element["action_id"]), {})
        return {**block, "element": {**element, "options": [*first, *offered.values()]}}

    def as_slack(self) -> Json:
        """A view object."""
        return {
            "callback_id": "",
            "private_metadata": "",
            "external_id": "",
            "clear_on_close": False,
            "notify_on_close": False,
            "submit": None,
            "close": None,
            **self.body,
            "id": self.id,
            "team_id": TEAM_ID,
            "app_id": APP_ID,
            "app_installed_team_id": TEAM_ID,
            "bot_id": BOT_ID,
            "hash": self.hash,
            "root_view_id": self.root_id,
            "previous_view_id": self.previous_id,
            "state": {"values": self.values},
        }


def check_view(view: Any, kind: str) -> Json:
    """*view* with a block_id on every block. Raises Refusal with Slack's error."""
    if not isinstance(view, dict):
        raise Refusal("invalid_arguments", messages=["[ERROR] missing required field: view"])
    found: list[str] = []
    (_MODAL if kind == "modal" else _HOME)(view, "/view", found)
    if not found:
        found = check_blocks(view["blocks"], "modal" if kind == "modal" else "home", "/view/blocks")
    has_input = not found and any(block["type"] == "input" for block in view["blocks"])
    if has_input and kind == "modal" and "submit" not in view:
        found.append("[ERROR] missing required field: submit (the blocks hold an input) [json-pointer:/view]")
    if found:
        raise Refusal("invalid_arguments", messages=found)
    if len(json.dumps(view)) > VIEW_BYTES:
        raise Refusal("view_too_large")
    return {**view, "blocks": named(view["blocks"])}


class Modals:
    """Who has which modal open."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._stacks: OrderedDict[str, list[View]] = OrderedDict()

    def stack(self, user: str) -> list[View]:
        """The views that *user* has open, the top one last."""
        return list(self._stacks.get(user, []))

    def find(self, *, view_id: str | None = None, external_id: str | None = None) -> View:
        """An open view. Raises Refusal(not_found)."""
        for stack in self._stacks.values():
            for view in stack:
                if view.id == view_id or (external_id and view.body.get("external_id") == external_id):
                    return view
        raise Refusal("not_found")

    def open(self, user: str, body: Json) -> View:
        """Show a new modal, in place of any that was open."""
        self._check_external_id(body)
        view = self._view(user, body)
        self._stacks[user] = [view]
        self._stacks.move_to_end(user)
        while len(self._stacks) > _STACKS:
            self._stacks.popitem(last=False)
        self._announce(user)
        return view

    def push(self, user: str, body: Json) -> View:
        """Lay a view on top. Raises Refusal when nothing is open or three views are."""
        self._check_external_id(body)
        if not (stack := self._stacks.get(user)):
            raise Refusal("not_found")
        if len(stack) >= VIEW_STACK:
            raise Refusal("push_limit_reached")
        view = self._view(user, body, below=stack[-1])
        stack.append(view)
        self._announce(user)
        return view

    def update(self, view: View, body: Json, *, given_hash: str | None = None) -> View:
        """Replace a view's content; what the person entered stays where the block and action ids do."""
        if given_hash and given_hash != view.hash:
            raise Refusal("hash_conflict")
        if body.get("external_id") != view.body.get("external_id"):
            self._check_external_id(body)
        view.body, view.hash = body, secrets.token_hex(8)
        self._announce(view.user)
        return view

    def close(self, view: View) -> None:
        """Take a view away, and what lies on it."""
        stack = self._stacks.get(view.user, [])
        if view in stack:
            del stack[stack.index(view) :]
        if not stack:
            self._stacks.pop(view.user, None)
        self._announce(view.user)

    def clear(self, user: str) -> None:
        """Take all of a person's views away."""
        self._stacks.pop(user, None)
        self._announce(user)

    def _view(self, user: str, body: Json, below: View | None = None) -> View:
        view_id = "V" + secrets.token_hex(5).upper()
        return View(
            id=view_id,
            root_id=below.root_id if below else view_id,
            previous_id=below.id if below else None,
            user=user,
            body=body,
            hash=secrets.token_hex(8),
        )

    def _check_external_id(self, body: Json) -> None:
        if (external_id := body.get("external_id")) and any(
            view.body.get("external_id") == external_id for stack in self._stacks.values() for view in stack
        ):
            raise Refusal("duplicate_external_id")

    def _announce(self, user: str) -> None:
        stack = [view.as_slack() for view in self.stack(user)]
        self._changes.announce(Change(kind="views", body={"views": stack}, user=user))

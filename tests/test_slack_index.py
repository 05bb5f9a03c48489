"""The evidence index and the announcement as Slack takes them: complete while there is room, within the limits beyond it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest
from jsonschema import Draft7Validator

from bot.model import (
    Finding,
    Finished,
    Impact,
    Level,
    Outcome,
    Person,
    Place,
    Room,
    Service,
    State,
    StepFinished,
    StepResult,
)
from bot.playground.workspace.blocks import check_blocks
from bot.reporters.slack_announcement import Announcement, Choice, announce
from bot.reporters.slack_index import index
from bot.reporters.slack_message import Message
from bot.story import Story, story
from tests.fakes import ANA, AT, a_capture, a_recipe, accepted, an_artifact

pytestmark = pytest.mark.thorough

SCHEMAS = Path(os.environ.get("CAPTUREBOT_SCHEMAS", Path(__file__).parents[2] / "shared/reference/schemas"))
EDIT_CHARS = 4_000  # Slack refuses an edit over that
BLOCK_CHARS = 13_000  # and messages with blocks of about that
RTL = "\u200f\u062e\u0627\u062f\u0645 \u0627\u0644\u0637\u0644\u0628\u0627\u062a\u200f 🔥 *<!channel>* "


def told(n: int, *, text: str = "java (pid 812) uses 390 % CPU", files: int = 2) -> Story:
    """A capture that ended, *n* minutes in."""
    at = AT + timedelta(minutes=n)
    capture = a_capture(f"c{n}", at=at)
    kept = [replace(an_artifact(f"evidence/{n}/ps-{m}.txt"), url=f"https://files/{n}/{m}") for m in range(files)]
    result = StepResult(
        target="app-1",
        step="ps",
        outcome=Outcome.OK,
        started_at=at,
        seconds=0.1,
        artifact=kept[0],
        files=tuple(kept[1:]),
        findings=(Finding(level=Level.BAD, text=text),),
    )
    end = Finished(
        capture_id=capture.id, state=State.COMPLETE, at=at, manifest=an_artifact(f"evidence/{n}/manifest.json")
    )
    found = story([accepted(capture), StepFinished(capture_id=capture.id, result=result, at=at), end])
    assert found
    return found


def shown(message: Message) -> str:
    """All text in the blocks."""
    return "".join(
        leaf.get("text") or leaf["fallback"]
        for block in message.blocks
        if block["type"] == "rich_text"
        for section in block["elements"]
        for leaf in section["elements"]
    )


@cache
def slacks_types() -> Draft7Validator:
    """The schema that is generated from Slack's own types, where it is at hand; no checkout brings it along."""
    path = SCHEMAS / "slack-types-3.2.0.blockkit.schema.json"
    return Draft7Validator(
        {**json.loads(path.read_text()), "$ref": "#/definitions/KnownBlock"} if path.exists() else {}
    )


def holds(message: Message) -> None:
    """Slack takes it, as a post and as an edit."""
    assert check_blocks(list(message.blocks), "message") == []
    assert [error.message for block in message.blocks for error in slacks_types().iter_errors(block)] == []
    assert len(message.text) <= EDIT_CHARS
    assert len(json.dumps(list(message.blocks), ensure_ascii=False)) <= 4 * BLOCK_CHARS
    assert len(shown(message)) <= BLOCK_CHARS


def test_the_index_has_every_capture_with_its_files() -> None:
    """Time, target, first line; each file with its size, its link and the beginning of its checksum. Newest first."""
    message = index([told(0), told(5, text="nginx (pid 7) leaks sockets")])

    said = shown(message)
    assert said.index("nginx (pid 7)") < said.index("java (pid 812)")
    assert "22 Nov 03:00 UTC · 🔴 host on app-1 · c0 — java (pid 812) uses 390 % CPU" in said
    assert "ps-0.txt (12 kB, aaaaaaaa) · ps-1.txt" in said
    assert "2 captures, 4 files" in said
    assert "https://files/0/0" in json.dumps(list(message.blocks))
    assert "/capture report" in message.text or "/capture report" in said
    holds(message)


def test_what_has_no_room_shrinks_and_is_counted() -> None:
    """The oldest first; nothing is left out silently."""
    message = index([told(n, files=30) for n in range(80)])

    said = shown(message)
    assert "80 captures, 2400 files" in said
    assert "and 18 more files" in said
    assert "earlier captures" in said
    holds(message)


@pytest.mark.parametrize("count", [1, 7, 50, 500])
def test_the_largest_index_is_one_that_slack_takes(count: int) -> None:
    """Long findings, right-to-left text, emoji, markup."""
    holds(index([told(n, text=RTL * 40, files=3) for n in range(count)]))


def announcement(service: Service | None, choices: Sequence[Choice] = (), **more: object) -> Announcement:
    """Of a room with an incident."""
    room = Room(
        place=Place(channel="C1", channel_name="inc-1042"),
        at=AT,
        incident="PABC123",
        title=RTL * 20,
        url="https://pd/1",
    )
    given: dict[str, object] = {"room": room, "service": service, "services": [f"service-{n}" for n in range(500)]}
    return Announcement(**{**given, "choices": choices, **more})  # type: ignore[arg-type]  # fields by name


@pytest.mark.parametrize("count", [0, 1, 10, 11, 100])
def test_the_largest_announcement_is_one_that_slack_takes(count: int) -> None:
    """Many recipes become a menu; 60 targets, long names."""
    service = Service(
        name="s" * 31, about=RTL * 6, targets=tuple(f"t{n}-{'x' * 50}" for n in range(60)), first=("host",) * 30
    )
    choices = [
        Choice(
            recipe=replace(a_recipe(f"recipe-{n}"), title=RTL * 7, impact=Impact.HEAVY),
            targets=service.targets,
            started=a_capture(f"c{n}") if n % 3 == 2 else None,
            by=Person(id="U", name=RTL * 3),
        )
        for n in range(count)
    ]

    holds(announce(announcement(service, choices, held={str(n): RTL * 10 for n in range(30)})))
    holds(announce(announcement(service, choices, is_open=False)))


def test_a_menu_of_hundreds_of_services_is_cut_where_slack_cuts() -> None:
    """The rest can be typed."""
    message = announce(announcement(None))

    holds(message)
    assert len(message.blocks[-1]["elements"][0]["options"]) == 100
    assert "/capture SERVICE" in message.text


def test_buttons_carry_ids_only() -> None:
    """Nothing that could be run comes back from Slack."""
    service = Service(name="orders", targets=("app-1",), offer=("host",))
    message = announce(announcement(service, [Choice(recipe=a_recipe("host"), targets=("app-1",))]))

    button = message.blocks[-1]["accessory"]
    assert button["value"] == "host"
    assert button["accessibility_label"] == "Run host app-1"
    assert ANA.name not in json.dumps(button)

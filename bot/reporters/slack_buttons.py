"""The buttons under a capture's messages. Pure.

A button carries ids only: a capture's, or the place of a suggestion in it. What stands there is read from the journal
when it is pressed, so that nothing that could be run ever comes back from Slack.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bot.reporters.suggestions import Pick, again_key, leading, picks
from bot.story import Story

STOP, AGAIN, NEXT = "stop", "again", "next"  # action ids; Slack wants each once in a block, so NEXT is numbered
FILES, SEND = "files", "send"  # FILES is numbered under a page of them

ROOT_AT_MOST = 5  # suggestions under the message in the channel
THREAD_AT_MOST = 10  # in the thread, as buttons; more become a menu
MENU_AT_MOST = 100  # Slack's limit
LABEL_CHARS = 75  # Slack's limit, for a button's text, an option's and what a screen reader says

Block = dict[str, Any]


def under_root(story: Story, *, pagerduty: bool) -> list[Block]:
    """Stop while it runs and nobody asked for that; what to run next; at the end a row of its own for what is left to do.

    With *pagerduty* there is a note that it can be sent to.
    """
    suggested = actions([_next(story, n, pick) for n, pick in enumerate(leading(story, ROOT_AT_MOST))])
    if story.state.ended:
        return [*suggested, *actions(_at_end(story, pagerduty=pagerduty))]
    stop = [] if story.stop_asked_by else [button(STOP, "Stop", story.capture.id, style="danger")]
    return [*actions(stop), *suggested]


def _at_end(story: Story, *, pagerduty: bool) -> list[dict[str, Any]]:
    capture_id = story.capture.id
    again = again_key(capture_id) not in {event.key for event in story.followed}
    return [
        *([button(AGAIN, "Run again", capture_id)] if again else []),
        *([button(FILES, "Get files", capture_id)] if story.files else []),
        *([button(SEND, "Send to PagerDuty", capture_id)] if pagerduty else []),
    ]


def in_thread(story: Story) -> list[Block]:
    """All suggestions, where the message in the channel has room for some of them only."""
    found = picks(story)
    if len(found) == len(leading(story, ROOT_AT_MOST)):
        return []
    if len(found) <= THREAD_AT_MOST:
        return actions([_next(story, n, pick) for n, pick in enumerate(found)])
    options = [(_label(story, pick), pick.value) for pick in found[:MENU_AT_MOST]]
    return actions([menu(NEXT, f"Choose one of {len(found)}", options)])


def actions(elements: Sequence[dict[str, Any]]) -> list[Block]:
    """A block of *elements*; none where there are none."""
    return [{"type": "actions", "elements": list(elements)}] if elements else []


def button(action_id: str, label: str, value: str, **more: Any) -> dict[str, Any]:
    """A button; *more* are fields as Slack has them."""
    return {"type": "button", "action_id": action_id, "text": plain(label), "value": value, **more}


def menu(action_id: str, label: str, options: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """A menu of labels with their values."""
    shown = [{"text": plain(text), "value": value} for text, value in options]
    return {"type": "static_select", "action_id": action_id, "placeholder": plain(label), "options": shown}


def plain(text: str, most: int = LABEL_CHARS) -> dict[str, Any]:
    """Text without markup or emoji names, as far as there is room."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split()) or "?"
    return {"type": "plain_text", "text": text if len(text) <= most else text[: most - 1] + "…", "emoji": False}


def _next(story: Story, n: int, pick: Pick) -> dict[str, Any]:
    spoken = plain(f"Run {pick.command}")["text"]
    return button(f"{NEXT}-{n}", _label(story, pick), pick.value, accessibility_label=spoken)


def _label(story: Story, pick: Pick) -> str:
    label = pick.suggestion.label or pick.recipe
    return f"{pick.target}: {label}" if len(story.capture.targets) > 1 else label

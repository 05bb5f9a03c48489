"""An offer as its asker alone sees it: the measured cost with two buttons, or processes to choose from. Pure."""

from __future__ import annotations

from bot.desk.offers import HOLDS_S, command
from bot.model import Offered
from bot.reporters.slack_buttons import THREAD_AT_MOST, Block, actions, button, menu, plain
from bot.reporters.slack_message import TEXT_CHARS, escape
from bot.slack.answers import Answer

AGREE, DECLINE, CHOOSE = "agree", "decline", "choose"  # action ids; CHOOSE is numbered, as ids differ in a block
CONFIRM_CHARS = 300  # Slack's limit


def offer(offered: Offered) -> Answer:
    """What it would cost, for the asker to agree to, or what to choose from first."""
    return _choice(offered) if offered.choices else _agreement(offered)


def _agreement(offered: Offered) -> Answer:
    asked = offered.trigger
    what = f"{asked.recipe} on {', '.join(asked.targets)}"
    said = f"⚖️ {what}: {offered.cost}."
    held = f"Measured now, and offered for {HOLDS_S / 60:.0f} minutes. {offered.left}".rstrip()
    go = "Ask for approval" if offered.approval else "Capture now"
    if offered.approval:
        held += " Somebody else must approve of it too."
    sure = {
        "title": plain(f"Capture {what}?", 100),
        "text": plain(f"It {offered.cost}." if len(asked.targets) == 1 else f"{offered.cost}.", CONFIRM_CHARS),
        "confirm": plain(go),
        "deny": plain("Cancel"),
        "style": "danger",
    }
    buttons = [
        button(AGREE, go, offered.offer_id, style="danger", confirm=sure),
        button(DECLINE, "Cancel", offered.offer_id),
    ]
    return _answer(f"{said} {held}", actions(buttons))


def _choice(offered: Offered) -> Answer:
    asked, choices = offered.trigger, offered.choices
    more = f" The {len(choices)} busiest:" if offered.choices_in_all > len(choices) else ""
    said = f"{offered.choices_in_all} processes match {command(asked)}. Which one?{more}"
    labelled = [(one.label, f"{offered.offer_id} {n}") for n, one in enumerate(choices)]
    if len(choices) > THREAD_AT_MOST:
        return _answer(said, actions([menu(CHOOSE, "Choose a process", labelled)]))
    return _answer(said, actions([button(f"{CHOOSE}-{n}", *one) for n, one in enumerate(labelled)]))


def _answer(said: str, blocks: list[Block]) -> Answer:
    said = said if len(said) <= TEXT_CHARS else said[: TEXT_CHARS - 1] + "…"
    line: Block = {
        "type": "rich_text",
        "elements": [{"type": "rich_text_section", "elements": [{"type": "text", "text": said}]}],
    }
    return Answer(text=escape(said), blocks=(line, *blocks))

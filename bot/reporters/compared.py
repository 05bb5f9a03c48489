"""Comparisons in words: the same lines in the thread, in the note and in the terminal. Pure."""

from __future__ import annotations

from bot.model import Compared
from bot.story import Story

IN_ROOT = 2  # the newest, each in one line
IN_THREAD = 10  # the first, each in a reply of its own


def first_line(compared: Compared) -> str:
    """What differs most, and from what."""
    return f"🔎 {compared.said}"


def differences(story: Story, compared: Compared) -> list[str]:
    """A line for each difference, then what could not be compared."""
    several = len(story.capture.targets) > 1 and compared.others  # else its target stands in the sentence
    lines = [
        f"{one.finding.level.icon} {f'{one.target}: ' if several else ''}{one.finding.text}"
        for one in compared.differences
        if one.finding.text != compared.said
    ]
    return [*lines, *(f"➖ Not compared: {gap}" for gap in compared.gaps)]


def in_root(story: Story) -> list[str]:
    """The lines under the headline."""
    good = story.good
    marked = [f"👍 Marked good by {good.who.name}"] if good and not good.by_schedule else []
    return [*marked, *(first_line(compared) for compared in story.compared[-IN_ROOT:])]


def in_full(story: Story) -> list[list[str]]:
    """All lines of each comparison."""
    return [[first_line(one), *differences(story, one)] for one in story.compared[:IN_THREAD]]

"""The first line that a scene expects: the sentence itself, with blanks for what nobody can know before."""

from __future__ import annotations

import re
from collections.abc import Iterator

_BLANK = re.compile(r"<(?:(?P<low>[\d.]+)\.\.(?P<high>[\d.]+)|any)>")
_NUMBER = r"(\d[\d,]*(?:\.\d+)?)"


def fault(line: str, expected: str) -> str:
    """Say what is wrong with *line*, "" when it is as *expected*.

    In *expected*, ``<60..100>`` stands for a number in that range and ``<any>`` for any text, none included.
    """
    match = re.fullmatch(_pattern(expected), line, re.DOTALL)
    if match is None:
        return f"expected: {expected}"
    for text, (low, high) in zip(match.groups(), _ranges(expected), strict=True):
        if not low <= float(text.replace(",", "")) <= high:
            return f"{text} is not within {low:g}..{high:g}; expected: {expected}"
    return ""


def _pattern(expected: str) -> str:
    parts, end = [], 0
    for blank in _BLANK.finditer(expected):
        parts += [re.escape(expected[end : blank.start()]), _NUMBER if blank["low"] else ".*?"]
        end = blank.end()
    return "".join([*parts, re.escape(expected[end:])])


def _ranges(expected: str) -> Iterator[tuple[float, float]]:
    return ((float(blank["low"]), float(blank["high"])) for blank in _BLANK.finditer(expected) if blank["low"])

"""A parameter's pattern as bash matches it: an extended regular expression in the C locale."""

from __future__ import annotations

import re

from bot.model import Parameter, ParameterType

INTEGER_DIGITS = 18
_CLASSES = {"w": "[:alnum:]_", "d": "0-9", "s": "[:space:]"}
_PARTS = re.compile(
    r"(?P<escaped>\\.)|(?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])|(?P<group>\(\?:)|(?P<unknown>\(\?|[*+?}]\?|[*+?}]\+)|(?P<plain>.)",
    re.DOTALL,
)
_MEMBERS = re.compile(r"(?P<range>[^\\\]\[^]-[^\\\]\[^])|(?P<escaped>\\.)|(?P<plain>.)", re.DOTALL)


def rule_of(parameter: Parameter) -> str:
    """What the whole of a value must match. Raises ValueError for a pattern that has no such form."""
    if parameter.type is ParameterType.INTEGER:
        return f"-?[0-9]{{1,{INTEGER_DIGITS}}}"
    if parameter.choices:
        return "|".join(map(literal, parameter.choices))
    return extended(parameter.pattern or "")


def literal(text: str) -> str:
    """An expression that matches *text* alone."""
    return "".join(char if char.isalnum() or char in "_-/ " else _set(char, negated=False) for char in text)


def extended(pattern: str) -> str:
    """*pattern* without what Python alone knows. What it matches, Python's matches too. Raises ValueError."""
    return "".join(map(_translated, _PARTS.finditer(pattern)))


def _translated(part: re.Match[str]) -> str:
    text = part[0]
    match part.lastgroup:
        case "escaped" if text[1] in _CLASSES:
            return f"[{_CLASSES[text[1]]}]"
        case "escaped" if not text[1].isalnum():
            return literal(text[1])
        case "set":
            negated = text.startswith("[^")
            return _set(text[2 if negated else 1 : -1], negated=negated)
        case "group":
            return "("
        case "plain":
            return text
        case _:
            raise ValueError(f"`{text}` in a pattern has no form that bash could match")


def _set(members: str, *, negated: bool) -> str:
    """A bracket expression: in one of those a backslash means itself, and three characters want their own places."""
    ranges, single = [], []
    for member in _MEMBERS.finditer(members):
        match member.lastgroup:
            case "range":
                ranges.append(member[0])
            case "escaped" if member[0][1] in _CLASSES:
                ranges.append(_CLASSES[member[0][1]])
            case "escaped" if member[0][1].isalnum():
                raise ValueError(f"`{member[0]}` in a pattern has no form that bash could match")
            case _:
                single.append(member[0][-1])
    if single == ["^"] and not ranges and not negated:
        return r"\^"
    first = "]" if "]" in single else ""
    last = "".join(char for char in ("^", "[", "-") if char in single)
    middle = "".join(dict.fromkeys(char for char in single if char not in "]^[-"))
    return f"[{'^' if negated else ''}{first}{''.join(ranges)}{middle}{last}]"

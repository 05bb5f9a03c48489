"""Messages that differ only in numbers, ids and names are one: grouped by their shape, and told by what they share."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bot.insights import words
from bot.insights.logslines import Grade, Record

SHAPE_CHARS = 200  # of a message that tell it from others
MOST_SHAPES = 1000  # that are looked at for words that vary; a log of poetry has more
VARIANTS = 8  # of a word at one place, and it is a name rather than what was said
COMPARED = 30  # messages of a group, to find what they share

_ID = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F-]{12,27}"
_HEX = r"0x[0-9a-fA-F]+|(?=[a-f]*\d)[0-9a-f]{6,}(?!\w)|(?=[A-F]*\d)[0-9A-F]{6,}(?!\w)"
_MASKED = re.compile(rf"\"[^\"]*(?:\"|$)|(?<!\w)'[^']*'|(?<![\w-])(?:{_ID})|(?<!\w)(?:{_HEX})|\d+", re.ASCII)
_FOLDERS = re.compile(r"(?<![\w.:/])/[\w.+@%=~#-]+(?:/[\w.+@%=~#-]*)+")
_WORD_AT_END = re.compile(r"\w+$")
_SEGMENT = re.compile(r"/(?=[^/\s]*[\d%])[^/\s]+")  # of a request's path: an id, as a rule


def shape_of(record: Record) -> str:
    """A message without what tells one occurrence from another."""
    if record.is_access:
        method, path, *answered = record.text.split(" ")
        return " ".join((method, _SEGMENT.sub("/#", path), *answered))
    return _FOLDERS.sub("/#", _MASKED.sub("#", record.text))[:SHAPE_CHARS]


@dataclass(slots=True)
class Group:
    """Records of one shape, in order of time."""

    grade: Grade
    records: list[Record] = field(default_factory=list)

    @property
    def spoken(self) -> str:
        """What its messages share, the rest as "…"."""
        step = max(len(self.records) // COMPARED, 1)
        return spoken([record.text for record in self.records[::step]])


def groups_of(records: Iterable[Record]) -> list[Group]:
    """Records by shape, after words that vary much at one place are taken for names."""
    by_shape: dict[tuple[Grade, str], list[Record]] = defaultdict(list)
    known: dict[tuple[str, bool], str] = {}
    for record in records:
        key = (record.text, record.is_access)
        if key not in known:
            known[key] = shape_of(record)
        by_shape[record.grade, known[key]].append(record)
    merged: dict[tuple[Grade, str], list[Record]] = defaultdict(list)
    names = _names(list(by_shape)[:MOST_SHAPES])
    for (grade, shape), found in by_shape.items():
        merged[grade, names.get((grade, shape), shape)].extend(found)
    return [Group(grade, sorted(found, key=lambda each: each.at)) for (grade, _), found in merged.items()]


def _names(shapes: Sequence[tuple[Grade, str]]) -> dict[tuple[Grade, str], str]:
    """The common shape of those that differ in one word only, where there are many of them."""
    families: dict[tuple[object, ...], list[tuple[Grade, str]]] = defaultdict(list)
    for grade, shape in shapes:
        tokens = shape.split()
        for place in range(min(len(tokens), 24)):
            family = (grade, place, *tokens[:place], "", *tokens[place + 1 :])
            families[family].append((grade, shape))
    common: dict[tuple[Grade, str], str] = {}
    for family, members in sorted(families.items(), key=lambda item: -len(item[1])):
        if len(members) < VARIANTS or len(family) < 4:  # of one or two words, the one that varies is the message
            continue
        for member in members:
            common.setdefault(member, " ".join(str(token) or "*" for token in family[2:]))
    return common


def spoken(texts: Sequence[str]) -> str:
    """Messages of one shape as one, with "…" for what differs; the first one where they have nothing in common."""
    first, *others = [text.split() for text in texts] or [[]]
    least = min(map(len, (first, *others)))
    shared = [_common([first[at], *(other[at] for other in others)]) for at in range(least)]
    if any(len(other) != len(first) for other in others):
        shared.append("…")
    kept = [word for at, word in enumerate(shared) if word != "…" or at == 0 or shared[at - 1] != "…"]
    text = " ".join(kept if any(word != "…" for word in kept) else first)
    return words.clean(text, SHAPE_CHARS) or "an empty message"


def _common(variants: Sequence[str]) -> str:
    """What words at one place have in common: "/orders/…/pay" of two paths. Names and numbers are not torn apart."""
    first = variants[0]
    if all(each == first for each in variants):
        return first
    head = _WORD_AT_END.sub("", _beginning(variants))
    tail = _WORD_AT_END.sub("", _beginning([each[len(head) :][::-1] for each in variants]))[::-1]
    return f"{head}…{tail}"


def _beginning(variants: Sequence[str]) -> str:
    low, high = min(variants), max(variants)  # what these two share all others share
    return next((low[:at] for at, letter in enumerate(low) if high[at] != letter), low)

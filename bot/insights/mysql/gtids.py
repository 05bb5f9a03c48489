"""Sets of GTIDs, as MySQL writes them."""

from __future__ import annotations

import re
from itertools import pairwise

_GTIDS = re.compile(r"([0-9a-fA-F-]{36}):([\d:-]+)")
_INTERVAL_CHARS = 40  # two numbers of 64 bits and what joins them


def missing(gtids: str, source: str) -> list[tuple[int, int]]:
    """The gaps between the intervals of one server in a set of GTIDs ("uuid:1-5:7-9, …")."""
    spans = []
    for uuid, intervals in _GTIDS.findall(gtids):
        if uuid.lower() == source:
            for interval in intervals.split(":"):
                low, _, high = interval.partition("-")
                if low.isdecimal() and (high or low).isdecimal() and len(interval) <= _INTERVAL_CHARS:
                    spans.append((int(low), int(high or low)))
    spans.sort()
    return [(a[1] + 1, b[0] - 1) for a, b in pairwise(spans) if b[0] > a[1] + 1]

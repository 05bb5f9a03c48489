"""Who reads the binary log of a server."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bot.insights import Reading, sections, words
from bot.insights.mysql.sessions import PHONE_CHARS, Row, tables_of, who
from bot.model import Finding, Level

NAMED = 3  # replicas

_SENT = re.compile(r"has sent all binlog", re.IGNORECASE)


def primary(reading: Reading) -> Iterator[Finding]:
    """Who reads the binary log of this server, and whether everything was sent to them."""
    tables = tables_of(sections(reading.text))
    readers = tables["readers"]
    if not readers:
        return
    named = [f"{who(row)}, {_up_to_date(row)}" for row in readers[:NAMED]]
    more = f" and {len(readers) - NAMED} more" if len(readers) > NAMED else ""
    read = "1 replica reads" if len(readers) == 1 else f"{len(readers)} replicas read"
    text = words.clean(f"{read} from this server: {'; '.join(named)}{more}", PHONE_CHARS)
    yield Finding(
        level=Level.INFO, text=text, weight=0.3, evidence=words.evidence(*(" ".join(row.values()) for row in readers))
    )


def _up_to_date(row: Row) -> str:
    state = row.get("state", "")
    return "sent everything" if _SENT.search(state) else words.clean(state[:1].lower() + state[1:]) or "state unknown"

"""The stand-in's incidents and notes as a person reads them: escaped, calm, one column."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_LINK = re.compile(r"https?://[^\s<>\"']+")
_STYLE = """
.pd{font:15px/1.5 system-ui,sans-serif;color:#1d1c1d;max-width:46rem;margin:0 auto;padding:1rem;overflow-wrap:anywhere}
.pd h2{font-size:1.1rem;margin:1.5rem 0 .25rem}.pd small{color:#616061}.pd a{color:#1264a3}
.pd pre{font:13px/1.5 ui-monospace,monospace;white-space:pre-wrap;margin:.5rem 0;padding:.75rem 1rem;
border-left:3px solid #06ac38;background:#f8f8f8;border-radius:4px}
"""


def fragment(incidents: Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]]) -> str:
    """Each incident with its notes, both as the API gives them, to be put into any page."""
    sections = "".join(_incident(incident, notes) for incident, notes in incidents)
    return f'<div class="pd"><style>{_STYLE}</style>{sections or "<p>No such incident.</p>"}</div>'


def page(inner: str) -> str:
    """A whole page around a fragment."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>PagerDuty stand-in</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1"></head>'
        f'<body style="margin:0">{inner}</body></html>'
    )


def _incident(incident: Mapping[str, Any], notes: Sequence[Mapping[str, Any]]) -> str:
    about = f"{incident['id']} · {incident['service']['summary']} · {incident['status']}"
    return (
        f'<section id="{escape(incident["id"])}"><h2>{escape(incident["summary"])}</h2><small>{escape(about)}</small>'
        f"{''.join(map(_note, notes)) or '<p>No notes yet.</p>'}</section>"
    )


def _note(note: Mapping[str, Any]) -> str:
    edited = "" if note["created_at"] == note["updated_at"] else f", edited {note['updated_at']}"
    about = f"{note['user']['summary']}, {note['created_at']}{edited}"
    return f"<pre>{_linked(note['content'])}</pre><small>{escape(about)}</small>"


def _linked(text: str) -> str:
    """*text* escaped, its web addresses as links."""
    shown, at = [], 0
    for link in _LINK.finditer(text):
        address = escape(link[0])
        shown += [escape(text[at : link.start()]), f'<a href="{address}" rel="noreferrer">{address}</a>']
        at = link.end()
    return "".join([*shown, escape(text[at:])])

"""The page that lists the scenes: what can be broken for real and captured, and how to play each.

The scenes themselves belong to the tests; what is known of them here is `docs/scenes.json`.
"""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

# The installed wheel has no scenes beside it; the tree, which `make run` runs from, has.
LISTED = Path(__file__).parent.parent.parent / "docs" / "scenes.json"
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:1rem auto;max-width:46rem;padding:0 1rem;overflow-wrap:anywhere;color-scheme:light dark}
h2{font-size:1rem;margin:1.25rem 0 .1rem}p{margin:.1rem 0}code{font:14px/1.5 ui-monospace,monospace}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A scene: *broken* says in a sentence what is broken, *recipe* what captures it."""

    name: str
    recipe: str
    broken: str


def known() -> list[Listed]:
    """Every scene that can be played from this tree."""
    if not LISTED.exists():
        return []
    return [Listed(**one) for one in json.loads(LISTED.read_text())]


def pages() -> list[web.AbstractRouteDef]:
    """Routes for the playground's page: `/scenes/`."""
    return [web.get("/scenes/", _list)]


async def _list(_request: web.Request) -> web.Response:
    page = (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Scenes</title><style>{_STYLE}</style><h1>Scenes</h1>"
        "<p>Each breaks a real thing in a private machine, captures it with the bot, and shows the thread. "
        "Play one in a terminal; its page opens at the same address as this one.</p>"
        f"{''.join(map(_row, known()))}</html>"
    )
    return web.Response(text=page, content_type="text/html")


def _row(one: Listed) -> str:
    return (
        f"<h2>{html.escape(one.name)}</h2><p>{html.escape(one.broken)}</p>"
        f"<p><code>make run SCENE={html.escape(one.name)}</code></p>"
    )

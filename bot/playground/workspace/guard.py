"""What keeps other websites out: the browser of whoever has the page open must not be driven by them.

Reading needs a loopback Host (so a rebound name leads nowhere); acting also needs the page's own Origin.
The Web API and the response URLs need a token or an unguessable address instead.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

LOOPBACK = ("127.0.0.1", "localhost", "::1")

_NOT_FOR_BROWSERS = ("/api/", "/response/", "/link/")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@web.middleware
async def guard(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Refuse requests that another site could have caused."""
    host = request.headers.get("Host", "")
    if _hostname(host) not in LOOPBACK:
        raise web.HTTPForbidden(text="This workspace answers only to 127.0.0.1 and localhost.")
    if not request.path.startswith(_NOT_FOR_BROWSERS):
        if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none") and _is_act(request):
            raise web.HTTPForbidden(text="Another site may not act here.")
        if request.method not in ("GET", "HEAD") and request.headers.get("Origin") != f"http://{host}":
            raise web.HTTPForbidden(text="Another site may not act here.")
    return await handler(request)


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Let a page load and run nothing but what this server serves."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)


def _is_act(request: web.Request) -> bool:
    """Anything but following a link to a page."""
    return request.method not in ("GET", "HEAD") or request.path.startswith("/page/")


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None

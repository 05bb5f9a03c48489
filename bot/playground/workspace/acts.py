"""What a person does on the page, as the page sends it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from bot.playground.workspace.people import NotPossible, People
from bot.playground.workspace.shapes import Json
from bot.playground.workspace.socketmode import Answer


class Acts:
    """Serves the POST requests below `/page/`. What is not possible is answered with 400 and a sentence."""

    def __init__(self, people: People) -> None:
        self._people = people

    def routes(self) -> list[web.AbstractRouteDef]:
        """One route an act."""
        return [
            web.post("/page/say", self._act(self._say)),
            web.post("/page/press", self._act(self._press)),
            web.post("/page/pin", self._act(self._pin)),
            web.post("/page/home", self._act(self._open_home)),
            web.post("/page/home/press", self._act(self._press_at_home)),
            web.post("/page/shortcut", self._act(self._shortcut)),
            web.post("/page/view/press", self._act(self._press_in_view)),
            web.post("/page/view/suggest", self._act(self._suggest)),
            web.post("/page/view/submit", self._act(self._submit)),
            web.post("/page/view/close", self._act(self._close)),
        ]

    def _act(self, act: Callable[[_Body], Awaitable[Json]]) -> Callable[[web.Request], Awaitable[web.Response]]:
        """A handler that reads a JSON object and tells a person why something is not possible."""

        async def handle(request: web.Request) -> web.Response:
            try:
                return web.json_response(await act(await _read_body(request)))
            except NotPossible as reason:
                return web.json_response({"error": str(reason)}, status=400)

        return handle

    async def _say(self, body: _Body) -> Json:
        channel, user, text = body.text("channel"), body.text("user"), body.text("text")
        thread_ts = body.maybe("thread_ts")
        if text.startswith("/"):
            return _shown(await self._people.command(channel, user, text, thread_ts=thread_ts))
        self._people.say(channel, user, text, thread_ts=thread_ts)
        return {}

    async def _press(self, body: _Body) -> Json:
        answer = await self._people.press(
            body.text("channel"),
            body.text("ts"),
            body.text("user"),
            action_id=body.text("action_id"),
            block_id=body.text("block_id"),
            value=body.values.get("value"),
            given=body.given(),
        )
        return _shown(answer)

    async def _shortcut(self, body: _Body) -> Json:
        answer = await self._people.shortcut(
            body.text("callback_id"), body.text("user"), channel_id=body.maybe("channel"), ts=body.maybe("ts")
        )
        return _shown(answer)

    async def _pin(self, body: _Body) -> Json:
        self._people.pin(body.text("channel"), body.text("ts"), body.text("user"))
        return {}

    async def _open_home(self, body: _Body) -> Json:
        self._people.open_home(body.text("user"))
        return {}

    async def _press_at_home(self, body: _Body) -> Json:
        return _shown(
            await self._people.press_at_home(
                body.text("user"), action_id=body.text("action_id"), block_id=body.text("block_id")
            )
        )

    async def _press_in_view(self, body: _Body) -> Json:
        answer = await self._people.press_in_view(
            body.text("view_id"),
            body.text("user"),
            action_id=body.text("action_id"),
            block_id=body.text("block_id"),
            value=body.values.get("value"),
            given=body.given(),
        )
        return _shown(answer)

    async def _suggest(self, body: _Body) -> Json:
        options = await self._people.suggest(
            body.text("view_id"),
            body.text("user"),
            action_id=body.text("action_id"),
            block_id=body.text("block_id"),
            typed=body.maybe("typed") or "",
        )
        return {"options": options}

    async def _submit(self, body: _Body) -> Json:
        return _shown(await self._people.submit(body.text("view_id"), body.text("user"), body.given()))

    async def _close(self, body: _Body) -> Json:
        await self._people.close(body.text("view_id"), body.text("user"))
        return {}


@dataclass(frozen=True, slots=True)
class _Body:
    """What the page sent."""

    values: Json

    def text(self, name: str) -> str:
        if (value := self.maybe(name)) is None:
            raise NotPossible(f"{name} is missing.")
        return value

    def maybe(self, name: str) -> str | None:
        value = self.values.get(name)
        if value is not None and not isinstance(value, str):
            raise NotPossible(f"{name} must be a text.")
        return value or None

    def given(self) -> dict[str, dict[str, Any]]:
        """What was entered, by block id and action id."""
        given = self.values.get("values", {})
        if not isinstance(given, dict) or not all(isinstance(block, dict) for block in given.values()):
            raise NotPossible("values must be an object of objects.")
        return given


async def _read_body(request: web.Request) -> _Body:
    if request.content_type != "application/json":
        raise NotPossible("JSON is expected.")
    try:
        values = await request.json()
    except (ValueError, RecursionError) as broken:
        raise NotPossible("This is not JSON.") from broken
    if not isinstance(values, dict):
        raise NotPossible("A JSON object is expected.")
    return _Body(values)


def _shown(answer: Answer) -> Json:
    """What the page needs of an answer: the error, and complaints about inputs."""
    errors = (answer.response or {}).get("errors") if answer.error in ("", "incomplete") else None
    return {"failed": answer.error, "errors": errors or {}}

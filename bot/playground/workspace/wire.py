"""A Web API request as Slack reads it: four wire shapes in, typed arguments out, one form of refusal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from bot.playground.workspace.shapes import Json


class Refusal(Exception):
    """The service says no: *error* is Slack's code, *messages* its sentences, *fields* go into the answer."""

    def __init__(self, error: str, *, messages: Sequence[str] = (), **fields: Any) -> None:
        super().__init__(error)
        self.error = error
        self.messages = tuple(messages)
        self.fields = fields

    def as_slack(self) -> Json:
        """The answer's body."""
        answer: Json = {"ok": False, "error": self.error, **self.fields}
        if self.messages:
            answer["errors"] = [message.removeprefix("[ERROR] ") for message in self.messages]
            answer["response_metadata"] = {"messages": list(self.messages)}
        return answer


class RateLimited(Exception):
    """Too many calls; *retry_after_s* is in whole seconds."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Args:
    """The arguments of one call. Forms and query strings carry structures as JSON text, JSON bodies as they are."""

    values: Json

    def text(self, name: str) -> str:
        """A string that must be there."""
        if (value := self.maybe(name)) is None:
            raise Refusal("invalid_arguments", messages=[f"[ERROR] missing required field: {name}"])
        return value

    def maybe(self, name: str) -> str | None:
        """A string that may be there; an empty one counts as missing."""
        value = self.values.get(name)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise Refusal("invalid_arguments", messages=[f"[ERROR] must be a string [json-pointer:/{name}]"])
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A boolean; forms write it as 1/0 or true/false."""
        value = self.values.get(name)
        if value is None or value == "":
            return default
        if isinstance(value, bool):
            return value
        if str(value).lower() in ("1", "true"):
            return True
        if str(value).lower() in ("0", "false"):
            return False
        raise Refusal("invalid_arguments", messages=[f"[ERROR] must be a boolean [json-pointer:/{name}]"])

    def number(self, name: str, *, default: int, least: int, most: int) -> int:
        """A whole number within bounds, else `invalid_limit`: page sizes are the only numbers in use."""
        value = self.values.get(name)
        if value is None or value == "":
            return default
        if isinstance(value, str) and value.isdecimal() and len(value) < 10:
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise Refusal("invalid_limit")
        return value

    def structure(self, name: str, *, error: str) -> Any:
        """A list or object, given as such or as JSON text; None when it is not there. Refuses with *error*."""
        value = self.values.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError) as broken:
                raise Refusal(error) from broken
        if not isinstance(value, list | dict):
            raise Refusal(error)
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call as it came in."""

    args: Args
    token: str  # "" when there was none
    warnings: tuple[str, ...] = ()


async def read_request(request: web.Request) -> Request:
    """Read a GET's query, or a POST's JSON body, form body or bare query string. Raises Refusal."""
    values: Json = dict(request.query)
    values.pop("token", None)  # Slack takes no tokens from query strings
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        token = ""
    warnings = []
    body = await request.read() if request.method == "POST" else b""
    if body and request.content_type == "application/json":
        if request.charset is None:
            warnings.append("missing_charset")
        values |= _json_object(body)
    elif body and request.content_type == "application/x-www-form-urlencoded":
        try:
            form = dict(parse_qsl(body.decode(), keep_blank_values=True))
        except ValueError as broken:
            raise Refusal("invalid_form_data") from broken
        token = token or form.pop("token", "")
        values |= form
    elif body:
        raise Refusal("invalid_post_type")
    return Request(args=Args(values), token=token.strip(), warnings=tuple(warnings))


def _json_object(body: bytes) -> Json:
    try:
        read = json.loads(body)
    except (ValueError, RecursionError) as broken:
        raise Refusal("invalid_json") from broken
    if not isinstance(read, dict):
        raise Refusal("json_not_object")
    return read

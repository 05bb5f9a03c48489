"""/api/METHOD: the order in which Slack checks a call, the log of calls, and failures on demand."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web

from bot.playground.workspace import chat, directory, history, pins, surfaces
from bot.playground.workspace.methods import Method
from bot.playground.workspace.shapes import Json
from bot.playground.workspace.wire import RateLimited, Refusal, Request, read_request
from bot.playground.workspace.world import World

_METHODS: Mapping[str, Method] = {
    **chat.METHODS,
    **directory.METHODS,
    **history.METHODS,
    **pins.METHODS,
    **surfaces.METHODS,
}
_CALLS = 2_000  # kept in the log
_TOO_MANY = 429


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call as it was answered; *args* without the token."""

    method: str
    at: float  # seconds since 1970, on the workspace's clock
    args: Json
    status: int
    error: str  # "" when the answer was ok
    answer: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """How a call fails: after *hang_s* seconds with *status* (429, 500 …), or with 200 and Slack's *error*.

    *after_work* does what was asked before it fails, as when an answer is lost on the way.
    """

    status: int = 200
    error: str = "internal_error"
    retry_after_s: int | None = None
    hang_s: float = 0.0
    after_work: bool = False


@dataclass(slots=True)
class _Done:
    """An answer in the making."""

    answer: Json = field(default_factory=dict)
    args: Json = field(default_factory=dict)
    status: int = 200
    retry_after_s: int | None = None

    def fail(self, fault: Fault) -> None:
        """Answer as *fault* says."""
        self.status, self.retry_after_s = fault.status, fault.retry_after_s
        self.answer = {"ok": False, "error": "ratelimited" if fault.status == _TOO_MANY else fault.error}


class WebApi:
    """Answers calls."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._faults: dict[str, deque[Fault]] = {}
        self.calls: deque[Call] = deque(maxlen=_CALLS)

    def fail_next(self, method: str, fault: Fault, *, times: int) -> None:
        """Let the next *times* calls of *method* fail."""
        if method not in _METHODS:
            raise ValueError(f"there is no method {method!r}")
        self._faults.setdefault(method, deque()).extend([fault] * times)

    async def serve(self, request: web.Request) -> web.Response:
        """Answer one call."""
        name = request.match_info["method"]
        done = _Done()
        try:
            await self._answer(name, request, done)
        except Refusal as refusal:
            done.answer = refusal.as_slack()
        except RateLimited as limited:
            done.fail(Fault(status=_TOO_MANY, retry_after_s=limited.retry_after_s))
        self._log(name, done)
        headers = {"X-OAuth-Scopes": ",".join(sorted(self._world.app.scopes))}
        if done.retry_after_s is not None:
            headers["Retry-After"] = str(done.retry_after_s)
        return web.json_response(done.answer, status=done.status, headers=headers)

    async def _answer(self, name: str, request: web.Request, done: _Done) -> None:
        """Fill *done*: method, shape, token, fault, scope, rate and work, in this order."""
        if (method := _METHODS.get(name)) is None:
            raise Refusal("unknown_method", req_method=name[:100])
        read = await read_request(request)
        done.args = read.args.values
        self._check_token(method, read.token)
        fault = self._faults[name].popleft() if self._faults.get(name) else None
        if fault is None or fault.after_work:
            done.answer = self._run(name, method, read)
        if fault is not None:
            if fault.hang_s:
                await self._world.clock.sleep(fault.hang_s)
            done.fail(fault)

    def _check_token(self, method: Method, token: str) -> None:
        if not token:
            raise Refusal("not_authed")
        if token in self._world.revoked:
            raise Refusal("token_revoked")
        if token not in (self._world.bot_token, self._world.app_token):
            raise Refusal("invalid_auth")
        if (token == self._world.app_token) != method.app_level:
            raise Refusal("not_allowed_token_type")

    def _run(self, name: str, method: Method, read: Request) -> Json:
        if method.scopes:
            self._world.needs_scope(*method.scopes)
        if method.tier is not None:
            count = self._world.limits.per_minute[method.tier]
            if wait_s := self._world.rates.take(name, count=count, within_s=60.0):
                raise RateLimited(wait_s)
        answer = {"ok": True, **method.run(self._world, read.args)}
        warnings = [*read.warnings, *answer.get("response_metadata", {}).get("warnings", [])]
        if warnings:
            answer["warning"] = ",".join(warnings)
            answer["response_metadata"] = {**answer.get("response_metadata", {}), "warnings": warnings}
        return answer

    def _log(self, name: str, done: _Done) -> None:
        error = "" if done.answer["ok"] else done.answer["error"]
        at = self._world.clock.now()
        self.calls.append(Call(method=name, at=at, args=done.args, status=done.status, error=error, answer=done.answer))
        self._world.changes.wake()

"""A stand-in for Vault, as strict as the real one where the bot could tell: paths, statuses, errors, leases, lives of tokens.

Written after the API's documentation (developer.hashicorp.com/vault/api-docs); OpenBao answers the same.
"""

from __future__ import annotations

import fnmatch
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web
from aiohttp.test_utils import TestServer

ADVICE_S = 2_764_800  # the lease_duration that version 1 of key-value tells, of no lease


class Clock:
    """A time that moves only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Token:
    """A token that was given out; *ends* is None for one that never does."""

    text: str
    ends: float | None
    renewable: bool = True
    ttl_s: int = 0
    last: float = float("inf")  # beyond which no renewal goes
    uses: int | None = None


@dataclass
class Lease:
    """An account that was given out."""

    id: str
    ends: float
    ttl_s: int
    last: float
    token: str


Make = Callable[[], Awaitable[dict[str, str]]]


@dataclass
class VaultStandIn:
    """The server's state, which tests change; *url* is known while it serves."""

    clock: Clock = field(default_factory=Clock)
    namespace: str = ""
    sealed: bool = False
    failing: int = 0  # a status that everything is answered with
    raw: tuple[int, str, str] | None = None  # status, body and location that everything is answered with
    role: tuple[str, str] = ("role-id-1", "secret-id-1")
    jwt: str = "jwt-of-the-pod"
    token_ttl_s: int = 3600
    token_max_s: int = 100_000
    token_renewable: bool = True
    token_uses: int | None = None
    lease_ttl_s: int = 600
    lease_max_s: int = 1800
    readable: list[str] = field(default_factory=lambda: ["*"])  # paths that the bot's policy lets it read
    asks_mounts: bool = True
    mounts: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {
            "secret/": {"type": "kv", "options": {"version": "2"}},
            "old/": {"type": "kv", "options": None},
            "team/kv/": {"type": "kv", "options": {"version": "2"}},
            "database/": {"type": "database", "options": None},
        }
    )
    values: dict[str, dict[str, Any] | None] = field(default_factory=dict)  # by "mount/path"; None: deleted
    make: Make | None = None  # an account of the database engine
    tokens: dict[str, Token] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)  # "METHOD path", in order
    given: int = 0
    url: str = ""

    @classmethod
    @asynccontextmanager
    async def serving(cls, *, tls: ssl.SSLContext | None = None, **state: Any) -> AsyncIterator[Self]:
        """Serve one on a free port of loopback."""
        vault = cls(**state)
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", vault._serve)
        server = TestServer(app, host="127.0.0.1", scheme="https" if tls else "http")
        await server.start_server(ssl=tls)
        vault.url = f"{server.scheme}://127.0.0.1:{server.port}"
        try:
            yield vault
        finally:
            await server.close()

    def grant(self, text: str, *, ttl_s: int = 0, renewable: bool = True) -> str:
        """Give out a token; without *ttl_s* it never ends."""
        now = self.clock()
        self.tokens[text] = Token(
            text,
            now + ttl_s if ttl_s else None,
            renewable and bool(ttl_s),
            ttl_s,
            now + self.token_max_s,
            self.token_uses,
        )
        return text

    async def _serve(self, request: web.Request) -> web.Response:
        path = request.path.removeprefix("/v1/")
        self.asked.append(f"{request.method} {path}")
        if self.raw:
            status, text, location = self.raw
            return web.Response(status=status, text=text, headers={"Location": location} if location else {})
        if self.failing:
            return _errors(self.failing, "internal error")
        if self.sealed:
            return _errors(503, "Vault is sealed")
        if not request.path.startswith("/v1/") or request.headers.get("X-Vault-Namespace", "") != self.namespace:
            return _errors(404)
        body = json.loads(await request.read() or b"{}")
        if path.startswith("auth/") and path.endswith("/login"):
            return self._login(path, body) if request.method in {"POST", "PUT"} else _errors(405)
        token = self.tokens.get(request.headers.get("X-Vault-Token", ""))
        if token is None or (token.ends is not None and self.clock() >= token.ends) or token.uses == 0:
            return _errors(403, "permission denied")
        if token.uses is not None:
            token.uses -= 1
        return await self._answer(request.method, path, body, token)

    async def _answer(self, method: str, path: str, body: dict[str, Any], token: Token) -> web.Response:
        match method, path:
            case "GET", "auth/token/lookup-self":
                ttl = 0 if token.ends is None else int(token.ends - self.clock())
                return web.json_response({"data": {"ttl": ttl, "renewable": token.renewable, "id": token.text}})
            case "POST", "auth/token/renew-self":
                return self._renew_token(token)
            case "POST", "auth/token/revoke-self":
                del self.tokens[token.text]
                self.leases = {key: lease for key, lease in self.leases.items() if lease.token != token.text}
                return web.Response(status=204)
            case "POST" | "PUT", "sys/leases/renew":
                return self._renew_lease(body)
            case "GET", _ if path.startswith("sys/internal/ui/mounts/"):
                return self._mount(path.removeprefix("sys/internal/ui/mounts/"))
            case "GET", _:
                return await self._read(path, token)
        return _errors(405, "unsupported operation")

    def _login(self, path: str, body: dict[str, Any]) -> web.Response:
        match path:
            case "auth/approle/login" if (body.get("role_id"), body.get("secret_id")) == self.role:
                pass
            case "auth/approle/login":
                return _errors(400, "invalid role or secret ID")
            case "auth/kubernetes/login" if body == {"role": "capturebot", "jwt": self.jwt}:
                pass
            case _:
                return _errors(403, "permission denied")
        self.given += 1
        text = self.grant(f"hvs.token-{self.given}", ttl_s=self.token_ttl_s, renewable=self.token_renewable)
        auth = {"client_token": text, "lease_duration": self.token_ttl_s, "renewable": self.token_renewable}
        return web.json_response({"auth": auth, "data": None, "lease_id": ""})

    def _renew_token(self, token: Token) -> web.Response:
        if not token.renewable or token.ends is None:
            return _errors(400, "lease is not renewable")
        token.ends = min(self.clock() + token.ttl_s, token.last)
        auth = {"client_token": token.text, "lease_duration": int(token.ends - self.clock()), "renewable": True}
        return web.json_response({"auth": auth})

    def _renew_lease(self, body: dict[str, Any]) -> web.Response:
        lease = self.leases.get(str(body.get("lease_id")))
        if lease is None or self.clock() >= lease.ends:
            return _errors(400, "lease not found")
        lease.ends = min(self.clock() + lease.ttl_s, lease.last)
        told = {"lease_id": lease.id, "lease_duration": int(lease.ends - self.clock()), "renewable": True}
        return web.json_response(told)

    def _mount(self, path: str) -> web.Response:
        mount = next((name for name in self.mounts if path.startswith(name)), None)
        if mount is None or not self.asks_mounts:
            said = f"preflight capability check returned 403, please ensure client's policies grant access to path {path!r}"
            return _errors(403, said)
        return web.json_response({"data": {"path": mount, **self.mounts[mount]}})

    async def _read(self, path: str, token: Token) -> web.Response:
        if not any(fnmatch.fnmatch(path, pattern) for pattern in self.readable):
            return _errors(403, "1 error occurred:\n\t* permission denied\n\n")
        mount = next((name for name in self.mounts if path.startswith(name)), "")
        kind = self.mounts.get(mount, {})
        inner = path.removeprefix(mount)
        if kind.get("type") == "database":
            return await self._lease(path, token)
        if (kind.get("options") or {}).get("version") == "2":
            if not inner.startswith("data/"):
                return web.json_response(
                    {"errors": [], "warnings": ["Invalid path for a versioned K/V secrets engine."]}, status=404
                )
            path = mount + inner.removeprefix("data/")
            if path not in self.values:
                return _errors(404)
            found = self.values[path]
            data = {"data": found, "metadata": {"version": 1, "deletion_time": "" if found else "2026-11-23T00:00:00Z"}}
            return web.json_response(
                {"data": data, "lease_id": "", "lease_duration": 0, "renewable": False}, status=200 if found else 404
            )
        if path not in self.values:
            return _errors(404)
        return web.json_response(
            {"data": self.values[path], "lease_id": "", "lease_duration": ADVICE_S, "renewable": False}
        )

    async def _lease(self, path: str, token: Token) -> web.Response:
        if self.make is None:
            return _errors(400, "unknown role")
        try:
            data = await self.make()
        except RuntimeError as error:  # of the database's, as the real one answers
            return _errors(500, f"1 error occurred: * {error}")
        number, now = len(self.leases) + 1, self.clock()
        lease = Lease(f"{path}/{number}", now + self.lease_ttl_s, self.lease_ttl_s, now + self.lease_max_s, token.text)
        self.leases[lease.id] = lease
        return web.json_response(
            {"lease_id": lease.id, "lease_duration": self.lease_ttl_s, "renewable": True, "data": data}
        )


def _errors(status: int, *said: str) -> web.Response:
    return web.json_response({"errors": list(said)}, status=status)

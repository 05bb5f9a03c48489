"""HTTP with Vault: every answer is bounded in time and size, and every failure is a value or a sentence.

Nothing is raised while an exception of the client is handled: those hold the request, and with it the token.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from bot.errors import SecretMissing
from bot.model import Vault
from bot.secrets.keeping import Away

REQUEST_S = 3.0
ANSWER_BYTES = 1024 * 1024
SAID_CHARS = 200  # of what Vault says is wrong


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: *body* is {} where it is no mapping."""

    status: int
    body: Mapping[str, Any] = field(repr=False)

    def part(self, name: str) -> Mapping[str, Any]:
        """What lies at *name*; {} where it is no mapping."""
        found = self.body.get(name)
        return found if isinstance(found, dict) else {}

    @property
    def said(self) -> str:
        """Vault's own words about what is wrong, on one line; "" where there are none."""
        errors = self.body.get("errors")
        words = "; ".join(str(error) for error in errors) if isinstance(errors, list) else ""
        return "".join(char if char.isprintable() else " " for char in words)[:SAID_CHARS]


class VaultWire:
    """Requests to the API of one Vault. Nothing is sent before the first, and redirects are not followed."""

    def __init__(self, settings: Vault) -> None:
        self._settings = settings
        self._client: httpx.AsyncClient | None = None

    @property
    def name(self) -> str:
        """The store as sentences name it."""
        namespace = f", namespace {self._settings.namespace}" if self._settings.namespace else ""
        return f"Vault ({self._settings.address}{namespace})"

    async def ask(self, method: str, path: str, *, token: str = "", body: Mapping[str, Any] | None = None) -> Answer:
        """Send a request; raises Away where no answer came, or one that says nothing about what was asked."""
        client = self._client or await self._open()
        headers = {"X-Vault-Request": "true", "Accept-Encoding": "identity"}
        if token:
            headers["X-Vault-Token"] = token
        if self._settings.namespace:
            headers["X-Vault-Namespace"] = self._settings.namespace
        request = client.build_request(method, f"v1/{path}", headers=headers, json=body)
        answer, trouble = None, f"answers more than {ANSWER_BYTES // 1024**2} MiB — is vault.address right?"
        try:
            async with asyncio.timeout(REQUEST_S):
                answer = await _answer(client, request)
        except TimeoutError:
            trouble = f"gave no answer within {REQUEST_S:g} s — is it up, and does a firewall let us through?"
        except httpx.HTTPError as error:
            trouble = _no_connection(error)
        if answer is None:
            raise Away(f"{self.name} {trouble}")
        if why := _no_word(answer):
            raise Away(f"{self.name} {why}", everywhere=answer.status not in {412, 429, 500})
        return answer

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

    async def _open(self) -> httpx.AsyncClient:
        ca = self._settings.ca
        try:  # reads files: beside the loop
            context = await asyncio.to_thread(ssl.create_default_context, cafile=str(ca) if ca else None)
        except OSError as error:
            why = error.strerror or "it holds no certificate"
        else:
            timeout = httpx.Timeout(REQUEST_S)
            self._client = httpx.AsyncClient(
                base_url=self._settings.address, verify=context, timeout=timeout, trust_env=False
            )
            return self._client
        raise SecretMissing(f"The ca of vault, {ca}, cannot be read ({why}): name the authority's PEM file.")


async def _answer(client: httpx.AsyncClient, request: httpx.Request) -> Answer | None:
    """The answer; None where it is larger than ANSWER_BYTES."""
    response = await client.send(request, stream=True)
    data = bytearray()
    try:
        async for chunk in response.aiter_raw():
            data += chunk
            if len(data) > ANSWER_BYTES:
                return None
    finally:
        await response.aclose()
    try:
        body = json.loads(bytes(data) or b"{}")
    except (ValueError, RecursionError):  # the latter of lists in lists in lists
        body = None
    return Answer(response.status_code, body if isinstance(body, dict) else {})


def _no_connection(error: httpx.HTTPError) -> str:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"shows a certificate that is not vouched for ({cause.verify_message}) — set vault.ca to its authority's PEM file"
    if isinstance(error, httpx.TimeoutException):
        return "does not take a connection in time — is it up, and does a firewall let us through?"
    why = cause.strerror if cause and cause.strerror else type(error).__name__
    return f"cannot be reached ({why}) — check vault.address and the network"


def _no_word(answer: Answer) -> str:
    """Why *answer* says nothing about what was asked; "" where it does."""
    match answer.status:
        case 503:
            state = "is sealed" if "sealed" in answer.said.lower() else f"is not available ({answer.said or 503})"
            return f"{state} — unseal it, or wait until it is back"
        case 429:
            return "takes no more requests for now (429) — look at its rate limit quotas"
        case status if status >= 500 or status == 412:
            return f"answers {status} ({answer.said or 'without a reason'}) — look at its own log"
        case status if 300 <= status < 400:
            return f"sends us elsewhere ({status}) — set vault.address to the active node, or to what leads there"
        case status if status not in {200, 204} and not answer.body.keys() & {"errors", "data"}:
            return f"answers {status} as Vault does not — is vault.address right?"
    return ""

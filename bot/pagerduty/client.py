"""A small client of PagerDuty's REST API: incidents and their notes.

Requests go out one after the other, as PagerDuty advises for one token. What may pass by itself
(the request limit, an error on their side, a time-out, the network) is tried again within bounds;
what cannot is said at once, in words that name the cure.
"""

from __future__ import annotations

import asyncio
import functools
import random
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from bot import __version__
from bot.errors import DeliveryFailed, SecretMissing, UserError
from bot.pagerduty.answers import (
    TOKEN_S,
    Incident,
    IncidentAnswer,
    IncidentsAnswer,
    NoteAnswer,
    NotesAnswer,
    Refused,
    UsersAnswer,
    refusal,
)
from bot.reporters.pagerduty import NOTE_BYTES, Note, last_line
from bot.secrets import Renewing
from bot.secrets.rotating import Rotating
from bot.settings import PagerDuty

TRY_S = 15.0  # one request, until the last byte of its answer
TRIES = 4
WAIT_MOST_S = 10.0  # between two tries; a longer wait is the caller's
LATER_S = 30.0  # when to come back after all tries failed
ANSWER_BYTES = 16 * 1024 * 1024  # of one answer; the notes of an incident come in one piece
REFERENCE_CHARS = 500
EMAIL_MATCHES = 100  # users looked through for the sender's address

_REFERENCE = re.compile(
    r"<?(?:https?://[^\s/|>]+/(?:[^\s|>]*/)?incidents/|#)?(?P<id>[A-Z][A-Z0-9]{5,31}|[0-9]{1,10})(?:[/?#|][^>]*)?>?",
    re.IGNORECASE,
)
_PLAIN = re.compile(r"[!-~]+")
_APP_TOKEN = re.compile(r"pd[a-z]{2}\+")  # of Scoped OAuth, named after the region: pdus+…

Answer = TypeVar("Answer", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    about: str  # what it reads or changes, for sentences
    body: Mapping[str, Any] | None = None


class PagerDutyClient:
    """The REST API of one account. Methods raise DeliveryFailed unless they say otherwise.

    *sleep* waits between tries and *jitter* (0 to 1) spreads them; *try_s* bounds one request, in seconds.
    """

    def __init__(
        self,
        settings: PagerDuty,
        secrets: Renewing,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        try_s: float = TRY_S,
    ) -> None:
        self._settings = settings
        self._token = Rotating(secrets, settings.token)
        self._sleep = sleep
        self._jitter = jitter
        self._try_s = try_s
        self._http = httpx.AsyncClient(base_url=settings.api_url, timeout=try_s, verify=_tls())
        self._host = self._http.base_url.host
        self._turn = asyncio.Lock()

    async def close(self) -> None:
        """Release connections."""
        await self._http.aclose()

    async def list_notes(self, incident: str) -> list[Note]:
        """All notes of *incident*, in no promised order."""
        answer = await self._call(_Request("GET", _notes(incident), f"incident {incident}"), NotesAnswer)
        return [note.plain for note in answer.notes]

    async def create_note(self, incident: str, content: str) -> str:
        """Write a note of at most NOTE_BYTES bytes of UTF-8 and return its id.

        PagerDuty knows no idempotency key, so the last line of *content* has to be one that no other
        note of the incident ends with: where it is unclear whether a try came through, the notes are
        searched for that line before the next.
        """
        request = _Request("POST", _notes(incident), f"incident {incident}", body=_note(content))
        tried = 0
        while True:
            tried += 1
            try:
                return (await self._send(request, NoteAnswer)).note.id
            except Refused as no:
                await self._wait_or_raise(no, tried)
                if no.untouched:
                    continue
            for note in await self.list_notes(incident):
                if last_line(note.content) == last_line(content) and await self.edit_note(incident, note.id, content):
                    return note.id

    async def edit_note(self, incident: str, note_id: str, content: str) -> bool:
        """Replace a note's content; False when *incident* no longer has that note, or is itself unknown."""
        path = f"{_notes(incident)}/{quote(note_id, safe='')}"
        try:
            await self._call(_Request("PUT", path, f"incident {incident}", body=_note(content)), NoteAnswer)
        except Refused as no:
            if no.status == httpx.codes.NOT_FOUND:
                return False
            raise
        return True

    async def incident(self, reference: str) -> Incident:
        """Find the incident that a person means by its id, number or address.

        Raises UserError when *reference* is none of these, or there is no such incident.
        """
        match = _REFERENCE.fullmatch(reference.strip()[:REFERENCE_CHARS])
        if match is None:
            shown = reference.strip()[:60]
            raise UserError(
                f"`{shown}` is not a PagerDuty incident.", cure="Give its id (PABC123), its number or its address."
            )
        name = match["id"].upper()
        try:
            answer = await self._call(_Request("GET", f"/incidents/{name}", f"incident {name}"), IncidentAnswer)
        except Refused as no:
            if no.status == httpx.codes.NOT_FOUND:
                raise UserError(
                    f"PagerDuty has no incident {name}.", cure="Copy the address of the incident's page."
                ) from no
            raise
        return answer.incident.plain

    async def check(self) -> list[str]:
        """Say what `capturebot doctor` should print: lines of "ok: …" or "fault: … — cure". Tries once."""
        try:
            await self._send(_Request("GET", "/incidents?limit=1", "incidents"), IncidentsAnswer)
        except DeliveryFailed as failure:
            return [_fault(failure)]
        return [f"ok: PagerDuty at {self._host} takes the token and shows it incidents", await self._check_sender()]

    async def _check_sender(self) -> str:
        sender = self._settings.sender
        path = f"/users?query={quote(sender, safe='')}&limit={EMAIL_MATCHES}"
        try:
            answer = await self._send(_Request("GET", path, "users"), UsersAnswer)
        except DeliveryFailed as failure:
            if isinstance(failure, Refused) and failure.status == httpx.codes.FORBIDDEN:
                return f"ok: whether PagerDuty knows {sender} shows with the first note (the token may not read users)"
            return _fault(failure)
        if any(user.email.lower() == sender.lower() for user in answer.users):
            return f"ok: notes are written as {sender}, a user of the account"
        return f"fault: PagerDuty knows no user {sender} — set pagerduty.from to the e-mail address of one"

    async def call(
        self,
        method: str,
        path: str,
        shape: type[Answer],
        *,
        about: str,
        body: Mapping[str, Any] | None = None,
        once: bool = False,
    ) -> Answer:
        """Send any other request; *about* is what it reads or changes, for sentences. Tried again unless only *once*."""
        request = _Request(method, path, about, body=body)
        return await (self._send(request, shape) if once else self._call(request, shape))

    # --- requests -----------------------------------------------------------------------------

    async def _call(self, request: _Request, shape: type[Answer]) -> Answer:
        """Send a request that may be repeated until it is answered for good."""
        tried = 0
        while True:
            tried += 1
            try:
                return await self._send(request, shape)
            except Refused as no:
                await self._wait_or_raise(no, tried)

    async def _wait_or_raise(self, no: Refused, tried: int) -> None:
        """Wait before the next try, or raise *no* where that is nobody's or the caller's to make."""
        if no.retry_after is None:
            raise no
        if tried == TRIES or no.retry_after > WAIT_MOST_S:
            no.retry_after = max(no.retry_after, LATER_S)
            raise no
        await self._sleep(max(no.retry_after, 2 ** (tried - 1) * (1 + self._jitter()) / 2))

    async def _send(self, request: _Request, shape: type[Answer]) -> Answer:
        """Send *request* once; Refused.retry_after is the least to wait, 0 where PagerDuty names nothing.

        A token that was replaced a moment ago is no refusal: the newer one is tried.
        """
        try:
            used = await self._token.now()
            try:
                return await self._send_as(used[0], request, shape)
            except Refused as no:
                if no.status != httpx.codes.UNAUTHORIZED or not await self._token.replaced(used):
                    raise
            (token,) = await self._token.now()
        except SecretMissing as missing:
            raise DeliveryFailed(missing.reason, retry_after=TOKEN_S) from missing
        return await self._send_as(token, request, shape)

    async def _send_as(self, token: str, request: _Request, shape: type[Answer]) -> Answer:
        headers = self._headers(token, request)
        body = bytearray()
        try:
            async with (
                self._turn,
                asyncio.timeout(self._try_s),
                self._http.stream(request.method, request.path, headers=headers, json=request.body) as response,
            ):
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > ANSWER_BYTES:
                        raise DeliveryFailed(f"PagerDuty's answer on {request.about} is too large to be read.")
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            why = f"PagerDuty at {self._host} cannot be reached: {str(error) or 'no connection in time'}."
            raise Refused(
                why, untouched=True, retry_after=0, cure="Check pagerduty.api_url and the network."
            ) from error
        except (TimeoutError, httpx.TimeoutException) as error:
            raise Refused(f"PagerDuty did not answer within {self._try_s:g} s.", retry_after=0) from error
        except httpx.RequestError as error:
            raise Refused("The connection to PagerDuty broke before it had answered.", retry_after=0) from error
        if not response.is_success:
            raise refusal(
                response, bytes(body), about=request.about, writes=bool(request.body), sender=self._settings.sender
            )
        try:
            return shape.model_validate_json(bytes(body) or b"{}")  # some successes say nothing
        except ValidationError as error:
            raise DeliveryFailed(
                f"{self._host} does not answer as PagerDuty does.", cure="Check pagerduty.api_url."
            ) from error

    def _headers(self, token: str, request: _Request) -> dict[str, str]:
        if not (_PLAIN.fullmatch(token) and _PLAIN.fullmatch(self._settings.sender)):
            raise DeliveryFailed(
                "The PagerDuty token or the sender's address holds a character that neither can have.",
                cure="Put nothing but the token where pagerduty.token points, and an e-mail address into pagerduty.from.",
            )
        return {
            "Accept": "application/vnd.pagerduty+json;version=2",
            "Authorization": f"Bearer {token}" if _APP_TOKEN.match(token) else f"Token token={token}",
            "Content-Type": "application/json",
            "User-Agent": f"capturebot/{__version__}",
            **({"From": self._settings.sender} if request.body else {}),
        }


@functools.cache
def _tls() -> ssl.SSLContext:
    """The defaults of httpx, made once: reading all authorities takes 20 ms."""
    return httpx.create_ssl_context()


def _notes(incident: str) -> str:
    return f"/incidents/{quote(incident, safe='')}/notes"


def _note(content: str) -> dict[str, Any]:
    if len(content.encode()) > NOTE_BYTES:
        raise DeliveryFailed(f"The note is longer than PagerDuty's {NOTE_BYTES:,} bytes.")
    return {"note": {"content": content}}


def _fault(failure: DeliveryFailed) -> str:
    return f"fault: {failure.reason.rstrip('.')}" + (f" — {failure.cure}" if failure.cure else "")

"""Socket Mode, the service's side: tickets, connections, envelopes, acknowledgements and how they go wrong."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import OrderedDict, deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import WSMsgType, web

from bot.playground.workspace.changes import Changes
from bot.playground.workspace.clock import Clock
from bot.playground.workspace.limits import REQUEST_BYTES, Limits
from bot.playground.workspace.nouns import APP_ID
from bot.playground.workspace.shapes import Json
from bot.tasks import Tasks

Kind = Literal["slash_commands", "interactive", "events_api"]
Reason = Literal["warning", "refresh_requested", "link_disabled", "too_many_websockets"]

NO_CONNECTION = "dispatch_failed"
NO_ACK = "operation_timeout"

_DELIVERIES = 10_000  # kept in the log
_TICKETS = 100  # addresses given out and not yet used
_SEND_S = 1.0  # a client that does not read is given up after this
_CLOSE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How the app took a delivery: *acked_after_s* is None where no ack came in time, *error* then says why."""

    acked_after_s: float | None = None
    response: Json | None = None  # the payload of the ack
    error: str = ""  # Slack's word for it, as the person sees it


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One envelope that was sent, for the log."""

    kind: Kind
    envelope_id: str
    connection: int
    retry_attempt: int
    acked_after_s: float | None


@dataclass(slots=True, kw_only=True)
class _Connection:
    number: int
    socket: web.WebSocketResponse
    transport: asyncio.BaseTransport | None
    silent: bool = False  # answers nothing any more, and does not say so
    leaving: bool = False  # was asked to go; gets envelopes only when there is no other


class Sockets:
    """The app's connections. An envelope goes to any one of them, in turn."""

    def __init__(self, *, clock: Clock, limits: Limits, changes: Changes, tasks: Tasks) -> None:
        self._clock = clock
        self._limits = limits
        self._changes = changes
        self._tasks = tasks
        self._tickets: OrderedDict[str, None] = OrderedDict()
        self._open: list[_Connection] = []
        self._born = 0
        self._waiting: dict[str, asyncio.Future[tuple[float, Json | None] | None]] = {}
        self._twice = 0
        self.deliveries: deque[Delivery] = deque(maxlen=_DELIVERIES)
        self.stray_acks = 0  # late ones, and ones for envelopes that never were

    @property
    def numbers(self) -> list[int]:
        """The numbers of the open connections; a new connection gets a new number."""
        return [connection.number for connection in self._open]

    def new_ticket(self) -> str:
        """A ticket that opens one connection."""
        ticket = secrets.token_urlsafe(18)
        self._tickets[ticket] = None
        while len(self._tickets) > _TICKETS:
            self._tickets.popitem(last=False)
        return ticket

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One connection, from hello to its end."""
        ticket = request.query.get("ticket", "")
        if ticket not in self._tickets:
            return web.Response(status=403, text="invalid ticket")
        del self._tickets[ticket]
        socket = web.WebSocketResponse(autoping=False, max_msg_size=REQUEST_BYTES, timeout=_CLOSE_S)
        await socket.prepare(request)
        if len(self._open) >= self._limits.connections:
            await socket.send_json(_disconnect_frame("too_many_websockets"))
            await socket.close()
            return socket
        self._born += 1
        connection = _Connection(number=self._born, socket=socket, transport=request.transport)
        self._open.append(connection)
        try:
            await socket.send_json(self._hello())
            self._changes.wake()
            async for message in socket:
                if connection.silent:
                    continue
                if message.type is WSMsgType.PING:
                    await socket.pong(message.data)
                elif message.type is WSMsgType.TEXT:
                    self._heard(message.data)
        except ConnectionError:
            pass  # it went while a pong was written; the end is the same
        finally:
            self._open.remove(connection)
            self._changes.wake()
        return socket

    async def deliver(self, kind: Kind, payload: Json, *, retry_attempt: int = 0, retry_reason: str = "") -> Answer:
        """Send an envelope to one connection and wait for its ack, for as long as Slack does."""
        envelope: Json = {"type": kind, "payload": payload, "accepts_response_payload": kind != "events_api"}
        if kind == "events_api":
            envelope |= {"retry_attempt": retry_attempt, "retry_reason": retry_reason}
        copies = 2 if self._twice else 1
        self._twice = max(0, self._twice - 1)
        loop = asyncio.get_running_loop()
        acked: asyncio.Future[tuple[float, Json | None] | None] = loop.create_future()
        ids = [secrets.token_hex(16) for _ in range(copies)]
        self._waiting |= dict.fromkeys(ids, acked)
        started = loop.time()
        limit = self._tasks.start(self._expire(acked), name="ack limit")
        try:
            numbers = [await self._send({**envelope, "envelope_id": envelope_id}) for envelope_id in ids]
            if not any(numbers):
                return Answer(error=NO_CONNECTION)
            got = await acked
        finally:
            limit.cancel()
            for envelope_id in ids:
                self._waiting.pop(envelope_id, None)
        after_s = got[0] - started if got else None
        self.deliveries.append(
            Delivery(
                kind=kind,
                envelope_id=ids[0],
                connection=numbers[0],
                retry_attempt=retry_attempt,
                acked_after_s=after_s,
            )
        )
        self._changes.wake()
        return Answer(acked_after_s=after_s, response=got[1]) if got else Answer(error=NO_ACK)

    # --- faults, on demand

    def duplicate_next(self, times: int) -> None:
        """Send each of the next *times* payloads in two envelopes."""
        self._twice = times

    async def disconnect(self, reason: Reason, number: int | None = None) -> None:
        """Send a disconnect frame to one connection, or to all.

        After anything but a warning the connection is ended `Limits.warning_s` seconds later, if it still is there.
        """
        for connection in self._chosen(number):
            with suppress(ConnectionError):  # it is going by itself
                await connection.socket.send_json(_disconnect_frame(reason))
            if reason != "warning":
                connection.leaving = True
                self._tasks.start(self._end_later(connection), name="end of a connection")

    def silence(self, number: int | None = None) -> None:
        """Let one connection, or all, stop answering without ending: no pong, acks unheard, envelopes lost."""
        for connection in self._chosen(number):
            connection.silent = True

    def cut(self, number: int | None = None) -> None:
        """End one connection, or all, without a closing handshake."""
        for connection in self._chosen(number):
            if isinstance(connection.transport, asyncio.WriteTransport):
                connection.transport.abort()

    async def close(self) -> None:
        """End all connections properly, each within a second."""
        await asyncio.gather(*(connection.socket.close() for connection in self._open))

    # --- inside

    def _chosen(self, number: int | None) -> list[_Connection]:
        chosen = [connection for connection in self._open if number in (None, connection.number)]
        if number is not None and not chosen:
            raise ValueError(f"there is no open connection {number}; open are {self.numbers}")
        return chosen

    async def _send(self, envelope: Json) -> int:
        """The number of the connection that took the envelope; 0 when none did."""
        self._open[:] = self._open[1:] + self._open[:1]
        for connection in sorted(self._open, key=lambda one: one.leaving):
            try:
                async with asyncio.timeout(_SEND_S):
                    await connection.socket.send_json(envelope)
            except (ConnectionError, TimeoutError):
                continue
            return connection.number
        return 0

    async def _expire(self, acked: asyncio.Future[tuple[float, Json | None] | None]) -> None:
        await self._clock.sleep(self._limits.ack_s)
        if not acked.done():
            acked.set_result(None)

    async def _end_later(self, connection: _Connection) -> None:
        await self._clock.sleep(self._limits.warning_s)
        await connection.socket.close()

    def _heard(self, data: str) -> None:
        """An ack, or something that Slack ignores too."""
        try:
            frame: Any = json.loads(data)
        except (ValueError, RecursionError):
            return
        if not isinstance(frame, dict) or not isinstance(frame.get("envelope_id"), str):
            return
        acked = self._waiting.get(frame["envelope_id"])
        if acked is None:
            self.stray_acks += 1
            self._changes.wake()
        elif not acked.done():
            payload = frame.get("payload")
            acked.set_result((asyncio.get_running_loop().time(), payload if isinstance(payload, dict) else None))

    def _hello(self) -> Json:
        return {
            "type": "hello",
            "connection_info": {"app_id": APP_ID},
            "num_connections": len(self._open),
            "debug_info": {"host": "playground", "build_number": 1, "approximate_connection_time": 18060},
        }


def _disconnect_frame(reason: Reason) -> Json:
    return {"type": "disconnect", "reason": reason, "debug_info": {"host": "playground"}}

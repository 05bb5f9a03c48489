"""Keeps the messages of requests for an approval current: posts them, ends them when their time is over, tells how they ended.

Everything is in the journal: after a restart, what was not posted or not told is, and each message is found by its mark.
Several processes may share a journal; each shows the requests that it took in, and those of a dead one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.approvals import Request
from bot.approvals.approving import Approving
from bot.desk import Desk
from bot.errors import DeliveryFailed, JournalError
from bot.journal import Journal
from bot.model import ApprovalAsked, ApprovalMeasured, ApprovalRuled, Place, Room, Ruling
from bot.redact import Mask
from bot.reporters.slack_approval import APPROVERS_SHOWN, broken_glass, message
from bot.slack.board import Board, Posted
from bot.tasks import Tasks

NAME = "approvals"  # under which what was shown is remembered
LATER_S = 10.0  # between two looks for what other processes wrote, and before a sick journal is tried again
LOOK_BACK_S = 6 * 3600.0  # how long ago a request may have ended that is still told after a restart
AT_ONCE = 8

log = structlog.get_logger()


class RequestBoard:
    """Shows requests. *is_gone* knows of an owner's name that its process is dead."""

    def __init__(
        self,
        client: AsyncWebClient,
        desk: Desk,
        journal: Journal,
        approving: Approving,
        *,
        mask: Mask,
        now: Callable[[], datetime],
        is_gone: Callable[[str], bool] = lambda _: False,
        look_s: float = LATER_S,
    ) -> None:
        self._client = client
        self._look_s = look_s
        self._board = Board(client)
        self._requests = desk.requests
        self._permission = desk.permission
        self._journal = journal
        self._approving = approving
        self._mask = mask
        self._now = now
        self._is_gone = is_gone
        self._tasks = Tasks(lambda name, error: log.error("a request is not shown", task=name, exc_info=error))
        self._news: dict[str, asyncio.Event] = {}  # of requests with a worker
        self._troubles: dict[str, str] = {}
        self._ended: set[str] = set()  # and told
        self._places = asyncio.Semaphore(AT_ONCE)
        self._read = 0

    async def start(self) -> None:
        """Go on with every request that is ours or was a dead process's, and follow the journal. Raises JournalError."""
        self._read = self._journal.last
        await self._inherit(ours=True)
        self._tasks.start(self._follow(), name="follow requests")

    async def close(self) -> None:
        """Stop; what is untold is told after the next start."""
        await self._tasks.cancel(within_s=5.0)

    def untold(self) -> dict[str, str]:
        """Why something could not be told yet: "approvals id" → the reason."""
        return {f"{NAME} {one}": reason for one, reason in self._troubles.items()}

    async def _follow(self) -> None:
        looked_at = asyncio.get_running_loop().time()
        while True:
            try:
                newest = self._journal.last
                events = await self._journal.after(self._read)
                for seq, event in events:
                    if isinstance(event, ApprovalAsked | ApprovalMeasured | ApprovalRuled):
                        await self._hear(event.approval_id)
                    self._read = seq
                if not events:
                    await self._journal.wait_beyond(newest, within_s=self._look_s)
                if asyncio.get_running_loop().time() - looked_at > self._look_s:
                    await self._inherit()
                    looked_at = asyncio.get_running_loop().time()
            except JournalError as error:
                log.warning("the journal cannot be followed", reason=error.reason)
                await asyncio.sleep(self._look_s)

    async def _hear(self, approval_id: str) -> None:
        owner = await self._requests.owner(approval_id)
        if owner == self._journal.owner or self._is_gone(owner):
            self._wake(approval_id)

    async def _inherit(self, *, ours: bool = False) -> None:
        """See to all that may not be told yet, and that nobody else who lives sees to; with *ours* to those too."""
        since = self._now() - timedelta(seconds=LOOK_BACK_S)
        for approval_id, owner in (await self._requests.recent(since)).items():
            mine = owner == self._journal.owner
            if approval_id not in {*self._news, *self._ended} and (
                (ours and mine) or (not mine and self._is_gone(owner))
            ):
                self._wake(approval_id)

    def _wake(self, approval_id: str) -> None:
        if approval_id in self._news:
            self._news[approval_id].set()
        else:
            self._news[approval_id] = asyncio.Event()
            self._tasks.start(self._keep(approval_id), name=f"request {approval_id}")

    async def _keep(self, approval_id: str) -> None:
        """See to a request until it has ended and that is told."""
        news = self._news[approval_id]
        while True:
            news.clear()
            again_s = await self._see_to(approval_id)
            if again_s is None and not news.is_set():
                break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(again_s):
                    await news.wait()
        # No await since the last look at the news: whoever comes now starts a new worker.
        del self._news[approval_id]

    async def _see_to(self, approval_id: str) -> float | None:
        """Show a request; returns when to look again, None when it has ended."""
        try:
            request = await self._approving.expire(approval_id)
            async with self._places:
                await self._show(request)
        except DeliveryFailed as trouble:
            self._troubles[approval_id] = f"{trouble.reason} {trouble.cure}".strip()
            log.warning(
                "a request is not shown", approval=approval_id, reason=trouble.reason, again=trouble.retry_after
            )
            return trouble.retry_after
        except JournalError as error:
            self._troubles[approval_id] = error.reason
            return self._look_s
        except Exception:  # a bug with one request must not silence the others; it is tried again when there is news
            log.exception("a request broke", approval=approval_id)
            self._troubles[approval_id] = "capturebot could not show this request; that is a bug."
            return None
        self._troubles.pop(approval_id, None)
        left_s = (request.asked.until - self._now()).total_seconds()
        if request.ruled is None:
            return min(max(left_s, 0.0), self._look_s)
        self._ended.add(approval_id)
        return None

    async def _show(self, request: Request) -> None:
        asked = request.asked
        if (place := asked.trigger.place) is None:
            return
        _, memory = await self._journal.memory(NAME, asked.approval_id) or (0, {})
        shown = Posted.recall(memory)
        if not memory:
            await self._enter(place.channel)
        piece = f"approval {asked.approval_id}"
        room = Room(place=place, at=asked.at)
        try:
            await self._board.show(
                room, piece, message(request, names=await self._names(request), mask=self._masked(request)), shown
            )
            if request.ruled and request.ruled.ruling is Ruling.GLASS:
                channel = Room(place=Place(channel=place.channel), at=request.ruled.at)
                await self._board.show(channel, f"glass {asked.approval_id}", broken_glass(request), shown)
        finally:
            if shown.memory != {**Posted().memory, **memory}:
                await self._journal.remember(NAME, asked.approval_id, self._journal.last, shown.memory)

    async def _names(self, request: Request) -> dict[str, str]:
        if request.ruled:
            return {}
        return await self._permission.names(request.asked.approvers[:APPROVERS_SHOWN])

    def _masked(self, request: Request) -> Callable[[str], str]:
        return partial(self._mask, incident=request.asked.seal.incident)

    async def _enter(self, channel: str) -> None:
        """Be a member, where the channel is public; in a private one the bot is, or nobody can help it."""
        try:
            await self._client.conversations_join(channel=channel)
        except (SlackApiError, aiohttp.ClientError, TimeoutError) as error:
            log.info("a channel was not joined", channel=channel, error=str(error)[:200])

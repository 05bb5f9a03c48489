"""PagerDuty's calls as they come in: checked, kept in the journal, answered. What they start is started after that.

PagerDuty takes any answer below 300 within 5 s for "delivered", sends again for 48 hours what fails with a time-out, 429
or 5xx, and drops what is refused with another 4xx; after three that it dropped it disables the subscription
(developer.pagerduty.com, "Webhooks V3 Overview"). So only a call that is not PagerDuty's is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus

import structlog

from bot.errors import JournalError, SecretMissing
from bot.journal import Journal
from bot.model import Heard, SecretRef
from bot.pagerduty import webhooks
from bot.secrets import Renewing
from bot.secrets.rotating import Rotating

TAKEN_WITHIN_S = 2.5  # by the journal, too
ID_CHARS = 128  # of a delivery's id
INCIDENTS = "incident."
PING, UNSIGNED, LATER = "ping", "unsigned", "later"  # what came, as it is counted

log = structlog.get_logger()


class Reception:
    """Takes calls that one of the secrets behind *references* signed, within *within_s* seconds or not now.

    There may be several secrets behind a reference, one a line. *count* is told what came, and what was answered.
    """

    def __init__(
        self,
        journal: Journal,
        secrets: Renewing,
        references: Sequence[SecretRef],
        *,
        now: Callable[[], datetime],
        count: Callable[[str, int], None] = lambda _what, _status: None,
        within_s: float = TAKEN_WITHIN_S,
    ) -> None:
        self._count = count
        self._within_s = within_s
        self._journal = journal
        self._secrets = Rotating(secrets, *references)
        self._now = now

    async def take(self, body: bytes, headers: Mapping[str, str]) -> HTTPStatus:
        """What to answer to a call; with 202 it is in the journal, or of no use. *headers* know their names in upper and lower case."""
        try:
            async with asyncio.timeout(self._within_s):
                what = await self._take(body, headers)
        except (SecretMissing, JournalError, TimeoutError) as error:
            log.warning("a webhook is not taken now", reason=str(error) or f"not within {self._within_s:g} s")
            what, status = LATER, HTTPStatus.SERVICE_UNAVAILABLE
        else:
            status = HTTPStatus.UNAUTHORIZED if what == UNSIGNED else HTTPStatus.ACCEPTED
        self._count(what, status)
        return status

    async def _take(self, body: bytes, headers: Mapping[str, str]) -> str:
        """What came, in a word."""
        if not await self._is_signed(body, headers.get(webhooks.SIGNATURE_HEADER, "")):
            log.warning("a webhook is not signed with a known secret", size_bytes=len(body))
            return UNSIGNED
        try:
            call = webhooks.read(body)
        except webhooks.Unreadable as error:
            log.warning("a webhook cannot be read", reason=str(error))
            return "unreadable"
        if call.what.startswith(INCIDENTS) and call.incident:
            delivery = headers.get(webhooks.ID_HEADER, "")[:ID_CHARS] or call.id
            new = await self._journal.accept(Heard(call=call, delivery=delivery, at=self._now()))
            log.info("a webhook", what=call.what, incident=call.incident, new=new)
            return "incident"
        log.info("a webhook of no use", what=call.what)
        return PING if call.what == webhooks.PING else "other"

    async def _is_signed(self, body: bytes, signature: str) -> bool:
        """Whether it is, with a secret that is there now: a call that is refused does not come again."""
        known = await self._secrets.now()
        if webhooks.is_signed(body, signature, _lines(known)):
            return True
        return await self._secrets.replaced(known) and webhooks.is_signed(
            body, signature, _lines(await self._secrets.now())
        )


def _lines(texts: Sequence[str]) -> list[str]:
    return [line for text in texts for line in text.split()]

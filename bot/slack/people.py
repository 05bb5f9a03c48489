"""Who a user id is: what commands say of themselves, and events do not."""

from __future__ import annotations

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.model import Person

KNOWN_AT_MOST = 1000

log = structlog.get_logger()


class People:
    """Asks Slack for names, once each."""

    def __init__(self, client: AsyncWebClient) -> None:
        self._client = client
        self._names: dict[str, str] = {}

    async def person(self, user_id: str) -> Person:
        """Somebody with the name that their commands carry; with the id for a name where Slack does not tell."""
        if user_id not in self._names:
            try:
                user = (await self._client.users_info(user=user_id))["user"]
            except (SlackApiError, aiohttp.ClientError, TimeoutError) as error:
                log.warning("a name is not known", user=user_id, error=str(error)[:200])
                return Person(id=user_id, name=user_id)
            self._names[user_id] = str(user.get("name") or user_id)
            while len(self._names) > KNOWN_AT_MOST:
                self._names.pop(next(iter(self._names)))
        return Person(id=user_id, name=self._names[user_id])

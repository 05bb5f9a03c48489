"""Messages of our own, found again by their marks: what was posted and not remembered is not posted twice."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

MARK = "capturebot"  # the metadata's event_type; its payload names the piece, and what that is a piece of
SEARCH_PAGES = 5  # of 100 messages each
CLOCKS_APART_S = 60  # by which this machine's clock may differ from Slack's


def mark(piece: str, **whose: str) -> dict[str, Any]:
    """The metadata of a message: the *piece* of a capture or a room."""
    return {"event_type": MARK, "event_payload": {**whose, "piece": piece}}


async def find_marked(
    client: AsyncWebClient, channel: str, *, since: datetime, thread: str = "", **whose: str
) -> dict[str, str]:
    """The timestamps of messages that carry that mark, by piece, in a channel or a thread of it.

    There are none where the bot may not read. Raises SlackApiError for what a later try may mend.
    """
    oldest = str((since - timedelta(seconds=CLOCKS_APART_S)).timestamp())
    where: dict[str, Any] = {"channel": channel, "include_all_metadata": True, "limit": 100, "oldest": oldest}
    method: Any = client.conversations_replies if thread else client.conversations_history
    if thread:
        where["ts"] = thread
    found: dict[str, str] = {}
    cursor = ""
    try:
        for _ in range(SEARCH_PAGES):
            answer = await method(**where, cursor=cursor)
            for message in answer.get("messages", []):
                metadata = message.get("metadata") or {}
                payload = metadata.get("event_payload") or {}
                if metadata.get("event_type") == MARK and whose.items() <= payload.items():
                    found.setdefault(str(payload.get("piece")), str(message["ts"]))
            cursor = (answer.get("response_metadata") or {}).get("next_cursor", "")
            if not cursor:
                break
    except SlackApiError as error:
        if error.response.status_code == 429 or error.response.status_code >= 500:
            raise
    return found

"""What stands out in a channel: pins and bookmarks, as strictly as Slack has them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.playground.workspace import App, Workspace

APP = App(scopes=App().scopes | {"pins:write", "pins:read", "bookmarks:read"})


@pytest.fixture
async def workspace() -> AsyncIterator[Workspace]:
    """One whose app may pin."""
    async with Workspace(app=APP) as made:
        yield made


def client_of(workspace: Workspace) -> AsyncWebClient:
    """The bot's."""
    return AsyncWebClient(token=workspace.bot_token, base_url=workspace.api_url, retry_handlers=[])


async def test_a_message_is_pinned_once(workspace: Workspace) -> None:
    """And shown as such."""
    client, channel = client_of(workspace), workspace.add_channel("inc-1")
    ts = (await client.chat_postMessage(channel=channel, text="the index"))["ts"]

    await client.pins_add(channel=channel, timestamp=ts)
    with pytest.raises(SlackApiError, match="already_pinned"):
        await client.pins_add(channel=channel, timestamp=ts)

    (item,) = (await client.pins_list(channel=channel))["items"]
    assert item["message"]["pinned_to"] == [channel]
    await client.pins_remove(channel=channel, timestamp=ts)
    assert (await client.pins_list(channel=channel))["items"] == []


async def test_what_cannot_be_pinned_is_refused_in_slacks_words(workspace: Workspace) -> None:
    """Each with its own."""
    client = client_of(workspace)
    inside, outside = workspace.add_channel("inc-1"), workspace.add_channel("inc-2", members=[])
    ts = (await client.chat_postMessage(channel=inside, text="hello"))["ts"]
    workspace.archive_channel(inside)

    for arguments, error in (
        ({"channel": inside, "timestamp": ts}, "is_archived"),
        ({"channel": outside, "timestamp": ts}, "not_in_channel"),
        ({"channel": "C404", "timestamp": ts}, "channel_not_found"),
    ):
        with pytest.raises(SlackApiError, match=error):
            await client.pins_add(**arguments)


async def test_missing_messages_and_scopes_are_refused(workspace: Workspace) -> None:
    """A timestamp of nothing, no timestamp, and an app that may not pin."""
    client, channel = client_of(workspace), workspace.add_channel("inc-1")
    for arguments, error in (({"timestamp": "1.000001"}, "message_not_found"), ({}, "no_item_specified")):
        with pytest.raises(SlackApiError, match=error):
            await client.pins_add(channel=channel, **arguments)

    async with Workspace(app=App()) as strict:
        with pytest.raises(SlackApiError, match="missing_scope"):
            await client_of(strict).pins_add(channel=strict.add_channel("inc-1"), timestamp="1.000001")


async def test_bookmarks_topic_and_purpose_are_read(workspace: Workspace) -> None:
    """As tools set them."""
    client, channel = client_of(workspace), workspace.add_channel("inc-1")
    workspace.describe(channel, topic="slow", purpose="an incident", bookmark="https://pd/incidents/PABC123")

    (bookmark,) = (await client.bookmarks_list(channel_id=channel))["bookmarks"]
    about = (await client.conversations_info(channel=channel))["channel"]

    assert bookmark["link"] == "https://pd/incidents/PABC123"
    assert (about["topic"]["value"], about["purpose"]["value"]) == ("slow", "an incident")

"""The named peer of `acks`: a Bolt app with an empty listener on two Socket Mode connections. Its argument is the API's URL."""

from __future__ import annotations

import asyncio
import os
import sys

import uvloop
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.web.async_client import AsyncWebClient


async def main(api_url: str) -> None:
    """Serve until the process is ended."""
    app = AsyncApp(client=AsyncWebClient(token=os.environ["BOT"], base_url=api_url))

    @app.command("/capture")
    async def nothing(ack: AsyncAck) -> None:
        await ack()

    for _ in range(2):
        await AsyncSocketModeHandler(app, os.environ["APP"]).connect_async()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))

"""The app's Home: what runs, what ran lately, what there is to run, and a way to start. Made anew each time it is opened."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import aiohttp
import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.desk import Desk
from bot.errors import JournalError
from bot.model import Person, Source
from bot.permission.menu import Menu, menu, readable
from bot.reporters.slack_buttons import Block, actions, button, plain
from bot.slack import answers
from bot.slack.clerk import Clerk
from bot.slack.dialogs import Dialogs
from bot.slack.modal import Draft
from bot.story import Story

START = "home_capture"  # the button's action id
SECTION_CHARS = 3000  # Slack's limit
SECTIONS_AT_MOST = 25  # of each part; three parts and their headers stay within Slack's 100 blocks
LINE_CHARS = 1000
PART_BYTES = 75_000  # of each part, as it is sent; Slack refuses views over 250,000

log = structlog.get_logger()


class Home:
    """Shows the Home of whoever opens it."""

    def __init__(
        self,
        client: AsyncWebClient,
        desk: Desk,
        clerk: Clerk,
        dialogs: Dialogs,
    ) -> None:
        self._client = client
        self._desk = desk
        self._clerk = clerk
        self._dialogs = dialogs

    def listen(self, app: AsyncApp) -> None:
        """Register with Bolt."""
        app.event("app_home_opened")(self._opened)
        app.action(START)(self._start)

    async def _opened(self, event: dict[str, Any]) -> None:
        if event.get("tab") != "home":
            return
        try:
            asker = await self._desk.permission.asker(_person(event["user"]), Source.SLACK, None, anywhere=True)
            if asker.member.membership.may_ask:
                told = readable(self._desk.permission, asker, await self._clerk.recent())
                untold = self._clerk.untold()
                shown = view(told, menu(self._desk, self._desk.permission, asker), untold=untold)
            else:
                shown = trouble(f"{asker.member.name} {asker.member.membership.words}.")
        except JournalError as error:
            shown = trouble(error.reason)
        try:
            await self._client.views_publish(user_id=event["user"], view=shown)
        except (SlackApiError, aiohttp.ClientError, TimeoutError) as error:
            log.warning("a home was not shown", user=event["user"], error=str(error)[:200])

    async def _start(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        await ack()
        await self._dialogs.open(body["trigger_id"], Draft(place=None, asks_place=True), _person(body["user"]["id"]))


def _person(user_id: str) -> Person:
    return Person(id=user_id, name=user_id)


def view(stories: Sequence[Story], what: Menu, *, untold: Mapping[str, str]) -> Block:
    """The Home; *stories* are newest first."""
    running = [one for one in stories if not one.state.ended]
    ended = [one for one in stories if one.state.ended]
    return _home(
        [
            *actions([button(START, "Capture …", "home", style="primary")]),
            *_part("Running now", answers.status(running, untold={}) if running else "Nothing runs now."),
            *_part("Lately", answers.status(ended, untold=untold)),
            *_part("What there is to run", answers.listing(what)),
        ]
    )


def trouble(reason: str) -> Block:
    """The Home where nothing can be known."""
    return _home(_part("capturebot cannot say what runs", reason))


def _home(blocks: list[Block]) -> Block:
    return {"type": "home", "blocks": blocks}


def _part(title: str, text: str) -> list[Block]:
    blocks: list[Block] = [{"type": "header", "text": plain(title)}]
    room = PART_BYTES
    for one in _pages(text.splitlines())[:SECTIONS_AT_MOST]:
        room -= len(json.dumps(one))
        if room < 0:
            break
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": one}})
    return blocks


def _pages(lines: Iterable[str]) -> list[str]:
    """Lines as texts that a section holds each."""
    pages: list[str] = []
    for line in lines:
        shown = line if len(line) <= LINE_CHARS else line[: LINE_CHARS - 1] + "…"
        if pages and len(pages[-1]) + len(shown) < SECTION_CHARS:
            pages[-1] += f"\n{shown}"
        else:
            pages.append(shown)
    return [page for page in pages if page.strip()]

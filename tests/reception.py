"""A Slack channel with people in it and the whole bot behind it: listeners, desk, reporter; targets are scripted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TypeVar

import yaml
from slack_sdk.web.async_client import AsyncWebClient

from bot.errors import UserError
from bot.insights import Reading
from bot.journal import Journal
from bot.model import (
    Action,
    Finding,
    Impact,
    Level,
    Measure,
    Parameter,
    ParameterType,
    Recipe,
    Suggestion,
)
from bot.model import Script as ScriptAction
from bot.playground.workspace import App, Message, Workspace
from bot.reporters.slack import EDIT_PAUSE_S, SlackThread
from bot.reporters.telling import Teller
from bot.settings import Limits
from bot.slack.app import make_app
from bot.slack.clerk import Clerk
from bot.slack.sockets import Sockets
from bot.story import Story
from tests.fakes import Script, a_recipe, a_step
from tests.office import Office

T = TypeVar("T")

MANIFEST = Path(__file__).parent.parent / "manifest.yml"
WITHIN_S = 5.0
COST = b"what=orders-api (pid 812)\npause_s=3\nwrites_bytes=1400000000\npath=/var/tmp\nfree_bytes=40000000000\nupload_bytes=500000000\n"

PID = Parameter(name="pid", about="Process", type=ParameterType.INTEGER, default=0, minimum=0, maximum=4194304)
APP = Parameter(name="app", about="Unit", type=ParameterType.TEXT, default="", pattern=r"[\w.-]{0,64}")


def script(text: str) -> Action:
    """A step's script that takes both parameters."""
    return ScriptAction(name="it.sh", text=f"{text} $PARAM_PID $PARAM_APP")


def suggests(reading: Reading) -> Iterator[Finding]:
    """A finding with a suggestion for each line of the output that is one: recipe or "-", pid."""
    following = tuple(
        Suggestion(label=f"Look into {pid}", recipe="" if recipe == "-" else recipe, parameters={"pid": int(pid)})
        for recipe, _, pid in (line.partition(" ") for line in reading.text.splitlines())
        if pid
    )
    yield Finding(level=Level.BAD, text="java (pid 812) uses 390 % CPU", weight=0.9, next=following)


RECIPES: Mapping[str, Recipe] = {
    "host": a_recipe("host", a_step("ps", insight="suggests")),
    "threads": replace(
        a_recipe("threads", a_step("jstack", action=script("jstack"), insight="suggests")), parameters=(PID, APP)
    ),
    "core": replace(
        a_recipe("core", a_step("gcore", action=script("gcore"))),
        title="Core dump",
        impact=Impact.PAUSES,
        parameters=(PID, APP),
        cost=Measure(script=ScriptAction(name="core-cost.sh", text="$PARAM_PID"), timeout_s=5),
    ),
}


class Reception(Office):
    """An office with a Slack channel before it."""

    def __init__(self, journal: Journal, workspace: Workspace, scripts: Mapping[str, Script]) -> None:
        super().__init__(
            journal,
            {"cost": Script(pieces=(COST,)), **scripts},
            Limits(),
            recipes=RECIPES,
            insights={"suggests": suggests},
        )
        self.workspace = workspace
        self.channel = workspace.add_channel("inc-1042")
        self.ana, self.ben = workspace.add_user("ana"), workspace.add_user("ben")
        self.clerk = Clerk(self.desk, journal, incidents=None, untold=dict, now=self.clock)

    @property
    def roots(self) -> list[Message]:
        """The captures' messages in the channel, oldest first."""
        return [message for message in self.workspace.messages(self.channel) if message.metadata]

    def replies(self, message: Message) -> list[Message]:
        """What stands in a message's thread."""
        return self.workspace.thread(self.channel, message.ts)[1:]

    def whispers(self, user: str) -> list[Message]:
        """What only *user* sees."""
        return self.workspace.ephemerals(self.channel, user)

    async def capture(self, line: str = "/capture host app-1") -> Message:
        """Take a capture; its message, once it tells the end."""
        before = len(self.roots)
        await self.workspace.command(self.channel, self.ana, line)
        return await self.root(before, "complete")

    async def root(self, n: int, *words: str) -> Message:
        """The message of the nth capture, once it says all of *words*."""

        def look() -> Message | None:
            found = self.roots[n:]
            return found[0] if found and all(word in found[0].text for word in words) else None

        return await self.seen(look)

    async def whisper(self, user: str, words: str) -> Message:
        """What only *user* sees, once it says *words*."""
        return await self.seen(lambda: next((one for one in self.whispers(user) if words in one.text), None))

    async def seen(self, look: Callable[[], T | None]) -> T:
        """The first true value of *look*."""
        found = await self.workspace.wait_for(look, WITHIN_S)
        assert found
        return found

    async def press(self, message: Message, action_id: str, user: str, *, value: str | None = None) -> None:
        """Press a button, or choose *value* in a menu; it is acknowledged."""
        answer = await self.workspace.click(message.ts, action_id, user, value=value)
        assert answer.acked_after_s is not None, answer.error

    async def of(self, message: Message) -> Story:
        """The story that a message tells."""
        assert message.metadata
        return await self.story(message.metadata["event_payload"]["capture"])


def buttons(message: Message) -> list[str]:
    """What the message's buttons and menus say."""
    elements = [element for block in message.blocks if block["type"] == "actions" for element in block["elements"]]
    return [(element.get("text") or element["placeholder"])["text"] for element in elements]


@asynccontextmanager
async def reception(**scripts: Script) -> AsyncIterator[Reception]:
    """People, a channel and the bot; *scripts* are what the steps of RECIPES do."""
    async with Workspace(app=App.from_manifest(yaml.safe_load(MANIFEST.read_text()))) as workspace:
        journal = await Journal.open("sqlite://", owner="me")
        here = Reception(journal, workspace, scripts)
        client = AsyncWebClient(token=workspace.bot_token, base_url=workspace.api_url, retry_handlers=[])
        # Its clock goes by fast enough for no edit to be held back.
        reporter = SlackThread(client, began=here.clock(), clock=count(0.0, EDIT_PAUSE_S * 2).__next__)
        reporter.pause_s = 0.0
        teller = Teller(journal, [reporter], now=here.clock)
        await teller.start()
        sockets = Sockets(await make_app(client, here.clerk), workspace.app_token, count=1)
        await sockets.open()
        await workspace.wait_for(lambda: workspace.sockets.numbers, WITHIN_S)
        try:
            yield here
        finally:
            await sockets.close()
            for one in here.desk.underway:
                with suppress(UserError):  # it ended meanwhile
                    await here.desk.stop(one.capture.id, one.capture.who)
            await here.desk.drain()
            await teller.close()
            await journal.close()

"""A Slack channel with people in it and the whole bot behind it: listeners, desk, reporter; targets are scripted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TypeVar

import yaml
from slack_sdk.web.async_client import AsyncWebClient

from bot.approvals.approving import Approving
from bot.errors import UserError
from bot.insights import Reading
from bot.journal import Journal
from bot.model import (
    Action,
    Budgets,
    Finding,
    Impact,
    Level,
    Measure,
    Parameter,
    ParameterType,
    Person,
    Policy,
    Recipe,
    Service,
    Source,
    Suggestion,
)
from bot.model import Script as ScriptAction
from bot.notes import Exchange
from bot.playground.workspace import App, Message, Workspace
from bot.playground.workspace import Limits as SlackLimits
from bot.report.writing import Reports
from bot.reporters.pagerduty import Notes as WrittenNotes
from bot.reporters.slack import EDIT_PAUSE_S, SlackThread
from bot.reporters.telling import Teller
from bot.settings import Limits
from bot.slack.answering import Answering
from bot.slack.app import Listener, make_app
from bot.slack.approvals import Approvals
from bot.slack.board import Board
from bot.slack.channels import Channels
from bot.slack.choices import Choices
from bot.slack.clerk import Clerk
from bot.slack.dialogs import Dialogs
from bot.slack.directory import Directory
from bot.slack.ending import Endings
from bot.slack.home import Home
from bot.slack.intake import Intake
from bot.slack.keeper import Keeper
from bot.slack.lookout import Dedicated, Incidents, Lookout
from bot.slack.mentions import Mentions
from bot.slack.notes import Notes
from bot.slack.noticeboard import Noticeboard
from bot.slack.people import People
from bot.slack.requests import RequestBoard
from bot.slack.rooms import Rooms
from bot.slack.sockets import Sockets
from bot.story import Story
from bot.tasks import Tasks
from tests.fakes import ANYTHING, Script, a_recipe, a_step, masked
from tests.office import Office

T = TypeVar("T")

MANIFEST = Path(__file__).parent.parent / "manifest.yml"
WITHIN_S = 5.0
BURST = 20  # posts to a channel that need not wait for each other, here
POLL_S = 0.02
LOOK_S = 0.05  # after which time that went by is noticed
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

    def __init__(
        self,
        journal: Journal,
        workspace: Workspace,
        scripts: Mapping[str, Script],
        *,
        services: Mapping[str, Service] | None = None,
        incidents: Incidents | None = None,
        pagerduty: WrittenNotes | None = None,
        policy: Policy = ANYTHING,
        budgets: Budgets | None = None,
    ) -> None:
        self.policy = policy
        super().__init__(
            journal,
            {"cost": Script(pieces=(COST,)), **scripts},
            Limits(),
            recipes=RECIPES,
            insights={"suggests": suggests},
            services=services,
            policy=policy,
            budgets=budgets,
        )
        self.incidents = incidents
        self.pagerduty = pagerduty
        self.exchange: Exchange | None = None
        self.gone: set[str] = set()  # processes that died
        self.waits_s: list[float] = []  # before something was tried again
        self.broken_followers: list[BaseException] = []
        self.announcements: list[str] = []
        self.rooms: Rooms | None = None
        self.bot = AsyncExitStack()
        self.looks_after_s: tuple[float, ...] = ()
        self.dedicated: Dedicated | None = None
        self.reports = Reports(journal, self.store, prefix="evidence", mask=masked, now=self.clock)
        self.workspace = workspace
        self.ana, self.ben = workspace.add_user("ana"), workspace.add_user("ben")
        self.person = Person(id=self.ana, name="ana")
        self.channel = workspace.add_channel("inc-1042")
        self.clerk = Clerk(self.desk, journal, incidents=incidents, untold=dict, now=self.clock, reports=self.reports)

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

    async def slept(self, seconds: float) -> None:
        """Wait before something is tried again: not here."""
        self.waits_s.append(seconds)
        await asyncio.sleep(0)

    async def restart(self) -> None:
        """End all that listens and tells, and start it once more."""
        await self.bot.aclose()
        await self.bot.enter_async_context(at_work(self))

    async def untold(self, what: str) -> str:
        """Why *what* is not told, once that is so."""
        async with asyncio.timeout(WITHIN_S):
            while not (self.rooms and what in self.rooms.untold()):  # noqa: ASYNC110  nothing announces it
                await asyncio.sleep(POLL_S)
        return self.rooms.untold()[what]

    async def of(self, message: Message) -> Story:
        """The story that a message tells."""
        assert message.metadata
        return await self.story(message.metadata["event_payload"]["capture"])


def buttons(message: Message) -> list[str]:
    """What the message's buttons and menus say."""
    found = []
    for block in message.blocks:
        if "accessory" in block:  # named by what stands beside it
            found.append(block["text"]["text"].partition("\n")[0].strip("*"))
        elif block["type"] == "actions":
            found += [(element.get("text") or element["placeholder"])["text"] for element in block["elements"]]
    return found


def listeners(client: AsyncWebClient, here: Reception) -> list[Listener]:
    """What hears of more than commands and presses."""
    people, intake = People(client), Intake()
    here.exchange = None
    if here.pagerduty:
        rooms = Noticeboard(client, here.journal, began=here.clock())
        here.exchange = Exchange(
            here.journal,
            here.pagerduty,
            rooms,
            mask=masked,
            is_gone=here.gone.__contains__,
            now=here.clock,
            sleep=here.slept,
        )
    notes = Notes(client, here.exchange, people, intake=intake, permission=here.desk.permission, now=here.clock)
    here.clerk = Clerk(
        here.desk,
        here.journal,
        incidents=here.incidents,
        untold=dict,
        now=here.clock,
        reports=here.reports,
        notes=notes,
    )
    dialogs = Dialogs(client, here.desk, here.clerk, intake=intake, now=here.clock)
    return [
        dialogs.listen,
        Home(client, here.desk, here.clerk, dialogs).listen,
        Mentions(client, here.clerk, people, intake).listen,
        notes.listen,
    ]


@asynccontextmanager
async def reception(
    *,
    services: Mapping[str, Service] | None = None,
    incidents: Incidents | None = None,
    looks_after_s: tuple[float, ...] = (),
    dedicated: Dedicated | None = None,
    pagerduty: WrittenNotes | None = None,
    policy: Policy = ANYTHING,
    budgets: Budgets | None = None,
    **scripts: Script,
) -> AsyncIterator[Reception]:
    """People, a channel and the bot; *scripts* are what the steps of RECIPES do."""
    app = App.from_manifest(yaml.safe_load(MANIFEST.read_text()))
    async with Workspace(app=app, limits=SlackLimits(post_burst=BURST)) as workspace:
        journal = await Journal.open("sqlite://", owner="me")
        here = Reception(
            journal,
            workspace,
            scripts,
            services=services,
            incidents=incidents,
            pagerduty=pagerduty,
            policy=policy,
            budgets=budgets,
        )
        here.looks_after_s = looks_after_s
        here.dedicated = dedicated
        try:
            async with AsyncExitStack() as here.bot:
                await here.bot.enter_async_context(at_work(here))
                yield here
        finally:
            for one in here.desk.underway:
                with suppress(UserError):  # it ended meanwhile
                    await here.desk.stop(one.capture.id, one.capture.who, source=Source.TERMINAL)
            await here.desk.drain()
            await journal.close()


@asynccontextmanager
async def at_work(here: Reception) -> AsyncIterator[None]:
    """All that listens and tells; after it, it may be started once more."""
    workspace, journal = here.workspace, here.journal
    client = AsyncWebClient(token=workspace.bot_token, base_url=workspace.api_url, retry_handlers=[])
    # Its clock goes by fast enough for no edit to be held back.
    clock = count(0.0, EDIT_PAUSE_S * 2).__next__
    reporter = SlackThread(client, began=here.clock(), clock=clock, pagerduty=here.incidents is not None)
    reporter.pause_s = 0.0
    teller = Teller(journal, [reporter], now=here.clock)
    await teller.start()
    services = here.desk.services
    lookout = Lookout(
        client, journal, incidents=here.incidents, services=services, now=here.clock, dedicated=here.dedicated
    )
    keeper = Keeper(
        here.desk,
        journal,
        board=Board(client),
        lookout=lookout,
        endings=Endings(journal, here.incidents, clock=lambda: here.clock().timestamp()),
        now=here.clock,
        looks_after_s=here.looks_after_s,
    )
    here.rooms = rooms = Rooms(journal, keeper, now=here.clock, is_gone=here.gone.__contains__, pause_s=0.0)
    await rooms.start()
    endings = Endings(journal, here.incidents, clock=lambda: here.clock().timestamp())
    approving = Approving(here.desk, journal, mask=masked, ended_since=endings.ended_since, now=here.clock)
    requests = RequestBoard(
        client,
        here.desk,
        journal,
        approving,
        mask=masked,
        now=here.clock,
        is_gone=here.gone.__contains__,
        look_s=LOOK_S,
    )
    await requests.start()
    channels = Channels(journal, lookout, services=services, announcements=here.announcements, now=here.clock)
    answering = Answering(journal, now=here.clock)
    heard = [
        *listeners(client, here),
        channels.listen,
        Choices(keeper, here.clerk, answering).listen,
        Approvals(client, approving, answering).listen,
    ]
    tasks = Tasks(lambda _name, error: here.broken_followers.append(error))
    for follower in here.exchange.followers() if here.exchange else ():
        await follower.remember()
        tasks.start(follower.follow(), name=follower.name)
    directory = Directory(client, groups=here.policy.groups, tasks=tasks, clock=lambda: here.clock().timestamp())
    here.desk.permission.members = directory
    sockets = Sockets(await make_app(client, here.clerk, directory, *heard), workspace.app_token, count=1)
    await sockets.open()
    await workspace.wait_for(lambda: workspace.sockets.numbers, WITHIN_S)
    try:
        yield
    finally:
        await tasks.cancel(WITHIN_S)
        await sockets.close()
        await rooms.close()
        await requests.close()
        await teller.close()

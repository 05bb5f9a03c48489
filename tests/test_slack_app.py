"""`/capture` through real Bolt and Socket Mode: the ack first, an answer for the asker, the desk behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

import pytest
import yaml
from slack_sdk.web.async_client import AsyncWebClient

from bot.desk import Desk
from bot.errors import DeliveryFailed, UserError
from bot.journal import Journal
from bot.measuring import Measurer
from bot.model import Refused, Source, State, Target, TargetKind
from bot.permission import Permission
from bot.playground.workspace import Answer, App, Fault, Workspace
from bot.redact import Redactor
from bot.runner import Runner
from bot.settings import Limits
from bot.slack.app import make_app
from bot.slack.clerk import Clerk
from bot.slack.directory import Directory
from bot.slack.sockets import Sockets
from bot.story import story
from bot.tasks import Tasks
from tests.fakes import ANYTHING, Clock, MemoryStore, Script, ScriptedTransport, a_recipe

pytestmark = pytest.mark.live  # each test starts a workspace, and a bot that connects to it

MANIFEST = Path(__file__).parent.parent / "manifest.yml"
SLACKS_LIMIT_S = 3.0  # how near acks come to it is measured by `make bench`


@dataclass(frozen=True)
class Incident:
    id: str
    title: str
    status: str = "triggered"
    resolved_at: None = None


class Incidents:
    """Knows one incident."""

    async def incident(self, reference: str) -> Incident:
        if reference != "1042":
            raise DeliveryFailed(f"PagerDuty knows no incident {reference}.", cure="Check its number.")
        return Incident("PABC123", "Orders are slow")


class Room:
    """A channel with somebody in it, and the bot behind it."""

    def __init__(self, workspace: Workspace, journal: Journal, transport: ScriptedTransport, desk: Desk) -> None:
        self.workspace = workspace
        self.journal = journal
        self.transport = transport
        self.desk = desk
        self.channel = workspace.add_channel("inc-1042")
        self.ana = workspace.add_user("ana")

    async def type(self, line: str) -> str:
        """Type a command; return what only the asker sees."""
        before = len(self.workspace.ephemerals(self.channel, self.ana))
        answer: Answer = await self.workspace.command(self.channel, self.ana, line)
        assert answer.acked_after_s is not None, answer.error
        seen = await self.workspace.wait_for(
            lambda: self.workspace.ephemerals(self.channel, self.ana)[before:], within_s=5
        )
        return seen[0].text


@asynccontextmanager
async def room(script: Script) -> AsyncIterator[Room]:
    """A bot with one host and one scripted step, connected twice."""
    async with Workspace(app=App.from_manifest(yaml.safe_load(MANIFEST.read_text()))) as workspace:
        journal = await Journal.open("sqlite://", owner="me")
        transport, store, limits, clock = ScriptedTransport({"ps": script}), MemoryStore(), Limits(), Clock()
        runner = Runner(
            transports={"local": transport},
            store=store,
            insights={},
            redactor=lambda _: Redactor(tuple, salt=b"salt"),
            emit=journal.append,
            limits=replace(limits, captures_at_once=50),
            now=clock,
        )
        targets = {f"app-{n}": Target(name=f"app-{n}", local=True) for n in range(60)}
        client = AsyncWebClient(token=workspace.bot_token, base_url=workspace.api_url)
        tasks = Tasks(lambda _name, _error: None)  # whoever asked gets the error too
        directory = Directory(client, groups=frozenset(), tasks=tasks, clock=monotonic)
        permission = Permission(ANYTHING, targets, journal, now=clock)
        permission.members = directory
        desk = Desk(
            permission=permission,
            recipes={"host": a_recipe("host"), "db": replace(a_recipe("db"), wants=TargetKind.MYSQL)},
            targets=targets,
            journal=journal,
            runner=runner,
            measurer=Measurer(
                transports={"local": transport}, redactor=Redactor(tuple, salt=b"salt"), emit=journal.append, now=clock
            ),
            store=store,
            limits=replace(limits, captures_at_once=50),
            prefix="evidence",
            now=clock,
        )
        clerk = Clerk(desk, journal, incidents=Incidents(), untold=dict, now=clock)
        sockets = Sockets(await make_app(client, clerk, directory), workspace.app_token, count=2)
        await sockets.open()
        await workspace.wait_for(lambda: len(workspace.sockets.numbers) == 2, within_s=5)
        try:
            yield Room(workspace, journal, transport, desk)
        finally:
            await sockets.close()
            for one in desk.underway:
                with suppress(UserError):  # it ended meanwhile
                    await desk.stop(one.capture.id, one.capture.who, source=Source.TERMINAL)
            await desk.drain()
            await journal.close()


async def test_a_command_is_acknowledged_and_becomes_a_capture() -> None:
    """The asker hears at once what it costs; the capture runs to its end."""
    async with room(Script()) as here:
        said = await here.type("/capture host app-1")

        (capture_id,) = await here.journal.recent()
        await here.desk.wait_for(capture_id)
        told = story(await here.journal.events(capture_id))

    assert told
    assert said.startswith(f"🕓 `{capture_id}`: Host triage on app-1 — light load on the target for a few seconds.")
    assert told.state is State.COMPLETE
    assert told.capture.who.name == "ana"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("/capture hosts app-1", "Did you mean `host`?"),
        ("/capture host app-q", "Did you mean `app-"),
        ("/capture host", "needs a target"),
        ("/capture host app-1 top=5", "top"),
        ("/capture host 'app-1", "never closed"),
        ("/capture host $(reboot)", "There is no target `$(reboot)`"),
        ("/capture host app-1;reboot", "There is no target `app-1;reboot`"),
        ("/capture host <!channel>", "There is no target"),
        ("/capture host ünïcødé", "There is no target `ünïcødé`"),
        ("/capture " + "x" * 10_000, "10,000 characters"),
        ("/capture stop zzzzzz", "There is no running capture `zzzzzz`"),
        ("/capture link 7", "PagerDuty knows no incident 7. Check its number."),
        ("/capture help hosts", "Did you mean `host`?"),
    ],
)
async def test_a_wrong_word_is_answered_to_the_asker_alone(line: str, says: str) -> None:
    """The answer names the nearest right thing, and nothing was started."""
    async with room(Script()) as here:
        said = await here.type(line)

        assert says in said
        assert "<!channel>" not in said
        assert await here.journal.recent() == []
        assert here.workspace.messages(here.channel) == []


async def test_what_was_refused_is_in_the_journal_with_its_reason() -> None:
    """An auditor finds who asked for what, and why it was not done."""
    async with room(Script()) as here:
        await here.type("/capture hosts app-1")

        ((_, refused),) = await here.journal.after(0)

    assert isinstance(refused, Refused)
    assert (refused.trigger.who.name, refused.trigger.recipe) == ("ana", "hosts")


async def test_help_list_and_status_say_what_there_is() -> None:
    """Somebody new finds the way without a manual."""
    async with room(Script()) as here:
        assert "`host` — Host triage" in await here.type("/capture help")
        assert "Try `/capture host app-0`" in await here.type("/capture help host")
        assert "no target is set up for it" in await here.type("/capture list")
        assert "Nothing was captured yet" in await here.type("/capture status")
        await here.type("/capture host app-1")
        (capture_id,) = await here.journal.recent()
        await here.desk.wait_for(capture_id)
        assert "Nothing unusual found" in await here.type("/capture status")


async def test_a_channel_is_linked_to_an_incident() -> None:
    """From then on its captures carry the incident."""
    async with room(Script()) as here:
        said = await here.type("/capture link 1042")

        assert "PABC123: Orders are slow" in said
        assert await here.journal.incident_of(here.channel) == "PABC123"


async def test_a_running_capture_is_stopped_by_its_id() -> None:
    """The asker hears that it is under way; the proof comes with the story."""
    async with room(Script(hangs=True)) as here:
        await here.type("/capture host app-1")
        (capture_id,) = await here.journal.recent()
        await here.transport.wait_for_start(1)

        said = await here.type(f"/capture stop {capture_id}")

        await here.desk.wait_for(capture_id)
        told = story(await here.journal.events(capture_id))
    assert said.startswith(f"✋ Stopping `{capture_id}`")
    assert told
    assert told.state is State.STOPPED


async def test_the_same_delivery_twice_is_one_capture() -> None:
    """Slack may deliver a command again; it is taken once."""
    async with room(Script()) as here:
        here.workspace.sockets.duplicate_next(1)
        await here.type("/capture host app-1")

        assert len(await here.journal.recent()) == 1


async def test_every_command_is_acknowledged_while_fifty_captures_run() -> None:
    """Whatever runs, nobody sees Slack's `operation_timeout`."""
    async with room(Script(hangs=True)) as here:
        for n in range(50):
            await here.type(f"/capture host app-{n}")
        await here.transport.wait_for_start(50)
        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(here.workspace.command(here.channel, here.ana, "/capture status"))

        assert here.workspace.ack_s(1.0) < SLACKS_LIMIT_S


async def test_a_command_still_answers_when_slack_fails_around_it() -> None:
    """An outage of another method does not keep the ack back."""
    async with room(Script()) as here:
        here.workspace.fail_next("chat.postMessage", Fault(status=500), times=3)

        assert "`host`" in await here.type("/capture list")


async def test_a_lost_socket_leaves_the_other_one() -> None:
    """With one connection cut the next command still arrives."""
    async with room(Script()) as here:
        here.workspace.sockets.cut(here.workspace.sockets.numbers[0])

        assert "`host`" in await here.type("/capture list")

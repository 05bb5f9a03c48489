"""PagerDuty calls, and captures start: once, however often, late and out of order it calls."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from prometheus_client import CollectorRegistry
from slack_sdk.web.async_client import AsyncWebClient

from bot.errors import SecretMissing
from bot.following import Follower
from bot.incidents import Pages
from bot.journal import Journal
from bot.model import Accepted, Call, Capture, Heard, SecretRef, Service, Source
from bot.pagerduty.reception import TAKEN_WITHIN_S, Reception
from bot.playground.pagerduty import PagerDutyStandIn
from bot.playground.pagerduty_hooks import an_event
from bot.playground.workspace import App, Workspace
from bot.reporters.slack import SlackThread
from bot.reporters.telling import Teller
from bot.settings import WEBHOOKS, load
from bot.web import BODY_BYTES, CALLS_AT_ONCE, Web
from tests.fakes import ANA, AT, a_trigger
from tests.faults import until
from tests.office import Office, office

pytestmark = pytest.mark.live  # each test starts a workspace, and a bot that connects to it

MANIFEST = Path(__file__).parent.parent / "manifest.yml"
SECRET = "the-webhook-secret"
INCIDENT = "PORDERS1042"
SERVICES = {"orders": Service(name="orders", pagerduty="PSERVIC", targets=("app-1", "orders-db"), first=("host", "db"))}
WITHIN_S = 5.0


class Secrets:
    """Resolves references to what they are called, but for the webhooks' secret."""

    def __init__(self, secret: str = SECRET) -> None:
        self.secret = secret

    async def resolve(self, ref: SecretRef) -> str:
        return self.secret

    def forget(self, ref: SecretRef) -> None:
        """Nothing is kept."""


async def until_so(true: Callable[[], Awaitable[bool]]) -> None:
    """Wait until *true* says so."""
    async with asyncio.timeout(WITHIN_S):
        while not await true():  # noqa: ASYNC110  # what is waited for is told by nobody
            await asyncio.sleep(0.005)


async def ready() -> str:
    """Always."""
    return ""


@dataclass
class Bot:
    """All that hears PagerDuty, on one journal; *url* is where it listens."""

    office: Office
    url: str
    statuses: list[int] = field(default_factory=list)

    @property
    def journal(self) -> Journal:
        return self.office.journal

    async def post(self, body: bytes, *, secret: str = SECRET, delivery: str = "d-1", **headers: str) -> int:
        """Call as PagerDuty does, or as somebody who would like to."""
        signature = "v1=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        given = {"X-PagerDuty-Signature": signature, "X-Webhook-Id": delivery, **headers}
        async with aiohttp.ClientSession() as client, client.post(self.url, data=body, headers=given) as answer:
            return answer.status

    async def call(self, event: dict[str, Any], *, delivery: str | None = None) -> int:
        """One signed call."""
        return await self.post(json.dumps({"event": event}).encode(), delivery=delivery or event["id"])

    async def heard(self) -> list[Call]:
        """What is in the journal."""
        return [event.call for event in await self.office.events() if isinstance(event, Heard)]

    async def captures(self) -> list[Capture]:
        """What was started, once all that was heard is acted on."""
        await until_so(self._caught_up)
        return [event.capture for event in await self.office.events() if isinstance(event, Accepted)]

    async def _caught_up(self) -> bool:
        read, _ = await self.journal.memory("incidents", "followed") or (0, {})
        return not await self.journal.after(read, only="heard")


@asynccontextmanager
async def bot(
    journal: Journal, *, secrets: Secrets | None = None, cooldown_s: float = 120.0, within_s: float = TAKEN_WITHIN_S
) -> AsyncIterator[Bot]:
    """A bot that listens, until the block ends as a crash would end it."""
    here = office(journal, services=SERVICES, cooldown_s=cooldown_s)
    follower = Follower(
        journal, name="incidents", kind="heard", handle=Pages(here.desk, journal, now=here.clock).hear, look_s=0.05
    )
    await follower.remember()
    reception = Reception(journal, secrets or Secrets(), [SecretRef("env:A")], now=here.clock, within_s=within_s)
    web = Web("127.0.0.1:0", ready=ready, registry=CollectorRegistry(), take=reception.take, read_s=0.2)
    await web.open()
    async with asyncio.TaskGroup() as group:
        following = group.create_task(follower.follow())
        yield Bot(here, f"http://127.0.0.1:{web.port}{WEBHOOKS}")
        following.cancel()
    await web.close()
    await here.desk.drain()


@pytest.fixture
async def journal() -> AsyncIterator[Journal]:
    """A journal in memory."""
    opened = await Journal.open("sqlite://", owner="me")
    yield opened
    await opened.close()


def incident(status: str = "triggered", **changes: Any) -> dict[str, Any]:
    """An incident as a call shows it."""
    service = {"id": "PSERVIC", "type": "service_reference", "summary": "Orders"}
    return {"id": INCIDENT, "type": "incident", "number": 1042, "status": status, "title": "Orders are slow",
            "html_url": "https://acme.pagerduty.com/incidents/PORDERS1042", "service": service, **changes}  # fmt: skip


def event(what: str = "triggered", *, minutes: float = 0, status: str = "", **changes: Any) -> dict[str, Any]:
    """An event that happened *minutes* after the clock's beginning."""
    statuses = {"resolved": "resolved", "acknowledged": "acknowledged"}
    data = incident(status or statuses.get(what, "triggered"), **changes)
    return an_event(f"incident.{what}", data, at=AT + timedelta(minutes=minutes))


async def test_an_incident_starts_its_services_first_set(journal: Journal) -> None:
    """At once, without a channel; each recipe over those of its targets that it is for."""
    async with bot(journal) as here:
        status = await here.call(event())

        captures = await here.captures()

    assert status == 202
    assert [(one.recipe, one.targets, one.incident, one.place) for one in captures] == [
        ("host", ("app-1",), INCIDENT, None),
        ("db", ("orders-db",), INCIDENT, None),
    ]
    assert {(one.source, one.who.name) for one in captures} == {(Source.PAGERDUTY, "PagerDuty incident 1042")}
    assert all(f"/{INCIDENT}/" in one.prefix for one in captures)


FIRST = [event(), event("acknowledged", minutes=1), event("resolved", minutes=20)]
AGAIN = event("reopened", minutes=30)
PRESSED = event("custom", minutes=1)


@pytest.mark.parametrize(
    ("calls", "sets"),
    [
        pytest.param([FIRST[0], FIRST[0], FIRST[0]], 1, id="the same delivery three times"),
        pytest.param([FIRST[0], FIRST[1], FIRST[0]], 1, id="and once more after something else"),
        pytest.param([FIRST[1], FIRST[0]], 1, id="acknowledged comes before triggered"),
        pytest.param([FIRST[2], FIRST[0]], 0, id="resolved comes before triggered"),
        pytest.param([FIRST[2], FIRST[1], FIRST[0]], 0, id="everything in the wrong order"),
        pytest.param([FIRST[0], FIRST[2], AGAIN], 2, id="reopened"),
        pytest.param([AGAIN, FIRST[2], FIRST[0]], 1, id="what opened it first comes last"),
        pytest.param([PRESSED, PRESSED], 1, id="a button that an operator added to PagerDuty, delivered twice"),
        pytest.param([event(minutes=-5)], 1, id="late by five minutes"),
        pytest.param([event(minutes=-31)], 0, id="later than half an hour"),
        pytest.param([FIRST[1], event("annotated"), event("escalated")], 0, id="nothing that opens it"),
        pytest.param([event(service={"id": "POTHER1", "type": "service_reference"})], 0, id="another service"),
        pytest.param([event(service=None)], 0, id="no service"),
        pytest.param(
            [event(service={"id": "POTHER1", "type": "service_reference"}), event("service_updated", minutes=1)],
            1,
            id="moved to the service",
        ),
    ],
)  # fmt: skip
async def test_calls_start_what_they_should_once(journal: Journal, calls: list[dict[str, Any]], sets: int) -> None:
    """However often they come, and in whatever order: a set is two captures."""
    async with bot(journal, cooldown_s=0) as here:
        for one in calls:
            assert await here.call(one) == 202
            await here.captures()

        assert len(await here.captures()) == 2 * sets


async def test_a_storm_is_one_capture_of_each_target(journal: Journal) -> None:
    """Forty incidents of one service; each of them has it, in its note and in its channel."""
    async with bot(journal) as here:
        for n in range(40):
            await here.call(event(id=f"PSTORM{n:02}", number=n))
        captures = await here.captures()
        await here.office.desk.link("C39", "PSTORM39", ANA)
        last = await journal.of_incident("PSTORM39")
        stories = [await here.office.story(capture_id) for capture_id in last]

    assert [(one.recipe, one.targets) for one in captures] == [("host", ("app-1",)), ("db", ("orders-db",))]
    assert last == [capture.id for capture in captures]
    assert [[place.channel for place in told.places] for told in stories] == [["C39"], ["C39"]]


async def test_a_delivery_is_known_by_its_id_and_by_its_events(journal: Journal) -> None:
    """Sent again under another id, or with another body under the same: it is the same."""
    async with bot(journal) as here:
        await here.call(event(), delivery="d-1")
        await here.call(event("acknowledged"), delivery="d-1")
        again = event("escalated")
        await here.call(again, delivery="d-2")
        await here.call(again, delivery="d-3")

        assert [one.what for one in await here.heard()] == ["incident.triggered", "incident.escalated"]


async def test_what_was_heard_and_not_acted_on_is_acted_on_after_a_restart(tmp_path: Path) -> None:
    """And what was acted on is not acted on again, though it is delivered again."""
    url = f"sqlite:///{tmp_path}/journal.db"
    journal = await Journal.open(url, owner="one")
    reception = Reception(journal, Secrets(), [SecretRef("env:A")], now=lambda: AT)
    await Follower(journal, name="incidents", kind="heard", handle=nothing).remember()
    body = json.dumps({"event": (triggered := event())}).encode()
    signature = "v1=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    await reception.take(body, {"X-PagerDuty-Signature": signature, "X-Webhook-Id": "d-1"})
    await journal.close()

    for owner in ("two", "three"):
        journal = await Journal.open(url, owner=owner)
        async with bot(journal) as here:
            assert len(await here.captures()) == 2
            await here.call(triggered, delivery="d-1")
            assert len(await here.captures()) == 2
        await journal.close()


async def nothing(_: object) -> None:
    """Does nothing."""


# --- the channel comes later ----------------------------------------------------------------------


async def test_what_ran_before_there_was_a_channel_is_shown_in_it_once(tmp_path: Path) -> None:
    """Whether it was linked before or after a capture ended, and whatever restarts in between; the note is not waited for."""
    url = f"sqlite:///{tmp_path}/journal.db"
    async with Workspace(app=App.from_manifest(yaml.safe_load(MANIFEST.read_text()))) as workspace:
        first, second = workspace.add_channel("inc-1042"), workspace.add_channel("inc-1042-more")
        client = AsyncWebClient(token=workspace.bot_token, base_url=workspace.api_url, retry_handlers=[])

        @asynccontextmanager
        async def life(owner: str) -> AsyncIterator[Bot]:
            journal = await Journal.open(url, owner=owner)
            slack = SlackThread(client, began=AT, clock=asyncio.get_running_loop().time)
            teller = Teller(journal, [slack], is_gone=lambda name: name != owner, now=lambda: AT)
            async with bot(journal) as here:
                await teller.start()
                yield here
                await here.office.desk.drain()
                assert await teller.settle(WITHIN_S), teller.untold()
            await teller.close()
            await journal.close()

        async with life("one") as here:
            await here.call(event())
            assert len(await here.captures()) == 2
        before = workspace.messages(first)
        async with life("two") as here:
            await here.office.desk.link(first, INCIDENT, ANA)
            await here.office.desk.link(second, INCIDENT, ANA)
        async with life("three") as here:
            await here.office.desk.link(first, INCIDENT, ANA)

    assert before == []
    told = [message.text.splitlines()[1] for message in workspace.messages(first) if message.metadata]
    assert [line[2:].split(":")[0] for line in told] == ["host on app-1", "db on orders-db"]
    assert [message for message in workspace.messages(second) if message.metadata] == []


async def test_what_runs_once_there_is_a_channel_is_shown_in_it_at_once(journal: Journal) -> None:
    """Nobody has to link it again; one that was asked for elsewhere stays there."""
    async with bot(journal) as here:
        await here.office.desk.link("C7", INCIDENT, ANA)
        await here.call(event())
        elsewhere = await here.office.desk.accept(a_trigger("host", "app-2", incident=INCIDENT))
        captures = await here.captures()
        stories = [await here.office.story(capture.id) for capture in captures]

    assert elsewhere in captures
    assert sorted(place.channel for told in stories for place in told.places) == ["C1", "C7", "C7"]


# --- whoever else calls -------------------------------------------------------------------------


async def test_only_a_call_that_is_not_pagerdutys_is_refused(journal: Journal) -> None:
    """Everything that is signed is taken, of use or not: PagerDuty would disable the subscription."""
    async with bot(journal) as here:
        forged = await here.post(json.dumps({"event": event()}).encode(), secret="another")
        bare = await here.post(b"{}", **{"X-PagerDuty-Signature": ""})
        malformed = await here.post(b'{"event": 7')
        unknown = await here.call(an_event("service.deleted", {"type": "service", "id": "PSERVIC"}))
        ping = await here.call(an_event("pagey.ping", {"type": "ping", "message": "Hello"}))
        odd = await here.call(event("something_new"))

        assert (forged, bare, malformed, unknown, ping, odd) == (401, 401, 202, 202, 202, 202)
        assert [one.what for one in await here.heard()] == ["incident.something_new"]
        assert await here.captures() == []


async def test_a_body_that_pagerduty_would_not_send_is_not_read(journal: Journal) -> None:
    """One of the most that it sends is."""
    async with bot(journal) as here:
        most = json.dumps({"event": {**event(), "client": {"name": ""}}}).encode()
        filled = most.replace(b'"name": ""', b'"name": "' + b"x" * (BODY_BYTES - len(most)) + b'"')

        assert await here.post(filled) == 202
        assert await here.post(filled + b" ") == 413
        assert len(await here.heard()) == 1


async def test_a_journal_that_hangs_has_it_sent_again(journal: Journal) -> None:
    """503 in time, which PagerDuty takes for "later"; nothing is lost and nothing is double."""
    async with bot(journal, within_s=0.5) as here:
        gate = threading.Event()
        journal._thread.submit(gate.wait)
        try:
            status = await here.call(call := event())
        finally:
            gate.set()

        assert status == 503
        assert await here.call(call) == 202
        assert len(await here.captures()) == 2


async def test_several_secrets_may_stand_in_one_file(journal: Journal, tmp_path: Path) -> None:
    """One a line, as `capturebot pagerduty setup` writes them; a call may be signed with any."""
    (tmp_path / "capturebot.yml").write_text(
        "folder: x\ntargets: {here: {local: true}}\n"
        "pagerduty: {token: env:P, from: a@b.example, webhook_secrets: [file:hooks, env:W]}\n"
    )
    settings = load(tmp_path / "capturebot.yml")

    async with bot(journal, secrets=Secrets(f"first\n{SECRET}\n")) as here:
        assert await here.call(event()) == 202
        assert await here.post(b"{}", secret="first") == 202
        assert await here.post(b"{}", secret=f"first\n{SECRET}") == 401

    assert settings.pagerduty
    assert settings.pagerduty.webhook_secrets == (SecretRef("file:hooks"), SecretRef("env:W"))


async def test_a_secret_that_is_not_there_has_it_sent_again(journal: Journal) -> None:
    """The operator's mistake is not PagerDuty's."""

    class Gone(Secrets):
        async def resolve(self, ref: SecretRef) -> str:
            raise SecretMissing("The environment variable A is not set: set it where the bot is started.")

    async with bot(journal, secrets=Gone()) as here:
        assert await here.call(event()) == 503


async def test_a_secret_that_was_replaced_a_moment_ago_is_read_anew(journal: Journal) -> None:
    """What is refused is not sent again, so the store is asked before it is."""

    class Kept(Secrets):
        def forget(self, ref: SecretRef) -> None:
            self.secret = SECRET

    async with bot(journal, secrets=Kept("the one before")) as here:
        assert await here.call(event()) == 202


async def test_a_slow_body_holds_nobody_up_for_long(journal: Journal) -> None:
    """Those beyond the most that are read at once are sent away, not left waiting."""
    async with bot(journal) as here:
        host, port = here.url.split("/")[2].split(":")
        slow = [await asyncio.open_connection(host, int(port)) for _ in range(CALLS_AT_ONCE)]
        for _, writer in slow:
            writer.write(f"POST {WEBHOOKS} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n".encode())
            await writer.drain()
        await until_so(lambda: sent_away(here))
        async with asyncio.timeout(WITHIN_S):
            answers = [(await reader.readline()).split()[1] for reader, _ in slow]
        for _, writer in slow:
            writer.close()

        assert set(answers) == {b"503"}


async def sent_away(here: Bot) -> bool:
    """Whether a call finds no room now."""
    return await here.call(event()) == 503


# --- the stand-in, which calls as PagerDuty does --------------------------------------------------


@pytest.fixture
async def pagerduty() -> AsyncIterator[PagerDutyStandIn]:
    """An account that tries again soon."""
    async with PagerDutyStandIn() as standin:
        standin.hooks.retry_s = 0.01
        yield standin


EVENTS = ["incident.triggered", "incident.acknowledged", "incident.resolved", "incident.annotated"]


async def test_the_stand_ins_incident_starts_captures(journal: Journal, pagerduty: PagerDutyStandIn) -> None:
    """Real, signed calls over HTTP; its notes come too."""
    secrets = Secrets()
    async with bot(journal, secrets=secrets) as here:
        here.office.clock.at = datetime.now(UTC)
        _, secrets.secret = pagerduty.hooks.subscribe(here.url, "PSERVIC", *EVENTS)

        pagerduty.trigger(INCIDENT, 1042, "Orders are slow", "Orders")
        pagerduty.change(INCIDENT, "acknowledged", status="acknowledged")
        pagerduty.write_note(INCIDENT, "It is the index.")
        await pagerduty.hooks.settle(WITHIN_S)

        assert len(await here.captures()) == 2
        assert [(one.what, one.note) for one in await here.heard()] == [
            ("incident.triggered", ""),
            ("incident.acknowledged", ""),
            ("incident.annotated", "It is the index."),
        ]


async def test_the_stand_in_gives_up_as_pagerduty_does(journal: Journal, pagerduty: PagerDutyStandIn) -> None:
    """Refused three times in a row, it stops calling; what fails otherwise it sends again, in order."""
    secrets = Secrets("wrong")
    async with bot(journal, secrets=secrets, within_s=0.5) as here:
        here.office.clock.at = datetime.now(UTC)
        name, secret = pagerduty.hooks.subscribe(here.url, "PSERVIC", *EVENTS)
        pagerduty.trigger(INCIDENT, 1042, "Orders are slow", "Orders")
        for _ in range(3):
            pagerduty.change(INCIDENT, "acknowledged", status="acknowledged")
        await pagerduty.hooks.settle(WITHIN_S)
        refused = [one.status for one in pagerduty.hooks.tries]

        secrets.secret = secret
        pagerduty.hooks.subscriptions[name].shown["delivery_method"]["temporarily_disabled"] = False
        gate = threading.Event()
        journal._thread.submit(gate.wait)
        pagerduty.change(INCIDENT, "acknowledged", status="acknowledged")
        pagerduty.change(INCIDENT, "resolved", status="resolved")
        await until(lambda: 503 in [one.status for one in pagerduty.hooks.tries], within_s=WITHIN_S)
        gate.set()
        await pagerduty.hooks.settle(WITHIN_S)

        assert refused == [401, 401, 401]
        tries = list(pagerduty.hooks.tries)[3:]
        assert tries[0].status == 503
        assert [one.what for one in tries if one.status == 202] == ["incident.acknowledged", "incident.resolved"]
        assert [one.what for one in await here.heard()] == ["incident.acknowledged", "incident.resolved"]

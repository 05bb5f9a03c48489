"""`capturebot pagerduty setup` and the doctor: PagerDuty calls the bot, and nobody reads a secret on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from bot.errors import UserError
from bot.journal import Journal
from bot.metrics import Metrics
from bot.model import SecretRef, Service
from bot.pagerduty.client import PagerDutyClient
from bot.pagerduty.reception import Reception
from bot.pagerduty.setup import SecretFile, arrived, examine, set_up
from bot.pagerduty.subscriptions import Subscriptions
from bot.pagerduty.webhooks import EVENTS
from bot.playground.pagerduty import Fault, PagerDutyStandIn
from bot.settings import WEBHOOKS, PagerDuty
from bot.web import Web

pytestmark = pytest.mark.thorough

URL = f"https://capturebot.example{WEBHOOKS}"
ORDERS = Service(name="orders", pagerduty="PSERVIC", targets=("app-1",))
BILLING = Service(name="billing", pagerduty="PBILLIN", targets=("app-1",))


class Token:
    """Resolves every reference to one text."""

    def __init__(self, text: str) -> None:
        self.text = text

    async def resolve(self, ref: SecretRef) -> str:
        return self.text

    def forget(self, ref: SecretRef) -> None:
        """Nothing is kept."""


async def no_wait(_: float) -> None:
    """Goes on at once."""


@pytest.fixture
async def pagerduty() -> AsyncIterator[PagerDutyStandIn]:
    """An account without subscriptions."""
    async with PagerDutyStandIn() as standin:
        yield standin


@pytest.fixture
async def subscriptions(pagerduty: PagerDutyStandIn) -> AsyncIterator[Subscriptions]:
    """The client as it goes to production."""
    access = PagerDuty(token=SecretRef("env:PD"), sender=pagerduty.sender, api_url=pagerduty.api_url)
    client = PagerDutyClient(access, Token(pagerduty.token), sleep=no_wait)
    yield Subscriptions(client)
    await client.close()


@pytest.fixture
def file(tmp_path: Path) -> SecretFile:
    """A file that is not there yet."""
    return SecretFile(tmp_path / "webhooks")


def secrets_of(pagerduty: PagerDutyStandIn) -> list[str]:
    """What calls are signed with."""
    return [one.secrets[0] for one in pagerduty.hooks.subscriptions.values()]


async def test_what_is_missing_is_made_and_its_secret_kept(
    pagerduty: PagerDutyStandIn, subscriptions: Subscriptions, file: SecretFile
) -> None:
    """One a service; the file is closed to others, and nothing that is printed holds a secret."""
    said = await set_up(subscriptions, [ORDERS, BILLING], URL, file)

    made = [one.shown for one in pagerduty.hooks.subscriptions.values()]
    assert [line.split(" (")[0] for line in said] == [
        f"ok: orders: PagerDuty calls {URL} about PSERVIC",
        f"ok: billing: PagerDuty calls {URL} about PBILLIN",
    ]
    assert [(one["filter"]["id"], one["delivery_method"]["url"], one["events"]) for one in made] == [
        ("PSERVIC", URL, list(EVENTS)),
        ("PBILLIN", URL, list(EVENTS)),
    ]
    assert file.path.read_text().split() == secrets_of(pagerduty)
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert not any(secret in line for secret in secrets_of(pagerduty) for line in said)


async def test_again_it_changes_nothing(
    pagerduty: PagerDutyStandIn, subscriptions: Subscriptions, file: SecretFile
) -> None:
    """It can be part of a deployment."""
    await set_up(subscriptions, [ORDERS], URL, file)
    before = file.path.read_text()

    (said,) = await set_up(subscriptions, [ORDERS], URL, file)

    assert said.endswith("is as it should be")
    assert len(pagerduty.hooks.subscriptions) == 1
    assert file.path.read_text() == before


async def test_what_is_wrong_is_mended(
    pagerduty: PagerDutyStandIn, subscriptions: Subscriptions, file: SecretFile
) -> None:
    """Switched off, disabled, or not called about all; what it is called about beside that stays."""
    await set_up(subscriptions, [ORDERS, BILLING], URL, file)
    orders, billing = (one.shown for one in pagerduty.hooks.subscriptions.values())
    orders["delivery_method"]["temporarily_disabled"] = True
    billing |= {"active": False, "events": ["incident.triggered", "service.updated"]}

    said = await set_up(subscriptions, [ORDERS, BILLING], URL, file)
    orders, billing = (one.shown for one in pagerduty.hooks.subscriptions.values())

    assert [line.partition(" is ")[2].split(":")[0] for line in said] == [
        "disabled for a day, because calls were refused",
        "switched off",
    ]
    assert not orders["delivery_method"]["temporarily_disabled"]
    assert billing["active"]
    assert set(billing["events"]) == {*EVENTS, "service.updated"}


async def test_a_secret_that_is_lost_is_made_anew_when_that_is_wanted(
    pagerduty: PagerDutyStandIn, subscriptions: Subscriptions, file: SecretFile
) -> None:
    """PagerDuty shows it once; what is there is not touched unasked."""
    pagerduty.hooks.subscribe(URL, "PSERVIC", *EVENTS)
    (refused,) = await set_up(subscriptions, [ORDERS], URL, file)
    (renewed,) = await set_up(subscriptions, [ORDERS], URL, file, renew=True)

    assert refused.startswith("fault: orders: subscription PHOOK")
    assert refused.endswith("or make it anew with --renew")
    assert renewed.startswith("ok: orders")
    assert file.path.read_text().split() == secrets_of(pagerduty)
    assert len(secrets_of(pagerduty)) == 1


async def test_a_lost_answer_makes_no_second_one(
    pagerduty: PagerDutyStandIn, subscriptions: Subscriptions, file: SecretFile
) -> None:
    """Its secret went with the answer, which is said the next time."""
    pagerduty.fail(Fault(reset=True, after=True, method="POST"))

    (first,) = await set_up(subscriptions, [ORDERS], URL, file)
    (second,) = await set_up(subscriptions, [ORDERS], URL, file)

    assert first == "fault: orders: The connection to PagerDuty broke before it had answered"
    assert "--renew" in second
    assert len(pagerduty.hooks.subscriptions) == 1


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (f"http://capturebot.example{WEBHOOKS}", "PagerDuty calls https addresses only."),
        ("https://capturebot.example/", "`https://capturebot.example/` does not end with /pagerduty/webhooks."),
        (f"https://{WEBHOOKS}", "does not end with"),
    ],
)
async def test_an_address_that_cannot_be_is_refused(
    pagerduty: PagerDutyStandIn, subscriptions: Subscriptions, file: SecretFile, url: str, says: str
) -> None:
    """Before anything is made."""
    with pytest.raises(UserError, match=says):
        await set_up(subscriptions, [ORDERS], url, file)

    assert pagerduty.hooks.subscriptions == {}


async def test_a_file_that_cannot_be_written_is_said_before_anything_is_made(
    pagerduty: PagerDutyStandIn, subscriptions: Subscriptions, tmp_path: Path
) -> None:
    """A secret that nobody keeps is worth nothing."""
    with pytest.raises(UserError, match="cannot be written: No such file or directory"):
        await set_up(subscriptions, [ORDERS], URL, SecretFile(tmp_path / "none" / "webhooks"))

    assert pagerduty.hooks.subscriptions == {}


async def test_a_token_that_may_not_is_said_with_what_it_needs(
    pagerduty: PagerDutyStandIn, subscriptions: Subscriptions, file: SecretFile
) -> None:
    """Not the scopes of notes."""
    pagerduty.read_only = True

    (said,) = await set_up(subscriptions, [ORDERS], URL, file)

    assert said.startswith("fault: orders: The PagerDuty token may not change webhook subscriptions (403)")
    assert "webhook_subscriptions.read" in said


# --- the doctor -----------------------------------------------------------------------------------


@asynccontextmanager
async def listening(secret: str) -> AsyncIterator[str]:
    """A bot that takes calls; its address."""
    journal, metrics = await Journal.open("sqlite://", owner="me"), Metrics()
    reception = Reception(
        journal, Token(secret), [SecretRef("env:A")], now=lambda: datetime.now(UTC), count=metrics.called
    )
    web = Web("127.0.0.1:0", ready=ready, registry=metrics.registry, take=reception.take)
    await web.open()
    yield f"127.0.0.1:{web.port}"
    await web.close()
    await journal.close()


async def ready() -> str:
    """Always."""
    return ""


async def looked(subscriptions: Subscriptions, web: str | None) -> list[str]:
    """What the doctor says."""
    return await examine(subscriptions, [ORDERS], arrived=lambda: arrived(web), ping_s=2.0)


async def test_a_test_event_goes_the_whole_way(
    pagerduty: PagerDutyStandIn, subscriptions: Subscriptions, file: SecretFile
) -> None:
    """Through PagerDuty, to the bot, with the secrets that setup wrote."""
    file.open()
    file.add("of-another-subscription")
    async with listening("unknown") as web:
        _, secret = pagerduty.hooks.subscribe(f"http://{web}{WEBHOOKS}", "PSERVIC", *EVENTS)
        wrong = await looked(subscriptions, web)
    file.add(secret)
    async with listening(file.path.read_text()) as web:
        next(iter(pagerduty.hooks.subscriptions.values())).shown["delivery_method"]["url"] = f"http://{web}{WEBHOOKS}"
        right = await looked(subscriptions, web)

    assert wrong[0].startswith("ok: orders: PagerDuty calls http://127.0.0.1")
    assert "signed with a secret that is not known" in wrong[1]
    assert right[1].endswith("arrived, and its signature is right")


async def test_what_keeps_calls_from_coming_is_said(pagerduty: PagerDutyStandIn, subscriptions: Subscriptions) -> None:
    """No subscription, a disabled one, a bot that is not here, an address that leads nowhere."""
    none = await looked(subscriptions, None)
    name, _ = pagerduty.hooks.subscribe(URL, "PSERVIC", *EVENTS)
    away = await looked(subscriptions, None)
    async with listening("x") as web:
        lost = await examine(subscriptions, [ORDERS], arrived=lambda: arrived(web), ping_s=0.3)
    pagerduty.hooks.subscriptions[name].shown["delivery_method"]["temporarily_disabled"] = True
    disabled = await looked(subscriptions, None)
    pagerduty.wrong_region = True
    refused = await looked(subscriptions, None)

    assert none == [
        "fault: orders: PagerDuty does not call /pagerduty/webhooks about it — `capturebot pagerduty setup` mends it"
    ]
    assert away[1].startswith(f"warn: no test event was sent to {URL}")
    assert lost[1].startswith(f"fault: a test event to {URL} did not arrive within 0.3 s")
    assert disabled[0].startswith(f"fault: orders: subscription {name} is disabled for a day")
    assert refused[0].startswith("fault: orders: PagerDuty does not take the token (401)")


async def test_a_bot_that_is_away_has_no_counts() -> None:
    """Whether none is configured, or none answers."""
    web = Web("127.0.0.1:0", ready=ready, registry=CollectorRegistry())
    await web.open()
    there = await arrived(f"127.0.0.1:{web.port}")
    await web.close()

    assert there == {}
    assert await arrived(None) is None
    assert await arrived(f"127.0.0.1:{1}") is None

"""Which incident a channel was made for, asked of PagerDuty's Slack integration as it is described."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest

from bot.errors import DeliveryFailed
from bot.model import SecretRef
from bot.pagerduty.client import PagerDutyClient
from bot.pagerduty.dedicated import ASKED_ABOUT, DedicatedChannels
from bot.playground.pagerduty import PagerDutyStandIn
from bot.settings import PagerDuty
from tests.test_pagerduty_contract import DESCRIPTION, SCHEMAS, Contract

pytestmark = pytest.mark.thorough

SLACK_PATH = "/integration-slack"
SLACK_DESCRIPTION = SCHEMAS / "pagerduty-integration-slack-service.openapi.json"


class Tokens:
    """Resolves a reference to what it names."""

    async def resolve(self, ref: SecretRef) -> str:
        return ref.text.removeprefix("env:")

    def forget(self, ref: SecretRef) -> None:
        """Nothing is kept."""


@pytest.fixture
async def pagerduty() -> AsyncIterator[PagerDutyStandIn]:
    """Two open incidents, one with a channel, and one that is over."""
    async with PagerDutyStandIn() as made:
        made.add_incident("POPEN1", 1, "Search is down", "Search")
        made.add_incident("POPEN2", 2, "Orders are slow", "Orders")
        made.add_incident("POVER3", 3, "It was slow", "Orders", "resolved")
        made.channels |= {"POPEN2": "C0ORDERS", "POVER3": "C0OLD"}
        yield made


@asynccontextmanager
async def asking(pagerduty: PagerDutyStandIn, *, user_token: str | None = None) -> AsyncIterator[DedicatedChannels]:
    """With the account's token and a user's."""
    async with AsyncExitStack() as stack:

        def client(token: str) -> PagerDutyClient:
            reference = SecretRef(f"env:{token}")
            settings = PagerDuty(token=reference, sender=pagerduty.sender, api_url=pagerduty.api_url)
            made = PagerDutyClient(settings, Tokens())
            stack.push_async_callback(made.close)
            return made

        yield DedicatedChannels(client(pagerduty.token), client(user_token or pagerduty.user_token))


async def test_a_channel_leads_to_the_open_incident_that_it_was_made_for(pagerduty: PagerDutyStandIn) -> None:
    """And no other channel does, not even one of an incident that is over."""
    async with asking(pagerduty) as asked:
        found = await asked.incident_of("C0ORDERS")
        other = await asked.incident_of("C0OLD")

    assert found
    assert (found.id, found.title) == ("POPEN2", "Orders are slow")
    assert other is None
    assert len(pagerduty.calls) <= 2 * (ASKED_ABOUT + 1)


async def test_an_account_token_may_not_ask(pagerduty: PagerDutyStandIn) -> None:
    """It is said so; other ways are tried by whoever asks."""
    async with asking(pagerduty, user_token=pagerduty.token) as asked:
        with pytest.raises(DeliveryFailed, match="may not read the Slack channel of incident POPEN1"):
            await asked.incident_of("C0ORDERS")


async def test_requests_and_answers_are_as_described(pagerduty: PagerDutyStandIn) -> None:
    """By PagerDuty's published descriptions of both services."""
    if not (DESCRIPTION.exists() and SLACK_DESCRIPTION.exists()):  # no checkout brings them along: skipped in CI, too
        pytest.skip(f"{SLACK_DESCRIPTION.name} is not in {SCHEMAS}: set CAPTUREBOT_SCHEMAS to the folder that holds it")
    async with asking(pagerduty) as asked:
        await asked.incident_of("C0ORDERS")

    descriptions = {
        False: Contract(json.loads(DESCRIPTION.read_text())),
        True: Contract(json.loads(SLACK_DESCRIPTION.read_text())),
    }
    for call in pagerduty.calls:
        path = call.path.removeprefix(SLACK_PATH)
        assert list(descriptions[path != call.path].faults(replace(call, path=path))) == []


async def test_the_doctor_tries_the_users_token(pagerduty: PagerDutyStandIn) -> None:
    """An owner's is told of channels; an account's is not, and neither is one that PagerDuty does not know."""
    said = []
    for token in (None, pagerduty.token, "stranger"):
        async with asking(pagerduty, user_token=token) as asked:
            said += await asked.check()

    assert [line.partition(":")[0] for line in said] == ["ok", "fault", "fault"]
    assert "may not read the Slack channel of incident" in said[1]
    assert all("owner or global admin" in line for line in said[1:])

"""An incident of which everything comes twice, in the wrong order, five minutes late and after restarts: a real bot, one of each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bot.playground.estate import Estate, bot, estate
from bot.playground.pagerduty_account import SERVICE
from bot.playground.pagerduty_hooks import an_event
from bot.playground.workspace import Message

pytestmark = pytest.mark.live

INCIDENT = "PTWICE2003"
NAME = "inc-2003-orders-slow"
TOLD_S = 60.0
LATE = timedelta(minutes=5)
SETTINGS = {
    "limits": {"cooldown_s": 0},  # nothing is joined: a second run would be seen
    "services": {
        "orders": {"pagerduty": SERVICE, "targets": ["here"], "first": ["triage"], "offer": ["logs"]},
    },
}


def called(here: Estate, what: str, *, before: timedelta = timedelta()) -> None:
    """PagerDuty calls about what happened *before* now: the same delivery twice, and once more as another one."""
    shown = next(one for one in here.pagerduty.incidents() if one["id"] == INCIDENT)
    data = {**{key: shown[key] for key in ("id", "type", "title", "status", "html_url", "service")}, "number": 2003}
    event = an_event(f"incident.{what}", data, at=datetime.now(UTC) - before)
    (subscription,) = here.pagerduty.hooks.subscriptions.values()
    for delivery in ("first", "first", "another"):
        here.pagerduty.hooks.send(subscription, event, about=INCIDENT, delivery=f"{what} {delivery}")


def ours(here: Estate, channel: str, what: str) -> list[Message]:
    """The bot's messages in a channel that are a piece of that kind."""
    found = [one for one in here.workspace.messages(channel) if one.metadata]
    return [one for one in found if (one.metadata or {})["event_payload"]["piece"] == what]


async def test_every_event_twice_late_and_out_of_order_is_one_of_each(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """One announcement, one run, one note, one index: whichever process hears of it."""
    async with estate(tmp_path_factory.mktemp("twice"), port=0, settings=SETTINGS) as here:
        workspace, pagerduty = here.workspace, here.pagerduty
        pagerduty.add_incident(INCIDENT, 2003, "Orders are slow", "Orders")
        async with bot(here):
            workspace.sockets.duplicate_next(1000)
            channel = workspace.open_channel(NAME, by=here.user)
            await workspace.wait_for(
                lambda: "Ran at once" in "".join(one.text for one in ours(here, channel, "announcement")), TOLD_S
            )
        async with bot(here):
            called(here, "acknowledged")
            called(here, "triggered", before=LATE)
            workspace.rename_channel(channel, f"{NAME}-checkout")
            await pagerduty.hooks.settle(TOLD_S)
        async with bot(here):
            called(here, "triggered", before=LATE)
            workspace.rename_channel(channel, NAME)
            pagerduty.change(INCIDENT, "resolved", status="resolved")
            await pagerduty.hooks.settle(TOLD_S)
            await workspace.wait_for(lambda: "✅ Resolved" in ours(here, channel, "announcement")[0].text, TOLD_S)
            await pagerduty.wait_for(
                lambda: "All of it as one document" in pagerduty.notes(INCIDENT)[0]["content"], TOLD_S
            )

        assert {piece: len(ours(here, channel, piece)) for piece in ("announcement", "root", "index")} == {
            "announcement": 1,
            "root": 1,
            "index": 1,
        }
        (note,) = pagerduty.notes(INCIDENT)
        assert note["content"].count("/capture triage here") == 1
        assert {one.status for one in pagerduty.hooks.tries} == {202}

"""An incident from its first call to its report, as a responder meets it on a phone: the real bot, a real browser."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Page, async_playwright, expect

from bot.playground.estate import Estate, bot, estate
from bot.playground.workspace import Message
from tests.live.test_workspace_page import ARGS, CHROMIUM, PHONE, overflow

pytestmark = pytest.mark.live

INCIDENT = "PROOMS2002"
ANNOUNCED_WITHIN_S = 2.0
TOLD_S = 60.0
SLOW_MS = 60_000.0  # for captures


@asynccontextmanager
async def phone(here: Estate, channel: str) -> AsyncIterator[Page]:
    """Ana's phone, in a channel; any script error fails the test."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        page = await browser.new_page(viewport={"width": PHONE[0], "height": PHONE[1]}, has_touch=True)
        page.set_default_timeout(TOLD_S * 1000)
        trouble: list[str] = []
        page.on("pageerror", lambda error: trouble.append(str(error)))
        await page.goto(f"{here.workspace.page_url}#{channel}")
        yield page
        assert await overflow(page) == []
        await browser.close()
        assert trouble == []


@pytest.fixture(autouse=True)
def _browser() -> None:
    """Chromium, or the reason why there is none."""
    if shutil.which(CHROMIUM) is None:
        reason = "this test needs a browser: install Debian's chromium"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


async def test_an_incident_from_its_call_to_its_report(tmp_path_factory: pytest.TempPathFactory) -> None:
    """PagerDuty calls, the channel opens, the announcement stands there at once; a press, the index, the end, the report."""
    async with estate(tmp_path_factory.mktemp("rooms"), port=0) as here, bot(here):
        workspace, pagerduty = here.workspace, here.pagerduty
        first = 2 if here.database else 1
        pagerduty.trigger(INCIDENT, 2002, "Orders are slow", "Orders")
        await pagerduty.hooks.settle(TOLD_S)

        began = time.monotonic()
        channel = workspace.open_channel("inc-2002-orders-slow", by=here.user)
        await workspace.wait_for(lambda: piece(here, channel, "announcement"), TOLD_S)
        took_s = time.monotonic() - began

        assert took_s < ANNOUNCED_WITHIN_S
        async with phone(here, channel) as page:
            announcement = page.get_by_role("article").filter(has_text="🚨")
            await expect(announcement).to_contain_text("Orders are slow · PagerDuty incident PROOMS2002")
            await expect(page.get_by_text("asked by PagerDuty incident 2002")).to_have_count(first, timeout=SLOW_MS)
            await expect(page.get_by_text("📌 Pinned")).to_be_visible(timeout=SLOW_MS)

            await expect(
                announcement.get_by_text("🏁 Ran at once")
            ).to_be_visible()  # its last edit: a press would cross it
            await announcement.get_by_role("button", name="Run triage").click()

            await expect(announcement.get_by_text("➡️ ana: /capture triage")).to_be_visible()
            index = page.get_by_role("article").filter(has_text="📚 Evidence")
            await expect(index).to_contain_text(f"{first + 1} captures")
            manifests = index.get_by_role("link", name="manifest.json")
            await expect(manifests).to_have_count(first + 1, timeout=SLOW_MS)
            assert await overflow(page) == []

            pagerduty.change(INCIDENT, "resolved", status="resolved")
            resolved = page.get_by_role("article").filter(has_text="✅ Resolved: Orders are slow")
            await expect(resolved).to_be_visible()
            await expect(resolved.get_by_role("button", name="Run logs")).to_have_count(0)
            await expect(index.get_by_role("link", name="the last one")).to_be_visible(timeout=SLOW_MS)
        await pagerduty.wait_for(lambda: "All of it as one document: http" in note(here), TOLD_S)

        (key,) = [key for key in await here.objects.keys() if key.endswith(f"report-{INCIDENT}.md")]
        report = await here.objects.text(key)
        assert f"{first + 1} captures" in report
        assert key in note(here)
        assert len([one for one in workspace.messages(channel) if "🚨" in one.text or "✅ Resolved" in one.text]) == 1


def piece(here: Estate, channel: str, name: str) -> Message | None:
    """A message of the bot's own in a channel."""
    found = here.workspace.messages(channel)
    return next((one for one in found if (one.metadata or {}).get("event_payload", {}).get("piece") == name), None)


def note(here: Estate) -> str:
    """The incident's notes."""
    return "".join(one["content"] for one in here.pagerduty.notes(INCIDENT))

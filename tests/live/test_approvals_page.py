"""A capture that needs an approval, by two people on two phones: asked for, looked at, approved; and without one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Page, expect

from bot.model import Policy
from tests.fakes import Script
from tests.live.test_buttons_page import phone
from tests.live.test_workspace_page import overflow, type_line
from tests.reception import Reception, reception
from tests.test_approvals import ALLOWING, wanting

pytestmark = pytest.mark.live


@asynccontextmanager
async def two_phones() -> AsyncIterator[tuple[Reception, Page, Page]]:
    """Ana, who is on call, and ben, who leads, in one channel."""
    policy = Policy(rules=(wanting("@oncall"), *ALLOWING))
    quiet = Script(pieces=(b"quiet\n",))
    async with reception(policy=policy, gcore=quiet) as here:
        here.workspace.set_group("oncall", here.ana)
        here.workspace.set_group("leads", here.ben)
        async with phone(here) as anas, phone(here) as bens:
            await bens.get_by_label("You are").select_option(here.ben)
            yield here, anas, bens


async def ask(page: Page) -> None:
    """Ask for a core, and agree to its cost."""
    await type_line(page, "/capture core app-1 app=orders-api")
    await page.get_by_role("button", name="Ask for approval").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_text("stops orders-api (pid 812) for about 3 s")).to_be_visible()
    await dialog.get_by_role("button", name="Ask for approval").click()


async def test_ben_approves_of_what_ana_asks_for() -> None:
    """Ana's own press is refused; ben's asks once more and runs it; both see who did what."""
    async with two_phones() as (_, anas, bens):
        await ask(anas)
        for page in (anas, bens):
            await expect(page.get_by_text("ana asks to capture core on app-1")).to_be_visible()
            await expect(page.get_by_text("May approve, but not ana: @leads.")).to_be_visible()
            assert await overflow(page) == []

        await anas.get_by_role("button", name="Approve", exact=True).click()
        await anas.get_by_role("dialog").get_by_role("button", name="Approve", exact=True).click()
        await expect(anas.get_by_text("You asked for it, so somebody else has to approve.")).to_be_visible()
        await bens.get_by_role("button", name="Approve", exact=True).click()
        sure = bens.get_by_role("dialog")
        await expect(sure.get_by_text("It starts at once, in your name too.")).to_be_visible()
        assert await overflow(bens) == []
        await sure.get_by_role("button", name="Approve", exact=True).click()

        for page in (anas, bens):
            await expect(page.get_by_text("core on app-1: complete")).to_be_visible()
            await expect(page.get_by_text("🔏 Approved by ben")).to_be_visible()
            await expect(page.get_by_text("asked for by ana, was approved by ben.")).to_be_visible()
            await expect(page.get_by_role("button", name="Deny")).to_have_count(0)
            assert await overflow(page) == []


async def test_ana_breaks_the_glass_and_everybody_sees_why() -> None:
    """The reason is asked for in a dialog, and stands in the channel."""
    async with two_phones() as (_, anas, bens):
        await ask(anas)
        await bens.get_by_role("button", name="Break glass …").click()
        await expect(bens.get_by_text("Only ana, who asked for it, may break the glass.")).to_be_visible()

        await anas.get_by_role("button", name="Break glass …").click()
        dialog = anas.get_by_role("dialog", name="Break the glass")
        await expect(dialog.get_by_text("Nobody has approved of it.")).to_be_visible()
        await dialog.get_by_label("Why it cannot wait for an approval").fill("Checkout is down, ben sleeps")
        assert await overflow(anas) == []
        await dialog.get_by_role("button", name="Capture now").click()

        for page in (anas, bens):
            await expect(page.get_by_text("🚨 ana broke the glass: core on app-1 runs")).to_be_visible()
            await expect(
                page.get_by_text("Nobody approved of it. Reason: Checkout is down, ben sleeps")
            ).to_be_visible()
            await expect(page.get_by_text("core on app-1: complete")).to_be_visible()

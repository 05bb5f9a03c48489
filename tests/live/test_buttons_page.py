"""The bot's own buttons on the page, pressed by hand on a phone's width in a real browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Page, async_playwright, expect

from bot.model import Accepted
from tests.fakes import Script
from tests.live.test_workspace_page import ARGS, CHROMIUM, PHONE, overflow, type_line
from tests.reception import Reception, reception
from tests.test_rooms import Incident, Incidents

pytestmark = pytest.mark.live


@asynccontextmanager
async def phone(here: Reception) -> AsyncIterator[Page]:
    """Ana's phone; any script error fails the test."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        page = await browser.new_page(viewport={"width": PHONE[0], "height": PHONE[1]}, has_touch=True)
        page.set_default_timeout(5_000)
        trouble: list[str] = []
        page.on("pageerror", lambda error: trouble.append(str(error)))
        await page.goto(here.workspace.page_url)
        await expect(page.get_by_role("heading", level=1)).to_contain_text("inc-1042")
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


async def test_a_suggestion_is_pressed_on_a_phone() -> None:
    """Both messages say so, and the button is gone."""
    async with reception(ps=Script(pieces=(b"threads 812\n",))) as here, phone(here) as page:
        await type_line(page, "/capture host app-1")

        await page.get_by_role("button", name="Run threads app-1 pid=812").click()

        await expect(page.get_by_text("➡️ ana: /capture threads app-1 pid=812")).to_be_visible()
        await expect(page.get_by_text("threads on app-1: complete")).to_be_visible()
        await expect(page.get_by_role("button", name="Run threads app-1 pid=812")).to_have_count(0)
        await expect(page.get_by_role("button", name="Run again")).to_have_count(2)


async def test_one_of_many_is_chosen_in_the_thread() -> None:
    """The menu stands under the findings; what is chosen stands in the same thread."""
    rows = b"".join(f"threads {pid}\n".encode() for pid in range(1, 16))
    async with reception(ps=Script(pieces=(rows,))) as here, phone(here) as page:
        await type_line(page, "/capture host app-1")
        await page.get_by_role("button", name="1 reply").click()

        await page.get_by_label("Choose one of 15").select_option("Look into 15")

        replies = page.get_by_role("log", name="Replies")
        await expect(replies.get_by_text("threads on app-1: complete")).to_be_visible()
        assert await overflow(page) == []
        await page.get_by_role("button", name="Close the thread").click()
        await expect(page.get_by_text("➡️ ana: /capture threads app-1 pid=15")).to_be_visible()


async def test_the_files_are_one_press_away() -> None:
    """For whoever pressed; every button at the end has room on a phone."""
    incidents = Incidents(Incident())
    async with reception(ps=Script(pieces=(b"threads 812\n",)), incidents=incidents) as here, phone(here) as page:
        await type_line(page, "/capture host app-1")

        await page.get_by_role("button", name="Get files").click()

        answer = page.get_by_role("article").filter(has_text="Only visible to you").filter(has_text="2 files of")
        await expect(answer.get_by_text("manifest.json")).to_be_visible()
        await expect(page.get_by_role("button", name="Send to PagerDuty")).to_be_visible()
        await expect(page.get_by_role("button", name="Run again")).to_be_visible()


async def test_stop_is_one_press() -> None:
    """While it runs; the end says who it was."""
    async with reception(ps=Script(hangs=True)) as here, phone(here) as page:
        await type_line(page, "/capture host app-1")
        await here.transport.wait_for_start(1)

        await page.get_by_role("button", name="Stop").click()

        await expect(page.get_by_text("Stopped by ana.")).to_be_visible()
        await expect(page.get_by_role("button", name="Stop")).to_have_count(0)


async def test_a_cost_is_read_twice_before_it_is_paid() -> None:
    """In the offer and in the dialog; a way back stands beside both."""
    async with reception() as here, phone(here) as page:
        await type_line(page, "/capture core app-1 app=orders-api")
        offer = page.get_by_role("article").filter(has_text="Only visible to you")
        await expect(offer.get_by_text("stops orders-api (pid 812) for about 3 s")).to_be_visible()
        dialog = page.get_by_role("dialog", name="Capture core on app-1?")

        await offer.get_by_role("button", name="Capture now").click()
        await expect(dialog.get_by_text("writes 1.4 GB to /var/tmp (40 GB free)")).to_be_visible()
        assert await overflow(page) == []
        await dialog.get_by_role("button", name="Cancel").click()
        assert not any(isinstance(event, Accepted) for event in await here.events())
        await offer.get_by_role("button", name="Capture now").click()
        await dialog.get_by_role("button", name="Capture now").click()

        await expect(page.get_by_text("⚖️ Agreed to: stops orders-api (pid 812) for about 3 s")).to_be_visible()
        await expect(offer.get_by_role("button", name="Capture now")).to_have_count(0)
        await expect(page.get_by_text("core on app-1: complete")).to_be_visible()

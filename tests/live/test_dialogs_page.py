"""The bot's dialog on a phone's width: found by typing, filled in by hand, agreed to."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from bot.model import Heard
from tests.fakes import Script
from tests.live.test_buttons_page import phone
from tests.live.test_workspace_page import overflow, type_line
from tests.reception import reception
from tests.test_notes import CALL, Written

pytestmark = pytest.mark.live


async def test_a_capture_is_put_together_by_typing() -> None:
    """Recipe, targets and a parameter; a value that does not fit is told at its field, and mended there."""
    async with reception(jstack=Script(pieces=(b"quiet\n",))) as here, phone(here) as page:
        await type_line(page, "/capture")
        dialog = page.get_by_role("dialog", name="Capture")
        await dialog.get_by_label("What to capture").first.fill("thr")
        await dialog.get_by_role("option", name="threads — Host triage").click()
        for target in ("app-2", "app-1"):
            await dialog.get_by_role("combobox", name="Where").fill(target)
            await dialog.get_by_role("option", name=target).click()
        await dialog.get_by_role("button", name="Remove app-2").click()
        await dialog.get_by_label("Unit (app)").fill("a b; rm")
        assert await overflow(page) == []

        await dialog.get_by_role("button", name="Capture").click()
        await expect(dialog.get_by_role("alert").filter(has_text="must match")).to_be_visible()
        await dialog.get_by_label("Unit (app)").fill("orders-api")
        await dialog.get_by_role("button", name="Capture").click()

        await expect(page.get_by_text("threads on app-1: complete")).to_be_visible()
        await expect(dialog).to_have_count(0)


async def test_a_cost_is_agreed_to_on_a_phone() -> None:
    """From the menu of a message, told in its thread."""
    async with reception(gcore=Script(pieces=(b"quiet\n",))) as here, phone(here) as page:
        await type_line(page, "Orders are slow")
        message = page.get_by_role("article").filter(has_text="Orders are slow")
        await message.get_by_label("Message actions").click()
        await message.get_by_role("button", name="Capture here").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("What to capture").first.fill("core")
        await dialog.get_by_role("option", name="core — Core dump").click()
        await dialog.get_by_role("combobox", name="Where").click()
        await dialog.get_by_role("option", name="app-1").click()

        await dialog.get_by_role("button", name="Measure its cost").click()
        await expect(dialog.get_by_text("stops orders-api (pid 812) for about 3 s")).to_be_visible()
        assert await overflow(page) == []
        await dialog.get_by_role("button", name="Capture now").click()

        await page.get_by_role("button", name="1 reply").or_(page.get_by_role("button", name="2 replies")).click()
        replies = page.get_by_role("log", name="Replies")
        await expect(replies.get_by_text("core on app-1: complete")).to_be_visible()


async def test_a_message_is_sent_to_pagerduty_and_a_note_comes_back() -> None:
    """From the message's menu, in words that are changed first; a pin does it in one press."""
    async with reception(pagerduty=Written()) as here, phone(here) as page:
        await here.desk.link(here.channel, "PABC123", here.person)
        await type_line(page, "The cache is cold")
        message = page.get_by_role("article").filter(has_text="The cache is cold")
        await message.get_by_label("Message actions").click()
        await message.get_by_role("button", name="Send to PagerDuty").click()
        dialog = page.get_by_role("dialog", name="Send to PagerDuty")
        await dialog.get_by_label("A note of the incident").fill("The cache was cold at 3")
        assert await overflow(page) == []

        await dialog.get_by_role("button", name="Send").click()
        await expect(page.get_by_text("Goes into the notes of PagerDuty incident PABC123, as ana's.")).to_be_visible()
        await message.get_by_label("Message actions").click()
        await message.get_by_role("button", name="Pin to channel").click()
        await expect(page.get_by_text("Goes into the notes of PagerDuty incident PABC123, as ana's.")).to_have_count(2)
        await here.journal.accept(Heard(call=CALL, delivery="1", at=here.clock()))

        await expect(page.get_by_text("Dana Doe noted in PagerDuty: I restart it")).to_be_visible()


async def test_a_capture_is_started_from_the_home() -> None:
    """Which says what runs; the dialog over it asks where the story is told."""
    async with reception(ps=Script(pieces=(b"quiet\n",))) as here, phone(here) as page:
        await page.get_by_role("button", name="Channels").click()
        await page.get_by_role("button", name="capturebot: Home").click()
        home = page.get_by_role("dialog", name="capturebot")
        await expect(home.get_by_text("Nothing runs now.")).to_be_visible()
        assert await overflow(page) == []

        await home.get_by_role("button", name="Capture …").click()
        dialog = page.get_by_role("dialog", name="Capture", exact=True)
        await dialog.get_by_label("What to capture").first.fill("host")
        await dialog.get_by_role("option", name="host — Host triage").click()
        await dialog.get_by_role("combobox", name="Where", exact=True).click()
        await dialog.get_by_role("option", name="app-1").click()
        await dialog.get_by_label("Where it is told").select_option("#inc-1042")
        await dialog.get_by_role("button", name="Capture").click()
        await home.get_by_role("button", name="Close").click()

        await expect(page.get_by_text("host on app-1: complete")).to_be_visible()


async def test_a_list_of_suggestions_moves_nothing_away_from_a_press() -> None:
    """It closes when something else is pressed, and that is pressed."""
    async with reception() as here, phone(here) as page:
        await type_line(page, "/capture threads")
        dialog = page.get_by_role("dialog", name="Capture")
        await dialog.get_by_role("combobox", name="Where").fill("app")
        await expect(dialog.get_by_role("option", name="app-1")).to_be_visible()

        await dialog.get_by_role("button", name="Cancel").click()

        await expect(dialog).to_have_count(0)

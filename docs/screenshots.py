#!/usr/bin/env python3
"""Take the README's pictures anew: `python docs/screenshots.py`, with Debian's chromium, fonts-noto-color-emoji and fonts-inter.

The playground's page on a phone: nothing in it is drawn for the picture. It is run by hand, and is not part of the package.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Locator, Page, ViewportSize, async_playwright, expect

from bot.playground.estate import Estate, bot, estate
from bot.playground.load import sysbench
from bot.playground.pagerduty_account import SERVICE

FOLDER = Path(__file__).parent
PHONE = ViewportSize(width=375, height=640)
SCALE = 1.5  # pixels of the picture for one of the page
FONT = "document.documentElement.style.fontFamily = 'Inter, sans-serif'"  # as wide as a phone's own
LOAD_S = 90
LOAD_THREADS = 16
CALLED_S = 10.0
TOLD_MS = 30_000.0  # for a capture to its end
PICTURE_BYTES = 150_000
INCIDENT = "PORDERS2002"
SETTINGS = {
    "limits": {"cooldown_s": 0},  # each picture has a capture of its own
    "services": {
        "orders": {
            "about": "Orders",
            "pagerduty": SERVICE,
            "targets": ["orders-db", "app-1"],
            "first": ["db"],  # not this machine, which is anybody's
            "offer": ["triage", "logs"],
            "channels": ["inc-.*orders.*"],
        }
    },
}


def main() -> None:
    """Take the three pictures, in a folder that is removed at the end."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("A browser takes the pictures. On Debian: apt-get install chromium fonts-noto-color-emoji fonts-inter")
    with tempfile.TemporaryDirectory(prefix="capturebot-") as folder:
        place = Path(folder)
        place.chmod(0o711)  # the database has a user of its own, who must get through
        asyncio.run(take_all(place, chromium))


async def take_all(place: Path, chromium: str) -> None:
    """Start the playground, with its benchmark for as long as something is said of it."""
    async with estate(place, port=0, settings=SETTINGS) as here, bot(here), phone(here, chromium) as page:
        if here.database is None or here.host is None:
            sys.exit(str(here.missing[0]))
        async with sysbench(here.database, threads=LOAD_THREADS, seconds=LOAD_S):
            await take_thread(page)
            await take_incident(here, page)
        await take_cost(here, page, here.database.pid)


@asynccontextmanager
async def phone(here: Estate, chromium: str) -> AsyncIterator[Page]:
    """Ana's phone, in the playground's channel."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = await browser.new_page(viewport=PHONE, device_scale_factor=SCALE, has_touch=True, color_scheme="light")
        page.set_default_timeout(TOLD_MS)
        expect.set_options(timeout=TOLD_MS)
        await page.goto(here.workspace.page_url)
        await page.evaluate(FONT)
        yield page
        await browser.close()


async def take_thread(page: Page) -> None:
    """What the benchmark did, from its first line."""
    await say(page, "/capture db orders-db")
    capture = page.get_by_role("article").filter(has_text="db on orders-db: complete")
    await expect(capture).to_be_visible()
    await capture.get_by_role("button", name=re.compile("repl")).click()
    replies = page.get_by_role("log", name="Replies")
    await expect(replies.get_by_text("manifest.json")).to_be_visible()
    await keep(page, "thread")
    await page.get_by_role("button", name="Close the thread").click()


async def take_incident(here: Estate, page: Page) -> None:
    """A channel of an incident whose first captures ran when PagerDuty called."""
    here.pagerduty.trigger(INCIDENT, 2002, "Orders are slow", "Orders")
    await here.pagerduty.hooks.settle(CALLED_S)
    channel = here.workspace.open_channel("inc-2002-orders-slow", by=here.user)
    await page.goto(f"{here.workspace.page_url}#{channel}")
    index = page.get_by_role("article").filter(has_text="📚 Evidence")
    await expect(index.get_by_role("link", name="manifest.json")).to_have_count(1)
    await expect(page.get_by_text("📌 Pinned")).to_be_visible()
    announcement = page.get_by_role("article").filter(has_text="🚨")
    await scroll_to(announcement)
    await keep(page, "incident")


async def take_cost(here: Estate, page: Page, pid: int) -> None:
    """What a core dump of the database would cost, before anybody agrees to it."""
    await page.goto(f"{here.workspace.page_url}#{here.channel}")
    await say(page, f"/capture core app-1 pid={pid}")
    await expect(page.get_by_role("button", name="Capture now")).to_be_visible()
    await keep(page, "cost")


async def say(page: Page, line: str) -> None:
    """Type into the message box and send it."""
    await page.get_by_role("textbox", name="Message").fill(line)
    await page.keyboard.press("Enter")


async def scroll_to(message: Locator) -> None:
    """Have a message at the top of its list."""
    await message.evaluate("(one) => one.scrollIntoView({block: 'start'})")


async def keep(page: Page, name: str) -> None:
    """Write the picture of what is on the screen."""
    await page.mouse.move(0, 0)
    picture = await page.screenshot(animations="disabled")
    if len(picture) > PICTURE_BYTES:
        sys.exit(f"{name}.png has {len(picture)} bytes, more than {PICTURE_BYTES}.")
    (FOLDER / f"{name}.png").write_bytes(picture)


if __name__ == "__main__":
    main()

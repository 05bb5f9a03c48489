"""The workspace's page in a real browser, driven by hand and answered by a real Bolt app."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot.playground.workspace import App, Command, Limits, Shortcut, Workspace

pytestmark = pytest.mark.live

CHROMIUM = "/usr/bin/chromium"
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE = (375, 740)
DESKTOP = (1280, 800)
APP = App(
    commands=(Command(name="/capture", about="Capture diagnostics", usage="RECIPE TARGET"),),
    shortcuts=(Shortcut(name="Capture for this", callback_id="for_this", kind="message"),),
)
HOSTILE = '<img src=x onerror="document.title=\'pwned\'"><script>document.title="pwned"</script>'
LONG = "/usr/lib/" + "very-long-name-without-a-blank" * 20


def plain(text: str) -> dict[str, str]:
    """A plain_text object."""
    return {"type": "plain_text", "text": text}


def markdown(text: str) -> dict[str, str]:
    """A mrkdwn object."""
    return {"type": "mrkdwn", "text": text}


def found(text: str) -> list[dict[str, Any]]:
    """A message as a capture posts it."""
    stop = {"title": plain("Stop it?"), "text": plain("What was saved stays."), "confirm": plain("Yes, stop")}
    cells = [{"type": "raw_text", "text": word} for word in ("user", "host", LONG)]
    options = [{"text": plain(word), "value": word} for word in ("db", "host")]
    return [
        {"type": "header", "text": plain("Benchmark on orders-db")},
        {
            "type": "section",
            "text": markdown(text),
            "fields": [markdown("*Target*\norders-db"), markdown("*Recipe*\ndb")],
        },
        {
            "type": "context",
            "elements": [markdown("since <!date^1795383338^{time}|then> · <https://a.example/?x=1&amp;y=2|all of it>")],
        },
        {"type": "table", "rows": [cells, cells]},
        {
            "type": "rich_text",
            "elements": [
                {
                    "type": "rich_text_list",
                    "style": "bullet",
                    "elements": [{"type": "rich_text_section", "elements": [{"type": "text", "text": HOSTILE}]}],
                }
            ],
        },
        {
            "type": "actions",
            "elements": [
                {"type": "button", "action_id": "stop", "text": plain("Stop"), "style": "danger", "confirm": stop},
                {"type": "button", "action_id": "again", "text": plain("Run again"), "value": "c1"},
                {"type": "static_select", "action_id": "pick", "placeholder": plain("Another"), "options": options},
            ],
        },
    ]


MODAL: dict[str, Any] = {
    "type": "modal",
    "callback_id": "form",
    "title": plain("Capture"),
    "submit": plain("Start"),
    "blocks": [
        {
            "type": "input",
            "block_id": "what",
            "label": plain("Recipe"),
            "element": {
                "type": "static_select",
                "action_id": "recipe",
                "options": [{"text": plain(word), "value": word} for word in ("db", "host")],
            },
        },
        {
            "type": "input",
            "block_id": "where",
            "label": plain("Target"),
            "element": {"type": "plain_text_input", "action_id": "target"},
        },
    ],
}


def make_app(client: AsyncWebClient) -> AsyncApp:
    """An app that answers like a capture: a message, its thread, a modal."""
    app = AsyncApp(client=client)

    async def capture(ack: Any, command: dict[str, Any], client: AsyncWebClient) -> None:
        if command["text"] == "never":
            return
        await ack()
        if command["text"] == "form":
            await client.views_open(trigger_id=command["trigger_id"], view=MODAL)
            return
        text = f"*sysbench* from `10.0.0.7` leads: {command['text']}"
        posted = await client.chat_postMessage(channel=command["channel_id"], text="capture", blocks=found(text))
        for reply in ("processlist done", f"{HOSTILE} {LONG}"):
            await client.chat_postMessage(channel=command["channel_id"], text=reply, thread_ts=posted["ts"])

    async def pressed(ack: Any, action: dict[str, Any], respond: Any) -> None:
        await ack()
        chosen = action.get("selected_option") or {"value": action.get("value", "")}
        await respond(f"{action['action_id']}: {chosen['value']}", replace_original=False)

    async def submitted(ack: Any, view: dict[str, Any], body: dict[str, Any], client: AsyncWebClient) -> None:
        values = view["state"]["values"]
        target = values["where"]["target"]["value"]
        if target != "orders-db":
            await ack(response_action="errors", errors={"where": f"There is no target {target}."})
            return
        await ack()
        recipe = values["what"]["recipe"]["selected_option"]["value"]
        place = (await client.conversations_list())["channels"][0]["id"]
        await client.chat_postMessage(channel=place, text=f"{body['user']['name']} starts {recipe} {target}")

    async def for_this(ack: Any, shortcut: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()
        await client.views_open(trigger_id=shortcut["trigger_id"], view=MODAL)

    app.command("/capture")(capture)
    for action_id in ("stop", "again", "pick"):
        app.action(action_id)(pressed)
    app.view("form")(submitted)
    app.shortcut("for_this")(for_this)
    return app


class Desk:
    """A workspace with the app in it, and a browser."""

    def __init__(self, workspace: Workspace, browser: Browser) -> None:
        self.workspace = workspace
        self.browser = browser
        self.ana = workspace.add_user("ana", "Ana Ruiz")
        self.ben = workspace.add_user("ben", "Ben Okafor")
        self.channel = workspace.add_channel("inc-1042-orders-slow")

    @asynccontextmanager
    async def page(self, size: tuple[int, int]) -> AsyncIterator[Page]:
        """The page at a size in pixels; any script error, dialog or refused resource fails the test."""
        context = await self.browser.new_context(
            viewport={"width": size[0], "height": size[1]}, has_touch=size == PHONE
        )
        context.set_default_timeout(5_000)
        page = await context.new_page()
        trouble: list[str] = []
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("console", lambda line: trouble.append(line.text) if line.type == "error" else None)
        page.on("request", lambda request: trouble.append(request.url) if not self._own(request.url) else None)
        await page.goto(self.workspace.page_url)
        await expect(page.get_by_role("heading", level=1)).to_contain_text("inc-1042-orders-slow")
        yield page
        await context.close()
        assert trouble == []

    def _own(self, url: str) -> bool:
        return url.startswith((self.workspace.page_url, "data:"))


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    """All that a test needs, with half a second instead of three for an ack."""
    if shutil.which(CHROMIUM) is None:
        reason = "this test needs a browser: install Debian's chromium"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    async with Workspace(app=APP, limits=Limits(ack_s=0.5)) as workspace:
        client = AsyncWebClient(token=workspace.bot_token, base_url=workspace.api_url)
        handler = AsyncSocketModeHandler(make_app(client), workspace.app_token)
        await handler.connect_async()
        await workspace.wait_for(lambda: workspace.sockets.numbers, 3)
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
            yield Desk(workspace, browser)
            await browser.close()
        await handler.close_async()


async def type_line(page: Page, line: str) -> None:
    """Type into the channel's message box and send it."""
    await page.get_by_role("textbox", name="Message").fill(line)
    await page.keyboard.press("Enter")


async def overflow(page: Page) -> list[str]:
    """What is wider than the screen; boxes that scroll by themselves may hold wide things."""
    wide: list[str] = await page.evaluate(
        """() => [...document.querySelectorAll("body *")]
            .filter((one) => !one.parentElement.closest(".wide") && !one.closest(".unseen, .skip, #side") && one.getBoundingClientRect().right > innerWidth + 1)
            .map((one) => one.outerHTML.slice(0, 200))
            .concat(document.documentElement.scrollWidth > innerWidth ? ["the page scrolls sideways"] : [])"""
    )
    return wide


async def test_a_command_on_a_phone_leads_to_its_thread(desk: Desk) -> None:
    """Typed at 375 pixels, the message comes by itself, the thread opens over the whole width, nothing overflows."""
    async with desk.page(PHONE) as page:
        await type_line(page, "/capture db orders-db")
        await expect(page.get_by_role("heading", name="Benchmark on orders-db")).to_be_visible()
        assert await overflow(page) == []

        await page.get_by_role("button", name="2 replies").click()

        replies = page.get_by_role("log", name="Replies")
        await expect(replies.get_by_text("processlist done")).to_be_visible()
        box = await page.get_by_role("complementary", name="Thread").bounding_box()
        assert box
        assert (box["x"], box["width"]) == (0, PHONE[0])
        assert await overflow(page) == []
        await page.get_by_role("textbox", name="Reply").fill("thank you")
        await page.keyboard.press("Enter")
        await expect(replies.get_by_text("thank you")).to_be_visible()
        await page.get_by_role("button", name="Close the thread").click()
        await expect(page.get_by_role("button", name="3 replies")).to_be_visible()


async def test_a_button_reaches_the_app_and_its_reply_appears(desk: Desk) -> None:
    """A plain button, one that asks first, and a select."""
    async with desk.page(DESKTOP) as page:
        await type_line(page, "/capture db orders-db")
        await page.get_by_role("button", name="Run again").click()
        whisper = page.get_by_role("article").filter(has_text="Only visible to you")
        await expect(whisper.get_by_text("again: c1")).to_be_visible()

        await page.get_by_role("button", name="Stop", exact=True).click()
        await page.get_by_role("button", name="Cancel").click()
        await page.get_by_role("button", name="Stop", exact=True).click()
        await page.get_by_role("button", name="Yes, stop").click()
        await page.get_by_label("Another").select_option("host")

        await expect(whisper.get_by_text("pick: host")).to_be_visible()
        await expect(whisper.get_by_text("stop:")).to_have_count(1)


async def test_a_modal_is_filled_in_and_submitted(desk: Desk) -> None:
    """On a phone: empty inputs and the app's complaint are shown at their inputs, and what was typed stays."""
    async with desk.page(PHONE) as page:
        await type_line(page, "/capture form")
        dialog = page.get_by_role("dialog", name="Capture")
        await expect(dialog).to_be_visible()
        assert await overflow(page) == []

        await dialog.get_by_role("button", name="Start").click()
        await expect(dialog.get_by_text("Please complete this required field.")).to_have_count(2)
        await dialog.get_by_label("Recipe").select_option("db")
        await dialog.get_by_label("Target").fill("orders")
        await dialog.get_by_role("button", name="Start").click()
        await expect(dialog.get_by_text("There is no target orders.")).to_be_visible()
        await expect(dialog.get_by_label("Recipe")).to_have_value("db")
        await dialog.get_by_label("Target").fill("orders-db")
        await page.keyboard.press("Enter")

        await expect(dialog).to_be_hidden()
        await expect(page.get_by_text("ana starts db orders-db")).to_be_visible()


async def test_hostile_text_is_shown_and_not_run(desk: Desk) -> None:
    """In every place where somebody else's words appear, and a link that is no web address leads nowhere."""
    await desk.workspace.command(desk.channel, desk.ana, f"/capture {HOSTILE}")
    client = AsyncWebClient(token=desk.workspace.bot_token, base_url=desk.workspace.api_url)
    sly = f"{HOSTILE} <javascript:document.title='pwned'|click> <data:text/html,x|me> *{HOSTILE}* `{HOSTILE}`"
    await client.chat_postMessage(channel=desk.channel, text=sly)
    desk.workspace.add_user("mallory", HOSTILE)
    desk.workspace.say(desk.channel, desk.workspace.add_user("eve", HOSTILE), f"{HOSTILE} @mallory")
    desk.workspace.add_note(HOSTILE, "/files/")

    async with desk.page(DESKTOP) as page:
        await page.get_by_role("button", name="2 replies").click()
        await expect(page.get_by_role("log", name="Replies").get_by_text("onerror").first).to_be_visible()

        assert "pwned" not in await page.title()
        assert await page.locator("article img, article script, nav img").count() == 0
        assert await page.locator('a[href^="javascript" i], a[href^="data" i]').count() == 0


async def test_a_link_opens_beside_the_page(desk: Desk) -> None:
    """In a new tab that knows nothing of this one, with its address decoded."""
    async with desk.page(DESKTOP) as page:
        await type_line(page, "/capture db orders-db")
        made = page.get_by_role("link", name="all of it")

        assert await made.get_attribute("href") == "https://a.example/?x=1&y=2"
        assert await made.get_attribute("target") == "_blank"
        assert await made.get_attribute("rel") == "noopener noreferrer"


async def test_an_app_that_does_not_answer_is_said_as_slack_says_it(desk: Desk) -> None:
    """A command, a button, an unknown command, a command in a thread."""
    async with desk.page(DESKTOP) as page:
        await type_line(page, "/capture never")
        await expect(page.get_by_text('/capture failed with the error "operation_timeout"')).to_be_visible()
        await type_line(page, "/captur db")
        await expect(page.get_by_text("/captur is not a valid command.")).to_be_visible()
        await type_line(page, "/capture db orders-db")
        await page.get_by_role("button", name="2 replies").click()
        await page.get_by_role("textbox", name="Reply").fill("/capture db")
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("/capture is not supported in threads. Sorry!")).to_be_visible()
        desk.workspace.sockets.silence()

        await page.get_by_role("log", name="Messages").get_by_role("button", name="Run again").click()

        alert = page.get_by_role("log", name="Messages").get_by_role("alert")
        await expect(alert).to_contain_text("did not answer within three seconds")


async def test_an_edit_and_another_persons_view_arrive_by_themselves(desk: Desk) -> None:
    """Two pages: what the app edits changes on both, what is whispered to one is not on the other."""
    client = AsyncWebClient(token=desk.workspace.bot_token, base_url=desk.workspace.api_url)
    other = desk.workspace.add_channel("payments")
    async with desk.page(DESKTOP) as ana, desk.page(PHONE) as ben:
        await ben.get_by_label("You are").select_option("Ben Okafor")
        posted = await client.chat_postMessage(channel=desk.channel, text="step 1 of 8")
        for page in (ana, ben):
            await expect(page.get_by_text("step 1 of 8")).to_be_visible()
        await client.chat_update(channel=desk.channel, ts=posted["ts"], text="step 2 of 8")
        await client.chat_postEphemeral(channel=desk.channel, user=desk.ana, text="for ana only")
        await client.chat_postMessage(channel=other, text="elsewhere")

        await expect(ana.get_by_text("for ana only")).to_be_visible()
        for page in (ana, ben):
            await expect(page.get_by_text("step 2 of 8")).to_be_visible()
            await expect(page.get_by_text("step 1 of 8")).to_have_count(0)
        await expect(ben.get_by_text("for ana only")).to_have_count(0)
        await ben.get_by_role("button", name="Channels").click()
        await ben.get_by_role("button", name="payments").click()
        await expect(ben.get_by_text("elsewhere")).to_be_visible()
        assert await overflow(ben) == []


async def test_a_message_shortcut_opens_its_modal(desk: Desk) -> None:
    """From the message's own menu, by keyboard alone."""
    desk.workspace.say(desk.channel, desk.ben, "orders are slow")
    async with desk.page(DESKTOP) as page:
        await page.get_by_label("Message actions").focus()
        await page.keyboard.press("Enter")
        await page.get_by_role("button", name="Capture for this").focus()
        await page.keyboard.press("Enter")

        await expect(page.get_by_role("dialog", name="Capture")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog", name="Capture")).to_be_hidden()
        assert desk.workspace.views(desk.ana) == []


async def test_every_control_has_a_name(desk: Desk) -> None:
    """For those who do not see it; on a page with messages, a thread and a modal."""
    async with desk.page(DESKTOP) as page:
        await type_line(page, "/capture db orders-db")
        await page.get_by_role("button", name="2 replies").click()
        await type_line(page, "/capture form")
        await expect(page.get_by_role("dialog", name="Capture")).to_be_visible()

        nameless = await page.evaluate(
            """() => [...document.querySelectorAll("button, select, input, textarea, summary")]
                .filter((one) => !(one.ariaLabel || one.textContent.trim() || one.labels?.length))
                .map((one) => one.outerHTML)"""
        )

        assert nameless == []


async def test_the_page_comes_back_with_the_workspace(desk: Desk) -> None:
    """While it is away the page says so; when it listens again, what is there now is shown, untouched by hand."""
    async with Workspace() as first:
        first.add_user("ana", "Ana Ruiz")
        first.add_channel("inc-1")
        page = await desk.browser.new_page()
        await page.goto(first.page_url)
        await expect(page.get_by_role("heading", level=1)).to_contain_text("inc-1")
    await expect(page.get_by_text("The workspace does not answer.")).to_be_visible(timeout=10_000)

    second = Workspace(port=int(first.page_url.rstrip("/").rpartition(":")[2]))
    ana, channel = second.add_user("ana", "Ana Ruiz"), second.add_channel("inc-1")
    second.say(channel, ana, "back again")
    async with second:
        await expect(page.get_by_text("back again")).to_be_visible(timeout=15_000)
        await expect(page.get_by_text("The workspace does not answer.")).to_be_hidden()
        await page.close()

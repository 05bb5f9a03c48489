"""The app's Home, as whoever opens it sees it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.model import Accepted, Service, State
from bot.permission.menu import Menu
from bot.playground.workspace import Fault
from bot.playground.workspace.modals import check_view
from bot.slack import home
from bot.story import Story
from tests.fakes import Script, a_capture, a_recipe
from tests.office import TARGETS
from tests.reception import Reception, reception

pytestmark = pytest.mark.live  # each test starts a workspace, and a bot that connects to it

QUIET = Script(pieces=(b"quiet\n",))


async def read(here: Reception, words: str) -> str:
    """Everything on ana's Home, once it says *words*."""

    def look() -> str:
        shown = here.workspace.home(here.ana) or {"blocks": []}
        text = "\n".join(block["text"]["text"] for block in shown["blocks"] if "text" in block)
        return text if words in text else ""

    return await here.seen(look)


async def test_it_says_what_runs_what_ran_and_what_there_is() -> None:
    """Made anew each time that it is opened."""
    async with reception(ps=QUIET, jstack=Script(hangs=True)) as here:
        here.workspace.open_home(here.ana)
        assert "Nothing was captured yet" in await read(here, "Nothing runs now.")
        await here.capture()
        await here.workspace.command(here.channel, here.ana, "/capture threads app-1 pid=812")
        await here.transport.wait_for_start(2)

        here.workspace.open_home(here.ana)

        text = await read(here, "host on app-1")
        assert text.index("Running now") < text.index("threads on app-1") < text.index("Lately")
        assert text.index("Lately") < text.index("host on app-1") < text.index("What there is to run")
        assert "• `core` — Core dump" in text


async def test_a_capture_is_started_from_there() -> None:
    """The dialog asks where it is told, as there is no channel."""
    async with reception(ps=QUIET) as here:
        here.workspace.open_home(here.ana)
        await read(here, "What there is to run")

        await here.workspace.click_at_home(here.ana, home.START)
        await here.seen(lambda: here.workspace.views(here.ana))
        await here.workspace.suggest(here.ana, "recipe")
        chosen = {"place": {"place": here.channel}}
        await here.workspace.click_in_view(here.ana, "recipe", value="host", given=chosen)
        await here.seen(lambda: len(here.workspace.views(here.ana)[-1].body["blocks"]) > 2)
        await here.workspace.suggest(here.ana, "targets")
        await here.workspace.submit(here.ana, {"targets": ["app-1"]})

        await here.root(0, "complete", "asked by ana")
        await here.whisper(here.ana, "The result comes in")
        (accepted,) = [event for event in await here.events() if isinstance(event, Accepted)]
        assert accepted.capture.place
        assert accepted.capture.place.channel == here.channel


async def test_a_home_that_slack_refuses_is_shown_next_time() -> None:
    """Nothing else suffers."""
    async with reception(ps=QUIET) as here:
        here.workspace.fail_next("views.publish", Fault(status=500))

        here.workspace.open_home(here.ana)
        await here.seen(lambda: [call for call in here.workspace.calls if call.method == "views.publish"])
        here.workspace.open_home(here.ana)

        await read(here, "What there is to run")


def test_the_largest_home_is_one_that_slack_takes() -> None:
    """300 recipes with titles of 200 characters, 300 targets, markup in names, 20 captures."""
    recipes = {f"r{n}": replace(a_recipe(f"r{n}"), title="🔥<!channel>&" * 20) for n in range(300)}
    targets = {f"t{n}": replace(TARGETS["app-1"], name=f"t{n}" + "x" * 60) for n in range(300)}
    services = {"s": Service(name="s", about="א" * 200, first=tuple(recipes)[:100])}
    stories = [Story(capture=a_capture(f"c{n}", targets=tuple(targets)), state=State.RUNNING) for n in range(20)]
    what = Menu(recipes=recipes, targets=dict.fromkeys(recipes, tuple(targets)), services=services)

    shown = home.view(stories, what, untold={"slack c1": "& so <on>"})

    check_view(shown, "home")
    assert "<!channel>" not in str(shown)
    check_view(home.trouble("The journal is full."), "home")

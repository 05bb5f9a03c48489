"""The dialog of a bare `/capture`, and of "Capture here" in a thread, filled in as a person does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bot.model import Accepted, Impact, Offered, Place, Recipe, Service
from bot.playground.workspace import Fault
from bot.playground.workspace.inputs import Given
from bot.playground.workspace.modals import check_view
from bot.slack import modal
from bot.slack.modal import Draft
from tests.fakes import AT, Script, a_recipe, a_trigger
from tests.office import TARGETS
from tests.reception import APP, PID, Reception, reception

pytestmark = pytest.mark.live  # each test starts a workspace, and a bot that connects to it

QUIET = Script(pieces=(b"quiet\n",))
BUSY = Script(
    pieces=(
        b"### candidates at=2026-11-23T00:00:00+00:00 number=2 kind=Java\npid\tapp\tcpu_now\n812\torders-api\t390\n977\tbilling\t12\n",
    )
)


def top(here: Reception) -> dict[str, Any]:
    """What the dialog that ana has open holds."""
    return here.workspace.views(here.ana)[-1].body


def shown(here: Reception) -> str:
    """Every text in the dialog."""
    blocks = top(here)["blocks"]
    return "\n".join(
        str(part["text"])
        for block in blocks
        for part in (block.get("text"), block.get("label"), block.get("hint"), *block.get("elements", ()))
        if part
    )


async def choose(here: Reception, recipe: str) -> None:
    """Type and choose a recipe; the dialog asks for what it needs."""
    assert recipe in await here.workspace.suggest(here.ana, "recipe", recipe[:3])
    await here.workspace.click_in_view(here.ana, "recipe", value=recipe)
    await here.seen(lambda: any(block.get("block_id") == f"targets {recipe}" for block in top(here)["blocks"]))


async def fill(here: Reception, recipe: str, target: str = "app-1") -> None:
    """Open the dialog, choose a recipe and find a target."""
    await here.workspace.command(here.channel, here.ana, "/capture")
    await here.seen(lambda: here.workspace.views(here.ana))
    await choose(here, recipe)
    assert target in await here.workspace.suggest(here.ana, "targets", target)


async def test_a_bare_command_opens_a_dialog_that_captures() -> None:
    """Recipe and target are found by typing; the rest is as if it had been typed."""
    async with reception(ps=QUIET) as here:
        await fill(here, "host")

        assert "no load" in shown(here) or "light load" in shown(here)
        await here.workspace.submit(here.ana, {"targets": ["app-1"]})
        assert sum(isinstance(event, Accepted) for event in await here.events()) == 1  # before it was acknowledged

        assert "asked by ana" in (await here.root(0, "complete")).text
        await here.whisper(here.ana, "The result comes in")
        assert here.workspace.views(here.ana) == []


async def test_a_recipe_without_a_target_opens_it_prefilled() -> None:
    """With the parameters that were typed, too."""
    async with reception(jstack=QUIET) as here:
        await here.workspace.command(here.channel, here.ana, "/capture threads pid=812")
        await here.seen(lambda: here.workspace.views(here.ana))
        await here.workspace.suggest(here.ana, "targets")

        await here.workspace.submit(here.ana, {"targets": ["app-1", "app-2"]})

        await here.root(0, "threads on app-1, app-2: complete")
        (accepted,) = [event for event in await here.events() if isinstance(event, Accepted)]
        assert accepted.capture.parameters == {"pid": 812, "app": ""}


async def test_words_that_are_wrong_are_answered_in_words() -> None:
    """A dialog opens for what is left out, not for what is misspelt."""
    async with reception() as here:
        await here.workspace.command(here.channel, here.ana, "/capture hos")

        await here.whisper(here.ana, "Did you mean `host`?")
        assert here.workspace.views(here.ana) == []


async def test_a_dialog_that_slack_refuses_leaves_the_words() -> None:
    """A trigger lives three seconds; whoever typed is answered all the same."""
    async with reception() as here:
        here.workspace.fail_next("views.open", Fault(error="expired_trigger_id"), times=2)

        await here.workspace.command(here.channel, here.ana, "/capture")
        await here.workspace.command(here.channel, here.ana, "/capture host")

        await here.whisper(here.ana, "Keep the evidence")
        await here.whisper(here.ana, "`host` needs a target")


async def test_a_target_that_is_busy_is_told_to_whoever_asked() -> None:
    """As after a command: what runs there is known only when it is asked for."""
    async with reception(jstack=Script(hangs=True), ps=Script(hangs=True)) as here:
        await fill(here, "threads")
        await here.workspace.command(here.channel, here.ana, "/capture host app-1")
        await here.workspace.command(here.channel, here.ana, "/capture threads app-1 pid=7")
        await here.transport.wait_for_start(2)

        await here.workspace.submit(here.ana, {"targets": ["app-1"]})

        await here.whisper(here.ana, "2 captures of `app-1` are under way already")


async def test_a_target_that_is_not_for_the_recipe_is_told_at_the_targets() -> None:
    """The configuration may have changed since the dialog was opened."""
    async with reception() as here:
        await fill(here, "threads")
        here.desk.targets = {"orders-db": TARGETS["orders-db"]}

        answer = await here.workspace.submit(here.ana, {"targets": ["app-1"]})

        assert answer.response
        assert answer.response["errors"] == {"targets threads": "There is no target app-1. threads can capture: none."}


async def test_a_parameter_that_does_not_fit_is_told_at_the_parameter() -> None:
    """The pattern is the recipe's own; Slack cannot check it."""
    async with reception() as here:
        await fill(here, "threads")
        view = here.workspace.views(here.ana)[-1]
        given: Given = {"targets threads": {"targets": ["app-1"]}, "parameter app threads": {"parameter": "a b; rm"}}

        answer = await here.workspace.fill(here.ana, given)

        assert view.body["callback_id"] == modal.CAPTURE
        assert answer.response
        assert "must match" in answer.response["errors"]["parameter app threads"]


async def test_another_recipe_keeps_the_targets_that_it_is_for() -> None:
    """What was entered for the first one's parameters is not taken over."""
    async with reception(ps=QUIET) as here:
        await fill(here, "threads")
        view = here.workspace.views(here.ana)[-1]
        given: Given = {"targets threads": {"targets": ["app-1"]}, "parameter app threads": {"parameter": "orders"}}
        await here.workspace.suggest(here.ana, "recipe", "host")

        await here.workspace.click_in_view(here.ana, "recipe", value="host", given=given)

        await here.seen(lambda: any(block.get("block_id") == "targets host" for block in top(here)["blocks"]))
        await here.workspace.submit(here.ana)
        await here.root(0, "host on app-1: complete")
        assert view.id


async def test_a_cost_is_agreed_to_in_the_dialog() -> None:
    """Measured first, shown, and held to; nothing runs before."""
    async with reception(gcore=QUIET) as here:
        await fill(here, "core")
        assert "pauses the target" in shown(here)

        await here.workspace.submit(here.ana, {"targets": ["app-1"]})
        await here.seen(lambda: "stops orders-api (pid 812) for about 3 s" in shown(here))
        assert not any(isinstance(event, Accepted) for event in await here.events())
        await here.workspace.submit(here.ana)

        done = await here.root(0, "core on app-1: complete")
        assert "⚖️ Agreed to: stops orders-api" in done.text


async def test_one_of_many_is_chosen_in_the_dialog() -> None:
    """Then its own cost is measured."""
    async with reception(cost=BUSY, gcore=QUIET) as here:
        await fill(here, "core")
        await here.workspace.submit(here.ana, {"targets": ["app-1"]})
        await here.seen(lambda: "2 processes match" in shown(here))
        here.transport.scripts = {"cost": Script(pieces=(b"what=orders-api (pid 812)\npause_s=3\n",))}

        await here.workspace.submit(here.ana, {"choice": "0"})

        await here.seen(lambda: "stops orders-api (pid 812)" in shown(here))
        await here.workspace.submit(here.ana)
        await here.root(0, "core on app-1: complete")
        offers = [event.trigger.parameters for event in await here.events() if isinstance(event, Offered)]
        assert offers == [{}, {"pid": "812"}]


async def test_whoever_closes_it_while_it_is_measured_is_asked_in_the_channel() -> None:
    """With the same buttons as after a command."""
    async with reception(gcore=QUIET) as here:
        await fill(here, "core")
        here.workspace.fail_next("views.update", Fault(error="internal_error"))

        await here.workspace.submit(here.ana, {"targets": ["app-1"]})

        offer = await here.whisper(here.ana, "stops orders-api (pid 812) for about 3 s")
        await here.press(offer, "agree", here.ana)
        await here.root(0, "core on app-1: complete")


async def test_a_cost_that_is_refused_is_told_in_the_dialog() -> None:
    """With the numbers, and nothing to press."""
    async with reception(cost=Script(pieces=(b"refuse=It is the only replica.\n",))) as here:
        await fill(here, "core")

        await here.workspace.submit(here.ana, {"targets": ["app-1"]})

        await here.seen(lambda: "submit" not in top(here) and "Measuring" not in shown(here))
        assert "It is the only replica." in shown(here)
        assert "submit" not in top(here)


async def test_capture_here_is_told_in_the_thread_of_the_message() -> None:
    """The shortcut of a reply, and of a message that has no replies yet."""
    async with reception(ps=QUIET) as here:
        parent = here.workspace.say(here.channel, here.ben, "Orders are slow")
        reply = here.workspace.say(here.channel, here.ben, "since noon", thread_ts=parent.ts)
        await here.workspace.shortcut("capture_here", here.ana, channel=here.channel, message_ts=reply.ts)
        await here.seen(lambda: here.workspace.views(here.ana))
        await choose(here, "host")
        await here.workspace.suggest(here.ana, "targets")

        await here.workspace.submit(here.ana, {"targets": ["app-1"]})

        await here.seen(lambda: [one for one in here.replies(parent) if one.metadata and "complete" in one.text])
        assert (await here.whisper(here.ana, "The result comes in this thread")).thread_ts == parent.ts


async def test_a_dialog_that_is_sent_twice_starts_one_capture() -> None:
    """Its id is the key."""
    async with reception(ps=QUIET) as here:
        await fill(here, "host")
        here.workspace.sockets.duplicate_next(1)

        await here.workspace.submit(here.ana, {"targets": ["app-1"]})

        await here.root(0, "complete")
        await here.whisper(here.ana, "started that already")
        assert len(here.roots) == 1


async def test_a_services_first_set_is_started_from_the_dialog() -> None:
    """It stands among the recipes, with what it runs; sent twice, it is started once."""
    orders = Service(name="orders", about="Orders", targets=("app-1", "app-2"), first=("host", "threads"))
    idle = Service(name="search", targets=("app-1",))
    async with reception(ps=QUIET, jstack=QUIET, services={"orders": orders, "search": idle}) as here:
        await here.workspace.command(here.channel, here.ana, "/capture")
        await here.seen(lambda: here.workspace.views(here.ana))
        found = await here.workspace.suggest(here.ana, "recipe", "ord")
        await here.workspace.click_in_view(here.ana, "recipe", value="* orders")
        await here.seen(lambda: "app-1, app-2" in shown(here))
        here.workspace.sockets.duplicate_next(1)

        await here.workspace.submit(here.ana, {})

        await here.root(1, "complete")
        taken = [event.capture.recipe for event in await here.events() if isinstance(event, Accepted)]
        assert found == ["* orders"]
        assert taken == ["host", "threads"]
        assert here.workspace.views(here.ana) == []


# --- pure -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 100, 300])
def test_no_list_is_longer_than_slack_takes(count: int) -> None:
    """A hundred, and those that begin with what was typed are among them."""
    recipes = [replace(a_recipe(f"r{n}"), title="Title " * 40) for n in range(count)] + [a_recipe("zz")]

    everything, typed = modal.recipe_options(recipes, [], ""), modal.recipe_options(recipes, [], " ZZ ")

    assert len(everything) == min(count + 1, 100)
    assert [one["value"] for one in typed] == ["zz"]


def test_each_variant_stands_for_itself() -> None:
    """Their parameters differ, so nobody chooses a recipe first and then which."""
    variants = {name: replace(a_recipe("query"), title=name.title()) for name in ("slow", "locks")}
    query = replace(a_recipe("query"), variants=variants)

    options = modal.recipe_options([query], [], "")

    assert [one["value"] for one in options] == ["query slow", "query locks"]
    assert [one["text"]["text"] for one in options] == ["query slow — Slow", "query locks — Locks"]


def test_the_largest_dialog_is_one_that_slack_takes() -> None:
    """All kinds of parameters, names of 200 characters, 60 targets, emoji and right-to-left text."""
    parameters = tuple(
        replace(one, name=f"{one.name}{n}", about="🔥 שלום " * 40) for n in range(40) for one in (PID, APP)
    )
    chosen = replace(APP, name="kind", pattern=None, choices=tuple(f"kind {n}" for n in range(100)), default="kind 7")
    recipe: Recipe = replace(
        a_recipe("r" * 31), title="T" * 200, about="🔥 " * 2000, impact=Impact.HEAVY, parameters=(chosen, *parameters)
    )
    targets = {f"t{n}": replace(TARGETS["app-1"], name=f"t{n}", about="א" * 200) for n in range(60)}
    draft = Draft(
        place=Place(channel="C1", channel_name="c" * 80, thread_ts="1.2"),
        answers_at="https://hooks.example/" + "x" * 200,
        recipe=recipe.name,
        targets=tuple(targets),
    )

    view = modal.form(draft, recipe, targets)

    check_view(view, "modal")
    assert view["submit"]["text"] == "Measure its cost"


def test_the_largest_first_set_is_one_that_slack_takes() -> None:
    """As a choice, and in the dialog: 60 targets, 30 recipes, long names."""
    names = tuple(f"t{n}-{'x' * 50}" for n in range(60))
    service = Service(name="s" * 63, about="🔥 שלום " * 100, targets=names, first=tuple(f"r{n}" for n in range(30)))
    draft = Draft(place=Place(channel="C1"), recipe=f"* {service.name}")

    view = modal.form(draft, None, {}, service=service, runs=dict.fromkeys(service.first, names))
    (option,) = modal.recipe_options([], [service], "")

    check_view(view, "modal")
    assert view["blocks"][0]["element"]["initial_option"] == option
    assert modal.read({**view, "state": {"values": {"recipe": {"recipe": {"selected_option": option}}}}}).service == (
        service.name
    )


@pytest.mark.parametrize("several", [0, 150])
def test_offers_in_a_dialog_are_ones_that_slack_takes(several: int) -> None:
    """However long the sentence, and however many processes match."""
    from bot.model import Suggestion

    choices = tuple(Suggestion(label=f"{n} " + "x" * 58) for n in range(several))
    offered = Offered(
        offer_id="1", trigger=a_trigger("core"), recipe_digest="d", at=AT, cost="c " * 3000, choices=choices
    )
    draft = Draft(place=None)

    view = modal.choice(offered, draft) if several else modal.agreement(offered, draft)

    check_view(view, "modal")
    assert modal.offer_of(view) == "1"

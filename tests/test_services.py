"""Services: what a right one becomes, what is said of each wrong one, and what its name alone starts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.check import check, faults_of
from bot.cli import main
from bot.errors import ConfigError, UserError
from bot.incidents import FirstSets
from bot.journal import Journal
from bot.model import Accepted, Capture, Person, Place, Refused, Service, Source
from bot.permission.menu import Menu
from bot.recipes import builtin_folder, load_folder
from bot.settings import load
from bot.slack import answers
from bot.slack.answers import Answer
from bot.slack.clerk import Clerk
from tests.fakes import ANA
from tests.office import TARGETS, Office, office

SHIPPED = load_folder(builtin_folder())
INSIGHTS = {step.insight for recipe in SHIPPED.values() for step in recipe.steps if step.insight}
RIGHT = """\
folder: x
targets:
  orders-db: {mysql: {host: 10.0.0.5, user: capture}}
  orders-app: {local: true}
services:
  orders:
    about: Orders and payments
    pagerduty: PSVC1
    targets: [orders-db, orders-app]
    first: [triage, db]
    offer: [core]
    channels: ['inc-.*orders.*']
"""
ORDERS = Service(
    name="orders",
    about="Orders and payments",
    pagerduty="PSVC1",
    targets=("orders-db", "orders-app"),
    first=("triage", "db"),
    offer=("core",),
    channels=("inc-.*orders.*",),
)


def test_a_right_service_is_read_and_passes_the_check(tmp_path: Path) -> None:
    """With its targets, recipes and channels in their order."""
    (path := tmp_path / "capturebot.yml").write_text(RIGHT)

    assert load(path).services == {"orders": ORDERS}
    assert check(path, insights=INSIGHTS) == []


SECOND = "  billing: {targets: [orders-app], pagerduty: PSVC1}\n"


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        (
            "[orders-db, orders-app]",
            "[orders-dp, orders-app]",
            "9: services.orders.targets.0: there is no target `orders-dp` — did you mean `orders-db`?",
        ),
        (
            "[orders-db, orders-app]",
            "[x]",
            "9: services.orders.targets.0: there is no target `x` — targets are `orders-db` and `orders-app`",
        ),
        ("PSVC1", "svc", "8: services.orders.pagerduty: must be the id of a PagerDuty service, such as `PABC123`"),
        (
            "channels: ['inc-.*orders.*']\n",
            "channels: []\n" + SECOND,
            ("13: services.billing.pagerduty: is the id of the service `orders` already — "
            "each service has an id of its own in PagerDuty"),
        ),
        ("['inc-.*orders.*']", "['inc-(']", "12: services.orders.channels.0: is not a pattern: missing ): inc-("),
        ("  orders:\n", "  host:\n", "6: services.host: `host` is a recipe too — rename the service"),
        ("  orders:\n", "  list:\n", "6: services.list: `list` is a word of `/capture` itself too — rename the service"),
        ("  orders:\n", "  Orders:\n", "6: services.Orders:"),
        ("[triage, db]", "[triag, db]", "10: services.orders.first.0: there is no recipe `triag` — did you mean `triage`?"),
        (
            "[triage, db]",
            "[triage, core]",
            ("10: services.orders.first.1: `core` pauses the target while it runs, and must be asked for — "
            "move it to `offer`"),
        ),
        (
            "[orders-db, orders-app]",
            "[orders-app]",
            ("10: services.orders.first.1: `db` is for MySQL and MariaDB servers, and none of the service's targets "
            "is one — add one, or leave it out"),
        ),
        ("[core]", "[cor]", "11: services.orders.offer.0: there is no recipe `cor` — did you mean `core`?"),
        ("    targets: [orders-db, orders-app]\n", "", "6: services.orders.targets: is missing"),
        ("first:", "frist:", "10: services.orders.frist: is not a known key — did you mean `first`?"),
    ],
)  # fmt: skip
def test_a_wrong_service_is_told_by_line_key_and_cure(tmp_path: Path, was: str, now: str, says: str) -> None:
    """One sentence for one mistake, as for everything else in the file."""
    assert RIGHT.count(was) == 1
    (path := tmp_path / "capturebot.yml").write_text(RIGHT.replace(was, now))

    problems = problems_of(path)

    assert len(problems) == 1
    assert problems[0].startswith(f"{tmp_path}/capturebot.yml:{says}")


def problems_of(path: Path) -> list[str]:
    """As the check finds them, without reading every recipe anew."""
    try:
        return [str(problem) for problem in faults_of(load(path), SHIPPED)]
    except ConfigError as error:
        return [str(problem) for problem in error.problems]


# --- what its name alone starts -----------------------------------------------------------------

APP = Service(name="app", about="The app", targets=("app-1", "app-2", "orders-db"), first=("host",), offer=("db",))
BOTH = Service(name="both", targets=("app-1", "orders-db"), first=("host", "db"))
IDLE = Service(name="idle", targets=("app-1",), offer=("host",))
SERVICES = {service.name: service for service in (APP, BOTH, IDLE)}


@pytest.fixture
async def here() -> AsyncIterator[Office]:
    """An office with services."""
    journal = await Journal.open("sqlite://", owner="me")
    made = office(journal, services=SERVICES)
    yield made
    await made.desk.drain()
    await journal.close()


async def typed(here: Office, text: str, *, trigger_id: str = "1.2") -> list[str]:
    """What somebody reads who types `/capture TEXT`."""
    said: list[str] = []

    async def say(answer: Answer) -> None:
        said.append(answer.text)

    clerk = Clerk(here.desk, here.journal, incidents=None, untold=dict, now=here.clock)
    body = {"user_id": ANA.id, "user_name": ANA.name, "channel_id": "C1", "text": text, "trigger_id": trigger_id}
    await clerk.command(body, say)
    return said


async def captures(here: Office) -> list[Capture]:
    """All that was accepted."""
    return [event.capture for event in await here.events() if isinstance(event, Accepted)]


async def test_a_services_name_alone_takes_its_first_set(here: Office) -> None:
    """Each recipe over those of its targets that it is for; the asker reads of each."""
    (said,) = await typed(here, "both")

    made = await captures(here)
    assert [(capture.recipe, capture.targets) for capture in made] == [("host", ("app-1",)), ("db", ("orders-db",))]
    assert [line.split(":")[0] for line in said.splitlines()] == [f"🕓 `{capture.id}`" for capture in made]
    assert {capture.place for capture in made} == {Place(channel="C1")}


async def test_one_recipe_is_one_capture_of_all_its_targets(here: Office) -> None:
    """A target that it is not for is left out."""
    await typed(here, "app")

    (capture,) = await captures(here)
    assert capture.targets == ("app-1", "app-2")


async def test_the_same_delivery_twice_is_one_set(here: Office) -> None:
    """Slack may deliver a command again."""
    await typed(here, "both")

    (said,) = await typed(here, "both")

    assert len(await captures(here)) == 2
    assert said.count("started that already") == 2


async def test_what_is_refused_does_not_hold_up_the_others(here: Office) -> None:
    """The asker reads of both; the journal keeps why."""
    first_sets = FirstSets(here.desk, now=here.clock)
    given = first_sets.triggers(BOTH, who=Person(id="1", name="ana"), source=Source.TERMINAL)
    here.desk.targets = {name: target for name, target in TARGETS.items() if name != "app-1"}

    host, db = await first_sets.start(given)

    assert isinstance(host.refusal, UserError)
    assert db.taken.capture
    assert [event.trigger.recipe for event in await here.events() if isinstance(event, Refused)] == ["host"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("idle", "❌ `idle` has no recipes that run at once. It offers: `host`."),
        ("both app-1", "❌ `both` is a service, and takes no more words than that. Type `/capture both`, or a recipe"),
        ("bth", "❌ There is no recipe `bth`. Did you mean `both`?"),
        ("help bth", "❌ There is no recipe `bth`. Did you mean `both`?"),
        ("help app", ("*app*: The app\nAt once, when it has an incident or on `/capture app`: `host`.\n"
         "Of its targets: `app-1`, `app-2`, `orders-db`, each recipe of those that it is for.\n"
         "Its incident channels offer: `db`.")),
    ],
)  # fmt: skip
async def test_people_are_told_of_services(here: Office, text: str, says: str) -> None:
    """Also when they mistype one."""
    (said,) = await typed(here, text)

    assert said.startswith(says)


RECIPE = "title: {0}\nabout: B.\nfor: host\nimpact: none\nsteps: [{{id: a, title: A, run: ['{1}'], timeout: 5, limit: 1 kB}}]\n"


@pytest.mark.thorough
@pytest.mark.usefixtures("own_log")
def test_the_terminal_takes_a_first_set_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each story is printed; the status is that of the first that did not end well; twice is taken twice."""
    (tmp_path / "mine").mkdir()
    for name, program in (("one", "echo"), ("two", "false")):
        (tmp_path / "mine" / f"{name}.yml").write_text(RECIPE.format(name.title(), program))
    (config := tmp_path / "capturebot.yml").write_text(
        "folder: x\nrecipes: [mine]\ntargets: {here: {local: true}}\n"
        "services: {app: {targets: [here], first: [one, two]}}\n"
    )

    statuses = [main(["--config", str(config), "run", "app"]) for _ in range(2)]

    said = capsys.readouterr().out
    assert statuses == [1, 1]
    assert said.count("✅ one on here: complete") == 2
    assert said.count("❌ two on here: failed") == 2


def test_help_and_list_name_services() -> None:
    """With what each runs at once."""
    what = Menu(recipes={}, targets={}, services=SERVICES)

    assert "• `app` — The app · `host`" in answers.help_all(what)
    assert "*Services*\n• `app` — The app · `host`\n• `both` · `host`, `db`\n• `idle` · nothing" in answers.listing(
        what
    )

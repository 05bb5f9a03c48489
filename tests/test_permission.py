"""The rules at the desk: what is refused is not done, is told with its rule and its cure, and is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from bot.command import Help, List
from bot.errors import UserError
from bot.incidents import FirstSets
from bot.journal import Journal
from bot.model import (
    Denied,
    Effect,
    Event,
    Impact,
    Linked,
    Member,
    Membership,
    Person,
    Place,
    Policy,
    Refused,
    Rule,
    Service,
    Source,
    State,
    StopAsked,
    Verb,
)
from bot.permission import OURSELVES, Asker, NotAllowed, Permission
from bot.permission.menu import menu
from bot.slack.answers import Answer
from bot.slack.clerk import Clerk
from bot.slack.guide import Guide
from bot.story import Story
from tests.fakes import ANA, ANYTHING, HERE, Everybody, Script, a_recipe, a_trigger
from tests.office import RECIPES, TARGETS, Office, office

BEN = Person(id="U2", name="ben")
GUS = Member(id="U1", name="gus", membership=Membership.GUEST)
CORE = replace(a_recipe("core"), impact=Impact.PAUSES)


@pytest.fixture
async def journal() -> AsyncIterator[Journal]:
    """A journal in memory."""
    opened = await Journal.open("sqlite://", owner="me")
    yield opened
    await opened.close()


def rule(name: str, effect: Effect, *verbs: Verb, **conditions: Any) -> Rule:
    """A rule about captures, unless *verbs* say otherwise."""
    return Rule(name=name, line=7, effect=effect, verbs=frozenset(verbs or (Verb.CAPTURE,)), **conditions)


def policy(*rules: Rule) -> Policy:
    """What is none or light is open."""
    return Policy(rules=rules)


NO_APP_2 = policy(rule("not app-2", Effect.DENY, targets=("app-2",)))
LOOKS_ONLY = policy(rule("looks only", Effect.DENY, Verb.STOP, Verb.NOTE, Verb.FILES, who=("U1",)))


async def of(here: Office, kind: type[Event]) -> list[Event]:
    """The journal's events of a kind."""
    return [event for event in await here.events() if isinstance(event, kind)]


async def test_what_a_rule_denies_is_not_captured(journal: Journal) -> None:
    """The refusal names the rule and how to learn more, and is kept with what was asked."""
    here = office(journal, policy=NO_APP_2)

    with pytest.raises(NotAllowed) as refused:
        await here.desk.take(a_trigger("host", "app-2"))

    assert str(refused.value) == (
        "`host` on `app-2`: The rule `not app-2` (line 7) denies it. "
        "Ask an operator of capturebot; `capturebot can U1 host app-2` explains it to them."
    )
    (kept,) = await of(here, Refused)
    assert isinstance(kept, Refused)
    assert (kept.trigger.who, kept.reason) == (ANA, str(refused.value))
    assert here.transport.executions == []


async def test_one_denied_target_among_others_refuses_all(journal: Journal) -> None:
    """Nobody gets half of what they asked for without saying so."""
    here = office(journal, policy=NO_APP_2)

    with pytest.raises(NotAllowed, match=r"^`host` on `app-2`: The rule"):
        await here.desk.take(a_trigger("host", "app-1", "app-2"))

    assert here.transport.executions == []


async def test_what_may_not_be_captured_is_not_joined(journal: Journal) -> None:
    """Its story is not told to whoever may not ask for it."""
    here = office(journal, policy=policy(rule("not ben", Effect.DENY, who=("U2",))))
    first = await here.desk.take(a_trigger())

    with pytest.raises(NotAllowed):
        await here.desk.take(a_trigger(who=BEN))

    assert first.capture
    await here.desk.wait_for(first.capture.id)


async def test_what_pauses_needs_a_rule(journal: Journal) -> None:
    """Deny by default; no cost is measured for whoever may not pay it."""
    here = Office(journal, {}, office(journal).desk._limits, recipes={"core": CORE}, policy=policy())

    with pytest.raises(NotAllowed, match="pauses the target needs a rule that allows it"):
        await here.desk.offer(a_trigger("core"))

    assert here.transport.executions == []


async def test_permission_is_looked_at_again_when_a_cost_is_agreed_to(journal: Journal) -> None:
    """Whoever lost it between the offer and the press starts nothing."""
    allowing = policy(rule("on call", Effect.ALLOW, who=("@oncall",)))
    members = Everybody(Member(id="U1", name="ana", membership=Membership.MEMBER, groups=frozenset({"@oncall"})))
    here = Office(journal, {}, office(journal).desk._limits, recipes={"core": CORE}, policy=allowing, members=members)
    offered = await here.desk.offer(a_trigger("core"))
    assert offered
    members.others.clear()

    with pytest.raises(NotAllowed, match="needs a rule that allows it"):
        await here.desk.take(offered.trigger)

    assert here.transport.executions == []


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Membership.GUEST, "gus is a guest in this workspace. Ask a full member"),
        (Membership.STRANGER, "gus belongs to another workspace. Ask a full member"),
        (Membership.BOT, "gus is a bot."),
        (Membership.DEACTIVATED, "gus has been deactivated."),
        (Membership.UNKNOWN, "Slack did not say. Try again in a minute; if it stays so, `capturebot doctor slack`"),
    ],
)
async def test_whoever_is_no_member_can_do_nothing(journal: Journal, kind: Membership, said: str) -> None:
    """Not capture, stop, link, share, read or write a note, whatever rules say; each try is kept."""
    here = office(
        journal, {"ps": Script(hangs=True)}, policy=ANYTHING, members=Everybody(replace(GUS, membership=kind))
    )
    running = (await here.desk.take(a_trigger(who=BEN))).capture
    assert running
    permission = here.desk.permission

    for attempt in (
        here.desk.take(a_trigger()),
        here.desk.offer(a_trigger()),
        here.desk.check(a_trigger()),
        here.desk.stop(running.id, ANA),
        here.desk.link("C1", "PABC123", ANA),
        here.desk.share(running, "PABC123", ANA, HERE),
        permission.admit(ANA, Source.SLACK, HERE),
        permission.require(Verb.NOTE, ANA, Source.SLACK, HERE),
    ):
        with pytest.raises(NotAllowed) as refused:
            await attempt
        assert said in str(refused.value)

    assert await of(here, StopAsked) == []
    assert await of(here, Linked) == []
    assert len(await of(here, Refused)) == 3
    assert len(await of(here, Denied)) == 5
    await here.desk.stop(running.id, BEN)
    await here.desk.wait_for(running.id)


async def test_stopping_and_writing_can_be_denied(journal: Journal) -> None:
    """The journal keeps who tried what, where, and why it was refused."""
    here = office(journal, {"ps": Script(hangs=True)}, policy=LOOKS_ONLY)
    running = (await here.desk.take(a_trigger())).capture
    assert running

    with pytest.raises(NotAllowed, match="capturebot can U1 host app-1 --verb stop"):
        await here.desk.stop(running.id, ANA, place=HERE)
    with pytest.raises(NotAllowed, match=r"The rule `looks only` \(line 7\) denies it"):
        await here.desk.link("C1", "PABC123", ANA)

    stop, link = await of(here, Denied)
    assert isinstance(stop, Denied)
    assert isinstance(link, Denied)
    assert (stop.verb, stop.who, stop.place, stop.targets) == (Verb.STOP, ANA, HERE, ("app-1",))
    assert (link.verb, link.place) == (Verb.NOTE, Place(channel="C1"))
    await here.desk.stop(running.id, BEN)
    await here.desk.wait_for(running.id)
    assert (await here.story(running.id)).state is State.STOPPED


async def test_who_sits_at_the_terminal_holds_the_keys(journal: Journal) -> None:
    """Rules are about people in Slack: Slack is not asked who runs a command."""
    here = office(journal, policy=policy(rule("nobody", Effect.DENY, *Verb)), members=Everybody(GUS))

    capture = await here.desk.accept(a_trigger(source=Source.TERMINAL))

    assert capture


async def test_what_starts_by_itself_is_held_to_rules_about_everybody(journal: Journal) -> None:
    """A schedule, PagerDuty's calls, a channel that opened: denies that name nobody hold for them too."""
    service = Service(name="shop", targets=("app-1", "app-2"), first=("host",))
    here = office(journal, policy=NO_APP_2, services={"shop": service})
    sets = FirstSets(here.desk, now=here.clock)

    called = await sets.start(sets.triggers(service, who=Person(id="pagerduty", name="PD"), source=Source.PAGERDUTY))
    opened = await sets.start(sets.triggers(service, who=OURSELVES, source=Source.SLACK))
    planned = await here.desk.take(
        a_trigger("host", "app-1", source=Source.SCHEDULE, who=Person(id="schedule", name="s"))
    )

    assert [isinstance(one.refusal, NotAllowed) for one in (*called, *opened)] == [True, True]
    assert planned.capture


async def test_before_slack_is_let_in_nobody_there_is_known(journal: Journal) -> None:
    """Which no rule makes up for."""
    here = office(journal)
    permission = Permission(ANYTHING, TARGETS, journal, now=here.clock)

    asker = await permission.asker(ANA, Source.SLACK, HERE)

    assert asker.member.membership is Membership.UNKNOWN
    assert permission.may(asker, RECIPES["host"], ("app-1",)) == ()


# --- channels ------------------------------------------------------------------------------------------


async def channel_of(journal: Journal, place: Place, *patterns: str) -> str:
    """The name that rules go by."""
    permission = Permission(
        policy(rule("there", Effect.DENY, channels=patterns)), TARGETS, journal, now=lambda: a_trigger().at
    )
    everybody = Everybody()
    everybody.channels["C1"] = "inc-1042"
    permission.members = everybody
    return (await permission.asker(ANA, Source.SLACK, place)).channel_name


async def test_the_name_of_a_channel_is_the_one_that_slack_has(journal: Journal) -> None:
    """Its payloads say of a private one only that it is one, mentions say nothing, and what an old button says is old."""
    assert await channel_of(journal, Place(channel="C1", channel_name="privategroup"), "inc-*") == "inc-1042"
    assert await channel_of(journal, Place(channel="C1"), "inc-*") == "inc-1042"
    assert await channel_of(journal, Place(channel="C1", channel_name="lunch"), "inc-*") == "inc-1042"
    assert await channel_of(journal, Place(channel="C2", channel_name="privategroup"), "inc-*") == ""


async def test_no_name_is_asked_for_that_no_rule_goes_by(journal: Journal) -> None:
    """Ids do without."""
    assert await channel_of(journal, Place(channel="C1", channel_name="privategroup"), "C1", "G0PRIV") == ""


# --- what is shown -------------------------------------------------------------------------------------


def guide(here: Office) -> Guide:
    """What answers help and list."""
    return Guide(here.desk, recent=_none, untold=dict, planned=None)


async def _none() -> list[Story]:
    return []


async def asker_of(here: Office) -> Asker:
    """Ana, in her channel."""
    return await here.desk.permission.asker(ANA, Source.SLACK, HERE)


async def test_help_and_list_show_what_the_asker_may_run(journal: Journal) -> None:
    """Recipes, their targets, and services that start one of them."""
    services = {
        "shop": Service(name="shop", targets=("app-1",), first=("host",)),
        "orders": Service(name="orders", targets=("orders-db",), first=("db",)),
    }
    rules = policy(rule("no db", Effect.DENY, recipes=("db",)), *NO_APP_2.rules)
    here = office(journal, policy=rules, services=services)
    asker = await asker_of(here)

    listed = await guide(here).tell(List(), asker)
    helped = await guide(here).tell(Help(), asker)

    assert listed == "• `host` — Host triage · `app-1`\n*Services*\n• `shop` · `host`"
    assert "`host` — Host triage" in helped
    assert "`db`" not in helped
    assert "`orders`" not in helped


async def test_help_about_what_is_refused_says_by_which_rule(journal: Journal) -> None:
    """Who knows its name learns why it is not shown."""
    here = office(journal, policy=policy(rule("no db", Effect.DENY, recipes=("db",)), *NO_APP_2.rules))
    asker = await asker_of(here)

    with pytest.raises(NotAllowed, match=r"`db` on `orders-db`: The rule `no db` \(line 7\) denies it"):
        await guide(here).tell(Help("db"), asker)

    assert "Targets: `app-1`." in await guide(here).tell(Help("host"), asker)


async def test_a_menu_has_what_could_be_run_with_some_parameters(journal: Journal) -> None:
    """What needs an approval too; and a recipe that no target is set up for is not hidden for that."""
    recipes = {"core": CORE, "lone": replace(a_recipe("lone"), targets=("nowhere",))}
    rules = policy(rule("asks", Effect.APPROVAL, recipes=("core",), targets=("app-1",)))
    here = Office(journal, {}, office(journal).desk._limits, recipes=recipes, policy=rules)

    shown = menu(here.desk, here.desk.permission, await asker_of(here))

    assert dict(shown.targets) == {"core": ("app-1",), "lone": ()}
    assert list(shown.recipes) == ["core", "lone"]


# --- what people type ------------------------------------------------------------------------------------


class Asking:
    """What only the asker sees."""

    def __init__(self, here: Office) -> None:
        self.said: list[str] = []
        self.clerk = Clerk(here.desk, here.journal, incidents=None, untold=dict, now=here.clock)

    async def say(self, answer: Answer) -> None:
        self.said.append(answer.text)

    async def type(self, text: str) -> str:
        """Type a command; what is said to it."""
        await self.clerk.ask(text, ANA, HERE, key=None, say=self.say)
        return self.said[-1]


@pytest.mark.parametrize(
    "text", ["help", "list", "status", "host app-1", "host", "stop abc234", "report", "good abc234"]
)
async def test_a_guest_is_told_nothing_but_that(journal: Journal, text: str) -> None:
    """Not even what there is."""
    asking = Asking(office(journal, members=Everybody(GUS)))

    said = await asking.type(text)

    assert said == "❌ gus is a guest in this workspace. Ask a full member of this workspace to do it."


@pytest.mark.parametrize("text", ["report", "good abc234", "compare abc234", "note it is the cache"])
async def test_writing_for_the_incident_can_be_denied(journal: Journal, text: str) -> None:
    """Reports, good ones, comparisons and notes are told where others read them."""
    here = office(journal, policy=LOOKS_ONLY)

    said = await Asking(here).type(text)

    if not text.startswith("note"):  # which is refused by what takes notes; here there is none
        assert said.startswith("❌ The rule `looks only` (line 7) denies it.")
        assert len(await of(here, Denied)) == 1
    assert len(here.desk.underway) == 0


async def test_concurrent_askers_are_not_held_up_by_one_that_is_looked_up(journal: Journal) -> None:
    """Slack may be slow about one person; the desk's door is not."""
    gate = asyncio.Event()

    class Slow(Everybody):
        async def member(self, person: Person) -> Member:
            if person == ANA:
                await gate.wait()
            return await super().member(person)

    here = office(journal, members=Slow())
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(here.desk.take(a_trigger()))
        await asyncio.sleep(0)

        taken = await here.desk.take(a_trigger("host", "app-2", who=BEN))

        assert taken.capture
        assert not waiting.done()
        gate.set()
    assert waiting.result().capture


async def test_check_says_what_accept_would(journal: Journal) -> None:
    """And keeps what rules refuse: whoever tries that in a dialog did try."""
    here = office(journal, policy=NO_APP_2)

    with pytest.raises(UserError, match="not app-2"):
        await here.desk.check(a_trigger("host", "app-2"))
    with pytest.raises(UserError, match="no target"):
        await here.desk.check(a_trigger("host", "app-9"))
    await here.desk.check(a_trigger("host", "app-1"))

    assert [type(event) for event in await here.events()] == [Refused]

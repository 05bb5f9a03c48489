"""What people with bad intentions try in Slack: nothing runs, nothing is told that must not be, and each is answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.approvals import Request
from bot.approvals.approving import Approving
from bot.errors import UserError
from bot.journal import Journal
from bot.model import (
    Accepted,
    ApprovalRuled,
    Bound,
    Budgets,
    Call,
    Effect,
    Heard,
    Joined,
    Person,
    Place,
    Policy,
    Refused,
    Rule,
    Ruling,
    Verb,
)
from bot.policy import Asked, Verdict, decide
from bot.recipes.parameters import fit
from bot.slack.directory import FRESH_S
from bot.slack.ending import Endings
from bot.tasks import Tasks
from tests.fakes import ANA, AT, HERE, Script, a_trigger, masked
from tests.office import Office
from tests.reception import PID, WITHIN_S, Reception, buttons, reception
from tests.test_approvals import ALLOWING, BEN, LEADS, ONCALL, Bench, a_rule, member, wanting
from tests.test_rooms import SERVICES, Incident, Incidents, announced
from tests.test_slack_approvals import COMMAND, asked, opened

pytestmark = pytest.mark.thorough

QUIET = Script(pieces=(b"quiet\n",))


async def captures(here: Office) -> list[Accepted]:
    """What ever ran."""
    return [event for event in await here.events() if isinstance(event, Accepted)]


async def says(here: Reception, user: str, line: str, *, channel: str = "") -> str:
    """What only *user* is told to a command."""
    channel = channel or here.channel
    before = len(here.workspace.ephemerals(channel, user))
    await here.workspace.command(channel, user, line)
    return (await here.seen(lambda: here.workspace.ephemerals(channel, user)[before:]))[0].text


@pytest.fixture
async def journal() -> AsyncIterator[Journal]:
    """A journal in memory."""
    made = await Journal.open("sqlite://", owner="me")
    yield made
    await made.close()


@asynccontextmanager
async def bench(journal: Journal, *rules: Rule) -> AsyncIterator[Bench]:
    """Ana is on call, ben leads; dumps need an approval, where *rules* do not say otherwise."""
    made = Bench(journal, rules=rules or (wanting("@oncall"), *ALLOWING), budgets=Budgets())
    yield made
    await made.desk.drain()


# --- who approves -----------------------------------------------------------------------------------------


async def test_a_second_account_is_nobody_to_the_rules() -> None:
    """Ana's other account is in no group; nor does a name help that somebody else had."""
    async with opened() as here:
        other = here.workspace.add_user("ana.private")
        request = await asked(here)

        await here.press(request, "approve", other)
        assert "needs a rule that allows it" in (await here.whisper(other, "❌")).text
        here.workspace.change_user(other, name="ben")
        await here.press(request, "approve", other)
        await here.seen(lambda: len(here.whispers(other)) == 2)

        assert await captures(here) == []


@pytest.mark.parametrize("way", ["mention", "dialog", "another channel"])
async def test_there_is_no_way_around_asking(way: str) -> None:
    """Whatever ana asks by, and wherever: what runs is a request, and its asker is ana."""
    async with opened() as here:
        channel = here.workspace.add_channel("lunch") if way == "another channel" else here.channel
        if way == "mention":
            parent = here.workspace.say(here.channel, here.ben, "Orders are slow")
            here.workspace.say(here.channel, here.ana, f"@capturebot {COMMAND.partition(' ')[2]}", thread_ts=parent.ts)
        elif way == "dialog":
            await here.workspace.command(here.channel, here.ana, "/capture core")
            await here.seen(lambda: here.workspace.views(here.ana))
            await here.workspace.suggest(here.ana, "targets")
            await here.workspace.submit(here.ana, {"targets": ["app-1"]})
            await here.seen(lambda: "Ask for approval" in str(here.workspace.views(here.ana)[-1].body))
            await here.workspace.submit(here.ana)
        else:
            await here.workspace.command(channel, here.ana, COMMAND)
        if way != "dialog":
            offered = await here.seen(
                lambda: next((one for one in here.workspace.ephemerals(channel, here.ana) if buttons(one)), None)
            )
            await here.press(offered, "agree", here.ana)

        async def request() -> Request | None:
            waiting = await here.desk.requests.waiting(channel)
            return waiting[0] if waiting else None

        async with asyncio.timeout(WITHIN_S):
            while (found := await request()) is None:
                await here.journal.wait_beyond(here.journal.last, within_s=0.1)
        place = Place(channel=channel)
        approving = Approving(
            here.desk, here.journal, mask=masked, ended_since=Endings(here.journal, None).ended_since, now=here.clock
        )
        with pytest.raises(UserError, match="You asked for it"):
            await approving.approve(found.asked.approval_id, here.person, place)
        assert await captures(here) == []


async def test_an_approval_is_good_for_one_incident_and_one_capture(journal: Journal) -> None:
    """In the thread of another incident's channel there is no such request; replayed, it has ended."""
    async with bench(journal) as here:
        request = await here.ask()
        approval_id = request.asked.approval_id

        with pytest.raises(UserError, match="no such request in this channel"):
            await here.approving.approve(approval_id, BEN, Place(channel="C9", thread_ts="1.2"))
        await here.approving.approve(approval_id, BEN, HERE)
        for does in (here.approving.approve, here.approving.deny):
            with pytest.raises(UserError, match="That request has ended: it was approved by ben"):
                await does(approval_id, BEN, HERE)

        assert len(await captures(here)) == 1


# --- races ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", ["approve", "deny", "expire", "glass"])
@pytest.mark.parametrize("first", [True, False])
async def test_a_request_has_one_end_whoever_presses_at_once(journal: Journal, other: str, *, first: bool) -> None:
    """And a capture came of it or not, as that end says."""
    async with bench(journal) as here:
        request = await here.ask()
        approval_id = request.asked.approval_id
        cleo = Person(id="U3", name="cleo")
        here.become(cleo, LEADS)
        here.clock.pass_by(899.9)
        late, racing = other == "expire", Tasks(lambda _name, _error: None)
        ways: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
            "approve": lambda: here.approving.approve(approval_id, cleo, HERE),
            "deny": lambda: here.approving.deny(approval_id, cleo, HERE),
            "expire": lambda: here.approving.expire(approval_id),
            "glass": lambda: here.approving.break_glass(approval_id, ANA, HERE, "Checkout is down, ben sleeps"),
        }
        both = [here.approving.approve(approval_id, BEN, HERE), ways[other]()]
        tasks = [racing.start(one, name="press") for one in (both if first else reversed(both))]
        await asyncio.sleep(0)
        if late:
            here.clock.pass_by(1)
        ends = await asyncio.gather(*tasks, return_exceptions=True)

        (ruled,) = [event for event in await here.events() if isinstance(event, ApprovalRuled)]
        assert len(await captures(here)) == ruled.ruling.runs
        assert all(isinstance(one, UserError) for one in ends if isinstance(one, BaseException))


async def test_rules_that_changed_while_it_waited_are_those_that_count(journal: Journal) -> None:
    """The bot was restarted with them: who may capture, who may approve, and whether the glass may be broken."""
    async with bench(journal) as here:
        request = await here.ask()
    approval_id = request.asked.approval_id
    no_glass, on_call, leads = wanting("@oncall", break_glass=False), *ALLOWING[:2]
    nobody = a_rule("nobody", Effect.DENY, Verb.CAPTURE, recipes=("core",))
    others = a_rule("leads", Effect.ALLOW, Verb.APPROVE, who=("U9",))

    async with bench(journal, no_glass, on_call, leads) as here:
        with pytest.raises(UserError, match="do not let you go without"):
            await here.approving.break_glass(approval_id, ANA, HERE, "Checkout is down")
    async with bench(journal, no_glass, on_call, others) as here:
        with pytest.raises(UserError, match="needs a rule that allows it"):
            await here.approving.approve(approval_id, BEN, HERE)
    async with bench(journal, no_glass, on_call, leads, nobody) as here:
        with pytest.raises(UserError, match="`nobody`"):
            await here.approving.approve(approval_id, BEN, HERE)
        assert await captures(here) == []


async def test_who_needs_no_approval_and_presses_the_same_makes_the_request_void(journal: Journal) -> None:
    """One button is one run; whoever approves then reads that it was started without them."""
    async with bench(journal) as here:
        trigger = a_trigger("core", "app-1", key="offered C1 core")
        request = await here.ask(trigger)
        boss = Person(id="U8", name="boss")
        here.become(boss, frozenset())
        here.desk.permission._policy = Policy(
            rules=(wanting("@oncall"), *ALLOWING, a_rule("boss", Effect.ALLOW, Verb.CAPTURE, who=(boss.id,)))
        )
        offered = await here.desk.offer(replace(trigger, who=boss))
        assert offered
        assert (await here.desk.take(offered.trigger)).capture

        with pytest.raises(UserError, match="was started without this request"):
            await here.approving.approve(request.asked.approval_id, BEN, HERE)

        left = await here.desk.requests.find(request.asked.approval_id)
        assert left.ruled
        assert left.ruled.ruling is Ruling.VOID
        assert len(await captures(here)) == 1


# --- incidents that end -----------------------------------------------------------------------------------


async def test_a_request_ends_with_its_incident_and_one_that_is_typed_after_it_does_not(journal: Journal) -> None:
    """What is still wanted is asked for by whoever knows that it is over."""
    known = Incidents(Incident())
    async with bench(journal) as here:
        endings = Endings(journal, known, clock=lambda: here.clock().timestamp())
        here.approving._ended_since = endings.ended_since
        await here.desk.link(HERE.channel, "PABC123", ANA)
        request = await here.ask()
        here.clock.pass_by(60)
        known.known = (Incident(status="resolved", resolved_at=here.clock()),)

        with pytest.raises(
            UserError, match=r"PABC123 was resolved since it was asked for.*can be typed: `/capture core app-1`"
        ):
            await here.approving.approve(request.asked.approval_id, BEN, HERE)

        left = await here.desk.requests.find(request.asked.approval_id)
        assert left.ruled
        assert left.ruled.ruling is Ruling.VOID
        here.clock.pass_by(60)
        again = await here.ask()
        await here.approving.approve(again.asked.approval_id, BEN, HERE)
        assert len(await captures(here)) == 1


async def test_what_pagerduty_called_about_tells_when_an_incident_ended(journal: Journal) -> None:
    """Without asking it; what was asked for after the end is not ended by it, and one that was opened anew is open."""
    endings = Endings(journal, None)

    async def called(what: str, status: str, minutes: float) -> None:
        at = AT + timedelta(minutes=minutes)
        call = Call(id=f"{what}{minutes}", what=what, at=at, incident="PABC123", status=status, service="PSVC1")
        await journal.accept(Heard(call=call, delivery=what, at=at))

    await called("incident.triggered", "triggered", 0)
    assert not await endings.ended_since("PABC123", AT)
    await called("incident.resolved", "resolved", 5)
    assert await endings.ended_since("PABC123", AT + timedelta(minutes=4))
    assert not await endings.ended_since("PABC123", AT + timedelta(minutes=6))
    await called("incident.reopened", "triggered", 7)
    assert not await endings.ended_since("PABC123", AT + timedelta(minutes=4))


# --- around the rules -------------------------------------------------------------------------------------


async def test_joining_is_no_way_around_a_rule_or_an_approval(journal: Journal) -> None:
    """Who is refused reads nothing of it; who needs an approval joins only what their channel reads anyway."""
    dora = Person(id="U4", name="dora")
    rules = (
        a_rule("boss", Effect.ALLOW, Verb.CAPTURE, who=("U8",), recipes=("core",)),
        *(wanting("@oncall"), *ALLOWING),
        a_rule("not dora", Effect.DENY, Verb.CAPTURE, who=(dora.id,)),
    )
    async with bench(journal, *rules) as here:
        here.desk._joining._cooldown_s = 300.0
        boss, elsewhere = Person(id="U8", name="boss"), Place(channel="C9")
        here.become(boss, frozenset())
        offered = await here.desk.offer(a_trigger("core", "app-1", who=boss, key="boss"))
        assert offered
        capture = (await here.desk.take(offered.trigger)).capture
        assert capture
        await here.desk.wait_for(capture.id)

        with pytest.raises(UserError, match="`not dora`"):
            await here.desk.take(a_trigger("core", "app-1", who=dora, key="dora"))
        there = await here.ask(a_trigger("core", "app-1", who=ANA, place=elsewhere, key="elsewhere"))
        joined = await here.desk.take(a_trigger("core", "app-1", who=ANA, key="here"))

        assert there.asked.trigger.place == elsewhere
        assert [one.id for one in joined.joined] == [capture.id]
        assert [one.who for one in await here.events() if isinstance(one, Joined)] == [ANA]


async def test_force_and_several_targets_open_nothing(journal: Journal) -> None:
    """One target of two that is denied denies both; `force` is a reason, and no right."""
    deny = a_rule("not app-2", Effect.DENY, Verb.CAPTURE, targets=("app-2",))
    async with bench(journal, deny, wanting("@oncall"), *ALLOWING) as here:
        for trigger in (a_trigger("host", "app-1", "app-2"), a_trigger("host", "app-2", force="because")):
            with pytest.raises(UserError, match="`not app-2`"):
                await here.desk.take(trigger)
        forced = await here.ask(replace(a_trigger("core", "app-1", key="f"), force="because"))

        assert forced.ruled is None
        assert await captures(here) == []
        assert len([event for event in await here.events() if isinstance(event, Refused)]) == 2


async def test_what_was_found_is_not_told_to_who_may_not_have_the_files() -> None:
    """In the status, in the Home, by comparing: a capture of another channel is told in its own thread only."""
    no_files = Policy(rules=(a_rule("no files", Effect.DENY, Verb.FILES, who=("@out",)),))
    finds = Script(pieces=(b"threads 812\n",))
    async with reception(policy=no_files, ps=finds) as here:
        here.workspace.set_group("out", here.ben)
        lines = ("/capture host app-1", '/capture host app-1 force="again"')
        ids = [(await here.of(await here.capture(line))).capture.id for line in lines]

        assert "390 % CPU" in await says(here, here.ana, "/capture status")
        assert "390 % CPU" not in await says(here, here.ben, "/capture status")
        refused = await says(here, here.ben, f"/capture compare {ids[1]} {ids[0]}")
        here.workspace.open_home(here.ben)
        shown = str(await here.seen(lambda: here.workspace.home(here.ben)))

        assert "`no files`" in refused
        assert "390 % CPU" not in shown
        assert "❌" not in await says(here, here.ana, f"/capture compare {ids[1]} {ids[0]}")


async def test_files_end_with_the_right_to_them() -> None:
    """A minute after somebody left the group, they get no links; nobody gets those of another channel's capture."""
    rules = (a_rule("files", Effect.DENY, Verb.FILES, who=("@out",)),)
    async with reception(policy=Policy(rules=rules), ps=QUIET) as here:
        root = await here.capture()
        await here.press(root, "files", here.ben)
        await here.whisper(here.ben, "📁")
        here.workspace.set_group("out", here.ben)
        here.clock.pass_by(FRESH_S)

        await here.press(root, "files", here.ben)

        assert "The rule `files` (line 1) denies it" in (await here.whisper(here.ben, "❌")).text


async def test_a_channel_that_is_renamed_has_the_rules_of_its_new_name() -> None:
    """Within a minute, and though the button pressed was made under the old one."""
    war_room = Policy(rules=(a_rule("war", Effect.ALLOW, Verb.CAPTURE, channels=("inc-*",)),), open=frozenset())
    async with reception(policy=war_room, ps=QUIET) as here:
        root = await here.capture()
        here.workspace.rename_channel(here.channel, "lunch")
        here.clock.pass_by(FRESH_S)

        await here.press(root, "again", here.ana)

        assert "needs a rule that allows it" in (await here.whisper(here.ana, "❌")).text
        assert len(await captures(here)) == 1


SECONDS = replace(PID, name="seconds", minimum=-10, maximum=100)
EDGE = Rule(
    name="short",
    line=1,
    effect=Effect.DENY,
    verbs=frozenset({Verb.CAPTURE}),
    parameters={"seconds": Bound(one_of=(7, "8"))},
)


@pytest.mark.parametrize(
    ("typed", "denied"),
    [("7", True), ("07", True), ("8", True), ("008", True), ("6", False), ("-7", False), ("-0", False), ("٧", None), ("７", None), ("7.0", None),
     ("+7", None), (" 7", None), ("1e1", None), ("0x7", None), ("7_0", None), ("", None)],
)  # fmt: skip
def test_a_value_that_is_written_otherwise_is_the_same_value(typed: str, *, denied: bool | None) -> None:
    """Rules see the number that a program is given; what is no plain number is given to none (None)."""
    try:
        value = fit(SECONDS, typed)
    except UserError:
        assert denied is None
        return
    question = Asked(
        verb=Verb.CAPTURE, who=member(ANA, ONCALL), recipe="host", labels={}, parameters={"seconds": value}
    )

    assert (decide(Policy(rules=(EDGE,)), question).verdict is Verdict.REFUSED) is denied


@given(value=st.integers(-10, 100), low=st.none() | st.integers(-10, 100), high=st.none() | st.integers(-10, 100))
def test_bounds_hold_at_their_edges(value: int, low: int | None, high: int | None) -> None:
    """Both ends belong to them."""
    rule = replace(EDGE, parameters={"seconds": Bound(at_least=low, at_most=high)})
    question = Asked(
        verb=Verb.CAPTURE, who=member(ANA, ONCALL), recipe="host", labels={}, parameters={"seconds": value}
    )

    denied = decide(Policy(rules=(rule,)), question).verdict is Verdict.REFUSED

    assert denied == ((low is None or value >= low) and (high is None or value <= high))


# --- what is shown ----------------------------------------------------------------------------------------


async def test_secrets_in_what_is_asked_for_are_not_shown_to_who_approves() -> None:
    """Nor in the command to type, the parameters or the reason; the same secret has the incident's mask."""
    async with opened() as here:
        await here.desk.link(here.channel, "PABC123", here.person)

        request = await asked(here, line='/capture core app-1 app=hunter2 force="hunter2 is stuck"')

        assert "hunter2" not in request.text + str(request.blocks)
        assert request.text.count("•••PABC123") >= 4


async def test_groups_whom_rules_name_by_id_are_shown_by_their_handles() -> None:
    """In the request, and to whoever may not approve."""
    leads = replace(ALLOWING[1], who=("S00000002P",))
    async with opened(wanting("@oncall"), ALLOWING[0], leads) as here:
        group = here.workspace.set_group("dba-leads", here.ben)
        here.desk.permission._policy = here.policy = Policy(
            rules=(wanting("@oncall"), ALLOWING[0], replace(leads, who=(group,)))
        )
        await here.restart()

        request = await asked(here)
        await here.press(request, "approve", here.ana)

        assert "May approve, but not ana: @dba-leads. Until" in request.text
        assert "Those who may approve: @dba-leads." in (await here.whisper(here.ana, "❌")).text


# --- what starts by itself --------------------------------------------------------------------------------


async def test_a_first_set_that_needs_an_approval_asks_for_it_in_its_channel() -> None:
    """The announcement says that it waits, and how that ended; nobody can break a glass that is nobody's."""
    everybody = replace(wanting(), recipes=("host",), who=())
    async with reception(
        services=SERVICES, incidents=Incidents(Incident()), policy=Policy(rules=(everybody, ALLOWING[1])), ps=QUIET
    ) as here:
        here.workspace.set_group("leads", here.ben)
        channel = here.workspace.open_channel("inc-1042-checkout", by=here.ana, members={here.ben})

        await announced(here, channel, "⚠️ host waits for an approval, which is asked for here.")
        request = await here.seen(
            lambda: next((one for one in here.workspace.messages(channel) if "asks to capture host" in one.text), None)
        )
        assert buttons(request) == ["Approve", "Deny"]
        await here.press(request, "deny", here.ben)

        await announced(here, channel, "⚠️ host did not start: it was denied by ben.")
        assert await captures(here) == []


async def test_nobody_is_told_how_a_request_ended_who_may_ask_for_nothing(journal: Journal) -> None:
    """A guest learns nothing of it."""
    async with bench(journal) as here:
        request = await here.ask()
        await here.approving.deny(request.asked.approval_id, BEN, HERE)
        gus = Person(id="U6", name="gus")

        with pytest.raises(UserError, match="gus is a guest in this workspace"):
            await here.approving.approve(request.asked.approval_id, gus, HERE)

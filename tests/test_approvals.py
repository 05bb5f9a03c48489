"""Approvals: who may give one for what, until when, and what becomes of a capture that waits for one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace

import pytest

from bot.approvals import Request
from bot.approvals.approving import Approving, is_worse
from bot.errors import StepFailed, UserError
from bot.journal import Journal
from bot.model import (
    Accepted,
    Approval,
    ApprovalAsked,
    ApprovalRuled,
    Budget,
    Budgets,
    Denied,
    Effect,
    Impact,
    Measure,
    Member,
    Membership,
    Parameter,
    ParameterType,
    Person,
    Place,
    Policy,
    Price,
    Refused,
    Rule,
    Ruling,
    Scope,
    Source,
    Trigger,
    Verb,
)
from bot.model import Script as ScriptAction
from bot.settings import Limits
from bot.slack.ending import Endings
from tests.fakes import ANA, HERE, Everybody, Script, a_recipe, a_step, a_trigger, masked
from tests.office import TARGETS, Office

BEN, CLEO, DORA, ERIK = (Person(id=f"U{n}", name=name) for n, name in enumerate(["ben", "cleo", "dora", "erik"], 2))
GUS, STAN, ROBO, DEA, UMA, GRETA = (
    Person(id=f"U{n}", name=name) for n, name in enumerate(["gus", "stan", "robo", "dea", "uma", "greta"], 6)
)
ONCALL, LEADS = frozenset({"@oncall"}), frozenset({"@leads"})


def member(who: Person, groups: frozenset[str] | None, membership: Membership = Membership.MEMBER) -> Member:
    """Somebody as Slack has them."""
    return Member(id=who.id, name=who.name, membership=membership, groups=groups)


MEMBERS = [
    member(ANA, ONCALL),
    member(BEN, LEADS),
    member(CLEO, LEADS | ONCALL),
    member(DORA, ONCALL),
    member(ERIK, LEADS),
    member(GUS, LEADS, Membership.GUEST),
    member(STAN, LEADS, Membership.STRANGER),
    member(ROBO, LEADS, Membership.BOT),
    member(DEA, LEADS, Membership.DEACTIVATED),
    member(UMA, None, Membership.UNKNOWN),
    member(GRETA, None),
]


def a_rule(name: str, effect: Effect, verb: Verb, **conditions: object) -> Rule:
    """A rule of the policy below."""
    return Rule(name=name, line=1, effect=effect, verbs=frozenset({verb}), **conditions)  # type: ignore[arg-type]  # fields by name


def wanting(*who: str, break_glass: bool = True) -> Rule:
    """Dumps want an approval."""
    approval = Approval(minutes=15, break_glass=break_glass)
    return a_rule("dumps", Effect.APPROVAL, Verb.CAPTURE, who=who, recipes=("core", "look"), approval=approval)


ALLOWING = (
    a_rule("on-call", Effect.ALLOW, Verb.CAPTURE, who=("@oncall",), recipes=("core",)),
    a_rule("leads approve", Effect.ALLOW, Verb.APPROVE, who=("@leads",)),
    a_rule("not erik", Effect.DENY, Verb.APPROVE, who=(ERIK.id,)),
)
COST = b"what=orders-api (pid 812)\npause_s=%s\nupload_bytes=500000000\n"
PID = Parameter(name="pid", about="Process", type=ParameterType.INTEGER, default=0, minimum=0, maximum=9999)
CORE = replace(
    a_recipe("core", a_step("gcore", action=ScriptAction(name="core.sh", text="gcore $PARAM_PID"))),
    title="Core dump",
    impact=Impact.PAUSES,
    parameters=(PID,),
    cost=Measure(script=ScriptAction(name="core-cost.sh", text=""), timeout_s=5),
)
RECIPES = {"core": CORE, "look": replace(a_recipe("look"), title="Look"), "host": a_recipe("host")}


class Bench(Office):
    """An office in which dumps need an approval, with whoever answers requests."""

    def __init__(self, journal: Journal, *, rules: tuple[Rule, ...], budgets: Budgets | None = None) -> None:
        super().__init__(
            journal,
            {"cost": Script(pieces=(COST % b"3",))},
            Limits(captures_per_target=1, drain_s=0.05),
            recipes=RECIPES,
            policy=Policy(rules=rules),
            members=(everybody := Everybody(*MEMBERS)),
            budgets=budgets,
        )
        self.everybody = everybody
        self.approving = Approving(
            self.desk, journal, mask=masked, ended_since=Endings(journal, None).ended_since, now=self.clock
        )
        self.keys = 0

    async def ask(self, trigger: Trigger | None = None) -> Request:
        """Somebody asks for a core of app-1, and agrees to its cost."""
        self.keys += 1
        trigger = trigger or a_trigger("core", "app-1", key=f"slack {self.keys}")
        offered = await self.desk.offer(trigger)
        taken = await self.desk.take(offered.trigger if offered else trigger)
        assert taken.asked
        return await self.desk.requests.find(taken.asked.approval_id)

    def costs(self, pause_s: bytes) -> None:
        """From now on it stops the process for so long."""
        self.transport.scripts = {"cost": Script(pieces=(COST % pause_s,))}

    def become(self, who: Person, groups: frozenset[str], membership: Membership = Membership.MEMBER) -> None:
        """Somebody's membership changes."""
        self.everybody.others[who.id] = member(who, groups, membership)

    async def captures(self) -> list[Accepted]:
        """What ever ran."""
        return [event for event in await self.events() if isinstance(event, Accepted)]


@pytest.fixture
async def journal() -> AsyncIterator[Journal]:
    """A journal in memory."""
    opened = await Journal.open("sqlite://", owner="me")
    yield opened
    await opened.close()


@pytest.fixture
async def here(journal: Journal) -> AsyncIterator[Bench]:
    """With break-glass."""
    bench = Bench(journal, rules=(wanting("@oncall"), *ALLOWING))
    yield bench
    await bench.desk.drain()


# --- the table ------------------------------------------------------------------------------------

Given = Callable[[Bench, Request], Awaitable[None]]


@dataclass(frozen=True)
class Case:
    """Ana has asked for a core; after *given*, *who* *does* something, and what they read has *then* in it.

    RUNS means that it runs; WAITS that it still can be approved.
    """

    words: str
    who: Person
    does: str
    then: str
    given: Given | None = None
    where: Place = HERE
    waits: bool = False


RUNS = "runs"
REASON = "Checkout is down and ben sleeps"


async def _after(here: Bench, seconds: float) -> None:
    here.clock.pass_by(seconds)


def after(seconds: float) -> Given:
    """Time goes by."""
    return lambda here, _: _after(here, seconds)


def done(does: Callable[[Bench, Request], object]) -> Given:
    """Something is done at once."""

    async def do(here: Bench, request: Request) -> None:
        does(here, request)

    return do


def by(who: Person, does: str) -> Given:
    """Somebody was quicker."""

    async def do(here: Bench, request: Request) -> None:
        await press(here, request, who, does)

    return do


def recipe(**changes: object) -> Given:
    """The recipe changes."""
    return done(lambda here, _: here.desk.recipes.update(core=replace(CORE, **changes)))  # type: ignore[attr-defined,arg-type]  # the dict below


def target(**changes: object) -> Given:
    """The target changes."""
    return done(lambda here, _: here.desk.targets.update({"app-1": replace(TARGETS["app-1"], **changes)}))  # type: ignore[attr-defined,arg-type]  # the dict below


def linked(incident: str) -> Given:
    """The channel is linked to an incident."""
    return lambda here, _: here.desk.link(HERE.channel, incident, ANA)


def costs(pause_s: bytes, *, after_s: float = 301) -> Given:
    """Time goes by, and it costs something else by then."""

    async def do(here: Bench, _: Request) -> None:
        here.clock.pass_by(after_s)
        here.costs(pause_s)

    return do


def broken(script: Script) -> Given:
    """Time goes by, and its cost cannot be measured any more, or not be paid."""

    async def do(here: Bench, _: Request) -> None:
        here.clock.pass_by(301)
        here.transport.scripts = {"cost": script}

    return do


async def _twice(here: Bench, request: Request) -> None:
    await costs(b"9")(here, request)
    with pytest.raises(UserError):
        await press(here, request, CLEO, "approve")


async def _busy(here: Bench, _: Request) -> None:
    here.transport.scripts = {**here.transport.scripts, "ps": Script(hangs=True)}
    assert await here.desk.accept(a_trigger("host", "app-1", who=BEN))


CASES = [
    # Who may approve.
    Case("a lead approves", BEN, "approve", RUNS),
    Case("another lead, who is on call too, approves", CLEO, "approve", RUNS),
    Case("from a thread of the channel", BEN, "approve", RUNS, where=replace(HERE, thread_ts="1.2")),
    Case("ana herself", ANA, "approve", "You asked for it, so somebody else has to approve", waits=True),
    Case("ana under another name", replace(ANA, name="ben"), "approve", "You asked for it", waits=True),
    Case("ana, who became a lead", ANA, "approve", "You asked for it", done(lambda h, _: h.become(ANA, LEADS)), waits=True),
    Case("a colleague on call, who is no lead", DORA, "approve", "needs a rule that allows it", waits=True),
    Case("a lead whom a rule denies it", ERIK, "approve", "`not erik` (line 1) denies it", waits=True),
    Case("a lead who is a guest", GUS, "approve", "is a guest in this workspace", waits=True),
    Case("a lead of another workspace", STAN, "approve", "belongs to another workspace", waits=True),
    Case("a bot among the leads", ROBO, "approve", "is a bot", waits=True),
    Case("a lead who has left", DEA, "approve", "has been deactivated", waits=True),
    Case("somebody of whom Slack says nothing", UMA, "approve", "not known for sure", waits=True),
    Case("somebody whose groups Slack does not say", GRETA, "approve", "Try again in a minute", waits=True),
    Case("who was a lead", BEN, "approve", "needs a rule", done(lambda h, _: h.become(BEN, ONCALL)), waits=True),
    Case("who became one", DORA, "approve", RUNS, done(lambda h, _: h.become(DORA, LEADS))),
    # Who may end it.
    Case("a lead denies", BEN, "deny", "was denied by ben."),
    Case("ana takes it back", ANA, "deny", "was taken back by ana."),
    Case("ana takes it back under another name", replace(ANA, name="x"), "deny", "was taken back by x."),
    Case("a colleague denies", DORA, "deny", "needs a rule that allows it", waits=True),
    Case("a guest denies", GUS, "deny", "is a guest", waits=True),
    # Until when.
    Case("in the last second", BEN, "approve", RUNS, after(899)),
    Case("when it is over", BEN, "approve", "has expired, and nobody approved", after(900)),
    Case("a day later", BEN, "approve", "has expired", after(86_400)),
    Case("denied when it is over", BEN, "deny", "has expired", after(900)),
    Case("taken back when it is over", ANA, "deny", "has expired", after(901)),
    Case("the glass, when it is over", ANA, "glass", "has expired", after(900)),
    # For exactly this.
    Case("the recipe's file has changed", BEN, "approve", "recipe `core` has changed", recipe(digest="e" * 64)),
    Case("its script has", BEN, "approve", "What would run is not what was asked for",
         recipe(steps=(a_step("gcore", action=ScriptAction(name="other.sh", text="")),))),
    Case("a default has", BEN, "approve", "parameters are not those", recipe(parameters=(replace(PID, default=7),))),
    Case("the target is another machine", BEN, "approve", "How `app-1` is reached has changed", target(labels={"env": "x"})),
    Case("the target is described anew", BEN, "approve", RUNS, target(about="Orders")),
    Case("the channel has an incident by now", BEN, "approve", "asked for in no incident, and this channel belongs to PABC123",
         linked("PABC123")),
    Case("the recipe is gone", BEN, "approve", "no recipe `core`", done(lambda h, _: h.desk.recipes.pop("core")), waits=True),  # type: ignore[attr-defined]  # the dict below
    Case("the target is gone", BEN, "approve", "no target `app-1`", done(lambda h, _: h.desk.targets.pop("app-1")), waits=True),  # type: ignore[attr-defined]  # the dict below
    Case("ana is on call no more", BEN, "approve", "needs a rule that allows it",
         done(lambda h, _: h.become(ANA, frozenset())), waits=True),
    Case("ana has left", BEN, "approve", "ana has been deactivated",
         done(lambda h, _: h.become(ANA, ONCALL, Membership.DEACTIVATED)), waits=True),
    # Where it was asked.
    Case("in another channel", BEN, "approve", "no such request in this channel", where=Place(channel="C9"), waits=True),
    Case("denied in another channel", BEN, "deny", "no such request", where=Place(channel="C9"), waits=True),
    Case("the glass, in another channel", ANA, "glass", "no such request", where=Place(channel="C9"), waits=True),
    # Once.
    Case("approved before", CLEO, "approve", "was approved by ben. It is `", by(BEN, "approve")),
    Case("by herself twice", BEN, "approve", "was approved by ben", by(BEN, "approve")),
    Case("denied before", CLEO, "approve", "was denied by ben", by(BEN, "deny")),
    Case("taken back before", BEN, "approve", "was taken back by ana", by(ANA, "deny")),
    Case("denied, once it runs", CLEO, "deny", "was approved by ben", by(BEN, "approve")),
    Case("approved, once the glass is broken", BEN, "approve", "runs without approval", by(ANA, "glass")),
    Case("the glass, once it was denied", ANA, "glass", "was denied by ben", by(BEN, "deny")),
    # For that cost.
    Case("the same cost, measured anew", BEN, "approve", RUNS, costs(b"3")),
    Case("a little more", BEN, "approve", RUNS, costs(b"3.7")),
    Case("less", BEN, "approve", RUNS, costs(b"1")),
    Case("more, though not looked at so soon", BEN, "approve", RUNS, costs(b"9", after_s=299)),
    Case("a lot more", BEN, "approve", "It costs more by now: it stops orders-api (pid 812) for about 9 s", costs(b"9"), waits=True),
    Case("a lot more, approved once more", BEN, "approve", RUNS, _twice),
    Case("its cost cannot be measured now", BEN, "approve", "app-1 does not answer",
         broken(Script(refuses=StepFailed("app-1 does not answer."))), waits=True),
    Case("the target cannot pay it now", BEN, "approve", "It swaps", broken(Script(pieces=(b"refuse=It swaps.\n",))), waits=True),
    Case("the target is busy now", BEN, "approve", "are under way already", _busy, waits=True),
    # Without one.
    Case("ana breaks the glass", ANA, "glass", RUNS),
    Case("ana breaks it under another name", replace(ANA, name="x"), "glass", RUNS),
    Case("ana breaks it when it costs a lot more", ANA, "glass", "It costs more by now", costs(b"9"), waits=True),
    Case("somebody else breaks it", DORA, "glass", "Only ana, who asked for it, may", waits=True),
    Case("a lead breaks it", BEN, "glass", "Only ana", waits=True),
    Case("ana breaks it and has left", ANA, "glass", "has been deactivated",
         done(lambda h, _: h.become(ANA, ONCALL, Membership.DEACTIVATED)), waits=True),
    Case("ana breaks it with no reason to speak of", ANA, "glass hurry", "The reason has 5 characters", waits=True),
    Case("the recipe changed before the glass", ANA, "glass", "recipe `core` has changed", recipe(digest="e" * 64)),
]  # fmt: skip


async def press(here: Bench, request: Request, who: Person, does: str, where: Place = HERE) -> str:
    """Do it; what is said then. Raises UserError."""
    approval_id = request.asked.approval_id
    match does.partition(" "):
        case "approve", _, _:
            await here.approving.approve(approval_id, who, where)
        case "deny", _, _:
            ended = (await here.approving.deny(approval_id, who, where)).ruled
            assert ended
            assert ended.who
            return f"{ended.ruling.words} by {ended.who.name}."
        case _, _, reason:
            await here.approving.break_glass(approval_id, who, where, reason or REASON)
    return RUNS


@pytest.mark.thorough
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.words)
async def test_who_approves_of_what(here: Bench, case: Case) -> None:
    """One press of a button each: what whoever pressed reads, whether it runs, and whether it still waits."""
    here.desk.recipes, here.desk.targets = dict(RECIPES), dict(TARGETS)
    request = await here.ask()
    if case.given:
        await case.given(here, request)
    before = len(await here.captures())

    try:
        said = await press(here, request, case.who, case.does, case.where)
    except UserError as error:
        said = str(error)

    assert case.then in said
    assert len(await here.captures()) - before == (case.then == RUNS)
    left = await here.desk.requests.find(request.asked.approval_id)
    assert (left.ruled is None) is case.waits


# --- what is kept ---------------------------------------------------------------------------------


async def test_what_is_asked_is_kept_with_all_that_it_is_for(here: Bench) -> None:
    """The cost, the commands, the rule that wants it, whom to ask and until when; and nothing runs."""
    asked = (await here.ask(a_trigger("core", "app-1", parameters={"pid": "812"}))).asked

    assert asked.cost == "stops orders-api (pid 812) for about 3 s, uploads in about 10 s"
    assert asked.prices == {"app-1": Price(pause_s=3.0, stored_bytes=500_000_000)}
    assert asked.seal.commands == ("PARAM_PID=812 bash core.sh",)
    assert asked.seal.parameters == {"pid": 812}
    assert asked.seal.targets["app-1"].startswith("the bot's own machine (")
    assert asked.because == "The rule `dumps` (line 1) wants an approval first."
    assert asked.approvers == ("@leads",)
    assert (asked.until - asked.at).total_seconds() == 900
    assert len(asked.seal.digest) == 64
    assert await here.captures() == []


async def test_what_runs_says_who_approved_of_it(here: Bench) -> None:
    """In the same commit as the end of the request: there is never one without the other."""
    request = await here.ask()

    capture = await here.approving.approve(request.asked.approval_id, BEN, HERE)

    assert capture.consent
    assert capture.consent.words == "🔏 Approved by ben"
    assert (capture.who, capture.cost) == (ANA, request.asked.cost)
    ruled = (await here.desk.requests.find(request.asked.approval_id)).ruled
    assert ruled
    assert (ruled.ruling, ruled.who, ruled.capture_id) == (Ruling.APPROVED, BEN, capture.id)
    kinds = [event.type for event in await here.events()]
    assert kinds.index("approval_ruled") == kinds.index("accepted") + 1


async def test_two_who_approve_at_once_start_one_capture(here: Bench) -> None:
    """One of them reads that the other one did."""
    approval_id = (await here.ask()).asked.approval_id

    ends = await asyncio.gather(
        *(here.approving.approve(approval_id, who, HERE) for who in (BEN, CLEO)), return_exceptions=True
    )

    (refused,) = [end for end in ends if isinstance(end, UserError)]
    assert "was approved by" in str(refused)
    assert len(await here.captures()) == 1


async def test_who_breaks_the_glass_is_named_with_the_reason(here: Bench) -> None:
    """Without secrets that slipped into it."""
    request = await here.ask()

    capture = await here.approving.break_glass(request.asked.approval_id, ANA, HERE, f"{REASON},\nhunter2")

    assert capture.consent
    assert capture.consent.words == f"🚨 Without approval: ana broke the glass, because: {REASON}, •••"


async def test_refusals_of_approvers_are_kept(here: Bench) -> None:
    """With who, what and why."""
    approval_id = (await here.ask()).asked.approval_id
    for who in (ANA, DORA):
        with pytest.raises(UserError):
            await here.approving.approve(approval_id, who, HERE)

    denied = [event for event in await here.events() if isinstance(event, Denied)]

    assert [(one.verb, one.who, one.recipe, one.targets) for one in denied] == [
        (Verb.APPROVE, ANA, "core", ("app-1",)),
        (Verb.APPROVE, DORA, "core", ("app-1",)),
    ]


async def test_one_press_asks_once_and_again_after_its_end(here: Bench) -> None:
    """A delivery that comes twice makes no second request; a button works anew when its request was denied."""
    trigger = a_trigger("look", "app-1", key="next abc 1")
    first, again = await here.ask(trigger), await here.ask(trigger)
    await here.approving.deny(first.asked.approval_id, BEN, HERE)

    anew = await here.ask(trigger)

    assert first.asked == again.asked
    assert anew.asked.approval_id != first.asked.approval_id
    assert len([event for event in await here.events() if isinstance(event, ApprovalAsked)]) == 2
    await here.approving.approve(anew.asked.approval_id, BEN, HERE)
    assert await here.desk.take(trigger) == await here.desk.take(trigger)
    assert len(await here.captures()) == 1


async def test_a_request_outlives_the_process(here: Bench, journal: Journal) -> None:
    """Another one, on the same journal, takes the press; expiry is noticed there too."""
    first, second = await here.ask(), await here.ask()
    heir = Bench(journal, rules=(wanting(), *ALLOWING))

    capture = await heir.approving.approve(first.asked.approval_id, BEN, HERE)
    heir.clock.pass_by(900)
    expired = await heir.approving.expire(second.asked.approval_id)

    assert capture.recipe == "core"
    assert expired.ruled == ApprovalRuled(
        approval_id=second.asked.approval_id, ruling=Ruling.EXPIRED, at=second.asked.until
    )
    await heir.desk.drain()


@pytest.mark.parametrize("source", [Source.PAGERDUTY, Source.SCHEDULE])
async def test_nobody_is_asked_where_there_is_no_place_for_it(journal: Journal, source: Source) -> None:
    """What runs by itself does not wait for anybody."""
    here = Bench(journal, rules=(wanting(), *ALLOWING))
    with pytest.raises(UserError, match="needs an approval there, and nobody can be asked for one"):
        await here.desk.take(a_trigger("look", "app-1", source=source, place=None))

    assert [type(event) for event in await here.events()] == [Refused]


async def test_a_rule_that_nobody_can_satisfy_is_said_at_once(journal: Journal) -> None:
    """Rather than after a quarter of an hour."""
    here = Bench(journal, rules=(wanting(break_glass=False),))

    with pytest.raises(UserError, match="no rule lets anybody give one"):
        await here.desk.take(a_trigger("look", "app-1"))


async def test_without_break_glass_there_is_none(journal: Journal) -> None:
    """Whatever a forged press says."""
    here = Bench(journal, rules=(wanting(break_glass=False), *ALLOWING))
    request = await here.ask()

    with pytest.raises(UserError, match="The rules do not let you go without an approval here"):
        await here.approving.break_glass(request.asked.approval_id, ANA, HERE, REASON)

    assert not request.asked.break_glass
    assert await here.captures() == []


async def test_a_budget_that_is_used_up_meanwhile_keeps_it_from_running(journal: Journal) -> None:
    """It still waits, and can be approved once there is enough again."""
    budgets = Budgets(of={Scope.TARGET: Budget(captures_an_hour=1)})
    here = Bench(journal, rules=(wanting(), *ALLOWING), budgets=budgets)
    first, second = await here.ask(), await here.ask()
    capture = await here.approving.approve(first.asked.approval_id, BEN, HERE)
    await here.desk.wait_for(capture.id)

    with pytest.raises(UserError, match="app-1 has used 1 capture of its 1 capture within an hour"):
        await here.approving.approve(second.asked.approval_id, BEN, HERE)

    assert (await here.desk.requests.find(second.asked.approval_id)).ruled is None
    await here.desk.drain()


async def test_there_are_not_more_requests_than_anybody_answers(here: Bench) -> None:
    """A storm of presses ends in a refusal."""
    for n in range(100):
        await here.ask(a_trigger("look", "app-1", key=f"press {n}"))

    with pytest.raises(UserError, match="100 requests wait for an approval already"):
        await here.desk.take(a_trigger("look", "app-1", key="press 100"))

    here.clock.pass_by(900)
    assert await here.ask(a_trigger("look", "app-1", key="press 101"))


def test_what_grew_by_a_quarter_is_worse() -> None:
    """Small numbers may double."""
    before = {"app-1": Price(pause_s=4.0, stored_bytes=100_000_000)}

    for worse, price in [
        (False, Price(pause_s=5.0, stored_bytes=100_000_000)),
        (True, Price(pause_s=5.1)),
        (True, Price(stored_bytes=130_000_000)),
        (False, Price()),
    ]:
        assert is_worse(before, {"app-1": price}) is worse
    assert not is_worse({}, {"app-1": Price(pause_s=0.9, stored_bytes=9_000_000)})
    assert is_worse({}, {"app-1": Price(pause_s=1.0)})

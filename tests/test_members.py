"""Who people in Slack are, and what of the bot is theirs: through real Bolt, Socket Mode and the Web API."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.model import Denied, Effect, Impact, Membership, Person, Place, Policy, Refused, Rule, Service, Source, Verb
from bot.playground.workspace import Fault
from bot.reporters import slack_buttons
from bot.slack import home
from bot.slack.answers import Answer
from bot.slack.directory import AGAIN_S, FRESH_S, KNOWN_AT_MOST, LOOK_UP_S, Directory, faults_of_groups, sender
from bot.slack.presses import Press
from bot.tasks import Tasks
from tests.fakes import Clock, Script
from tests.reception import Reception, reception

pytestmark = pytest.mark.live  # each test starts a workspace, and a bot that connects to it

QUIET = Script(pieces=(b"quiet\n",))
HANGS = Script(hangs=True)


def rule(name: str, effect: Effect, *verbs: Verb, **conditions: Any) -> Rule:
    """A rule about captures, unless *verbs* say otherwise."""
    return Rule(name=name, line=7, effect=effect, verbs=frozenset(verbs or (Verb.CAPTURE,)), **conditions)


ON_CALL = Policy(rules=(rule("on call", Effect.ALLOW, who=("@oncall",)),), open=frozenset({Impact.NONE}))
NO_JUNIORS = Policy(rules=(rule("no juniors", Effect.DENY, who=("@juniors",)),))


async def said(here: Reception, user: str, line: str = "/capture host app-1") -> str:
    """What only *user* is told to a command."""
    before = len(here.whispers(user))
    await here.workspace.command(here.channel, user, line)
    return (await here.seen(lambda: here.whispers(user)[before:]))[0].text


def calls(here: Reception, method: str) -> int:
    """How often the bot called a method."""
    return sum(call.method == method for call in here.workspace.calls)


def directory_of(here: Reception, *groups: str, within_s: float = LOOK_UP_S) -> Directory:
    """Another one, which has heard of nobody."""
    client = AsyncWebClient(token=here.workspace.bot_token, base_url=here.workspace.api_url, retry_handlers=[])
    tasks = Tasks(lambda _name, _error: None)
    return Directory(
        client, groups=frozenset(groups), tasks=tasks, clock=lambda: here.clock().timestamp(), within_s=within_s
    )


# --- who is refused --------------------------------------------------------------------------------------


async def test_a_guest_gets_nothing_done_in_any_way() -> None:
    """Commands, mentions, buttons, shortcuts, the Home: each is answered, and nothing runs or stops."""
    async with reception(ps=Script(pieces=(b"threads 812\n",)), jstack=HANGS) as here:
        await here.capture()
        await here.workspace.command(here.channel, here.ana, "/capture threads app-1 pid=812")
        running = await here.root(1, "running")
        here.workspace.change_user(here.ben, is_guest=True)
        guest = "❌ ben is a guest in this workspace."

        for line in ("/capture host app-2", "/capture", "/capture list", "/capture stop abc234", "/capture note it"):
            assert (await said(here, here.ben, line)).startswith(guest)
        here.workspace.say(here.channel, here.ben, "@capturebot host app-2")
        await here.seen(lambda: len([one for one in here.whispers(here.ben) if guest in one.text]) == 6)
        for action in (slack_buttons.AGAIN, slack_buttons.FILES, f"{slack_buttons.NEXT}-0"):
            await here.press(here.roots[0], action, here.ben)
        await here.press(running, slack_buttons.STOP, here.ben)
        await here.workspace.shortcut("capture_here", here.ben, channel=here.channel, message_ts=running.ts)
        await here.seen(lambda: len([one for one in here.whispers(here.ben) if guest in one.text]) == 11)
        here.workspace.open_home(here.ben)
        shown = await here.seen(lambda: here.workspace.home(here.ben))

        assert "ben is a guest in this workspace." in str(shown)
        assert home.START not in str(shown)
        assert here.workspace.views(here.ben) == []
        assert len(here.roots) == 2
        assert len(here.desk.underway) == 1


async def test_people_of_other_workspaces_are_strangers_by_what_a_payload_says() -> None:
    """Slack need not even be asked."""
    async with reception(ps=QUIET) as here:
        kim = here.workspace.add_user("kim", team="T0OTHER1")

        refused = await said(here, kim)

        assert refused == "❌ kim belongs to another workspace. Ask a full member of this workspace to do it."
        assert calls(here, "users.info") == 0
        assert here.roots == []


async def test_what_slack_says_of_people_decides() -> None:
    """Its fields, and its errors about people whom it does not show."""
    async with reception() as here:
        workspace = here.workspace
        gone = workspace.add_user("dee")
        workspace.change_user(gone, deleted=True)
        people = {
            here.ana: Membership.MEMBER,
            workspace.add_user("gus", is_guest=True): Membership.GUEST,
            workspace.add_user("kim", team="T0OTHER1"): Membership.STRANGER,
            workspace.add_app("pagerduty"): Membership.BOT,
            workspace.bot_user_id: Membership.BOT,
            "USLACKBOT": Membership.BOT,
            gone: Membership.DEACTIVATED,
            "U0NOBODY": Membership.STRANGER,
        }
        directory = directory_of(here)
        directory.settle({"team_id": "T0CAPTURE1"})

        found = {one: (await directory.member(Person(id=one, name="x"))).membership for one in people}

        assert found == people


async def test_before_it_is_settled_whose_bot_it_is_nobody_is_a_member() -> None:
    """Which Slack's auth.test tells before anybody is let in."""
    async with reception() as here:
        found = await directory_of(here).member(here.person)

        assert found.membership is Membership.STRANGER


@pytest.mark.parametrize(
    ("user", "kind"),
    [
        ({"team_id": "T2", "enterprise_user": {"enterprise_id": "E1", "teams": ["T1", "T2"]}}, Membership.MEMBER),
        ({"team_id": "E1", "enterprise_user": {"enterprise_id": "E1", "teams": ["T1"]}}, Membership.MEMBER),
        ({"team_id": "T2", "enterprise_user": {"enterprise_id": "E1", "teams": ["T2"]}}, Membership.STRANGER),
        ({"team_id": "T1", "enterprise_user": {"enterprise_id": "E1", "teams": ["T1"]}}, Membership.MEMBER),
        ({"team_id": "T9", "enterprise_user": {"enterprise_id": "E2", "teams": ["T1"]}}, Membership.STRANGER),
        ({"team_id": "T2"}, Membership.STRANGER),
        ({"team_id": "T1", "is_ultra_restricted": True}, Membership.GUEST),
        ({"team_id": "T1", "is_stranger": True}, Membership.STRANGER),
    ],
)
async def test_in_an_organisation_only_people_of_the_bots_own_workspace_are_members(
    user: dict[str, Any], kind: Membership
) -> None:
    """Whatever workspace of it Slack names first."""

    class Grid:
        async def users_info(self, **_: str) -> dict[str, Any]:
            return {"user": {"id": "U1", "name": "ana", **user}}

    clock = Clock()
    directory = Directory(
        Grid(),  # type: ignore[arg-type]  # all that is called
        groups=frozenset(),
        tasks=Tasks(lambda _name, _error: None),
        clock=lambda: clock().timestamp(),
    )
    directory.settle({"team_id": "T1", "enterprise_id": "E1"})
    directory.heard("U1", "T2")  # which may be ours all the same

    assert (await directory.member(Person(id="U1", name="ana"))).membership is kind


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"user_id": "U1", "team_id": "T1", "command": "/capture"}, ("U1", "T1")),
        ({"type": "block_actions", "team": {"id": "T1"}, "user": {"id": "U1", "team_id": "T2"}}, ("U1", "T2")),
        ({"type": "view_submission", "user": {"id": "U1"}, "view": {"app_installed_team_id": "T1"}}, ("U1", "")),
        (
            {"team_id": "T1", "event": {"type": "app_mention", "user": "U1", "user_team": "T2", "team": "T1"}},
            ("U1", "T2"),
        ),
        ({"team_id": "T1", "event": {"type": "message", "user": "U1", "team": "T2"}}, ("U1", "T2")),
        ({"team_id": "T1", "event": {"type": "channel_created", "channel": {}}}, ("", "")),
        ({"team_id": "T1", "event": {"type": "channel_archive", "user": {"id": "U1"}}}, ("", "")),
        ({}, ("", "")),
    ],
)
def test_a_payload_tells_who_caused_it(body: dict[str, Any], told: tuple[str, str]) -> None:
    """And of which workspace they are; not where the app is installed."""
    assert sender(body) == told


# --- groups, and how long they are believed ------------------------------------------------------------------


async def test_a_lost_membership_is_lost_within_a_minute() -> None:
    """Of a group, and of the workspace; until then nothing is asked again."""
    async with reception(policy=ON_CALL, ps=QUIET) as here:
        here.workspace.set_group("oncall", here.ana)
        await here.capture()
        here.workspace.set_group("oncall", here.ben)

        here.clock.pass_by(FRESH_S - 1)
        still = await said(here, here.ana, "/capture host app-2")
        here.clock.pass_by(1)
        lost = await said(here, here.ana, "/capture host app-2 force=why")
        gained = await said(here, here.ben, "/capture host app-1 force=why")

        assert FRESH_S <= 60.0
        assert still.startswith("🕓")
        assert "light load on the target for a few seconds needs a rule that allows it, and none does." in lost
        assert gained.startswith("🕓")
        assert calls(here, "usergroups.list") == 2
        refused = [one for one in await here.events() if isinstance(one, Refused)]
        assert len(refused) == 1


async def test_a_deactivated_user_is_out_within_a_minute() -> None:
    """Slack may still deliver what they did before."""
    async with reception(ps=QUIET) as here:
        await here.capture()
        here.workspace.change_user(here.ana, deleted=True)

        here.clock.pass_by(FRESH_S)

        assert (await said(here, here.ana)).startswith("❌ ana has been deactivated.")


async def test_many_at_once_share_one_look_up() -> None:
    """In the storm at the beginning of an incident, Slack is asked once."""
    async with reception(policy=ON_CALL, ps=QUIET) as here:
        directory = directory_of(here, "@oncall")
        directory.settle({"team_id": "T0CAPTURE1"})
        group = here.workspace.set_group("oncall", here.ana)

        found = await asyncio.gather(*(directory.member(here.person) for _ in range(50)))

        assert {one.groups for one in found} == {frozenset({"@oncall"})}
        assert (calls(here, "users.info"), calls(here, "usergroups.list")) == (1, 1)
        assert group.startswith("S")


async def test_groups_are_known_by_id_and_by_handle() -> None:
    """A disabled one has nobody in it; who is asked about is not who asked first."""
    async with reception() as here:
        dbas = here.workspace.set_group("dbas", here.ana)
        here.workspace.set_group("leads", here.ana, here.ben, disabled=True)
        directory = directory_of(here, "@dbas", dbas, "@leads", "@gone")
        directory.settle({"team_id": "T0CAPTURE1"})

        ana, ben = [await directory.member(Person(id=one, name=one)) for one in (here.ana, here.ben)]

        assert ana.groups == frozenset({"@dbas", dbas})
        assert ben.groups == frozenset()


async def test_what_is_kept_of_people_is_bounded() -> None:
    """However many ask."""
    async with reception() as here:
        directory = directory_of(here)
        directory.settle({"team_id": "T0CAPTURE1"})
        for n in range(KNOWN_AT_MOST + 10):
            directory.heard(f"U{n}", "T0OTHER1")

        assert (await directory.member(Person(id="U5", name="x"))).membership is Membership.STRANGER
        assert len(directory._foreign) == KNOWN_AT_MOST


# --- when Slack does not say -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500),
        Fault(status=429, retry_after_s=1),
        Fault(error="internal_error"),
        Fault(error="account_inactive"),
    ],
)
async def test_whom_slack_does_not_tell_of_may_do_nothing_for_the_moment(fault: Fault) -> None:
    """They are told what to do; and what they may do again as soon as Slack answers."""
    async with reception(ps=QUIET) as here:
        here.workspace.fail_next("users.info", fault)

        refused = await said(here, here.ana)
        here.clock.pass_by(AGAIN_S)
        taken = await said(here, here.ana)

        assert refused == (
            "❌ ana is not known for sure right now, because Slack did not say. "
            "Try again in a minute; if it stays so, `capturebot doctor slack` tells the operator why."
        )
        assert taken.startswith("🕓")


async def test_slack_is_not_waited_for_longer_than_a_dialog_lives() -> None:
    """A dialog must be open three seconds after the press."""
    assert LOOK_UP_S < 3.0
    async with reception() as here:
        directory = directory_of(here, "@oncall", within_s=0.05)
        for method in ("users.info", "usergroups.list", "conversations.info"):
            here.workspace.fail_next(method, Fault(hang_s=0.5))

        async with asyncio.timeout(0.5):
            found = await directory.member(here.person)
            name = await directory.channel_name(here.channel)

        assert (found.membership, found.groups, name) == (Membership.UNKNOWN, None, "")


async def test_groups_that_slack_does_not_tell_allow_nothing_and_deny_all() -> None:
    """A scope that is missing, here; who needs no group is not held up."""
    async with reception(policy=Policy(rules=(*ON_CALL.rules, *NO_JUNIORS.rules)), ps=QUIET) as here:
        here.workspace.set_group("oncall", here.ana)
        here.workspace.fail_next("usergroups.list", Fault(error="missing_scope"))

        refused = await said(here, here.ana)

        assert (
            "The rule `no juniors` (line 7) denies it, because Slack did not say whether ana is in @juniors" in refused
        )
        assert "`capturebot doctor slack`" in refused


async def test_doctor_names_groups_that_there_are_not() -> None:
    """With the one that was meant."""
    async with reception() as here:
        here.workspace.set_group("oncall", here.ana)
        here.workspace.set_group("leads", disabled=True)
        client = AsyncWebClient(token=here.workspace.bot_token, base_url=here.workspace.api_url)
        named = Policy(rules=(rule("a", Effect.ALLOW, who=("@oncal", "@oncall", "@leads", "U1")),))

        faults = await faults_of_groups(client, named)

        assert faults == [
            "the rule `a` (line 7) names `@leads`, which is disabled in Slack — name one that people are in",
            "the rule `a` (line 7) names `@oncal`, which is no user group in Slack — did you mean `@oncall`?",
        ]
        assert await faults_of_groups(client, Policy()) == []


# --- what is shown, and forged -----------------------------------------------------------------------------------


async def test_menus_offer_what_the_asker_may_run() -> None:
    """In dialogs, in the Home, in help; another one's are their own."""
    dbas_only = Policy(
        rules=(rule("no core", Effect.DENY, recipes=("core",)), rule("app-1", Effect.DENY, targets=("app-2",)))
    )
    async with reception(policy=dbas_only, ps=QUIET) as here:
        await here.workspace.command(here.channel, here.ana, "/capture")
        await here.seen(lambda: here.workspace.views(here.ana))

        recipes = await here.workspace.suggest(here.ana, "recipe")
        await here.workspace.click_in_view(here.ana, "recipe", value="host")
        await here.seen(lambda: "targets host" in str(here.workspace.views(here.ana)[-1].body))
        targets = await here.workspace.suggest(here.ana, "targets")
        here.workspace.open_home(here.ana)
        shown = str(await here.seen(lambda: here.workspace.home(here.ana)))

        assert recipes == ["host", "threads"]
        assert targets == ["app-1"]
        assert "`host`" in shown
        assert "`core`" not in shown
        assert "app-2" not in shown
        assert "`core`" not in await said(here, here.ana, "/capture help")
        assert "The rule `no core` (line 7) denies it" in await said(here, here.ana, "/capture core")


async def test_the_rules_of_a_private_channel_are_found_by_its_name() -> None:
    """Which Slack's payloads do not tell; it is asked for."""
    war_room = Policy(rules=(rule("war room", Effect.ALLOW, channels=("war-*",)),), open=frozenset())
    async with reception(policy=war_room, ps=QUIET) as here:
        private = here.workspace.add_channel("war-1042", private=True)

        await here.workspace.command(private, here.ana, "/capture host app-1")
        await here.seen(lambda: [one for one in here.workspace.messages(private) if "complete" in one.text])
        refused = await said(here, here.ana)

        assert "needs a rule that allows it" in refused


async def test_the_buttons_of_an_announcement_are_for_all_to_see_and_refuse_who_may_not() -> None:
    """A message looks the same to everybody; a guest may not even say which service it is about."""
    orders = Service(name="orders", targets=("app-1",), offer=("threads", "core"), channels=("inc-.*orders",))
    none_pauses = Policy(rules=(rule("no threads", Effect.DENY, recipes=("threads",)),))
    async with reception(services={"orders": orders}, policy=none_pauses) as here:
        channel = here.workspace.open_channel("inc-1-orders", by=here.ana, members={here.ben})
        other = here.workspace.open_channel("inc-2", by=here.ana, members={here.ben})
        here.workspace.change_user(here.ben, is_guest=True)

        async def press(where: str, action: str, user: str, value: str | None = None) -> str:
            message = (
                await here.seen(lambda: [one for one in here.workspace.messages(where) if one.by_app and one.blocks])
            )[0]
            before = len(here.workspace.ephemerals(where, user))
            await here.press(message, action, user, value=value)
            return (await here.seen(lambda: here.workspace.ephemerals(where, user)[before:]))[0].text

        assert "The rule `no threads` (line 7) denies it" in await press(channel, "run-0", here.ana)
        assert "pauses the target needs a rule" in await press(channel, "run-1", here.ana)
        assert "ben is a guest" in await press(channel, "run-0", here.ben)
        assert "ben is a guest" in await press(other, "service", here.ben, "orders")
        assert here.transport.executions == []


async def test_a_button_belongs_to_its_own_channel_and_capture() -> None:
    """Whatever value comes back: nothing of another channel is stopped, shown, sent or run again."""
    async with reception(ps=QUIET) as here:
        root = await here.capture()
        assert root.metadata
        capture_id = root.metadata["event_payload"]["capture"]
        there = Place(channel=here.workspace.add_channel("elsewhere"), channel_name="elsewhere")
        heard: list[str] = []

        async def say(answer: Answer) -> None:
            heard.append(answer.text)

        forged = [
            (slack_buttons.STOP, capture_id, there),
            (slack_buttons.FILES, f"{capture_id} 0", there),
            (slack_buttons.FILES, f"{capture_id} 99", Place(channel=here.channel)),
            (slack_buttons.FILES, f"{capture_id} -1", Place(channel=here.channel)),
            (slack_buttons.SEND, capture_id, there),
            (slack_buttons.AGAIN, capture_id, there),
            (slack_buttons.NEXT, f"{capture_id} app-1 ps 0 0", there),
            (slack_buttons.NEXT, f"{capture_id} app-1 ps 0 7; rm -rf /", Place(channel=here.channel)),
            (slack_buttons.STOP, "' OR 1=1", Place(channel=here.channel)),
            (slack_buttons.STOP, "", Place(channel=here.channel)),
            ("agree", "0123456789ab", Place(channel=here.channel)),
            ("whatever", capture_id, Place(channel=here.channel)),
        ]
        for action, value, place in forged:
            await here.clerk.press(Press(action=action, value=value, who=here.person, place=place), say)

        assert len(heard) == len(forged)
        assert all(one.startswith("❌") for one in heard)
        assert len(here.roots) == 1


async def test_what_was_refused_is_in_the_journal_with_who_and_where() -> None:
    """Also what was no capture."""
    no_notes = Policy(rules=(rule("no notes", Effect.DENY, Verb.NOTE),))
    async with reception(policy=no_notes, ps=QUIET) as here:
        await here.capture()

        await said(here, here.ana, "/capture report")

        (kept,) = [one for one in await here.events() if isinstance(one, Denied)]
        assert (kept.verb, kept.who.id, kept.place) == (
            Verb.NOTE,
            here.ana,
            Place(channel=here.channel, channel_name="inc-1042"),
        )
        assert (
            here.desk.permission.decide(
                await here.desk.permission.asker(here.person, Source.SLACK, kept.place), Verb.CAPTURE
            ).judged
            == ()
        )

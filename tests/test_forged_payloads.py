"""Forged payloads: every button and dialog with every value, by people who may do nothing; each is answered in words."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from bot.approvals import Request
from bot.model import (
    Accepted,
    Effect,
    Place,
    Policy,
    Rejected,
    Service,
    Verb,
)
from bot.playground.workspace import Message
from bot.reporters import slack_buttons
from bot.slack import home, modal
from tests.fakes import Script, a_trigger
from tests.office import Office
from tests.reception import Reception, reception
from tests.test_approvals import a_rule, wanting
from tests.test_rooms import Incident, Incidents
from tests.test_slack_approvals import asked

pytestmark = pytest.mark.thorough

QUIET = Script(pieces=(b"quiet\n",))
ORDERS = Service(
    name="orders", targets=("app-1",), first=("host",), offer=("threads", "core"), channels=("inc-.*orders",)
)
ONLY_ANA = Policy(
    rules=(
        a_rule("ana", Effect.ALLOW, Verb.CAPTURE, who=("@oncall",)),
        a_rule("files", Effect.DENY, Verb.FILES, who=("@out",)),
        a_rule("stop", Effect.DENY, Verb.STOP, who=("@out",)),
        a_rule("words", Effect.DENY, Verb.NOTE, who=("@out",)),
    ),
    open=frozenset(),
)


async def captures(here: Office) -> list[Accepted]:
    """What ever ran."""
    return [event for event in await here.events() if isinstance(event, Accepted)]


# --- forged payloads --------------------------------------------------------------------------------------

TEXT = st.text(max_size=60)
ACTIONS = st.sampled_from(
    [
        *(slack_buttons.STOP, slack_buttons.AGAIN, "next-0", "next-11", "files", "files-1", "send"),
        *("agree", "decline", "choose-0", "run-0", "service", "approve", "deny", "glass"),
        *(home.START, modal.RECIPE, modal.TARGETS, "reboot", ""),
    ]
)
IDS = st.sampled_from(["{capture}", "{offer}", "{approval}", "orders", "host", "core", "app-1", ""])
VALUES = st.one_of(IDS, TEXT, st.tuples(IDS, TEXT).map(" ".join), st.tuples(IDS, st.just("app-1 ps 0 0")).map(" ".join))
CHANNELS = st.sampled_from(["{here}", "{elsewhere}", "C0NOWHERE", ""])
USERS = st.sampled_from(["{ben}", "{gus}", "{kim}", "{robo}", "U0NOBODY", "USLACKBOT"])
TEAMS = st.sampled_from(["T0CAPTURE1", "T0OTHER1", "", None])
PLACES = st.fixed_dictionaries({"channel": CHANNELS, "channel_name": TEXT, "thread_ts": st.none() | TEXT})
METADATA = st.one_of(
    TEXT,
    st.just('{"place": 7}'),
    st.just('{"place": {"channel": ["C1"]}, "offer": {}}'),
    st.fixed_dictionaries({"place": PLACES, "offer": VALUES, "approval": VALUES, "answers_at": st.just("")}).map(
        json.dumps
    ),
)
OPTION = st.fixed_dictionaries({"value": VALUES})
BLOCKS = st.sampled_from(
    ["recipe", "targets", "targets core", "choice", "reason", "words", "parameter pid core", "place", ""]
)
FIELDS = st.sampled_from(["recipe", "targets", "choice", "reason", "words", "parameter", "place"])
REPORT = st.fixed_dictionaries(
    {},
    optional={
        "value": VALUES,
        "selected_option": OPTION,
        "selected_options": st.lists(OPTION, max_size=2),
        "selected_conversation": CHANNELS,
    },
)
STATE = st.dictionaries(BLOCKS, st.dictionaries(FIELDS, REPORT, max_size=2), max_size=4)
USER = st.fixed_dictionaries({"id": USERS, "name": TEXT, "team_id": TEAMS})
PRESSES: SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "type": st.just("block_actions"),
        "user": USER,
        "channel": st.fixed_dictionaries({"id": CHANNELS, "name": TEXT}),
        "container": st.fixed_dictionaries({"message_ts": TEXT}),
        "actions": st.tuples(
            st.one_of(
                st.fixed_dictionaries({"action_id": ACTIONS | TEXT, "block_id": TEXT, "value": VALUES}),
                st.fixed_dictionaries({"action_id": ACTIONS, "block_id": BLOCKS, "selected_option": OPTION}),
            )
        ).map(list),
    }
)
SUBMISSIONS: SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "type": st.just("view_submission"),
        "user": USER,
        "view": st.fixed_dictionaries(
            {
                "id": st.just("V1"),
                "hash": st.just("1"),
                "type": st.just("modal"),
                "callback_id": st.sampled_from(
                    [modal.CAPTURE, modal.AGREE, modal.CHOOSE, "capture-glass", "send_to_pagerduty"]
                ),
                "private_metadata": METADATA,
                "state": st.fixed_dictionaries({"values": STATE}),
            }
        ),
    }
)


class Scene:
    """A channel in which ana captured, was offered a core and asked for one; and others who may do nothing."""

    def __init__(self, here: Reception) -> None:
        self.here = here
        workspace = here.workspace
        self.names = {
            "here": here.channel,
            "elsewhere": workspace.add_channel("inc-elsewhere"),
            "ben": here.ben,
            "gus": workspace.add_user("gus", is_guest=True),
            "kim": workspace.add_user("kim", team="T0OTHER1"),
            "robo": workspace.add_app("robo"),
        }

    async def set_up(self) -> None:
        """Ana does her part."""
        here = self.here
        here.workspace.set_group("oncall", here.ana)
        here.workspace.set_group("out", *(self.names[one] for one in ("ben", "gus", "kim", "robo")))
        root = await here.capture()
        request = await asked(here, 1)
        offered = await here.desk.offer(a_trigger("core", "app-2", who=here.person, place=Place(channel=here.channel)))
        assert root.metadata
        assert offered
        self.names["capture"] = root.metadata["event_payload"]["capture"]
        self.names["approval"] = request.blocks[1]["elements"][0]["value"]
        self.names["offer"] = offered.offer_id

    def filled(self, payload: Any) -> Any:
        """With the ids that there are."""
        text = json.dumps(payload)
        for name, value in self.names.items():
            text = text.replace(f"{{{name}}}", value)
        return json.loads(text)

    async def send(self, payload: dict[str, Any]) -> tuple[dict[str, Any] | None, list[Message]]:
        """Deliver it as Slack does; what was acknowledged, and what ben read since in the channel."""
        workspace, before = self.here.workspace, len(self.here.whispers(self.here.ben))
        url = workspace._world.address + workspace._world.urls.new(channel=self.here.channel, user=self.here.ben)
        whole = {
            **self.filled(payload),
            "response_url": url,
            "trigger_id": "1.2.3",
            "team": {"id": "T0CAPTURE1"},
            "is_enterprise_install": False,
        }
        answer = await workspace.sockets.deliver("interactive", whole)
        assert answer.acked_after_s is not None, answer.error
        if payload["type"] == "block_actions" and payload["actions"][0]["action_id"] != home.START:
            await self.here.seen(lambda: self.here.whispers(self.here.ben)[before:])
        return answer.response, self.here.whispers(self.here.ben)[before:]


@pytest.fixture(scope="module")
def runner() -> Any:
    """A loop that lives as long as the scene."""
    with asyncio.Runner() as made:
        yield made


@pytest.fixture(scope="module")
def scene(runner: asyncio.Runner) -> Any:
    """One for all examples: nothing that they do changes it."""
    stack = AsyncExitStack()

    async def open_it() -> Scene:
        policy = replace(ONLY_ANA, rules=(*ONLY_ANA.rules, wanting("@oncall")))
        leads = a_rule("leads", Effect.ALLOW, Verb.APPROVE, who=("@leads",))
        policy = replace(policy, rules=(*policy.rules, leads))
        here = await stack.enter_async_context(
            reception(
                policy=policy, services={"orders": ORDERS}, incidents=Incidents(Incident()), ps=QUIET, gcore=QUIET
            )
        )
        made = Scene(here)
        await made.set_up()
        return made

    yield runner.run(open_it())
    runner.run(stack.aclose())


async def attack(scene: Scene, payload: dict[str, Any]) -> None:
    """Send it; whatever it is, it is answered in words, and changes nothing."""
    before = len(await captures(scene.here))

    acked, said = await scene.send(payload)

    assert len(await captures(scene.here)) == before
    assert not any("Something broke" in one.text for one in said), payload
    assert all(one.text.startswith(("❌", "Nothing was captured")) for one in said), said
    if payload["type"] == "view_submission" and acked:
        assert acked["response_action"] in {"update", "errors"}


fuzzing = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


@fuzzing
@given(payload=PRESSES)
def test_whatever_is_pressed_by_who_may_not_it_is_refused(
    runner: asyncio.Runner, scene: Scene, payload: dict[str, Any]
) -> None:
    """Every button, with every id that there is and some that there are not, in any channel, as anybody but ana."""
    runner.run(attack(scene, payload))


@fuzzing
@given(payload=SUBMISSIONS)
def test_whatever_is_sent_from_a_dialog_by_who_may_not_it_is_refused(
    runner: asyncio.Runner, scene: Scene, payload: dict[str, Any]
) -> None:
    """Whatever the dialog is said to have carried along, and whatever stands in its fields."""
    runner.run(attack(scene, payload))


def test_after_all_of_that_the_request_still_waits(runner: asyncio.Runner, scene: Scene) -> None:
    """None of it denied it, took it back, or made it void; and what was made up is in the journal with who did it."""

    async def look() -> tuple[Request, int]:
        events = await scene.here.events()
        return await scene.here.desk.requests.find(scene.names["approval"]), sum(
            isinstance(one, Rejected) for one in events
        )

    runner.run(scene.send({"type": "block_actions", "user": {"id": scene.here.ana, "name": "ana"}, "container": {},
                           "channel": {"id": scene.here.channel, "name": ""},
                           "actions": [{"action_id": "approve", "value": "c0ffee"}]}))  # fmt: skip
    request, rejected = runner.run(look())

    assert request.ruled is None
    assert rejected > 0

"""Captures that are marked good, and what later ones show beside them: in the journal, the thread and the note."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta

import pytest

from bot.comparing import IN_ALL
from bot.comparing.captures import READ_BYTES
from bot.comparing.good import SETTLED
from bot.errors import UserError
from bot.journal import Journal
from bot.model import (
    Accepted,
    Call,
    Capture,
    Compared,
    Finished,
    Heard,
    MarkedGood,
    Outcome,
    Service,
    Source,
    State,
    StepFinished,
    StepHead,
    StepResult,
)
from bot.reporters.pagerduty import render
from bot.reporters.slack_message import REPLIES_AT_MOST, details, root
from bot.slack.answers import Answer
from bot.slack.clerk import Clerk
from bot.stores.intake import once
from tests.fakes import ANA, AT, a_capture
from tests.office import Office, office

pytestmark = pytest.mark.thorough

ORDERS = Service(name="orders", pagerduty="PSVC1", targets=("app-1", "app-2"))
EARLIER = AT - timedelta(hours=6)


@pytest.fixture
async def here() -> AsyncIterator[Office]:
    """An office with one service."""
    journal = await Journal.open("sqlite://", owner="me")
    yield office(journal, services={"orders": ORDERS})
    await journal.close()


def sockets(count: int) -> str:
    """An output that counts sockets."""
    return f"### states at=2026-11-23T00:40:00.000000+00:00\nsockets\tstate\n{count}\tCLOSE-WAIT\n"


async def ended(here: Office, capture_id: str, outputs: Mapping[str, str], **changes: object) -> Finished:
    """A capture that kept *outputs*, by target, and has ended."""
    steps = (StepHead(id="sockets", title="Sockets"),)
    capture = a_capture(capture_id, **{"targets": tuple(outputs), "steps": steps, **changes})
    await here.journal.append(Accepted(capture=capture, at=capture.at))
    for target, text in outputs.items():
        kept = await here.store.put(f"{capture.prefix}{target}/sockets.txt", once(text.encode())) if text else None
        result = StepResult(
            target=target,
            step="sockets",
            outcome=Outcome.OK if kept else Outcome.FAILED,
            started_at=capture.at,
            seconds=1.0,
            artifact=kept,
        )
        await here.journal.append(StepFinished(capture_id=capture_id, result=result, at=capture.at))
    end = Finished(capture_id=capture_id, state=State.COMPLETE, at=capture.at)
    await here.journal.append(end)
    return end


async def compared(here: Office, end: Finished) -> list[str]:
    """What is told of a capture once its end was heard."""
    await here.desk.comparisons.heard(end)
    return [one.said for one in (await here.story(end.capture_id)).compared]


async def mark(here: Office, capture_id: str) -> MarkedGood:
    """Somebody says that it is good."""
    return await here.desk.goods.mark(await here.desk.comparisons.ended(capture_id), ANA)


async def test_what_ends_is_held_against_the_last_good_one(here: Office) -> None:
    """Once, however often its end is heard; the newest good one of the same counts."""
    await ended(here, "older1", {"app-1": sockets(9)}, at=EARLIER - timedelta(hours=6))
    await ended(here, "good01", {"app-1": sockets(3)}, at=EARLIER)
    await ended(here, "other1", {"app-1": sockets(0)}, at=EARLIER, parameters={"pid": 7})
    for capture_id in ("good01", "older1", "other1"):
        await mark(here, capture_id)
    end = await ended(here, "abc234", {"app-1": sockets(412)})

    first, second = await compared(here, end), await compared(here, end)

    assert first == ["Since good01 (6 h before, marked good by ana): CLOSE-WAIT sockets: 3 → 412 (137 times)"]
    assert second == first


async def test_the_difference_stands_under_the_headline_in_the_thread_and_in_the_note(here: Office) -> None:
    """The message in the channel has one line of it."""
    await ended(here, "good01", {"app-1": sockets(3), "app-2": sockets(4)}, at=EARLIER)
    await mark(here, "good01")
    end = await ended(here, "abc234", {"app-1": sockets(412), "app-2": sockets(4)})

    await here.desk.comparisons.heard(end)

    story = await here.story("abc234")
    line = "🔎 Since good01 (6 h before, marked good by ana): CLOSE-WAIT sockets: 3 → 412 (137 times)"
    assert line in root(story).text
    assert "👍 Marked good by ana" in root(await here.story("good01")).text
    assert details(story)[-1].text.splitlines() == [line, "⚠️ app-1: CLOSE-WAIT sockets: 3 → 412 (137 times)"]
    assert line in render("PABC123", [story])


async def test_each_target_has_its_own_good_one(here: Office) -> None:
    """As baselines are taken of one target at a time."""
    for n, count in ((1, 3), (2, 90)):
        await ended(here, f"good2{n}", {f"app-{n}": sockets(count)}, at=EARLIER)
        await mark(here, f"good2{n}")
    end = await ended(here, "abc234", {"app-1": sockets(412), "app-2": sockets(90)})

    (said,) = await compared(here, end)

    assert said.startswith("Since the last good one of each target (2 captures): CLOSE-WAIT sockets: 3 → 412")
    assert [(one.target, one.step) for one in (await here.story("abc234")).compared[0].differences] == [
        ("app-1", "sockets")
    ]


async def test_without_a_good_one_nothing_is_said(here: Office) -> None:
    """Nor where the good one took something else, or came later."""
    end = await ended(here, "abc234", {"app-1": sockets(412)})
    await ended(here, "good01", {"app-1": sockets(3)}, at=AT + timedelta(hours=1))
    await mark(here, "good01")

    assert await compared(here, end) == []


async def test_of_several_targets_the_odd_one_is_named(here: Office) -> None:
    """One that failed holds nobody up, and is said to be missing."""
    counts = {"db-1": sockets(10), "db-2": sockets(10), "db-3": sockets(400), "db-4": ""}

    (said,) = await compared(here, await ended(here, "abc234", counts))

    assert said == "2 of 3 alike; db-3 has 40 times the CLOSE-WAIT sockets (400), the others 10"
    assert (await here.story("abc234")).compared[0].gaps == ("db-4 gave nothing to compare",)


async def test_targets_that_are_alike_are_said_to_be(here: Office) -> None:
    """Which is worth knowing too."""
    end = await ended(here, "abc234", {f"db-{n}": sockets(10) for n in range(3)})

    assert await compared(here, end) == ["3 targets alike: none stands out"]


async def test_what_the_store_does_not_give_is_a_gap(here: Office) -> None:
    """And what is too long to be held against anything."""
    await ended(here, "good01", dict.fromkeys(("app-1", "app-2", "app-3"), sockets(3)), at=EARLIER)
    await mark(here, "good01")
    await ended(here, "abc234", {"app-1": sockets(9), "app-2": sockets(1) + "x" * READ_BYTES, "app-3": sockets(3)})
    del here.store.objects[(await here.story("good01")).results[0].artifact.key]  # type: ignore[union-attr]  # kept above

    what = await here.desk.comparisons.compare("abc234")

    assert what.said.endswith("nothing that is counted differs")
    assert [gap.partition(": ")[0] for gap in what.gaps] == ["app-1, sockets", "app-2, sockets"]
    assert "3.0 MB are too much to compare" in what.gaps[1]


async def test_a_store_that_gives_nothing_is_told_to_who_asks_and_tried_again(here: Office) -> None:
    """By itself nothing is written then, so that the comparison is still to be had later."""
    await ended(here, "good22", {"app-1": sockets(3)}, at=EARLIER)
    await mark(here, "good22")
    end = await ended(here, "abc234", {"app-1": sockets(412)})
    gone, here.store.objects = here.store.objects, {}

    by_itself, asked = await compared(here, end), await typed(here, "compare abc234")
    here.store.objects = gone

    assert by_itself == []
    assert asked.startswith("❌ Nothing of it could be compared: app-1, sockets: There is no evidence/")
    assert "CLOSE-WAIT sockets: 3 → 412" in await typed(here, "compare abc234")


async def test_outputs_that_nothing_is_counted_in_make_no_target_alike(here: Office) -> None:
    """Nothing is said of what was not looked at."""
    end = await ended(here, "abc234", {f"db-{n}": "plain words\n" for n in range(3)})

    assert await compared(here, end) == []


# --- on schedule ----------------------------------------------------------------------------------


def call(what: str, status: str, *, minutes: float, incident: str = "PINC1", service: str = "PSVC1") -> Heard:
    """PagerDuty called about the service, so many minutes after the capture."""
    at = AT + timedelta(minutes=minutes)
    told = Call(id=f"{what} {minutes}", what=what, at=at, incident=incident, status=status, service=service)
    return Heard(call=told, delivery=f"d {what} {minutes}", at=at)


TRIGGERED, RESOLVED = "incident.triggered", "incident.resolved"


@pytest.mark.parametrize(
    ("calls", "is_good"),
    [
        ([], True),
        ([call(TRIGGERED, "triggered", minutes=-60)], False),
        ([call(TRIGGERED, "triggered", minutes=-60), call(RESOLVED, "resolved", minutes=-5)], True),
        ([call(TRIGGERED, "triggered", minutes=0.1), call(RESOLVED, "resolved", minutes=0.2)], False),
        ([call(TRIGGERED, "triggered", minutes=-60, service="POTHER")], True),
    ],
)
async def test_a_scheduled_capture_is_good_where_no_incident_was_open(
    here: Office, calls: list[Heard], *, is_good: bool
) -> None:
    """Of a service with this target, before or meanwhile."""
    for one in calls:
        await here.journal.append(one)
    end = await ended(here, "sched1", {"app-1": sockets(3)}, source=Source.SCHEDULE, place=None)

    await here.desk.comparisons.heard(end)
    await here.desk.comparisons.heard(end)

    assert ((await here.story("sched1")).good is not None) == is_good
    assert (await here.desk.goods.newest("host", "app-1") is not None) == is_good


async def test_a_target_that_is_captured_for_an_incident_has_one(here: Office) -> None:
    """Where PagerDuty does not call, it is all that is known of incidents."""
    await ended(here, "abc234", {"app-1": sockets(3)}, incident="PINC7")

    assert await here.desk.goods.trouble("app-1") == "PINC7"
    assert await here.desk.goods.trouble("app-2") == ""


@pytest.mark.parametrize(("minutes", "counts"), [(5, False), (SETTLED.total_seconds() / 60 + 1, True)])
async def test_a_scheduled_one_counts_once_no_trouble_can_have_been_in_it(
    here: Office, minutes: float, *, counts: bool
) -> None:
    """Trouble begins before anybody is paged."""
    at = AT - timedelta(minutes=minutes)
    scheduled = {"source": Source.SCHEDULE, "place": None, "at": at}
    await here.desk.comparisons.heard(await ended(here, "sched1", {"app-1": sockets(3)}, **scheduled))

    said = await compared(here, await ended(here, "abc234", {"app-1": sockets(412)}))

    assert bool(said) == counts
    assert all(", on schedule): CLOSE-WAIT sockets: 3 → 412" in line for line in said)


# --- asked for ------------------------------------------------------------------------------------


async def typed(here: Office, text: str) -> str:
    """What somebody reads who types `/capture TEXT`."""
    said: list[str] = []

    async def say(answer: Answer) -> None:
        said.append(answer.text)

    clerk = Clerk(here.desk, here.journal, incidents=None, untold=dict, now=here.clock)
    await clerk.command({"user_id": ANA.id, "user_name": ANA.name, "channel_id": "C1", "text": text}, say)
    return "\n".join(said)


async def test_marking_and_comparing_are_typed_in_slack(here: Office) -> None:
    """The answer has the differences; a second mark changes nothing."""
    await ended(here, "good22", {"app-1": sockets(3)}, at=EARLIER)
    await ended(here, "abc234", {"app-1": sockets(412)})

    marked, again = await typed(here, "good GOOD22"), await typed(here, "good `good22`")
    answer = await typed(here, "compare abc234")

    assert marked == again
    assert marked.startswith("👍 `good22` (Host triage on app-1) is good, marked by ana.")
    assert answer.splitlines()[-1] == "⚠️ CLOSE-WAIT sockets: 3 → 412 (137 times)"


async def test_two_captures_are_compared_in_the_order_they_were_taken(here: Office) -> None:
    """Whatever order they are named in; of one target each, their names do not matter."""
    await ended(here, "first2", {"app-1": sockets(3)}, at=EARLIER)
    await ended(here, "abc234", {"app-2": sockets(412)})

    one, other = await typed(here, "compare first2 abc234"), await typed(here, "compare abc234 first2")

    assert one == other
    assert one.startswith("🔎 Since first2 (app-1, 6 h before): CLOSE-WAIT sockets: 3 → 412")
    assert len((await here.story("abc234")).compared) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("compare", "`compare` needs one or two captures' ids."),
        ("compare a b c", "`compare` needs one or two captures' ids."),
        ("good", "`good` needs one capture's id."),
        ("good zzz", "There is no capture `zzz`. `/capture status` lists the newest."),
        ("compare abc234", "No earlier capture of the same is known as good: `/capture host app-1`. Name another one:"),
        ("compare abc234 abc234", "That is the same capture twice."),
        ("compare abc234 wide22", "have no step of one target in common"),
        ("good runs22", "`runs22` has not ended yet."),
        ("good empty2", "`empty2` kept nothing."),
    ],
)
async def test_what_cannot_be_compared_says_why_and_what_can(here: Office, text: str, says: str) -> None:
    """With the next thing to type."""
    await ended(here, "abc234", {"app-1": sockets(3)})
    await ended(here, "wide22", {"app-2": sockets(3), "db-1": sockets(3)})
    await ended(here, "empty2", {"app-1": ""})
    running: Capture = a_capture("runs22")
    await here.journal.append(Accepted(capture=running, at=AT))

    assert says in await typed(here, text)


async def test_a_comparison_of_everything_fits_every_message(here: Office) -> None:
    """Sixty targets with long names that all differ."""
    names = [f"{'n' * 55}-{n:02}" for n in range(60)]
    await ended(here, "good22", {name: sockets(3) for name in names}, at=EARLIER)
    await mark(here, "good22")
    end = await ended(here, "abc234", {name: sockets(900 + n) for n, name in enumerate(names)})

    await here.desk.comparisons.heard(end)

    story = await here.story("abc234")
    replies = details(story)
    assert len(replies) <= REPLIES_AT_MOST
    assert sum(reply.text.count("CLOSE-WAIT sockets: 3 →") for reply in replies) == IN_ALL + 1  # and the first line
    assert all(len(message.text) <= 4000 for message in (root(story), *details(story)))
    assert all(isinstance(event, Compared) for event in story.compared)
    assert len(render("PABC123", [story]).encode()) <= 65_535


async def test_scheduled_captures_do_not_crowd_out_what_people_asked_for(here: Office) -> None:
    """`status` lists those apart."""
    await ended(here, "abc234", {"app-1": sockets(3)})
    await ended(here, "sched1", {"app-1": sockets(3)}, source=Source.SCHEDULE, place=None)

    assert await here.journal.recent() == ["abc234"]


async def test_a_capture_that_does_not_exist_is_refused() -> None:
    """By a sentence, as everything else."""
    journal = await Journal.open("sqlite://", owner="me")
    with pytest.raises(UserError, match="There is no capture `nope`"):
        await office(journal).desk.comparisons.compare("nope")
    await journal.close()

"""What people say, both ways: a real workspace on one side, PagerDuty's stand-in on the other, the bot between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import DeliveryFailed
from bot.model import Call, Commented, Heard, Mirrored, Noted, Person, Place, SecretRef
from bot.notes import OTHERS_S, content
from bot.pagerduty.client import PagerDutyClient
from bot.playground.pagerduty import Fault, PagerDutyStandIn
from bot.playground.workspace import Fault as SlackFault
from bot.playground.workspace import Message
from bot.playground.workspace.blocks import check_blocks
from bot.playground.workspace.modals import check_view
from bot.reporters.pagerduty import NOTE_BYTES, Note, last_line, marker
from bot.settings import PagerDuty
from bot.slack import noticeboard
from bot.slack.notes import dialog
from tests.fakes import ANA, AT
from tests.reception import Reception, reception

pytestmark = pytest.mark.live  # each test starts a workspace, and a bot that connects to it

INCIDENT = "PABC123"
CALL = Call(
    id="01", what="incident.annotated", at=AT, incident=INCIDENT, who="Dana Doe", note_id="PN1", note="I restart it"
)


@dataclass
class Written:
    """Notes of an incident, in memory."""

    notes: list[Note] = field(default_factory=list)
    failures: list[DeliveryFailed] = field(default_factory=list)
    unread: list[DeliveryFailed] = field(default_factory=list)  # of reading
    lost: bool = False  # the next answer, though the note is written

    async def list_notes(self, incident: str) -> Sequence[Note]:
        if self.unread:
            raise self.unread.pop(0)
        return list(self.notes)

    async def create_note(self, incident: str, content: str) -> str:
        if self.failures:
            raise self.failures.pop(0)
        self.notes.append(Note(id=f"PN{len(self.notes) + 1}", content=content, created_at=AT))
        if self.lost:
            self.lost = False
            raise DeliveryFailed("The connection broke.", retry_after=1.0)
        return self.notes[-1].id

    async def edit_note(self, incident: str, note_id: str, content: str) -> bool:
        self.notes = [replace(one, content=content) if one.id == note_id else one for one in self.notes]
        return True


@asynccontextmanager
async def room(written: Written | None = None) -> AsyncIterator[tuple[Reception, Written]]:
    """People in an incident's channel, and its notes in PagerDuty."""
    written = written or Written()
    async with reception(pagerduty=written) as here:
        await here.desk.link(here.channel, INCIDENT, here.person)
        yield here, written


async def mirrored(here: Reception, count: int = 1) -> list[Mirrored]:
    """What was carried over, once it is so much."""
    while len(found := [event for event in await here.events() if isinstance(event, Mirrored)]) < count:
        await here.journal.wait_beyond(here.journal.last, within_s=5)
    return found


def told(here: Reception) -> list[Message]:
    """The notes of PagerDuty that the channel shows."""
    return [one for one in here.workspace.messages(here.channel) if "noted in PagerDuty" in one.text]


async def heard(here: Reception, call: Call) -> None:
    """PagerDuty calls."""
    await here.journal.accept(Heard(call=call, delivery=call.id, at=here.clock()))


# --- from Slack -------------------------------------------------------------------------------------------


async def test_a_note_is_a_persons_own_words() -> None:
    """With name, place and time, quotes as they were typed, names for references, secrets masked."""
    async with room() as (here, written):
        await here.workspace.command(here.channel, here.ana, '/capture note @ben "restarts" it & <says> hunter2')

        await here.whisper(here.ana, "Goes into the notes of PagerDuty incident PABC123, as ana's.")
        await mirrored(here)
        (note,) = written.notes
        head, words, _, mark = note.content.splitlines()
        assert head == "ana in #inc-1042, 2026-11-22 03:00:00 UTC:"
        assert words == '@ben "restarts" it & <says> •••PABC123'
        assert mark.startswith(f"capturebot / {here.channel} ")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/capture note", "There are no words to be noted."),
        ("/capture note " + "x" * 2000, "a command has at most 2,000"),
    ],
)
async def test_what_cannot_be_noted_is_told(line: str, said: str) -> None:
    """And nothing is written."""
    async with room() as (here, written):
        await here.workspace.command(here.channel, here.ana, line)

        await here.whisper(here.ana, said)
        assert written.notes == []


async def test_a_channel_without_an_incident_has_no_notes() -> None:
    """The answer says how to get them; without PagerDuty, who can."""
    async with reception(pagerduty=Written()) as here:
        await here.workspace.command(here.channel, here.ana, "/capture note hello")
        await here.whisper(here.ana, "`/capture link INCIDENT` first")
    async with reception() as here:
        await here.workspace.command(here.channel, here.ana, "/capture note hello")
        await here.whisper(here.ana, "PagerDuty is not set up.")


async def test_the_shortcut_sends_a_message_under_its_authors_name() -> None:
    """In the words that stand in the dialog, which can be changed there."""
    async with room() as (here, written):
        parent = here.workspace.say(here.channel, here.ben, "slow")
        message = here.workspace.say(here.channel, here.ben, "@ana see https://a.example/?x=1&y=2", thread_ts=parent.ts)
        await here.workspace.shortcut("send_to_pagerduty", here.ana, channel=here.channel, message_ts=message.ts)
        await here.seen(lambda: here.workspace.views(here.ana))
        (block,) = here.workspace.views(here.ana)[-1].body["blocks"]
        assert block["element"]["initial_value"] == "@ana see https://a.example/?x=1&y=2"

        await here.workspace.submit(here.ana, {"words": "see the graph"})
        assert sum(isinstance(event, Noted) for event in await here.events()) == 1  # before it was acknowledged

        whisper = await here.whisper(here.ana, "as ben's")
        await mirrored(here)
        assert whisper.thread_ts == parent.ts
        assert written.notes[0].content.startswith("ben in #inc-1042, ")
        assert "UTC, sent by ana:\nsee the graph\n" in written.notes[0].content


async def test_a_message_that_is_sent_again_replaces_its_note() -> None:
    """One note a message, with the newest words; the same words are noted once."""
    async with room() as (here, written):
        message = here.workspace.say(here.channel, here.ben, "it was me")
        for words in ("it was the cache", "it was ben", "it was the cache", "it was the cache"):
            await here.workspace.shortcut("send_to_pagerduty", here.ana, channel=here.channel, message_ts=message.ts)
            await here.seen(lambda: here.workspace.views(here.ana))
            await here.workspace.submit(here.ana, {"words": words})

        await here.whisper(here.ana, "in the notes of PABC123 already")
        await mirrored(here, 3)
        (note,) = written.notes
        assert "\nit was the cache\n" in note.content


async def test_a_pin_is_noted_and_pins_elsewhere_are_not() -> None:
    """Of a person's message or of a finding; where the channel has no incident, people pin for reasons of their own."""
    async with room() as (here, written):
        elsewhere = here.workspace.add_channel("general")
        here.workspace.pin(elsewhere, here.workspace.say(elsewhere, here.ben, "lunch").ts, here.ana)
        message = here.workspace.say(here.channel, here.ben, "The cache is cold")
        here.workspace.sockets.duplicate_next(4)  # both messages, and both pins

        here.workspace.pin(here.channel, message.ts, here.ana)

        await here.whisper(here.ana, "as ben's")
        await here.whisper(here.ana, "already, or on its way")
        await mirrored(here)
        (note,) = written.notes
        assert note.content.startswith("ben in #inc-1042, ")
        assert f"sent by ana:\nThe cache is cold\n{here.clerk.home}archives/{here.channel}/p" in note.content
        assert here.workspace.ephemerals(elsewhere, here.ana) == []


async def test_an_edit_in_slack_is_followed() -> None:
    """Where the note has the message's own words; what was changed in the dialog stays."""
    async with room() as (here, written):
        pinned = here.workspace.say(here.channel, here.ben, "The cache is cold")
        sent = here.workspace.say(here.channel, here.ben, "I restart")
        here.workspace.pin(here.channel, pinned.ts, here.ana)
        await here.workspace.shortcut("send_to_pagerduty", here.ana, channel=here.channel, message_ts=sent.ts)
        await here.seen(lambda: here.workspace.views(here.ana))
        await here.workspace.submit(here.ana, {"words": "ben restarts"})
        await mirrored(here, 2)

        here.workspace.edit(here.channel, sent.ts, here.ben, "I restart it")
        here.workspace.edit(here.channel, pinned.ts, here.ben, "The cache is cold & @ana knows, hunter2")

        await mirrored(here, 3)
        words = sorted(note.content.splitlines()[1] for note in written.notes)
        assert words == ["The cache is cold & @ana knows, •••PABC123", "ben restarts"]


async def test_words_stand_in_the_order_in_which_they_were_said() -> None:
    """Also when the first one had to be tried again."""
    written = Written(failures=[DeliveryFailed("PagerDuty has trouble.", retry_after=7.0)] * 2)
    async with room(written) as (here, _):
        for n in range(4):
            await here.workspace.command(here.channel, here.ana, f"/capture note word {n}")

        await mirrored(here, 4)
        assert [note.content.splitlines()[1] for note in written.notes] == [f"word {n}" for n in range(4)]
        assert here.waits_s == [7.0, 7.0]


async def test_an_answer_that_never_came_makes_no_second_note() -> None:
    """The note is found by its last line."""
    async with room(Written(lost=True)) as (here, written):
        await here.workspace.command(here.channel, here.ana, "/capture note once")

        await mirrored(here)
        assert len(written.notes) == 1


async def test_a_note_that_pagerduty_does_not_take_is_told() -> None:
    """To whoever sent it, with what would help; the next one is written all the same."""
    full = DeliveryFailed("PagerDuty allows 2,000 notes an incident, and it has them.", cure="Delete some.")
    async with room(Written(failures=[full])) as (here, written):
        await here.workspace.command(here.channel, here.ana, "/capture note one too many")
        await here.workspace.command(here.channel, here.ana, "/capture note another")

        await here.whisper(here.ana, "2,000 notes an incident, and it has them. Delete some.")
        await mirrored(here, 2)
        assert len(written.notes) == 1


async def test_words_are_not_tried_for_ever() -> None:
    """A day is enough; whoever sent them learns of it."""
    async with room() as (here, written):
        written.failures = [DeliveryFailed("PagerDuty has trouble.", retry_after=1.0)] * 3
        noted = Noted(
            source="C1 1.2",
            incident=INCIDENT,
            who=Person(id=here.ana, name="ana"),
            sender=Person(id=here.ana, name="ana"),
            place=Place(channel=here.channel),
            text="late",
            said_at=AT,
            at=AT - timedelta(hours=25),
            owner="me",
        )

        await here.journal.accept(noted)

        await here.whisper(here.ana, "PagerDuty has trouble.")
        assert written.notes == []


@settings(max_examples=30, deadline=None)
@given(text=st.text(max_size=200), source=st.from_regex(r"C[A-Z0-9]{3} [0-9]{4}\.[0-9]{6}", fullmatch=True))
def test_a_note_always_ends_with_its_mark(text: str, source: str) -> None:
    """Whatever people write, it is found again, and never taken for the bot's own living note."""
    noted = Noted(
        source=source,
        incident="P1",
        who=ANA,
        sender=ANA,
        place=Place(channel="C1"),
        text=text,
        said_at=AT,
        at=AT,
        owner="me",
    )

    assert last_line(content(noted)) == f"capturebot / {source}"
    assert last_line(content(noted)) != marker("P1")


def test_the_longest_message_has_a_dialog() -> None:
    """Slack's input has room for its beginning, and says so."""
    view = dialog("x" * 40_000, "{}")

    check_view(view, "modal")
    assert "Only the first 3,000 characters fit here." in view["blocks"][0]["hint"]["text"]


# --- after a restart, and beside other processes -----------------------------------------------------------


def a_noted(owner: str, here: Reception) -> Noted:
    """Words that a process took over."""
    return Noted(
        source="C1 1.2",
        incident=INCIDENT,
        who=ANA,
        sender=ANA,
        place=Place(channel=here.channel),
        text="said before",
        said_at=AT,
        at=here.clock(),
        owner=owner,
    )


async def test_words_of_a_dead_process_are_carried_over() -> None:
    """By the next one, once."""
    async with room() as (here, written):
        here.gone.add("other")
        await here.bot.aclose()
        await here.journal.accept(a_noted("other", here))

        await here.restart()
        await mirrored(here)
        await here.restart()

        assert len(written.notes) == 1


async def test_words_of_a_living_process_are_its_own() -> None:
    """Until it said that they are carried over, or has been silent about it for too long."""
    async with room() as (here, written):
        noted = a_noted("other", here)
        await here.journal.accept(noted)
        await here.workspace.command(here.channel, here.ana, "/capture note mine")
        await here.whisper(here.ana, "as ana's")
        assert written.notes == []

        here.clock.pass_by(OTHERS_S + 1)

        await mirrored(here, 2)
        assert ["said before" in note.content for note in written.notes] == [True, False]


# --- from PagerDuty -----------------------------------------------------------------------------------------


async def test_a_note_of_pagerduty_stands_in_the_channels_of_its_incident() -> None:
    """In the order in which they came; twice delivered, once shown; literally what was written."""
    async with room() as (here, _):
        await heard(here, replace(CALL, note="<!channel> *restart* & go"))
        await heard(here, CALL)  # the same event again
        await heard(here, replace(CALL, id="02", note_id="PN2", note="done"))

        await mirrored(here, 2)
        first, second = told(here)
        assert first.text == "📝 Dana Doe noted in PagerDuty: &lt;!channel&gt; *restart* &amp; go"
        assert "done" in second.text


async def test_the_bots_own_notes_do_not_come_back() -> None:
    """Neither the living one nor those of people here, also when PagerDuty leaves out their ends."""
    async with room() as (here, written):
        await here.workspace.command(here.channel, here.ana, "/capture note mine")
        await mirrored(here)
        (note,) = written.notes
        await heard(here, replace(CALL, note=note.content, note_id=note.id))
        await heard(here, replace(CALL, id="02", note=f"Findings\n\n{marker(INCIDENT)}\n"))
        await heard(here, replace(CALL, id="03", note=note.content[:20], trimmed=True, note_id=note.id))

        await heard(here, replace(CALL, id="04", note_id="PN9", note="a person's"))

        await mirrored(here, 2)
        assert ["a person's" in one.text for one in told(here)] == [True]


async def test_whose_a_long_note_is_is_asked_until_it_is_known() -> None:
    """PagerDuty leaves out its end, and may have trouble when it is asked for it."""
    long = Note(id="PN7", content=f"Findings\n\n{marker(INCIDENT)}", created_at=AT)
    async with room(Written([long], unread=[DeliveryFailed("PagerDuty has trouble.", retry_after=3.0)])) as (here, _):
        await heard(here, replace(CALL, note="Findings", trimmed=True, note_id="PN7"))
        await heard(here, replace(CALL, id="02", note_id="PN9", note="a person's"))

        await mirrored(here)
        assert here.waits_s == [3.0]
        assert ["a person's" in one.text for one in told(here)] == [True]


async def test_an_edit_in_pagerduty_is_followed() -> None:
    """The message that shows the note is edited in its place."""
    async with room() as (here, _):
        await heard(here, CALL)
        await heard(here, replace(CALL, id="02", note="I do not restart it"))

        await mirrored(here, 2)
        (message,) = told(here)
        assert message.text.endswith("I do not restart it")


async def test_a_channel_that_is_linked_later_catches_up() -> None:
    """With the newest words of each note, once; a channel that has them shows nothing twice."""
    async with room() as (here, _):
        late = here.workspace.add_channel("inc-1042-b")
        await heard(here, CALL)
        await heard(here, replace(CALL, id="02", note="I do not restart it"))
        await heard(here, replace(CALL, id="03", incident="POTHER", note_id="PN2", note="elsewhere"))
        await mirrored(here, 3)

        for _ in range(2):
            await here.desk.link(late, INCIDENT, here.person)
            await here.desk.link(here.channel, INCIDENT, here.person)

        await mirrored(here, 5)
        assert [one.text.endswith("I do not restart it") for one in told(here)] == [True]
        said = [one.text for one in here.workspace.messages(late) if one.by_app]
        assert [text.endswith("I do not restart it") for text in said] == [True]


async def test_a_post_whose_answer_was_lost_is_found_again() -> None:
    """And one that Slack does not take now is tried again."""
    async with room() as (here, _):
        here.workspace.fail_next("chat.postMessage", SlackFault(status=500, after_work=True))

        await heard(here, CALL)

        await mirrored(here)
        assert len(told(here)) == 1


async def test_a_restart_shows_what_was_heard_and_not_finished() -> None:
    """Once: the message is found by its mark."""
    async with room() as (here, _):
        here.gone.add("other")
        await here.bot.aclose()
        await here.journal.accept(Commented(call=CALL, at=here.clock(), owner="other"))

        await here.restart()
        await mirrored(here)
        await here.restart()

        assert len(told(here)) == 1


async def test_a_channel_that_cannot_be_written_in_holds_nobody_up() -> None:
    """The others show the note; why that one does not is in the journal."""
    async with room() as (here, _):
        closed = here.workspace.add_channel("inc-0001")
        await here.desk.link(closed, INCIDENT, here.person)
        here.workspace.archive_channel(closed)

        await heard(here, CALL)

        (done,) = await mirrored(here)
        assert len(told(here)) == 1
        assert "is_archived" in done.reason


@settings(max_examples=30, deadline=None)
@given(text=st.text(max_size=500), times=st.integers(1, 40), trimmed=st.booleans())
def test_a_note_as_a_message_is_one_that_slack_takes(text: str, times: int, *, trimmed: bool) -> None:
    """Any text, and what does not fit is said to be in PagerDuty."""
    shown = noticeboard.message(replace(CALL, note=text * times, trimmed=trimmed))

    assert len(shown.text) <= 3000
    assert check_blocks(list(shown.blocks), "message") == []
    assert "the rest is in PagerDuty" in shown.text or len(text) * times <= 3000


# --- with PagerDuty's own rules -------------------------------------------------------------------------------


class Token:
    """Knows the token."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def resolve(self, ref: SecretRef) -> str:
        return self._token

    def forget(self, ref: SecretRef) -> None:
        """Nothing is kept."""


async def test_both_sides_for_real() -> None:
    """Through the client, against the published limits; a lost answer makes no second note."""
    async with PagerDutyStandIn() as standin:
        standin.add_incident(INCIDENT, 1042, "Orders are slow", "orders")
        account = PagerDuty(token=SecretRef("env:T"), sender=standin.sender, api_url=standin.api_url)
        client = PagerDutyClient(account, Token(standin.token), sleep=lambda _: asyncio.sleep(0))
        try:
            async with reception(pagerduty=client) as here:
                await here.desk.link(here.channel, INCIDENT, here.person)
                standin.fail(Fault(reset=True, after=True, method="POST"))

                await here.workspace.command(here.channel, here.ana, "/capture note שלום 🔥")
                await mirrored(here)

                (note,) = standin.notes(INCIDENT)
                assert "שלום 🔥" in note["content"]
        finally:
            await client.close()


async def test_a_message_that_is_too_long_for_a_note_is_told() -> None:
    """In bytes, as PagerDuty counts."""
    async with room() as (here, written):
        message = here.workspace.say(here.channel, here.ben, "🔥" * 12_000)
        long = replace(message, text=message.text * 2)
        channel = here.workspace._state.channels[here.channel]
        channel.keep(long)

        here.workspace.pin(here.channel, message.ts, here.ana)

        await here.whisper(here.ana, f"a note in PagerDuty has at most {NOTE_BYTES:,}")
        assert written.notes == []

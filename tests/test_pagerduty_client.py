"""The real client against the stand-in, over loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from bot.errors import DeliveryFailed, SecretMissing, UserError
from bot.model import SecretRef
from bot.pagerduty.answers import TOKEN_S
from bot.pagerduty.client import ANSWER_BYTES, LATER_S, TRIES, PagerDutyClient
from bot.playground.pagerduty import Fault, PagerDutyStandIn
from bot.playground.pagerduty_account import NOTE_BYTES, NOTES_PER_INCIDENT
from bot.settings import PagerDuty

INCIDENT = "PABC123"
CONTENT = f"Evidence was kept.\n\ncapturebot / incident {INCIDENT}"
HANG_S = 0.1  # how long a client here waits for an answer that does not come


class Given:
    """Resolves every reference to one text, or to none."""

    def __init__(self, secret: str | None) -> None:
        self.secret = secret

    async def resolve(self, ref: SecretRef) -> str:
        if self.secret is None:
            raise SecretMissing(f"{ref} is not set.")
        return self.secret

    def forget(self, ref: SecretRef) -> None:
        """Nothing is kept."""


class Naps:
    """Sleeps no time at all and remembers how long it should have."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)


Connect = Callable[..., PagerDutyClient]


@pytest.fixture
async def pagerduty() -> AsyncIterator[PagerDutyStandIn]:
    """An account with one incident."""
    async with PagerDutyStandIn() as standin:
        standin.add_incident(INCIDENT, 1042, "Orders are slow", "Orders")
        yield standin


@pytest.fixture
def naps() -> Naps:
    """What the client waited between tries."""
    return Naps()


@pytest.fixture
async def connect(pagerduty: PagerDutyStandIn, naps: Naps) -> AsyncIterator[Connect]:
    """Makes clients and closes them."""
    clients = []

    def make(
        *, secret: str | None = "", sender: str = "", api_url: str = "", jitter: float = 0.0, try_s: float = 5.0
    ) -> PagerDutyClient:
        settings = PagerDuty(
            token=SecretRef("env:PD"), sender=sender or pagerduty.sender, api_url=api_url or pagerduty.api_url
        )
        given = Given(pagerduty.token if secret == "" else secret)
        client = PagerDutyClient(settings, given, sleep=naps, jitter=lambda: jitter, try_s=try_s)
        clients.append(client)
        return client

    yield make
    for client in clients:
        await client.close()


async def failure_of(work: Awaitable[object]) -> DeliveryFailed:
    """The DeliveryFailed that *work* ends with."""
    with pytest.raises(DeliveryFailed) as caught:
        await work
    return caught.value


# --- notes ------------------------------------------------------------------------------------


async def test_a_note_is_written_and_read_back(pagerduty: PagerDutyStandIn, connect: Connect) -> None:
    """What was written is what PagerDuty has, under the id that it gave."""
    client = connect()

    note_id = await client.create_note(INCIDENT, CONTENT)

    [note] = await client.list_notes(INCIDENT)
    assert (note.id, note.content) == (note_id, CONTENT)


async def test_requests_carry_the_headers_that_pagerduty_asks_for(
    pagerduty: PagerDutyStandIn, connect: Connect
) -> None:
    """Version, token, kind of content, and who writes."""
    await connect().create_note(INCIDENT, CONTENT)

    headers = pagerduty.calls[-1].headers
    assert headers["accept"] == "application/vnd.pagerduty+json;version=2"
    assert headers["authorization"] == f"Token token={pagerduty.token}"
    assert headers["content-type"] == "application/json"
    assert headers["from"] == pagerduty.sender


async def test_an_app_token_goes_as_a_bearer(connect: Connect) -> None:
    """Tokens of Scoped OAuth are told by their prefix."""
    async with PagerDutyStandIn(token="pdus+_0123") as pagerduty:
        pagerduty.add_incident(INCIDENT, 1, "Orders are slow", "Orders")

        await connect(secret=pagerduty.token, api_url=pagerduty.api_url).list_notes(INCIDENT)

        assert pagerduty.calls[-1].headers["authorization"] == "Bearer pdus+_0123"


async def test_an_edit_replaces_the_content(pagerduty: PagerDutyStandIn, connect: Connect) -> None:
    """The same note, other words."""
    note_id = pagerduty.write_note(INCIDENT, "Before")

    edited = await connect().edit_note(INCIDENT, note_id, CONTENT)

    assert edited
    assert [note["content"] for note in pagerduty.notes(INCIDENT)] == [CONTENT]


async def test_an_edit_of_a_note_that_is_gone_says_so(connect: Connect) -> None:
    """A deleted note is an answer, not an error."""
    edited = await connect().edit_note(INCIDENT, "PGONE", CONTENT)

    assert not edited


async def test_requests_go_one_after_the_other(pagerduty: PagerDutyStandIn, connect: Connect) -> None:
    """PagerDuty advises one request at a time for a token: while one hangs, the others wait."""
    client = connect(try_s=HANG_S)
    pagerduty.fail(Fault(method="GET"))

    await asyncio.gather(*(client.list_notes(INCIDENT) for _ in range(8)))

    assert len(pagerduty.calls) == 9
    assert pagerduty.most_at_once == 1


async def test_a_note_that_is_too_long_is_not_sent(pagerduty: PagerDutyStandIn, connect: Connect) -> None:
    """The limit counts bytes, not letters."""
    failure = await failure_of(connect().create_note(INCIDENT, "é" * (NOTE_BYTES // 2 + 1)))

    assert "65,535" in failure.reason
    assert not pagerduty.calls


# --- trying again -----------------------------------------------------------------------------


async def test_a_full_limit_is_waited_out_as_long_as_pagerduty_says(
    pagerduty: PagerDutyStandIn, connect: Connect, naps: Naps
) -> None:
    """ratelimit-reset names the seconds."""
    pagerduty.fail(Fault(status=429, headers={"ratelimit-reset": "7"}))

    await connect().create_note(INCIDENT, CONTENT)

    assert naps.taken == [7.0]
    assert len(pagerduty.notes(INCIDENT)) == 1


async def test_a_full_limit_without_headers_is_waited_out_longer_each_time(
    pagerduty: PagerDutyStandIn, connect: Connect, naps: Naps
) -> None:
    """PagerDuty documents a bare 429 for exceptional scenarios."""
    pagerduty.fail(Fault(status=429), Fault(status=429), Fault(status=429))

    await connect(jitter=1.0).list_notes(INCIDENT)

    assert naps.taken == [1.0, 2.0, 4.0]


async def test_a_long_wait_is_handed_to_the_caller(pagerduty: PagerDutyStandIn, connect: Connect, naps: Naps) -> None:
    """Nobody is kept waiting for most of a minute."""
    pagerduty.fail(Fault(status=429, headers={"ratelimit-reset": "41"}))

    failure = await failure_of(connect().create_note(INCIDENT, CONTENT))

    assert failure.retry_after == 41.0
    assert naps.taken == []


async def test_the_limit_of_a_minute_is_met_and_lifted(connect: Connect, naps: Naps) -> None:
    """The stand-in counts as PagerDuty does, and the client reads its headers."""
    minutes = 0.0
    async with PagerDutyStandIn(requests_per_minute=2, clock=lambda: minutes * 60) as pagerduty:
        pagerduty.add_incident(INCIDENT, 1, "Orders are slow", "Orders")
        client = connect(secret=pagerduty.token, api_url=pagerduty.api_url)
        await client.list_notes(INCIDENT)
        await client.list_notes(INCIDENT)

        failure = await failure_of(client.list_notes(INCIDENT))
        minutes = 1.0
        notes = await client.list_notes(INCIDENT)

        assert failure.retry_after == 60.0
        assert notes == []


async def test_trouble_that_lasts_ends_with_a_time_to_come_back(
    pagerduty: PagerDutyStandIn, connect: Connect, naps: Naps
) -> None:
    """Tries are bounded."""
    pagerduty.fail(*[Fault(status=503)] * TRIES)

    failure = await failure_of(connect().list_notes(INCIDENT))

    assert failure.retry_after == LATER_S
    assert "503" in failure.reason
    assert len(pagerduty.calls) == TRIES
    assert len(naps.taken) == TRIES - 1


@pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after it took effect"])
@pytest.mark.parametrize(
    "fault", [{}, {"reset": True}, {"status": 500}, {"status": 408}], ids=["hangs", "breaks", "500", "408"]
)
async def test_a_create_that_is_in_doubt_leaves_one_note(
    pagerduty: PagerDutyStandIn, connect: Connect, fault: dict[str, int], *, after: bool
) -> None:
    """Whether or not the first try came through, the incident has the note once."""
    theirs = pagerduty.write_note(INCIDENT, "I restarted the service.")
    pagerduty.fail(Fault(**fault, after=after, method="POST"))  # type: ignore[arg-type]  # a table of keyword arguments

    ours = await connect(try_s=HANG_S).create_note(INCIDENT, CONTENT)

    assert [note["id"] for note in pagerduty.notes(INCIDENT)] == [theirs, ours]
    assert pagerduty.notes(INCIDENT)[1]["content"] == CONTENT


async def test_an_older_note_of_ours_gets_the_new_content(pagerduty: PagerDutyStandIn, connect: Connect) -> None:
    """The note found by its last line may say less than the one that was to be written."""
    older = pagerduty.write_note(INCIDENT, f"Earlier.\n\ncapturebot / incident {INCIDENT}\n")
    pagerduty.fail(Fault(status=502, method="POST"))

    note_id = await connect().create_note(INCIDENT, CONTENT)

    assert note_id == older
    assert [note["content"] for note in pagerduty.notes(INCIDENT)] == [CONTENT]


async def test_a_host_that_cannot_be_reached_is_named(connect: Connect) -> None:
    """What, where, and what to check."""
    async with PagerDutyStandIn() as gone:
        client = connect(api_url=gone.api_url)

    failure = await failure_of(client.list_notes(INCIDENT))

    assert "127.0.0.1" in failure.reason
    assert "api_url" in failure.cure
    assert failure.retry_after == LATER_S


# --- refusals ---------------------------------------------------------------------------------


async def test_a_refused_token_names_both_causes(pagerduty: PagerDutyStandIn, connect: Connect) -> None:
    """A good key at the other region's host looks like a bad one."""
    pagerduty.wrong_region = True

    failure = await failure_of(connect().list_notes(INCIDENT))

    assert failure.retry_after == TOKEN_S
    assert "pagerduty.token" in failure.cure
    assert "https://api.eu.pagerduty.com" in failure.cure
    assert pagerduty.token not in str(failure) + failure.cure
    assert len(pagerduty.calls) == 1


@pytest.mark.parametrize(("sender", "code"), [("someone@else.example", "1008"), ("no-address", "1028")])
async def test_a_sender_that_is_refused_leads_to_its_setting(connect: Connect, sender: str, code: str) -> None:
    """The From header is a setting."""
    failure = await failure_of(connect(sender=sender).create_note(INCIDENT, CONTENT))

    assert sender in failure.reason
    assert code in failure.reason
    assert "pagerduty.from" in failure.cure
    assert failure.retry_after is None


async def test_a_read_only_key_is_told(pagerduty: PagerDutyStandIn, connect: Connect) -> None:
    """It may list, not write."""
    pagerduty.read_only = True

    failure = await failure_of(connect().create_note(INCIDENT, CONTENT))

    assert f"may not change incident {INCIDENT}" in failure.reason
    assert "read-only" in failure.cure
    assert failure.retry_after is None


async def test_an_unknown_incident_is_told(connect: Connect) -> None:
    """With the way to tie the channel to the right one."""
    failure = await failure_of(connect().create_note("PNONE99", CONTENT))

    assert "no incident PNONE99" in failure.reason
    assert "/capture link" in failure.cure
    assert failure.retry_after is None


async def test_a_full_incident_is_told(pagerduty: PagerDutyStandIn, connect: Connect) -> None:
    """2,000 notes are PagerDuty's limit."""
    for _ in range(NOTES_PER_INCIDENT):
        pagerduty.write_note(INCIDENT, "Another one.")

    failure = await failure_of(connect().create_note(INCIDENT, CONTENT))

    assert "2,000 notes" in failure.reason
    assert failure.retry_after is None


@pytest.mark.parametrize("status", [400, 402, 404, 418, 302])
async def test_what_cannot_help_is_not_tried_again(pagerduty: PagerDutyStandIn, connect: Connect, status: int) -> None:
    """Also where the refusal has no body."""
    pagerduty.fail(Fault(status=status))

    failure = await failure_of(connect().list_notes(INCIDENT))

    assert str(status) in failure.reason
    assert failure.retry_after is None
    assert len(pagerduty.calls) == 1


@pytest.mark.parametrize("secret", ["two words", "line\n", "naïve"])
async def test_a_token_that_is_none_is_never_shown(pagerduty: PagerDutyStandIn, connect: Connect, secret: str) -> None:
    """Not by us, and not by a library that quotes the header it refuses."""
    failure = await failure_of(connect(secret=secret).list_notes(INCIDENT))

    assert "pagerduty.token" in failure.cure
    assert secret not in str(failure) + failure.cure
    assert not pagerduty.calls


async def test_a_missing_secret_is_a_failure_with_its_reason(connect: Connect) -> None:
    """The reference is named."""
    failure = await failure_of(connect(secret=None).list_notes(INCIDENT))

    assert "env:PD" in failure.reason
    assert failure.retry_after == TOKEN_S


async def test_another_server_is_told_from_pagerduty(pagerduty: PagerDutyStandIn, connect: Connect) -> None:
    """A page answers 200 too."""
    failure = await failure_of(connect(api_url=f"{pagerduty.api_url}/view").incident(INCIDENT))

    assert "does not answer as PagerDuty" in failure.reason


async def test_an_answer_without_end_is_not_read_to_its_end(pagerduty: PagerDutyStandIn, connect: Connect) -> None:
    """Memory is bounded, whatever an incident has collected."""
    for _ in range(ANSWER_BYTES // NOTE_BYTES + 1):
        pagerduty.write_note(INCIDENT, "x" * NOTE_BYTES)

    failure = await failure_of(connect().list_notes(INCIDENT))

    assert "too large" in failure.reason
    assert failure.retry_after is None


# --- incidents --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reference",
    [
        "PABC123",
        " pabc123 ",
        "1042",
        "#1042",
        "https://acme.pagerduty.com/incidents/PABC123",
        "https://acme.eu.pagerduty.com/incidents/PABC123/timeline?tab=1",
        "<https://acme.pagerduty.com/incidents/PABC123|the incident>",
        "<https://acme.pagerduty.com/incidents/PABC123>",
        "http://127.0.0.1:8080/view/incidents/PABC123",
    ],
)
async def test_an_incident_is_found_by_what_people_paste(
    pagerduty: PagerDutyStandIn, connect: Connect, reference: str
) -> None:
    """Id, number and address lead to the same incident."""
    incident = await connect().incident(reference)

    assert (incident.id, incident.number, incident.title) == (INCIDENT, 1042, "Orders are slow")
    assert incident.status == "triggered"
    assert incident.html_url == f"{pagerduty.api_url}/view/incidents/{INCIDENT}"


@pytest.mark.parametrize(
    "reference", ["", "orders db", "../users", "PABC123 or so", "https://x.example/PABC123", "P" * 5000]
)
async def test_what_is_no_incident_is_refused_unasked(
    pagerduty: PagerDutyStandIn, connect: Connect, reference: str
) -> None:
    """The person who typed it learns what would do."""
    with pytest.raises(UserError, match="its number or its address"):
        await connect().incident(reference)

    assert not pagerduty.calls


async def test_an_incident_that_is_not_there_is_the_askers_to_mend(connect: Connect) -> None:
    """A wrong number is no trouble of ours."""
    with pytest.raises(UserError, match="no incident 7"):
        await connect().incident("7")


async def test_trouble_while_looking_up_is_not_the_askers(pagerduty: PagerDutyStandIn, connect: Connect) -> None:
    """It is told as what it is."""
    pagerduty.wrong_region = True

    failure = await failure_of(connect().incident(INCIDENT))

    assert "token" in failure.reason


# --- doctor -----------------------------------------------------------------------------------


async def test_a_good_configuration_checks_out(connect: Connect) -> None:
    """Token and sender, each in a line."""
    lines = await connect().check()

    assert [line.partition(":")[0] for line in lines] == ["ok", "ok"]


async def test_the_check_finds_a_refused_token(pagerduty: PagerDutyStandIn, connect: Connect) -> None:
    """With the cure, and without going on."""
    pagerduty.wrong_region = True

    [line] = await connect().check()

    assert line.startswith("fault: PagerDuty does not take the token")
    assert "api.eu.pagerduty.com" in line


async def test_the_check_finds_a_sender_that_is_no_user(connect: Connect) -> None:
    """Before the first note is refused for it."""
    lines = await connect(sender="someone@else.example").check()

    assert lines[1].startswith("fault: PagerDuty knows no user someone@else.example — set pagerduty.from")


async def test_the_check_says_what_it_could_not_look_up(pagerduty: PagerDutyStandIn, connect: Connect) -> None:
    """A token without users.read is enough for notes."""
    pagerduty.hides_users = True

    lines = await connect().check()

    assert lines[1].startswith("ok: whether PagerDuty knows")


async def test_the_check_of_users_that_fails_is_a_fault(pagerduty: PagerDutyStandIn, connect: Connect) -> None:
    """Only a missing permission is nothing to worry about."""
    pagerduty.requests_per_minute = 1

    lines = await connect().check()

    assert lines[1].startswith("fault: PagerDuty limits requests")


async def test_the_check_of_a_dead_host_tries_once(connect: Connect, naps: Naps) -> None:
    """The operator is waiting."""
    async with PagerDutyStandIn() as gone:
        client = connect(api_url=gone.api_url)

    [line] = await client.check()

    assert line.startswith("fault: PagerDuty at 127.0.0.1 cannot be reached")
    assert naps.taken == []

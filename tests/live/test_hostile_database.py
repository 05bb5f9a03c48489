"""Databases that mean no good: whatever a server says, or does not say, one step pays for it, in bounded time and memory, and tells why."""

from __future__ import annotations

import asyncio
import random
import re
import struct
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from time import monotonic

import asyncssh
import psutil
import pytest
from rich.console import Console

from bot.insights.mysql.processlist import processlist
from bot.model import (
    Event,
    MySql,
    Outcome,
    SecretRef,
    Sql,
    Ssh,
    State,
    Statement,
    Step,
    StepFinished,
    StepHead,
    StepResult,
    Target,
    Tls,
)
from bot.pipeline import GRACE_S
from bot.redact import Redactor
from bot.reporters import pagerduty, slack_message, terminal
from bot.runner import Job, Runner
from bot.settings import Limits
from bot.story import Story, story
from bot.transports import STOP_TIMEOUT_S
from bot.transports.local import LocalTransport
from bot.transports.mysql import MySqlTransport
from tests.fakes import AT, MemoryStore, a_capture, a_recipe, accepted
from tests.live.unruly import (
    FLOOD,
    GREETED,
    LOGIN_FLAGS,
    MORE_RESULTS,
    SALT,
    TAGGED,
    WHOLE,
    Manners,
    Peer,
    column,
    eof,
    error,
    handshake,
    ok,
    one,
    polite,
    serving,
    text,
    welcome,
)
from tests.steps import a_run, until

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]

PASSWORD = "correct-horse-battery"  # of no real account
CONNECT_S, STEP_S = 0.8, 1.0
MARGIN_S = 4.0  # by which a slow machine may exceed a limit
LARGEST_ROW_BYTES = 400_000_000  # the same for one row of nearly 16 MiB, whose text takes four bytes a sign
MEMORY_BYTES = 80_000_000  # by which the bot may grow, whatever a server sends
LIMIT_BYTES = 3_000_000
PINGS = "<!channel> <!here|x> <@U123> @channel <https://evil.example|click> \x1b[31mred\x1b]0;title\x07 \x00\u202e\u2066 *b* `c`"


# --- a capture of it, and one beside it -----------------------------------------------------------


class Secrets:
    """Holds one password, whatever is asked for."""

    async def resolve(self, _: SecretRef) -> str:
        return PASSWORD

    def forget(self, ref: SecretRef) -> None:
        """Nothing is kept."""


class NoJump:
    """The server is reached directly."""

    async def connection(self, ssh: Ssh) -> asyncssh.SSHClientConnection:
        raise AssertionError(ssh)


@dataclass(frozen=True, slots=True)
class Came:
    """What came of a capture of a hostile database."""

    told: Story
    text: bytes
    seconds: float
    other_seconds: float  # that a capture of this machine took meanwhile
    grown_bytes: int  # at the most

    @property
    def result(self) -> StepResult:
        """The step's."""
        (result,) = self.told.results
        return result

    @property
    def words(self) -> str:
        """All sentences of the result."""
        return f"{self.result.reason} {self.result.stop_proof}"


def a_step(*texts: str, timeout_s: float = STEP_S, insight: str | None = None) -> Step:
    """A step of statements: s1, s2 and so on."""
    statements = tuple(Statement(name=insight or f"s{number}", both=each) for number, each in enumerate(texts, 1))
    action = Sql(statements=statements, arguments={}, row_limit=10**8)
    return Step(id="sql", title="SQL", action=action, timeout_s=timeout_s, limit_bytes=LIMIT_BYTES, insight=insight)


async def capture(
    target: Target, step: Step, name: str, *, stop_when: Callable[[], bool] | None = None
) -> tuple[Story, bytes, float]:
    """A whole capture, with an engine of its own; somebody presses Stop once *stop_when*."""
    store, events = MemoryStore(), list[Event]()
    taken = a_capture(name, targets=(target.name,), steps=(StepHead(id=step.id, title=step.title),))
    events.append(accepted(taken))

    async def emit(event: Event) -> None:
        events.append(event)

    runner = Runner(
        transports={
            "mysql": MySqlTransport(Secrets(), NoJump(), connect_s=CONNECT_S),
            "local": LocalTransport(),
        },
        store=store,
        insights={"processlist": processlist},
        redactor=lambda _: Redactor(lambda: (), salt=b"x" * 16),
        emit=emit,
        limits=Limits(),
        now=lambda: AT,
    )
    begun = monotonic()
    async with asyncio.TaskGroup() as group:
        group.create_task(runner.run(Job(capture=taken, recipe=a_recipe(), steps=(step,), targets=(target,))))
        if stop_when:
            assert await until(stop_when)
            await runner.stop(taken.id, "Somebody stopped it.")
    assert any(isinstance(event, StepFinished) for event in events)
    told = story(events)
    assert told
    kept = b"".join(content for key, content in store.objects.items() if key.endswith(".txt"))
    return told, kept, monotonic() - begun


async def come_of(manners: Manners, step: Step, *, tls: Tls = Tls.OFF, stop: bool = False) -> tuple[Came, bytes]:
    """Capture a server with such *manners*, and this machine beside it; the second value is all that the server heard.

    With *stop*, somebody presses Stop once the server was asked what the step asks.
    """
    own = psutil.Process()
    async with serving(manners) as server:
        mysql = MySql(host="127.0.0.1", port=server.port, user="cap", password=SecretRef("env:X"), tls=tls)
        sizes = [own.memory_info().rss]
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(_watch(own, sizes))
            beside = group.create_task(capture(Target(name="here", local=True), a_run("echo", "alive"), "beside"))
            asked = (lambda: TAGGED.encode() in server.heard) if stop else None
            told, kept, seconds = await capture(Target(name="orders-db", mysql=mysql), step, "abc234", stop_when=asked)
            watching.cancel()
        other, alive, other_seconds = beside.result()
    assert other.state is State.COMPLETE
    assert alive == b"alive\n"
    return Came(told, kept, seconds, other_seconds, max(sizes) - sizes[0]), bytes(server.heard)


async def _watch(own: psutil.Process, sizes: list[int]) -> None:
    while True:
        sizes.append(own.memory_info().rss)
        await asyncio.sleep(0.01)


def shown(told: Story) -> Iterator[str]:
    """All that people see of a capture: the message and its thread, the note, the terminal."""
    for message in (slack_message.root(told), *slack_message.details(told)):
        kinds = set(
            re.findall(r"'type': '(\w+)'", repr(message.blocks))
        )  # a server's words stand in literal text alone
        assert not kinds & {"mrkdwn", "user", "usergroup", "broadcast", "channel", "emoji"}
        assert not re.search("<[!@#]", message.text)
        yield message.text
    yield pagerduty.render("Q1", [told])
    page = StringIO()
    Console(file=page, width=200).print(terminal.render(told))
    yield page.getvalue()


def check(came: Came, *, within_s: float) -> None:
    """What holds whatever a server does."""
    assert came.seconds < within_s + MARGIN_S
    assert came.other_seconds < min(came.seconds, 0.5) + MARGIN_S  # others are not blocked
    assert came.grown_bytes < MEMORY_BYTES
    assert len(came.text) <= LIMIT_BYTES
    assert len(came.words) < 1500
    assert "Something broke" not in came.words
    assert PASSWORD not in came.words
    for page in shown(came.told):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202e\u2066]", page)


# --- at the door ----------------------------------------------------------------------------------


def greeting(*packets: bytes, then: str = "silence") -> Callable[[Peer], Awaitable[None]]:
    """Say *packets* first, and then nothing, or too much."""

    async def greet(peer: Peer) -> None:
        await peer.raw(*packets)
        await getattr(peer, then)()

    return greet


def admitting(*packets: bytes, first: bytes | None = None, rounds: int = 1) -> Callable[[Peer], Awaitable[None]]:
    """Greet, hear who it is, say *packets*, and hear what the bot answers."""

    async def greet(peer: Peer) -> None:
        await peer.say(first or handshake())
        await peer.hear()
        for _ in range(rounds):
            await peer.say(*packets)
            await peer.hear()
        await peer.silence()

    return greet


async def endless_switches(peer: Peer) -> None:
    """Another way to say the password, again and again."""
    await peer.say(handshake())
    while True:
        await peer.hear()
        await peer.say(b"\xfemysql_native_password\0" + SALT + b"\0")


async def endless_answers(peer: Peer) -> None:
    """Admit, and go on with packets that nobody asked for."""
    await welcome(peer)
    while True:
        peer.number = 1
        await peer.say(*[ok(MORE_RESULTS)] * 1000)


HANGS = r"did not let us in within 1 s — it hangs"
PROMISE_60_KB, PROMISE_16_MB = b"\x60\xea\x00\x00", b"\xfe\xff\xff\x00"


@pytest.mark.parametrize(
    ("greet", "says"),
    [
        (greeting(), HANGS),
        (admitting(), HANGS),
        (greeting(PROMISE_60_KB, then="drip"), HANGS),
        (greeting(PROMISE_16_MB, then="drip"), "more than 64 KiB while we logged in"),
        (greeting(PROMISE_16_MB, then="flood"), "more than 64 KiB while we logged in"),
        (greeting(b"\xff\xff\xff\x00", then="flood"), "more than 64 KiB while we logged in"),
        (greeting(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "is the port right"),
        (greeting(b"\x00\x00\x00\x00"), "does not speak as MySQL does"),
        (greeting(b"\x05\x00\x00\x00\x0a5.7\x00"), "does not speak as MySQL does"),
        (greeting(b"\x01\x00\x00\x07\x0a"), "sequence number wrong"),
        (lambda peer: peer.say(handshake("Ⅳ" * 9000)), "makes no sense"),
        (lambda peer: peer.say(error(1040, PINGS + "x" * 1_000_000)), "more than 64 KiB while we logged in"),
        (lambda peer: peer.say(error(1040, PINGS + "x" * 60_000)), "takes no more connections"),
        (admitting(error(1045, PINGS)), "refused the account cap"),
        (admitting(error(2003, PINGS)), "let us not in"),
        (admitting(b""), "makes no sense"),
        (endless_switches, HANGS),
        (endless_answers, "makes no sense"),
    ],
)  # fmt: skip
async def test_a_server_that_does_not_let_us_in_is_given_up(
    greet: Callable[[Peer], Awaitable[None]], says: str
) -> None:
    """In the time that a login may take, with the address and what it may be."""
    came, _ = await come_of(Manners(greet=greet), a_step("SELECT 1"))

    check(came, within_s=CONNECT_S)
    assert came.result.outcome in {Outcome.FAILED, Outcome.TIMED_OUT}
    assert came.result.reason.startswith("orders-db (127.0.0.1:")
    assert says in came.result.reason
    assert came.text == b""


@pytest.mark.parametrize(
    ("greet", "says"),
    [
        (admitting(b"\xfemysql_clear_password\0"), "by mysql_clear_password without TLS"),
        (admitting(b"\xfemysql_old_password\0" + SALT), "by mysql_old_password without TLS"),
        (admitting(b"\xfe"), "by mysql_old_password without TLS"),
        (admitting(b"\xfe" + SALT[:8]), "by mysql_old_password without TLS"),
        (admitting(b"\xfex\0", first=handshake(flags=LOGIN_FLAGS & ~0x80000)), "by mysql_old_password without TLS"),
        (admitting(first=handshake(plugin="mysql_clear_password")), "by mysql_clear_password"),
        (admitting(b"\x01\x04", first=handshake(plugin="caching_sha2_password")), "under a key that it sends"),
        (admitting(b"\x01key", first=handshake(plugin="sha256_password")), "under a key that it sends"),
        (admitting(b"\xfesha256_password\0" + SALT + b"\0"), "under a key that it sends"),
        (admitting(b"\xfedialog\0Password: "), "not configured"),
    ],
)  # fmt: skip
async def test_no_server_gets_the_password_in_a_form_that_it_can_read(
    greet: Callable[[Peer], Awaitable[None]], says: str
) -> None:
    """Without TLS anybody in between can ask for that: what is sent at most is a hash with the server's salt."""
    came, heard = await come_of(Manners(greet=greet), a_step("SELECT 1"))

    check(came, within_s=CONNECT_S)
    assert says in came.result.reason
    assert "set the target's tls to verify" in came.result.reason
    assert PASSWORD.encode() not in heard
    assert heard.count(b"mysql_native_password\0") + heard.count(b"sha") <= 1  # it answered once, and no switch


@pytest.mark.parametrize("tls", [Tls.REQUIRED, Tls.VERIFY])
async def test_a_server_that_takes_tls_away_hears_nothing(tls: Tls) -> None:
    """Not even the account's name."""
    came, heard = await come_of(Manners(), a_step("SELECT 1"), tls=tls)

    check(came, within_s=CONNECT_S)
    assert "the server offers no TLS; no user and no password was sent to it" in came.result.reason
    assert heard == b""


async def test_a_server_that_offers_tls_and_stalls_in_it_is_given_up() -> None:
    """It says that it can, and never answers."""
    greet = greeting(struct.pack("<I", len(handshake())) + handshake(flags=LOGIN_FLAGS | 0x800))

    came, _ = await come_of(Manners(greet=greet), a_step("SELECT 1"), tls=Tls.REQUIRED)

    check(came, within_s=CONNECT_S)
    assert HANGS in came.result.reason


# --- what it says of itself -----------------------------------------------------------------------


def claiming(*row: str | None) -> Callable[[Peer, str], Awaitable[None]]:
    """Answer who it is with *row*."""

    async def settle(peer: Peer, asked: str) -> None:
        if asked.startswith(GREETED):
            await peer.table([str(number) for number in range(len(row))], row)
        else:
            await polite(peer, asked)

    return settle


@pytest.mark.parametrize("version", ["9" * 5000, PINGS, "", "٣.٤", "MariaDB 99999999999.1", "8.0.\n### fake at=x"])
async def test_a_server_that_lies_about_its_version_is_asked_all_the_same(version: str) -> None:
    """What it says is read as numbers or not at all."""
    came, _ = await come_of(Manners(settle=claiming(version, PINGS, "42", f"{PINGS}@%", "0")), a_step("SELECT 1"))

    check(came, within_s=STEP_S)
    assert came.result.outcome is Outcome.OK
    assert re.match(rb"### s1 at=\S+ server=(mariadb|mysql)-[\d.]{1,14}\none\n1\n-- 1 row in", came.text)


@pytest.mark.parametrize("row", [("8.4.3",), ("8.4.3", "", "1; KILL 5", "cap@%", "1"), ("8", "", None, None, None), ()])
async def test_a_server_that_does_not_say_who_it_is_is_told_so(row: tuple[str | None, ...]) -> None:
    """Too few columns, or a connection's number that is none."""
    came, _ = await come_of(Manners(settle=claiming(*row)), a_step("SELECT 1"))

    check(came, within_s=CONNECT_S)
    assert "does not speak as MySQL does" in came.result.reason


async def test_a_session_that_begins_with_endless_rows_is_given_up() -> None:
    """What is asked of it there is held whole, so it is bounded."""

    async def settle(peer: Peer, _: str) -> None:
        await peer.say(b"\x01", column("v"), eof())
        while True:
            await peer.say(*[text("8.4.3" * 40)] * 500)

    came, _ = await come_of(Manners(settle=lambda peer, asked: (settle if "VERSION" in asked else polite)(peer, asked)), a_step("SELECT 1"))  # fmt: skip

    check(came, within_s=CONNECT_S)
    assert "has no end" in came.result.reason


# --- what it answers ------------------------------------------------------------------------------


def answering(*packets: bytes, then: str = "") -> Callable[[Peer, str], Awaitable[None]]:
    """Say *packets*, each with a right head, and then hear what is asked next, or be silent."""

    async def answer(peer: Peer, _: str) -> None:
        await peer.say(*packets)
        if then:
            await getattr(peer, then)()

    return answer


async def leaves(peer: Peer, _: str) -> None:
    """Go in the middle of a row."""
    await peer.say(b"\x01", column("a"), eof(), text("first"))
    await peer.raw(peer.head(1000) + b"half")
    raise EOFError


async def endless_columns(peer: Peer, _: str) -> None:
    """2^32 columns, and one after the other."""
    await peer.say(b"\xfe" + struct.pack("<Q", 2**32))
    while True:
        await peer.say(*[column("c")] * 500)


async def endless_row(peer: Peer, _: str) -> None:
    """One row of as many packets of 16 MiB as anybody takes."""
    await peer.say(b"\x01", column("a"), eof())
    while True:
        await peer.raw(peer.head(0xFFFFFF), *[FLOOD] * 255, FLOOD[1:])


async def endless_results(peer: Peer, _: str) -> None:
    """One answer, and that another one follows: whoever asks on gets rows without end."""
    await peer.say(b"\x01", column("a"), eof(), text("1"), eof(2 | MORE_RESULTS))
    await peer.say(b"\x01", column("a"), eof())
    while True:
        await peer.say(*[text("x" * 200)] * 500)


async def wrong_number(peer: Peer, _: str) -> None:
    """A packet that stands elsewhere in the order."""
    peer.number += 5
    await peer.say(b"\x01", column("a"), eof(), eof())


async def promise(peer: Peer, _: str) -> None:
    """Nearly 16 MiB, a byte at a time."""
    await peer.say(b"\x01", column("a"), eof())
    await peer.raw(peer.head(0xFFFF00))
    await peer.drip()


HEAD = (b"\x01", column("a"), eof())


@pytest.mark.parametrize(
    ("answer", "outcome", "says"),
    [
        (endless_columns, Outcome.FAILED, "more than 512 KiB before the first row"),
        (endless_row, Outcome.FAILED, "a row is larger than 16 MiB"),
        (endless_results, Outcome.FAILED, "another answer follows, which nobody asked for"),
        (wrong_number, Outcome.FAILED, "sequence number wrong"),
        (leaves, Outcome.LOST, "dropped the connection during s1, after 1 row"),
        (answering(error(1227, PINGS + "x" * 300_000)), Outcome.FAILED, "statements failed: s1: ERROR 1227: <!channel>"),
        (answering(error(1227, "x" * 1_000_000)), Outcome.FAILED, "more than 512 KiB"),
        (answering(error(1142, "SUPER command denied to user 'x' for table `y`")), Outcome.FAILED, "SUPER command denied"),
        (answering(b"\xfb/etc/passwd"), Outcome.FAILED, "asked for a file of this machine, and was sent none"),
        (answering(b"\xfc"), Outcome.FAILED, "makes no sense"),
        (answering(b"\x01", b"\xfb" * 40), Outcome.FAILED, "makes no sense"),
        (answering(*HEAD, b"\xfe" + b"\xff" * 8), Outcome.FAILED, "makes no sense"),
        (answering(b"\x02", column("a"), column("b"), eof(), text("1")), Outcome.FAILED, "a row has 1 of 2 columns"),
    ],
)  # fmt: skip
async def test_an_answer_that_is_none_is_one_failed_statement(
    answer: Callable[[Peer, str], Awaitable[None]], outcome: Outcome, says: str
) -> None:
    """Told in a sentence, and the step ends at once."""
    came, heard = await come_of(Manners(answer=answer), a_step("SELECT 1", "SELECT 2"))

    check(came, within_s=STEP_S + CONNECT_S)
    assert came.result.outcome is outcome
    assert says in came.words
    assert "root:" not in heard.decode("latin-1")  # no file of this machine
    assert "GRANT SUPER" not in came.words  # no server gets more rights by asking


@pytest.mark.parametrize(
    "answer",
    [
        answering(then="silence"),
        answering(*HEAD, then="silence"),
        answering(b"\x00\x01", then="silence"),
        answering(b"\x01", column("a"), then="silence"),
        promise,
    ],
)
async def test_an_answer_that_does_not_come_is_stopped_by_whoever_asks(
    answer: Callable[[Peer, str], Awaitable[None]],
) -> None:
    """At once, and the thread on the server is looked for."""
    came, _ = await come_of(Manners(answer=answer), a_step("SELECT 1", timeout_s=60), stop=True)

    check(came, within_s=CONNECT_S)
    assert came.result.outcome is Outcome.STOPPED
    assert came.result.stop_proof == "thread 42 of orders-db was gone"


async def test_endless_rows_are_cut_where_the_step_ends() -> None:
    """Its bytes are bounded, and so is what is held."""

    async def answer(peer: Peer, _: str) -> None:
        await peer.say(*HEAD)
        while True:
            await peer.say(*[text(PINGS)] * 500)

    came, _ = await come_of(Manners(answer=answer), a_step("SELECT 1", timeout_s=20))

    check(came, within_s=20)
    assert came.result.cut
    assert "first part is kept" in came.result.reason


async def test_the_largest_row_that_may_come_is_held() -> None:
    """Just below 16 MiB, of signs that take the most room once they are text."""
    answer = answering(*HEAD, text("x\U0001f511\t" * 2_700_000), eof())

    came, _ = await come_of(Manners(answer=answer), a_step("SELECT 1", timeout_s=10))

    assert came.result.cut
    assert came.grown_bytes < LARGEST_ROW_BYTES


async def test_a_number_that_is_none_is_text_for_a_later_statement() -> None:
    """What was found stands in the next statement quoted, whatever it is."""
    evil = "1 OR 1=1; DROP TABLE x"

    async def answer(peer: Peer, asked: str) -> None:
        if "looked" in asked:
            await one(peer, asked)
        else:
            await peer.say(b"\x01", column("id", WHOLE), eof(), text(evil), eof())

    came, heard = await come_of(Manners(answer=answer), a_step("SELECT 1", "SELECT %(s1.id)s looked"))

    check(came, within_s=STEP_S)
    assert came.result.outcome is Outcome.OK
    assert f"SELECT '{evil}' looked".encode() in heard


async def test_a_server_that_answers_neither_ends_with_the_times_for_both() -> None:
    """A step's own with its grace where nobody stops it, and that of stopping, which says that there is no proof."""

    async def settle(peer: Peer, asked: str) -> None:
        await (peer.silence() if "processlist" in asked else polite(peer, asked))

    unproved = Manners(settle=settle, answer=answering(*HEAD, then="silence"))
    async with asyncio.TaskGroup() as group:
        stopping = group.create_task(come_of(unproved, a_step("SELECT 1", timeout_s=60), stop=True))
        waiting = group.create_task(come_of(Manners(answer=promise), a_step("SELECT 1", timeout_s=0.3)))
    stopped, _ = stopping.result()
    late, _ = waiting.result()

    check(stopped, within_s=STOP_TIMEOUT_S)
    assert "could not be proved that s1 ended on orders-db (no answer)" in stopped.result.stop_proof
    check(late, within_s=0.3 + GRACE_S)
    assert late.result.outcome is Outcome.TIMED_OUT
    assert late.result.stop_proof == "thread 42 of orders-db was gone"


async def test_packets_with_any_bytes_changed_never_break_the_bot() -> None:
    """Each is a failed step with a sentence, or a good one."""
    draw = random.Random(7)  # the same ones each time
    good = (handshake(), ok(), b"\x01", column("a"), eof(), text("value"), eof())

    def spoilt(packet: bytes) -> bytes:
        cut = packet[: draw.randint(0, len(packet))] if draw.random() < 0.3 else packet
        return bytes(draw.randrange(256) if draw.random() < 0.15 else byte for byte in cut)

    async def greet(peer: Peer) -> None:
        await peer.say(spoilt(handshake()) if draw.random() < 0.5 else handshake())
        await peer.hear()
        await peer.say(spoilt(ok()) if draw.random() < 0.5 else ok())

    async def answer(peer: Peer, _: str) -> None:
        await peer.say(*(spoilt(packet) for packet in good[2:]))
        raise EOFError

    async def settle(peer: Peer, asked: str) -> None:
        if draw.random() < 0.1:
            await peer.say(*(spoilt(packet) for packet in good[2:]))
            raise EOFError
        await polite(peer, asked)

    async with serving(Manners(greet=greet, settle=settle, answer=answer)) as server:
        mysql = MySql(host="127.0.0.1", port=server.port, user="cap", password=SecretRef("env:X"), tls=Tls.OFF)
        for number in range(150):
            told, kept, _ = await capture(
                Target(name="orders-db", mysql=mysql), a_step("SELECT 1", timeout_s=0.5), f"abc{number}"
            )
            (result,) = told.results
            assert "Something broke" not in result.reason
            assert result.reason or kept


# --- what it says to people -----------------------------------------------------------------------


async def test_words_with_a_meaning_in_a_process_list_are_only_words() -> None:
    """Users, hosts, statements and columns called like markup: nothing pings, and nothing raw reaches the thread, the note or the terminal."""
    names = ("id", "user", "host", "db", "command", "time_s", "state", "statement", PINGS)
    row = ("7", PINGS, f"{PINGS}:123", PINGS, "Query", "5000", PINGS, f"SELECT {PINGS}", PINGS)

    async def answer(peer: Peer, _: str) -> None:
        await peer.table(names, row, ("8", *row[1:5], "4000", *row[6:]))

    came, _ = await come_of(Manners(answer=answer), a_step("SELECT 1", insight="processlist"))

    check(came, within_s=STEP_S)
    assert came.told.state is State.COMPLETE
    assert "has been running" in came.told.headline
    assert PINGS.encode() in came.text  # the evidence itself is as it came

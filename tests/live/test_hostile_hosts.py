"""Hosts that mean no good: whatever they say, or do not say, one step pays for it, in bounded time and memory, and tells why."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

import asyncssh
import psutil
import pytest

from bot.errors import StepFailed
from bot.model import Event, File, Outcome, Script, State, Step, StepFinished, StepHead, StepResult, Target
from bot.redact import Redactor
from bot.reporters import slack_message
from bot.runner import Job, Runner
from bot.settings import Limits
from bot.story import story
from bot.transports import Transport
from bot.transports.local import LocalTransport
from bot.transports.ssh import SshTransport
from tests.fakes import AT, MemoryStore, a_capture, a_recipe, accepted
from tests.live.relay import path_to
from tests.live.test_ssh import Bench, bench, hostile, pooled
from tests.steps import Files, a_run, keep, start

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]

Process = asyncssh.SSHServerProcess[bytes]
Play = Callable[[Process, bytes], Awaitable[None]]
HERE = Target(name="here", local=True)
PINGS = b"<!channel> <!here|x> <@U123> @channel *bold* `code` \x1b[31mred\x1b]0;title\x07 \xff\xfe\x00\xe2\x80\xae"
MEMORY_BYTES = 60_000_000  # by which the bot may grow, whatever a host sends
LIMIT_BYTES = 3_000_000


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Bench]:
    """A real sshd."""
    async with bench(tmp_path / "sshd") as made:
        yield made


# --- one step through the whole engine --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Came:
    """What came of a step on a hostile host, and of one on this machine that began with it."""

    result: StepResult
    text: bytes
    file: bytes
    seconds: float
    other_seconds: float
    grown_bytes: int
    said: Sequence[slack_message.Message]

    @property
    def told(self) -> str:
        """All sentences of the result."""
        return f"{self.result.reason} {self.result.stop_proof} {self.result.remark}"


async def come_of(transport: Transport, target: Target, step: Step, *, stop_after_s: float | None = None) -> Came:
    """Run *step* there, and beside it one here; the bot may grow only so far."""
    store, capture = MemoryStore(), a_capture(targets=(target.name,), steps=(StepHead(id=step.id, title=step.title),))
    events: list[Event] = [accepted(capture)]
    own = psutil.Process()

    async def emit(event: Event) -> None:
        events.append(event)

    runner = Runner(
        transports={"ssh": transport},
        store=store,
        insights={},
        redactor=lambda _: Redactor(lambda: (), salt=b"x" * 16),
        emit=emit,
        limits=Limits(),
        now=lambda: AT,
    )
    begun, before = monotonic(), own.memory_info().rss
    async with asyncio.TaskGroup() as group:
        job = Job(capture=capture, recipe=a_recipe(), steps=(step,), targets=(target,))
        running = group.create_task(runner.run(job))
        other = group.create_task(_timed(keep(await start(LocalTransport(), HERE, a_run("echo", "alive")))))
        if stop_after_s is not None:
            await asyncio.sleep(stop_after_s)
            await runner.stop(capture.id, "Somebody stopped it.")
    assert running.result() in set(State)
    (result,) = [event.result for event in events if isinstance(event, StepFinished)]
    told = story(events)
    assert told is not None
    kept = {key: content for key, content in store.objects.items() if not key.endswith("manifest.json")}
    return Came(
        result=result,
        text=b"".join(content for key, content in kept.items() if key.endswith(".txt")),
        file=b"".join(content for key, content in kept.items() if not key.endswith(".txt")),
        seconds=monotonic() - begun,
        other_seconds=other.result(),
        grown_bytes=own.memory_info().rss - before,
        said=(slack_message.root(told), *slack_message.details(told)),
    )


async def _timed(work: Awaitable[object]) -> float:
    begun = monotonic()
    await work
    return monotonic() - begun


def a_step(*, timeout_s: float = 2.0, leaves_file: bool = False) -> Step:
    """A step that a host plays with."""
    script = Script(name="probe.sh", text="true")
    action = File(script=script, name="core", type="application/x", limit_bytes=LIMIT_BYTES) if leaves_file else script
    return Step(id="ps", title="Processes", action=action, timeout_s=timeout_s, limit_bytes=LIMIT_BYTES)


@asynccontextmanager
async def playing(folder: Path, play: Play) -> AsyncIterator[tuple[SshTransport, Target]]:
    """A host that begins each step as it should, for which it reads the token, and then plays."""

    async def behave(process: Process) -> None:
        try:
            program = await process.stdin.read()
            token = re.search(rb"say=(\w+)", program)
            assert token
            if b"timeout -s INT" not in program:  # it is asked to end a step, and says nothing
                process.exit(0)
                return
            process.stderr.write(token[1] + b" group 4242 4242\n")
            await play(process, token[1])
        except (OSError, asyncssh.Error):
            pass

    async with hostile(folder, behave) as made:
        yield made


def check(came: Came) -> None:
    """What holds whatever a host does."""
    assert came.grown_bytes < MEMORY_BYTES
    assert came.other_seconds < 5  # others are not blocked
    assert len(came.text) <= LIMIT_BYTES
    assert len(came.file) <= LIMIT_BYTES
    assert len(came.told) < 3000
    for message in came.said:
        assert not re.search("<[!@#]", message.text)
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202e]", message.text)
        kinds = set(re.findall(r"'type': '(\w+)'", repr(message.blocks)))  # a host's words stand in literal text alone
        assert not kinds & {"mrkdwn", "user", "usergroup", "broadcast", "channel", "emoji"}


# --- what is said -----------------------------------------------------------------------------


async def endless_line(process: Process, _token: bytes) -> None:
    """No end of a line for as long as anybody listens."""
    while True:
        process.stdout.write(b"x" * 65536)
        await process.stdout.drain()


async def endless_lines(process: Process, _token: bytes) -> None:
    """Short lines without end, of all that a terminal, a parser or Slack may take for more than text."""
    while True:
        process.stdout.write((PINGS + b"\n### fake at=2026-11-23T00:00:00+00:00\n") * 500)
        await process.stdout.drain()


async def endless_remarks(process: Process, token: bytes) -> None:
    """The wrapper's own remarks, with words that are none."""
    while True:
        flood = b"".join(
            token + b" " + word + b"\n"
            for word in (
                b"swept 99999999999999999999 5 " + PINGS.replace(b"\n", b""),
                b"reaped <!channel>-0f 1 INT 2",
                b"unreaped <@U123>-0f 1 2 3",
                b"stays " + PINGS,
                b"target 1 T again",
                b"file x y z",
            )
        )
        process.stderr.write(flood * 100)
        await process.stderr.drain()


async def endless_remark(process: Process, token: bytes) -> None:
    """One remark without an end."""
    process.stderr.write(token + b" swept ")
    while True:
        process.stderr.write(b"9" * 65536)
        await process.stderr.drain()


async def markup_as_reason(process: Process, _token: bytes) -> None:
    """Its last words are for Slack."""
    process.stdout.write(PINGS)
    process.stderr.write(PINGS + b"\n")
    process.exit(3)


@pytest.mark.parametrize(
    ("play", "outcome", "stop_after_s"),
    [
        (endless_line, Outcome.OK, None),
        (endless_lines, Outcome.OK, None),
        (endless_remarks, Outcome.STOPPED, 0.7),
        (endless_remark, Outcome.TIMED_OUT, None),
        (markup_as_reason, Outcome.FAILED, None),
    ],
)
async def test_words_without_end_or_with_a_meaning_are_bounded_text(
    play: Play, outcome: Outcome, stop_after_s: float | None, tmp_path: Path
) -> None:
    """They are cut at the step's limit, or the step is ended, and nothing of them does anything."""
    async with playing(tmp_path, play) as (transport, target):
        came = await come_of(transport, target, a_step(timeout_s=0.5), stop_after_s=stop_after_s)

    check(came)
    assert came.result.outcome is outcome
    assert came.told.strip()


async def test_a_slow_drip_is_ended_and_what_dripped_is_kept(tmp_path: Path) -> None:
    """A byte now and then is no sign of an end; a stop is heard at once."""

    async def drip(process: Process, _token: bytes) -> None:
        while True:
            process.stdout.write(b".")
            await process.stdout.drain()
            await asyncio.sleep(0.05)

    async with playing(tmp_path, drip) as (transport, target):
        came = await come_of(transport, target, a_step(timeout_s=60), stop_after_s=0.5)

    check(came)
    assert came.result.outcome is Outcome.STOPPED
    assert came.text.strip(b".") == b""
    assert came.text
    assert "could not be proved: db1 gave no answer." in came.result.stop_proof


@pytest.mark.parametrize("size", [b"1000000000000", b"999999999999999999", b"-1", b"12x", b"5" * 4000])
async def test_a_promise_of_terabytes_is_only_a_promise(size: bytes, tmp_path: Path) -> None:
    """What is kept is bounded by the step, whatever was announced."""

    async def promise(process: Process, token: bytes) -> None:
        process.stderr.write(token + b" file 0 " + size + b" 1 1\n")
        process.stdout.write(b" report\n\n\n=")
        while True:
            process.stdout.write(b"\0" * 65536)
            await process.stdout.drain()

    async with playing(tmp_path, promise) as (transport, target):
        came = await come_of(transport, target, a_step(leaves_file=True), stop_after_s=1.0)

    check(came)
    assert came.text.startswith(b"report\n")
    assert came.told.strip()


async def test_an_exit_without_a_status_is_no_success(tmp_path: Path) -> None:
    """The channel closes, and nobody said how the program ended."""

    async def leave(process: Process, _token: bytes) -> None:
        process.stdout.write(b"half of it\n")
        await process.stdout.drain()
        process.channel.close()

    async with playing(tmp_path, leave) as (transport, target):
        came = await come_of(transport, target, a_step())

    check(came)
    assert came.result.outcome is Outcome.LOST
    assert came.text.startswith(b"half of it\n")
    assert "was lost while probe.sh ran; what had come is kept." in came.result.reason


# --- what is not said -------------------------------------------------------------------------


@asynccontextmanager
async def silent_after(greeting: bytes) -> AsyncIterator[int]:
    """A port where somebody says so much and then nothing."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        while await reader.read(65536):
            pass
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0, family=socket.AF_INET)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def refusal(transport: SshTransport, target: Target) -> tuple[str, float, float]:
    """Why a step cannot be started, how long that took, and how long a step here took meanwhile."""
    begun = monotonic()
    async with asyncio.TaskGroup() as group:
        other = group.create_task(_timed(keep(await start(LocalTransport(), HERE, a_run("echo", "alive")))))
        with pytest.raises(StepFailed) as failed:
            await start(transport, target, a_run("true"))
    return failed.value.reason, monotonic() - begun, other.result()


@pytest.mark.parametrize(
    "greeting",
    [b"", b"SSH-2.0-Slow\r\n", b"220 mail.example ESMTP\r\n", b"x" * 300, b"SSH-2.0-Long\r\n" + b"\xff" * 65536],
    ids=["banner", "key exchange", "another protocol", "an endless banner", "garbage"],
)
async def test_a_server_that_stalls_before_the_login_is_given_up(host: Bench, greeting: bytes) -> None:
    """In the time that a login may take, with the address and what it may be."""
    async with silent_after(greeting) as port, pooled(connect_timeout_s=0.8, place_timeout_s=8) as pool:
        target = Target(name="db1", ssh=replace(host.server.ssh, port=port))
        reason, seconds, other = await refusal(SshTransport(Files(), pool), target)

    assert f"127.0.0.1:{port}" in reason
    assert seconds < 10
    assert other < 3


async def test_a_server_that_stalls_in_the_login_is_given_up(tmp_path: Path) -> None:
    """It takes the key and never says whether it will do."""

    class Ponderous(asyncssh.SSHServer):
        async def begin_auth(self, username: str) -> bool:
            del username
            await asyncio.sleep(60)
            return True

    async def nothing(process: Process) -> None:
        process.exit(0)

    async with (
        hostile(tmp_path, nothing, server_factory=Ponderous) as (_, target),
        pooled(connect_timeout_s=0.8) as pool,
    ):
        reason, seconds, other = await refusal(SshTransport(Files(), pool), target)

    assert "did not let us in within 0.8 s" in reason
    assert seconds < 5
    assert other < 3


async def test_a_connection_that_stalls_before_a_session_is_given_up(host: Bench, tmp_path: Path) -> None:
    """Logged in, and then nothing more comes through."""
    async with path_to(host.server.port) as path, pooled(place_timeout_s=1.0) as pool:
        known_hosts = tmp_path / "known_hosts"
        known_hosts.write_text(host.server.known_hosts.read_text().replace(f"{host.server.port}", f"{path.port}"))
        target = Target(name="db1", ssh=replace(host.server.ssh, port=path.port, known_hosts=known_hosts))
        assert target.ssh
        await pool.connection(target.ssh)
        path.cut()
        reason, seconds, other = await refusal(SshTransport(Files(), pool), target)

    assert "lets us in but gave no session within 1 s" in reason
    assert seconds < 5
    assert other < 3


async def test_a_session_that_never_begins_its_step_is_given_up(tmp_path: Path) -> None:
    """It reads the program and says nothing; `hostile` gives it a second."""

    async def listen(process: Process) -> None:
        await process.stdin.read()
        await asyncio.sleep(60)

    async with hostile(tmp_path, listen) as (transport, target):
        reason, seconds, other = await refusal(transport, target)

    assert "db1 let us in but did not start the step within 1 s" in reason
    assert seconds < 25
    assert other < 3

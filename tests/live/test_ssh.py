from __future__ import annotations

import asyncio
import os
import signal
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

import asyncssh
import psutil
import pytest

from bot.errors import StepFailed, UserError
from bot.model import Log, Outcome, SecretRef, Ssh, Target
from bot.playground.sshd import PrivateSshd, private_sshd
from bot.transports import STOP_TIMEOUT_S, Execution
from bot.transports.execution import Patience, ShellExecution
from bot.transports.pipe import BUFFER_BYTES, STDERR_BYTES
from bot.transports.ssh import SshTransport
from bot.transports.sshpool import WINDOW_BYTES, SshPool
from tests.steps import (
    Files,
    Kept,
    a_run,
    a_script,
    a_step,
    first_line,
    gone,
    keep,
    keep_rest,
    lives,
    next_bytes,
    start,
    until,
)

pytestmark = pytest.mark.live

GRACE_S = 0.2
STRAYS = "sleep 60 & child=$!; setsid sleep 60 & echo $! $child $$; "


@dataclass(frozen=True, slots=True)
class Bench:
    """A real host and a transport that reaches it."""

    server: PrivateSshd
    pool: SshPool
    ssh: SshTransport
    target: Target

    async def keep(self, step: object) -> Kept:
        return await keep(await start(self.ssh, self.target, step))  # type: ignore[arg-type]  # a step


@asynccontextmanager
async def bench(folder: Path, **server_arguments: object) -> AsyncIterator[Bench]:
    """A private server with a transport that reaches it."""
    try:
        async with private_sshd(folder, **server_arguments) as server, pooled() as pool:  # type: ignore[arg-type]  # passed on
            ssh = SshTransport(Files(), pool, patience=Patience(grace_s=GRACE_S))
            yield Bench(server, pool, ssh, Target(name="db1", ssh=server.ssh))
    except UserError as error:
        (pytest.fail if "CI" in os.environ else pytest.skip)(str(error))


@asynccontextmanager
async def pooled(**arguments: float) -> AsyncIterator[SshPool]:
    """A pool that is closed at the end."""
    pool = SshPool(Files(), **arguments)
    try:
        yield pool
    finally:
        await pool.close()


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Bench]:
    """A server as Debian's are."""
    async with bench(tmp_path / "sshd") as made:
        yield made


def sessions(server: PrivateSshd) -> list[psutil.Process]:
    """The processes of sshd that serve connections, outermost first."""
    return [child for child in psutil.Process(server.pid).children(recursive=True) if "sshd" in child.name()]


async def refusal(ssh: Ssh, **pool_arguments: float) -> StepFailed:
    """Why a connection cannot be had."""
    async with pooled(**pool_arguments) as pool:
        with pytest.raises(StepFailed) as failed:
            await pool.connection(ssh)
        return failed.value


# --- running ----------------------------------------------------------------------------------


async def test_a_program_runs_as_it_is_written(host: Bench) -> None:
    """Its output, its complaints, its status; nothing in its arguments is read by any shell on the way."""
    tricks = ["; id", "$(id)", "`id`", "a\nb", "'", '"', "\\", "", "~", "*", "ü€😀", "!!", "%s"]
    execution = await start(host.ssh, host.target, a_run("printf", "%s\\0", *tricks))

    kept = await keep(execution)

    assert kept.failure is None
    assert kept.output.decode().split("\0")[:-1] == tricks
    assert execution.exit_status == 0
    assert await execution.stop() == ""


async def test_a_script_gets_its_parameters_as_text(host: Bench) -> None:
    """Whole, even when it is long, with nothing to read on its input."""
    value = "; touch /tmp/x $(id) `id`\n'\"\\ ü"
    script = "# " + "x" * 250_000 + "\ncat; printf '%s' \"$PARAM_VALUE\""

    kept = await host.keep(a_script(script, PARAM_VALUE=value))

    assert kept.output.decode() == value


async def test_a_bad_end_keeps_what_came_and_says_why(host: Bench) -> None:
    """The reason is the program's own last line."""
    kept = await host.keep(a_script("echo result; echo first >&2; echo broken pump >&2; exit 3"))

    assert kept.output.startswith(b"result\n### stderr at=")
    assert kept.output.endswith(b"first\nbroken pump\n")
    assert kept.reason == "probe.sh ended with status 3 on db1: broken pump"


async def test_what_the_host_lacks_skips_the_step(host: Bench) -> None:
    """It is found out before anything runs."""
    with pytest.raises(StepFailed) as failed:
        await start(host.ssh, host.target, a_run("true", needs=("nosuch-tool",)))

    assert failed.value.outcome is Outcome.SKIPPED
    assert failed.value.reason == "nosuch-tool is not installed on db1."


async def test_twelve_steps_share_one_connection(host: Bench) -> None:
    """More than a connection has places for; all of them run, on one login."""
    kept = await asyncio.gather(*(host.keep(a_script(f"sleep 0.1; echo {n}")) for n in range(12)))

    assert [one.output for one in kept] == [f"{n}\n".encode() for n in range(12)]
    logins = (host.server.key.parent / "sshd.log").read_text().count("Accepted publickey")
    assert logins == 1


async def test_a_log_arrives_whole(host: Bench, tmp_path: Path) -> None:
    """Byte for byte, also where it is larger than every buffer on the way."""
    content = os.urandom(24 * 1024 * 1024)
    (tmp_path / "log").write_bytes(content)

    kept = await host.keep(a_step(Log(path=str(tmp_path / "log"), last_bytes=None)))

    assert kept.failure is None
    assert kept.output == content


async def test_doctor_sees_what_a_step_would(host: Bench) -> None:
    """Reached, verified, logged in, nothing missing."""
    lines = await host.ssh.check(host.target)

    assert [line.partition(":")[0] for line in lines[:3]] == ["ok"] * 3
    assert f"runs commands as {host.server.user}" in lines[1]


# --- ending -----------------------------------------------------------------------------------


async def test_a_stopped_step_is_gone_from_the_host(host: Bench) -> None:
    """Its group, and what had left the group, seen from outside."""
    execution = await start(host.ssh, host.target, a_script(STRAYS + "sleep 60", timeout_s=60))
    output = execution.output()
    pids = [*map(int, (await first_line(output)).split())]
    running = all(map(lives, pids))

    proof = await execution.stop()

    assert running
    assert proof.startswith("process group ")
    assert " gone" in proof
    assert not any(map(lives, pids))
    kept = await keep_rest(output)
    assert kept.failure
    assert kept.failure.outcome is Outcome.STOPPED
    assert await execution.stop() == proof


async def test_a_step_that_is_stopped_while_it_starts_is_ended(host: Bench) -> None:
    """Whenever that is: what the host was sent would else begin once nobody looks for it any more."""
    await (await start(host.ssh, host.target, a_script("true"))).stop()  # there is a connection
    for number in range(24):
        execution = None
        with suppress(TimeoutError):
            async with asyncio.timeout(number * 0.01):
                step = a_script(f"sleep 61.{number:02}", timeout_s=60)
                # Another capture each: at its first contact it looks for leftovers, long enough to be stopped meanwhile.
                execution = await host.ssh.start(host.target, step, capture_id=f"c{number}")
        if execution:
            await execution.stop()

    assert execution  # the last one had begun, so the others were stopped before, in, and after it
    asleep = [one.info["cmdline"] for one in psutil.process_iter(["cmdline"])]
    assert [words for words in asleep if words and words[-1].startswith("61.")] == []


async def test_a_stubborn_step_is_killed(host: Bench) -> None:
    """One that ignores INT and TERM ends by KILL, within the time that stopping may take."""
    script = 'trap "" INT TERM; echo $$; while :; do sleep 1; done'
    execution = await start(host.ssh, host.target, a_script(script, timeout_s=60))
    pid = int(await first_line(execution.output()))
    begun = monotonic()

    proof = await execution.stop()

    # On a busy host its own `timeout` may send the KILL first, while we still wait for what TERM does.
    assert proof.endswith((" gone after KILL", " gone after TERM"))
    assert not lives(pid)
    assert monotonic() - begun < STOP_TIMEOUT_S


async def test_the_hosts_own_limit_leaves_nothing_running(host: Bench) -> None:
    """Not even what ignores INT, as everything does that a script puts in the background."""
    kept = await host.keep(a_script("echo before; sleep 60 & echo $! $$; sleep 60", timeout_s=0.3))

    assert kept.failure
    assert kept.failure.outcome is Outcome.TIMED_OUT
    assert kept.reason == "probe.sh was ended on db1 by its time limit of 0.3 s; what had come is kept."
    assert await gone(*map(int, kept.output.split()[1:]))


async def test_a_bot_that_dies_leaves_nothing_running(host: Bench) -> None:
    """Its connection goes without a word, and the host's own limit ends the step."""
    execution = await start(host.ssh, host.target, a_script("echo $$; sleep 60", timeout_s=1))
    pid = int(await first_line(execution.output()))

    (await host.pool.connection(host.server.ssh)).abort()

    assert lives(pid)
    assert await gone(pid)


async def test_children_do_not_outlive_the_step_that_started_them(host: Bench) -> None:
    """A step ends with its program, not with what that left in the background."""
    kept = await host.keep(a_script("sleep 60 & echo $!"))

    assert kept.failure is None
    assert await gone(int(kept.output))


def holds_back(execution: Execution) -> bool:
    """The buffers on this side are full, and the host was told so."""
    assert isinstance(execution, ShellExecution)
    return execution._pipe.is_paused


async def test_a_step_that_nobody_reads_holds_little_memory_and_can_be_stopped(host: Bench) -> None:
    """An endless line fills the buffers and then waits on the host."""
    execution = await start(host.ssh, host.target, a_run("cat", "/dev/zero", timeout_s=60))
    assert await until(lambda: holds_back(execution))

    proof = await execution.stop()
    kept = await keep(execution)

    assert proof.endswith(" gone")
    assert len(kept.output) <= BUFFER_BYTES + WINDOW_BYTES + 64 * 1024


async def test_a_step_that_is_read_slowly_holds_little_memory(host: Bench) -> None:
    """However often the reader comes back, the host sends no more than the buffers take."""
    execution = await start(host.ssh, host.target, a_run("cat", "/dev/zero", timeout_s=60))
    output = execution.output()
    for _ in range(20):
        read_bytes = 0
        while read_bytes < BUFFER_BYTES:
            read_bytes += len(await next_bytes(output))
        await asyncio.sleep(0.05)  # enough for several times as much

    await execution.stop()
    kept = await keep_rest(output)

    assert len(kept.output) <= BUFFER_BYTES + 2 * WINDOW_BYTES + 64 * 1024


async def test_endless_complaints_are_bounded(host: Bench) -> None:
    """Of stderr the end is kept, however much there was."""
    kept = await host.keep(a_script("yes complaint | head -c 20000000 >&2; echo last >&2"))

    assert kept.failure is None
    assert len(kept.output) < STDERR_BYTES + 200
    assert kept.output.endswith(b"complaint\nlast\n")


# --- connections that break -------------------------------------------------------------------


async def test_a_connection_that_breaks_is_lost_not_done(host: Bench) -> None:
    """What came is kept, the step is ended over a new connection, and the next step has one too."""
    execution = await start(host.ssh, host.target, a_script("echo $$; sleep 60", timeout_s=60))
    output = execution.output()
    pid = int(await first_line(output))

    for server in reversed(sessions(host.server)):
        server.kill()
    kept = await keep_rest(output)
    outlived = lives(pid)
    proof = await execution.stop()

    assert kept.failure
    assert kept.failure.outcome is Outcome.LOST
    assert execution.exit_status is None
    assert outlived
    assert proof.endswith((" gone", " gone after TERM"))  # a busy machine may be slow to end by INT
    assert not lives(pid)
    assert (await host.keep(a_run("echo", "again"))).output == b"again\n"


async def test_a_transfer_that_breaks_keeps_what_came(host: Bench) -> None:
    """Also what had arrived but was not read yet."""
    execution = await start(host.ssh, host.target, a_run("cat", "/dev/zero", timeout_s=60))
    assert await until(lambda: holds_back(execution))

    for server in reversed(sessions(host.server)):
        server.kill()
    await asyncio.sleep(0.1)
    kept = await keep(execution)

    assert kept.failure
    assert kept.failure.outcome is Outcome.LOST
    assert len(kept.output) > BUFFER_BYTES


async def test_a_step_on_a_hung_connection_is_stopped_over_another(host: Bench) -> None:
    """A server process that hangs does not save the step from its end."""
    execution = await start(host.ssh, host.target, a_script("echo $$; sleep 60", timeout_s=60))
    pid = int(await first_line(execution.output()))
    for server in sessions(host.server):
        server.suspend()

    proof = await execution.stop()

    assert proof.endswith(" gone")
    assert not lives(pid)


async def test_what_cannot_be_proved_is_said(host: Bench) -> None:
    """The host is away: it says who ends the step there, and by when."""
    execution = await start(host.ssh, host.target, a_script("echo $$; sleep 60", timeout_s=2))
    pid = int(await first_line(execution.output()))
    for server in [psutil.Process(host.server.pid), *sessions(host.server)]:
        server.kill()
    (await host.pool.connection(host.server.ssh)).abort()

    proof = await execution.stop()

    assert "the host's own limit ends it by " in proof
    assert "could not be proved" in proof
    assert "no sshd listens there" in proof
    assert await gone(pid)


async def test_a_host_with_few_sessions_gets_few_at_once(tmp_path: Path) -> None:
    """All steps run, one after the other where it must be, and stopping needs no session of theirs."""
    async with bench(tmp_path / "sshd", max_sessions=2) as host:
        kept = await asyncio.gather(*(host.keep(a_run("echo", str(n))) for n in range(12)))
        executions = [await start(host.ssh, host.target, a_run("sleep", "60", timeout_s=60)) for _ in range(2)]
        proofs = [await execution.stop() for execution in executions]

    assert [one.output for one in kept] == [f"{n}\n".encode() for n in range(12)]
    assert all(proof.endswith(" gone") for proof in proofs)


async def test_a_host_that_gives_no_session_says_so(tmp_path: Path) -> None:
    """It lets us in and no further."""
    async with bench(tmp_path / "sshd", max_sessions=0) as host, pooled(place_timeout_s=0.5) as pool:
        with pytest.raises(StepFailed, match=r"gave no session within 0.5 s; raise MaxSessions in its sshd_config"):
            await start(SshTransport(Files(), pool), host.target, a_run("true"))


async def test_a_burst_of_logins_gets_through(tmp_path: Path) -> None:
    """The server drops logins beyond MaxStartups; the pool tries again, until there is room."""
    async with bench(tmp_path / "sshd", max_startups="1:100:1") as host, asyncio.TaskGroup() as group:
        writer = await only_startup(host.server)
        step = group.create_task(host.keep(a_run("echo", "through")))
        log = host.server.key.parent / "sshd.log"
        waited = await until(lambda: "past MaxStartups" in log.read_text()) and not step.done()
        writer.close()

        kept = await step

    assert waited
    assert kept.output == b"through\n"


async def only_startup(server: PrivateSshd) -> asyncio.StreamWriter:
    """A connection that takes the server's only place for logins."""
    while True:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        if await reader.readline():
            return writer
        writer.close()


# --- connections that are refused -------------------------------------------------------------


async def test_another_host_key_is_refused(host: Bench) -> None:
    """The reason says that it differs, and what to do before trusting it."""
    known = host.server.known_hosts
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    known.write_text(f"[127.0.0.1]:{host.server.port} {other}")

    failure = await refusal(host.server.ssh)

    assert failure.reason.startswith(f"HOST KEY CHANGED: 127.0.0.1:{host.server.port} shows SHA256:")
    assert f"and {known} has {asyncssh.import_public_key(other).get_fingerprint()} (ssh-ed25519)" in failure.reason
    assert f"`ssh-keygen -R '[127.0.0.1]:{host.server.port}' -f {known}`" in failure.reason
    assert f"ssh-keyscan -p {host.server.port} 127.0.0.1 >> {known}" in failure.reason


async def test_an_unknown_host_key_is_refused(host: Bench) -> None:
    """Nothing is trusted on first use."""
    host.server.known_hosts.write_text("")

    failure = await refusal(host.server.ssh)

    assert f"is not in {host.server.known_hosts}. Add it with `ssh-keyscan" in failure.reason


async def test_files_that_are_missing_or_broken_are_named(host: Bench, tmp_path: Path) -> None:
    """Each with its cure, before anything is sent."""
    ssh, encrypted = host.server.ssh, tmp_path / "encrypted"
    encrypted.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key("pkcs8-pem", passphrase="x"))
    (tmp_path / "garbage").write_text("garbage")
    keys = [SecretRef(f"file:{tmp_path / name}") for name in ("nosuch", "garbage", "encrypted")]

    reasons = [(await refusal(replace(ssh, key=key))).reason for key in keys]
    missing = (await refusal(replace(ssh, known_hosts=tmp_path / "nosuch"))).reason
    broken = (await refusal(replace(ssh, known_hosts=tmp_path / "garbage"))).reason

    assert reasons[0].endswith(f"The file {tmp_path}/nosuch is missing.")
    assert reasons[1].endswith("it must be a private key in OpenSSH or PEM form.")
    assert reasons[2].endswith("is locked by a passphrase: set ssh.passphrase of the target.")
    assert missing.startswith(f"The file of known hosts {tmp_path}/nosuch is missing. Add it with")
    assert broken.startswith(f"The key of 127.0.0.1:{ssh.port} is not in") or "is broken" in broken


async def test_a_key_that_the_host_does_not_know_is_refused(host: Bench, tmp_path: Path) -> None:
    """No other key is tried, and no agent; without any the reason says what to set."""
    stranger = tmp_path / "stranger"
    stranger.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key())

    strange = await refusal(replace(host.server.ssh, key=SecretRef(f"file:{stranger}")))
    keyless = await refusal(replace(host.server.ssh, key=None))

    assert f"refused the key of {host.server.user}; add the public key" in strange.reason
    assert "set ssh.key, ssh.agent or ssh.password" in keyless.reason


class PasswordServer(asyncssh.SSHServer):
    """Lets in whoever knows the password."""

    def password_auth_supported(self) -> bool:
        """It is the only way in."""
        return True

    def validate_password(self, username: str, password: str) -> bool:
        """For one user."""
        return (username, password) == ("capture", "open sesame")


async def test_a_password_logs_in_and_a_wrong_one_is_not_repeated(tmp_path: Path) -> None:
    """The reason speaks of the password and does not show it."""
    right, wrong = write(tmp_path / "right", b"open sesame"), write(tmp_path / "wrong", b"open barley")
    async with hostile(tmp_path, refuse_politely, server_factory=PasswordServer) as (_, target):
        assert target.ssh
        ssh = replace(target.ssh, key=None, password=SecretRef(f"file:{right}"))
        async with pooled() as pool:
            await pool.connection(ssh)
        failure = await refusal(replace(ssh, password=SecretRef(f"file:{wrong}")))

    assert "refused the password of capture; check it" in failure.reason
    assert "barley" not in failure.reason


async def test_a_port_where_nobody_listens_is_named(host: Bench) -> None:
    """Refused at once, not after a time-out."""
    os.kill(host.server.pid, signal.SIGKILL)
    await gone(host.server.pid)

    failure = await refusal(host.server.ssh)

    assert failure.reason.endswith("no sshd listens there; check the port and the service.")


async def test_a_host_that_hangs_is_given_up(host: Bench) -> None:
    """Many who want the same connection wait once, not one after the other."""
    os.kill(host.server.pid, signal.SIGSTOP)
    async with pooled(connect_timeout_s=0.5) as pool:
        begun = monotonic()

        failures = await asyncio.gather(*(pool.connection(host.server.ssh) for _ in range(5)), return_exceptions=True)

    assert monotonic() - begun < 2
    assert {type(failure) for failure in failures} == {StepFailed}
    assert "did not let us in within 0.5 s" in str(failures[0])


# --- hosts that mean no good ------------------------------------------------------------------


@asynccontextmanager
async def hostile(folder: Path, behave: object, **server: object) -> AsyncIterator[tuple[SshTransport, Target]]:
    """A server that answers any command by *behave*."""
    keys = {name: asyncssh.generate_private_key("ssh-ed25519") for name in ("host", "key")}
    listener = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[keys["host"]],
        authorized_client_keys=asyncssh.import_authorized_keys(keys["key"].export_public_key().decode()),
        process_factory=behave,
        encoding=None,
        **server,
    )
    port = listener.get_port()
    known_hosts = write(folder / "known_hosts", f"[127.0.0.1]:{port} ".encode() + keys["host"].export_public_key())
    key = SecretRef(f"file:{write(folder / 'key', keys['key'].export_private_key())}")
    ssh = Ssh(host="127.0.0.1", port=port, user="capture", known_hosts=known_hosts, key=key)
    try:
        async with pooled() as pool:
            yield SshTransport(Files(), pool, patience=Patience(start_s=1)), Target(name="db1", ssh=ssh)
    finally:
        listener.close()
        await listener.wait_closed()


def write(path: Path, content: bytes) -> Path:
    """The path of a new file."""
    path.write_bytes(content)
    return path


async def refuse_politely(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """What nologin does."""
    process.stdout.write(b"This account is currently not available.\n")
    process.exit(1)


async def pour_garbage(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Words without end on stderr, none of which is the remark that a step begins with."""
    try:
        while True:
            process.stderr.write(b"\xff\x1b[2Jgroup 1 1 " * 1000)
            await process.stderr.drain()
    except (OSError, asyncssh.Error):
        pass


async def test_a_login_without_a_shell_is_said_in_its_own_words(tmp_path: Path) -> None:
    """The account works, but not for commands."""
    async with hostile(tmp_path, refuse_politely) as (ssh, target):
        with pytest.raises(StepFailed) as failed:
            await start(ssh, target, a_run("true"))
        lines = await ssh.check(target)

    assert failed.value.reason == "db1 did not start the step: This account is currently not available."
    assert lines[1].startswith("fault: db1 runs no /bin/sh for us")


async def test_a_host_that_never_starts_the_step_is_given_up(tmp_path: Path) -> None:
    """Whatever it says instead, and without claiming a proof that it did not give."""
    async with hostile(tmp_path, pour_garbage) as (ssh, target):
        with pytest.raises(StepFailed) as failed:
            await start(ssh, target, a_run("true"))

    assert failed.value.outcome is Outcome.TIMED_OUT
    assert "did not start the step within 1 s" in failed.value.reason
    assert "could not be proved" in failed.value.reason


# --- the private server -----------------------------------------------------------------------


async def test_the_private_server_leaves_nothing(tmp_path: Path) -> None:
    """Neither its listener nor the servers of sessions that were open; its keys are its owner's alone."""
    async with bench(tmp_path / "sshd") as host:
        await host.pool.connection(host.server.ssh)
        servers = [host.server.pid, *(server.pid for server in sessions(host.server))]
        mode = stat.S_IMODE(host.server.key.stat().st_mode)

    assert len(servers) > 1
    assert mode == 0o600
    assert await gone(*servers)

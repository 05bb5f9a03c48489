"""Ways to be let in by a real sshd, and ways to know that it is the right one."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import asyncssh
import pytest

from bot.errors import StepFailed, UserError
from bot.model import SecretRef, Ssh, Target
from bot.playground.sshd import PrivateSshd, private_sshd
from bot.transports.ssh import SshTransport
from bot.transports.sshpool import SshPool
from tests.sk_agent import SecurityKey, agent_of, packed
from tests.steps import Files, a_run, keep, start, until

pytestmark = pytest.mark.live

WITHIN_S = 10.0


def missing(why: object) -> None:
    """Skip, or fail where everything must be there."""
    (pytest.fail if "CI" in os.environ else pytest.skip)(str(why))


@asynccontextmanager
async def sshd(folder: Path, **options: str) -> AsyncIterator[PrivateSshd]:
    """A private server with lines of sshd_config."""
    try:
        async with private_sshd(folder, options=options) as server:
            yield server
    except UserError as error:
        missing(error)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[PrivateSshd]:
    """A server as Debian's are."""
    async with sshd(tmp_path / "sshd") as made:
        yield made


async def lets_in(ssh: Ssh, secrets: Files | None = None) -> bool:
    """Whether a program runs there; one that is refused raises."""
    pool = SshPool(secrets or Files())
    try:
        kept = await keep(await start(SshTransport(Files(), pool), Target(name="db1", ssh=ssh), a_run("echo", "in")))
    finally:
        await pool.close()
    return kept.output == b"in\n"


async def refusal(ssh: Ssh, secrets: Files | None = None) -> str:
    """Why nobody is let in."""
    with pytest.raises(StepFailed) as failed:
        await lets_in(ssh, secrets)
    return failed.value.reason


async def run(program: str, *arguments: object) -> str:
    """Run a program of OpenSSH's; its output."""
    if shutil.which(program) is None:
        missing(f"{program} is not installed: apt-get install openssh-client")
    process = await asyncio.create_subprocess_exec(
        program, *map(str, arguments), stdout=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL
    )
    async with asyncio.timeout(WITHIN_S):
        output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


async def a_key(path: Path, passphrase: str = "") -> Path:
    """A key as ssh-keygen makes it."""
    await run("ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", path)
    return path


async def signed(authority: Path, key: Path, *options: str) -> Path:
    """The path of a certificate that *authority* made for *key*."""
    await run("ssh-keygen", "-q", "-s", authority, "-I", "test", *options, f"{key}.pub")
    return key.with_name(f"{key.name}-cert.pub")


def public(key: Path) -> str:
    """The public half of a key of ssh-keygen's."""
    return Path(f"{key}.pub").read_text()


def reference(path: Path) -> SecretRef:
    """The file as a secret."""
    return SecretRef(f"file:{path}")


def welcome(server: PrivateSshd, line: str) -> None:
    """Let a key in, and no other."""
    (server.key.parent / "authorized_keys").write_text(line)


# --- keys ---------------------------------------------------------------------------------------


async def test_a_passphrase_opens_the_key(server: PrivateSshd, tmp_path: Path) -> None:
    """Without it, and with a wrong one, it is said which key and what to set; never the passphrase."""
    key = await a_key(tmp_path / "locked", "open sesame")
    welcome(server, public(key))
    for name, text in (("right", "open sesame"), ("wrong", "open barley")):
        (tmp_path / name).write_text(text)
    ssh = replace(server.ssh, key=reference(key))

    opened = await lets_in(replace(ssh, passphrase=reference(tmp_path / "right")))
    wrong = await refusal(replace(ssh, passphrase=reference(tmp_path / "wrong")))
    none = await refusal(ssh)

    assert opened
    assert f"file:{key} for 127.0.0.1:{ssh.port} is not opened by file:{tmp_path}/wrong: check the passphrase" in wrong
    assert "barley" not in wrong
    assert none.endswith("is locked by a passphrase: set ssh.passphrase of the target.")


async def test_a_certificate_lets_in_where_its_authority_is_trusted(tmp_path: Path) -> None:
    """The host knows no key at all; one that has ended, is of another key or of nobody's trust says so."""
    authority, stranger = await a_key(tmp_path / "authority"), await a_key(tmp_path / "stranger")
    async with sshd(tmp_path / "sshd", TrustedUserCAKeys=f"{authority}.pub") as server:
        welcome(server, "")
        key, other = await a_key(tmp_path / "mine"), await a_key(tmp_path / "other")
        certificate = await signed(authority, key, "-n", server.user, "-V", "-1m:+5m")
        ssh = replace(server.ssh, key=reference(key), certificate=certificate)

        inside = await lets_in(ssh)
        bare = await refusal(replace(ssh, certificate=None))
        mismatched = await refusal(replace(ssh, key=reference(other)))
        await signed(authority, key, "-n", server.user, "-V", "-2h:-1h")
        ended = await refusal(ssh)
        await signed(stranger, key, "-n", server.user, "-V", "-1m:+5m")
        untrusted = await refusal(ssh)
        certificate.unlink()
        gone = await refusal(ssh)

    assert inside
    assert "refused the key of" in bare
    assert f"The certificate {certificate} for 127.0.0.1:{ssh.port} is for another key (SHA256:" in mismatched
    assert "is of no use: Certificate expired; have a new one signed for the bot's key." in ended
    assert "refused the certificate of" in untrusted
    assert "TrustedUserCAKeys" in untrusted
    assert "cannot be read: No such file or directory" in gone


def listens(path: Path) -> bool:
    """Whether somebody takes connections there; the file is there a moment earlier."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@asynccontextmanager
async def agent(folder: Path, *keys: Path) -> AsyncIterator[Path]:
    """A real ssh-agent that holds *keys*; its socket."""
    if shutil.which("ssh-agent") is None:
        missing("ssh-agent is not installed: apt-get install openssh-client")
    path = folder / "agent.sock"
    process = await asyncio.create_subprocess_exec(
        "ssh-agent", "-D", "-a", path, stdout=asyncio.subprocess.DEVNULL, stdin=asyncio.subprocess.DEVNULL
    )
    try:
        assert await until(partial(listens, path))
        client = await asyncssh.connect_agent(str(path))
        async with client:
            for key in keys:
                await client.add_keys([asyncssh.read_private_key(key)])
        yield path
    finally:
        process.terminate()
        await process.wait()


async def test_an_agent_signs_for_the_bot(server: PrivateSshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bot has no key of its own then; without any in the agent, or without an agent, it says so."""
    key = await a_key(tmp_path / "held")
    welcome(server, public(key))
    async with agent(tmp_path, key) as agents:
        inside = await lets_in(replace(server.ssh, key=None, agent=agents))
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        unset = await refusal(replace(server.ssh, key=None, agent=True))
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agents))
        named = await lets_in(replace(server.ssh, key=None, agent=True))
        welcome(server, "")
        refused = await refusal(replace(server.ssh, key=None, agent=agents))
    (tmp_path / "none").mkdir()
    async with agent(tmp_path / "none") as agents:
        empty = await refusal(replace(server.ssh, key=None, agent=agents))
    absent = await refusal(replace(server.ssh, key=None, agent=tmp_path / "nosuch"))

    assert inside
    assert named
    assert "$SSH_AUTH_SOCK is not set where the bot was started" in unset
    assert "refused the agent's keys of" in refused
    assert empty.endswith("the agent holds no keys; add one with ssh-add.")
    assert f"no agent answers at {tmp_path}/nosuch (No such file or directory)" in absent


async def test_a_certificate_may_be_for_a_key_that_an_agent_holds(tmp_path: Path) -> None:
    """As with keys of hardware, whose certificates lie in files; other keys of the agent are not offered."""
    authority, key, other = [await a_key(tmp_path / name) for name in ("authority", "held", "other")]
    async with sshd(tmp_path / "sshd", TrustedUserCAKeys=f"{authority}.pub") as server, agent(tmp_path, other, key) as agents:  # fmt: skip
        welcome(server, "")
        certificate = await signed(authority, key, "-n", server.user, "-V", "-1m:+5m")

        inside = await lets_in(replace(server.ssh, key=None, agent=agents, certificate=certificate))

    assert inside


async def test_a_security_key_signs_through_an_agent(server: PrivateSshd, tmp_path: Path) -> None:
    """A real sshd verifies the signature, the touch and the counter."""
    key = SecurityKey()
    welcome(server, f"sk-ssh-ed25519@openssh.com {base64.b64encode(key.public).decode()}\n")
    async with agent_of(key, tmp_path / "agent.sock") as agents:
        inside = await lets_in(replace(server.ssh, key=None, agent=agents))

    assert inside
    assert key.touches == 1
    assert packed(b"ab") == b"\x00\x00\x00\x02ab"


# --- the right host -----------------------------------------------------------------------------


@pytest.fixture
async def certified(tmp_path: Path) -> AsyncIterator[tuple[PrivateSshd, Path, Callable[[str], None]]]:
    """A server with a host certificate, its authority's key, and what makes known_hosts name an authority alone."""
    authority = await a_key(tmp_path / "host-authority")
    folder = tmp_path / "sshd"
    folder.mkdir()
    key = await a_key(folder / "host_key")
    await signed(authority, key, "-h", "-n", "127.0.0.1", "-V", "-1m:+5m")
    async with sshd(folder, HostCertificate=f"{key}-cert.pub") as server:

        def know(key: str) -> None:
            server.known_hosts.write_text(f"@cert-authority [127.0.0.1]:{server.port} {key}")

        yield server, authority, know


async def test_a_host_certificate_is_enough(
    certified: tuple[PrivateSshd, Path, Callable[[str], None]], tmp_path: Path
) -> None:
    """known_hosts names the authority and no host; another authority is no reason to trust, nor is another name."""
    server, authority, know = certified
    know(public(authority))
    inside = await lets_in(server.ssh)

    know(public(await a_key(tmp_path / "another")))
    untrusted = await refusal(server.ssh)

    assert inside
    assert untrusted.startswith(
        f"HOST KEY CHANGED: 127.0.0.1:{server.port} shows a certificate of the authority SHA256:"
    )
    assert f"and {server.known_hosts} has the authority SHA256:" in untrusted


async def test_a_host_certificate_of_another_name_is_refused(tmp_path: Path) -> None:
    """The authority is right, and the certificate was made for somebody else."""
    authority = await a_key(tmp_path / "host-authority")
    (tmp_path / "sshd").mkdir()
    key = await a_key(tmp_path / "sshd" / "host_key")
    await signed(authority, key, "-h", "-n", "db2.example", "-V", "-1m:+5m")
    async with sshd(tmp_path / "sshd", HostCertificate=f"{key}-cert.pub") as server:
        server.known_hosts.write_text(f"@cert-authority [127.0.0.1]:{server.port} {public(authority)}")

        reason = await refusal(server.ssh)

    assert f"The host certificate of 127.0.0.1:{server.port} does not fit: Certificate principal mismatch" in reason
    assert "signed for the name 127.0.0.1" in reason


async def test_a_pinned_key_needs_no_file(server: PrivateSshd, tmp_path: Path) -> None:
    """By its fingerprint or whole, one of several while it is replaced; another one is refused loudly."""
    known = server.known_hosts.read_text().split(maxsplit=1)[1].strip()
    pin = asyncssh.import_public_key(known).get_fingerprint()
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    bare = replace(server.ssh, known_hosts=tmp_path / "nosuch")

    inside = [await lets_in(replace(bare, host_keys=pins)) for pins in ((pin,), (known,), (other, pin))]
    refused = await refusal(replace(server.ssh, host_keys=(other,)))
    cut = await refusal(replace(server.ssh, host_keys=("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5",)))
    other_pin = asyncssh.import_public_key(other).get_fingerprint()

    assert inside == [True] * 3
    assert refused.startswith(f"HOST KEY CHANGED: 127.0.0.1:{server.port} shows {pin} (ssh-ed25519), and host_key of")
    assert f"the target is {other_pin}." in refused
    assert "Ask who runs it" in refused
    assert f"host_key of 127.0.0.1:{server.port} cannot be read" in cut


async def test_a_revoked_key_is_told_from_an_unknown_one(server: PrivateSshd) -> None:
    """Nobody should add it again."""
    known = server.known_hosts.read_text()
    server.known_hosts.write_text(f"{known}@revoked {known}")

    assert f"is marked @revoked in {server.known_hosts}; we told it nothing." in await refusal(server.ssh)


async def test_a_fingerprint_is_of_the_key_and_not_of_a_certificate(
    certified: tuple[PrivateSshd, Path, Callable[[str], None]],
) -> None:
    """A host that has both is asked for its key."""
    server, _, _ = certified
    pin = asyncssh.read_public_key(server.key.parent / "host_key.pub").get_fingerprint()

    assert await lets_in(replace(server.ssh, host_keys=(pin,)))


# --- jump hosts ---------------------------------------------------------------------------------


def logins(server: PrivateSshd) -> int:
    """How often somebody was let in there."""
    return (server.key.parent / "sshd.log").read_text().count("Accepted publickey")


async def test_a_host_is_reached_through_others(tmp_path: Path) -> None:
    """Each verified by its own key and logged in to by its own; those on the way are shared."""
    async with AsyncExitStack() as stack:
        outer, inner, last = [await stack.enter_async_context(sshd(tmp_path / name)) for name in ("a", "b", "c")]
        pool = SshPool(Files())
        stack.push_async_callback(pool.close)
        middle = replace(inner.ssh, via=outer.ssh)
        far = Target(name="db1", ssh=replace(last.ssh, via=middle))
        near = Target(name="db2", ssh=middle)
        transport = SshTransport(Files(), pool)

        kept = [await keep(await start(transport, target, a_run("echo", target.name))) for target in (far, near)]

        assert [one.output for one in kept] == [b"db1\n", b"db2\n"]
        assert [logins(server) for server in (outer, inner, last)] == [1, 1, 1]


async def test_a_step_beyond_a_hung_jump_host_is_stopped_over_another_way(tmp_path: Path) -> None:
    """All the way is made anew."""
    async with sshd(tmp_path / "a") as outer, sshd(tmp_path / "b") as inner:
        pool = SshPool(Files())
        ssh = replace(inner.ssh, via=outer.ssh)
        execution = await start(
            SshTransport(Files(), pool), Target(name="db1", ssh=ssh), a_run("sleep", "60", timeout_s=60)
        )
        (await pool.connection(outer.ssh)).abort()

        proof = await execution.stop()
        await pool.close()

    assert " gone" in proof


@pytest.mark.parametrize("options", [{"AllowTcpForwarding": "no"}, {}])
async def test_a_jump_host_that_cannot_go_on_is_named(tmp_path: Path, options: dict[str, str]) -> None:
    """It does not forward, or nobody listens behind it."""
    async with sshd(tmp_path / "a", **options) as outer:
        reason = await refusal(replace(outer.ssh, port=1, via=outer.ssh))

    assert f"The jump host 127.0.0.1:{outer.port} cannot open 127.0.0.1:1 (" in reason
    assert "AllowTcpForwarding" in reason


async def test_a_jump_host_that_does_not_let_us_in_is_told_from_the_host(tmp_path: Path) -> None:
    """Its own trouble, at its own address."""
    async with sshd(tmp_path / "a") as outer, sshd(tmp_path / "b") as inner:
        outer.known_hosts.write_text("")
        reason = await refusal(replace(inner.ssh, via=outer.ssh))

    assert reason.startswith(f"No way to 127.0.0.1:{inner.port}: The key of 127.0.0.1:{outer.port} (SHA256:")


# --- rotation -----------------------------------------------------------------------------------


class Rotating(Files):
    """Keeps what it read once, as a store of secrets does for a while, until it is told to forget."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.asked = 0

    async def resolve(self, ref: SecretRef) -> str:
        """The kept text, or that of the file."""
        if ref.text not in self.kept:
            self.asked += 1
            self.kept[ref.text] = await super().resolve(ref)
        return self.kept[ref.text]

    def forget(self, ref: SecretRef) -> None:
        """Read the file the next time."""
        self.kept.pop(ref.text, None)


async def test_a_key_that_was_rotated_is_read_anew_once(server: PrivateSshd, tmp_path: Path) -> None:
    """The kept one is refused; the newer one lets in. One that is wrong still is not tried again."""
    newer = await a_key(tmp_path / "newer")
    secrets, ssh = Rotating(), server.ssh
    assert await lets_in(ssh, secrets)
    welcome(server, public(newer))
    refused = await refusal(ssh, secrets)
    server.key.write_bytes(newer.read_bytes())

    inside = await lets_in(ssh, secrets)

    assert inside
    assert "refused the key of" in refused
    assert secrets.asked == 3
    log = server.key.parent / "sshd.log"
    assert await until(lambda: log.read_text().count("by authenticating user") == 2)  # once for each `lets_in`

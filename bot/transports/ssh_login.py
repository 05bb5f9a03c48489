"""One login over SSH: which keys, which ciphers, and why it was refused in words that lead to a cure."""

from __future__ import annotations

import asyncio
import socket

import asyncssh

from bot.errors import SecretMissing, StepFailed
from bot.model import Outcome, Ssh
from bot.secrets import Resolver

KEEPALIVE_S = 5.0  # a host that leaves KEEPALIVES of these unanswered is gone
KEEPALIVES = 3
# asyncssh would settle on chacha20, which costs half as much again on both ends.
CIPHERS = "^aes128-gcm@openssh.com"


class Dropped(StepFailed):
    """The host closed the connection before the login, as sshd does in a burst; trying again may help."""


async def log_in(ssh: Ssh, secrets: Resolver, *, timeout_s: float) -> asyncssh.SSHClientConnection:
    """Connect to *ssh*, verify its key and log in. Raises StepFailed, Dropped where another attempt makes sense."""
    known_hosts = _known_hosts(ssh)
    key = await _key(ssh, secrets)
    try:
        password = await secrets.resolve(ssh.password) if ssh.password else None
        async with asyncio.timeout(timeout_s):
            return await asyncssh.connect(
                ssh.host,
                ssh.port,
                username=ssh.user,
                known_hosts=known_hosts,
                client_keys=[key] if key else None,
                password=password,
                # Nothing of the account that the bot runs under: no ~/.ssh/config, no agent, no default keys.
                config=None,
                agent_path=None,
                gss_host=None,
                encryption_algs=CIPHERS,
                compression_algs=None,
                keepalive_interval=KEEPALIVE_S,
                keepalive_count_max=KEEPALIVES,
                login_timeout=0,  # the time above bounds it, and is told from a connection that was dropped
            )
    except SecretMissing as missing:
        raise StepFailed(f"No login to {address(ssh)}: {missing.reason}") from missing
    except TimeoutError as error:
        reason = f"{address(ssh)} did not let us in within {timeout_s:g} s: it is down, hangs or is behind a firewall."
        raise StepFailed(reason, outcome=Outcome.TIMED_OUT) from error
    except (OSError, asyncssh.Error) as error:
        raise _refusal(error, ssh, known_hosts) from error


def address(ssh: Ssh) -> str:
    """The host as sentences name it."""
    return f"{ssh.host}:{ssh.port}"


def _known_hosts(ssh: Ssh) -> asyncssh.SSHKnownHosts:
    try:
        return asyncssh.read_known_hosts(str(ssh.known_hosts))
    except FileNotFoundError as error:
        raise StepFailed(f"The file of known hosts {ssh.known_hosts} is missing. {_how_to_add(ssh)}") from error
    except OSError as error:
        reason = (
            f"The file of known hosts {ssh.known_hosts} cannot be read: {error.strerror}; let the bot's user read it."
        )
        raise StepFailed(reason) from error
    except ValueError as error:
        raise StepFailed(f"The file of known hosts {ssh.known_hosts} is broken: {error}; mend that line.") from error


async def _key(ssh: Ssh, secrets: Resolver) -> asyncssh.SSHKey | None:
    if ssh.key is None:
        return None
    try:
        return asyncssh.import_private_key(await secrets.resolve(ssh.key))
    except SecretMissing as missing:
        raise StepFailed(f"No login to {address(ssh)}: {missing.reason}") from missing
    except asyncssh.KeyImportError as error:
        cure = "it must be a private key in OpenSSH or PEM form, without a passphrase"
        raise StepFailed(f"{ssh.key.text} for {address(ssh)} cannot be used ({error}): {cure}.") from error


def _refusal(error: Exception, ssh: Ssh, known_hosts: asyncssh.SSHKnownHosts) -> StepFailed:
    where = address(ssh)
    match error:
        case asyncssh.HostKeyNotVerifiable():
            return StepFailed(_host_key(ssh, known_hosts))
        case asyncssh.PermissionDenied():
            offered = " and the ".join(way for way, ref in (("key", ssh.key), ("password", ssh.password)) if ref)
            if not offered:
                return StepFailed(f"{where} wants a login for {ssh.user}; set ssh.key or ssh.password of the target.")
            cure = f"add the public key to ~{ssh.user}/.ssh/authorized_keys there" if ssh.key else "check it"
            return StepFailed(
                f"{where} refused the {offered} of {ssh.user}; {cure}, and that the account is not locked."
            )
        case asyncssh.ConnectionLost() | ConnectionResetError() | BrokenPipeError():
            cure = "it may be refusing a burst of logins (MaxStartups) or our address"
            return Dropped(f"{where} hung up before the login; {cure}.", outcome=Outcome.LOST)
        case ConnectionRefusedError():
            return StepFailed(f"{where} refused the connection: no sshd listens there; check the port and the service.")
        case socket.gaierror():
            return StepFailed(f"The name {ssh.host} does not resolve; check ssh.host of the target.")
        case OSError():
            return StepFailed(f"{where} cannot be reached: {error.strerror or error}; check ssh.host and the network.")
        case _:
            return StepFailed(f"{where} and we could not agree on a connection: {error}.")


def _host_key(ssh: Ssh, known_hosts: asyncssh.SSHKnownHosts) -> str:
    keys = known_hosts.match(ssh.host, "", ssh.port)[:2]
    if not any(keys):
        return f"The key of {address(ssh)} is not in {ssh.known_hosts}. {_how_to_add(ssh)}"
    return (
        f"{address(ssh)} shows another key than the one in {ssh.known_hosts}: it was reinstalled, or somebody stands"
        f" between. Ask who runs it; only then remove the old line. {_how_to_add(ssh)}"
    )


def _how_to_add(ssh: Ssh) -> str:
    return (
        f"Add it with `ssh-keyscan -p {ssh.port} {ssh.host} >> {ssh.known_hosts}` and compare `ssh-keygen -lf` of it"
        " with the same on the host's console."
    )

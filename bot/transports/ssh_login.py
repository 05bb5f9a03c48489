"""One login over SSH: which ciphers, and why it was refused in words that lead to a cure."""

from __future__ import annotations

import asyncio
import socket

import asyncssh

from bot.errors import SecretMissing, StepFailed
from bot.model import Outcome, Ssh
from bot.secrets import Renewing
from bot.transports.ssh_hosts import Trust, address
from bot.transports.ssh_keys import OFFERED, Proofs, offered_keys, words_of

KEEPALIVE_S = 5.0  # a host that leaves KEEPALIVES of these unanswered is gone
KEEPALIVES = 3
# asyncssh would settle on chacha20, which costs half as much again on both ends.
CIPHERS = "^aes128-gcm@openssh.com"


class Dropped(StepFailed):
    """The host closed the connection before the login, as sshd does in a burst; trying again may help."""


class Refused(StepFailed):
    """The host knows the user or the key no more, as after a rotation; a secret that is read anew may help."""


async def log_in(
    ssh: Ssh, secrets: Renewing, *, timeout_s: float, jump: asyncssh.SSHClientConnection | None = None
) -> asyncssh.SSHClientConnection:
    """Connect to *ssh*, through *jump* where it is set, verify its key and log in.

    A login that is refused is tried once more where the store of secrets has others meanwhile. Raises StepFailed,
    Dropped where another attempt makes sense.
    """
    trust = Trust(ssh)
    proofs = await _proofs(ssh, secrets)
    try:
        return await _log_in(ssh, proofs, trust, timeout_s=timeout_s, jump=jump)
    except Refused as refused:
        for reference in filter(None, (ssh.key, ssh.passphrase, ssh.password)):
            secrets.forget(reference)
        try:
            newer = await _proofs(ssh, secrets)
        except StepFailed as failed:
            raise Refused(f"{refused.reason} Whether there is a newer secret is not known: {failed.reason}") from None
        if newer == proofs:
            raise
    return await _log_in(ssh, newer, trust, timeout_s=timeout_s, jump=jump)


async def _proofs(ssh: Ssh, secrets: Renewing) -> Proofs:
    try:
        return Proofs(
            key=await secrets.resolve(ssh.key) if ssh.key else None,
            passphrase=await secrets.resolve(ssh.passphrase) if ssh.passphrase else None,
            password=await secrets.resolve(ssh.password) if ssh.password else None,
        )
    except SecretMissing as missing:
        raise StepFailed(f"No login to {address(ssh)}: {missing.reason}") from missing


async def _log_in(
    ssh: Ssh, proofs: Proofs, trust: Trust, *, timeout_s: float, jump: asyncssh.SSHClientConnection | None
) -> asyncssh.SSHClientConnection:
    where = address(ssh)
    try:
        async with offered_keys(ssh, proofs, where) as keys, asyncio.timeout(timeout_s):
            return await asyncssh.connect(
                ssh.host,
                ssh.port,
                tunnel=jump or (),
                username=ssh.user,
                client_factory=lambda: trust.witness,
                known_hosts=trust.known_hosts,
                server_host_key_algs=trust.key_kinds,
                client_keys=keys or None,
                password=proofs.password,
                # Nothing of the account that the bot runs under: no ~/.ssh/config, no agent unless it is set, no default keys.
                config=None,
                agent_path=None,
                gss_host=None,
                encryption_algs=CIPHERS,
                compression_algs=None,
                keepalive_interval=KEEPALIVE_S,
                keepalive_count_max=KEEPALIVES,
                login_timeout=0,  # the time above bounds it, and is told from a connection that was dropped
            )
    except TimeoutError as error:
        reason = f"{where} did not let us in within {timeout_s:g} s: it is down, hangs or is behind a firewall."
        raise StepFailed(reason, outcome=Outcome.TIMED_OUT) from error
    except (OSError, asyncssh.Error) as error:
        raise _refusal(error, ssh, trust) from error


def _refusal(error: Exception, ssh: Ssh, trust: Trust) -> StepFailed:
    where = address(ssh)
    match error:
        case asyncssh.HostKeyNotVerifiable():
            return StepFailed(trust.refusal(error))
        case asyncssh.PermissionDenied():
            return Refused(_denied(ssh, where))
        case asyncssh.ChannelOpenError() if ssh.via:
            return StepFailed(
                f"The jump host {address(ssh.via)} cannot open {where} ({error.reason}): is it reachable from there,"
                " and does the jump host's sshd allow forwarding (AllowTcpForwarding)?"
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


def _denied(ssh: Ssh, where: str) -> str:
    offered = words_of(ssh)
    if not offered:
        return f"{where} wants a login for {ssh.user}; set ssh.key, ssh.agent or ssh.password of the target."
    cure = "check it"
    if ssh.certificate:
        cure = f"does its sshd trust the authority (TrustedUserCAKeys), and is {ssh.user} among the principals?"
    elif ssh.key or ssh.agent:
        cure = f"add the public key to ~{ssh.user}/.ssh/authorized_keys there"
    more = f" Of the agent's keys the first {OFFERED} are offered." if ssh.agent and not ssh.certificate else ""
    return f"{where} refused {offered} of {ssh.user}; {cure}, and that the account is not locked.{more}"

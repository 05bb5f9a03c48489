"""What the bot shows a host to be let in: a private key, a certificate for it, keys that an agent holds.

Keys of hardware (PKCS#11 tokens, security keys, TPMs) are used through an agent, which holds what they need
(``ssh-add -s``, ``ssh-add`` of an sk key); the bot never sees more of them than a signature.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh
from asyncssh.public_key import CERT_TYPE_USER, SSHOpenSSHCertificate

from bot.errors import StepFailed
from bot.model import Ssh

AGENT_S = 3.0  # to say which keys it holds
OFFERED = 5  # keys at most: sshd hangs up after six attempts (MaxAuthTries)
CERTIFICATE_BYTES = 64 * 1024

Key = asyncssh.SSHKey | asyncssh.SSHKeyPair


@dataclass(frozen=True, slots=True)
class Proofs:
    """The secrets that a login takes, as they are now."""

    key: str | None = field(repr=False)
    passphrase: str | None = field(repr=False)
    password: str | None = field(repr=False)


@asynccontextmanager
async def offered_keys(ssh: Ssh, proofs: Proofs, where: str) -> AsyncIterator[list[asyncssh.SSHKeyPair]]:
    """The keys to offer to *where*, best first, as long as the login takes. Raises StepFailed."""
    keys: list[Key] = [await _private_key(ssh, proofs, where)] if ssh.key else []
    agent = await _agent(ssh, where)
    try:
        if agent:
            keys += await _held(agent, where)
        if ssh.certificate:
            yield await _vouched(ssh.certificate, keys, where)
        else:
            yield list(asyncssh.load_keypairs(keys[:OFFERED]))
    finally:
        if agent:
            agent.close()


async def _private_key(ssh: Ssh, proofs: Proofs, where: str) -> asyncssh.SSHKey:
    name = ssh.key.text if ssh.key else ""
    try:  # beside the loop: what a passphrase opens takes a tenth of a second or more, on purpose
        return await asyncio.to_thread(asyncssh.import_private_key, proofs.key or "", proofs.passphrase)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        why = str(error)
    if ssh.passphrase is None and why.startswith("Passphrase"):
        raise StepFailed(f"{name} for {where} is locked by a passphrase: set ssh.passphrase of the target.")
    if ssh.passphrase is not None and "nvalid private key" not in why:
        raise StepFailed(f"{name} for {where} is not opened by {ssh.passphrase.text}: check the passphrase ({why}).")
    raise StepFailed(f"{name} for {where} cannot be used ({why}): it must be a private key in OpenSSH or PEM form.")


async def _agent(ssh: Ssh, where: str) -> asyncssh.SSHAgentClient | None:
    if ssh.agent is False:
        return None
    path = os.environ.get("SSH_AUTH_SOCK", "") if ssh.agent is True else str(ssh.agent)
    if not path:
        raise StepFailed(
            f"No login to {where}: ssh.agent is true, and $SSH_AUTH_SOCK is not set where the bot was started; "
            "start it with an agent, or name the agent's socket."
        )
    try:
        async with asyncio.timeout(AGENT_S):
            return await asyncssh.connect_agent(path)
    except (OSError, asyncssh.Error) as error:  # a TimeoutError is an OSError
        why = getattr(error, "strerror", None) or str(error) or "it hangs"
    raise StepFailed(f"No login to {where}: no agent answers at {path} ({why}); is it running, as the bot's user?")


async def _held(agent: asyncssh.SSHAgentClient, where: str) -> list[asyncssh.SSHKeyPair]:
    try:
        async with asyncio.timeout(AGENT_S):
            held = list(await agent.get_keys())
    except (OSError, ValueError) as error:
        raise StepFailed(f"No login to {where}: the agent does not say which keys it holds ({error}).") from error
    if not held:
        raise StepFailed(f"No login to {where}: the agent holds no keys; add one with ssh-add.")
    return held


async def _vouched(path: Path, keys: list[Key], where: str) -> list[asyncssh.SSHKeyPair]:
    """The one key that the certificate at *path* is for, with it; read each time, as certificates are short-lived."""
    certificate = await asyncio.to_thread(_certificate, path, where)
    for key in keys:
        public = key.public_data if isinstance(key, asyncssh.SSHKey) else key.key_public_data
        if public == certificate.key.public_data:
            return list(asyncssh.load_keypairs([key], certlist=[certificate]))[:1]
    fingerprint = certificate.key.get_fingerprint()
    raise StepFailed(
        f"The certificate {path} for {where} is for another key ({fingerprint}): let the authority sign the key"
        " that the bot has."
    )


def _certificate(path: Path, where: str) -> asyncssh.SSHCertificate:
    try:
        with path.open("rb") as file:
            certificate = asyncssh.import_certificate(file.read(CERTIFICATE_BYTES))
        if isinstance(certificate, SSHOpenSSHCertificate):
            certificate.validate(CERT_TYPE_USER, None)
    except OSError as error:
        why = f"cannot be read: {error.strerror}"
    except asyncssh.KeyImportError as error:
        why = f"is none ({error})"
    except ValueError as error:  # asyncssh's words for one that is of a host, not valid yet or not any more
        why = f"is of no use: {error}"
    else:
        return certificate
    raise StepFailed(f"The certificate {path} for {where} {why}; have a new one signed for the bot's key.")


def words_of(ssh: Ssh) -> str:
    """What was offered, in a sentence's place; "" where it was nothing."""
    ways = (
        ("the certificate", ssh.certificate),
        ("the key", ssh.key and not ssh.certificate),
        ("the agent's keys", ssh.agent and not ssh.certificate),
        ("the password", ssh.password),
    )
    return " and ".join(words for words, there in ways if there)

"""Whether a host is the one that it should be, and what to say when it is not."""

from __future__ import annotations

import base64
import hashlib

import asyncssh
from asyncssh.public_key import get_default_public_key_algs

from bot.errors import StepFailed
from bot.model import Ssh


class Witness(asyncssh.SSHClient):
    """Accepts the pinned fingerprints, and remembers the key that was not trusted."""

    def __init__(self, pinned: frozenset[str]) -> None:
        self._pinned = pinned
        self.shown: asyncssh.SSHKey | None = None  # by the host
        self.authority: asyncssh.SSHKey | None = None  # that signed its certificate

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Asked about a key that known_hosts does not vouch for."""
        del host, addr, port
        self.shown = key
        return key.get_fingerprint() in self._pinned

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Asked about an authority that known_hosts does not name."""
        del host, addr, port
        self.authority = key
        return False


class Trust:
    """What makes the host of *ssh* trusted: its pinned keys where there are any, else the file of known hosts."""

    def __init__(self, ssh: Ssh) -> None:
        self._ssh = ssh
        self._known_hosts = asyncssh.import_known_hosts("") if ssh.host_keys else _read_known_hosts(ssh)
        self.witness = Witness(frozenset(map(fingerprint, ssh.host_keys)))
        self.key_kinds = _key_kinds(ssh)

    @property
    def known_hosts(self) -> asyncssh.SSHKnownHosts:
        """What asyncssh compares with before it asks the witness."""
        return self._known_hosts

    def refusal(self, error: asyncssh.HostKeyNotVerifiable) -> str:
        """Why the host is not trusted, with both fingerprints where there are two, and how to mend it."""
        ssh, where, shown = self._ssh, address(self._ssh), _named(self.witness.shown or self.witness.authority)
        if ssh.host_keys:
            wanted = " or ".join(fingerprint(key) for key in ssh.host_keys)
            return f"{_CHANGED} {where} shows {shown}, and host_key of the target is {wanted}. {_ASK} host_key."
        host_keys, authorities = self._known_hosts.match(ssh.host, "", ssh.port if ssh.port != 22 else None)[:2]
        if "revoked" in error.reason:
            return (
                f"The key of {where}, or its authority's, is marked @revoked in {ssh.known_hosts}; we told it nothing."
                " Ask who revoked it and why; give the host a new key."
            )
        if authorities and self.witness.authority is None and self.witness.shown is None:
            return (
                f"The host certificate of {where} does not fit: {error.reason}. Its authority is known; have a"
                f" certificate signed for the name {ssh.host}, or set ssh.host to a name that is in it."
            )
        if not host_keys and not authorities:
            return f"The key of {where} ({shown}) is not in {ssh.known_hosts}. {how_to_add(ssh)}"
        known = [*(_named(key) for key in host_keys), *(f"the authority {_named(key)}" for key in authorities)]
        by = "a certificate of the authority " if self.witness.authority else ""
        return (
            f"{_CHANGED} {where} shows {by}{shown}, and {ssh.known_hosts} has {', '.join(known)}. {_ASK} the old"
            f" line (`ssh-keygen -R '{_entry(ssh)}' -f {ssh.known_hosts}`). {how_to_add(ssh)}"
        )


_CHANGED = "HOST KEY CHANGED:"
_ASK = (
    "It was reinstalled, or somebody stands between; we told it nothing. Ask who runs it, compare with"
    " `ssh-keygen -lf` on its console, and only then replace"
)


def address(ssh: Ssh) -> str:
    """The host as sentences name it."""
    return f"{ssh.host}:{ssh.port}"


def fingerprint(key: str) -> str:
    """The SHA256 fingerprint of a public key's text; a fingerprint stays as it is."""
    if key.startswith("SHA256:"):
        return key
    digest = hashlib.sha256(base64.b64decode(key.split()[1])).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def how_to_add(ssh: Ssh) -> str:
    """How a host becomes known; asked through the jump host where there is one."""
    scan = f"ssh-keyscan -p {ssh.port} {ssh.host}"
    scan = f"ssh {ssh.via.user}@{ssh.via.host} {scan}" if ssh.via else scan
    return f"Add it with `{scan} >> {ssh.known_hosts}` and compare `ssh-keygen -lf` of it with the same on the host's console."


def _key_kinds(ssh: Ssh) -> tuple[str, ...]:
    """The kinds of key to ask the host for; none where known_hosts tells.

    With pinned keys they are those keys' own, with a fingerprint any: but never a certificate, which pins do not fit.
    """
    if not ssh.host_keys:
        return ()
    if any(key.startswith("SHA256:") for key in ssh.host_keys):
        return tuple(kind.decode() for kind in get_default_public_key_algs())
    try:
        kinds = [asyncssh.import_public_key(key).sig_algorithms for key in ssh.host_keys]
    except asyncssh.KeyImportError as error:
        raise StepFailed(f"host_key of {address(ssh)} cannot be read ({error}): write it anew.") from error
    return tuple(dict.fromkeys(kind.decode() for some in kinds for kind in some))


def _read_known_hosts(ssh: Ssh) -> asyncssh.SSHKnownHosts:
    try:
        return asyncssh.read_known_hosts(str(ssh.known_hosts))
    except FileNotFoundError as error:
        raise StepFailed(f"The file of known hosts {ssh.known_hosts} is missing. {how_to_add(ssh)}") from error
    except OSError as error:
        reason = (
            f"The file of known hosts {ssh.known_hosts} cannot be read: {error.strerror}; let the bot's user read it."
        )
        raise StepFailed(reason) from error
    except ValueError as error:
        raise StepFailed(f"The file of known hosts {ssh.known_hosts} is broken: {error}; mend that line.") from error


def _named(key: asyncssh.SSHKey | None) -> str:
    return f"{key.get_fingerprint()} ({key.get_algorithm()})" if key else "a key that cannot be read"


def _entry(ssh: Ssh) -> str:
    return ssh.host if ssh.port == 22 else f"[{ssh.host}]:{ssh.port}"

"""What a capture can be taken of, and how it is reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret lies (``env:NAME``, ``vault://mount/path#key``, see `bot.references`), never the secret itself."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ssh:
    """How to reach a machine over SSH, through *via* where it is set.

    The host's key is always verified: it is one of *host_keys* where there are any, else against *known_hosts*.
    """

    host: str
    user: str
    known_hosts: Path
    port: int = 22
    key: SecretRef | None = None  # a private key's text
    passphrase: SecretRef | None = None  # of the key
    certificate: Path | None = None  # vouches for the key, or for one of the agent's
    agent: Path | bool = False  # its socket, or True for the one that $SSH_AUTH_SOCK names
    password: SecretRef | None = None
    host_keys: tuple[str, ...] = ()  # public keys ("ssh-ed25519 AAAA…") or fingerprints ("SHA256:…")
    via: Ssh | None = None


class WindowsShell(StrEnum):
    """What OpenSSH for Windows hands commands to: its DefaultShell in the registry, cmd.exe where none is set."""

    AUTO = "auto"  # asked once
    CMD = "cmd"
    POWERSHELL = "powershell"


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """How to reach a Windows machine: over OpenSSH for Windows."""

    ssh: Ssh
    shell: WindowsShell = WindowsShell.AUTO
    tools: str = "C:\\Sysinternals"  # a folder there, which is looked through after its PATH


class Tls(StrEnum):
    """How the connection to a database is protected."""

    VERIFY = "verify"  # certificate and name are checked
    REQUIRED = "required"  # encrypted, certificate not checked
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class MySql:
    """How to reach a MySQL or MariaDB server; *via* is an SSH jump host.

    *account* is where the user's name lies, of a store that gives out accounts; *user* only names it for people then.
    """

    host: str
    user: str
    account: SecretRef | None = None
    password: SecretRef | None = None
    port: int = 3306
    database: str | None = None
    tls: Tls = Tls.VERIFY
    ca: Path | None = None
    via: Ssh | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Something a capture can be taken of. At least one way to reach it is set."""

    name: str
    about: str = ""
    mysql: MySql | None = None
    ssh: Ssh | None = None
    windows: Windows | None = None
    local: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)  # for rules
    become: bool = False  # steps that see more as root run through sudo, as far as its rules there allow
    paths: tuple[str, ...] | None = None  # of files that may be read as logs; None: what each recipe takes for one

    @property
    def kinds(self) -> frozenset[TargetKind]:
        """What recipes can want of it."""
        kinds = set()
        if self.mysql:
            kinds.add(TargetKind.MYSQL)
        if self.ssh or self.local:
            kinds.add(TargetKind.HOST)
        if self.windows:
            kinds.add(TargetKind.WINDOWS)
        return frozenset(kinds)


class TargetKind(StrEnum):
    """What a recipe is for."""

    HOST = "host"
    MYSQL = "mysql"
    WINDOWS = "windows"

    @property
    def words(self) -> str:
        """The kind in a sentence's place, plural."""
        return {"host": "hosts", "mysql": "MySQL and MariaDB servers", "windows": "Windows hosts"}[self]

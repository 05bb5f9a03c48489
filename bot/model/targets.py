"""What a capture can be taken of, and how it is reached."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret lies (``env:NAME``, ``file:/path``), never the secret itself."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ssh:
    """How to reach a machine over SSH. The host key is always verified against *known_hosts*."""

    host: str
    user: str
    known_hosts: Path
    port: int = 22
    key: SecretRef | None = None  # a private key's text
    password: SecretRef | None = None


class Tls(StrEnum):
    """How the connection to a database is protected."""

    VERIFY = "verify"  # certificate and name are checked
    REQUIRED = "required"  # encrypted, certificate not checked
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class MySql:
    """How to reach a MySQL or MariaDB server; *via* is an SSH jump host."""

    host: str
    user: str
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
    local: bool = False

    @property
    def kinds(self) -> frozenset[TargetKind]:
        """What recipes can want of it."""
        kinds = set()
        if self.mysql:
            kinds.add(TargetKind.MYSQL)
        if self.ssh or self.local:
            kinds.add(TargetKind.HOST)
        return frozenset(kinds)


class TargetKind(StrEnum):
    """What a recipe is for."""

    HOST = "host"
    MYSQL = "mysql"

    @property
    def words(self) -> str:
        """The kind in a sentence's place, plural."""
        return {"host": "hosts", "mysql": "MySQL and MariaDB servers"}[self]

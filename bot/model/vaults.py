"""Stores of secrets, and how the bot shows them who it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from bot.model.targets import SecretRef


class Mount(StrEnum):
    """What lies below a mount of Vault's."""

    KV1 = "kv1"
    KV2 = "kv2"
    OTHER = "other"  # read as it is, for example a database engine, which gives out an account with a lease


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAuth:
    """A token that somebody else keeps alive or replaces, as Vault Agent does in its sink file."""

    token: SecretRef


@dataclass(frozen=True, slots=True, kw_only=True)
class AppRoleAuth:
    """A role's id and its secret id."""

    role_id: SecretRef
    secret_id: SecretRef
    mount: str = "approle"


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesAuth:
    """The service account that the bot runs as; its token's file is read at each login."""

    role: str
    jwt: SecretRef
    mount: str = "kubernetes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vault:
    """HashiCorp Vault or OpenBao. *mounts* says what it does not tell the bot's token itself."""

    address: str
    auth: TokenAuth | AppRoleAuth | KubernetesAuth
    namespace: str | None = None
    ca: Path | None = None
    mounts: Mapping[str, Mount] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsSecrets:
    """AWS Secrets Manager. Credentials left out are found by the AWS SDK itself."""

    region: str
    endpoint_url: str | None = None
    access_key: SecretRef | None = None
    secret_key: SecretRef | None = None

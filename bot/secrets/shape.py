"""What `capturebot.yml` may say of stores of secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from bot.errors import Problem
from bot.model import (
    AppRoleAuth,
    AwsSecrets,
    KubernetesAuth,
    Mount,
    SecretRef,
    TokenAuth,
    Vault,
)
from bot.references import read_reference
from bot.shapes import Shape, wrong
from bot.values import LocalSecret, Matches, Text, Url
from bot.yamlfile import Document, Where

JWT_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/token"

VaultPath = Annotated[str, Matches(r"[A-Za-z0-9_.-]{1,80}(?:/[A-Za-z0-9_.-]{1,80}){0,10}/?", "a path of Vault's")]
Region = Annotated[str, Matches(r"[a-z0-9-]{1,40}", "a region's name, such as `eu-west-1`")]


class AppRoleShape(Shape):
    """A login by AppRole."""

    role_id: LocalSecret = Field(description="the role's id", examples=["env:VAULT_ROLE_ID"])
    secret_id: LocalSecret = Field(description="its secret id", examples=["file:/etc/capturebot/vault-secret-id"])
    mount: VaultPath = Field("approle", description="where the method is mounted", examples=["approle"])


class KubernetesShape(Shape):
    """A login as the service account of the bot's pod."""

    role: Text = Field(description="the role of Vault's", examples=["capturebot"])
    jwt_file: Text = Field(JWT_FILE, description="file of the service account's token", examples=[JWT_FILE])
    mount: VaultPath = Field("kubernetes", description="where the method is mounted", examples=["kubernetes"])


class VaultAuthShape(Shape):
    """How the bot shows Vault who it is: one way."""

    token: LocalSecret | None = Field(
        None, description="a token, as Vault Agent keeps one in a file", examples=["file:/run/vault/token"]
    )
    approle: AppRoleShape | None = Field(None, description="AppRole")
    kubernetes: KubernetesShape | None = Field(None, description="the pod's service account")

    @model_validator(mode="after")
    def _one_way(self) -> VaultAuthShape:
        if sum(way is not None for way in (self.token, self.approle, self.kubernetes)) != 1:
            wrong("must have one way to log in", "write one of `token`, `approle` and `kubernetes`")
        return self


class VaultShape(Shape):
    """HashiCorp Vault or OpenBao, for references `vault://mount/path#key`."""

    address: Url = Field(description="its base URL", examples=["https://vault.example:8200"])
    auth: VaultAuthShape = Field(description="how the bot logs in", examples=[{"token": "file:/run/vault/token"}])
    namespace: VaultPath | None = Field(None, description="namespace that all paths are in", examples=["team-a"])
    ca: Text | None = Field(
        None, description="file of the authority that signed its certificate", examples=["/etc/capturebot/vault-ca.pem"]
    )
    mounts: Annotated[dict[VaultPath, Literal["kv1", "kv2", "other"]], Field(max_length=50)] = Field(
        {}, description="what lies at a mount, where the bot's token may not ask", examples=[{"secret": "kv2"}]
    )


class AwsSecretsShape(Shape):
    """AWS Secrets Manager, for references `awssm://name#key`."""

    region: Region = Field(description="its region", examples=["eu-west-1"])
    endpoint_url: Url | None = Field(
        None, description="an address other than the region's own", examples=["https://secrets.example"]
    )
    access_key: LocalSecret | None = Field(
        None, description="left out: the AWS SDK finds credentials", examples=["env:AWS_ACCESS_KEY_ID"]
    )
    secret_key: LocalSecret | None = Field(
        None, description="belongs to `access_key`", examples=["env:AWS_SECRET_ACCESS_KEY"]
    )

    @model_validator(mode="after")
    def _whole(self) -> AwsSecretsShape:
        if (self.access_key is None) != (self.secret_key is None):
            wrong(
                "has only one of `access_key` and `secret_key`", "give both, or neither to use the AWS SDK's own search"
            )
        return self


def read_vault(shape: VaultShape | None, base: Path) -> Vault | None:
    """The shape as a value; a relative `ca` starts at *base*."""
    if shape is None:
        return None
    auth: TokenAuth | AppRoleAuth | KubernetesAuth
    match shape.auth:
        case VaultAuthShape(approle=AppRoleShape() as role):
            auth = AppRoleAuth(role_id=role.role_id, secret_id=role.secret_id, mount=role.mount.strip("/"))
        case VaultAuthShape(kubernetes=KubernetesShape() as pod):
            jwt = SecretRef(f"file:{pod.jwt_file}")
            auth = KubernetesAuth(role=pod.role, jwt=jwt, mount=pod.mount.strip("/"))
        case VaultAuthShape(token=SecretRef() as token):
            auth = TokenAuth(token=token)
    return Vault(
        address=shape.address.rstrip("/"),
        auth=auth,
        namespace=shape.namespace.strip("/") if shape.namespace else None,
        ca=base / shape.ca if shape.ca is not None else None,
        mounts={name: Mount(kind) for name, kind in shape.mounts.items()},
    )


def read_aws(shape: AwsSecretsShape | None) -> AwsSecrets | None:
    """The shape as a value."""
    return AwsSecrets(**dict(shape)) if shape else None


def faults_of_references(document: Document, stores: dict[str, bool], problems: list[Problem]) -> None:
    """Add to *problems* each reference to one of the *stores* that has no settings."""
    for where, text in _texts(document.value, ()):
        scheme, colon, _ = ref.text.partition("://") if (ref := read_reference(text)) else ("", "", "")
        if colon and not stores.get(scheme, True):
            what = {"vault": "Vault", "awssm": "AWS Secrets Manager"}[scheme]
            cure = f"add `{scheme}:` with {'its address' if scheme == 'vault' else 'a region'}"
            problems.append(document.problem(where, f"is a secret of {what}, which has no settings", cure))


def _texts(value: object, where: Where) -> list[tuple[Where, str]]:
    match value:
        case str():
            return [(where, value)]
        case dict():
            return [found for key, inner in value.items() for found in _texts(inner, (*where, key))]
        case list():
            return [found for index, inner in enumerate(value) for found in _texts(inner, (*where, index))]
    return []

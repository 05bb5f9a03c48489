"""Targets in capturebot.yml: what captures can be taken of, and the ways to reach it."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator

from bot.errors import Problem
from bot.model import MySql, SecretRef, Ssh, Target, Tls, Windows, WindowsShell
from bot.policy.shape import LabelName, LabelValue
from bot.references import REFERENCE, read_reference
from bot.shapes import Shape, wrong
from bot.values import USER, Host, Matches, Port, Secret, Text, User, check_user, path_from
from bot.yamlfile import Document, nearest, shown

JUMPS = 4  # hosts between the bot and a target
HOST_KEYS = 10  # pinned, of one host

TargetName = Annotated[
    str,
    Matches(
        r"[a-z0-9][a-z0-9._-]{0,62}", "lower-case letters, digits, `.`, `_` and `-`, at most 63", "rename the target"
    ),
]

_FINGERPRINT = r"SHA256:[A-Za-z0-9+/]{43}"
_PUBLIC_KEY = r"((?:ssh|ecdsa|sk)-[A-Za-z0-9@.-]{3,60}) (AAAA[A-Za-z0-9+/]{20,5000}={0,2})(?: .{0,200})?"
_ACCOUNT = f"^(?:{USER}|{REFERENCE})$"


def _host_keys(value: Any) -> tuple[str, ...]:
    keys = value if isinstance(value, list) else [value]
    if not 1 <= len(keys) <= HOST_KEYS:
        wrong(f"must be one key, or a list of at most {HOST_KEYS}")
    return tuple(_host_key(key) for key in keys)


def _host_key(value: Any) -> str:
    """A fingerprint, or a public key without its comment."""
    cure = "write what `ssh-keygen -lf` or `ssh-keyscan` shows of it, such as `SHA256:…` or `ssh-ed25519 AAAA…`"
    text = value.strip() if isinstance(value, str) else ""
    if re.fullmatch(_FINGERPRINT, text):
        return text
    if not (found := re.fullmatch(_PUBLIC_KEY, text)):
        wrong("is neither a host's public key nor its fingerprint", cure)
    try:
        blob = base64.b64decode(found[2], validate=True)
    except binascii.Error:
        blob = b""
    if blob[4 : 4 + len(found[1])] != found[1].encode():
        wrong("is a public key that was cut or changed", cure)
    return f"{found[1]} {found[2]}"


def _agent(value: Any) -> str | bool:
    if isinstance(value, bool) or (isinstance(value, str) and re.fullmatch(r"[^\x00-\x1f]{1,500}", value)):
        return value
    return wrong("must be `true`, or the path of an agent's socket", "`true` means the one that $SSH_AUTH_SOCK names")


def _account(value: Any) -> str | SecretRef:
    if isinstance(value, str) and (reference := read_reference(value)):
        return reference
    return check_user(value) if isinstance(value, str) else wrong("must be a user's name")


class SshShape(Shape):
    """How to reach a machine over SSH."""

    host: Host = Field(
        description="its name or address, as seen from the jump host where there is one", examples=["10.0.0.5"]
    )
    user: User = Field(description="who the bot logs in as", examples=["capture"])
    port: Port = Field(22, description="port of sshd", examples=[22])
    key: Secret | None = Field(None, description="a private key", examples=["file:/etc/capturebot/id_ed25519"])
    passphrase: Secret | None = Field(None, description="the key's passphrase", examples=["env:SSH_PASSPHRASE"])
    certificate: Text | None = Field(
        None,
        description="file of the certificate for the key, read at each login",
        examples=["/etc/capturebot/id_ed25519-cert.pub"],
    )
    agent: Annotated[
        str | bool, PlainValidator(_agent), WithJsonSchema({"type": ["boolean", "string"], "minLength": 1})
    ] = Field(
        False,
        description="an agent holds the keys, also of hardware: its socket, or true for $SSH_AUTH_SOCK",
        examples=[True],
    )
    password: Secret | None = Field(
        None, description="a password, where keys are not allowed", examples=["env:SSH_PASSWORD"]
    )
    known_hosts: Text = Field(
        "~/.ssh/known_hosts",
        description="file of host keys; the host's own must be in it, or its authority (@cert-authority)",
        examples=["/etc/capturebot/known_hosts"],
    )
    host_key: (
        Annotated[
            tuple[str, ...],
            PlainValidator(_host_keys),
            WithJsonSchema({"type": ["string", "array"], "items": {"type": "string"}, "minLength": 1, "minItems": 1}),
        ]
        | None
    ) = Field(
        None,
        description="the host's public key or its SHA256 fingerprint, or a list; known_hosts is not asked then",
        examples=["SHA256:X48S6Q8bfi1qRrEbFm1xGTBIhXpKOGzVVrI09DlrOSw"],
    )
    via: Text | None = Field(None, description="a target with `ssh`, to reach it through", examples=["bastion"])

    @model_validator(mode="after")
    def _all_is_used(self) -> SshShape:
        if self.passphrase is not None and self.key is None:
            wrong("is given without `key`", "add the key that it opens, or take it out", at="passphrase")
        if self.certificate is not None and self.key is None and self.agent is False:
            wrong("is given without a key", "add the `key` that it vouches for, or `agent`", at="certificate")
        return self


class WindowsShape(SshShape):
    """How to reach a Windows machine, over OpenSSH for Windows."""

    shell: Literal["auto", "cmd", "powershell"] = Field(
        "auto",
        description="what its sshd hands commands to (DefaultShell in the registry); auto: asked once",
        examples=["cmd"],
    )
    tools: Annotated[
        str,
        Matches(
            r'[A-Za-z]:(?:\\[^\\/:*?"<>|;\x00-\x1f]{1,100}){1,15}', "a folder of Windows, such as `C:\\Sysinternals`"
        ),
    ] = Field(
        "C:\\Sysinternals",
        description="a folder there of programs that steps need, such as ProcDump; the PATH is looked through before it",
        examples=["D:\\Tools"],
    )


class MySqlShape(Shape):
    """How to reach a MySQL or MariaDB server."""

    host: Host = Field(
        description="its name or address, as seen from the jump host where there is one", examples=["10.0.0.5"]
    )
    user: Annotated[
        str | SecretRef, PlainValidator(_account), WithJsonSchema({"type": "string", "pattern": _ACCOUNT})
    ] = Field(
        description="the account that reads, or a reference to its name where a store gives out accounts",
        examples=["capture"],
    )
    port: Port = Field(3306, description="port of the server", examples=[3306])
    password: Secret | None = Field(None, description="the account's password", examples=["env:ORDERS_DB"])
    database: Text | None = Field(None, description="the schema that statements start in", examples=["orders"])
    tls: Literal["verify", "required", "off"] = Field(
        "verify",
        description="verify: certificate and name are checked; required: encrypted only; off",
        examples=["verify"],
    )
    ca: Text | None = Field(
        None, description="file of the authority that signed the certificate", examples=["/etc/capturebot/ca.pem"]
    )
    via: Text | None = Field(None, description="a target with `ssh`, to reach it through", examples=["bastion"])

    @model_validator(mode="after")
    def _ca_is_used(self) -> MySqlShape:
        if self.ca is not None and self.tls != "verify":
            wrong(f"is not used with `tls: {self.tls}`", "write `tls: verify`, or take it out", at="ca")
        return self


LogPath = Annotated[
    str,
    Matches(
        r"/(?!\*)(?!.*(?:^|/)\.{1,2}(?:/|$))(?:(?:\*\*|(?!\*\*)(?:[\w@.,:+=~% -]|\*(?!\*)|\?){1,100})(?:/|$)){1,20}(?<!/)",
        "an absolute path such as `/var/log/**`, without `..`, whose first folder is no pattern",
    ),
]


class TargetShape(Shape):
    """Something a capture can be taken of."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["mysql"]},
                {"required": ["ssh"]},
                {"required": ["windows"]},
                {"properties": {"local": {"const": True}}, "required": ["local"]},
            ]
        }
    )

    about: Annotated[str, Field(max_length=200)] = Field(
        "", description="what it is, for people", examples=["Orders, primary"]
    )
    mysql: MySqlShape | None = Field(None, description="its database")
    ssh: SshShape | None = Field(None, description="its machine, over SSH")
    windows: WindowsShape | None = Field(None, description="its machine, where that runs Windows, over SSH")
    local: bool = Field(False, description="it is the machine that the bot runs on", examples=[True])
    labels: Annotated[dict[LabelName, LabelValue], Field(max_length=20)] = Field(
        {}, description="words that rules of `policy` go by", examples=[{"env": "prod"}]
    )
    become: Literal["sudo"] | None = Field(
        None,
        description="run steps that see more as root through sudo; `capturebot sudoers` prints the rules that takes",
        examples=["sudo"],
    )
    paths: Annotated[list[LogPath], Field(min_length=1, max_length=50)] | None = Field(
        None,
        description="files that may be read as logs, and no others: `*` within a name, `**` for folders of any depth",
        examples=[["/var/log/**", "/srv/app/logs/*.log"]],
    )

    @model_validator(mode="after")
    def _reachable(self) -> TargetShape:
        places = {"ssh": self.ssh, "windows": self.windows, "local": self.local}
        given = [name for name, place in places.items() if place]
        if not (self.mysql or given):
            wrong("has no way to reach it", "add `ssh`, `windows`, `mysql`, or `local: true` for this machine")
        for name in ("paths", "become"):
            if self.windows and getattr(self, name) is not None:
                wrong("is for Linux, and this machine runs Windows", "take it out", at=name)
            if getattr(self, name) is not None and not given:
                wrong("is for a machine, and there is no way to one", "add `ssh`, or take it out", at=name)
        if len(given) > 1:
            message = f"is given beside `{given[0]}`, and programs can run in one place only"
            wrong(message, "keep one of them", at=given[1])
        return self


def read_targets(
    document: Document, shapes: Mapping[str, TargetShape], problems: list[Problem], *, base: Path
) -> dict[str, Target]:
    """The targets by name; what is wrong with them is added to *problems*."""
    hosts = {name: target.ssh for name, target in shapes.items() if target.ssh}
    for name, target in shapes.items():
        for way in ("mysql", "ssh", "windows"):
            shape = getattr(target, way)
            if shape is not None and shape.via is not None and (trouble := _wrong_way(name, way, shape.via, hosts)):
                problems.append(document.problem(("targets", name, way, "via"), *trouble))
    if problems:
        hosts = {name: shape.model_copy(update={"via": None}) for name, shape in hosts.items()}
    ways = {name: _ssh(shape, hosts, base) for name, shape in hosts.items()}
    return {
        name: Target(
            name=name,
            about=target.about,
            mysql=_mysql(target.mysql, base, ways) if target.mysql else None,
            ssh=ways.get(name),
            windows=_windows(target.windows, hosts, base) if target.windows else None,
            local=target.local,
            labels=target.labels,
            become=target.become is not None,
            paths=tuple(target.paths) if target.paths is not None else None,
        )
        for name, target in shapes.items()
    }


def _wrong_way(name: str, way: str, via: str, hosts: Mapping[str, SshShape]) -> tuple[str, str] | None:
    """What is wrong with going through *via*, and the cure."""
    passed: list[str] = []
    step: str | None = via
    while step is not None:
        if step == name and way == "ssh":
            return f"leads back to `{name}`", "a way through jump hosts must end at one that is reached directly"
        if step not in hosts and step == via:
            meant = nearest(step, hosts)
            cure = f"did you mean `{meant}`?" if meant else "name a target that has `ssh`, or add one"
            return f"there is no target `{shown(step)}` with `ssh`", cure
        if step not in hosts or step in passed:
            return None  # told of the one that it is wrong with
        passed.append(step)
        if len(passed) > JUMPS:
            return f"leads through more than {JUMPS} hosts", "name one that is reached more directly"
        step = hosts[step].via
    return None


def _ssh(shape: SshShape, hosts: Mapping[str, SshShape], base: Path) -> Ssh:
    return Ssh(
        host=shape.host,
        user=shape.user,
        known_hosts=path_from(shape.known_hosts, base),
        port=shape.port,
        key=shape.key,
        passphrase=shape.passphrase,
        certificate=path_from(shape.certificate, base) if shape.certificate is not None else None,
        agent=path_from(shape.agent, base) if isinstance(shape.agent, str) else shape.agent,
        password=shape.password,
        host_keys=shape.host_key or (),
        via=_ssh(hosts[shape.via], hosts, base) if shape.via is not None and shape.via in hosts else None,
    )


def _windows(shape: WindowsShape, hosts: Mapping[str, SshShape], base: Path) -> Windows:
    return Windows(ssh=_ssh(shape, hosts, base), shell=WindowsShell(shape.shell), tools=shape.tools)


def _mysql(shape: MySqlShape, base: Path, ways: Mapping[str, Ssh]) -> MySql:
    account = shape.user if isinstance(shape.user, SecretRef) else None
    return MySql(
        host=shape.host,
        user=shape.user.text if isinstance(shape.user, SecretRef) else shape.user,
        account=account,
        password=shape.password,
        port=shape.port,
        database=shape.database,
        tls=Tls(shape.tls),
        ca=path_from(shape.ca, base) if shape.ca is not None else None,
        via=ways.get(shape.via or ""),
    )

"""`capturebot.yml` and the environment, read once, into frozen values.

Every base URL is a setting, so that stand-ins can take a real service's place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bot import yamlfile
from bot.baselines import read_baselines
from bot.errors import ConfigError, Problem
from bot.model import Baseline, MySql, SecretRef, Service, Ssh, Target, Tls
from bot.recipes.queries import Query, read_queries
from bot.services import read_services
from bot.settings_file import MySqlShape, PagerDutyShape, S3Shape, SettingsShape, SlackShape, SshShape
from bot.shapes import shaped
from bot.yamlfile import Document, nearest, shown

WEBHOOKS = "/pagerduty/webhooks"  # where PagerDuty calls, on the address of `web`


@dataclass(frozen=True, slots=True, kw_only=True)
class Slack:
    """The Slack app: a bot token (``xoxb-``) and an app-level token (``xapp-``) for Socket Mode."""

    bot_token: SecretRef
    app_token: SecretRef
    api_url: str = "https://slack.com/api/"
    connections: int = 2  # Socket Mode connections; Slack allows 10 an app
    announcements: tuple[str, ...] = ()  # ids of channels in which other tools announce incidents


@dataclass(frozen=True, slots=True, kw_only=True)
class PagerDuty:
    """The REST API of one region; *sender* is the e-mail address sent as ``From``."""

    token: SecretRef
    sender: str
    api_url: str = "https://api.pagerduty.com"
    user_token: SecretRef | None = None  # of an owner or global admin: only they are told which channel an incident has
    webhook_secrets: tuple[SecretRef, ...] = ()  # one fits; several while one replaces another


@dataclass(frozen=True, slots=True, kw_only=True)
class S3:
    """A bucket. Credentials left out are found by the AWS SDK itself (instance role, environment)."""

    bucket: str
    prefix: str = "capturebot"
    region: str = "us-east-1"
    endpoint_url: str | None = None
    access_key: SecretRef | None = None
    secret_key: SecretRef | None = None
    encryption: str | None = "AES256"  # or "aws:kms"; None where the bucket's default rules
    kms_key: str | None = None
    path_style: bool = False
    browse_url: str | None = None  # e.g. https://…/{bucket}/{key}; None: the AWS console, or no link with an endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds that hold for all captures together."""

    captures_at_once: int = 10
    captures_waiting: int = 100
    captures_per_target: int = 2
    steps_at_once: int = 4  # per target
    capture_s: float = 900.0  # a capture's longest life, in seconds
    capture_bytes: int = 20_000_000_000  # stored by one capture
    drain_s: float = 20.0  # how long a shutdown waits for running captures
    cooldown_s: float = 120.0  # for so long, who asks for the same joins what there is; 0: never


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of `capturebot.yml`."""

    targets: Mapping[str, Target]
    journal: str = "sqlite:///capturebot.db"  # an SQLAlchemy URL
    recipes: tuple[Path, ...] = ()  # folders of the operator's own recipes, after the built-in ones
    queries: tuple[Query, ...] = ()
    services: Mapping[str, Service] = field(default_factory=dict)
    baselines: tuple[Baseline, ...] = ()
    tools: Path | None = None  # a folder of programs that steps carry to hosts
    slack: Slack | None = None
    pagerduty: PagerDuty | None = None
    s3: S3 | None = None
    folder: Path | None = None  # keeps artifacts where there is no S3
    web: str | None = None  # host:port of health and metrics
    limits: Limits = field(default_factory=Limits)
    document: Document | None = field(default=None, repr=False, compare=False)  # what the file holds, to name its lines


def load(path: Path) -> Settings:
    """Read `capturebot.yml`; relative paths start from its folder. Raises ConfigError with every problem.

    Secrets are not resolved, and nothing that the file names is looked at: that is `capturebot doctor`'s.
    """
    document = yamlfile.load(path)
    shape = shaped(document, SettingsShape)
    base = path.resolve().parent
    limits = {name: value for name, value in shape.limits or () if value is not None}
    databases = [name for name, target in shape.targets.items() if target.mysql]
    problems: list[Problem] = []
    targets = _targets(document, shape, base, problems)
    queries = read_queries(document, shape.queries or {}, problems, base=base, databases=databases)
    services = read_services(document, shape.services or {}, problems, targets=targets)
    baselines = read_baselines(document, shape.baselines or (), problems, targets=targets)
    if problems:
        raise ConfigError(tuple(problems))
    return Settings(
        targets=targets,
        queries=queries,
        services=services,
        baselines=baselines,
        document=document,
        tools=_path(shape.tools, base) if shape.tools is not None else None,
        journal=_journal(shape.journal, base),
        recipes=tuple(_path(folder, base) for folder in shape.recipes or ()),
        slack=_slack(shape.slack) if shape.slack else None,
        pagerduty=_pagerduty(shape.pagerduty) if shape.pagerduty else None,
        s3=_s3(shape.s3) if shape.s3 else None,
        folder=_path(shape.folder, base) if shape.folder is not None else None,
        web=shape.web,
        limits=Limits(**limits),
    )


def _targets(document: Document, shape: SettingsShape, base: Path, problems: list[Problem]) -> dict[str, Target]:
    """The targets by name; what is wrong with them is added to *problems*."""
    jumps = {name: _ssh(target.ssh, base) for name, target in shape.targets.items() if target.ssh}
    for name, target in shape.targets.items():
        if target.mysql and target.mysql.via is not None and target.mysql.via not in jumps:
            meant = nearest(target.mysql.via, jumps)
            cure = f"did you mean `{meant}`?" if meant else "name a target that has `ssh`, or add one"
            where = ("targets", name, "mysql", "via")
            problems.append(document.problem(where, f"there is no target `{shown(target.mysql.via)}` with `ssh`", cure))
    return {
        name: Target(
            name=name,
            about=target.about,
            mysql=_mysql(target.mysql, base, jumps) if target.mysql else None,
            ssh=jumps.get(name),
            local=target.local,
        )
        for name, target in shape.targets.items()
    }


def _ssh(shape: SshShape, base: Path) -> Ssh:
    return Ssh(
        host=shape.host,
        user=shape.user,
        known_hosts=_path(shape.known_hosts, base),
        port=shape.port,
        key=shape.key,
        password=shape.password,
    )


def _mysql(shape: MySqlShape, base: Path, jumps: Mapping[str, Ssh]) -> MySql:
    return MySql(
        host=shape.host,
        user=shape.user,
        password=shape.password,
        port=shape.port,
        database=shape.database,
        tls=Tls(shape.tls),
        ca=_path(shape.ca, base) if shape.ca is not None else None,
        via=jumps.get(shape.via or ""),
    )


def _slack(shape: SlackShape) -> Slack:
    return Slack(
        bot_token=shape.bot_token,
        app_token=shape.app_token,
        api_url=shape.api_url.rstrip("/") + "/",  # the SDK appends the method's name to it
        connections=shape.connections,
        announcements=tuple(shape.announcements),
    )


def _pagerduty(shape: PagerDutyShape) -> PagerDuty:
    return PagerDuty(
        token=shape.token,
        sender=shape.sender,
        api_url=shape.api_url.rstrip("/"),
        user_token=shape.user_token,
        webhook_secrets=tuple(shape.webhook_secrets),
    )


def _s3(shape: S3Shape) -> S3:
    return S3(
        bucket=shape.bucket,
        prefix=shape.prefix,
        region=shape.region,
        endpoint_url=shape.endpoint_url,
        access_key=shape.access_key,
        secret_key=shape.secret_key,
        encryption=None if shape.encryption == "none" else shape.encryption,
        kms_key=shape.kms_key,
        path_style=shape.path_style,
        browse_url=shape.browse_url,
    )


def _journal(url: str, base: Path) -> str:
    """The URL with a relative SQLite path made absolute."""
    scheme = "sqlite:///"
    return f"{scheme}{_path(url.removeprefix(scheme), base)}" if url.startswith(scheme) else url


def _path(text: str, base: Path) -> Path:
    """An absolute path; `~` is the home of the bot's own user where it has one."""
    try:
        path = Path(text).expanduser()
    except RuntimeError:  # no such user, or one without a home
        path = Path(text)
    return base / path

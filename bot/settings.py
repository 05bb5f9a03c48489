"""`capturebot.yml` and the environment, read once, into frozen values.

Every base URL is a setting, so that stand-ins can take a real service's place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bot import yamlfile
from bot.baselines import read_baselines
from bot.budgets import read_budgets
from bot.errors import ConfigError, Problem
from bot.model import STANDARD, AwsSecrets, Baseline, Budgets, Policy, Redaction, SecretRef, Service, Target, Vault
from bot.policy.shape import read_policy
from bot.recipes.queries import Query, read_queries
from bot.redact.shape import read_redaction
from bot.retention import Audit, read_audit, read_keys, read_retention
from bot.secrets.shape import faults_of_references, read_aws, read_vault
from bot.services import read_services
from bot.settings_file import PagerDutyShape, S3Shape, SettingsShape, SlackShape
from bot.shapes import shaped
from bot.targets import read_targets
from bot.tools import FetchedTool, read_tools
from bot.values import path_from
from bot.yamlfile import Document

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
    retention: Mapping[str, int] = field(default_factory=dict)  # days by kind of object; others are kept for ever
    keys: Mapping[str, str] = field(default_factory=dict)  # KMS keys of targets that have one of their own
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
    fetched_tools: tuple[FetchedTool, ...] = ()  # such programs in S3
    slack: Slack | None = None
    pagerduty: PagerDuty | None = None
    s3: S3 | None = None
    audit: Audit | None = None
    folder: Path | None = None  # keeps artifacts where there is no S3
    web: str | None = None  # host:port of health and metrics
    policy: Policy = field(default_factory=Policy)
    budgets: Budgets = field(default_factory=Budgets)
    redaction: Redaction = STANDARD
    vault: Vault | None = None
    awssm: AwsSecrets | None = None
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
    targets = read_targets(document, shape.targets, problems, base=base)
    queries = read_queries(document, shape.queries or {}, problems, base=base, databases=databases)
    services = read_services(document, shape.services or {}, problems, targets=targets)
    baselines = read_baselines(document, shape.baselines or (), problems, targets=targets)
    policy = read_policy(document, shape.policy, problems)
    faults_of_references(document, {"vault": shape.vault is not None, "awssm": shape.awssm is not None}, problems)
    keys = read_keys(document, shape.s3.keys if shape.s3 else (), targets, problems)
    if problems:
        raise ConfigError(tuple(problems))
    return Settings(
        vault=read_vault(shape.vault, base),
        awssm=read_aws(shape.awssm),
        policy=policy,
        targets=targets,
        queries=queries,
        services=services,
        baselines=baselines,
        document=document,
        tools=path_from(shape.tools, base) if shape.tools is not None else None,
        fetched_tools=read_tools(shape.fetched_tools),
        journal=_journal(shape.journal, base),
        recipes=tuple(path_from(folder, base) for folder in shape.recipes or ()),
        slack=_slack(shape.slack) if shape.slack else None,
        pagerduty=_pagerduty(shape.pagerduty) if shape.pagerduty else None,
        s3=_s3(shape.s3, keys) if shape.s3 else None,
        audit=read_audit(shape.audit),
        folder=path_from(shape.folder, base) if shape.folder is not None else None,
        web=shape.web,
        budgets=read_budgets(shape.budgets),
        redaction=read_redaction(shape.redaction),
        limits=Limits(**limits),
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


def _s3(shape: S3Shape, keys: Mapping[str, str]) -> S3:
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
        retention=read_retention(shape.retention),
        keys=keys,
    )


def _journal(url: str, base: Path) -> str:
    """The URL with a relative SQLite path made absolute."""
    scheme = "sqlite:///"
    return f"{scheme}{path_from(url.removeprefix(scheme), base)}" if url.startswith(scheme) else url

"""`capturebot.yml` and the environment, read once, into frozen values.

Every base URL is a setting, so that stand-ins can take a real service's place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bot.model import SecretRef, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Slack:
    """The Slack app: a bot token (``xoxb-``) and an app-level token (``xapp-``) for Socket Mode."""

    bot_token: SecretRef
    app_token: SecretRef
    api_url: str = "https://slack.com/api/"
    connections: int = 2  # Socket Mode connections; Slack allows 10 an app


@dataclass(frozen=True, slots=True, kw_only=True)
class PagerDuty:
    """The REST API of one region; *sender* is the e-mail address sent as ``From``."""

    token: SecretRef
    sender: str
    api_url: str = "https://api.pagerduty.com"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of `capturebot.yml`."""

    targets: Mapping[str, Target]
    journal: str = "sqlite:///capturebot.db"  # an SQLAlchemy URL
    recipes: tuple[Path, ...] = ()  # folders of the operator's own recipes, after the built-in ones
    slack: Slack | None = None
    pagerduty: PagerDuty | None = None
    s3: S3 | None = None
    folder: Path | None = None  # keeps artifacts where there is no S3
    web: str | None = None  # host:port of health and metrics
    limits: Limits = field(default_factory=Limits)

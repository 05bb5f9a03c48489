"""What `capturebot.yml` may hold."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator

from bot.baselines import BaselineShape
from bot.budgets import BudgetsShape
from bot.policy.shape import PolicyShape
from bot.recipes.queries import QueryName, QueryShape
from bot.redact.shape import RedactionShape
from bot.retention import AuditShape, BucketName, KeyShape, Prefix, RetentionShape
from bot.secrets.shape import AwsSecretsShape, VaultShape
from bot.services import ServiceName, ServiceShape
from bot.shapes import Shape, wrong
from bot.targets import TargetName, TargetShape
from bot.tools import FetchedToolShape
from bot.values import Matches, Secret, Size, Text, Url, check_host


def _browse_url(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s@]{1,2000}", text):
        wrong("must be a URL that people can open", "write for example `https://files.example/{bucket}/{key}`")
    if "{key}" not in text or re.search(r"[{}]", re.sub(r"\{(?:bucket|key)\}", "", text)):
        wrong("must hold `{key}`, may hold `{bucket}`, and no other braces", "")
    return text


def _journal(text: str) -> str:
    if re.fullmatch(r"postgresql(\+[a-z0-9]+)?://\S+", text):
        user_info = text.partition("://")[2].rpartition("@")[0]
        if ":" in user_info or "password" in text:
            wrong("has a password in it", "take it out, and give it in ~/.pgpass or PGPASSWORD")
        return text
    if not re.fullmatch(r"sqlite:///[^\x00-\x1f?:]+", text):
        wrong("must be an SQLAlchemy URL", "write for example `sqlite:////var/lib/capturebot/journal.db`")
    return text


def _web(value: Any) -> str:
    name, _, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if not name or not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        wrong("must be `host:port`, with a port from 1 to 65535", "write for example `127.0.0.1:8080`")
    check_host(name.removeprefix("[").removesuffix("]"))
    return f"{name}:{port}"


class SlackShape(Shape):
    """The Slack app."""

    bot_token: Secret = Field(description="the bot token (xoxb-…)", examples=["env:SLACK_BOT_TOKEN"])
    app_token: Secret = Field(
        description="the app-level token (xapp-…) for Socket Mode", examples=["env:SLACK_APP_TOKEN"]
    )
    api_url: Url = Field(
        "https://slack.com/api/", description="base of the Web API", examples=["https://slack.com/api/"]
    )
    connections: int = Field(2, ge=1, le=10, description="Socket Mode connections", examples=[2])
    announcements: Annotated[
        list[Annotated[str, Matches("[CG][A-Z0-9]{2,20}", "a channel's id, such as `C0123ABCD`")]], Field(max_length=50)
    ] = Field(
        [],
        description="ids of channels in which PagerDuty or another tool announces incidents",
        examples=[["C0123ABCD"]],
    )


class PagerDutyShape(Shape):
    """PagerDuty's REST API."""

    token: Secret = Field(description="a REST API key", examples=["env:PAGERDUTY_TOKEN"])
    sender: Annotated[str, Matches(r"[^@\s]{1,100}@[^@\s]{1,150}", "an e-mail address")] = Field(
        alias="from",
        description="e-mail address of the user that notes are written as",
        examples=["oncall-bot@example.com"],
    )
    api_url: Url = Field(
        "https://api.pagerduty.com", description="base of the region's API", examples=["https://api.eu.pagerduty.com"]
    )
    user_token: Secret | None = Field(
        None,
        description="a user's API token (owner or global admin), to ask which Slack channel an incident has",
        examples=["env:PAGERDUTY_USER_TOKEN"],
    )
    webhook_secrets: Annotated[list[Secret], Field(max_length=10)] = Field(
        [],
        description="secrets that PagerDuty signs its calls to `/pagerduty/webhooks` with; they need `web`",
        examples=[["file:/etc/capturebot/pagerduty-webhooks"]],
    )


class S3Shape(Shape):
    """A bucket that keeps artifacts."""

    model_config = ConfigDict(
        json_schema_extra={"dependentRequired": {"access_key": ["secret_key"], "secret_key": ["access_key"]}}
    )

    bucket: BucketName = Field(description="its name", examples=["incident-evidence"])
    prefix: Prefix = Field("capturebot", description="begins every key", examples=["capturebot"])
    region: Annotated[str, Matches(r"[a-z0-9-]{1,40}", "a region's name, such as `eu-west-1`")] = Field(
        "us-east-1", description="its region", examples=["eu-west-1"]
    )
    endpoint_url: Url | None = Field(
        None, description="a server other than AWS", examples=["https://minio.example:9000"]
    )
    access_key: Secret | None = Field(
        None, description="left out: the AWS SDK finds credentials", examples=["env:AWS_ACCESS_KEY_ID"]
    )
    secret_key: Secret | None = Field(
        None, description="belongs to `access_key`", examples=["env:AWS_SECRET_ACCESS_KEY"]
    )
    encryption: Literal["AES256", "aws:kms", "none"] = Field(
        "AES256", description="server-side encryption; none: the bucket's default rules", examples=["AES256"]
    )
    kms_key: Text | None = Field(None, description="key for `encryption: aws:kms`", examples=["alias/evidence"])
    path_style: bool = Field(False, description="bucket in the path instead of the host name", examples=[True])
    browse_url: Annotated[str, AfterValidator(_browse_url)] | None = Field(
        None, description="where people open an object", examples=["https://files.example/{bucket}/{key}"]
    )
    retention: RetentionShape | None = Field(
        None, description="how long objects are kept: each is tagged for the bucket's lifecycle rules"
    )
    keys: Annotated[list[KeyShape], Field(max_length=50)] = Field(
        [],
        description="encryption keys by a target's labels; the first that fits is taken",
        examples=[[{"labels": {"pci": "yes"}, "kms_key": "alias/evidence-pci"}]],
    )

    @model_validator(mode="after")
    def _whole(self) -> S3Shape:
        if (self.access_key is None) != (self.secret_key is None):
            wrong(
                "has only one of `access_key` and `secret_key`", "give both, or neither to use the AWS SDK's own search"
            )
        if self.kms_key is not None and self.encryption != "aws:kms":
            wrong(
                f"is not used with `encryption: {self.encryption}`",
                "write `encryption: aws:kms`, or take it out",
                at="kms_key",
            )
        return self


class LimitsShape(Shape):
    """Bounds that hold for all captures together. What is left out keeps its default."""

    captures_at_once: int | None = Field(None, ge=1, le=1000, description="captures that run together", examples=[10])
    captures_waiting: int | None = Field(
        None, ge=0, le=10_000, description="captures that wait for a place", examples=[100]
    )
    captures_per_target: int | None = Field(
        None, ge=1, le=100, description="captures that run on one target", examples=[2]
    )
    steps_at_once: int | None = Field(
        None, ge=1, le=8, description="steps that run together on one target", examples=[4]
    )
    capture_s: float | None = Field(
        None, ge=1, le=86_400, description="seconds that a capture may take", examples=[900]
    )
    capture_bytes: Size | None = Field(None, description="what one capture may store", examples=["20 GB"])
    drain_s: float | None = Field(
        None, ge=0, le=600, description="seconds that a shutdown waits for captures", examples=[20]
    )
    cooldown_s: float | None = Field(
        None,
        ge=0,
        le=3600,
        description="seconds for which who asks for the same capture joins the one that there is; 0: never",
        examples=[120],
    )


class SettingsShape(Shape):
    """capturebot.yml. Relative paths start from the file's own folder."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["s3"]}, {"required": ["folder"]}]})

    targets: Annotated[dict[TargetName, TargetShape], Field(min_length=1, max_length=2000)] = Field(
        description="what captures can be taken of", examples=[{"here": {"local": True}}]
    )
    journal: Annotated[str, AfterValidator(_journal)] = Field(
        "sqlite:///capturebot.db",
        description="SQLAlchemy URL of the event log",
        examples=["sqlite:////var/lib/capturebot/journal.db"],
    )
    recipes: Annotated[list[Text], Field(max_length=20)] | None = Field(
        None, description="folders of recipes of your own", examples=[["./captures"]]
    )
    queries: Annotated[dict[QueryName, QueryShape], Field(max_length=200)] | None = Field(
        None, description="questions of your own to databases, asked by `/capture query`"
    )
    tools: Text | None = Field(
        None, description="a folder of programs that steps carry to hosts which lack them", examples=["./tools"]
    )
    fetched_tools: Annotated[list[FetchedToolShape], Field(max_length=20)] = Field(
        [], description="such programs that lie in S3; they need `s3`, whose credentials they are fetched with"
    )
    services: Annotated[dict[ServiceName, ServiceShape], Field(max_length=500)] | None = Field(
        None, description="what people are paged for, with its targets and recipes"
    )
    baselines: Annotated[list[BaselineShape], Field(max_length=100)] | None = Field(
        None, description="what is captured on schedule while all is well, to compare with later"
    )
    slack: SlackShape | None = Field(None, description="the Slack app")
    pagerduty: PagerDutyShape | None = Field(None, description="where incidents get their notes")
    s3: S3Shape | None = Field(None, description="the bucket that keeps artifacts")
    audit: AuditShape | None = Field(None, description="where the journal is copied to; it needs `s3`")
    folder: Text | None = Field(
        None, description="a folder that keeps artifacts, instead of `s3`", examples=["/var/lib/capturebot/artifacts"]
    )
    web: (
        Annotated[str, PlainValidator(_web), WithJsonSchema({"type": "string", "pattern": "^.+:[0-9]{1,5}$"})] | None
    ) = Field(None, description="host:port of health and metrics", examples=["127.0.0.1:8080"])
    policy: PolicyShape | None = Field(None, description="who may do what, and what needs an approval")
    budgets: BudgetsShape | None = Field(
        None, description="how much the captures of an incident, a target or a person may take together"
    )
    redaction: RedactionShape | None = Field(
        None, description="what is masked in evidence besides secrets, and what stays"
    )
    vault: VaultShape | None = Field(None, description="HashiCorp Vault or OpenBao, where secrets lie")
    awssm: AwsSecretsShape | None = Field(None, description="AWS Secrets Manager, where secrets lie")
    limits: LimitsShape | None = Field(None, description="bounds for all captures together")

    @model_validator(mode="after")
    def _announcements_are_of_services(self) -> SettingsShape:
        if self.slack and self.slack.announcements and not self.services:
            wrong(
                "has `announcements`, which are of no use without `services`",
                "add those that are announced",
                at="slack",
            )
        return self

    @model_validator(mode="after")
    def _one_store(self) -> SettingsShape:
        if self.s3 is None and self.folder is None:
            wrong("says nowhere to keep artifacts", "add `s3` with a bucket, or `folder` with a path")
        if self.audit is not None and self.s3 is None:
            wrong("needs `s3`, whose credentials it uses", "add `s3`, or take it out", at="audit")
        if self.fetched_tools and self.s3 is None:
            wrong("needs `s3`, whose credentials it uses", "add `s3`, or take it out", at="fetched_tools")
        if self.s3 is not None and self.folder is not None:
            wrong("is given beside `s3`, and artifacts are kept in one place", "keep one of them", at="folder")
        return self

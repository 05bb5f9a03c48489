"""How long a bucket keeps objects: each is tagged when it is stored, and the bucket's own lifecycle rules go by the tags."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from bot.settings import S3
from bot.stores.keys import kind_of

KIND, RETAIN = "capturebot:kind", "capturebot:retain"  # tags
FOR_EVER = "forever"
UPLOADS_DAYS = 1  # after which an upload that stayed open is removed


def tagging(key: str, settings: S3) -> str:
    """The tags of an object, as its upload carries them."""
    kind = kind_of(key)
    return urlencode({KIND: kind, RETAIN: _retain(settings.retention.get(kind))})


def _retain(days: int | None) -> str:
    return f"{days}d" if days else FOR_EVER


def wanted(settings: S3) -> dict[str, Any]:
    """The lifecycle configuration that goes with *settings*, as ``put-bucket-lifecycle-configuration`` takes it."""
    prefix = settings.prefix.strip("/") + "/" if settings.prefix.strip("/") else ""
    rules: list[dict[str, Any]] = [
        {
            "ID": f"capturebot-{_retain(days)}",
            "Status": "Enabled",
            "Filter": _filter(prefix, _retain(days)),
            "Expiration": {"Days": days},
            "NoncurrentVersionExpiration": {"NoncurrentDays": days},
        }
        for days in sorted(set(settings.retention.values()))
    ]
    uploads = {
        "ID": "capturebot-open-uploads",
        "Status": "Enabled",
        "Filter": {"Prefix": prefix},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": UPLOADS_DAYS},
    }
    return {"Rules": [*rules, uploads]}


def _filter(prefix: str, retain: str) -> dict[str, Any]:
    tag = {"Key": RETAIN, "Value": retain}
    return {"And": {"Prefix": prefix, "Tags": [tag]}} if prefix else {"Tag": tag}


def missing(settings: S3, rules: Sequence[Mapping[str, Any]]) -> list[int]:
    """The days of retention that no enabled one of the bucket's *rules* sees to."""
    return [
        days for days in sorted(set(settings.retention.values())) if not any(_sees_to(rule, days) for rule in rules)
    ]


def _sees_to(rule: Mapping[str, Any], days: int) -> bool:
    filtered = rule.get("Filter", {})
    tags = filtered.get("And", {}).get("Tags") or [filtered.get("Tag") or {}]
    return (
        rule.get("Status") == "Enabled"
        and rule.get("Expiration", {}).get("Days") == days
        and [(tag.get("Key"), tag.get("Value")) for tag in tags] == [(RETAIN, _retain(days))]
    )


def as_json(settings: S3) -> str:
    """`wanted` on one line."""
    return json.dumps(wanted(settings))

"""Keys of artifacts: which are well formed, and which name is tried when one is taken."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import PurePosixPath

from bot.errors import StoreError
from bot.model import Source

KEY_BYTES = 1024  # S3's own limit
NAMES = 100  # tried before giving up
BINARY = "binary"  # the folder of a capture that holds what could not be redacted: a bucket policy can guard it
_TYPES = {
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
    ".zst": "application/zstd",
    ".gz": "application/gzip",
    ".pcap": "application/vnd.tcpdump.pcap",
}


def checked(key: str) -> str:
    """Return *key*; raises StoreError when it could lead out of its store or cannot be stored."""
    segments = key.split("/")
    if any(segment in {"", ".", ".."} for segment in segments) or not key.isprintable():
        raise StoreError(f"{key!r} cannot be an artifact's key: it has an empty, dotted or unprintable part.")
    if len(key.encode()) > KEY_BYTES:
        raise StoreError(
            f"The key {key[:80]}… is longer than {KEY_BYTES} bytes. Give the target or step a shorter name."
        )
    return key


def names(key: str) -> Iterator[str]:
    """Yield *key*, then the names that replace it when it is taken: ``ps.txt``, ``ps.2.txt``, ``ps.3.txt``."""
    yield key
    path = PurePosixPath(key)
    for number in range(2, NAMES + 1):
        yield str(path.with_name(f"{path.stem}.{number}{path.suffix}"))


def folder_of(source: Source, incident: str | None, at: datetime) -> str:
    """Where captures of one kind and day lie; those on schedule apart, so that they may be kept less long."""
    return f"baselines/{at:%Y/%m/%d}" if source is Source.SCHEDULE else f"{at:%Y/%m/%d}/{incident or 'adhoc'}"


def binary_key(prefix: str, target: str, step: str, name: str) -> str:
    """The key of a file that a step left, below the *prefix* of its capture."""
    return f"{prefix}{BINARY}/{target}/{step}/{name}"


def is_binary(key: str) -> bool:
    """Say whether *key* is one of `binary_key`."""
    return key.split("/")[-4:-3] == [BINARY]


def kind_of(key: str) -> str:
    """Which of `bot.retention.KINDS` the object under *key* is."""
    name = key.rpartition("/")[2]
    if is_binary(key):
        return "binary"
    if name.startswith("manifest.") and name.endswith(".json"):
        return "manifest"
    return "report" if name.startswith("report-") and name.endswith(".md") else "text"


def target_of(key: str) -> str:
    """The target that the object under *key* comes from; "" for a manifest and a report, which are of several."""
    kind, parts = kind_of(key), key.split("/")
    if kind == "binary":
        return parts[-3]
    return parts[-2] if kind == "text" and len(parts) > 1 else ""


def type_of(key: str) -> str:
    """The media type that *key* tells, where nobody knows it better."""
    plain = "application/octet-stream" if is_binary(key) else "text/plain; charset=utf-8"
    return _TYPES.get(PurePosixPath(key).suffix, plain)


def all_taken(key: str) -> StoreError:
    """Say that no name was free."""
    return StoreError(f"{key} and {NAMES - 1} names after it are taken. Nothing was overwritten, and nothing stored.")

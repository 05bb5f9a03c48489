"""Keys of artifacts: which are well formed, and which name is tried when one is taken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from bot.errors import StoreError

KEY_BYTES = 1024  # S3's own limit
NAMES = 100  # tried before giving up


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


def all_taken(key: str) -> StoreError:
    """Say that no name was free."""
    return StoreError(f"{key} and {NAMES - 1} names after it are taken. Nothing was overwritten, and nothing stored.")

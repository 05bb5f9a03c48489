"""File systems that are full, of data or of files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from bot.insights import Reading, sections, words
from bot.model import Finding, Level

FULL = 0.99  # of the space or the inodes that users may have
NEARLY_FULL = 0.90
SPARE_BYTES = 20e9  # this much free is enough for today, whatever the share
NEARLY_OUT_OF_INODES = 0.95
PATH_CHARS = 80
SMALL_BYTES = 1e6  # nobody stores anything on less
READ_ONLY_KINDS = {"squashfs", "iso9660", "erofs", "cramfs", "devtmpfs", "efivarfs"}  # full by nature

_ROW = re.compile(r"^(\S.*?) +(\S+) +(\d+) +(\d+) +(-?\d+) +(?:\d+%|-) +(/.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """One line of df: kB or inodes."""

    mount: str
    all: float
    used: float
    free: float
    line: str

    @property
    def share(self) -> float:
        """Of what users may have, as df counts: the reserve of root is left out."""
        return self.used / (self.used + self.free) if self.used + self.free > 0 else 0.0


def _usages(body: str) -> dict[str, Usage]:
    """By device, so that a file system mounted twice is told once."""
    found: dict[str, Usage] = {}
    for match in _ROW.finditer(body):
        device, kind, every, used, free, mount = match.groups()
        key = device if device.startswith("/") else mount
        if kind not in READ_ONLY_KINDS and key not in found:
            found[key] = Usage(
                mount=mount,
                all=words.number(every),
                used=words.number(used),
                free=max(words.number(free), 0.0),
                line=match[0],
            )
    return found


def disk(reading: Reading) -> Iterator[Finding]:
    """Name file systems that are full or about to be."""
    bodies = {section.name: section.body for section in sections(reading.text)}
    for usage in _usages(bodies.get("space", "")).values():
        if usage.all * 1024 >= SMALL_BYTES and usage.share >= NEARLY_FULL and usage.free * 1024 < SPARE_BYTES:
            yield _space(usage)
    for usage in _usages(bodies.get("inodes", "")).values():
        if usage.share >= NEARLY_OUT_OF_INODES:
            used = f"{words.count(usage.used)} of {words.count(usage.all)} inodes used"
            state = "has no room for new files" if usage.share >= FULL else "is running out of inodes"
            level = Level.BAD if usage.share >= FULL else Level.WARN
            text = f"{words.clean(usage.mount, PATH_CHARS)} {state}: {used}"
            yield Finding(level=level, text=text, weight=0.9, evidence=words.evidence(usage.line))


def _space(usage: Usage) -> Finding:
    full = usage.share >= FULL
    text = (
        f"{words.clean(usage.mount, PATH_CHARS)} is {'full' if full else 'nearly full'}: {words.percent(usage.share)} of "
        f"{words.size(usage.all * 1024)} used, {words.size(usage.free * 1024)} free"
    )
    weight = 0.95 if full else 0.5 * usage.share
    return Finding(
        level=Level.BAD if full else Level.WARN, text=text, weight=weight, evidence=words.evidence(usage.line)
    )

"""How long disks take for a request, as bpftrace counted it or as the kernel's own counters have it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bot.insights import words
from bot.insights.leads import Count, Lead, Row, finding
from bot.insights.tracemaps import Look
from bot.model import Finding, Level

SLOW_MS = 50.0  # a request, on average; a disk that spins takes ten
VERY_SLOW_MS = 500.0
SLOW_LEAST = 10.0  # requests
HUNG_S = 2.0  # without an answer
DEVICE_MINOR_BITS = 20


def disks(look: Look) -> Iterator[Finding]:
    """Name disks that are slow or hang, and else the busiest, with who asks most of it."""
    rows = look.tables.get("disks", ())
    by: dict[str, list[Count]] = defaultdict(list)
    for (device, pid, comm), count in look.entries("@disk_by", 3):
        by[_numbers(device)].append((pid, comm, count))
    for row in rows:
        yield from _hung(look, row, look.lead(by[row.get("device", "")]))
    counted = [*_counted(look, {row.get("device", ""): row.get("name", "") for row in rows})] or [*_kept(rows)]
    busiest = max(counted, key=lambda each: each.requests * each.mean, default=None)
    for disk in counted:
        yield from _slow(disk, look.lead(by[disk.device]), _histogram(look, disk), told=disk is busiest)


def _hung(look: Look, row: Row, lead: Lead | None) -> Iterator[Finding]:
    """A disk that was asked before and after, and has answered nothing between."""
    waiting = min(words.number(row.get("waited")), words.number(row.get("waiting")))
    if waiting > 0 and look.seconds >= HUNG_S and words.number(row.get("requests")) == 0:
        name = words.clean(row.get("name", "?"), 30)
        text = f"{name} has not answered one request in {words.duration(look.seconds)}, and {words.count(waiting)} wait"
        yield finding(Level.BAD, text, 0.95, [" ".join(row.values())], lead, "snapshot")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Disk:
    """A disk that answered: milliseconds a request on average, and at most where that is known."""

    device: str
    name: str
    requests: float
    mean: float
    most: float = 0.0


def _counted(look: Look, names: Mapping[str, str]) -> Iterator[_Disk]:
    took = {device: us / 1000 for (device,), us in look.entries("@disk_all", 1)}
    most = {device: us / 1000 for (device,), us in look.entries("@disk_most", 1)}
    for (number,), requests in look.entries("@disk_count", 1):
        if requests > 0:
            device, mean = _numbers(number), took.get(number, 0.0) / requests
            name = names.get(device) or f"device {device}"
            yield _Disk(device=device, name=name, requests=requests, mean=mean, most=most.get(number, 0.0))


def _kept(rows: Iterable[Row]) -> Iterator[_Disk]:
    """By the kernel's own counters."""
    for row in rows:
        requests = words.number(row.get("requests"))
        if requests > 0:
            mean = words.number(row.get("ms")) / requests
            yield _Disk(device=row.get("device", ""), name=row.get("name", "?"), requests=requests, mean=mean)


def _numbers(device: str) -> str:
    """A device's two numbers, which the kernel keeps in one."""
    both = int(words.number(device))
    return f"{both >> DEVICE_MINOR_BITS}:{both & ((1 << DEVICE_MINOR_BITS) - 1)}"


def _histogram(look: Look, disk: _Disk) -> list[str]:
    """How long its requests took, the slowest last, a line for each doubling."""
    shown = []
    for number, buckets in look.maps.get("@disk_us", {}).items():
        if _numbers(number) == disk.device and isinstance(buckets, list):
            for each in buckets:
                low, high, count = (
                    (words.number(str(each.get(key))) for key in ("min", "max", "count"))
                    if isinstance(each, dict)
                    else (0.0,) * 3
                )
                if count > 0:
                    shown.append(f"{_ms(low / 1000)} to {_ms((high + 1) / 1000)}: {words.counted(count, 'request')}")
    return shown[-words.EVIDENCE_LINES :]


def _slow(disk: _Disk, lead: Lead | None, lines: Sequence[str], *, told: bool) -> Iterator[Finding]:
    """A slow disk is always told, another where it is the busiest."""
    slowest = f", the slowest {_ms(disk.most)}" if disk.most else ""
    asks = f"; {lead.text} asks most of it" if lead else ""
    requests = words.counted(disk.requests, "request")
    text = f"{words.clean(disk.name, 30)} takes {_ms(disk.mean)} a request{slowest} ({requests}){asks}"
    if disk.mean >= SLOW_MS and disk.requests >= SLOW_LEAST:
        level = Level.BAD if disk.mean >= VERY_SLOW_MS else Level.WARN
        yield finding(level, text, 0.7 + disk.mean / 10_000, lines, lead, "snapshot")
    elif told:
        yield finding(Level.INFO, text, 0.3, lines)


def _ms(value: float) -> str:
    """Milliseconds as people say them: "82 ms", "4.1 ms", "310 µs"."""
    if value < 0.95:
        return f"{value * 1000:.0f} µs"
    return f"{value:.0f} ms" if value >= 9.5 else f"{value:.1f} ms"

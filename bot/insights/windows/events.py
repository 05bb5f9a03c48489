"""Event logs of a Windows host (captures/win-events.ps1): what crashed, and which event is new or comes in bursts.

Events are known by provider, number and level. Their texts, which Windows translates, are shown as evidence and never read.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bot.insights import Reading, Section, sections, words
from bot.insights.logsrates import Change, Covered, Span, change_of
from bot.insights.windows.crashes import crash_of, crashes
from bot.insights.windows.xml import Event, events, time_of
from bot.model import Finding, Level

TEXT_CHARS = 200
TOLD = 4  # sources
WEVTUTIL_MOST = 500  # events that the script asks it for
KINDS = 300  # that are looked at, those that came most
LEAST = 3  # events of one kind, before it is told
STEADY_LEAST = 30  # that came all the time
STEADY_SHARE = 0.3  # of all events of the window
BRISK_A_MINUTE = 2.0  # errors that make it bad
DATA_CHARS = 120
LEVELS = {1: "critical", 2: "error", 3: "warning", 4: "information"}

# What some numbers mean, as their providers' manifests and Microsoft's documentation say.
_MEANS = {
    ("Tcpip", 4227): "a connection failed, its port was in use a moment ago",
    ("Tcpip", 4231): "no port for a new connection was free",
    ("disk", 7): "a bad block",
    ("disk", 11): "a controller error",
    ("disk", 51): "an error while paging",
    ("disk", 153): "a request was tried again",
    ("disk", 154): "a request failed, the hardware is at fault",
    ("Microsoft-Windows-Ntfs", 55): "a file system is damaged",
    ("Ntfs", 55): "a file system is damaged",
    ("Microsoft-Windows-Resource-Exhaustion-Detector", 2004): "memory to commit ran out",
    ("Microsoft-Windows-WAS", 5002): "an application pool was switched off after failing too often",
    ("Microsoft-Windows-WAS", 5009): "a worker process ended unexpectedly",
    ("Microsoft-Windows-WAS", 5010): "a worker process did not answer a ping",
    ("Microsoft-Windows-WAS", 5011): "a worker process lost its connection to the service",
    ("Service Control Manager", 7000): "a service did not start",
    ("Service Control Manager", 7009): "a service did not connect in time",
    ("Service Control Manager", 7011): "a service did not answer in time",
    ("Service Control Manager", 7022): "a service hung while it started",
    ("Service Control Manager", 7023): "a service ended with an error",
    ("Service Control Manager", 7024): "a service ended with an error of its own",
    ("Microsoft-Windows-DNS-Client", 1014): "no name server answered for a name",
    ("Schannel", 36871): "TLS credentials could not be made",
    ("Schannel", 36874): "no cipher in common with a client",
    ("Schannel", 36887): "the other side ended a TLS handshake",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """Events that are one thing."""

    channel: str
    provider: str
    id: int
    level: int

    @property
    def spoken(self) -> str:
        """As people search for it: "disk 153 (warning: a request was tried again)"."""
        name = words.clean(self.provider.removeprefix("Microsoft-Windows-")) or "?"
        meaning = _MEANS.get((self.provider, self.id))
        return f"{name} {self.id} ({LEVELS.get(self.level, 'unknown level')}" + (f": {meaning})" if meaning else ")")


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What was looked at: the time that was asked for, and what of it and of before was read, by channel."""

    start: float
    end: float
    read: Mapping[str, float]  # from when on

    def covered(self, channel: str) -> Covered:
        """What was read of a channel."""
        return Covered([Span(min(self.read.get(channel, self.start), self.end), self.end)])


def log_events(reading: Reading) -> Iterator[Finding]:
    """Name crashes, sources that are new or burst, and channels that could not be read."""
    parts = sections(reading.text)
    fallen_back = [event for part in parts if part.name == "wevtutil" for event in events(part.body)]
    window = _window(parts, fallen_back)
    if window is None:
        return
    died = [event for part in parts if part.name == "crashes" for event in events(part.body)]
    yield from crashes(_distinct([*died, *fallen_back]), window.start)
    samples = {
        (event.provider, event.id): event for part in parts if part.name == "details" for event in events(part.body)
    }
    samples |= {(event.provider, event.id): event for event in reversed(fallen_back)}
    texts = {
        (row.get("provider"), row.get("id")): row.get("text", "")
        for part in parts
        if part.name == "texts"
        for row in part.rows()
    }
    told = []
    groups = _groups(parts, fallen_back)
    total = sum(at >= window.start for times in groups.values() for at in times)
    for kind, times in groups.items():
        sample = samples.get((kind.provider, kind.id))
        if sample is None or crash_of(sample) is None:
            lines = _evidence(sample, texts.get((kind.provider, str(kind.id)), ""))
            told += list(_source(kind, times, window, total, lines))
    yield from sorted(told, key=lambda each: (-each.level.value, -each.weight))[:TOLD]
    yield from _unread(parts, {event.channel for event in fallen_back})


def _distinct(found: Sequence[Event]) -> list[Event]:
    return list({(event.at, event.provider, event.id, event.data): event for event in found}.values())


def _window(parts: Sequence[Section], others: Sequence[Event]) -> Window | None:
    """What was looked at; *others* are of channels that only wevtutil could read, so many of each at most."""
    for part in parts:
        minutes = words.number(part.facts.get("minutes"))
        if part.name == "events" and minutes > 0:
            end = part.at.timestamp()
            read = {
                row.get("channel", "?"): begun
                for other in parts
                if other.name == "channels"
                for row in other.rows()
                if (begun := time_of(row.get("from", ""))) is not None
            }
            for channel, number in Counter(event.channel for event in others).items():
                if number >= WEVTUTIL_MOST:
                    read[channel] = min(event.at for event in others if event.channel == channel)
            return Window(start=end - minutes * 60, end=end, read=read)
    return None


def _groups(parts: Sequence[Section], more: Sequence[Event]) -> dict[Kind, list[float]]:
    """When each kind came, in order."""
    found: dict[Kind, list[float]] = defaultdict(list)
    for part in parts:
        for row in part.rows() if part.name == "events" else ():
            at, number, level = time_of(row.get("at", "")), row.get("id", ""), row.get("level", "")
            if at is not None and number.isdecimal() and len(number) < 10:
                kind = Kind(
                    row.get("channel", "?"),
                    row.get("provider", "?"),
                    int(number),
                    int(level) if re.fullmatch("[0-9]", level) else 0,
                )
                found[kind].append(at)
    for event in more:
        found[Kind(event.channel, event.provider, event.id, event.level)].append(event.at)
    most = sorted(found.items(), key=lambda each: -len(each[1]))[:KINDS]
    return {kind: sorted(times) for kind, times in most}


def _evidence(sample: Event | None, text: str) -> tuple[str, ...]:
    values = [f"{name}={value}" if name else value for name, value in sample.data if value] if sample else []
    return words.evidence(text, " | ".join(values))


# --- what is worth a sentence -------------------------------------------------------------------


def _source(
    kind: Kind, times: Sequence[float], window: Window, total: int, lines: tuple[str, ...]
) -> Iterator[Finding]:
    late = [at for at in times if at >= window.start]
    covered = window.covered(kind.channel)
    change = change_of([at for at in times if covered.start <= at <= covered.end], covered)
    is_error = 0 < kind.level <= 2
    if change and change.number >= LEAST and change.end >= window.start:
        bad = is_error and change.a_minute >= BRISK_A_MINUTE and not change.is_over and change.number >= 2 * LEAST
        weight = min(0.4 + 0.2 * is_error + change.number / max(total, 1) / 4 + 0.1 * (not change.earlier), 0.89)
        level = Level.BAD if bad else Level.WARN if kind.level <= 3 else Level.INFO
        text = f"{kind.spoken} {_since(change, covered)}"
    elif kind.level == 1 and late:
        level, weight = Level.WARN, 0.6
        text = f"{kind.spoken} {words.counted(len(late), 'time')}, last at {_clock(late[-1])} UTC"
    elif is_error and len(late) >= STEADY_LEAST and len(late) >= STEADY_SHARE * total:
        level, weight = Level.WARN, 0.35
        span = words.duration(window.end - max(window.start, covered.start))
        text = (
            f"{kind.spoken} {words.count(len(late))} times in {span}: {words.percent(len(late) / total)} of the events"
        )
    else:
        return
    yield Finding(level=level, text=words.clean(text, TEXT_CHARS), weight=weight, evidence=lines)


def _since(change: Change, covered: Covered) -> str:
    when = (
        f"from {_clock(change.start)} to {_clock(change.end)} UTC"
        if change.is_over
        else f"since {_clock(change.start)} UTC"
    )
    often = f"{words.counted(change.number, 'time')}, {_rate(change.a_minute)}"
    if change.earlier:
        return f"{when} {often}; {_rate(change.earlier_a_minute)} before"
    return f"is new {when}: {often}; none in the {words.duration(change.start - covered.start)} before"


def _rate(a_minute: float) -> str:
    if a_minute >= 0.95:
        return f"{words.count(a_minute)} a minute"
    return f"{words.count(a_minute * 60)} an hour" if a_minute * 60 >= 0.95 else "hardly any"


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).strftime("%H:%M:%S")


def _unread(parts: Sequence[Section], others: set[str]) -> Iterator[Finding]:
    for row in (row for part in parts if part.name == "channels" for row in part.rows()):
        channel, error = row.get("channel", "?"), row.get("error", "")
        if not error or channel in others:
            continue
        if error.startswith("NoMatchingLogsFound"):
            text = f"There is no event log {words.clean(channel, 80)} on this host"
        else:
            text = f"Event log {words.clean(channel, 80)} could not be read ({words.clean(error.split(',')[0], 60)}): the group Event Log Readers may"
        yield Finding(level=Level.WARN, text=words.clean(text, TEXT_CHARS), weight=0.4)

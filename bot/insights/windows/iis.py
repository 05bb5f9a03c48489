"""Requests to IIS (captures/win-iis.ps1): which site answers badly since when, where, and which path takes the time."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

from bot.insights import Reading, Section, sections, words
from bot.insights.logsrates import Covered, Span, change_of
from bot.model import Finding, Level

TEXT_CHARS = 200
RECENT_S = 900.0  # of a site's newest requests, by which it is judged
LEAST = 10  # failed requests
FAILED_WARN = 0.02  # of all requests
FAILED_BAD = 0.10
SLOW_MS = 2000.0  # the median of a path
SLOW_LEAST = 5  # requests of it
SLOW_SHARE = 0.2  # of the time of all requests
PATH_CHARS = 60
_SEGMENT = re.compile(r"/(?=[^/]*\d)[^/]+")  # of a path: an id, as a rule
# Of winerror.h: why a request ended there, where it was not the site's own doing.
_WHY = {
    "64": "the client was gone",
    "121": "the wait for the network ended",
    "1236": "the connection was ended",
    "995": "it was given up",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One line; what the log does not hold is 0 or empty."""

    at: float
    method: str
    path: str
    status: int
    detail: str  # status, substatus, and the error of Windows behind it
    took_ms: float


def requests(reading: Reading) -> Iterator[Finding]:
    """Name sites that answer 5xx, and paths that take the time."""
    for part in sections(reading.text):
        if part.name == "requests":
            site = words.clean(part.facts.get("site", "?"))
            found = list(read(part.body))
            newest = max((each.at for each in found), default=0.0)
            recent = [each for each in found if each.at >= newest - RECENT_S]
            if recent:
                yield from _failed(site, found, recent)
                yield from _slow(site, recent)
        elif part.name == "sites":
            yield from _unread(part)


def read(body: str) -> Iterator[Request]:
    """Yield the requests of a log in W3C format; each ``#Fields:`` line says what stands where below it."""
    fields: list[str] = []
    for line in body.split("\n"):
        if line.startswith("#Fields:"):
            fields = line.removeprefix("#Fields:").split()
        elif fields and not line.startswith("#"):
            values = line.split(" ")
            if len(values) == len(fields) and (request := _request(dict(zip(fields, values, strict=True)))):
                yield request


def _request(row: Mapping[str, str]) -> Request | None:
    status = row.get("sc-status", "")
    try:
        at = (
            datetime.strptime(f"{row.get('date')} {row.get('time')}", "%Y-%m-%d %H:%M:%S")
            .replace(tzinfo=UTC)
            .timestamp()
        )
    except (ValueError, OverflowError):
        return None
    if not re.fullmatch("[1-5][0-9]{2}", status):
        return None
    substatus, error = row.get("sc-substatus", "0"), row.get("sc-win32-status", "0")
    return Request(
        at=at,
        method=row.get("cs-method", ""),
        path=row.get("cs-uri-stem", ""),
        status=int(status),
        detail=(status if substatus == "0" else f"{status}.{substatus}")
        + (f" ({_WHY[error]})" if error in _WHY else ""),
        took_ms=max(words.number(row.get("time-taken")), 0.0),
    )


def _shape(path: str) -> str:
    return words.clean(_SEGMENT.sub("/#", path), PATH_CHARS) or "?"


# --- what is worth a sentence -------------------------------------------------------------------


def _failed(site: str, found: Sequence[Request], recent: Sequence[Request]) -> Iterator[Finding]:
    failed = [each for each in recent if each.status >= 500]
    share = len(failed) / len(recent)
    if len(failed) < LEAST or share < FAILED_WARN:
        return
    details, paths = Counter(each.detail for each in failed), Counter(_shape(each.path) for each in failed)
    (detail, _), (path, number) = details.most_common(1)[0], paths.most_common(1)[0]
    span = Covered([Span(min(each.at for each in found), max(each.at for each in found))])
    change = change_of(sorted(each.at for each in found if each.status >= 500), span)
    since = (
        f" since {datetime.fromtimestamp(change.start, tz=UTC):%H:%M:%S} UTC" if change and not change.is_over else ""
    )
    text = (
        f"{site} answers {words.percent(share)} of its requests with 5xx{since} ({words.count(len(failed))} of "
        f"{words.count(len(recent))}), most {words.clean(detail, 40)}; {words.percent(number / len(failed))} of them at {path}"
    )
    lines = [f"{words.count(count)} × {what}" for what, count in (*details.most_common(4), *paths.most_common(5))]
    level = Level.BAD if share >= FAILED_BAD else Level.WARN
    yield Finding(
        level=level,
        text=words.clean(text, TEXT_CHARS),
        weight=min(0.5 + share / 2, 0.95),
        evidence=words.evidence(*lines),
    )


def _slow(site: str, recent: Sequence[Request]) -> Iterator[Finding]:
    times: dict[str, list[float]] = defaultdict(list)
    for each in recent:
        times[_shape(each.path)].append(each.took_ms)
    total = sum(map(sum, times.values()))
    path, longest = max(times.items(), key=lambda each: sum(each[1]))
    middle = median(longest)
    if len(longest) < SLOW_LEAST or middle < SLOW_MS or sum(longest) < SLOW_SHARE * total:
        return
    text = (
        f"{site}: {path} takes {middle / 1000:.1f} s, the median of {words.counted(len(longest), 'request')}, and "
        f"{words.percent(sum(longest) / total)} of the time of all"
    )
    ranked = sorted(times.items(), key=lambda each: -sum(each[1]))[:5]
    lines = [
        f"{words.count(len(each))} × {name}: median {median(each):.0f} ms, longest {max(each):.0f} ms"
        for name, each in ranked
    ]
    yield Finding(level=Level.WARN, text=words.clean(text, TEXT_CHARS), weight=0.6, evidence=words.evidence(*lines))


def _unread(part: Section) -> Iterator[Finding]:
    for row in part.rows():
        if row.get("error"):
            text = f"{words.clean(row.get('file', '?'), 100)} could not be read by our account (error {words.clean(row['error'], 12)})"
            yield Finding(level=Level.INFO, text=text, weight=0.2)

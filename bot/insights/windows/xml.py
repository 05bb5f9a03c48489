"""Events of Windows as XML, which no language of Windows changes: from Get-WinEvent's ``ToXml()`` or ``wevtutil qe … /f:xml``.

Their schema is documented at learn.microsoft.com/windows/win32/wes/eventschema-event-element.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

MOST = 5000  # events of one text
EVENT_CHARS = 40_000  # of one; the script leaves longer ones out
DATA = 40  # values of one
VALUE_CHARS = 8000

_EVENT = re.compile(r"<Event[ >]")
_END = "</Event>"
_SPACE = "{http://schemas.microsoft.com/win/2004/08/events/event}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event; *at* in seconds of Unix time, *data* as (name, value), the name "" where the provider gives none."""

    at: float
    channel: str
    provider: str
    id: int
    level: int
    data: tuple[tuple[str, str], ...] = ()
    binary: str = ""

    def value(self, name: str, place: int) -> str:
        """A value by its name, or by its place where the values have none."""
        by_name = dict(self.data)
        if name in by_name:
            return by_name[name]
        return self.data[place][1] if place < len(self.data) and not self.data[place][0] else ""


def events(text: str) -> Iterator[Event]:
    """Yield every event in *text* that is whole; whatever else stands there is passed over."""
    at = 0
    for _ in range(MOST):
        begin = _EVENT.search(text, at)
        end = text.find(_END, begin.end()) if begin else -1
        if begin is None or end < 0:
            return
        other = text.rfind("<Event ", begin.end(), end)  # one that was cut lies before it
        start = other if other >= 0 else begin.start()
        at = end + len(_END)
        if at - start <= EVENT_CHARS and (event := event_of(text[start:at])):
            yield event


def event_of(text: str) -> Event | None:
    """One event; None for what is none. Entities and document types, which no event has, are not read."""
    if "<!" in text:
        return None
    try:
        root = ET.fromstring(text)  # noqa: S314 — bounded in size, and without document types nothing in it can grow
    except (ET.ParseError, ValueError):  # ValueError for lone surrogates
        return None
    return _read(root)


def _read(root: ET.Element) -> Event | None:
    for element in root.iter():  # wevtutil and Get-WinEvent name the namespace, other tools do not
        element.tag = element.tag.removeprefix(_SPACE)
    system = root.find("System")
    if root.tag != "Event" or system is None:
        return None
    provider, created = system.find("Provider"), system.find("TimeCreated")
    number, level = (system.findtext(name, "").strip() for name in ("EventID", "Level"))
    at = time_of(created.get("SystemTime", "") if created is not None else "")
    if at is None or not re.fullmatch("[0-9]{1,9}", number):
        return None
    found = [
        (element.get("Name", ""), (element.text or "")[:VALUE_CHARS]) for element in root.iterfind("EventData/Data")
    ]
    return Event(
        at=at,
        channel=system.findtext("Channel", ""),
        provider=provider.get("Name", "") if provider is not None else "",
        id=int(number),
        level=int(level) if re.fullmatch("[0-9]", level) else 0,
        data=tuple(found[:DATA]),
        binary=root.findtext("EventData/Binary", "").strip(),
    )


def time_of(text: str) -> float | None:
    """A time as events have it, with up to nine digits of a second; None for anything else."""
    match = re.fullmatch(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]{1,9})?Z", text)
    if match is None:
        return None
    try:
        return datetime.fromisoformat(match[1]).replace(tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def text_of(binary: str) -> str:
    """What an event's binary data says where it holds text in UTF-16 that ends with a zero; else ""."""
    if not re.fullmatch("(?:[0-9A-Fa-f]{4}){1,200}", binary):
        return ""
    try:
        return bytes.fromhex(binary).decode("utf-16-le").split("\0")[0]
    except UnicodeDecodeError:
        return ""

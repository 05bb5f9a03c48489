"""Which channels are about an incident, and which incident and service that is. Pure.

What the usual tools call their channels: PagerDuty, incident.io and incidentbot `inc-…`, FireHydrant and Rootly
`incident-…` (a prefix of the customer's may stand before it), Dispatch `dispatch-…`; most of them rename a channel later,
so that a room is known by its channel's id and never by its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import re2

from bot.model import Room, Service
from bot.recipes.parameters import pattern_options

TEXT_CHARS = 20_000  # of one channel's words that are looked through
LINKS_AT_MOST = 5  # followed
WORD_CHARS = 4  # a shorter word of a title says nothing

_INCIDENT = re.compile(r"(?:[a-z0-9]+-)?-?(?:incidents?|inc|dispatch|pd|sev-?[0-5])-[a-z0-9]", re.ASCII)
_NOT_ONE = re.compile(
    r"(?:.*[-_])?(?:announce|announcements?|feed|comms|communications?|updates?|status|alerts?|notifications?|reviews?|"
    r"retros?|postmortems?|deleted|archived?|bot|tests?|training|help|process|tools?|team|management|response|responders?)",
    re.ASCII,
)
_LINK = re.compile(r"https?://([A-Za-z0-9.:-]{1,100})/(?:[\w-]{1,50}/){0,3}incidents/([A-Z0-9]{6,32})(?![A-Za-z0-9])")
_NUMBER = re.compile(r"(?:^|-)([0-9]{1,9})(?=-|$)")
_DATE = re.compile(r"(?:^|-)20[0-9]{2}-?[01][0-9]-?[0-3][0-9](?=-|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What PagerDuty says of an incident. *service* is the id of its service there."""

    id: str
    number: int
    title: str
    url: str
    service: str
    is_open: bool


def is_incident_channel(name: str, services: Iterable[Service]) -> bool:
    """Whether a channel of that name is one incident's own.

    Announcements, feeds and `-comms` channels are not, whatever a service's patterns say.
    """
    if _NOT_ONE.fullmatch(name):
        return False
    return bool(_INCIDENT.match(name)) or any(_is_of(service, name) for service in services)


def service_of_name(name: str, services: Mapping[str, Service]) -> str:
    """The service that a channel's name tells: by its patterns, else by its own name in it; "" where not just one."""
    found = [service.name for service in services.values() if _is_of(service, name)]
    found = found or [one for one in services if f"-{one}-" in f"-{name.replace('_', '-')}-"]
    return found[0] if len(found) == 1 else ""


def service_of_incident(facts: Facts, services: Mapping[str, Service]) -> str:
    """The service that PagerDuty's id of it leads to; "" where none is set up."""
    return next((one.name for one in services.values() if facts.service and one.pagerduty == facts.service), "")


def service_of_text(text: str, services: Mapping[str, Service]) -> str:
    """The one service that is called by its name or its PagerDuty id in what a tool announced, else ""."""
    words = set(re.findall(r"[a-z0-9-]+", text[:TEXT_CHARS].lower()))
    found = [
        one.name for one in services.values() if one.name in words or (one.pagerduty and one.pagerduty.lower() in words)
    ]
    return found[0] if len(found) == 1 else ""


def incidents_in(texts: Iterable[str]) -> list[str]:
    """What may be ids of incidents in addresses in *texts*, each once: PagerDuty's own addresses first."""
    found = [match for text in texts for match in _LINK.findall(text[:TEXT_CHARS])]
    found.sort(key=lambda one: not one[0].endswith("pagerduty.com"))
    return list(dict.fromkeys(one for _, one in found))[:LINKS_AT_MOST]


def number_in(name: str) -> str:
    """The number in a channel's name that may be an incident's; "" where there is none, or only a date."""
    return next(iter(_NUMBER.findall(_DATE.sub("", name))), "")


def is_named_after(name: str, facts: Facts, services: Mapping[str, Service]) -> bool:
    """Whether the incident whose number stands in a channel's name is the one that the channel is about.

    Other tools have numbers of their own, so that the incident must be open, and its service or a word of its title stand
    there too.
    """
    service = service_of_incident(facts, services)
    title = {word for word in re.findall(r"[a-z0-9]+", facts.title.lower()) if len(word) >= WORD_CHARS}
    same = bool(title & set(re.split(r"[-_]", name))) or (service != "" and service == service_of_name(name, services))
    return facts.is_open and same


def guess(room: Room, services: Mapping[str, Service]) -> str:
    """The service of a room, from its name or from what was announced there; "" where that does not tell."""
    if room.place.thread_ts:
        return service_of_text(room.text, services)
    return service_of_name(room.place.channel_name, services)


def _is_of(service: Service, name: str) -> bool:
    return any(re2.fullmatch(pattern, name, pattern_options()) for pattern in service.channels)

"""What an incident is about: a service ties PagerDuty, channels, targets and recipes together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Something that people are paged for.

    *first* are recipes that run at once when it has an incident, *offer* those that its announcement offers as buttons;
    each is taken of those of *targets* that it is for. *channels* are RE2 patterns of its incident channels' names.
    """

    name: str
    about: str = ""
    pagerduty: str = ""  # the service's id there
    targets: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    offer: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()

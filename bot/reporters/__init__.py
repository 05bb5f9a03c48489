"""Who is told: pure renderers with thin deliverers, one file each.

A reporter tells *topics*: the Slack thread and the terminal tell one capture, the PagerDuty note
one incident with all its captures. `telling.Teller` drives it from the journal and keeps its
memory, so an outage delays a message and never loses one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bot.model import Capture, Event
from bot.story import Story

Memory = Mapping[str, Any]  # JSON-able; what a reporter remembers of a topic between deliveries


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What a delivery leaves: the memory to come back with, and events for the journal."""

    memory: Memory
    events: tuple[Event, ...] = ()
    again_after_s: float | None = None  # something was held back: call again after this long, news or not


class Reporter(Protocol):
    """Tells stories somewhere."""

    @property
    def name(self) -> str:
        """The name its memories are kept under; never changes."""

    @property
    def pause_s(self) -> float:
        """The least time in seconds between two deliveries of one topic."""

    def topic(self, capture: Capture, incident: str | None) -> str | None:
        """The topic that *capture* is told in, or None when this reporter does not tell it.

        *incident* is the capture's own or the one that its channel was linked to since.
        """

    async def deliver(self, topic: str, stories: Sequence[Story], memory: Memory) -> Delivery:
        """Make what people see of *topic* agree with *stories* (oldest capture first).

        Called again with the memory it returned whenever a story went on; does nothing when all is
        told already. Raises DeliveryFailed; what was delivered before the failure is found again by
        the reporter's own mark, so that nothing is told twice.
        """

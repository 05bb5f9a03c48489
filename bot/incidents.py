"""What an incident starts: the first set of its service, each recipe over those of the targets that it is for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from bot.desk import Desk
from bot.errors import UserError
from bot.model import Capture, Person, Place, Service, Source, Trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """One recipe of a first set: the capture that it became, None where it was one before, or why it is none."""

    trigger: Trigger
    capture: Capture | None = None
    refusal: UserError | None = None


class FirstSets:
    """Starts what services say must run at once."""

    def __init__(self, desk: Desk, *, now: Callable[[], datetime]) -> None:
        self._desk = desk
        self._now = now

    def triggers(
        self,
        service: Service,
        *,
        who: Person,
        source: Source,
        key: str | None = None,
        place: Place | None = None,
        incident: str | None = None,
    ) -> tuple[Trigger, ...]:
        """What *service* runs at once, a trigger a recipe. With the same *key* each of them is accepted once.

        Raises UserError when that is nothing.
        """
        if not service.first:
            offered = ", ".join(f"`{name}`" for name in service.offer)
            raise UserError(
                f"`{service.name}` has no recipes that run at once.",
                cure=f"It offers: {offered}." if offered else "Add `first:` to the service in capturebot.yml.",
            )
        return tuple(
            Trigger(
                recipe=recipe,
                targets=self._desk.fitting(self._desk.recipes[recipe], service.targets),
                parameters={},
                who=who,
                source=source,
                at=self._now(),
                place=place,
                incident=incident,
                key=f"{key} {recipe}" if key else None,
            )
            for recipe in service.first
        )

    async def start(self, triggers: tuple[Trigger, ...]) -> list[Begun]:
        """Have all *triggers* accepted; what is refused does not hold up the others. Raises JournalError."""
        begun = []
        for trigger in triggers:
            try:
                begun.append(Begun(trigger=trigger, capture=await self._desk.accept(trigger)))
            except UserError as refusal:
                begun.append(Begun(trigger=trigger, refusal=refusal))
        return begun

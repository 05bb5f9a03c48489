"""Who asks for what is being taken, or was just now, joins that capture instead of starting another one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.desk.jobs import Wanted
from bot.journal import Journal
from bot.model import ApprovalAsked, Capture, Joined, Recipe, Source, State, Trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What came of a trigger: a new capture, captures that it joined, or both; nothing where it was taken before.

    Where somebody else must approve first, it is *asked*, and nothing runs yet.
    """

    capture: Capture | None = None
    joined: tuple[Capture, ...] = ()
    asked: ApprovalAsked | None = None


class Joining:
    """Finds captures to join: those that run, and those that ended within the last *cooldown_s* seconds; 0: none."""

    def __init__(self, journal: Journal, *, cooldown_s: float, now: Callable[[], datetime]) -> None:
        self._journal = journal
        self._cooldown_s = cooldown_s
        self._now = now

    async def find(self, trigger: Trigger, what: Wanted) -> dict[str, Capture]:
        """The newest capture of each target that takes the same of it; none where *trigger* wants another one.

        Whose own capture would need an approval reads of somebody else's where it is told anyway, and only if it is all
        that they ask for.
        """
        found = await self._find(trigger, what.recipe, what.names, what.parameters)
        if what.approval is None:
            return found
        here = trigger.place.channel if trigger.place else ""
        told = all(one.place and one.place.channel == here for one in found.values())
        return found if told and len(found) == len(what.names) else {}

    async def _find(
        self, trigger: Trigger, recipe: Recipe, targets: Sequence[str], parameters: Mapping[str, str | int]
    ) -> dict[str, Capture]:
        if trigger.force or not self._cooldown_s:
            return {}
        found: dict[str, Capture] = {}
        for capture, state in await self._journal.fresh(self._now() - timedelta(seconds=self._cooldown_s)):
            covered = [target for target in targets if target in capture.targets]
            if not covered or not _fits(trigger, capture, state) or not _is_same(capture, recipe, parameters):
                continue
            if capture.id == trigger.after:
                return {}  # its own button was pressed, to have it again
            for target in covered:
                found.setdefault(target, capture)
        return found

    def events(
        self, trigger: Trigger, found: Mapping[str, Capture], *, incident: str | None, key: str | None
    ) -> list[Joined]:
        """What the journal keeps of it; the first one has the *key*."""
        captures = {capture.id: capture for capture in found.values()}
        return [
            Joined(
                capture_id=capture_id,
                targets=tuple(target for target, capture in found.items() if capture.id == capture_id),
                who=trigger.who,
                source=trigger.source,
                at=self._now(),
                place=trigger.place,
                incident=incident,
                key=None if n else key,
            )
            for n, capture_id in enumerate(captures)
        ]


def _fits(trigger: Trigger, capture: Capture, state: State | None) -> bool:
    """Whether how it goes (None: it runs), or went, is what is asked for."""
    if capture.source is Source.SCHEDULE:  # which is told nowhere
        return False
    # A person may have mended what failed; a storm of calls would only repeat it.
    return state in (None, State.COMPLETE, State.PARTIAL) or (
        state is State.FAILED and trigger.source is Source.PAGERDUTY
    )


def _is_same(capture: Capture, recipe: Recipe, parameters: Mapping[str, str | int]) -> bool:
    taken = (capture.recipe, capture.recipe_digest, dict(capture.parameters))
    return taken == (recipe.name, recipe.digest, dict(parameters))

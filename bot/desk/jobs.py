"""What is going to run: a trigger that was accepted, with a name and a place for what it keeps."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from bot.model import Capture, Consent, Offered, Recipe, Step, StepHead, Target, Trigger
from bot.policy import Decision
from bot.recipes import bind
from bot.runner import Job
from bot.stores.keys import folder_of

ID_ALPHABET = "23456789abcdefghjkmnpqrstvwxyz"  # nothing that is misread on a phone
ID_LENGTH = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a trigger asks for, found and checked."""

    recipe: Recipe
    targets: tuple[Target, ...]
    parameters: Mapping[str, str | int]
    approval: Decision | None = None  # where somebody else must approve of it first

    @property
    def names(self) -> list[str]:
        """Of the targets."""
        return [target.name for target in self.targets]

    @property
    def steps(self) -> tuple[Step, ...]:
        """The recipe's steps, with their parameters bound."""
        return tuple(bind(step, self.parameters) for step in self.recipe.steps)


def new_job(
    trigger: Trigger,
    what: Wanted,
    *,
    incident: str | None,
    agreed: Offered | None,
    consent: Consent | None,
    prefix: str,
    at: datetime,
) -> Job:
    """The capture with a new id, and its steps; *prefix* stands before every object's key."""
    capture_id = _new_id()
    recipe, parameters = what.recipe, what.parameters
    capture = Capture(
        id=capture_id,
        recipe=recipe.name,
        recipe_title=recipe.title,
        recipe_digest=recipe.digest,
        impact=recipe.impact,
        targets=tuple(what.names),
        steps=tuple(StepHead(id=step.id, title=step.title) for step in recipe.steps),
        parameters=parameters,
        given={one.name: parameters[one.name] for one in recipe.parameters if parameters[one.name] != one.default},
        who=trigger.who,
        source=trigger.source,
        at=at,
        prefix=f"{prefix}{folder_of(trigger.source, incident, at)}/{capture_id}/",
        place=trigger.place,
        incident=incident,
        cost=agreed.cost if agreed else "",
        prices=agreed.prices if agreed else {},
        consent=consent,
        force=trigger.force,
    )
    return Job(capture=capture, recipe=recipe, steps=what.steps, targets=what.targets)


def _new_id() -> str:
    return "".join(secrets.choice(ID_ALPHABET) for _ in range(ID_LENGTH))

"""Budgets in capturebot.yml: how much the captures of an incident, of a target, and of a user may take together."""

from __future__ import annotations

from pydantic import Field, model_validator

from bot.model import Budget, Budgets, Scope
from bot.shapes import Shape, wrong
from bot.values import Total

HOUR_S = 3600.0


class BudgetShape(Shape):
    """What captures may take together; what is left out has no bound."""

    pause_s: float | None = Field(
        None, ge=0, le=86_400, description="seconds for which they may stop what runs on targets", examples=[120]
    )
    bytes: Total | None = Field(None, description="what they may store", examples=["50 GB"])
    captures_an_hour: int | None = Field(None, ge=1, le=10_000, description="captures within an hour", examples=[30])

    @model_validator(mode="after")
    def _says_something(self) -> BudgetShape:
        if self.pause_s is None and self.bytes is None and self.captures_an_hour is None:
            wrong("bounds nothing", "add `pause_s`, `bytes` or `captures_an_hour`, or take it out")
        return self


class BudgetsShape(Shape):
    """How much captures may take together, those that nobody asked for too."""

    incident: BudgetShape | None = Field(None, description="of each incident")
    target: BudgetShape | None = Field(None, description="of each target")
    user: BudgetShape | None = Field(None, description="of each person")
    hours: float = Field(24.0, ge=1, le=168, description="for so long pauses and bytes count", examples=[24])


def read_budgets(shape: BudgetsShape | None) -> Budgets:
    """The budgets, where there are any."""
    if shape is None:
        return Budgets()
    given = {Scope.INCIDENT: shape.incident, Scope.TARGET: shape.target, Scope.USER: shape.user}
    return Budgets(
        of={
            scope: Budget(pause_s=one.pause_s, stored_bytes=one.bytes, captures_an_hour=one.captures_an_hour)
            for scope, one in given.items()
            if one
        },
        window_s=shape.hours * HOUR_S,
    )

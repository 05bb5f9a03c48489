"""How much captures may take together, as an operator wrote it down, and what one of them takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Scope(StrEnum):
    """Whose captures are counted together."""

    INCIDENT = "incident"
    TARGET = "target"
    USER = "user"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What captures of one scope may take together; None: as much as they like."""

    pause_s: float | None = None  # seconds in which something was stopped
    stored_bytes: int | None = None
    captures_an_hour: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """All budgets. Pauses and bytes count for *window_s* seconds after their capture was accepted."""

    of: Mapping[Scope, Budget] = field(default_factory=dict)
    window_s: float = 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a capture was measured to take of one target, before it ran."""

    pause_s: float = 0.0
    stored_bytes: int = 0

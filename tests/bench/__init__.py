"""Benchmarks on real servers that they start and end themselves: `make bench`, or `make bench ARGS="acks storing"`.

Each module here that `tests.bench.__main__` lists has one function, `measure(folder)`: it may use *folder* as it likes
and returns its figures. What the product promises stands beside each figure, and so does a peer, measured in the same
run on the same servers, because absolute times mean little on a shared machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table. *met* is None where nothing is promised."""

    what: str
    value: str
    wanted: str = ""
    met: bool | None = None


def told(what: str, value: float, unit: str = "") -> Figure:
    """Tell a figure that nothing is promised of."""
    return Figure(what=what, value=_shown(value, unit))


def at_most(what: str, value: float, bound: float, unit: str = "") -> Figure:
    """Hold a figure against its upper bound."""
    return Figure(what=what, value=_shown(value, unit), wanted=f"≤ {bound:g} {unit}".strip(), met=value <= bound)


def at_least(what: str, value: float, bound: float, unit: str = "") -> Figure:
    """Hold a figure against its lower bound."""
    return Figure(what=what, value=_shown(value, unit), wanted=f"≥ {bound:g} {unit}".strip(), met=value >= bound)


def share(values: Sequence[float], part: float) -> float:
    """Return the value that *part* of *values* stay within."""
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]


def _shown(value: float, unit: str) -> str:
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}".strip()

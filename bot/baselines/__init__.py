"""Baselines in capturebot.yml: what is taken on schedule while all is well, to compare later captures with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, PlainValidator, WithJsonSchema

from bot.errors import Problem, UserError
from bot.model import Baseline, Recipe, TargetKind
from bot.recipes import bind_parameters, chosen
from bot.shapes import Shape, wrong
from bot.yamlfile import Document, listed, nearest, shown

_EVERY = r"([0-9]{1,4}) ?(min|h|d)"
_UNITS_S = {"min": 60.0, "h": 3600.0, "d": 86_400.0}
SHORTEST_S, LONGEST_S = 600.0, 31 * 86_400.0
CURE = "write for example `6 h`, `30 min` or `1 d`"


def _every(value: Any) -> float:
    """Seconds, from text such as `6 h`."""
    match = re.fullmatch(_EVERY, value) if isinstance(value, str) else None
    if match is None:
        wrong("is not an interval", CURE)
    seconds = float(match[1]) * _UNITS_S[match[2]]
    if not SHORTEST_S <= seconds <= LONGEST_S:
        wrong(f"must be from {SHORTEST_S / 60:.0f} min to {LONGEST_S / 86_400:.0f} d", CURE)
    return seconds


class BaselineShape(Shape):
    """A capture that is taken again and again while no incident is open."""

    recipe: str = Field(description="a recipe that asks for no agreement", examples=["host"])
    targets: Annotated[list[str], Field(min_length=1, max_length=200)] = Field(
        description="what is captured, each at a time of its own", examples=[["orders-app"]]
    )
    every: Annotated[
        float, PlainValidator(_every), WithJsonSchema({"type": "string", "pattern": f"^(?:{_EVERY})$"})
    ] = Field(description="from one to the next, 10 min to 31 d", examples=["6 h"])
    keep: int = Field(
        30, ge=2, le=1000, description="how many are kept of each target; older ones are removed", examples=[30]
    )


def read_baselines(
    document: Document, shapes: Sequence[BaselineShape], problems: list[Problem], *, targets: Mapping[str, object]
) -> tuple[Baseline, ...]:
    """The baselines; what is wrong with them is added to *problems*."""
    seen = set()
    for number, shape in enumerate(shapes):
        for position, target in enumerate(shape.targets):
            where = ("baselines", number, "targets", position)
            if target not in targets:
                meant = nearest(target, targets)
                cure = f"did you mean `{meant}`?" if meant else f"targets are {listed(list(targets)[:20])}"
                problems.append(document.problem(where, f"there is no target `{shown(target)}`", cure))
            elif (shape.recipe, target) in seen:
                said = f"`{shown(shape.recipe)}` of `{target}` is taken on schedule already"
                problems.append(document.problem(where, said, "take one of them out"))
            seen.add((shape.recipe, target))
    return tuple(
        Baseline(recipe=shape.recipe, targets=tuple(dict.fromkeys(shape.targets)), every_s=shape.every, keep=shape.keep)
        for shape in shapes
    )


def faults_of_baselines(
    document: Document,
    baselines: Sequence[Baseline],
    recipes: Mapping[str, Recipe],
    kinds: Mapping[str, frozenset[TargetKind]],
) -> Iterator[Problem]:
    """Yield what is wrong between baselines and *recipes*; *kinds* tells what each target is."""
    for number, baseline in enumerate(baselines):
        if fault := _fault(baseline.recipe, recipes):
            yield document.problem(("baselines", number, "recipe"), *fault)
            continue
        recipe = recipes[baseline.recipe]
        for target in baseline.targets:
            if recipe.wants not in kinds[target] or (recipe.targets and target not in recipe.targets):
                given = document.value["baselines"][number]["targets"]
                where = ("baselines", number, "targets", given.index(target))
                yield document.problem(where, f"`{recipe.name}` is not for `{target}`", "leave it out")


def _fault(name: str, recipes: Mapping[str, Recipe]) -> tuple[str, str] | None:
    if (recipe := recipes.get(name)) is None:
        meant = nearest(name, recipes)
        cure = f"did you mean `{meant}`?" if meant else f"recipes are {listed(recipes)}"
        return f"there is no recipe `{shown(name)}`", cure
    if recipe.asks_first:
        return f"`{name}` {recipe.impact.words}, and must be agreed to", "take a recipe with a light impact"
    try:
        bind_parameters(chosen(recipe, {}), {})
    except UserError as missing:
        return f"`{name}` does not run without parameters: {missing.message}", "take another recipe"
    return None

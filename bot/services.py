"""Services in capturebot.yml: what people are paged for, with the targets and recipes that belong to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import AfterValidator, Field

from bot.command import RESERVED
from bot.errors import Problem, UserError
from bot.model import Recipe, Service, TargetKind
from bot.recipes import bind_parameters, chosen
from bot.recipes.shape import checked_pattern
from bot.shapes import Shape
from bot.values import Matches
from bot.yamlfile import Document, listed, nearest, shown

ServiceName = Annotated[
    str, Matches(r"[a-z0-9][a-z0-9-]{0,30}", "lower-case letters, digits and `-`, at most 31", "rename the service")
]
Names = Annotated[list[str], Field(max_length=100)]


class ServiceShape(Shape):
    """Something that people are paged for."""

    about: str = Field("", max_length=200, description="what it is, for people", examples=["Orders and payments"])
    pagerduty: Annotated[str, Matches("[A-Z0-9]{5,20}", "the id of a PagerDuty service, such as `PABC123`")] | None = (
        Field(None, description="the service's id in PagerDuty, from the address of its page", examples=["PABC123"])
    )
    targets: Names = Field(min_length=1, description="what is captured of it", examples=[["orders-db", "orders-app"]])
    first: Names = Field(
        [], description="recipes that run at once when it has an incident", examples=[["triage", "db"]]
    )
    offer: Names = Field([], description="recipes that its announcement offers as buttons", examples=[["java-threads"]])
    channels: Annotated[list[Annotated[str, AfterValidator(checked_pattern)]], Field(max_length=20)] = Field(
        [], description="RE2 expressions that names of its incident channels match", examples=[["inc-.*orders.*"]]
    )


def read_services(
    document: Document, shapes: Mapping[str, ServiceShape], problems: list[Problem], *, targets: Mapping[str, object]
) -> dict[str, Service]:
    """The services by name; what is wrong with them is added to *problems*."""
    owners: dict[str, str] = {}
    for name, shape in shapes.items():
        for position, target in enumerate(shape.targets):
            if target not in targets:
                meant = nearest(target, targets)
                cure = f"did you mean `{meant}`?" if meant else f"targets are {listed(list(targets)[:20])}"
                problems.append(
                    document.problem(
                        ("services", name, "targets", position), f"there is no target `{shown(target)}`", cure
                    )
                )
        if shape.pagerduty:
            if other := owners.get(shape.pagerduty):
                where, message = ("services", name, "pagerduty"), f"is the id of the service `{other}` already"
                problems.append(document.problem(where, message, "each service has an id of its own in PagerDuty"))
            owners[shape.pagerduty] = name
    return {
        name: Service(
            name=name,
            about=shape.about,
            pagerduty=shape.pagerduty or "",
            targets=tuple(dict.fromkeys(shape.targets)),
            first=tuple(dict.fromkeys(shape.first)),
            offer=tuple(dict.fromkeys(shape.offer)),
            channels=tuple(shape.channels),
        )
        for name, shape in shapes.items()
    }


def faults_of_services(
    document: Document,
    services: Mapping[str, Service],
    recipes: Mapping[str, Recipe],
    kinds: Mapping[str, frozenset[TargetKind]],
) -> Iterator[Problem]:
    """Yield what is wrong between services and *recipes*; *kinds* tells what each target is."""
    for name, service in services.items():
        if name in recipes or name in RESERVED:
            what = "a recipe" if name in recipes else "a word of `/capture` itself"
            yield document.problem(("services", name), f"`{name}` is {what} too", "rename the service")
        there = frozenset[TargetKind]().union(*(kinds[target] for target in service.targets))
        for key, names in (("first", service.first), ("offer", service.offer)):
            for wanted in names:
                if fault := _fault(key, wanted, recipes, there):
                    given = document.value["services"][name][key]
                    yield document.problem(("services", name, key, given.index(wanted)), *fault)


def _fault(
    key: str, wanted: str, recipes: Mapping[str, Recipe], kinds: frozenset[TargetKind]
) -> tuple[str, str] | None:
    if (recipe := recipes.get(wanted)) is None:
        meant = nearest(wanted, recipes)
        cure = f"did you mean `{meant}`?" if meant else f"recipes are {listed(recipes)}"
        return f"there is no recipe `{shown(wanted)}`", cure
    if recipe.wants not in kinds:
        return (
            f"`{wanted}` is for {recipe.wants.words}, and none of the service's targets is one",
            "add one, or leave it out",
        )
    if key == "first" and recipe.asks_first:
        return f"`{wanted}` {recipe.impact.words}, and must be asked for", "move it to `offer`"
    if key == "first":
        try:
            bind_parameters(chosen(recipe, {}), {})
        except UserError as missing:
            return f"`{wanted}` does not run without parameters: {missing.message}", "leave it out"
    return None

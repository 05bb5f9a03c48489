"""What the configuration starts by itself, and its own rules deny: told before an incident lacks that evidence."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from bot.errors import Problem
from bot.model import Baseline, Member, Membership, Policy, Recipe, Service, Target, Verb
from bot.policy import Asked, Verdict, decide
from bot.yamlfile import Document

ITSELF = Member(id="automatic", name="the configuration", membership=Membership.AUTOMATIC)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """A recipe that is started of targets, and where the file says so."""

    where: tuple[str | int, ...]
    recipe: str
    targets: Collection[str]
    asks: bool = True  # for an approval, in the channel that it is told in


def faults_of_automatic(
    document: Document,
    policy: Policy,
    recipes: Mapping[str, Recipe],
    targets: Mapping[str, Target],
    *,
    services: Iterable[Service],
    baselines: Iterable[Baseline],
) -> Iterator[Problem]:
    """Yield first sets and baselines of which a target is denied to everybody, once a recipe."""
    for start in _starts(services, baselines):
        recipe = recipes.get(start.recipe)
        if recipe is None or recipe.asks_first:  # which is told of services and baselines themselves
            continue
        for target in (targets[name] for name in start.targets if name in targets):
            if recipe.wants in target.kinds and (why := _denial(policy, recipe, target, asks=start.asks)):
                message = f"would not start by itself on `{target.name}`: {why}"
                yield document.problem(start.where, message, "take one of both away, or say in the rule `who` may not")
                break


def _starts(services: Iterable[Service], baselines: Iterable[Baseline]) -> Iterator[_Start]:
    for service in services:
        for n, name in enumerate(service.first):
            yield _Start(where=("services", service.name, "first", n), recipe=name, targets=service.targets)
    for n, baseline in enumerate(baselines):
        yield _Start(where=("baselines", n, "recipe"), recipe=baseline.recipe, targets=baseline.targets, asks=False)


def _denial(policy: Policy, recipe: Recipe, target: Target, *, asks: bool) -> str:
    """Why it is refused, also for an approval that nobody can be asked for; "" where it is not."""
    asked = Asked(
        verb=Verb.CAPTURE,
        who=ITSELF,
        recipe=recipe.name,
        impact=recipe.impact,
        target=target.name,
        labels=target.labels,
        parameters={one.name: one.default for one in recipe.parameters},
    )
    decision = decide(policy, asked)
    can_be = decision.verdict is Verdict.ALLOWED or (asks and decision.verdict is Verdict.NEEDS_APPROVAL)
    return "" if can_be else decision.because

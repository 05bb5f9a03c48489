"""Recipes that use others: whose steps they take, and what the parameters of those are given."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from bot.errors import UserError
from bot.model import Impact, Measure, Parameter, Passed, Recipe, Step, TargetKind
from bot.recipes.parameters import fit, reads_as_option, used
from bot.recipes.rules import undeclared
from bot.recipes.shape import UseShape
from bot.recipes.stepshape import MAX_STEPS
from bot.yamlfile import Where, listed, nearest, shown

Wrong = Callable[[Where, str, str], None]
LEFT_OUT = Passed(suits=(), value=None)  # what a script has a default of its own for

_OWN = re.compile(r"\{([a-z][a-z0-9_]*)\}")


def compose(recipe: Recipe, uses: Mapping[int, tuple[UseShape, Recipe]], wrong: Wrong) -> Recipe:
    """*recipe* with what it uses (by position in its `use`): their steps first, and the parameters that are left to people.

    Says what is *wrong*, at which place of the file.
    """
    parts = [_Part(("use", index), shape, used_, recipe, wrong) for index, (shape, used_) in uses.items()]
    steps = (*_named(parts, recipe.steps, wrong), *recipe.steps)
    if len(steps) > MAX_STEPS:
        wrong(("use",), f"makes {len(steps)} steps in all, and {MAX_STEPS} are the most", "take a part with `only`")
    return replace(
        recipe,
        steps=steps,
        parameters=(*recipe.parameters, *_offered(parts, wrong)),
        impact=max([recipe.impact, *(part.recipe.impact for part in parts)], key=list(Impact).index),
        cost=recipe.cost or _cost(parts, wrong),
    )


class _Part:
    """One recipe that another one uses."""

    def __init__(self, where: Where, shape: UseShape, recipe: Recipe, user: Recipe, wrong: Wrong) -> None:
        self.where = where
        self.recipe = recipe
        self.prefix = shape.as_
        self._shape = shape
        self._own = {parameter.name: parameter for parameter in user.parameters}
        self._wrong = wrong
        # A recipe for databases may look at their Linux hosts, too.
        if recipe.wants is not user.wants and (recipe.wants, user.wants) != (TargetKind.HOST, TargetKind.MYSQL):
            message = f"`{recipe.name}` is for {recipe.wants}, and this recipe is for {user.wants}"
            wrong(where, message, f"write `for: {recipe.wants}` above")
        taken = list(self._taken())
        self._declared = {parameter.name: parameter for parameter in recipe.parameters}
        self._passed = dict(self._passing(taken))
        self.steps = [
            replace(
                step,
                passed=self._through(step.passed, used(step.action)),
                timeout_s=min(step.timeout_s, shape.timeout or step.timeout_s),
            )
            for step in taken
        ]
        self.cost = recipe.cost and replace(
            recipe.cost, passed=self._through(recipe.cost.passed, used(recipe.cost.script))
        )
        needed = {name for step in taken for name in sources(step)} | (sources(recipe.cost) if recipe.cost else set())
        self.offered = [each for each in recipe.parameters if each.name in needed and each.name not in self._passed]

    def _taken(self) -> Iterator[Step]:
        ids = [step.id for step in self.recipe.steps]
        for index, name in enumerate(self._shape.only or ()):
            if name not in ids:
                meant = nearest(name, ids)
                cure = f"did you mean `{meant}`?" if meant else f"its steps are {listed(ids)}"
                self._wrong((*self.where, "only", index), f"`{self.recipe.name}` has no step `{shown(name)}`", cure)
        for step in self.recipe.steps:
            if self._shape.only is None or step.id in self._shape.only:
                yield step

    def _passing(self, taken: Sequence[Step]) -> Iterator[tuple[str, Passed]]:
        """Each parameter that is not left to people, with what it gets."""
        for name, given in self._shape.with_.items():
            where = (*self.where, "with", name)
            if name not in self._declared:
                self._wrong(where, *self._unknown(name))
            elif not (match := _OWN.fullmatch(str(given))):
                yield name, self._fixed(where, self._declared[name], given, taken)
            elif match[1] not in self._own:
                self._wrong(where, *undeclared(match[1], self._own))
            else:
                yield name, self._mapped(where, self._declared[name], self._own[match[1]])
        for name, parameter in self._declared.items():
            if name in self._own and name not in self._shape.with_:
                yield name, self._mapped(("parameters", name, "default"), parameter, self._own[name])

    def _unknown(self, name: str) -> tuple[str, str]:
        meant = nearest(name, self._declared)
        takes = f"it takes {listed(self._declared)}" if self._declared else "it takes none; take `with` out"
        return f"`{self.recipe.name}` has no parameter `{shown(name)}`", f"did you mean `{meant}`?" if meant else takes

    def _fixed(self, where: Where, parameter: Parameter, value: str | int, taken: Sequence[Step]) -> Passed:
        try:
            value = fit(parameter, str(value))
        except UserError as error:
            self._wrong(where, error.message.rstrip("."), f"give what `{self.recipe.name}` takes")
        if str(value).startswith("-") and isinstance(value, str) and reads_as_option(taken, parameter.name):
            self._wrong(where, "begins with `-`, so that the program would take it for an option", "give another value")
        return Passed(suits=(parameter,), value=value)

    def _mapped(self, where: Where, parameter: Parameter, own: Parameter) -> Passed:
        self._check_default(where, parameter, own)
        return Passed(suits=(parameter,), source=own.name)

    def _check_default(self, where: Where, parameter: Parameter, own: Parameter) -> None:
        try:
            fit(replace(parameter, name=own.name), str(own.default))
        except UserError as error:
            cure = f"choose a default of `{own.name}` that `{self.recipe.name}` takes, too"
            self._wrong(where, error.message.rstrip("."), cure)

    def _through(self, passed: Mapping[str, Passed], names: frozenset[str]) -> dict[str, Passed]:
        """What a step's parameters get now: what they got inside the used recipe, passed on by the user of that.

        A parameter that the used recipe does not declare gets nothing, also where the user has one of its name.
        """
        found: dict[str, Passed] = {}
        for name in sorted(names):
            if name not in passed and name not in self._declared:
                found[name] = LEFT_OUT
            elif name in passed or name in self._passed:
                inner = passed.get(name) or Passed(suits=(), source=name)
                outer = self._passed.get(inner.source or "")
                found[name] = self._joined(inner, outer) if outer else inner
        return found

    def _joined(self, inner: Passed, outer: Passed) -> Passed:
        """What goes through both; what is known of it already suits the inner parameters, too."""
        for parameter in inner.suits:
            if outer.source is None:
                self._fixed((*self.where, "with", inner.source or ""), parameter, outer.value or "", ())
            else:
                self._check_default(self.where, parameter, self._own[outer.source])
        return replace(outer, suits=inner.suits + outer.suits)


def sources(step: Step | Measure) -> set[str]:
    """The recipe's parameters that *step* gets its values from."""
    names = used(step.action if isinstance(step, Step) else step.script)
    return {source for name in names if (source := step.passed[name].source if name in step.passed else name)}


def _named(parts: Sequence[_Part], own: Sequence[Step], wrong: Wrong) -> Iterator[Step]:
    """The steps of all parts; where two would have one id, that of a used one gets its recipe's name before it."""
    times = Counter([step.id for part in parts for step in part.steps] + [step.id for step in own])
    ids = {step.id for step in own}
    for part in parts:
        prefix = part.prefix or part.recipe.name
        for step in part.steps:
            name = f"{prefix}-{step.id}" if part.prefix or times[step.id] > 1 else step.id
            if name in ids:
                cure = "give it a name of its own here: `{recipe: …, as: …}`"
                wrong(part.where, f"there is a step `{name}` already", cure)
            ids.add(name)
            yield replace(step, id=name, title=f"{prefix}: {step.title}" if part.prefix else step.title)


def _offered(parts: Sequence[_Part], wrong: Wrong) -> list[Parameter]:
    """The parameters that people may give to used recipes."""
    offered: dict[str, tuple[Parameter, str]] = {}
    for part in parts:
        for parameter in part.offered:
            first, whose = offered.setdefault(parameter.name, (parameter, part.recipe.name))
            if replace(first, about=parameter.about) != parameter:
                message = (
                    f"`{whose}` and `{part.recipe.name}` both have a parameter `{parameter.name}`, and they differ"
                )
                wrong(part.where, message, "declare it under `parameters` for both, or give it a value with `with`")
    return [parameter for parameter, _ in offered.values()]


def _cost(parts: Sequence[_Part], wrong: Wrong) -> Measure | None:
    found = [part for part in parts if part.cost]
    if len(found) > 1:
        names = listed([part.recipe.name for part in found])
        wrong(found[1].where, f"{names} measure their cost each in its own way", "add a `cost` of your own for both")
    return found[0].cost if found else None

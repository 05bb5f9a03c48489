"""One recipe file into a Recipe."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bot.errors import ConfigError, UserError
from bot.model import File, Impact, Measure, Parameter, ParameterType, Recipe, Script, TargetKind
from bot.recipes.composing import compose, sources
from bot.recipes.page import Page
from bot.recipes.parameters import fit
from bot.recipes.shape import CostShape, ParameterShape, RecipeShape, UseShape
from bot.recipes.steps import script_of, step_of
from bot.shapes import shaped
from bot.yamlfile import parse, read

# What a name in `use` means: a recipe, None where its own file is wrong, or what is wrong with the name, and the cure.
Found = Recipe | None | tuple[str, str]


def read_recipe(
    path: Path,
    *,
    insights: Collection[str] | None,
    tools: tuple[Path, ...],
    find: Callable[[str], Found],
    replaced: Path | None = None,
) -> Recipe:
    """The recipe in the file at *path*; its steps may name *insights* (None: any), and it uses those that *find* finds.

    *tools* are the folders of what steps may carry, *replaced* is the file of an earlier folder that has its name.
    Raises ConfigError with every problem.
    """
    data = read(path)
    page = Page(document=parse(data, str(path)), folder=path.parent, insights=insights, tools=tools)
    shape = shaped(page.document, RecipeShape)
    page.declared = tuple(shape.parameters or ())
    page.is_windows = TargetKind(shape.wants) is TargetKind.WINDOWS
    _check_place(page, path, shape, replaced)
    uses = _uses(page, shape, find)
    recipe = compose(_recipe(page, path.stem, shape), uses, page.wrong)
    _check_parameters(page, recipe)
    if page.problems:
        raise ConfigError(tuple(dict.fromkeys(page.problems)))
    return replace(recipe, digest=_digest(data, recipe, [used.digest for _, used in uses.values()]))


def _digest(data: bytes, recipe: Recipe, used_digests: Sequence[str]) -> str:
    digest = hashlib.sha256(data)
    actions = [step.action.script if isinstance(step.action, File) else step.action for step in recipe.steps]
    scripts = [*actions, recipe.cost.script] if recipe.cost else actions
    for name, text in sorted({(each.name, each.text) for each in scripts if isinstance(each, Script)}):
        digest.update(f"\0{name}\0{text}".encode())
    for each in used_digests:
        digest.update(f"\0{each}".encode())
    return digest.hexdigest()


def _recipe(page: Page, name: str, shape: RecipeShape) -> Recipe:
    """What stands in the file itself, without a digest."""
    steps = tuple(step_of(page, ("steps", index), step, shape.wants) for index, step in enumerate(shape.steps or ()))
    page.repeated([step.id for step in steps], ("steps",), "id")
    return Recipe(
        name=name,
        title=shape.title,
        about=shape.about,
        wants=TargetKind(shape.wants),
        impact=Impact(shape.impact),
        steps=steps,
        digest="",
        parameters=tuple(_parameters(page, shape.parameters or {})),
        cost=_cost(page, shape.cost) if shape.cost else None,
    )


def _cost(page: Page, shape: CostShape) -> Measure:
    return Measure(script=script_of(page, ("cost", "script"), shape.script), timeout_s=shape.timeout)


def _check_place(page: Page, path: Path, shape: RecipeShape, replaced: Path | None) -> None:
    """Note a name that is taken, unless the recipe is to have it."""
    if replaced and not shape.replaces:
        cure = "rename the file: its name is the recipe's; to take its place write `replaces: true`"
        page.wrong_in(path, 0, f"there is a recipe `{path.stem}` already, in {replaced}", cure)
    if shape.replaces and not replaced:
        cure = "take it out, or give the file the name of the one that is meant"
        page.wrong(("replaces",), f"there is no recipe `{path.stem}` in an earlier folder", cure)


def _uses(page: Page, shape: RecipeShape, find: Callable[[str], Found]) -> dict[int, tuple[UseShape, Recipe]]:
    """The recipes that it uses, by position in the list; those that are not right are left out."""
    found: dict[int, tuple[UseShape, Recipe]] = {}
    for index, use in enumerate(shape.use or ()):
        match find(use.recipe):
            case Recipe() as recipe:
                found[index] = use, recipe
            case (message, cure):
                page.wrong(("use", index, "recipe"), message, cure)
    return found


def _check_parameters(page: Page, recipe: Recipe) -> None:
    """Note each declared parameter that no step uses; *recipe* is the composed one."""
    needed = {name for step in recipe.steps for name in sources(step)}
    for name in page.declared:
        if name not in needed:
            cure = f"use it as {{{name}}} in `run`, %({name})s in `sql` or $PARAM_{name.upper()} in a script"
            page.wrong(("parameters", name), "is used by no step", f"{cure}, or take it out")


def _parameters(page: Page, shapes: Mapping[str, ParameterShape]) -> Iterator[Parameter]:
    for name, given in shapes.items():
        parameter = parameter_of(name, given)
        try:
            fit(parameter, str(given.default))
        except UserError as error:
            cure = "choose a default that the parameter itself would take"
            page.wrong(("parameters", name, "default"), error.message.rstrip("."), cure)
        yield parameter


def parameter_of(name: str, shape: ParameterShape) -> Parameter:
    """A parameter as a file declares it; whether it takes its own default is not looked at."""
    return Parameter(
        name=name,
        about=shape.about,
        type=ParameterType(shape.type),
        default=shape.default,
        minimum=shape.minimum,
        maximum=shape.maximum,
        pattern=shape.pattern,
        choices=tuple(shape.choices or ()),
    )

"""One recipe file into a Recipe."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from bot.errors import ConfigError, Problem, UserError
from bot.model import (
    Action,
    Impact,
    Log,
    Parameter,
    ParameterType,
    Recipe,
    Run,
    Sampling,
    Script,
    Sql,
    Statement,
    Step,
    TargetKind,
)
from bot.recipes import rules
from bot.recipes.parameters import fit, used
from bot.recipes.shape import LogShape, ParameterShape, RecipeShape, StatementShape, StepShape
from bot.shapes import shaped
from bot.yamlfile import Document, Where, listed, nearest, parse, read, shown

DEFAULT_LOG_BYTES = 5_000_000


def read_recipe(path: Path, *, insights: Collection[str] | None) -> Recipe:
    """The recipe in the file at *path*; its steps may name *insights* (None: any).

    Raises ConfigError with every problem.
    """
    data = read(path)
    document = parse(data, str(path))
    draft = _Draft(document, path.parent, insights)
    recipe = draft.recipe(path.stem, shaped(document, RecipeShape))
    if draft.problems:
        raise ConfigError(tuple(dict.fromkeys(draft.problems)))
    return replace(recipe, digest=_digest(data, recipe))


def _digest(data: bytes, recipe: Recipe) -> str:
    digest = hashlib.sha256(data)
    scripts = {step.action.name: step.action.text for step in recipe.steps if isinstance(step.action, Script)}
    for name, text in sorted(scripts.items()):
        digest.update(f"\0{name}\0{text}".encode())
    return digest.hexdigest()


class _Draft:
    """A recipe on its way, with the problems found so far."""

    def __init__(self, document: Document, folder: Path, insights: Collection[str] | None) -> None:
        self.problems: list[Problem] = []
        self._document = document
        self._folder = folder
        self._insights = insights
        self._declared: tuple[str, ...] = ()

    def recipe(self, name: str, shape: RecipeShape) -> Recipe:
        """The whole, but for its digest."""
        self._declared = tuple(shape.parameters or ())
        parameters = tuple(self._parameters(shape.parameters or {}))
        steps = tuple(self._step(("steps", index), step, shape.wants) for index, step in enumerate(shape.steps))
        self._repeated([step.id for step in steps], ("steps",), "id")
        unused = set(self._declared).difference(*(used(step.action) for step in steps))
        for parameter in sorted(unused):
            cure = f"use it as {{{parameter}}} in `run`, %({parameter})s in `sql` or $PARAM_{parameter.upper()} in a script"
            self._wrong(("parameters", parameter), "is used by no step", f"{cure}, or take it out")
        return Recipe(
            name=name,
            title=shape.title,
            about=shape.about,
            wants=TargetKind(shape.wants),
            impact=Impact(shape.impact),
            steps=steps,
            digest="",
            parameters=parameters,
        )

    def _wrong(self, where: Where, message: str, cure: str) -> None:
        self.problems.append(self._document.problem(where, message, cure))

    def _repeated(self, names: list[str], where: Where, key: str) -> None:
        """Note each name that an earlier entry of the list at *where* has already."""
        for index, name in enumerate(names):
            if name in names[:index]:
                first = self._document.lines[*where, names.index(name), key]
                self._wrong((*where, index, key), f"`{name}` is taken by line {first}", "give each a name of its own")

    def _parameters(self, shapes: Mapping[str, ParameterShape]) -> Iterator[Parameter]:
        for name, given in shapes.items():
            parameter = Parameter(
                name=name,
                about=given.about,
                type=ParameterType(given.type),
                default=given.default,
                minimum=given.minimum,
                maximum=given.maximum,
                pattern=given.pattern,
                choices=tuple(given.choices or ()),
            )
            try:
                fit(parameter, str(given.default))
            except UserError as error:
                cure = "choose a default that the parameter itself would take"
                self._wrong(("parameters", name, "default"), error.message.rstrip("."), cure)
            yield parameter

    def _step(self, where: Where, shape: StepShape, wants: str) -> Step:
        if shape.sql is not None and wants != TargetKind.MYSQL:
            self._wrong((*where, "sql"), f"a recipe for `{wants}` has no database to ask", "write `for: mysql` above")
        if shape.sql is not None and shape.needs:
            self._wrong(
                (*where, "needs"),
                "programs are of no use to a step of SQL",
                "take it out; `needs: performance_schema` goes to a statement of the list",
            )
        if shape.insight is not None and self._insights is not None and shape.insight not in self._insights:
            meant = nearest(shape.insight, self._insights)
            known = listed(sorted(self._insights)) or "none"
            self._wrong(
                (*where, "insight"),
                f"there is no insight `{shown(shape.insight)}`",
                f"did you mean `{meant}`?" if meant else f"insights are {known}",
            )
        return Step(
            id=shape.id,
            title=shape.title,
            action=self._action(where, shape),
            timeout_s=shape.timeout,
            limit_bytes=shape.limit,
            insight=shape.insight,
            needs=tuple(shape.needs),
            sampling=Sampling(times=shape.sample.times, every_s=shape.sample.every) if shape.sample else None,
        )

    def _action(self, where: Where, shape: StepShape) -> Action:
        if shape.sql is not None:
            return self._sql((*where, "sql"), shape.sql, shape.id)
        if shape.run is not None:
            for message, cure in rules.faults_of_argv(shape.run, self._declared):
                self._wrong((*where, "run"), message, cure)
            return Run(argv=tuple(shape.run))
        if shape.script is not None:
            return self._script((*where, "script"), shape.script)
        if shape.log is not None:
            return _log(shape.log)
        raise AssertionError("the shape has exactly one action")

    def _sql(self, where: Where, shapes: list[StatementShape], step: str) -> Sql:
        statements = tuple(
            Statement(
                name=shape.name or step,
                both=_bare(shape.both),
                mariadb=_bare(shape.mariadb),
                mysql=_bare(shape.mysql),
                needs_performance_schema=shape.needs is not None,
            )
            for shape in shapes
        )
        for index, statement in enumerate(statements):
            texts = {"both": statement.both, "mariadb": statement.mariadb, "mysql": statement.mysql}
            for flavour, text in texts.items():
                for message, cure in rules.faults_of_sql(text, self._declared) if text is not None else ():
                    self._wrong((*where, index, flavour), message, cure)
        self._repeated([statement.name for statement in statements], where, "name")
        return Sql(statements=statements)

    def _script(self, where: Where, name: str) -> Script:
        path = self._folder / name
        if not path.is_file():
            meant = nearest(name, (each.name for each in self._folder.glob("*.sh") if each.is_file()))
            cure = f"did you mean `{meant}`?" if meant else f"put the script into {self._folder}"
            self._wrong(where, f"there is no file `{name}` beside the recipe", cure)
        elif not path.resolve().is_relative_to(self._folder.resolve()):
            self._wrong(
                where, f"`{name}` is a link that leads out of the recipe's folder", "put the script itself there"
            )
        else:
            return self._script_in(path)
        return Script(name=name, text="")

    def _script_in(self, path: Path) -> Script:
        script = Script(name=path.name, text="")
        try:
            script = replace(script, text=read(path).decode())
        except ConfigError as error:
            self.problems += error.problems
        except UnicodeDecodeError:
            self.problems.append(_problem_in(path, 0, "is not UTF-8 text", "a script is text; save it as UTF-8"))
        for line, (message, cure) in rules.faults_of_script(script, self._declared):
            self.problems.append(_problem_in(path, line, message, cure))
        return script


def _log(shape: LogShape) -> Log:
    if shape.whole:
        return Log(path=shape.path, unit=shape.unit, last_bytes=None)
    return Log(path=shape.path, unit=shape.unit, last_bytes=shape.last or DEFAULT_LOG_BYTES)


def _bare(text: str | None) -> str | None:
    """A statement without the semicolon that people end it with."""
    return text.strip().removesuffix(";").rstrip() if text is not None else None


def _problem_in(path: Path, line: int, message: str, cure: str) -> Problem:
    return Problem(file=str(path), line=line, key="", message=message, cure=cure)

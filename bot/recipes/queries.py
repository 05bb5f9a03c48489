"""An application's own questions: `queries:` in capturebot.yml, asked by `/capture query TARGET name=…`.

All of them together are one recipe called `query`, whose variants they are.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from bot.errors import ConfigError, Problem, UserError
from bot.model import Impact, Parameter, ParameterType, Recipe, Sql, Statement, Step, TargetKind
from bot.recipes import rules
from bot.recipes.draft import parameter_of
from bot.recipes.parameters import fit, used
from bot.recipes.shape import About, ParameterName, ParameterShape
from bot.recipes.steps import bare
from bot.shapes import Shape, wrong
from bot.values import Matches, Size
from bot.yamlfile import Document, Where, listed, nearest, read, shown

RECIPE = "query"
LINE_CHARACTERS = 160  # of a template; what it holds of the answer makes it longer
DEFAULT_LIMIT_BYTES = 5_000_000
NAMES_LISTED = 20

_PLACE = re.compile(r"\{([A-Za-z_]\w{0,63})\}")


def _line(text: str) -> str:
    if re.search(r"[{}]", _PLACE.sub("", text)):
        wrong("has a brace that names no column", "write a column of the answer as `{column}`")
    return text


ColumnName = Annotated[str, Matches(r"[A-Za-z_]\w{0,63}", "a column of the answer")]
QueryName = Annotated[
    str, Matches("[a-z][a-z0-9-]{0,30}", "lower-case letters, digits and `-`, at most 31, a letter first")
]


class QueryShape(Shape):
    """A question of the application's own to its database, which only reads."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["sql"]}, {"required": ["file"]}]})

    about: About = Field(description="what it answers, in a few words", examples=["Orders that wait in one state"])
    sql: str | None = Field(
        None,
        description="one statement that only reads; %(name)s is a parameter",
        examples=["SELECT COUNT(*) AS count FROM orders WHERE state = %(state)s"],
    )
    file: Annotated[str, Matches(r"[^\x00-\x1f\x7f]{1,500}", "the path of a file")] | None = Field(
        None, description="the file that holds the statement, instead of `sql`", examples=["./queries/stuck.sql"]
    )
    line: Annotated[str, Field(min_length=1, max_length=LINE_CHARACTERS), AfterValidator(_line)] = Field(
        description="the first line that people read, filled in from the first row",
        examples=["{count} orders wait in state {state}"],
    )
    warn_above: Annotated[dict[ColumnName, float], Field(max_length=10)] | None = Field(
        None,
        description="columns of the first row, and the number above which it is a warning",
        examples=[{"count": 100}],
    )
    parameters: Annotated[dict[ParameterName, ParameterShape], Field(max_length=19)] | None = Field(
        None, description="values that a responder may give"
    )
    rows: int = Field(1000, ge=1, le=10_000, description="rows that are kept at most", examples=[100])
    timeout: float = Field(10, ge=1, le=60, description="seconds that it may take, 1 to 60", examples=[10])
    limit: Size = Field(DEFAULT_LIMIT_BYTES, description="bytes that are kept at most", examples=["5 MB"])
    targets: Annotated[list[str], Field(min_length=1, max_length=200)] | None = Field(
        None, description="the only targets that it is for; all with `mysql` when left out", examples=[["orders-db"]]
    )

    @model_validator(mode="after")
    def _one_text(self) -> QueryShape:
        if (self.sql is None) == (self.file is None):
            wrong(
                "needs exactly one of `sql` and `file`", "write the statement under `sql`, or name a file that holds it"
            )
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One question: the variant of the recipe `query` that asks it, and how its answer is told."""

    name: str
    line: str  # with {column} for values of the first row
    warn_above: Mapping[str, float]
    recipe: Recipe

    @property
    def insight(self) -> str:
        """The name of the insight that reads its answer."""
        return f"{RECIPE}:{self.name}"

    def told(self, row: Mapping[str, str]) -> str:
        """Its line for *row*, whose values are fit to be read. Raises KeyError with a column that is not there."""
        return _PLACE.sub(lambda place: row[place[1]], self.line)


def read_queries(
    document: Document,
    shapes: Mapping[str, QueryShape],
    problems: list[Problem],
    *,
    base: Path,
    databases: Collection[str],
) -> tuple[Query, ...]:
    """The queries of a settings file in *base*; *databases* are the targets that can be asked.

    What is wrong with them is added to *problems*.
    """
    queries = []
    for name, shape in shapes.items():
        draft = _Draft(document, ("queries", name), base)
        queries.append(draft.query(name, shape, databases))
        problems += dict.fromkeys(draft.problems)
    return tuple(queries)


def query_recipe(queries: Sequence[Query]) -> Recipe:
    """`query`, of which each of *queries* (there is one at least) is a variant."""
    variants = {query.name: query.recipe for query in queries}
    others = {p.name: p for recipe in variants.values() for p in recipe.parameters if p.name != "name"}
    return Recipe(
        name=RECIPE,
        title="A question of the application's own",
        about="; ".join(f"{name}: {recipe.about}" for name, recipe in variants.items()),
        wants=TargetKind.MYSQL,
        impact=Impact.LIGHT,
        steps=tuple(step for recipe in variants.values() for step in recipe.steps),
        digest=_digest(*(recipe.digest for recipe in variants.values())),
        parameters=(_which(list(variants)), *others.values()),
        variants=variants,
    )


def chosen(recipe: Recipe, given: Mapping[str, str]) -> Recipe:
    """*recipe*, or the one of its variants that the parameter `name` names. Raises UserError that lists them."""
    if not recipe.variants:
        return recipe
    names = list(recipe.variants)
    name = given.get("name", names[0] if len(names) == 1 else "")
    if variant := recipe.variants.get(name):
        return variant
    meant = nearest(name, names)
    there = f"There are {listed(names[:NAMES_LISTED])}."
    raise UserError(
        f"`{recipe.name}` has no `{shown(name)}`." if name else f"`{recipe.name}` needs to know which one.",
        cure=f"Did you mean `name={meant}`?" if meant else f"{there} For example: `name={names[0]}`.",
    )


def _which(names: Sequence[str]) -> Parameter:
    default = names[0] if len(names) == 1 else ""
    return Parameter(
        name="name", about="Which question", type=ParameterType.TEXT, default=default, choices=tuple(names)
    )


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


class _Draft:
    """One query on its way, with the problems found so far."""

    def __init__(self, document: Document, where: Where, base: Path) -> None:
        self.problems: list[Problem] = []
        self._document = document
        self._where = where
        self._base = base

    def query(self, name: str, shape: QueryShape, databases: Collection[str]) -> Query:
        parameters = tuple(self._parameters(shape.parameters or {}))
        text = bare(self._text(shape))
        action = Sql(statements=(Statement(name=name, both=text),), row_limit=shape.rows)
        for unused in sorted(set(shape.parameters or ()) - used(action)):
            self._wrong(("parameters", unused), "is not used", f"use it as %({unused})s, or take it out")
        for place, target in enumerate(shape.targets or ()):
            if target not in databases:
                meant = nearest(target, databases)
                cure = f"did you mean `{meant}`?" if meant else "name a target that has `mysql`"
                self._wrong(("targets", place), f"there is no target `{shown(target)}` with `mysql`", cure)
        insight = f"{RECIPE}:{name}"
        step = Step(
            id=name,
            title=shape.about,
            action=action,
            timeout_s=shape.timeout,
            limit_bytes=shape.limit,
            insight=insight,
        )
        recipe = Recipe(
            name=RECIPE,
            title=f"Question {name}",
            about=shape.about,
            wants=TargetKind.MYSQL,
            impact=Impact.LIGHT,
            steps=(step,),
            digest=_digest(name, text, repr(shape)),
            parameters=(_which([name]), *parameters),
            targets=tuple(shape.targets or ()),
        )
        return Query(name=name, line=shape.line, warn_above=shape.warn_above or {}, recipe=recipe)

    def _wrong(self, where: Where, message: str, cure: str) -> None:
        self.problems.append(self._document.problem((*self._where, *where), message, cure))

    def _parameters(self, shapes: Mapping[str, ParameterShape]) -> Iterator[Parameter]:
        for name, shape in shapes.items():
            parameter = parameter_of(name, shape)
            if name == "name":
                self._wrong(("parameters", name), "is how a query itself is named", "call the parameter something else")
            try:
                fit(parameter, str(parameter.default))
            except UserError as error:
                cure = "choose a default that the parameter itself would take"
                self._wrong(("parameters", name, "default"), error.message.rstrip("."), cure)
            yield parameter

    def _text(self, shape: QueryShape) -> str:
        """The statement, from the file where it lies in one; what is wrong with it is noted."""
        declared = tuple(shape.parameters or ())
        if shape.file is None:
            for message, cure in rules.faults_of_sql(shape.sql or "", declared):
                self._wrong(("sql",), message, cure)
            return shape.sql or ""
        path = self._base / Path(shape.file).expanduser()
        try:
            text = read(path).decode()
        except ConfigError as error:
            self._wrong(("file",), error.problems[0].message, error.problems[0].cure)
        except UnicodeDecodeError:
            self._wrong(("file",), "is not UTF-8 text", "save the file as UTF-8")
        else:
            for message, cure in rules.faults_of_sql(bare(text), declared):
                self.problems.append(Problem(file=str(path), line=1, key="", message=message, cure=cure))
            return text
        return ""

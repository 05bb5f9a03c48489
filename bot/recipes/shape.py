"""What a recipe file may hold; its steps are in `stepshape`. What its parts must be to each other is in `rules`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import re2
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from bot.command import FORCE
from bot.recipes.parameters import pattern_options
from bot.recipes.stepshape import MAX_STEPS, Scripts, StepId, StepShape, Title
from bot.shapes import Shape, wrong
from bot.values import Matches
from bot.yamlfile import listed

About = Annotated[str, Field(min_length=1, max_length=600)]
Value = Annotated[str, Field(max_length=200)]


def checked_pattern(text: str) -> str:
    """*text* as it is, once it reads as an RE2 expression."""
    try:
        re2.compile(text, pattern_options())
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        wrong(f"is not a pattern: {reason}", "write it as RE2 reads it (no look-around, no back-references)")
    return text


def _free_name(name: str) -> str:
    if name == FORCE:
        wrong(f"`{FORCE}=` means something else in `/capture`", "give the parameter another name")
    return name


class ParameterShape(Shape):
    """A value that a responder may give as name=value."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {
                    "properties": {"type": {"const": "integer"}, "default": {"type": "integer"}},
                    "required": ["minimum", "maximum"],
                },
                {
                    "properties": {"type": {"const": "text"}, "default": {"type": "string"}},
                    "oneOf": [{"required": ["pattern"]}, {"required": ["choices"]}],
                },
            ]
        }
    )

    type: Literal["integer", "text"] = Field(description="what a value must read as", examples=["integer"])
    about: About = Field(description="what it is for, in a few words", examples=["Rows per statement"])
    default: Annotated[Any, WithJsonSchema({"type": ["string", "integer"]})] = Field(
        description="the value when none is given", examples=[25]
    )
    minimum: int | None = Field(None, description="the least value of an integer", examples=[1])
    maximum: int | None = Field(None, description="the greatest value of an integer", examples=[200])
    pattern: Annotated[str, AfterValidator(checked_pattern)] | None = Field(
        None, description="RE2 expression that the whole text must match", examples=[r"[\w@.-]{0,64}"]
    )
    choices: list[Value] | None = Field(
        None, min_length=1, max_length=50, description="the texts that are allowed", examples=[["read", "write"]]
    )

    @model_validator(mode="after")
    def _bounded(self) -> ParameterShape:
        bounds = {"minimum": self.minimum, "maximum": self.maximum}
        texts = {"pattern": self.pattern, "choices": self.choices}
        own, other = (bounds, texts) if self.type == "integer" else (texts, bounds)
        for name, value in other.items():
            if value is not None:
                wrong(f"does not belong to a parameter of type `{self.type}`", f"use {listed(own, 'or')}", at=name)
        if self.type == "integer":
            self._check_integer()
        elif not isinstance(self.default, str):
            wrong("must be text, as the parameter's type says", "put it in quotes", at="default")
        elif (self.pattern is None) == (self.choices is None):
            wrong("needs exactly one of `pattern` and `choices`", "say which texts are allowed")
        return self

    def _check_integer(self) -> None:
        if self.minimum is None or self.maximum is None:
            wrong("has no bounds", "add `minimum` and `maximum`")
        if self.minimum > self.maximum:
            wrong(f"must be at most `maximum`, which is {self.maximum}", "exchange them", at="minimum")
        if isinstance(self.default, bool) or not isinstance(self.default, int):
            wrong("must be a whole number, as the parameter's type says", "or make it `type: text`", at="default")


class CostShape(Shape):
    """How the cost is measured on the target before anybody is asked to agree to it."""

    script: Scripts = Field(
        description="a script beside the recipe that only looks, and prints key=value", examples=["core-cost.sh"]
    )
    timeout: float = Field(ge=1, le=30, description="seconds that it may take, 1 to 30", examples=[10])


ParameterName = Annotated[
    str,
    Matches("[a-z][a-z0-9_]{0,30}", "lower-case letters, digits and `_`, a letter first"),
    AfterValidator(_free_name),
]
RecipeName = Annotated[str, Matches("[a-z0-9][a-z0-9-]{0,30}", "the name of a recipe")]


class UseShape(Shape):
    """Another recipe, whose steps are taken with its parameters."""

    recipe: RecipeName = Field(description="its name", examples=["host"])
    with_: Annotated[dict[ParameterName, int | Value], Field(max_length=20)] = Field(
        {},
        alias="with",
        description='values of its parameters, or "{name}" of an own one; the others are offered as they are',
        examples=[{"path": "/var/log/syslog"}],
    )
    only: list[StepId] | None = Field(
        None, min_length=1, max_length=30, description="the steps that are taken; all when left out", examples=[["cpu"]]
    )
    timeout: float | None = Field(
        None, ge=1, le=600, description="seconds that each of them may take at most, where it has more", examples=[7]
    )
    as_: StepId | None = Field(
        None, alias="as", description="a name before its steps', where one recipe is used twice", examples=["nginx"]
    )


def _use(value: Any) -> Any:
    """A name alone uses the whole recipe."""
    if not isinstance(value, str | dict):
        wrong("must be the name of a recipe, or what to take of it", "write for example `use: [host, net]`")
    return {"recipe": value} if isinstance(value, str) else value


Use = Annotated[UseShape, BeforeValidator(_use, json_schema_input_type=RecipeName | UseShape)]


class RecipeShape(Shape):
    """A capture recipe, captures/NAME.yml: what `/capture NAME` does."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["steps"]}, {"required": ["use"]}]})

    title: Title = Field(description="its name for people", examples=["Database triage"])
    about: About = Field(description="what it keeps, in one or two sentences", examples=["Statements, locks and load."])
    wants: Literal["host", "mysql", "windows"] = Field(
        alias="for", description="what it can be taken of", examples=["mysql"]
    )
    impact: Literal["none", "light", "pauses", "heavy"] = Field(
        description="what it costs the target", examples=["light"]
    )
    cost: CostShape | None = Field(
        None, description="measure and ask first", examples=[{"script": "core-cost.sh", "timeout": 10}]
    )
    parameters: Annotated[dict[ParameterName, ParameterShape], Field(max_length=20)] | None = Field(
        None, description="values that a responder may give"
    )
    use: list[Use] | None = Field(
        None, min_length=1, max_length=10, description="other recipes, whose steps come first", examples=[["host"]]
    )
    steps: list[StepShape] | None = Field(
        None, min_length=1, max_length=MAX_STEPS, description="what it keeps, in this order"
    )
    replaces: bool = Field(
        False,
        description="takes the place of the recipe of this name in an earlier folder; to `use` its own name means that one",
        examples=[True],
    )

    @model_validator(mode="after")
    def _some_step(self) -> RecipeShape:
        if self.use is None and self.steps is None:
            wrong("keeps nothing", "add `steps`, or `use` those of other recipes")
        return self

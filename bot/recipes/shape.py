"""What a recipe file may hold. What its parts must be to each other is in `rules`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import re2
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator

from bot.recipes.parameters import pattern_options
from bot.shapes import Shape, wrong
from bot.values import Matches, Size
from bot.yamlfile import listed


def _element(value: Any) -> str:
    """One element of argv; whole numbers need no quotes because they read back as they were written."""
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return str(value)
    return wrong("must be text", "put it in quotes, so that it reaches the program as it is written")


Element = Annotated[str, PlainValidator(_element), WithJsonSchema({"type": ["string", "integer"]})]
Title = Annotated[str, Field(min_length=1, max_length=120)]
About = Annotated[str, Field(min_length=1, max_length=600)]
Program = Annotated[str, Matches(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,63}", "the name of a program, such as `ss`")]
FileName = Annotated[
    str,
    Matches(
        "[A-Za-z0-9_][A-Za-z0-9._-]{0,99}",
        "the name of a file beside the recipe",
        "give the name alone, without folders",
    ),
]
Value = Annotated[str, Field(max_length=200)]


def _pattern(text: str) -> str:
    try:
        re2.compile(text, pattern_options())
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        wrong(f"is not a pattern: {reason}", "write it as RE2 reads it (no look-around, no back-references)")
    return text


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
    pattern: Annotated[str, AfterValidator(_pattern)] | None = Field(
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


class StatementShape(Shape):
    """One SQL statement that only reads."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["both"]}, {"anyOf": [{"required": ["mariadb"]}, {"required": ["mysql"]}]}]
        }
    )

    name: Annotated[str, Matches("[a-z][a-z0-9_-]{0,30}", "lower-case letters, digits, `_` and `-`")] = Field(
        description="heads its rows in the output; an insight looks for it", examples=["digests"]
    )
    both: str | None = Field(None, description="the text where MariaDB and MySQL agree")
    mariadb: str | None = Field(None, description="the text for MariaDB")
    mysql: str | None = Field(None, description="the text for MySQL")
    needs: Literal["performance_schema"] | None = Field(
        None, description="skip the statement, saying so, where this is off", examples=["performance_schema"]
    )

    @model_validator(mode="after")
    def _one_text(self) -> StatementShape:
        if self.both is None and self.mariadb is None and self.mysql is None:
            wrong("has no text", "add the SQL under `both`, or under `mariadb` and `mysql` where they differ")
        if self.both is not None and (self.mariadb is not None or self.mysql is not None):
            wrong("is given beside `mariadb` or `mysql`", "keep `both`, or one text a flavour", at="both")
        return self


def _statements(value: Any) -> Any:
    """A text alone is one statement; it goes by its step's id."""
    if not isinstance(value, str | list | None):
        wrong("must be a statement, or a list of named ones", "write for example `sql: SHOW PROCESSLIST`")
    return [StatementShape.model_construct(name="", both=value)] if isinstance(value, str) else value


Statements = Annotated[list[StatementShape], Field(min_length=1, max_length=50)]


class SampleShape(Shape):
    """Run the step several times, to see what changes."""

    times: int = Field(ge=2, le=10, description="how often", examples=[2])
    every: float = Field(ge=1, le=60, description="seconds from start to start", examples=[4])


class LogShape(Shape):
    """A log file or the journal of a systemd unit."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["path"]}, {"required": ["unit"]}]})

    path: Annotated[str, Matches(r"/[^\x00-\x1f]{1,4000}", "an absolute path")] | None = Field(
        None, description="a file on the host", examples=["/var/log/syslog"]
    )
    unit: (
        Annotated[str, Matches(r"[A-Za-z0-9_][A-Za-z0-9:_.@\\-]{0,255}", "the name of a unit, such as `nginx.service`")]
        | None
    ) = Field(None, description="a systemd unit, read from the journal", examples=["nginx.service"])
    last: Size | None = Field(None, description="how much of its end; 5 MB when left out", examples=["5 MB"])
    whole: bool = Field(False, description="all of it, up to the step's limit", examples=[True])

    @model_validator(mode="after")
    def _one_log(self) -> LogShape:
        if (self.path is None) == (self.unit is None):
            wrong("needs exactly one of `path` and `unit`", "name a file or a systemd unit, not both")
        if self.whole and self.last is not None:
            wrong("is given beside `whole: true`", "keep one of them", at="last")
        return self


ACTIONS = ("sql", "run", "script", "log")


class StepShape(Shape):
    """One thing that the recipe keeps, in one artifact."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [action]} for action in ACTIONS]})

    id: Annotated[
        str,
        Matches("[a-z][a-z0-9-]{0,30}", "lower-case letters, digits and `-`, at most 31, a letter first"),
    ] = Field(description="names the artifact; unique in the recipe", examples=["statements"])
    title: Title = Field(description="what people read while it runs", examples=["Open transactions"])
    sql: Annotated[Statements | None, BeforeValidator(_statements, json_schema_input_type=str | Statements | None)] = (
        Field(None, description="one statement, or a list of named ones; %(name)s is a parameter")
    )
    run: list[Element] | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="a program and its arguments; {name} is a parameter",
        examples=[["uptime"]],
    )
    script: FileName | None = Field(
        None, description="a bash script beside the recipe; parameters arrive as PARAM_NAME", examples=["host-cpu.sh"]
    )
    log: LogShape | None = Field(
        None, description="a log file or a unit's journal", examples=[{"path": "/var/log/syslog"}]
    )
    needs: list[Program] = Field(
        [], max_length=20, description="programs that the host must have, else the step is skipped", examples=[["ss"]]
    )
    sample: SampleShape | None = Field(None, description="run it several times", examples=[{"times": 2, "every": 4}])
    timeout: float = Field(ge=1, le=600, description="seconds that one run may take, 1 to 600", examples=[20])
    limit: Size = Field(description="bytes that are kept at most", examples=["5 MB"])
    insight: str | None = Field(None, description="who reads the output for findings", examples=["mysql-statements"])

    @model_validator(mode="after")
    def _one_action(self) -> StepShape:
        given = [action for action in ACTIONS if getattr(self, action) is not None]
        if not given:
            wrong("says nothing to run", "add one of `sql`, `run`, `script` and `log`")
        if len(given) > 1:
            wrong(f"is given beside `{given[0]}`", "keep one of them, and make a second step of the other", at=given[1])
        return self


ParameterName = Annotated[str, Matches("[a-z][a-z0-9_]{0,30}", "lower-case letters, digits and `_`, a letter first")]


class RecipeShape(Shape):
    """A capture recipe, captures/NAME.yml: what `/capture NAME` does."""

    title: Title = Field(description="its name for people", examples=["Database triage"])
    about: About = Field(description="what it keeps, in one or two sentences", examples=["Statements, locks and load."])
    wants: Literal["host", "mysql"] = Field(alias="for", description="what it can be taken of", examples=["mysql"])
    impact: Literal["none", "light", "pauses", "heavy"] = Field(
        description="what it costs the target", examples=["light"]
    )
    parameters: Annotated[dict[ParameterName, ParameterShape], Field(max_length=20)] | None = Field(
        None, description="values that a responder may give"
    )
    steps: list[StepShape] = Field(min_length=1, max_length=30, description="what it keeps, in this order")

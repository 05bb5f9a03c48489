"""Shapes of our files: pydantic models at the edge, whose complaints an operator can act on.

A field's description and first example serve twice: editors show them through the JSON Schema, and
a problem's cure quotes them.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, NoReturn, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from bot.errors import ConfigError, Problem
from bot.yamlfile import MAX_PROBLEMS, Document, Where, listed, nearest


class Shape(BaseModel):
    """A mapping of a file. Unknown keys are problems, and no value is turned into another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


S = TypeVar("S", bound=Shape)


def shaped(document: Document, shape: type[S]) -> S:
    """What *document* holds, in its shape. Raises ConfigError with every problem."""
    try:
        return shape.model_validate(document.value)
    except ValidationError as error:
        details = [_Detail(shape, each) for each in error.errors(include_url=False)]
    misspelt = {(*each.where[:-1], each.meant) for each in details if each.type == "extra_forbidden"}
    told = [each for each in details if each.type != "missing" or each.where not in misspelt]
    raise ConfigError(tuple(each.problem(document) for each in told[:MAX_PROBLEMS]))


def wrong(message: str, cure: str = "", *, at: str | None = None) -> NoReturn:
    """Refuse a value from inside a shape; *at* is the key of the shape that is meant."""
    raise PydanticCustomError("wrong", "{message}", {"message": message, "cure": cure, "at": at})


# --- from pydantic's complaints to ours ---------------------------------------------------------

_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "`true` or `false`",
    "list_type": "a list",
    "dict_type": "`key: value` lines",
    "model_type": "`key: value` lines",
}


class _Detail:
    """One complaint of pydantic's, with what the shape knows about the place."""

    def __init__(self, shape: type[Shape], detail: ErrorDetails) -> None:
        self.type = detail["type"]
        self.where = tuple(part for part in detail["loc"] if part != "[key]")
        self._value, self._context, self._message = detail["input"], detail.get("ctx", {}), detail["msg"]
        self._keys, self._field, self._inner = _place(shape, self.where)

    @property
    def meant(self) -> str | None:
        """The key that an unknown one was meant to be."""
        return nearest(str(self.where[-1]), self._keys)

    def problem(self, document: Document) -> Problem:
        """The complaint for people."""
        where, context, value = self.where, self._context, self._value
        match self.type:
            case "wrong":
                at = (*where, context["at"]) if context["at"] else where
                return document.problem(at, context["message"], context["cure"])
            case "missing":
                return document.problem(where[:-1], "is missing", self._example("add"), missing=str(where[-1]))
            case "extra_forbidden":
                cure = f"did you mean `{self.meant}`?" if self.meant else f"keys here are {listed(self._keys)}"
                return document.problem(where, "is not a known key", cure)
            case "literal_error":
                expected = re.findall(r"'([^']*)'", context["expected"])
                meant = nearest(value, expected) if isinstance(value, str) else None
                cure = f"did you mean `{meant}`?" if meant else ""
                return document.problem(where, f"must be {listed(expected, 'or')}", cure)
            case kind if kind in _WANTED:
                return document.problem(where, f"must be {_WANTED[kind]}, not {_found(value)}", self._type_cure())
            case _:
                return document.problem(where, self._bound(), self._example("write"))

    def _bound(self) -> str:
        context = self._context
        match self.type:
            case "greater_than_equal":
                return f"must be at least {context['ge']:g}, not {self._value}"
            case "less_than_equal":
                return f"must be at most {context['le']:g}, not {self._value}"
            case "too_short" | "string_too_short":  # no shape asks for more than one
                return "must not be empty"
            case "too_long":
                return f"must have at most {context['max_length']} entries, not {context['actual_length']}"
            case "string_too_long":
                return f"must have at most {context['max_length']} characters, not {len(self._value)}"
        return self._message  # a rule of pydantic's that no shape uses yet: its own words are better than none

    def _type_cure(self) -> str:
        value = self._value
        if self.type == "string_type" and isinstance(value, bool | int | float):
            return f'put it in quotes: "{str(value).lower()}"'
        number = isinstance(value, str) and re.fullmatch(r"-?[0-9.]{1,20}", value)
        if self.type in {"int_type", "float_type"} and number:
            return "take the quotes away"
        if self.type == "model_type" and not (self._field and self._field.examples):
            return f"its keys are {listed(self._inner)}"
        return self._example("write")

    def _example(self, verb: str) -> str:
        """How the place could look, in the words of the shape."""
        if not self._field or not self._field.description:
            return ""
        example = f"{verb} `{self.where[-1]}`"
        if self._field.examples:
            value = yaml.safe_dump(self._field.examples[0], default_flow_style=True, sort_keys=False, width=1000)
            example = f"{verb} for example `{self.where[-1]}: {value.strip().removesuffix('...').strip()}`"
        return f"{example} ({self._field.description})"


def _found(value: Any) -> str:
    """What stands there, without repeating text, which may be a secret at the wrong place."""
    match value:
        case None:
            return "empty"  # as in `key:` with nothing behind it
        case bool() | int() | float():
            return f"`{str(value).lower()}`"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "`key: value` lines"


# --- finding the shape that a complaint is about -------------------------------------------------

Keys = dict[str, FieldInfo]


def _place(shape: type[BaseModel], where: Where) -> tuple[Keys, FieldInfo | None, Keys]:
    """The keys around the end of *where*, the field that lies there, and the keys inside of it.

    There is no field where the end is a list's position or a name that people chose.
    """
    around = inside = _keys(shape)
    field: FieldInfo | None = None
    is_item = False
    for part in where:
        around = inside
        if is_item:
            field, is_item = None, False
            continue
        field = around.get(str(part))
        annotation = _bare(field.annotation) if field else None
        is_item = get_origin(annotation) in {list, dict}
        if is_item:
            annotation = _bare(get_args(annotation)[-1])
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            inside = _keys(annotation)
    return around, field, inside


def _keys(shape: type[BaseModel]) -> Keys:
    return {field.alias or name: field for name, field in shape.model_fields.items()}


def _bare(annotation: Any) -> Any:
    """The annotation without `| None` and what `Annotated` adds."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if type(None) in get_args(annotation):
        return _bare(next(choice for choice in get_args(annotation) if choice is not type(None)))
    return annotation

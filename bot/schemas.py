"""JSON Schemas of our files, for editors: completion, descriptions and red lines while one types.

A file names its schema in a comment on the first line, which yaml-language-server reads::

    # yaml-language-server: $schema=recipe.schema.json

The loader knows more than a schema can say (parameters, SQL, scripts): `capturebot check` has the
last word.
"""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from bot.recipes.shape import RecipeShape
from bot.settings_file import SettingsShape
from bot.shapes import Shape


def recipe_schema() -> dict[str, Any]:
    """The JSON Schema of a recipe file."""
    return _schema(RecipeShape, "capturebot recipe")


def config_schema() -> dict[str, Any]:
    """The JSON Schema of capturebot.yml."""
    return _schema(SettingsShape, "capturebot.yml")


class _Generator(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  (pydantic calls it so)
        """No field's title says more than its key and its description."""
        return False

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """Keys that match no pattern are refused, as the loader does."""
        known = super().dict_schema(schema)
        return {**known, "additionalProperties": False} if "patternProperties" in known else known


def _schema(shape: type[Shape], title: str) -> dict[str, Any]:
    schema = shape.model_json_schema(schema_generator=_Generator, mode="validation")
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": title}

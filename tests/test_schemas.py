"""The JSON Schemas that editors use agree with the loader, as far as a schema can tell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from bot.errors import ConfigError
from bot.recipes import builtin_folder
from bot.schemas import config_schema, recipe_schema
from bot.yamlfile import load, parse
from tests.wrong import table

SCHEMAS = {"recipe": recipe_schema(), "config": config_schema()}
TABLES = {"recipe": table("wrong_recipes.txt"), "config": table("wrong_settings.txt")}
WRONG = [(kind, wrong) for kind, (_, wrongs) in TABLES.items() for wrong in wrongs]


def complaints(kind: str, value: object) -> list[str]:
    """What an editor would mark."""
    return [error.message for error in Draft202012Validator(SCHEMAS[kind]).iter_errors(value)]


def mappings(schema: Any) -> Iterator[dict[str, Any]]:
    """Every schema inside *schema*, itself first."""
    if isinstance(schema, dict):
        yield schema
    for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from mappings(inner)


@pytest.mark.parametrize("kind", SCHEMAS)
def test_a_schema_is_one(kind: str) -> None:
    """By the rules of its own draft."""
    Draft202012Validator.check_schema(SCHEMAS[kind])


@pytest.mark.parametrize("path", sorted(builtin_folder().glob("*.yml")), ids=lambda path: path.name)
def test_shipped_recipes_are_accepted(path: Path) -> None:
    """No editor marks a recipe that ships."""
    assert complaints("recipe", load(path).value) == []


@pytest.mark.parametrize("kind", TABLES)
def test_what_the_loader_accepts_is_accepted(kind: str) -> None:
    """The right files of the tables."""
    right, _ = TABLES[kind]

    assert complaints(kind, parse(right.encode(), kind).value) == []


def test_a_wrong_file_is_marked_where_a_schema_can_tell() -> None:
    """The table says which mistakes only the loader knows."""
    for kind, wrong in WRONG:
        try:
            value = parse(wrong.text.encode(), kind).value
        except ConfigError:
            continue  # no YAML: the editor's own parser marks it
        assert bool(complaints(kind, value)) == wrong.told_by_schema, wrong


@pytest.mark.parametrize("kind", SCHEMAS)
def test_every_key_is_described(kind: str) -> None:
    """An editor shows the description while one types."""
    bare = [
        name
        for schema in mappings(SCHEMAS[kind])
        if schema.get("type") == "object"
        for name, inner in schema.get("properties", {}).items()
        if "description" not in inner
    ]

    assert bare == []


@pytest.mark.parametrize("kind", SCHEMAS)
def test_every_example_is_right(kind: str) -> None:
    """Problems quote them as cures."""
    definitions = {"$defs": SCHEMAS[kind]["$defs"]}
    wrong = [
        (example, error.message)
        for schema in mappings(SCHEMAS[kind])
        for example in schema.get("examples", ())
        for error in Draft202012Validator({**schema, **definitions}).iter_errors(example)
    ]

    assert wrong == []

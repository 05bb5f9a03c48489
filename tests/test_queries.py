"""An application's own questions: what is wrong with them, how one is chosen, and how its answer is told."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from bot.errors import ConfigError, UserError
from bot.insights import Reading, header
from bot.insights.mysql.query import insight_of
from bot.model import Finding, Impact, Level, Recipe, Sql, TargetKind
from bot.recipes import bind, bind_parameters, chosen
from bot.recipes.queries import Query, query_recipe
from bot.schemas import config_schema
from bot.settings import load
from bot.transports.mysql_table import Column, comment, names_line, row_line
from bot.yamlfile import parse
from tests.wrong import Wrong, table

RIGHT, WRONG = table("wrong_queries.txt")
SCHEMA = Draft202012Validator(config_schema())
AT = datetime(2026, 11, 22, 20, 55, 1, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where capturebot.yml lies, with the files that its queries name."""
    (tmp_path / "late.sql").write_text("SELECT COUNT(*) AS count\nFROM orders WHERE due < NOW();\n")
    (tmp_path / "writes.sql").write_text("DELETE FROM orders\n")
    return tmp_path


def loaded(folder: Path, text: str = RIGHT) -> tuple[Query, ...]:
    """The queries of a file in *folder*."""
    (folder / "capturebot.yml").write_text(text)
    return load(folder / "capturebot.yml").queries


# --- files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_wrong_query_says_where_and_how_to_mend_it(wrong: Wrong, folder: Path) -> None:
    """File, line, key, message and cure; an editor marks what the schema can tell."""
    with pytest.raises(ConfigError) as caught:
        loaded(folder, wrong.text)

    assert [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems] == wrong.says
    assert SCHEMA.is_valid(parse(wrong.text.encode(), "x").value) is not wrong.told_by_schema


def test_a_right_file_is_right_for_an_editor_too(folder: Path) -> None:
    """And becomes one query after the other."""
    stuck, late = loaded(folder)

    assert SCHEMA.is_valid(parse(RIGHT.encode(), "x").value)
    assert (stuck.name, stuck.recipe.targets, stuck.warn_above) == ("stuck-orders", ("orders-db",), {"count": 100})
    (statement,) = _sql(late.recipe).statements
    assert statement.both == "SELECT COUNT(*) AS count\nFROM orders WHERE due < NOW()"


def test_a_changed_file_is_another_recipe(folder: Path) -> None:
    """The manifest's digest tells which statement was asked."""
    before = query_recipe(loaded(folder)).digest

    (folder / "late.sql").write_text("SELECT 1 AS count")

    assert query_recipe(loaded(folder)).digest != before


def test_help_tells_every_query(folder: Path) -> None:
    """What each answers, and all parameters that any of them takes."""
    recipe = query_recipe(loaded(folder))

    assert recipe.about == "stuck-orders: Orders that wait in one state; late: Orders that are late"
    assert [parameter.name for parameter in recipe.parameters] == ["name", "state"]
    assert recipe.parameters[0].choices == ("stuck-orders", "late")


# --- choosing ---------------------------------------------------------------------------------


def test_the_one_that_is_named_is_run_with_its_parameters_bound(folder: Path) -> None:
    """The others and their parameters have no part in it."""
    recipe = chosen(query_recipe(loaded(folder)), {"name": "stuck-orders", "state": "new"})
    values = bind_parameters(recipe, {"name": "stuck-orders", "state": "new"})

    (step,) = (bind(step, values) for step in recipe.steps)

    assert values == {"name": "stuck-orders", "state": "new"}
    assert isinstance(step.action, Sql)
    assert step.action.arguments == {"state": "new"}
    with pytest.raises(UserError, match="has no parameter `state`"):
        bind_parameters(chosen(query_recipe(loaded(folder)), {"name": "late"}), {"state": "new"})


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "`query` needs to know which one. There are `stuck-orders` and `late`. For example: `name=stuck-orders`."),
        ({"name": "stuck-order"}, "`query` has no `stuck-order`. Did you mean `name=stuck-orders`?"),
        (
            {"name": "'; DROP"},
            "`query` has no `'; DROP`. There are `stuck-orders` and `late`. For example: `name=stuck-orders`.",
        ),
    ],
)
def test_a_name_that_is_none_is_told_with_those_there_are(given: Mapping[str, str], says: str, folder: Path) -> None:
    """Or with the nearest one."""
    with pytest.raises(UserError) as caught:
        chosen(query_recipe(loaded(folder)), given)

    assert str(caught.value) == says


def test_the_only_query_needs_no_name_and_other_recipes_have_no_variants(folder: Path) -> None:
    """Nothing is to be chosen."""
    stuck, _ = loaded(folder)

    assert chosen(query_recipe([stuck]), {}) == stuck.recipe
    assert chosen(stuck.recipe, {"name": "anything"}) == stuck.recipe


# --- answers ----------------------------------------------------------------------------------


def told(query: Query, rows: list[list[str | None]], columns: tuple[str, ...] = ("state", "count")) -> list[Finding]:
    """What is said of an answer that the transport wrote."""
    named = [Column(name=name) for name in columns]
    lines = [
        row_line(named, [None if value is None else value.encode(errors="replace") for value in row]) for row in rows
    ]
    text = header(query.name, AT) + names_line(named) + "".join(lines) + comment(f"{len(rows)} rows in 0.001 s")
    return list(insight_of(query)(Reading(text=text, target="orders-db")))


@pytest.mark.parametrize(("count", "level"), [("12", Level.INFO), ("100", Level.INFO), ("101", Level.WARN)])
def test_the_answer_is_told_in_the_operators_words(count: str, level: Level, folder: Path) -> None:
    """It is a warning above the threshold, and the first line anyhow."""
    stuck, _ = loaded(folder)

    (finding,) = told(stuck, [["paid", count], ["new", "7"]])

    assert (finding.level, finding.answer) == (level, True)
    assert finding.text == f"{count} orders wait in state paid"
    assert finding.evidence == (f"state=paid count={count}", "state=new count=7")


@pytest.mark.parametrize(
    ("rows", "columns", "says"),
    [
        ([], ("state", "count"), "stuck-orders found nothing"),
        ([[None, "0"]], ("state", "count"), "0 orders wait in state nothing"),
        (
            [["paid", "1"]],
            ("state", "n"),
            "The answer to stuck-orders has no column count: it has state, n; mend its line in capturebot.yml",
        ),
    ],
)
def test_an_answer_without_what_the_line_needs_says_so(
    rows: list[list[str | None]], columns: tuple[str, ...], says: str, folder: Path
) -> None:
    """No row, NULL, or another column."""
    stuck, _ = loaded(folder)

    assert [finding.text for finding in told(stuck, rows, columns)] == [says]


def test_a_refused_statement_has_no_answer(folder: Path) -> None:
    """The step's own reason says it."""
    stuck, _ = loaded(folder)
    text = header("stuck-orders", AT, error=1142) + comment("ERROR 1142: denied")

    assert list(insight_of(stuck)(Reading(text=text, target="orders-db"))) == []


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.text() | st.none(), min_size=2, max_size=2), max_size=3))
def test_any_answer_is_one_clean_line(rows: list[list[str | None]]) -> None:
    """Whatever customers wrote into the table."""
    for finding in told(STUCK, rows):
        assert finding.text.isprintable()
        assert len(finding.text) <= 200


STUCK = Query(
    name="stuck-orders",
    line="{count} orders wait in state {state}",
    warn_above={"count": 100.0},
    recipe=Recipe(name="query", title="", about="", wants=TargetKind.MYSQL, impact=Impact.LIGHT, steps=(), digest=""),
)


def _sql(recipe: Recipe) -> Sql:
    (step,) = recipe.steps
    assert isinstance(step.action, Sql)
    return step.action

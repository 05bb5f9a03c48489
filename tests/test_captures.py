"""The recipes that come with the bot, and the guide to writing one."""

from __future__ import annotations

import re
import subprocess
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from bot.model import File, Recipe, Script, Sql, Statement
from bot.recipes import load_all
from bot.transports.mysql_connection import FOUND

CAPTURES = Path(__file__).parent.parent / "captures"
SCRIPTS = sorted(CAPTURES.glob("*.sh"))
INSIGHTS = frozenset(entry.name for entry in entry_points(group="capturebot.insights"))
RECIPES: dict[str, Recipe] = load_all([CAPTURES], insights=INSIGHTS)
STATEMENTS: list[Statement] = [
    statement
    for name in ("db", "locks", "replication")
    for step in RECIPES[name].steps
    if isinstance(step.action, Sql)
    for statement in step.action.statements
]
SAMPLED_S = 4.0  # a recipe samples no longer, so that it ends within eight seconds


def texts_of(statement: Statement) -> list[str]:
    """Its text for each kind of server."""
    return [text for text in (statement.both, statement.mariadb, statement.mysql) if text]


@pytest.mark.parametrize("name", ["db", "host"])
def test_every_step_that_can_be_read_has_a_reader(name: str) -> None:
    """Only the settings of a database are kept without one."""
    assert {step.id for step in RECIPES[name].steps if step.insight is None} <= {"variables"}


@pytest.mark.parametrize("name", ["db", "host"])
def test_a_recipe_ends_within_seconds(name: str) -> None:
    """Steps that sample stand first, so that their seconds pass together."""
    sampling = [step.sampling for step in RECIPES[name].steps]

    assert all((each.times - 1) * each.every_s <= SAMPLED_S for each in sampling if each)
    assert sampling == sorted(sampling, key=lambda each: each is None)


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda statement: str(statement.name))
def test_a_statement_is_ours_bounded_and_only_reads(statement: Statement) -> None:
    """Insights know our statements by their comment, and a percent sign would be taken for a parameter."""
    for text in texts_of(statement):
        assert re.match(r"(SELECT|SHOW|EXPLAIN) /\* capturebot \*/ ", text)
        assert "%" not in FOUND.sub("", text)
        assert text.startswith(("SHOW", "EXPLAIN")) or "LIMIT" in text or " FROM " not in text


def test_a_server_of_each_kind_is_asked_about_each_subject() -> None:
    """Where the two differ, the sister statement has another name."""
    mariadb = {statement.name for statement in STATEMENTS if statement.both or statement.mariadb}
    mysql = {statement.name for statement in STATEMENTS if statement.both or statement.mysql}

    # A plugin of MariaDB's, and workers that MariaDB lists with the other threads.
    assert mariadb ^ mysql == {"lock_waits", "data_lock_waits", "metadata_lock_info", "workers"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.name))
def test_a_script_is_sound_and_used(script: Path) -> None:
    """Bash can parse it, a step runs it, it ends well whatever it found, and it writes no file outside its scratch folder."""
    subprocess.run(["bash", "-n", script], check=True)
    text = script.read_text()

    assert text.startswith("#!/usr/bin/env bash\n# ")
    assert re.findall(r"(?<![<&12])>(?!&|/dev/null|\"\$CAPTURE_SCRATCH/)\s*[\"$/]", text) == []
    actions = [step.action for recipe in RECIPES.values() for step in recipe.steps]
    used = [each.script if isinstance(each, File) else each for each in actions if isinstance(each, File | Script)]
    measures = [recipe.cost.script for recipe in RECIPES.values() if recipe.cost]
    assert any(text in each.text for each in used + measures)
    is_library = all(each.name != script.name for each in used + measures)
    assert text.endswith("\n}\n" if is_library else "\nexit 0\n")


def test_a_recipe_that_hurts_measures_first() -> None:
    """Whoever is asked to agree to it reads its cost in numbers."""
    assert [recipe.name for recipe in RECIPES.values() if recipe.asks_first and not recipe.cost] == []

"""`capturebot check`: everything that can be known to be wrong without touching anything."""

from __future__ import annotations

from pathlib import Path

from bot.check import check
from bot.recipes import builtin_folder, load_folder

INSIGHTS = {step.insight for recipe in load_folder(builtin_folder()).values() for step in recipe.steps if step.insight}
RECIPE = (
    "title: A\nabout: B.\nfor: host\nimpact: none\nsteps: [{id: a, title: A, run: [ps], timeout: 5, limit: 1 kB}]\n"
)


def said(folder: Path, settings: Path | None, *folders: Path) -> list[str]:
    """The problems, without the folder's name."""
    problems = check(settings, folders=folders, insights=INSIGHTS)
    return [str(problem).replace(f"{folder}/", "") for problem in problems]


def test_right_files_have_no_problems(tmp_path: Path) -> None:
    """The recipes that ship are among them."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/web.yml").write_text(RECIPE)
    settings = tmp_path / "capturebot.yml"
    settings.write_text("recipes: [mine]\nfolder: x\ntargets: {here: {local: true}}\n")

    assert said(tmp_path, settings) == []


def test_problems_of_settings_and_recipes_are_told_together(tmp_path: Path) -> None:
    """A recipe of one's own may not take the name of one that ships."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/db.yml").write_text(RECIPE)
    (tmp_path / "mine/web.yml").write_text(RECIPE.replace("none", "nil"))
    settings = tmp_path / "capturebot.yml"
    settings.write_text("folder: x\ntargets: {here: {}}\n")

    problems = said(tmp_path, settings, tmp_path / "mine")

    assert [line.split(" ")[0] for line in problems] == ["capturebot.yml:2:", "mine/db.yml:", "mine/web.yml:4:"]


def test_recipes_are_checked_without_settings(tmp_path: Path) -> None:
    """On the desk of somebody who only writes recipes, and in CI."""
    assert said(tmp_path, None) == []


def test_folders_that_right_settings_name_are_checked(tmp_path: Path) -> None:
    """And their absence is told."""
    settings = tmp_path / "capturebot.yml"
    settings.write_text("recipes: [gone]\nfolder: x\ntargets: {here: {local: true}}\n")

    assert said(tmp_path, settings) == [
        "gone: this folder cannot be read: no such file or directory — check the path and its permissions"
    ]

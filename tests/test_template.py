"""`capturebot new-recipe`: what it writes is right, runs, and takes the place of nothing."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from bot.cli import main

pytestmark = pytest.mark.thorough

Type = Callable[..., tuple[int, str, str]]


@pytest.fixture
def type_(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Type:
    """Types a command in a folder with a configuration; gives its status and what it says, without the folder's name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    settings = {"recipes": ["mine"], "folder": "artifacts", "targets": {"here": {"local": True}}}
    (tmp_path / "capturebot.yml").write_text(yaml.safe_dump(settings))

    def typed(*words: str) -> tuple[int, str, str]:
        try:
            status = main(["--config", "capturebot.yml", *words])
        except SystemExit as end:  # argparse's way
            status = int(end.code or 0)
        said = capsys.readouterr()
        return status, *(text.replace(f"{tmp_path}/", "") for text in (said.out, said.err))  # type: ignore[return-value]  # two of them

    return typed


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        ("host", ["slow-pages.sh", "slow-pages.yml", "test_slow_pages.py"]),
        ("mysql", ["slow-pages.yml", "test_slow_pages.py"]),
        ("windows", ["slow-pages.ps1", "slow-pages.yml", "test_slow_pages.py"]),
    ],
)
def test_a_new_recipe_is_right_and_its_test_runs(kind: str, files: list[str], type_: Type, tmp_path: Path) -> None:
    """As it stands, before anybody changed a word."""
    status, out, err = type_("new-recipe", "slow-pages", "--for", kind)

    assert (status, err) == (0, "")
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == files
    assert all(f"wrote mine/{file}\n" in out for file in files)
    assert out.splitlines()[-2:] == [
        "Next: change what is in it.",
        "`capturebot check mine` checks it, `capturebot run slow-pages TARGET` takes it, `pytest mine` tests it.",
    ]
    assert type_("check") == (0, "capturebot.yml and all recipes are in order.\n", "")
    tests = [each for name, each in runpy.run_path(f"mine/{files[-1]}").items() if name.startswith("test_")]
    assert len(tests) == 1
    tests[0]()


def test_a_folder_that_no_configuration_names_is_made_and_said(type_: Type) -> None:
    """And can be checked all the same."""
    status, out, _ = type_("new-recipe", "slow", "--into", "team/captures")

    assert status == 0
    assert "Next: add it to capturebot.yml: `recipes: [team/captures]`, and change what is in it.\n" in out
    assert type_("check", "team/captures")[0] == 0


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("db", "There is a recipe `db` already. Choose another name.\n"),
        ("list", "mine/list.yml: `/capture list` means something else — give the recipe another name\n"),
        (
            "../x",
            "mine/../x.yml: its name cannot be typed as a recipe's name — rename the file: use lower-case letters",
        ),
        ("Slow", "mine/Slow.yml: its name cannot be typed as a recipe's name"),
        ("there", "mine/there.sh is there already. Choose another name, or move it away.\n"),
    ],
)
def test_nothing_is_written_over_and_no_name_is_taken(name: str, says: str, type_: Type, tmp_path: Path) -> None:
    """What is wrong is said, and nothing is written."""
    (tmp_path / "mine/there.sh").write_text("ps\n")

    status, out, err = type_("new-recipe", name)

    assert (status, out) == (2, "")
    assert err.startswith(says)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["there.sh"]


def test_a_folder_that_cannot_be_written_is_said(type_: Type, tmp_path: Path) -> None:
    """With the system's own reason."""
    (tmp_path / "file").write_text("")

    status, _, err = type_("new-recipe", "slow", "--into", "file/captures")

    assert (status, err) == (2, "file/captures cannot be written: not a directory. Name another folder with --into.\n")

"""The guide to writing recipes: every example in it is right."""

from __future__ import annotations

import re
import textwrap
from importlib.metadata import entry_points
from pathlib import Path

from bot.check import check
from bot.model import Recipe
from bot.recipes import builtin_folder, load_all

README = Path(__file__).parent.parent / "README.md"
GUIDE = README.parent / "captures" / "README.md"
INSIGHTS = frozenset(entry.name for entry in entry_points(group="capturebot.insights"))
_BLOCK = re.compile(r"^```(\w+)\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def write_examples(folder: Path) -> None:
    """Each example as the file that its first line names: recipes in `captures`, the configuration beside that."""
    (folder / "captures").mkdir()
    for _, name, text in _BLOCK.findall(GUIDE.read_text()):
        (folder / name if name == "capturebot.yml" else folder / "captures" / name).write_text(text)


def examples(folder: Path) -> dict[str, Recipe]:
    """The recipes of the guide that have been written to *folder*."""
    recipes = load_all([builtin_folder(), folder / "captures"], insights=INSIGHTS)
    return {path.stem: recipes[path.stem] for path in (folder / "captures").glob("*.yml")}


def test_every_example_names_its_file() -> None:
    """So that none is left out here, and people know where it goes."""
    blocks = re.findall(r"^```\w+$", GUIDE.read_text(), re.MULTILINE)

    assert len(_BLOCK.findall(GUIDE.read_text())) == len(blocks) >= 10


def test_every_example_is_right(tmp_path: Path) -> None:
    """`capturebot check` has nothing to say."""
    write_examples(tmp_path)

    assert check(tmp_path / "capturebot.yml", insights=INSIGHTS) == []


def test_the_readmes_configuration_is_right(tmp_path: Path) -> None:
    """As it stands there, and with what the step about PagerDuty's calls adds."""
    (block,) = re.findall(
        r"^   ```yaml\n   # capturebot.yml\n(.*?)^   ```$", README.read_text(), re.MULTILINE | re.DOTALL
    )
    text = textwrap.dedent(block)
    path = tmp_path / "capturebot.yml"
    for shown in (text, text.replace("from: oncall", "webhook_secrets: [file:/etc/capturebot/webhooks], from: oncall")):
        path.write_text(shown)

        assert check(path, insights=INSIGHTS) == []


def test_what_the_guide_says_of_using_others_is_so(tmp_path: Path) -> None:
    """Names, time limits and parameters of the composed recipe."""
    write_examples(tmp_path)

    shop, host = (examples(tmp_path)[name] for name in ("shop", "host"))

    assert [step.id for step in shop.steps] == ["cpu", "memory", "disk", "front-journal", "back-journal"]
    assert {step.timeout_s for step in shop.steps[:3]} == {8}
    assert [parameter.name for parameter in shop.parameters] == ["last"]
    assert host.steps[-1].id == "queue"
    assert len(host.steps) > 5


def test_the_tests_that_the_security_page_names_are_there() -> None:
    """What it says is shown by them."""
    named = set(re.findall(r"`((?:live/)?test_\w+\.py)`", (Path(__file__).parent.parent / "SECURITY.md").read_text()))

    assert {name for name in named if not (Path(__file__).parent / name).exists()} == set()
    assert len(named) > 20

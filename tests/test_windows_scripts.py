"""The PowerShell that is sent to Windows hosts: the recipes' scripts, and the programs that carry, end and examine.

No PowerShell runs here. A parser of its grammar reads all of it, and what its commands are is compared with what they may be.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import tree_sitter_powershell
from tree_sitter import Language, Parser

from bot.features import windows
from bot.model import File, Recipe, Script, TargetKind
from bot.plugins import insight_names
from bot.recipes import load_all
from bot.settings import load
from bot.transports import powershell, windows_doctor
from bot.transports.windows_plan import plan_of
from tests.steps import a_script

CAPTURES = Path(__file__).parent.parent / "captures"
SCRIPTS = sorted(CAPTURES.glob("*.ps1"))
POWERSHELL = Parser(Language(tree_sitter_powershell.language()))
READS = {"Get", "Where", "Sort", "Select", "ForEach", "Test", "Measure", "Out", "Join", "Split"}
# To wait, to note, to ask who owns a process, to make what reads a file, to ask a name server.
HARMLESS = {"Start-Sleep", "Add-Member", "Invoke-CimMethod", "New-Object", "Resolve-DnsName"}
PROGRAMS_THAT_ASK = {"netsh.exe", "netstat.exe", "tasklist.exe", "wevtutil.exe"}


def is_powershell(text: str) -> bool:
    """As far as a grammar can tell."""
    return not POWERSHELL.parse(text.encode()).root_node.has_error


def scripts_of(recipes: Sequence[Recipe]) -> list[str]:
    """Every script that recipes run."""
    actions = [step.action for recipe in recipes for step in recipe.steps]
    scripts = [action.script if isinstance(action, File) else action for action in actions]
    scripts += [recipe.cost.script for recipe in recipes if recipe.cost]
    return [script.text for script in scripts if isinstance(script, Script)]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.name))
def test_a_shipped_script_is_powershell_and_says_what_it_is_for(script: Path) -> None:
    """In its first line."""
    text = script.read_text()

    assert is_powershell(text)
    assert text.startswith("# ")


def test_every_shipped_script_is_used() -> None:
    """By a recipe for Windows, alone or behind others."""
    recipes = [
        recipe
        for recipe in load_all([CAPTURES], insights=insight_names()).values()
        if recipe.wants is TargetKind.WINDOWS
    ]

    used = "\n".join(scripts_of(recipes))

    assert [script.name for script in SCRIPTS if script.read_text() not in used] == []
    assert all(is_powershell(text) for text in scripts_of(recipes))


def sent(program: str) -> str:
    """The PowerShell in a program as it travels."""
    return base64.b64decode(program.splitlines()[0]).decode()


OURS = {
    "step": sent(powershell.step_program(plan_of(a_script("'x'")), token="0", limit_s=1).decode()),
    "end": sent(powershell.end_program(token="0", pid=1, start="1", folder="")),
    "look": sent(powershell.look_program("0", tool="procdump", path="")),
    "examine": sent(powershell.examine_program("0")),
    "survey": windows.SURVEY,
    "encoded": base64.b64decode(windows_doctor.ENCODED.rpartition(" ")[2]).decode("utf-16-le"),
}


@pytest.mark.parametrize("name", OURS)
def test_a_program_of_ours_is_powershell(name: str) -> None:
    """What comes with every step, and what the doctor sends."""
    assert is_powershell(OURS[name])


@pytest.mark.parametrize("recipe", ["win-host", "win-net", "win-logs"])
def test_light_recipes_only_read(recipe: str) -> None:
    """None of their commands changes anything on the host, and files are opened to be read, while others may write them."""
    for text in scripts_of([load_all([CAPTURES], insights=insight_names())[recipe]]):
        code = re.sub(r"(?m)^\s*#.*$", "", text)

        commands = set(re.findall(r"(?<![\w'-])([A-Z]\w+-[A-Z]\w+)", code))
        assert {command for command in commands if command.split("-")[0] not in READS} <= HARMLESS
        assert re.findall(r"-MethodName (\w+)", code) in ([], ["GetOwner"])
        assert set(re.findall(r"\b\w+\.exe\b", code)) - {"w3wp.exe"} <= PROGRAMS_THAT_ASK
        opened = re.findall(r"IO\.FileStream -ArgumentList ([^)\n]+)", code)
        assert all(how.endswith("'Open', 'Read', 'ReadWrite, Delete'") or " } catch" in how for how in opened)
        assert not re.search(r"(?<![<\w-])>{1,2}\s*[\w$'\"]", re.sub(r"'[^'\n]*'|\"[^\"\n]*\"", "''", code))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("user True WEB-1\\Ä Müller", "ok: web-1 runs commands as WEB-1\\Ä Müller, an administrator"),
        ("version 5.1.17763.1 10.0.17763.0", "ok: web-1 is Windows 10.0.17763.0 with PowerShell 5.1.17763.1"),
        ("rights administrator debug-privilege event-log performance-counters", "ok: our account there may open other users' processes, read event logs and read performance counters"),
        ("rights event-log", "ok: our account there may read event logs"),
        ("version 4.0 6.3.9600.0", "warn: web-1 is Windows 6.3.9600.0 with PowerShell 4.0, and recipes are written for 5.1 — install Windows Management Framework 5.1"),
        ("rights", "ok: our account there has no rights beyond a user's"),
        ("temp 800000000 128000000000 C:\\a b\\", "warn: 800 MB of 128 GB free for what steps leave, in C:\\a b\\ — Dism.exe /Online /Cleanup-Image /StartComponentCleanup, or remove what nobody needs"),
        ("pages 850 850 1252", "warn: programs write code page 850 there, and other letters than English ones come damaged — Set-ItemProperty HKLM:\\SYSTEM\\CurrentControlSet\\Control\\Nls\\CodePage OEMCP 65001; Restart-Computer"),
        ("pages 65001", "ok: programs are asked for UTF-8 there; its own code page is ?"),
        ("without tasklist.exe", "warn: tasklist.exe, a part of Windows, is not on the PATH of web-1 — sfc /scannow"),
        ("without WMI", "fault: WMI does not answer on web-1, which most of what we look at comes from — Restart-Service Winmgmt -Force, then winmgmt /verifyrepository"),
    ],
)  # fmt: skip
def test_an_examination_becomes_lines_with_commands(answer: str, says: str) -> None:
    """One for each thing that was told."""
    assert windows_doctor.read_examination("web-1", [answer.split(" ")]) == [says]


def test_an_examination_that_says_nonsense_says_nothing() -> None:
    """As where another program answers."""
    assert windows_doctor.read_examination("web-1", [["temp", "a", "b"], ["what"], []]) == []


GUIDE = (CAPTURES.parent / "docs" / "windows.md").read_text()


def blocks(language: str) -> list[str]:
    """The guide's blocks of that language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def test_the_guides_commands_are_powershell_and_its_target_is_right(tmp_path: Path) -> None:
    """They were never run, which it says."""
    commands, (target,) = blocks("powershell"), blocks("yaml")
    (tmp_path / "capturebot.yml").write_text(f"folder: a\n{target}")

    assert len(commands) >= 5
    assert all(is_powershell(block) for block in commands)
    assert load(tmp_path / "capturebot.yml").targets["web-1"].windows
    assert "never run" in GUIDE


def test_the_guide_says_what_every_recipe_for_windows_needs() -> None:
    """In one row each, by the words that recipes have for rights."""
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (.*) \|$", GUIDE, re.MULTILINE))
    recipes = load_all([CAPTURES], insights=insight_names()).values()
    needs = {
        recipe.name: {want for step in recipe.steps for want in step.wants if want in windows.FEATURES}
        for recipe in recipes
        if recipe.wants is TargetKind.WINDOWS
    }

    assert set(needs) <= set(rows)
    assert {name: {want for want in windows.FEATURES if f"`{want}`" in rows[name]} for name in needs} == needs
    for feature in windows.FEATURES.values():
        for sid in re.findall(r"S-1-5-32-\d+", feature.cure):
            assert f"Add-LocalGroupMember -SID {sid} -Member capture" in GUIDE

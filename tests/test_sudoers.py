"""The programs that sudo may run as root: what is in them, and how they match their parameters."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.errors import StepFailed, UserError
from bot.features import FEATURES
from bot.model import Parameter, ParameterType, Script, Ssh, Target, TargetKind
from bot.recipes import builtin_folder, load_folder
from bot.sudoers import asking, grants
from bot.sudoers.matching import extended, literal, rule_of
from bot.transports.becoming import WANTS, program_of, relay
from tests.steps import a_step

pytestmark = pytest.mark.thorough

LIBRARY = {
    name: recipe for name, recipe in load_folder(builtin_folder()).items() if recipe.wants is not TargetKind.WINDOWS
}
PATTERNS = sorted({one.pattern for recipe in LIBRARY.values() for one in recipe.parameters if one.pattern})
TRICKS = ["$(id)", "`id`", "; id", "a b", "-rf", "]", "[", "^", "\\", "/", "..", "'", "a\\nb", "", "x" * 300, "é"]


def bash_matches(rule: str, values: list[str]) -> list[bool]:
    """Which of *values* the whole of *rule* matches, as a program of root's would see it."""
    script = "for value; do [[ $value =~ $0 ]] && echo yes || echo no; done"
    argv = ["bash", "-c", script, f"^({rule})$", *values]
    said = subprocess.run(
        argv, capture_output=True, text=True, check=True, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"}
    )
    return [line == "yes" for line in said.stdout.split()]


@pytest.mark.parametrize("pattern", PATTERNS)
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_bash_matches_what_the_recipe_takes(pattern: str, data: st.DataObject) -> None:
    """And refuses what it refuses; of letters only those that are ASCII."""
    ascii_only = st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True).filter(lambda text: text.isascii())
    good = [text for text in data.draw(st.lists(ascii_only, max_size=5)) if not re.search(r"[\0\n]", text)]
    values = [*good, *TRICKS, *(text + "\x01" for text in good)]

    matched = bash_matches(extended(pattern), values)

    python = [bool(re.fullmatch(pattern, text, re.ASCII)) for text in values]
    assert [match or not text.isascii() for match, text in zip(matched, values, strict=True)] == [
        match or not text.isascii() for match, text in zip(python, values, strict=True)
    ]
    assert not any(match and not now for match, now in zip(matched, python, strict=True))


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20))
def test_a_fixed_value_matches_itself_alone(text: str) -> None:
    """Whatever it holds."""
    other = text[:-1] + ("a" if text[-1] != "a" else "b")

    assert bash_matches(literal(text), [text, other, text + "x"]) == [True, False, False]


@pytest.mark.parametrize("pattern", ["(?=a)b", "a*?", r"\bword", r"(a)\1", "(?i)a", r"[\b]", "a++"])
def test_what_bash_could_not_match_is_refused(pattern: str) -> None:
    """Rather than matched in part."""
    with pytest.raises(ValueError, match="has no form that bash could match"):
        extended(pattern)


def test_numbers_and_choices_have_rules_of_their_own() -> None:
    """A number is digits; a choice is itself."""
    number = Parameter(name="pid", about="", type=ParameterType.INTEGER, default=0)
    choice = Parameter(name="what", about="", type=ParameterType.TEXT, default="a", choices=("a.b", "c"))

    assert bash_matches(rule_of(number), ["7", "-7", "x", "7 ", "9" * 30]) == [True, True, False, False, False]
    assert bash_matches(rule_of(choice), ["a.b", "c", "axb", ""]) == [True, True, False, False]


def test_every_grantable_step_of_the_library_has_a_program() -> None:
    """Its script is in there as it is delivered, and every parameter that it reads has a rule."""
    found = grants(LIBRARY.values(), ("/var/log/**",))

    assert {grant.path for grant in found} == {
        path for recipe in LIBRARY.values() for step in recipe.steps if (path := program_of(step, ("/var/log/**",)))
    }
    for grant in found:
        assert grant.script.text.rstrip("\n") in grant.program
        assert "CAPTUREBOT_SCRIPT_ENDS" not in grant.script.text
        assert all(grant.rules.values()), grant.path
    (logs,) = [grant for grant in found if "CAPTURE_PATHS" in grant.script.text]
    assert "export CAPTURE_PATHS='^(/var/log/.*)$'" in logs.program


def test_wishes_for_root_are_features_that_doctor_knows() -> None:
    """All of those that being root fulfils."""
    assert set(FEATURES) >= WANTS
    assert set(FEATURES) == WANTS


def test_another_script_or_other_paths_are_another_program() -> None:
    """A host with an older one refuses, instead of running what is not known any more."""
    log, plain = "cat $CAPTURE_PATHS", "uptime"

    def path(text: str, paths: tuple[str, ...] | None = None, wants: tuple[str, ...] = ("root",)) -> str | None:
        step = a_step(Script(name="my Probe.sh", text=text))
        return program_of(replace(step, wants=wants), paths)

    assert path(plain, wants=("curl",)) is None
    assert len({path(plain), path(log), path(log, ("/a",)), path(log, ("/b",))}) == 4
    assert path(plain) == path(plain, ("/a",))
    assert str(path(plain)).startswith("/usr/local/lib/capturebot/myprobe-")


def test_a_parameter_of_several_lines_is_not_handed_over() -> None:
    """A line is a parameter there."""
    with pytest.raises(StepFailed, match="more than one line"):
        relay("/x", ["PARAM_A=b\nPARAM_C=d"])


def test_lines_are_for_the_account_that_the_target_is_reached_as() -> None:
    """Or for the one that is named; what is no account's name, recipe or target is refused."""
    targets = {"db1": Target(name="db1", ssh=Ssh(host="h", user="probe", known_hosts=builtin_folder()))}

    assert asking.text(LIBRARY, targets, target="db1").endswith("\nprobe ALL=(root) NOPASSWD: NOSETENV: CAPTUREBOT\n")
    assert "capture ALL=(root)" in asking.text(LIBRARY, targets, names=["files"])
    assert "ALL=(root)" not in asking.text(LIBRARY, targets, names=["tcpdump"])
    for wrong in ({"user": "a b"}, {"user": "ALL=(ALL) ALL\nx"}, {"names": ["fils"]}, {"target": "db2"}):
        with pytest.raises(UserError):
            asking.text(LIBRARY, targets, **wrong)

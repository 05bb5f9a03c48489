"""What scenes are judged by: the expected line with its blanks, and what a scene needs. The scenes themselves are in tests/live."""

from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.scenes import listing, scenes
from tests.stage import Broken, Need, Played, Scene
from tests.stage.line import fault
from tests.stage.needs import calm
from tests.stage.theatre import Theatre, judged

TREE = Path(__file__).parent.parent
HOG = "report (pid 17, user nobody) uses 1,182.5 % CPU of 12 cores and has for 4 s"


@pytest.mark.parametrize(
    "expected",
    [
        HOG,
        "report (pid <1..99>, user nobody) uses <1000..1200> % CPU of 12 cores and has for <4..4> s",
        "report (pid 17, user nobody) uses <any>",
        f"<any>{HOG}<any>",
    ],
)
def test_a_line_is_right_where_blanks_and_words_fit(expected: str) -> None:
    """Numbers may have thousands separators and decimals; any text may be none."""
    assert fault(HOG, expected) == ""


@pytest.mark.parametrize(
    ("expected", "reason"),
    [
        ("report (pid <20..99>, user nobody) uses <any>", "17 is not within 20..99; "),
        ("report (pid <1..99>, user nobody) uses <1..100> % CPU<any>", "1,182.5 is not within 1..100; "),
        ("import <any>", ""),
        ("report (pid 17, user nobody)", ""),
        ("report (pid <1..99>, user nobody) uses <1..2000> % CPU of <1..99> cores and has for <1..9> minutes", ""),
    ],
)
def test_a_wrong_line_is_told_with_what_was_expected(expected: str, reason: str) -> None:
    """Which number is out of bounds, or only what the sentence should have been."""
    assert fault(HOG, expected) == f"{reason}expected: {expected}"


@given(st.text().filter(lambda text: "<" not in text), st.text())
def test_a_line_without_blanks_is_compared_as_it_is(expected: str, line: str) -> None:
    """Nothing in it is read as a pattern."""
    assert fault(expected, expected) == ""
    assert bool(fault(line, expected)) == (line != expected)


def test_a_scene_is_found_under_a_name_of_its_recipe() -> None:
    """And says in a sentence what is broken."""
    for name, each in scenes().items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", name)
        assert name.startswith(f"{each.recipe}-")
        assert re.fullmatch(r"[A-Z].*\.", each.broken)


def test_the_list_that_the_playgrounds_page_shows_is_true() -> None:
    """Make it anew with `python -m tests.scenes --list >docs/scenes.json`."""
    assert (TREE / "docs" / "scenes.json").read_text() == listing()


def lacking(*needs: Need) -> Scene:
    """A scene that breaks nothing, with needs."""
    return Scene(
        name="host-x",
        broken="X.",
        recipe="host",
        stage=lambda _folder: nullcontext(Broken(line="never")),
        needs=needs,
    )


def test_a_scene_whose_needs_are_not_met_is_not_run() -> None:
    """The reason is told, and nothing is started for it."""
    with Theatre() as theatre:
        played = theatre.play(lacking(str, lambda: "there is no X here"))

    assert played == Played(scene="host-x", not_run="there is no X here")


def test_a_wrong_line_on_a_machine_that_others_took_is_not_held_against_a_scene() -> None:
    """But only where the scene wants the machine for itself, and only a wrong one."""
    wrong = Played(scene="host-x", line="Load is 40 on 2 cores", fault="expected: never", strangers=0.83)
    right = replace(wrong, fault="")

    assert judged(lacking(calm), wrong).not_run == "other programs took 83% of this machine's CPU time meanwhile"
    assert judged(lacking(calm), right) == right
    assert judged(lacking(calm), replace(wrong, strangers=0.1)).fault
    assert judged(lacking(), wrong) == wrong

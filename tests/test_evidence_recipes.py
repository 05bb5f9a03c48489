"""The recipes that leave files: what people may ask of them, and what is refused before it reaches a host."""

from __future__ import annotations

import pytest

from bot.errors import UserError
from bot.model import File, Impact, Recipe
from bot.recipes import bind, bind_parameters, builtin_folder, load_folder

RECIPES: dict[str, Recipe] = load_folder(builtin_folder())


@pytest.mark.parametrize(
    "given",
    [
        {"host": "10.0.0.5"},
        {"host": "fd00::7", "port": "443", "proto": "tcp"},
        {"filter": "tcp[tcpflags] & (tcp-syn|tcp-rst) != 0 and not port 22"},
        {"filter": "!icmp", "interface": "eth0.12"},
    ],
)
def test_a_filter_is_taken_as_people_write_it(given: dict[str, str]) -> None:
    """It reaches the script as a variable, and tcpdump as one argument behind `--`."""
    recipe = RECIPES["tcpdump"]

    action = bind(recipe.steps[0], bind_parameters(recipe, given)).action

    assert isinstance(action, File)
    assert {name: action.script.env[f"PARAM_{name.upper()}"] for name in given} == given


@pytest.mark.parametrize(
    "given",
    [
        {"filter": "-w /etc/passwd"},
        {"filter": "tcp; id"},
        {"filter": "tcp $(id)"},
        {"filter": "tcp `id`"},
        {"filter": "tcp\nor udp"},
        {"filter": "tcp 'x'"},
        {"host": "-z/bin/sh"},
        {"host": "a b"},
        {"interface": "eth0 -w x"},
        {"port": "65536"},
        {"proto": "tcp or udp"},
        {"seconds": "3600"},
        {"mb": "1000"},
        {"full": "please"},
    ],
)
def test_what_could_be_more_than_a_filter_is_refused(given: dict[str, str]) -> None:
    """Before anything reaches a host."""
    with pytest.raises(UserError):
        bind_parameters(RECIPES["tcpdump"], given)


def test_a_core_says_what_it_costs_and_is_measured_first() -> None:
    """Nobody is to find out by its taking place."""
    recipe = RECIPES["core"]

    assert recipe.impact is Impact.PAUSES
    assert recipe.cost is not None
    assert "core_bytes" in recipe.cost.script.text


@pytest.mark.parametrize("name", ["core", "tcpdump"])
def test_what_a_recipe_leaves_is_bounded_twice(name: str) -> None:
    """By the recipe on the way, and by its script on the host."""
    (step,) = RECIPES[name].steps
    bounds = {"core": "PARAM_GB", "tcpdump": 'head -c "$most"'}

    assert isinstance(step.action, File)
    assert step.action.limit_bytes <= 20_000_000_000
    assert bounds[name] in step.action.script.text

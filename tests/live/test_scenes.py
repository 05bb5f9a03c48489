"""Every scene once, one after the other: the first line of the thread names what was broken. `make scenes` prints them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.scenes import scenes
from tests.stage import Scene
from tests.stage.theatre import Theatre

pytestmark = pytest.mark.live

SECONDS_AT_MOST = 15.0  # from the command to the right first line; half of it on a machine that does nothing else


@pytest.fixture(scope="module")
def theatre() -> Iterator[Theatre]:
    """One theatre for all, so that its machines start once."""
    with Theatre() as opened:
        yield opened


@pytest.mark.parametrize("scene", [pytest.param(scene, id=name) for name, scene in scenes().items()])
def test_the_first_line_names_what_was_broken(scene: Scene, theatre: Theatre) -> None:
    """Or says that nothing is unusual, where nothing was."""
    played = theatre.play(scene)

    if played.not_run:
        must = "apt-get install" in played.not_run and os.environ.get("CI")
        (pytest.fail if must else pytest.skip)(played.not_run)
    assert not played.fault, f"the first line is: {played.line}"
    assert played.seconds is not None
    assert played.seconds <= SECONDS_AT_MOST

"""Scenes, one after the other: the first line of the thread names what was broken.

Each recipe has one here that is broken, and there are several that are well. `make scenes` plays all there are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from bot.model import TargetKind
from bot.recipes import builtin_folder, load_folder
from tests.scenes import scenes
from tests.stage import Scene
from tests.stage.theatre import Theatre

pytestmark = pytest.mark.live

ALWAYS = [
    "db-benchmark",
    "db-web-shop",
    "host-cpu-hog",
    "host-failed-unit",
    "host-hung-process",
    "host-idle",
    "host-memory-leak",
    "core-deadlock",
    "dotnet-deadlock",
    "dotnet-heap-one-type",
    "files-leak",
    "http-slow-first-byte",
    "java-heap-one-class",
    "java-threads-deadlock",
    "locks-chain",
    "logs-error-burst",
    "logs-healthy",
    "net-lossy-path",
    "node-event-loop-blocked",
    "profile-hot-function",
    "python-profile-function",
    "python-threads-lock",
    "query-stuck-orders",
    "replication-stopped",
    "snapshot-descriptor-leak",
    "tcpdump-no-answer",
    "trace-failed-opens",
    "triage-worst",
]
SCENES = scenes()
SECONDS_AT_MOST = 15.0  # from the command to the right first line; half of it on a machine that does nothing else


@pytest.fixture(scope="module")
def theatre() -> Iterator[Theatre]:
    """One theatre for all, so that its machines start once."""
    with Theatre() as opened:
        yield opened


@pytest.mark.parametrize("scene", [pytest.param(SCENES[name], id=name) for name in ALWAYS])
def test_the_first_line_names_what_was_broken(scene: Scene, theatre: Theatre) -> None:
    """Or says that nothing is unusual, where nothing was."""
    played = theatre.play(scene)

    if played.not_run:
        must = "apt-get install" in played.not_run and os.environ.get("CI")
        (pytest.fail if must else pytest.skip)(played.not_run)
    assert not played.fault, f"the first line is: {played.line}"
    assert played.seconds is not None
    assert played.seconds <= SECONDS_AT_MOST


def test_every_recipe_has_a_scene_here() -> None:
    """One that is new gets one; those for Windows have their own host, in Wine."""
    shown = {SCENES[name].recipe for name in ALWAYS}
    library = load_folder(builtin_folder())

    assert shown >= {name for name, recipe in library.items() if recipe.wants is not TargetKind.WINDOWS}

"""Where scenes are played one after the other, on machines that are started once."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import Self

from tests.stage import Kind, Played, Scene
from tests.stage.machine import Machine
from tests.stage.needs import CALM_SHARE, calm


def judged(scene: Scene, played: Played) -> Played:
    """What came of a scene; one that wants the machine for itself cannot go wrong on a machine that others took."""
    if played.fault and calm in scene.needs and played.strangers > CALM_SHARE:
        busy = f"other programs took {played.strangers:.0%} of this machine's CPU time meanwhile"
        return replace(played, fault="", not_run=busy)
    return played


class Theatre:
    """A machine of each kind, none before it is wanted."""

    def __init__(self) -> None:
        self._machines = {kind: Machine(kind) for kind in Kind}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for machine in self._machines.values():
            self._stack.enter_context(machine)
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def play(self, scene: Scene) -> Played:
        """Play one scene, unless what it needs is not there."""
        for need in scene.needs:
            if missing := need():
                return Played(scene=scene.name, not_run=missing)
        return judged(scene, self._machines[scene.on].play(scene))

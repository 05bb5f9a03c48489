"""What scenes are played with. The scenes themselves lie in `tests/scenes/`, a file each or a small family.

A *scene* breaks a real thing, has the bot capture it as a person would, and says what the first line of the
thread must be. Everything is played inside a private machine where this one lets us make one (see `machine`),
so that nothing a scene does is seen outside, and nothing of outside is seen by the bot.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from bot.model import State

NOTHING = "Nothing unusual found"  # the first line of a healthy system

Need = Callable[[], str]  # "", or why the machine at hand will not do, as a sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A thing that is broken by now (or well, and at work), and what must be said of it.

    *line* is the expected first line, with blanks as `line.fault` reads them, and *end* how the capture must end;
    *target* is its entry in capturebot.yml, whose secrets are in *environ*; *parameters* are what a person would
    add to the command; *settings* is what else stands in capturebot.yml.
    """

    line: str
    end: State = State.COMPLETE
    target: Mapping[str, Any] = field(default_factory=lambda: {"local": True})
    environ: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


class Kind(Enum):
    """Which private machine a scene is played on."""

    ORDINARY = "it seems to have started long before, so that what is in the kernel's log is old news"
    KERNEL_LOG = "it has started when this machine did, so that the kernel's log is about it"
    SYSTEMD = "its first process is systemd"


Staging = Callable[[Path], AsyncIterator[Broken]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A thing to break: *stage* is given an empty folder, breaks it, and mends it again when its context ends."""

    name: str
    broken: str  # what is broken, in a sentence
    recipe: str
    stage: Callable[[Path], AbstractAsyncContextManager[Broken]]
    needs: tuple[Need, ...] = ()
    on: Kind = Kind.ORDINARY


def scene(
    name: str, broken: str, *, recipe: str, needs: tuple[Need, ...] = (), on: Kind = Kind.ORDINARY
) -> Callable[[Staging], Scene]:
    """Turn a generator that yields one Broken into a Scene."""
    return lambda staging: Scene(
        name=name,
        broken=broken,
        recipe=recipe,
        stage=asynccontextmanager(staging),
        needs=needs,
        on=on,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """How a scene went.

    *seconds* lie between the command and the first event with the right first line; None where it never was.
    *strangers* is the share of the machine's CPU time that others took meanwhile.
    """

    scene: str
    line: str = ""
    fault: str = ""  # what is wrong with the line; "" when it is right
    seconds: float | None = None
    not_run: str = ""  # why it was not played
    strangers: float = 0.0

"""The bot as its user has it: a capturebot.yml, a command, and a thread whose first line is read."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import yaml

from bot.assembly import assemble, now
from bot.logs import open_log
from bot.model import Accepted, Event, Person, Source, Trigger
from bot.settings import load
from bot.story import Story, begin, go_on
from tests.stage import Broken, Played, Scene
from tests.stage.jiffies import Meter
from tests.stage.line import fault

TARGET = "it"
SOMEBODY = Person(id="U0SCENE", name="ana")


async def play(scene: Scene) -> Played:
    """Break the thing, capture it, mend it."""
    with tempfile.TemporaryDirectory(prefix="scene-") as folder:
        stage = Path(folder) / "stage"
        stage.mkdir()
        async with scene.stage(stage) as broken:
            return await _capture(scene, broken, Path(folder))


async def _capture(scene: Scene, broken: Broken, folder: Path) -> Played:
    config = folder / "capturebot.yml"
    targets = {TARGET: dict(broken.target)}
    config.write_text(yaml.safe_dump({"folder": "artifacts", "targets": targets, **broken.settings}))
    settings = replace(load(config), journal="sqlite://")  # in memory, which a file cannot ask for
    async with assemble(settings, environ=broken.environ, base=folder) as bot:
        open_log(as_json=False, mask=bot.mask, level=logging.WARNING)
        trigger = Trigger(
            recipe=scene.recipe,
            targets=(TARGET,),
            parameters=broken.parameters,
            who=SOMEBODY,
            source=Source.TERMINAL,
            at=now(),
        )
        meter = Meter()
        watch = _Watch(broken.line, clock=asyncio.get_running_loop().time)
        bot.journal.listeners.append(watch.hear)
        offered = await bot.desk.offer(trigger, join=False)  # as whoever asks agrees to its cost
        capture = await bot.desk.accept(offered.trigger if offered else trigger)
        assert capture is not None
        await bot.desk.wait_for(capture.id)
        strangers = meter.strangers()
    assert watch.story is not None
    return Played(
        scene=scene.name,
        line=watch.story.headline,
        fault=_fault(watch.story, broken),
        seconds=watch.right_after_s,
        strangers=strangers,
    )


def _fault(story: Story, broken: Broken) -> str:
    if wrong := fault(story.headline, broken.line):
        return wrong
    if story.state is not broken.end:
        reasons = [f"{one.step} {one.outcome.words}: {one.reason}" for one in story.results if one.reason]
        return f"the capture is {story.state.words}: {'; '.join(reasons)}"
    return ""


class _Watch:
    """Reads the thread's first line after each event, as people do."""

    def __init__(self, expected: str, *, clock: Callable[[], float]) -> None:
        self.story: Story | None = None
        self.right_after_s: float | None = None
        self._expected = expected
        self._clock = clock
        self._began = clock()

    def hear(self, event: Event) -> None:
        """Note when the line was right for the first time."""
        if isinstance(event, Accepted):
            self.story = begin(event)
        elif self.story:
            self.story = go_on(self.story, event)
            if self.right_after_s is None and not fault(self.story.headline, self._expected):
                self.right_after_s = self._clock() - self._began

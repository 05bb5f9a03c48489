"""Taking one capture of this machine with the whole product, for tests of recipes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from bot.assembly import assemble, now
from bot.model import Event, Person, Source, StepResult, Trigger, capture_of
from bot.settings import load
from bot.story import Story, story

SOMEBODY = Person(id="U1", name="ana")


@dataclass(frozen=True)
class Taken:
    """A capture: its story, and what was kept of each step."""

    story: Story
    texts: dict[str, str]  # by step

    @property
    def line(self) -> str:
        """The first line that people read."""
        return self.story.headline

    def result(self, step: str) -> StepResult:
        """How a step ended."""
        return next(each for each in self.story.results if each.step == step)


async def take(folder: Path, recipe: str, **parameters: str | int) -> Taken:
    """Capture this machine into *folder*."""
    config = folder / "capturebot.yml"
    config.write_text(yaml.safe_dump({"folder": "artifacts", "targets": {"here": {"local": True}}}))
    settings = replace(load(config), journal="sqlite://")  # in memory, which a file cannot ask for
    events: list[Event] = []
    async with assemble(settings, environ={}, base=folder) as bot:
        bot.journal.listeners.append(events.append)
        trigger = Trigger(
            recipe=recipe,
            targets=("here",),
            parameters={name: str(value) for name, value in parameters.items()},
            who=SOMEBODY,
            source=Source.TERMINAL,
            at=now(),
        )
        offered = await bot.desk.offer(trigger)  # as whoever asks agrees to its cost
        accepted = await bot.desk.accept(offered.trigger if offered else trigger)
        assert accepted is not None
        await bot.desk.wait_for(accepted.id)
    told = story(event for event in events if capture_of(event))  # the rest is about what it would cost
    assert told is not None
    return Taken(told, dict(_texts(folder, told)))


def _texts(folder: Path, told: Story) -> list[tuple[str, str]]:
    kept = [(each.step, each.artifact.key) for each in told.results if each.artifact]
    return [(step, next(folder.rglob(Path(key).name)).read_text()) for step, key in kept]

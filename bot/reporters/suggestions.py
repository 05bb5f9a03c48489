"""What a story suggests to run next, as every reporter shows it. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from bot.model import Level, Suggestion
from bot.story import Story

INFO_AT_MOST = 2  # beside the headline; what is no trouble does not take the place of what is


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """A suggestion of a story. *value* is its place there, the only thing that a button of it carries."""

    value: str
    target: str
    recipe: str
    parameters: tuple[tuple[str, str], ...]
    suggestion: Suggestion
    level: Level  # of the finding

    @property
    def key(self) -> str:
        """Of the trigger that a press becomes: whoever presses, and however often, it is one."""
        return f"next {self.value}"

    @property
    def command(self) -> str:
        """What to type for it, after `/capture` or `capturebot run`."""
        return f"{self.recipe} {self.target}" + "".join(
            " " + shlex.quote(f"{name}={value}") for name, value in self.parameters
        )


def again_key(capture_id: str) -> str:
    """Of the trigger that running a capture again becomes."""
    return f"again {capture_id}"


def picks(story: Story) -> list[Pick]:
    """What was not started yet, of the worst finding first, each once."""
    started = {event.key for event in story.followed}
    first: dict[str, Pick] = {}
    for pick in _all(story):
        first.setdefault(pick.command, pick)
    return [pick for pick in first.values() if pick.key not in started]


def leading(story: Story, most: int) -> list[Pick]:
    """Those that stand beside the headline: *most* at most, and few of findings that are no trouble."""
    found = picks(story)
    trouble = [pick for pick in found if pick.level is not Level.INFO]
    return [*trouble, *[pick for pick in found if pick.level is Level.INFO][:INFO_AT_MOST]][:most]


def find(story: Story, value: str) -> Pick | None:
    """The suggestion at a place, whether or not it is still shown."""
    return next((pick for pick in _all(story) if pick.value == value), None)


def _all(story: Story) -> list[Pick]:
    capture = story.capture
    found = []
    for result in story.results:
        for n, finding in enumerate(result.findings):
            for m, suggestion in enumerate(finding.next):
                # Of the same recipe, what was asked for holds as far as the suggestion does not say otherwise.
                given = suggestion.parameters if suggestion.recipe else {**capture.unusual, **suggestion.parameters}
                pick = Pick(
                    value=f"{capture.id} {capture.targets.index(result.target)} {result.step} {n} {m}",
                    target=result.target,
                    recipe=suggestion.recipe or capture.recipe,
                    parameters=tuple((name, str(value)) for name, value in given.items()),
                    suggestion=suggestion,
                    level=finding.level,
                )
                found.append((-finding.level.value, -finding.weight, pick))
    return [pick for *_, pick in sorted(found, key=lambda one: one[:2])]

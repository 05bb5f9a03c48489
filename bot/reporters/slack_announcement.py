"""The announcement of an incident's channel or thread: what is known, what runs, and buttons for the rest. Pure.

A button carries a recipe's name, the menu a service's. Which room it belongs to is where it is pressed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bot.model import Capture, Person, Recipe, Room, Service, State
from bot.reporters.slack_buttons import MENU_AT_MOST, THREAD_AT_MOST, Block, actions, button, menu, plain
from bot.reporters.slack_message import Line, Message, Span, compose, escape
from bot.story import Story

RUN, SERVICE = "run", "service"  # action ids; RUN is numbered, as ids differ in a block
TARGETS_SHOWN = 5
TITLE_CHARS = 200
QUOTE = "'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A recipe that is offered on those of the service's targets that it is for, until somebody started it."""

    recipe: Recipe
    targets: tuple[str, ...]
    started: Capture | None = None
    by: Person | None = None  # who asked for it, or for what it takes anyway

    @property
    def command(self) -> str:
        """What to type for it."""
        return f"/capture {self.recipe.name} {','.join(self.targets)}"

    @property
    def cost(self) -> str:
        """What it costs, to be read before it is pressed."""
        return f"{self.recipe.impact.words}{'; its cost is measured first' if self.recipe.asks_first else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """What is known of a room. *services* are what to choose from where *service* is not known."""

    room: Room
    service: Service | None
    services: Sequence[str]
    choices: Sequence[Choice] = ()
    started: bool = True  # the first set, by itself
    first: Sequence[Story] = ()  # what it became so far
    held: Mapping[str, str] = field(default_factory=dict)  # recipes of the first set that do not run, with a sentence
    is_open: bool = True


def announce(told: Announcement) -> Message:
    """The message, which says at any time how the incident stands."""
    if not told.is_open:
        lines = [_head("✅ Resolved: ", told.room), (Span("Its buttons are over. What else is wanted can be typed: "),)]
        lines[1] = (*lines[1], Span("/capture RECIPE TARGET", code=True))
        return compose([*lines, *_started(told)])
    if told.service is None:
        lines = [
            _head("🚨 ", told.room),
            (Span("Which service is it about? Its captures start as soon as that is chosen."),),
        ]
        spoken = [(Span("Or type /capture SERVICE, one of: " + ", ".join(told.services)),)]
        return compose(lines, blocks=_services(told.services), spoken=spoken)
    lines = [_head("🚨 ", told.room), *_service(told, told.service), *_started(told)]
    return compose(lines, blocks=_offers(told), spoken=_spoken(told))


def _head(icon: str, room: Room) -> Line:
    title = room.title or f"An incident in #{room.place.channel_name}"
    spans = [Span(f"{icon}{title}", bold=True)]
    if room.incident:
        name = f"PagerDuty incident {room.incident}"
        spans += [Span(" · "), Span(name, url=room.url if room.url.startswith(("http://", "https://")) else None)]
    return tuple(spans)


def _service(told: Announcement, service: Service) -> list[Line]:
    about = f": {service.about}" if service.about.casefold() not in {"", service.name.casefold()} else ""
    lines: list[Line] = [
        (Span("Service "), Span(service.name, bold=True), Span(f"{about} · {_listed(service.targets)}"))
    ]
    if service.first and told.started:
        lines += _first(told, service)
    lines += [(Span(f"⚠️ {why.replace('`', QUOTE)}"),) for why in told.held.values()]
    return lines


def _first(told: Announcement, service: Service) -> list[Line]:
    """What of the first set runs, and how the rest of it ended."""
    ended = {one.capture.recipe: one.state for one in told.first if one.state.ended}
    runs = [name for name in service.first if name not in {*ended, *told.held}]
    lines: list[Line] = [(Span(f"▶️ Runs at once: {', '.join(runs)}"),)] if runs else []
    ran = [name if state is State.COMPLETE else f"{name} ({state.words})" for name, state in ended.items()]
    return [*lines, (Span(f"🏁 Ran at once: {', '.join(ran)}"),)] if ran else lines


def _started(told: Announcement) -> list[Line]:
    return [
        (Span(f"➡️ {choice.by.name}: "), Span(choice.command, code=True), Span(f" · {choice.started.id}"))
        for choice in told.choices
        if choice.started and choice.by
    ]


def _offers(told: Announcement) -> list[Block]:
    """What may be run and what it costs, each beside its button; a menu where that is too much to read."""
    left = _left(told)
    if len(left) > THREAD_AT_MOST:
        options = [(choice.recipe.title, choice.recipe.name) for choice in left[:MENU_AT_MOST]]
        return actions([menu(RUN, "Choose what to capture", options)])
    return [_offer(n, choice) for n, choice in enumerate(left)]


def _offer(n: int, choice: Choice) -> Block:
    spoken = plain(f"Run {choice.command.removeprefix('/capture ')}")["text"]
    title = escape(plain(choice.recipe.title, TITLE_CHARS)["text"])
    return {
        "type": "section",
        "text": {"type": "mrkdwn", "text": f"*{title}*\n{choice.cost}"},
        "accessory": button(f"{RUN}-{n}", "Capture", choice.recipe.name, accessibility_label=spoken),
    }


def _spoken(told: Announcement) -> list[Line]:
    """The same as it can be typed."""
    return [
        (Span("• "), Span(choice.command, code=True), Span(f" {choice.recipe.title} — {choice.cost}"))
        for choice in _left(told)
    ]


def _left(told: Announcement) -> list[Choice]:
    return [choice for choice in told.choices if choice.started is None]


def _services(names: Sequence[str]) -> list[Block]:
    return actions([menu(SERVICE, "Choose a service", [(name, name) for name in names[:MENU_AT_MOST]])])


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - TARGETS_SHOWN} more" if len(names) > TARGETS_SHOWN else ""
    return ", ".join(names[:TARGETS_SHOWN]) + more

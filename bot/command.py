"""The words of `/capture`: text into what was asked. Pure.

``/capture RECIPE TARGET[,TARGET…] [name=value …]`` and the words that are not recipes: ``help``,
``list``, ``status``, ``stop``, ``link``. Nothing is looked up here; what a name means is the desk's.
"""

from __future__ import annotations

import html
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from bot.errors import UserError

TEXT_CHARS = 2000  # nobody types more; Slack itself would pass on much more
RESERVED = ("help", "list", "status", "stop", "link")  # words that no recipe can be called by

USAGE = "`/capture RECIPE TARGET[,TARGET…] [name=value …]`"


@dataclass(frozen=True, slots=True)
class Help:
    """`help`, or `help RECIPE`, or nothing at all."""

    recipe: str | None = None


@dataclass(frozen=True, slots=True)
class List:
    """`list`: recipes and targets."""


@dataclass(frozen=True, slots=True)
class Status:
    """`status`: what runs and what ran lately."""


@dataclass(frozen=True, slots=True)
class Stop:
    """`stop ID`."""

    capture_id: str


@dataclass(frozen=True, slots=True)
class Link:
    """`link INCIDENT`: an id, a number or the address of the incident's page."""

    incident: str


@dataclass(frozen=True, slots=True)
class Take:
    """A capture is asked for."""

    recipe: str
    targets: tuple[str, ...]
    parameters: Mapping[str, str]


Ask = Help | List | Status | Stop | Link | Take

# Phones turn quotes into curly ones and Slack escapes addresses: both are undone before reading.
_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "\u00a0": " "})
_ADDRESS = re.compile(r"<(https?://[^|>]+)(?:\|[^>]*)?>")


def parse(text: str) -> Ask:
    """Read what was typed after `/capture`. Raises UserError that says how it is written right."""
    if len(text) > TEXT_CHARS:
        raise UserError(
            f"That is {len(text):,} characters; a command has at most {TEXT_CHARS:,}.", cure=f"Write {USAGE}."
        )
    return read(_split(html.unescape(_ADDRESS.sub(r"\1", text)).translate(_QUOTES)))


def read(words: list[str]) -> Ask:
    """Read words that are split already, as a terminal gives them. Raises UserError."""
    match words:
        case [] | ["help"]:
            return Help()
        case ["help", recipe]:
            return Help(recipe)
        case ["list"]:
            return List()
        case ["status"]:
            return Status()
        case ["stop", capture_id]:
            return Stop(capture_id.strip("`").lower())
        case ["link", incident]:
            return Link(incident)
        case ["stop", *_]:
            raise UserError("`stop` needs one capture's id.", cure="`/capture status` lists them.")
        case ["link", *_]:
            raise UserError(
                "`link` needs one incident.", cure="Give its id, number or address: `/capture link PABC123`."
            )
        case ["help" | "list" | "status" as word, *_]:
            raise UserError(f"`{word}` takes no more words than that.", cure="Try `/capture help`.")
        case _:
            return _take(words)


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        raise UserError(
            "A quotation mark is never closed.", cure='Write a value with blanks as `name="two words"`.'
        ) from None


def _take(words: list[str]) -> Take:
    recipe, *rest = words
    targets: list[str] = []
    parameters: dict[str, str] = {}
    for word in rest:
        name, equals, value = word.partition("=")
        if not equals:
            if parameters:
                raise UserError(
                    f"`{_short(word)}` stands after the parameters.", cure=f"Targets come first: write {USAGE}."
                )
            targets += filter(None, word.split(","))
        elif name in parameters:
            raise UserError(f"`{_short(name)}` is given twice.", cure="Give each parameter once.")
        else:
            parameters[name] = value
    return Take(recipe=recipe, targets=tuple(targets), parameters=parameters)


def _short(word: str) -> str:
    return word if len(word) <= 40 else word[:39] + "…"

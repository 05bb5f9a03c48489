"""The words of `/capture`: text into what was asked. Pure.

``/capture RECIPE TARGET[,TARGET…] [name=value …]`` and the words that are not recipes: ``help``,
``list``, ``status``, ``stop``, ``link``, ``note``, ``good``, ``compare``. Nothing is looked up here; what a name means is the desk's.
"""

from __future__ import annotations

import html
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from bot.errors import UserError

TEXT_CHARS = 2000  # nobody types more; Slack itself would pass on much more
FORCE = "force"  # no parameter of a recipe can be called by it
FORCE_CHARS = 200
RESERVED = (
    "help",
    "list",
    "status",
    "stop",
    "link",
    "report",
    "note",
    "good",
    "compare",
)  # words that no recipe can be called by

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
class Report:
    """`report`: everything that was captured in a channel and for its incident, as one document."""


@dataclass(frozen=True, slots=True)
class MarkGood:
    """`good ID`."""

    capture_id: str


@dataclass(frozen=True, slots=True)
class Compare:
    """`compare ID`: with the last good one; `compare ID ID`: with each other."""

    capture_id: str
    other_id: str | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """`note TEXT`: words for the notes of the channel's incident, as Slack writes them."""

    text: str


@dataclass(frozen=True, slots=True)
class Take:
    """A capture is asked for."""

    recipe: str
    targets: tuple[str, ...]
    parameters: Mapping[str, str]
    force: str = ""  # why another one is wanted where there is one already


Ask = Help | List | Status | Stop | Link | Report | Note | MarkGood | Compare | Take

# Phones turn quotes into curly ones and Slack escapes addresses: both are undone before reading.
_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "\u00a0": " "})
_ADDRESS = re.compile(r"<(https?://[^|>]+)(?:\|[^>]*)?>")


def parse(text: str) -> Ask:
    """Read what was typed after `/capture`. Raises UserError that says how it is written right."""
    if len(text) > TEXT_CHARS:
        raise UserError(
            f"That is {len(text):,} characters; a command has at most {TEXT_CHARS:,}.", cure=f"Write {USAGE}."
        )
    if text.split(maxsplit=1)[:1] == ["note"]:  # a person's own words: quotes are quotes
        return Note(text.strip().removeprefix("note").strip())
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
        case ["stop" | "good" | "compare" as word, *ids]:
            return _about(word, [each.strip("`").lower() for each in ids])
        case ["link", incident]:
            return Link(incident)
        case ["report"]:
            return Report()
        case ["link", *_]:
            raise UserError(
                "`link` needs one incident.", cure="Give its id, number or address: `/capture link PABC123`."
            )
        case ["help" | "list" | "status" | "report" as word, *_]:
            raise UserError(f"`{word}` takes no more words than that.", cure="Try `/capture help`.")
        case _:
            return _take(words)


def _about(word: str, ids: list[str]) -> Stop | MarkGood | Compare:
    """What is asked of captures that are there already."""
    match word, ids:
        case "stop", [capture_id]:
            return Stop(capture_id)
        case "good", [capture_id]:
            return MarkGood(capture_id)
        case "compare", [capture_id]:
            return Compare(capture_id)
        case "compare", [capture_id, other_id]:
            return Compare(capture_id, other_id)
    needed = "one or two captures' ids" if word == "compare" else "one capture's id"
    raise UserError(f"`{word}` needs {needed}.", cure="`/capture status` lists them.")


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
    force = parameters.pop(FORCE, None)
    if force is not None and not force.strip():
        raise UserError("`force` needs a reason, which is kept and shown.", cure='Write `force="why it is needed"`.')
    if force and len(force) > FORCE_CHARS:
        raise UserError(f"A reason has at most {FORCE_CHARS} characters.", cure="Make it a short sentence.")
    return Take(recipe=recipe, targets=tuple(targets), parameters=parameters, force=(force or "").strip())


def _short(word: str) -> str:
    return word if len(word) <= 40 else word[:39] + "…"

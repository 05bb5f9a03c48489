"""What a Web API method is: a function of the world and the arguments, a tier, a token, scopes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bot.playground.workspace.shapes import Json
from bot.playground.workspace.wire import Args
from bot.playground.workspace.world import World


@dataclass(frozen=True, slots=True)
class Method:
    """*run* returns the answer's fields or raises Refusal; *scopes* are alternatives, the first one is named."""

    run: Callable[[World, Args], Json]
    tier: int | None  # calls a minute by tier; None where another rule holds
    scopes: tuple[str, ...] = ()
    app_level: bool = False  # called with the app-level token instead of the bot's

"""What a dialog carries along, as text that Slack keeps for the bot (`private_metadata`), and reads back as it comes. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from bot.model import Place

UNKNOWN = "capturebot does not know this dialog any more. Close it, and open it anew."


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Where a dialog tells what comes of it, and what it is about."""

    place: Place | None = None
    asks_place: bool = False  # that has to be chosen in it
    answers_at: str = ""  # the response URL of what opened it
    offer: str = ""
    approval: str = ""


class _Place(BaseModel):
    channel: str
    channel_name: str = ""
    thread_ts: str | None = None


class _Kept(BaseModel):
    place: _Place | None = None
    asks_place: bool = False
    answers_at: str = ""
    offer: str = ""
    approval: str = ""


def write(kept: Kept) -> str:
    """As a view has it."""
    return json.dumps({name: value for name, value in asdict(kept).items() if value})


def read(view: Mapping[str, Any]) -> Kept:
    """What a view has; an empty one where that is not what `write` writes."""
    try:
        found = _Kept.model_validate_json(str(view.get("private_metadata") or "{}"))
    except ValidationError:
        return Kept()
    place = Place(**found.place.model_dump()) if found.place else None
    return Kept(**{**found.model_dump(), "place": place})

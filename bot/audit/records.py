"""Events as records: one flat JSON object each, whose fields keep their meaning from version to version.

``seq`` number in the journal; ``at`` ISO 8601, UTC; ``action`` the event's type; ``who`` id and name, or null; ``source``
slack, terminal, pagerduty, schedule, or ""; ``channel``, ``incident``, ``capture``, ``recipe`` or ""; ``targets`` names;
``parameters`` as given; ``what`` a sentence; ``outcome`` what came of it, or ""; ``reason`` why; ``command`` what ran, with
secrets masked; ``exit_status`` or null; ``objects`` key, size_bytes, sha256 of what was stored or given; ``hash`` of the row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bot.model import (
    Accepted,
    Artifact,
    Capture,
    Commented,
    Denied,
    Event,
    Finished,
    Given,
    Heard,
    Moved,
    Noted,
    Offered,
    Opened,
    Person,
    Place,
    Probed,
    Refused,
    Rejected,
    Reported,
    Sealed,
    Source,
    StepFinished,
    StepStarted,
    Trigger,
    capture_of,
)

Record = dict[str, Any]
Captures = Callable[[str], Capture | None]  # the capture that has an id


def record(seq: int, row_hash: str, event: Event, captures: Captures) -> Record:
    """The record of one event."""
    capture_id = capture_of(event) or ""
    capture = captures(capture_id) if capture_id else None
    told = _common(event, capture)
    told |= _own(event)
    return {
        "seq": seq,
        "at": event.at.isoformat(),
        "action": event.type,
        "capture": capture_id,
        **told,
        "hash": row_hash,
    }


def masked(value: Any, mask: Callable[[str], str]) -> Any:
    """*value* with *mask* over every text in it."""
    match value:
        case str():
            return mask(value)
        case Mapping():
            return {key: masked(inner, mask) for key, inner in value.items()}
        case list() | tuple():
            return [masked(inner, mask) for inner in value]
        case _:
            return value


def _common(event: Event, capture: Capture | None) -> Record:
    """What any event may have; where it has not, what it was asked with or the capture that it belongs to says."""
    asked: Trigger | Capture | None = getattr(event, "trigger", None) or capture
    who: Person | None = getattr(event, "who", None) or (asked.who if asked else None)
    place: Place | None = getattr(event, "place", None) or (asked.place if asked else None)
    source = getattr(event, "source", None) or (asked.source if asked else "")
    parameters = asked.parameters if asked and (isinstance(event, Accepted) or isinstance(asked, Trigger)) else {}
    return {
        "who": _person(who),
        "source": str(source) if isinstance(source, Source) else "",
        "channel": getattr(event, "channel", "") or (place.channel if place else ""),
        "incident": getattr(event, "incident", "") or (asked.incident if asked else "") or "",
        "recipe": getattr(event, "recipe", "") or (asked.recipe if asked else ""),
        "targets": list(getattr(event, "targets", ()) or (asked.targets if asked else ())),
        "parameters": dict(parameters),
        "what": _approval(event),
        "outcome": str(getattr(event, "ruling", "")),
        "reason": getattr(event, "reason", "") or "",
        "command": "",
        "exit_status": None,
        "objects": [],
    }


def _approval(event: Event) -> str:
    """Which approval it is about, and the digest of what that is for."""
    words = f"approval {event.approval_id}" if hasattr(event, "approval_id") else ""
    return f"{words} of {event.seal.digest}" if hasattr(event, "seal") else words


def _own(event: Event) -> Record:
    """What is particular to an event."""
    match event:
        case Accepted(capture=capture):
            return {"what": capture.command, "outcome": "accepted", "reason": capture.force}
        case Refused():
            return {"outcome": "refused"}
        case Rejected(what=what):
            return {"what": what, "source": Source.SLACK.value, "outcome": "refused"}
        case Denied(verb=verb):
            return {"what": verb.words, "outcome": "refused"}
        case Offered(cost=cost):
            return {"what": cost, "outcome": "offered"}
        case StepStarted(target=target, step=step):
            return {"targets": [target], "what": step}
        case Probed(target=target, what=what, command=command, outcome=outcome, exit_status=status):
            ran = {"command": command, "outcome": outcome.value, "exit_status": status}
            return {"targets": [target], "what": what, **ran}
        case Opened():
            config = f"config {event.config_sha256}, {event.recipes_in_all} recipes, {event.targets_in_all} targets"
            return {"what": f"capturebot {event.version} as {event.owner}, {config}", "targets": []}
        case Sealed(rows=rows):
            return {"what": f"{rows} rows before this one were written before rows were chained"}
        case _:
            return _kept(event) or _words(event)


def _kept(event: Event) -> Record | None:
    """What is particular to an event about objects."""
    match event:
        case StepFinished(result=result):
            return {
                "targets": [result.target],
                "what": result.step,
                "outcome": result.outcome.value,
                "reason": result.reason,
                "command": result.command,
                "exit_status": result.exit_status,
                "objects": _objects(result.kept),
            }
        case Finished(manifest=manifest, saved=saved):
            return {"outcome": event.state.value, "objects": _objects([*([manifest] if manifest else []), *saved])}
        case Moved(artifact=artifact):
            return {"what": f"from {event.key}", "objects": _objects([artifact])}
        case Reported(artifact=artifact):
            return {"objects": _objects([artifact])}
        case Given(keys=keys, until=until):
            objects = [{"key": key} for key in keys]
            return {"what": f"links until {until.isoformat()}", "outcome": "given", "objects": objects}
        case _:
            return None


def _words(event: Event) -> Record:
    """What is particular to an event about words and incidents."""
    match event:
        case Noted(who=who, text=text):
            return {"who": _person(who), "what": text}
        case Heard(call=call) | Commented(call=call):
            return {"incident": call.incident, "what": call.what}
        case _:
            return {}


def _person(who: Person | None) -> Record | None:
    return {"id": who.id, "name": who.name} if who else None


def _objects(artifacts: Iterable[Artifact]) -> list[Record]:
    return [{"key": one.key, "size_bytes": one.size_bytes, "sha256": one.sha256} for one in artifacts]

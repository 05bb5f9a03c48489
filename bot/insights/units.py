"""Units of systemd that failed, or that fail and start again and again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bot.insights import Reading, sections, words
from bot.model import Finding, Level

RECENT_S = 3600.0  # a unit that failed longer ago is an old acquaintance
RESTARTS = 3.0  # so often, and waiting for the next start


def units(reading: Reading) -> Iterator[Finding]:
    """Name units that failed within the hour and those that restart in a loop; count the older ones."""
    bodies = {section.name: section.body for section in sections(reading.text)}
    uptime = words.number((bodies.get("uptime", "").split() or ["0"])[0])
    old = []
    for block in bodies.get("details", "").split("\n\n"):
        unit = dict(line.split("=", 1) for line in block.split("\n") if "=" in line)
        if unit.get("SubState") == "auto-restart" and words.number(unit.get("NRestarts")) >= RESTARTS:
            restarts = words.counted(words.number(unit["NRestarts"]), "time")
            text = f"{_name(unit)} fails and starts again and again, {restarts} so far{_why(unit)}"
            yield Finding(level=Level.BAD, text=text, weight=0.8, evidence=_evidence(unit))
        elif unit.get("ActiveState") == "failed":
            age = uptime - words.number(unit.get("StateChangeTimestampMonotonic")) / 1e6
            if age > RECENT_S:
                old.append(_name(unit))
                continue
            text = f"{_name(unit)} failed {words.duration(max(age, 0.0))} ago{_why(unit)}"
            yield Finding(level=Level.WARN, text=text, weight=0.7, evidence=_evidence(unit))
    if old:
        text = f"{words.counted(len(old), 'unit')} failed more than an hour ago: {words.clean(', '.join(old), 100)}"
        yield Finding(level=Level.INFO, text=text, weight=0.2)


def _name(unit: Mapping[str, str]) -> str:
    return words.clean(unit.get("Id", "?"))


def _why(unit: Mapping[str, str]) -> str:
    status, result = unit.get("ExecMainStatus", "0"), unit.get("Result", "")
    if result == "exit-code":
        return f" (exit status {words.clean(status)})"
    return f" ({words.clean(result)})" if result not in {"", "success"} else ""


def _evidence(unit: Mapping[str, str]) -> tuple[str, ...]:
    return words.evidence(*(f"{name}={value}" for name, value in unit.items()))

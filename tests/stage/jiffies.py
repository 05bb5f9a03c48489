"""Whose CPU time it was: the private machine's own, or that of strangers around it."""

from __future__ import annotations

from pathlib import Path


class Meter:
    """Measures from its making on."""

    def __init__(self) -> None:
        self._all, self._own = _busy_of_all(), _busy_here()
        self._began = _passed()

    def strangers(self) -> float:
        """The share of the machine's CPU time that processes took which cannot be seen from here."""
        passed = max(_passed() - self._began, 1.0)
        return max((_busy_of_all() - self._all) - (_busy_here() - self._own), 0.0) / passed


def _stat() -> list[float]:
    return [float(ticks) for ticks in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]


def _passed() -> float:
    """Ticks of all processors together."""
    return sum(_stat()[:8])


def _busy_of_all() -> float:
    user, nice, system, _idle, _waiting, *interrupts = _stat()[:8]
    return user + nice + system + sum(interrupts)


def _busy_here() -> float:
    """Ticks of every process in sight, with those of the children that each has waited for."""
    return sum(_ticks(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _ticks(process: Path) -> float:
    try:
        fields = (process / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(map(float, fields[11:15]))
